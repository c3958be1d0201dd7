"""The reading history: what leads from a patron to what they read until the night, and that nothing does after it."""

from datetime import UTC, date, datetime, timedelta

import pytest
from canaries import ties_with
from factories import START
from sqlalchemy import func, select, update

from library.database import transaction
from library.models import (
    AccountEntry,
    ChargeLoan,
    DueChange,
    HistoryMode,
    Hold,
    HoldEnding,
    HoldState,
    JobKind,
    Loan,
    LoanClosing,
    Notice,
    NoticeKind,
    Override,
    PaymentMethod,
    PolicyKind,
    Renewal,
    RenewalChannel,
    User,
)
from library.rules import (
    accounts,
    holds,
    ledger,
    lending,
    loans,
    losses,
    marking,
    notices,
    privacy,
    renewals,
    returns,
    routing,
)
from library.rules.desk import Desk
from library.rules.invariants import check_invariants
from library.rules.local_days import LocalDays
from library.rules.nightly import STEPS

from .helping import at_once
from .nights import night, work
from .walking import READ, all_ways, said_of, way_from

DAY, MINUTE = timedelta(days=1), timedelta(minutes=1)
NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)


@pytest.fixture
def ended(make, session):
    """Call it for a loan that has ended at a moment, of a patron with that mode."""

    def one(closed_at: datetime, history: HistoryMode = HistoryMode.CUT, time_zone: str = "", **values) -> Loan:
        patron = values.pop("patron", None) or make.user(history=history)
        loan = make.loan(patron=patron, closed_at=closed_at, closed_as=values.pop("closed_as", "returned"), **values)
        loan.time_zone = time_zone or loan.time_zone
        session.commit()
        return loan

    return one


def is_cut(session, loan) -> bool:
    session.refresh(loan)
    return loan.patron_id is None


# --- Nothing leads from a patron to what they read ----------------------------------------------


@pytest.fixture
def life_of(session, make, branch):
    """Call it with who borrows for a loan with everything that can hang on one, done by the rules themselves."""

    def live(patron, copy, start: datetime) -> Loan:
        own, desk = Desk(patron, branch), Desk(make.librarian(home_branch=branch), branch)
        hold = holds.place_hold(session, own, patron, copy.book, start, pickup_branch_id=branch.id)
        returns.check_in(session, desk, copy.barcode, start)
        loan = lending.check_out(session, own, copy.barcode, patron.card_barcode, start + MINUTE)
        renewals.renew(session, own, loan, start + DAY)
        late = loan.due_at + 10 * DAY
        notices.write(session, patron.id, NoticeKind.OVERDUE, f"overdue:{loan.id}", late, loan_id=loan.id)
        (charge,) = returns.check_in(session, own, copy.barcode, late).charges
        accounts.pay(session, desk, patron, charge.amount_cents - 1, PaymentMethod.CASH, late)
        about = {"loan_id": loan.id, "hold_id": hold.id, "reason": "so", "code": "patron_blocked", "made_at": start}
        session.add_all(Override(action="check_out", actor_id=actor, **about) for actor in (patron.id, desk.actor_id))
        change = {"loan_id": loan.id, "changed_at": start, "was_due_at": start, "due_at": late, "reason": "so"}
        session.add_all(DueChange(actor_id=actor, **change) for actor in (patron.id, desk.actor_id))
        session.commit()
        return loan

    return live


