"""What a second look at the desk found: corners where two of its rules meet."""

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select

from library.database import transaction
from library.models import (
    AccountEntry,
    Book,
    ChargeLoan,
    Copy,
    CopyCondition,
    CopyPlace,
    DueChange,
    HoldState,
    Loan,
    LoanClosing,
    Moment,
    Override,
    PaymentMethod,
    PolicyKind,
    Renewal,
    User,
)
from library.rules import accounts, ledger, lending, losses, marking, privacy, renewals, returns
from library.rules.desk import Desk
from library.rules.errors import Refused
from library.rules.local_days import LocalDays
from library.rules.marking import Mark
from library.rules.routing import RouteAction

from .helping import at_once, refused_for

NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)
DAY = timedelta(days=1)


@pytest.fixture
def branch(make):
    return make.branch()


@pytest.fixture
def desk(make, branch):
    return Desk(make.librarian(home_branch=branch), branch)


@pytest.fixture
def patron(make, branch):
    return make.user(home_branch=branch)


@pytest.fixture
def copy(make, branch):
    return make.copy(home_branch=branch, price_cents=2000)


@pytest.fixture
def lent(session, make, copy, patron) -> Loan:
    return make.loan(copy, patron, checked_out_at=NOON - 30 * DAY, due_at=NOON - 2 * DAY)


@pytest.fixture
def paid(session, desk, patron, lent) -> Loan:
    """A copy that was lost and paid for."""
    losses.declare_lost(session, desk, lent, NOON)
    paid = accounts.pay(session, desk, patron, 2000, PaymentMethod.CASH, NOON)
    losses.close_settled(session, paid.charge_ids, NOON)
    session.commit()
    assert lent.closed_as is LoanClosing.LOST_PAID
    return lent


@pytest.mark.parametrize(
    "marks", [(Mark.USABLE,), (Mark.DAMAGED,), (Mark.MISSING, None), (None,), (Mark.USABLE, None), (None, None)]
)
def test_however_a_lost_copy_turns_up_its_price_is_given_back_once(session, desk, patron, copy, paid, marks):
    for mark_as in marks:
        if mark_as is None:
            returns.check_in(session, desk, copy.barcode, NOON + DAY)
        else:
            marking.mark(session, desk, copy, mark_as, "Seen", NOON + DAY)
        session.commit()
    assert ledger.balance(session, patron.id) == -2000


def test_a_lost_copy_that_is_lent_again_was_found(session, make, desk, patron, copy, paid):
    letting_pass = Desk(desk.actor, desk.branch, overrides={"bad_condition": "It is here"})
    lending.check_out(session, letting_pass, copy.barcode, make.user().card_barcode, NOON + DAY)
    session.commit()
    assert ledger.balance(session, patron.id) == -2000


@pytest.mark.parametrize("condition", [CopyCondition.DAMAGED, CopyCondition.WITHDRAWN])
def test_an_unfit_copy_that_was_lent_all_the_same_comes_back_unfit(session, desk, patron, copy, condition):
    copy.condition = condition
    session.commit()
    letting_pass = Desk(desk.actor, desk.branch, overrides={"bad_condition": "Needed for the exam"})
    lending.check_out(session, letting_pass, copy.barcode, patron.card_barcode, NOON)
    answer = returns.check_in(session, desk, copy.barcode, NOON + DAY)
    session.commit()
    assert (copy.place, copy.condition) == (CopyPlace.AVAILABLE, condition)
    assert answer.route.action is RouteAction.SET_ASIDE
    assert [(warning.code, warning.params) for warning in answer.warnings] == [
        ("not_fit", {"condition": condition.value})
    ]


def test_a_card_that_has_not_ended_is_not_let_pass(session, make, desk, patron, copy):
    patron.expires_on = (NOON + 3 * DAY).date()
    session.commit()
    loan = make.loan(copy, patron, checked_out_at=NOON, due_at=NOON + DAY)
    eager = Desk(desk.actor, desk.branch, overrides={"patron_expired": "Comes soon"})
    renewal = renewals.renew(session, eager, loan, NOON)
    session.commit()
    assert renewal.due_at.date() == patron.expires_on
    assert session.query(Override).count() == 0


