"""Loans as they are listed and shown without HTTP, and the due dates that staff change."""

from datetime import UTC, date, datetime, timedelta

import pytest

from library.models import CopyCondition, DueChange, Loan, LoanClosing, RenewalChannel
from library.rules import loans, losses, renewals
from library.rules.desk import Desk
from library.rules.loans import LoanStatus, Prospect

from .helping import refused_for

NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)
TODAY = date(2026, 5, 4)
MINUTE, DAY = timedelta(minutes=1), timedelta(days=1)


@pytest.fixture
def now():
    return NOON


# --- Lists --------------------------------------------------------------------------------------


@pytest.fixture
def find(session, desk):
    """Call it as find_loans for what the librarian of the desk sees."""

    def listed(status=None, **filters) -> list[Loan]:
        return session.scalars(loans.find_loans(desk.actor, NOON, status, **filters).order_by(Loan.id)).all()

    return listed


def test_loans_are_open_overdue_or_closed(make, find):
    running = make.loan(due_at=NOON)
    late = make.loan(due_at=NOON - MINUTE)
    back = make.loan(closed_at=NOON, closed_as="returned", due_at=NOON - MINUTE)
    assert find() == [running, late, back]
    assert find(LoanStatus.OPEN) == [running, late]
    assert find(LoanStatus.OVERDUE) == [late]
    assert find(LoanStatus.CLOSED) == [back]


def test_loans_are_narrowed_by_each_filter(make, find):
    first = make.loan(due_at=datetime(2026, 5, 1, 12, tzinfo=UTC))
    second = make.loan(due_at=datetime(2026, 5, 2, 12, tzinfo=UTC))
    for filters in (
        {"patron_id": second.patron_id},
        {"copy_id": second.copy_id},
        {"book_id": second.copy.book_id},
        {"branch_id": second.branch_id},
        {"due_on_min": date(2026, 5, 2)},
    ):
        assert find(**filters) == [second], filters
    assert find(due_on_max=date(2026, 5, 1)) == [first]
    assert find(due_on_min=date(2026, 5, 1), due_on_max=date(2026, 5, 2)) == [first, second]
    assert find(LoanStatus.CLOSED, patron_id=first.patron_id) == []


def test_patrons_see_their_own_loans_with_the_book(session, make):
    mine = make.loan()
    make.loan()
    book_id, patron = mine.copy.book_id, mine.patron
    session.expunge_all()
    seen = session.scalars(loans.find_loans(patron, NOON)).all()
    assert [(loan.id, loan.book_id) for loan in seen] == [(mine.id, book_id)]
    assert session.scalars(loans.find_loans(patron, NOON, patron_id=patron.id + 1)).all() == []


def test_what_was_renewed_and_what_was_let_pass_is_listed_with_the_loan(session, make, desk, lend):
    expired = make.user(expires_on=TODAY - DAY)
    lenient = Desk(desk.actor, desk.branch, overrides={"patron_expired": "Renewed."})
    loan = lend(desk=lenient, patron=expired)
    make.loan()
    for channel in (RenewalChannel.DESK, RenewalChannel.AUTOMATIC):
        renewals.renew(session, lenient, loan, NOON, channel)
    session.commit()
    found = session.scalars(loans.find_renewals(loan)).all()
    assert [renewal.channel for renewal in found] == [RenewalChannel.DESK, RenewalChannel.AUTOMATIC]
    assert [(row.action, row.code) for row in session.scalars(loans.find_overrides(loan))] == [
        ("check_out", "patron_expired"),
        ("renew", "patron_expired"),
        ("renew", "patron_expired"),
    ]


# --- What is shown beside the columns -----------------------------------------------------------