@pytest.mark.parametrize("role", ["patron", "librarian"])
def test_after_the_cut_no_join_leads_from_a_patron_to_a_copy(session, make, branch, life_of, role):
    make.policy("fine_rate", {"cents": 20, "per": "day"})
    patron = make.user(role=role, home_branch=branch, guarantor_id=make.user().id, patron_category=make.category())
    other = make.user(home_branch=branch, patron_category=patron.patron_category)
    book = make.book(title="The Anarchist Cookbook")
    copy = make.copy(home_branch=branch, book=book, barcode="CANARY", item_type_id=make.item_type().id)
    loan = life_of(patron, copy, START)
    theirs = life_of(other, copy, loan.closed_at + DAY)
    make.hold(patron=make.user(), book=book)

    evening = theirs.closed_at.replace(hour=20)
    assert work(session, "cut_history", evening)[1] == 3, "the first loan and the holds, which ended when they borrowed"
    assert way_from(session, patron.id) is None
    assert way_from(session, other.id) is not None
    assert work(session, "cut_history", evening + DAY)[1] == 1
    assert way_from(session, other.id) is None

    for person in (patron, other):
        # What stays of them is their money.
        assert ledger.balance(session, person.id) == 1
        said = said_of(session, person.id)
        assert "account" not in said
        assert "CANARY" not in said
        assert "Anarchist" not in said
    # Counts stay, and what staff did at the desk.
    assert session.scalar(select(func.count()).where(Loan.copy_id == copy.id)) == 2
    kept = session.scalars(select(Override.actor_id).order_by(Override.id)).all()
    assert [actor is None for actor in kept] == [True, False, True, False]


def test_before_the_cut_the_walker_finds_the_way(session, make, branch, life_of):
    make.policy("fine_rate", {"cents": 20, "per": "day"})
    patron = make.user(home_branch=branch)
    loan = life_of(patron, make.copy(home_branch=branch), START)
    assert way_from(session, patron.id) == [("users", patron.id), ("holds", 1)]
    touched = {table for table, _ in all_ways(session)}
    assert {"users", "allocations", "charge_loans", "renewals", "notices", "overrides", "due_changes"} <= touched
    assert set(READ) <= touched
    assert loan.patron_id == patron.id


@pytest.mark.parametrize(
    "trace",
    [
        "loan.patron_id",
        "loan.checked_out_by_id",
        "loan.closed_by_id",
        "hold.patron_id",
        "hold.placed_by_id",
        "hold.ended_by_id",
        "renewal",
        "due_change",
        "override of the loan",
        "override of the hold",
        "charge",
        "notice of the loan",
        "notice of the hold",
    ],
)
def test_one_trace_alone_is_a_way_and_is_cut(session, make, trace):
    """Each single thing that the cut removes would be found by the walker, were it left."""
    patron, now = make.user(), START + 60 * DAY
    loan = make.loan(patron=make.user(), closed_at=START + DAY, closed_as=LoanClosing.RETURNED)
    hold = make.hold(patron=make.user())
    ending = {"state": HoldState.CANCELLED, "sort_key": None, "ended_at": START, "ended_why": HoldEnding.NOT_NEEDED}
    for name, value in ending.items():
        setattr(hold, name, value)
    session.commit()
    for row in (loan, hold):
        row.patron_id = None
    table, _, column = trace.partition(".")
    mine = {"actor_id": patron.id}
    times = {"was_due_at": START, "due_at": now}
    about_loan, about_hold = {"loan_id": loan.id}, {"hold_id": hold.id}
    override = {"action": "x", "code": "x", "reason": "x", "made_at": START} | mine
    notice = {"patron_id": patron.id, "kind": NoticeKind.OVERDUE, "occasion": "x", "created_at": START}
    rows = {
        "renewal": lambda: Renewal(renewed_at=START, channel=RenewalChannel.OWN, **mine, **times, **about_loan),
        "due_change": lambda: DueChange(changed_at=START, reason="x", **mine, **times, **about_loan),
        "override of the loan": lambda: Override(**override, **about_loan),
        "override of the hold": lambda: Override(**override, **about_hold),
        "charge": lambda: ChargeLoan(entry_id=make.charge(patron).id, **about_loan),
        "notice of the loan": lambda: Notice(**notice, **about_loan),
        "notice of the hold": lambda: Notice(**notice, **about_hold),
    }
    if column:
        setattr({"loan": loan, "hold": hold}[table], column, patron.id)
        session.commit()
    else:
        make.row(rows[trace]())
    assert way_from(session, patron.id) is not None

    # The cut goes by whose loan or hold it is.
    loan.patron_id = hold.patron_id = patron.id
    assert work(session, "cut_history", now) == (2, 2, 0)
    assert way_from(session, patron.id) is None