def test_a_reason_has_letters_or_figures(session, make, desk, copy):
    expired = make.user(expires_on=(NOON - DAY).date())
    for nothing in ("", " ", "​", "…"):
        with refused_for("override_reason_missing", "patron_expired"):
            silent = Desk(desk.actor, desk.branch, overrides={"patron_expired": nothing})
            lending.check_out(session, silent, copy.barcode, expired.card_barcode, NOON)


def test_ones_own_other_hold_stops_no_renewal(session, make, desk, patron, copy):
    book = session.get_one(Book, copy.book_id)
    loan = make.loan(copy, patron, checked_out_at=NOON, due_at=NOON + DAY)
    make.hold(book, patron)
    assert renewals.renew(session, desk, loan, NOON)
    make.hold(book)
    session.commit()
    with refused_for("held") as caught:
        renewals.renew(session, desk, loan, NOON + DAY)
    assert caught.value.reasons[0].params == {"waiting": 1}


def test_a_free_copy_that_somebody_asks_for_by_name_suffices_for_nobody_else(session, make, desk, patron, copy, branch):
    make.policy(PolicyKind.RENEW_WHEN_HELD, "copies_suffice")
    book = session.get_one(Book, copy.book_id)
    loan = make.loan(copy, patron, checked_out_at=NOON, due_at=NOON + DAY)
    named = make.copy(book=book, home_branch=branch)
    make.hold(book)
    make.hold(book, copy_id=named.id)
    with refused_for("held"):
        renewals.renew(session, desk, loan, NOON)


def test_who_waits_for_this_very_copy_is_served_by_no_other(session, make, desk, patron, copy, branch):
    book = session.get_one(Book, copy.book_id)
    make.copy(book=book, home_branch=branch)
    make.copy(book=book, home_branch=branch)
    make.hold(book, copy_id=copy.id)
    with refused_for("wanted_by_others") as caught:
        lending.check_out(session, desk, copy.barcode, patron.card_barcode, NOON)
    assert caught.value.reasons[0].params == {"waiting": 1, "free": 3}


def test_a_confirmation_is_good_for_the_copy_as_it_stood_and_the_date_that_was_asked(
    session, make, branch, patron, copy
):
    copy.check_note = "2 CDs"
    session.commit()

    def desk(token=None) -> Desk:
        return Desk(make.librarian(username="same", home_branch=branch), branch, confirm_token=token, sign=str)

    asking = desk()
    with pytest.raises(Refused) as caught:
        lending.check_out(session, asking, copy.barcode, patron.card_barcode, NOON)
    token = caught.value.confirm_token
    agreed = Desk(asking.actor, branch, confirm_token=token, sign=str)
    with refused_for("check_note"):
        lending.check_out(session, agreed, copy.barcode, patron.card_barcode, NOON, NOON + 90 * DAY)
    lending.check_out(session, agreed, copy.barcode, patron.card_barcode, NOON)
    returns.check_in(session, asking, copy.barcode, NOON + DAY)
    session.commit()
    with refused_for("check_note"):
        lending.check_out(session, agreed, copy.barcode, patron.card_barcode, NOON + 2 * DAY)


def test_a_copy_that_was_back_before_it_was_late_owes_nothing(session, make, desk, patron, copy, lent):
    make.policy(PolicyKind.FINE_RATE, {"cents": 100, "per": "day"})
    losses.declare_lost(session, desk, lent, NOON)
    assert ledger.balance(session, patron.id) == 2200
    returns.check_in(session, desk, copy.barcode, NOON + DAY, returned_at=NOON - 3 * DAY)
    session.commit()
    assert ledger.balance(session, patron.id) == 0


def test_a_charge_and_the_night_leave_no_tie_between_patron_and_copy(session, another, make, desk, patron, copy):
    loan = make.loan(copy, patron, closed_at=NOON, closed_as=LoanClosing.RETURNED)
    actor_id, patron_id, loan_id = desk.actor.id, patron.id, loan.id

    def charge() -> None:
        mine = another()
        with transaction(mine, write=True):
            accounts.create_charge(
                mine,
                Desk(mine.get_one(User, actor_id)),
                mine.get_one(User, patron_id),
                100,
                NOON,
                loan=mine.get_one(Loan, loan_id),
            )

    def cut() -> None:
        mine = another()
        with transaction(mine, write=True):
            privacy.cut(mine, mine.get_one(Loan, loan_id, with_for_update=True))

    at_once([charge, cut])
    session.expire_all()
    if session.get_one(Loan, loan_id).patron_id is None:
        assert session.query(ChargeLoan).count() == 0
    assert session.query(AccountEntry).count() <= 1