def test_a_loan_says_what_it_would_cost_and_why_it_may_not_be_renewed(session, make, branch, patron):
    make.policy("fine_rate", {"cents": 20, "per": "day"})
    make.policy("renew_overdue", "refuse_loan")
    fine = make.loan(make.copy(home_branch=branch), patron, due_at=NOON + DAY)
    late = make.loan(make.copy(home_branch=branch), patron, due_at=datetime(2026, 5, 2, 21, 59, 59, tzinfo=UTC))
    held = make.loan(make.copy(home_branch=branch), due_at=NOON + DAY)
    make.hold(held.copy.book)
    back = make.loan(patron=patron, closed_at=NOON, closed_as=LoanClosing.RETURNED)
    session.expunge_all()
    rows = session.scalars(loans.find_loans(make.librarian(), NOON).order_by(Loan.id)).all()
    told = {
        key: (prospect.running_fine_cents, [reason.code for reason in prospect.against_renewal])
        for key, prospect in loans.prospects(session, rows, NOON).items()
    }
    assert told == {
        fine.id: (0, []),
        late.id: (40, ["overdue"]),
        held.id: (0, ["held"]),
        back.id: (0, ["loan_closed"]),
    }


def test_what_is_shown_is_what_the_renewal_does(session, make, lend, desk):
    make.policy("max_renewals", 1)
    loan = lend()
    assert loans.prospects(session, [loan], NOON) == {loan.id: Prospect(0, [])}
    renewals.renew(session, desk, loan, NOON)
    (reason,) = loans.prospects(session, [loan], NOON)[loan.id].against_renewal
    with refused_for("renewal_limit") as caught:
        renewals.renew(session, desk, loan, NOON)
    assert (reason.code, reason.params) == ("renewal_limit", caught.value.reasons[0].params)


def test_a_loan_that_was_read_bare_is_shown_like_any_other(session, make):
    key = make.loan(due_at=NOON + DAY).id
    session.expunge_all()
    loan = session.get_one(Loan, key)
    assert loans.prospects(session, [loan], NOON) == {key: Prospect(0, [])}
    assert loan.patron is not None


def test_of_what_has_ended_nothing_is_looked_up(session, make, statements):
    loan = make.loan(closed_at=NOON, closed_as=LoanClosing.RETURNED)
    session.refresh(loan, ["copy", "patron", "branch"])
    statements.clear()
    (prospect,) = loans.prospects(session, [loan], NOON).values()
    assert [reason.code for reason in prospect.against_renewal] == ["loan_closed"]
    assert statements == []


def test_many_loans_are_shown_in_as_many_statements_as_one(session, make, desk, statements):
    def statements_for(count: int) -> int:
        session.expunge_all()
        statements.clear()
        rows = session.scalars(loans.find_loans(desk.actor, NOON)).all()
        assert len(loans.prospects(session, rows, NOON)) == count
        return len(statements)

    make.policy("fine_rate", {"cents": 20, "per": "day"})
    make.loan(due_at=NOON - DAY)
    one = statements_for(1)
    for number in range(9):
        make.hold(make.loan(due_at=NOON - number * DAY).copy.book)
    assert statements_for(10) == one


# --- Other due dates ----------------------------------------------------------------------------


def test_staff_give_a_loan_another_due_date_and_write_why(session, desk, lend):
    loan = lend()
    was, later = loan.due_at, datetime(2026, 7, 1, 22, 30, tzinfo=UTC)
    loans.change_due_date(session, desk, loan, later, "She is in hospital.", NOON + DAY)
    session.commit()
    session.expire_all()
    assert (loan.due_at, loan.due_on, loan.renewals) == (later, date(2026, 7, 2), 0)
    assert [step["step"] for step in loan.due_steps] == ["named"]
    change = session.query(DueChange).one()
    assert (change.loan_id, change.actor_id, change.changed_at) == (loan.id, desk.actor.id, NOON + DAY)
    assert (change.was_due_at, change.due_at, change.reason) == (was, later, "She is in hospital.")


def test_a_due_date_may_lie_in_the_past_but_not_before_the_loan(session, desk, lend):
    loan = lend()
    for due_at in (NOON, NOON - MINUTE):
        with refused_for("due_in_the_past") as caught:
            loans.change_due_date(session, desk, loan, due_at, "Recall.", NOON + 9 * DAY)
    assert caught.value.reasons[0].pointer == "/due_at"
    assert loans.change_due_date(session, desk, loan, NOON + MINUTE, "Recall.", NOON + 9 * DAY).due_on == TODAY