def test_what_is_open_stays(session, make):
    patron = make.user()
    loan, hold = make.loan(patron=patron), make.hold(patron=patron)
    make.row(Notice(patron_id=patron.id, kind="overdue", occasion="x", loan_id=loan.id, created_at=START))
    assert work(session, "cut_history", START + 900 * DAY) == (0, 0, 0)
    session.refresh(hold)
    assert (loan.patron_id, hold.patron_id) == (patron.id, patron.id)
    assert session.scalar(select(func.count()).select_from(Notice)) == 1


def test_a_loan_that_is_cut_is_another_version(session, ended):
    loan = ended(START + DAY)
    version = loan.version
    work(session, "cut_history", START + 3 * DAY)
    assert (is_cut(session, loan), loan.version) == (True, version + 1)
    # Of the moment only the day is left: the fine was written in the same one.
    day = (START + DAY).replace(hour=0, minute=0, second=0)
    assert (loan.closed_at, loan.closed_as, loan.renewals) == (day, LoanClosing.RETURNED, 0)


def test_until_the_night_staff_see_who_had_a_copy_last(session, make, desk, patron, copy, lend, take_back, now):
    lend(now=START)
    take_back(now=START + DAY)
    last = loans.find_loans(desk.actor, START + DAY, copy_id=copy.id).order_by(Loan.closed_at.desc())
    assert session.scalars(last).first().patron_id == patron.id
    # A wrong scan is undone: the copy goes out again to whoever had it.
    lend(now=START + DAY + MINUTE, due_at=START + 28 * DAY)
    assert copy.place.value == "on_loan"


# --- When -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("time_zone", "closed_at", "now", "cut"),
    [
        # The same day in UTC, another in New York: returned at half past eleven, an hour later it is night.
        ("America/New_York", (2, 3, 30), (2, 3, 59), False),
        ("America/New_York", (2, 3, 30), (2, 4, 0), True),
        # Another day in UTC, the same in Tokyo.
        ("Asia/Tokyo", (1, 15, 30), (2, 14, 59), False),
        ("Asia/Tokyo", (1, 15, 30), (2, 15, 0), True),
        # No branch is there any more: a whole day is waited for.
        ("Pacific/Kiritimati", (1, 12, 0), (2, 12, 59), False),
        ("Pacific/Kiritimati", (1, 12, 0), (2, 13, 1), True),
    ],
)
def test_the_night_is_the_branchs(session, make, ended, time_zone, closed_at, now, cut):
    for zone in ("America/New_York", "Asia/Tokyo", "UTC"):
        make.branch(time_zone=zone)
    loan = ended(datetime(2026, 5, *closed_at, tzinfo=UTC), time_zone=time_zone)
    work(session, "cut_history", datetime(2026, 5, *now, tzinfo=UTC))
    assert is_cut(session, loan) is cut


def test_holds_that_ended_are_forgotten_in_the_night_at_their_pickup_branch(session, make):
    hold = make.hold(pickup_branch=make.branch(time_zone="America/New_York"))
    hold.state, hold.sort_key, hold.ended_why = HoldState.CANCELLED, None, HoldEnding.CANCELLED_BY_PATRON
    hold.ended_at = datetime(2026, 5, 2, 3, 30, tzinfo=UTC)
    assert work(session, "cut_history", datetime(2026, 5, 2, 3, 59, tzinfo=UTC)) == (0, 0, 0)
    assert work(session, "cut_history", datetime(2026, 5, 2, 4, 0, tzinfo=UTC)) == (1, 1, 0)
    assert (hold.patron_id, hold.state, hold.ended_why) == (None, HoldState.CANCELLED, HoldEnding.CANCELLED_BY_PATRON)