def test_the_desk_is_told_of_the_copy_that_was_set_aside_in_vain(session, make, desk, patron, copy, branch):
    book = session.get_one(Book, copy.book_id)
    other = make.copy(book=book, home_branch=branch)
    make.hold(book, patron, assigned_copy=copy, state=HoldState.READY, pickup_branch=branch)
    lending.check_out(session, desk, other.barcode, patron.card_barcode, NOON)
    session.commit()
    assert copy.place is CopyPlace.AVAILABLE
    assert [(remark.code, remark.params) for remark in desk.remarks] == [
        ("set_aside_freed", {"action": "shelve", "branch_id": branch.id})
    ]


def test_what_stays_in_the_house_is_not_renewed_from_home(session, make, desk, patron, copy):
    copy.not_for_loan = True
    loan = make.loan(copy, patron, checked_out_at=NOON, due_at=NOON + DAY)
    with refused_for("not_for_loan"):
        renewals.renew(session, Desk(patron), loan, NOON)


def test_what_costs_nothing_known_is_settled_once_its_price_is(session, make, desk, patron):
    loan = make.loan(make.copy(), patron, checked_out_at=NOON - 30 * DAY, due_at=NOON - DAY)
    make.policy(PolicyKind.FINE_RATE, {"cents": 60, "per": "day"})
    assert len(losses.declare_lost(session, desk, loan, NOON)) == 1
    part = accounts.pay(session, desk, patron, 20, PaymentMethod.CASH, NOON)
    assert losses.close_settled(session, part.charge_ids, NOON) == []
    accounts.create_charge(session, desk, patron, 1500, NOON, loan=loan, reason=accounts.HandReason.REPLACEMENT)
    rest = accounts.pay(session, desk, patron, 1540, PaymentMethod.CASH, NOON)
    assert losses.close_settled(session, rest.charge_ids, NOON) == [loan]


def test_who_paid_for_a_lost_copy_owes_the_fine_of_its_return_like_anybody(session, make, desk, patron, copy, paid):
    make.policy(PolicyKind.FINE_RATE, {"cents": 10, "per": "day"})
    make.policy(PolicyKind.FINE_ON_LOST_RETURN, True)
    returns.check_in(session, desk, copy.barcode, NOON + 10 * DAY)
    session.commit()
    assert ledger.balance(session, patron.id) == -2000 + 12 * 10


def test_a_return_that_was_dated_back_is_remembered_until_the_night_after_its_scan(session, make, desk, patron, copy):
    loan = make.loan(copy, patron, checked_out_at=NOON - 9 * DAY, due_at=NOON + DAY)
    returns.check_in(session, desk, copy.barcode, NOON, returned_at=NOON - 2 * DAY)
    session.commit()

    def to_cut(now):
        return session.scalars(privacy.loans_to_cut(privacy.Memory(LocalDays.load(session, now), 30))).all()

    assert (to_cut(NOON + timedelta(hours=1)), to_cut(NOON + DAY)) == ([], [loan])


def test_no_moment_ties_the_ledger_to_a_loan_after_the_cut(session, make, desk, patron, copy):
    make.policy(PolicyKind.FINE_RATE, {"cents": 100, "per": "day"})
    loan = make.loan(copy, patron, checked_out_at=NOON - 9 * DAY, due_at=NOON - DAY)
    renewals.renew(session, desk, loan, NOON)
    losses.declare_lost(session, desk, loan, NOON + DAY)
    returns.check_in(session, desk, copy.barcode, NOON + 40 * DAY)
    session.commit()
    ledgers = set(session.scalars(select(AccountEntry.made_at)))

    def moments() -> set[datetime]:
        found = set()
        for table in (Loan, Copy, Renewal, Override, DueChange):
            for column in table.__table__.columns:
                if isinstance(column.type, Moment):
                    found |= set(session.scalars(select(getattr(table, column.name))))
        return found

    assert moments() & ledgers
    privacy.cut(session, loan)
    session.commit()
    assert not moments() & ledgers