def test_a_loan_that_has_ended_keeps_its_due_date(session, make, desk):
    loan = make.loan(closed_at=NOON, closed_as=LoanClosing.RETURNED)
    with refused_for("loan_closed", "due_in_the_past"):
        loans.change_due_date(session, desk, loan, loan.checked_out_at, "Recall.", NOON)
    assert session.query(DueChange).count() == 0


def test_a_fine_that_was_charged_stands_and_its_days_are_not_charged_again(
    session, make, desk, patron, lend, take_back, charged
):
    make.policy("fine_rate", {"cents": 20, "per": "day"})
    make.policy("loan_period", {"number": 7, "unit": "days"})
    loan = lend()
    renewals.renew(session, desk, loan, NOON + 9 * DAY)
    # Back to before it was renewed: the 12th and the 13th are paid for.
    loans.change_due_date(session, desk, loan, datetime(2026, 5, 11, 21, 59, 59, tzinfo=UTC), "Recall.", NOON + 9 * DAY)
    take_back(now=NOON + 11 * DAY)
    assert charged(patron) == [("overdue", 40), ("overdue", 40)]


@pytest.fixture
def move(session, desk, branch):
    """Call it to move due dates off the closed days of a span at the branch."""

    def move_off(from_on=TODAY, to_on=TODAY + 6 * DAY) -> list[Loan]:
        return loans.move_off_closed_days(session, desk, branch, from_on, to_on, "Heating.", NOON)

    return move_off


@pytest.fixture
def due_on(make, branch):
    """Call it for a loan of the branch that is due in so many days."""

    def lent(days: int, **values) -> Loan:
        return make.loan(make.copy(home_branch=branch), due_at=NOON + days * DAY, **values)

    return lent


def test_due_dates_on_newly_closed_days_move_to_the_next_open_day(session, make, desk, branch, due_on, move):
    make.exception(TODAY + DAY, TODAY + 2 * DAY, branch_id=branch.id)
    make.exception(TODAY + 2 * DAY, TODAY + 3 * DAY)
    kept = [due_on(0), due_on(4), make.loan(due_at=NOON + DAY), due_on(1, closed_at=NOON, closed_as="returned")]
    closed = [due_on(1), due_on(3)]
    before = [loan.due_at for loan in kept]
    assert move() == closed
    session.commit()
    session.expire_all()
    assert [(loan.due_on, loan.due_at) for loan in closed] == [
        (date(2026, 5, 8), datetime(2026, 5, 8, 21, 59, 59, tzinfo=UTC))
    ] * 2
    assert [loan.due_at for loan in kept] == before
    changes = session.query(DueChange).order_by(DueChange.id).all()
    assert [(change.loan_id, change.reason, change.actor_id) for change in changes] == [
        (loan.id, "Heating.", desk.actor.id) for loan in closed
    ]
    assert move() == []


def test_only_the_span_that_was_named_is_moved(make, branch, due_on, move):
    make.exception(TODAY, TODAY + 9 * DAY, branch_id=branch.id)
    first, second = due_on(1), due_on(3)
    assert move(TODAY + 2 * DAY, TODAY + 3 * DAY) == [second]
    assert first.due_on == TODAY + DAY


def test_a_branch_that_never_opens_again_moves_nothing(session, make, branch, due_on, move):
    branch.hours = [{"weekday": 7, "opens": "10:00", "closes": "12:00"}]
    session.commit()
    make.exception(TODAY, date(2200, 12, 31), branch_id=branch.id)
    loan = due_on(1)
    assert move() == []
    assert loan.due_on == TODAY + DAY


def test_lost_copies_move_as_well(session, make, desk, branch, due_on, move):
    make.exception(TODAY + DAY, branch_id=branch.id)
    loan = due_on(1)
    losses.declare_lost(session, desk, loan, NOON)
    session.commit()
    assert loan.copy.condition is CopyCondition.LOST
    assert move() == [loan]