def test_delayed_waits_so_many_days_after_the_return(session, ended):
    loan = ended(datetime(2026, 5, 1, 21, 59, tzinfo=UTC), HistoryMode.DELAYED)
    midnight = datetime(2026, 5, 31, 22, tzinfo=UTC)
    work(session, "cut_history", midnight - MINUTE)
    assert not is_cut(session, loan)
    work(session, "cut_history", midnight)
    assert is_cut(session, loan)
    other = ended(datetime(2026, 5, 1, 21, 59, tzinfo=UTC), HistoryMode.DELAYED)
    work(session, "cut_history", datetime(2026, 5, 1, 22, tzinfo=UTC), history_days=0)
    assert is_cut(session, other)


def test_delayed_waits_for_the_last_charge_too(session, make, desk, ended):
    loan = ended(START + DAY, HistoryMode.DELAYED)
    first, second = make.charge(loan=loan), make.charge(loan=loan)
    patron = loan.patron
    make.charge(patron)
    settled_at = START + 100 * DAY
    accounts.pay(session, desk, patron, 500, PaymentMethod.CASH, START + 10 * DAY, charges=[first])
    work(session, "cut_history", START + 90 * DAY)
    assert not is_cut(session, loan), "one charge is open"
    accounts.pay(session, desk, patron, 499, PaymentMethod.CASH, settled_at - 5 * DAY, charges=[second])
    work(session, "cut_history", settled_at - DAY)
    assert not is_cut(session, loan), "a cent is open"
    accounts.waive(session, desk, second, "so", settled_at)
    work(session, "cut_history", settled_at + 30 * DAY)
    assert not is_cut(session, loan), "settled too short a while ago"
    work(session, "cut_history", settled_at + 31 * DAY)
    assert is_cut(session, loan)
    # The other charge of the patron has nothing to do with it.
    assert ledger.balance(session, patron.id) == 500


def test_a_charge_that_is_open_again_is_waited_for(session, make, desk, ended):
    loan = ended(START + DAY, HistoryMode.DELAYED)
    charge = make.charge(loan=loan)
    paid = accounts.pay(session, desk, loan.patron, 500, PaymentMethod.CASH, START + 2 * DAY)
    accounts.reverse(session, desk, paid.entry, "a mistake", START + 3 * DAY)
    work(session, "cut_history", START + 400 * DAY)
    assert not is_cut(session, loan)
    accounts.reverse(session, desk, charge, "a mistake too", START + 401 * DAY)
    work(session, "cut_history", START + 432 * DAY)
    assert is_cut(session, loan)


def test_cut_does_not_wait_for_money(session, make, ended):
    loan = ended(START + DAY)
    make.charge(loan=loan)
    patron_id = loan.patron_id
    work(session, "cut_history", START + 3 * DAY)
    assert is_cut(session, loan)
    assert ledger.balance(session, patron_id) == 500


def test_kept_is_kept_until_they_say(session, ended):
    loan = ended(START + DAY, HistoryMode.KEPT)
    patron = loan.patron
    work(session, "cut_history", START + 3000 * DAY)
    assert not is_cut(session, loan)
    patron.history = HistoryMode.CUT
    assert work(session, "cut_history", START + 3000 * DAY) == (1, 1, 0)
    assert is_cut(session, loan)


@pytest.mark.parametrize(
    ("policies", "days"),
    [
        ({}, 90),
        ({"lost_refund_days": 10}, 10),
        ({"lost_refund_days": 10, "lost_refund": "keep"}, None),
        ({"lost_refund_days": None}, 5000),
    ],
)
def test_what_was_lost_and_paid_waits_until_nothing_is_given_back(session, make, ended, policies, days):
    for kind, value in policies.items():
        make.policy(kind, value)
    lost_at = START + 40 * DAY
    loan = ended(lost_at + DAY, closed_as=LoanClosing.LOST_PAID, lost_at=lost_at)
    # The whole of the last day is still within.
    work(session, "cut_history", lost_at + timedelta(days=days or 2, hours=5))
    assert is_cut(session, loan) is (days is None)
    work(session, "cut_history", lost_at + timedelta(days=(days or 2) + 1))
    assert is_cut(session, loan) is (days != 5000)


def test_a_lost_copy_found_in_time_still_finds_who_paid(session, make, desk, ended):
    copy = make.copy(home_branch=desk.branch, condition="lost")
    lost_at = START + 40 * DAY
    loan = ended(lost_at + DAY, closed_as=LoanClosing.LOST_PAID, lost_at=lost_at, copy=copy)
    charge = make.charge(loan=loan, reason="replacement", cents=2000)
    accounts.pay(session, desk, loan.patron, 2000, PaymentMethod.CASH, lost_at + DAY)
    work(session, "nightly", lost_at + 80 * DAY)
    found = returns.check_in(session, desk, copy.barcode, lost_at + 80 * DAY)
    assert [entry.amount_cents for entry in found.charges] == [-2000]
    assert found.charges[0].reverses_id == charge.id
    assert found.route.action is routing.RouteAction.SHELVE


def test_a_patron_who_changes_their_mind_meanwhile_is_listened_to(session, ended, another):
    """What is chosen is asked again under lock: a run that is behind cuts nothing that is to be kept."""
    loan = ended(START + DAY)
    part, at_night = STEPS[JobKind.CUT_HISTORY][0], night(START + 3 * DAY)
    assert part.due(session, at_night)[0] == [loan.id]
    session.execute(update(User).values(history=HistoryMode.KEPT))
    session.commit()
    assert part.do(another(), at_night, loan.id) is False
    assert not is_cut(session, loan)


def test_days_are_days_of_the_calendar(session, ended):
    """Through the night in which clocks go forward, and through that in which they go back."""
    for day, hour in ((date(2026, 3, 29), 22), (date(2026, 10, 25), 23)):
        loan = ended(datetime(day.year, day.month, day.day, 12, tzinfo=UTC))
        midnight = datetime(day.year, day.month, day.day, hour, tzinfo=UTC)
        work(session, "cut_history", midnight - MINUTE)
        assert not is_cut(session, loan)
        work(session, "cut_history", midnight)
        assert is_cut(session, loan)


# --- What else could tell -------------------------------------------------------------------------


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


def test_a_return_that_was_dated_back_is_remembered_until_the_night_after_its_scan(session, make, desk, patron, copy):
    loan = make.loan(copy, patron, checked_out_at=NOON - 9 * DAY, due_at=NOON + DAY)
    returns.check_in(session, desk, copy.barcode, NOON, returned_at=NOON - 2 * DAY)
    session.commit()

    def to_cut(now):
        return session.scalars(privacy.loans_to_cut(privacy.Memory(LocalDays.load(session, now), 30))).all()

    assert (to_cut(NOON + timedelta(hours=1)), to_cut(NOON + DAY)) == ([], [loan])


def return_late(session, desk, loan, copy, then) -> None:
    returns.check_in(session, desk, copy.barcode, then)


def find_again(session, desk, loan, copy, then) -> None:
    lose_and_pay(session, desk, loan)
    returns.check_in(session, desk, copy.barcode, then)


def find_on_the_shelf(session, desk, loan, copy, then) -> None:
    lose_and_pay(session, desk, loan)
    marking.mark(session, desk, copy, marking.Mark.USABLE, "On the wrong shelf", then)


def lend_to_the_next(session, desk, loan, copy, then) -> None:
    lose_and_pay(session, desk, loan)
    waiting = session.scalars(select(Hold).where(Hold.book_id == copy.book_id)).one()
    lending.check_out(session, letting_pass(desk), copy.barcode, waiting.patron.card_barcode, then)


def letting_pass(desk) -> Desk:
    """A desk that lends what is lost, and is here."""
    return Desk(desk.actor, desk.branch, overrides={"bad_condition": "It is here"})


def return_torn(session, desk, loan, copy, then) -> None:
    returns.check_in(session, desk, copy.barcode, then)
    marking.mark(session, desk, copy, marking.Mark.DAMAGED, "Torn", then + DAY)


def lose_and_pay(session, desk, loan) -> None:
    losses.declare_lost(session, desk, loan, NOON + DAY)
    owed = ledger.balance(session, loan.patron_id)
    paid = accounts.pay(session, desk, loan.patron, owed, PaymentMethod.CASH, NOON + 2 * DAY)
    losses.close_settled(session, paid.charge_ids, NOON + 2 * DAY)
    assert loan.closed_as is LoanClosing.LOST_PAID


@pytest.mark.parametrize(
    ("ending", "tied"),
    [
        (return_late, {"copies.last_seen_at", "holds.ready_at", "notices.created_at"}),
        (find_again, {"copies.last_seen_at", "holds.ready_at", "notices.created_at"}),
        (find_on_the_shelf, {"holds.ready_at", "notices.created_at"}),
        (lend_to_the_next, {"copies.last_seen_at", "holds.ended_at", "loans.checked_out_at", "overrides.made_at"}),
        (return_torn, {"copies.last_seen_at", "notices.created_at"}),
    ],
)
def test_no_moment_ties_the_ledger_to_a_loan_after_the_cut(session, make, desk, patron, copy, ending, tied):
    """Somebody waits for the copy, and what is done with it leaves moments with them too."""
    make.policy(PolicyKind.FINE_RATE, {"cents": 100, "per": "day"})
    copy.price_cents = 2000
    loan = make.loan(copy, patron, checked_out_at=NOON - 9 * DAY, due_at=NOON - DAY)
    renewals.renew(session, desk, loan, NOON)
    holds.place_hold(session, desk, make.user(), copy.book, NOON + MINUTE, pickup_branch_id=desk.here.id)
    then = NOON + 40 * DAY
    ending(session, desk, loan, copy, then)
    session.commit()
    ledgers = set(session.scalars(select(AccountEntry.made_at)))
    assert {NOON, then} <= ledgers
    before = ties_with(session, ledgers)
    assert tied <= before, "what the cut has to find"
    privacy.cut(session, loan)
    session.commit()
    assert ties_with(session, ledgers) == set()
    assert check_invariants(session) == []


def test_moments_of_others_stay_as_they_are(session, make, desk, patron, copy):
    make.policy(PolicyKind.FINE_RATE, {"cents": 100, "per": "day"})
    loan = make.loan(copy, patron, checked_out_at=NOON - 9 * DAY, due_at=NOON - DAY)
    other = make.loan(make.copy(home_branch=desk.branch), patron, checked_out_at=NOON, due_at=NOON + DAY)
    returns.check_in(session, desk, copy.barcode, NOON)
    waiting = make.hold(copy.book, make.user(home_branch=desk.branch))
    returns.check_in(session, desk, copy.barcode, NOON + DAY)
    session.commit()
    privacy.cut(session, loan)
    session.commit()
    session.expire_all()
    assert (copy.last_seen_at, waiting.ready_at) == (NOON + DAY, NOON + DAY), "another scan than that of the fine"
    assert other.checked_out_at == NOON, "another copy than that of the loan"


def test_a_loan_that_began_in_the_moment_of_a_refund_still_begins_after_the_one_before(session, make, desk, patron):
    """The copy was lent, lost, paid and lent again on one day."""
    copy = make.copy(home_branch=desk.branch, price_cents=2000)
    loan = make.loan(copy, patron, checked_out_at=NOON + MINUTE, due_at=NOON + 9 * DAY)
    losses.declare_lost(session, desk, loan, NOON + 2 * MINUTE)
    paid = accounts.pay(session, desk, patron, 2000, PaymentMethod.CASH, NOON + 3 * MINUTE)
    losses.close_settled(session, paid.charge_ids, NOON + 3 * MINUTE)
    next_one = lending.check_out(session, letting_pass(desk), copy.barcode, make.user().card_barcode, NOON + 4 * MINUTE)
    session.commit()
    privacy.cut(session, loan)
    session.commit()
    session.expire_all()
    assert next_one.checked_out_at == loan.closed_at == NOON + MINUTE
    assert check_invariants(session) == []
