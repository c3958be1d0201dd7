"""Check-in without HTTP: the loan ends, its fine is charged, the copy is led on; claims are resolved."""

from datetime import UTC, date, datetime, timedelta

import pytest

from library.database import transaction
from library.models import (
    AccountEntry,
    Branch,
    ChargeReason,
    Copy,
    CopyCondition,
    CopyPlace,
    HoldState,
    LoanClosing,
    Notice,
    User,
)
from library.rules import holds, ledger, losses, returns
from library.rules.desk import Desk
from library.rules.losses import ClaimOutcome
from library.rules.routing import Route, RouteAction

from .helping import at_once, refused_for

NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)
TODAY = date(2026, 5, 4)
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)


@pytest.fixture
def now():
    return NOON


@pytest.fixture
def elsewhere(make, desk) -> Desk:
    """A desk at another branch."""
    return Desk(desk.actor, make.branch())


@pytest.fixture
def late_loan(make, copy, patron):
    """A loan that was due on Thursday; today is Monday."""
    due_at = datetime(2026, 4, 30, 21, 59, 59, tzinfo=UTC)
    return make.loan(copy, patron, checked_out_at=due_at - 20 * DAY, due_at=due_at)


# --- The loan -----------------------------------------------------------------------------------


def test_a_copy_comes_back_to_its_shelf(session, desk, branch, copy, lend, take_back):
    loan = lend()
    answer = take_back(now=NOON + 3 * DAY)
    session.commit()
    session.expire_all()
    assert (answer.copy, answer.loan, answer.hold) == (copy, loan, None)
    assert (answer.charges, answer.warnings) == ([], [])
    assert answer.route == Route(RouteAction.SHELVE, branch.id, "home")
    assert (loan.closed_at, loan.closed_as) == (NOON + 3 * DAY, LoanClosing.RETURNED)
    assert (loan.closed_by_id, loan.returned_branch_id) == (desk.actor.id, branch.id)
    assert (copy.place, copy.last_seen_at, copy.last_seen_branch_id) == (
        CopyPlace.AVAILABLE,
        NOON + 3 * DAY,
        branch.id,
    )


def test_a_copy_back_on_its_shelf_is_lent_again(lend, take_back):
    first = lend()
    take_back(now=NOON + HOUR)
    assert lend(now=NOON + 2 * HOUR).id != first.id


def test_a_second_scan_is_no_error(session, copy, late_loan, make, patron, charged, take_back):
    make.policy("fine_rate", {"cents": 20, "per": "day"})
    take_back()
    answer = take_back(now=NOON + HOUR)
    session.commit()
    assert (answer.loan, answer.copy, answer.charges, answer.route.action) == (None, copy, [], RouteAction.SHELVE)
    assert (late_loan.closed_at, copy.last_seen_at) == (NOON, NOON + HOUR)
    assert charged(patron) == [("overdue", 80)]


def test_a_return_is_dated_back_but_the_scan_is_now(copy, lend, take_back):
    loan = lend()
    take_back(now=NOON + 2 * DAY, returned_at=NOON + HOUR)
    assert (loan.closed_at, copy.last_seen_at) == (NOON + HOUR, NOON + 2 * DAY)


def test_a_return_dated_in_the_future_counts_as_now(lend, take_back):
    loan = lend()
    take_back(now=NOON + HOUR, returned_at=NOON + 9 * DAY)
    assert loan.closed_at == NOON + HOUR


def test_a_return_in_the_moment_of_lending_is_possible_but_not_before(copy, lend, take_back):
    loan = lend()
    with refused_for("returned_before_loan") as caught:
        take_back(returned_at=NOON - MINUTE)
    assert caught.value.reasons[0].pointer == "/returned_at"
    assert (loan.closed_at, copy.place) == (None, CopyPlace.ON_LOAN)
    take_back(returned_at=NOON)
    assert loan.closed_at == NOON


def test_a_back_dated_return_of_a_copy_that_was_not_out_is_no_error(take_back):
    assert take_back(returned_at=NOON - 99 * DAY).loan is None


def test_a_scan_happens_after_the_one_before_it(lend, take_back):
    loan = lend(now=NOON + HOUR)
    take_back(now=NOON)
    assert loan.closed_at == NOON + HOUR


def test_an_unknown_barcode_cannot_come_back(session, desk):
    with refused_for("item_not_found") as caught:
        returns.check_in(session, desk, "nope", NOON)
    assert caught.value.reasons[0].pointer == "/copy_barcode"


def test_of_desks_that_take_one_copy_back_at_the_same_moment_one_closes_the_loan_and_charges(
    session, another, make, desk, copy, patron, late_loan, charged
):
    make.policy("fine_rate", {"cents": 20, "per": "day"})
    actor_id, branch_id, barcode = desk.actor.id, desk.branch.id, copy.barcode

    def scan() -> bool:
        mine = another()
        with transaction(mine, write=True):
            here = Desk(mine.get_one(User, actor_id), mine.get_one(Branch, branch_id))
            return returns.check_in(mine, here, barcode, NOON).loan is not None

    answers = at_once([scan] * 6)
    assert sorted(answers, key=str) == [False] * 5 + [True], answers
    session.expire_all()
    assert session.get_one(Copy, copy.id).place is CopyPlace.AVAILABLE
    assert charged(patron) == [("overdue", 80)]


def test_of_two_copies_that_come_back_at_once_one_serves_the_hold(session, another, make, desk, branch, copy):
    other = make.copy(book=copy.book, home_branch=branch)
    make.loan(copy)
    make.loan(other)
    hold = make.hold(copy.book, pickup_branch=branch)
    actor_id, branch_id = desk.actor.id, desk.branch.id

    def scan(barcode: str) -> str:
        mine = another()
        with transaction(mine, write=True):
            here = Desk(mine.get_one(User, actor_id), mine.get_one(Branch, branch_id))
            return returns.check_in(mine, here, barcode, NOON).route.action.value

    answers = at_once([lambda barcode=barcode: scan(barcode) for barcode in (copy.barcode, other.barcode)])
    assert sorted(answers, key=str) == ["hold_shelf", "shelve"], answers
    session.expire_all()
    assert (hold.state, session.query(Notice).count()) == (HoldState.READY, 1)


# --- Its fine -----------------------------------------------------------------------------------


def test_one_charge_is_written_with_its_steps(session, make, desk, branch, patron, late_loan, take_back):
    make.policy("fine_rate", {"per": "day", "steps": [{"from": 1, "cents": 20}, {"from": 4, "cents": 50}]})
    answer = take_back()
    session.commit()
    (charge,) = session.query(AccountEntry)
    assert answer.charges == [charge]
    assert (charge.patron_id, charge.reason, charge.amount_cents) == (patron.id, ChargeReason.OVERDUE, 110)
    assert (charge.branch_id, charge.actor_id, charge.made_at) == (branch.id, desk.actor.id, NOON)
    told = [(step["step"], step["count"], step["cents"], step["amount_cents"]) for step in charge.steps]
    assert told == [("late", 4, None, 0), ("rate", 3, 20, 60), ("rate", 1, 50, 110)]
    assert ledger.charges_of_loan(session, late_loan.id) == [charge]
    assert late_loan.fined_until_at == NOON


def test_what_is_not_late_is_not_fined(make, patron, copy, charged, take_back):
    make.policy("fine_rate", {"cents": 20, "per": "day"})
    loan = make.loan(copy, patron, due_at=NOON)
    assert take_back().charges == charged(patron) == []
    assert loan.fined_until_at is None


@pytest.mark.parametrize(
    ("returned_at", "cents"),
    [
        (datetime(2026, 4, 30, 21, 59, 59, tzinfo=UTC), []),
        (datetime(2026, 4, 30, 22, 0, tzinfo=UTC), [20]),
        (datetime(2026, 5, 2, 12, tzinfo=UTC), [40]),
        (NOON + 9 * DAY, [80]),
    ],
)
def test_the_fine_runs_until_the_day_of_the_return(make, late_loan, take_back, returned_at, cents):
    make.policy("fine_rate", {"cents": 20, "per": "day"})
    assert [charge.amount_cents for charge in take_back(returned_at=returned_at).charges] == cents


def test_policies_and_calendar_of_the_branch_that_lent_count_wherever_it_comes_back(
    make, branch, elsewhere, late_loan, take_back
):
    make.policy("fine_rate", {"cents": 20, "per": "day"}, branch=branch)
    make.policy("fine_rate", {"cents": 99, "per": "day"}, branch=elsewhere.branch)
    make.exception(date(2026, 5, 2), date(2026, 5, 3), branch_id=branch.id)
    (charge,) = take_back(desk=elsewhere).charges
    assert (charge.amount_cents, charge.branch_id) == (40, elsewhere.branch.id)


@pytest.mark.parametrize(("cap", "price", "cents"), [(50, None, 50), (None, 30, 30), (50, 30, 30), (30, 50, 30)])
def test_the_lower_of_cap_and_price_wins(session, make, copy, late_loan, take_back, cap, price, cents):
    make.policy("fine_rate", {"cents": 20, "per": "day"})
    make.policy("fine_cap_cents", cap)
    make.policy("cap_at_price", True)
    copy.price_cents = price
    session.commit()
    assert [charge.amount_cents for charge in take_back().charges] == [cents]


def test_within_grace_nothing_is_charged(make, late_loan, charged, patron, take_back):
    make.policy("fine_rate", {"cents": 20, "per": "day"})
    make.policy("grace", {"number": 4, "unit": "days"})
    assert take_back().charges == charged(patron) == []


# --- Where the copy goes ------------------------------------------------------------------------


def test_a_copy_returned_elsewhere_travels_home(session, branch, elsewhere, copy, lend, take_back):
    lend()
    answer = take_back(desk=elsewhere)
    session.commit()
    session.expire_all()
    assert answer.route == Route(RouteAction.SEND, branch.id, "home")
    assert (copy.place, copy.transit_to_branch_id) == (CopyPlace.IN_TRANSIT, branch.id)
    assert (copy.current_branch_id, answer.loan.returned_branch_id) == (elsewhere.branch.id, elsewhere.branch.id)
    again = take_back(desk=elsewhere, now=NOON + HOUR)
    assert (again.loan, again.route.action) == (None, RouteAction.SEND)
    home = take_back(now=NOON + DAY)
    assert (home.loan, home.route) == (None, Route(RouteAction.SHELVE, branch.id, "home"))
    assert (copy.place, copy.transit_to_branch_id) == (CopyPlace.AVAILABLE, None)


def test_the_first_who_waits_gets_it_where_it_is_collected_here(
    session, make, branch, copy, lend, take_back, elsewhere
):
    lend()
    first = make.hold(copy.book, pickup_branch=branch)
    second = make.hold(copy.book, pickup_branch=elsewhere.branch)
    answer = take_back()
    session.commit()
    session.expire_all()
    assert (answer.hold, answer.route) == (first, Route(RouteAction.HOLD_SHELF, branch.id, "hold", first))
    assert (copy.place, first.state, first.assigned_copy_id) == (CopyPlace.ON_HOLD_SHELF, HoldState.READY, copy.id)
    assert (first.ready_at, first.shelf_until_on, first.sort_key) == (NOON, TODAY + 7 * DAY, None)
    assert (first.shelf_until_at, first.time_zone) == (datetime(2026, 5, 11, 21, 59, 59, tzinfo=UTC), "Europe/Berlin")
    assert second.state is HoldState.QUEUED


def test_the_patron_is_told_once(session, make, branch, copy, lend, take_back):
    lend()
    hold = make.hold(copy.book, pickup_branch=branch)
    take_back()
    again = take_back(now=NOON + DAY)
    session.commit()
    (notice,) = session.query(Notice)
    assert (notice.patron_id, notice.kind.value, notice.hold_id) == (hold.patron_id, "hold_ready", hold.id)
    assert (again.hold, again.route.action) == (hold, RouteAction.HOLD_SHELF)
    assert (hold.ready_at, hold.shelf_until_on) == (NOON, TODAY + 7 * DAY)


def test_it_is_sent_to_where_it_is_collected_and_ready_on_arrival(session, make, elsewhere, copy, lend, take_back):
    make.policy("shelf_period", {"number": 3, "unit": "days"}, branch=elsewhere.branch)
    make.exception(date(2026, 5, 8), date(2026, 5, 9), branch_id=elsewhere.branch.id)
    lend()
    hold = make.hold(copy.book, pickup_branch=elsewhere.branch)
    answer = take_back()
    assert answer.route == Route(RouteAction.SEND, elsewhere.branch.id, "hold", hold)
    assert (copy.place, copy.transit_to_branch_id) == (CopyPlace.IN_TRANSIT, elsewhere.branch.id)
    assert (hold.state, hold.assigned_copy_id, hold.sort_key, hold.ready_at) == (
        HoldState.IN_TRANSIT,
        copy.id,
        None,
        None,
    )
    assert session.query(Notice).count() == 0
    arrived = take_back(desk=elsewhere, now=NOON + DAY)
    assert arrived.route == Route(RouteAction.HOLD_SHELF, elsewhere.branch.id, "hold", hold)
    assert (hold.state, hold.ready_at, hold.shelf_until_on) == (HoldState.READY, NOON + DAY, date(2026, 5, 10))
    assert session.query(Notice).count() == 1


def test_scanned_on_its_way_it_stays_on_its_way(session, make, desk, copy, elsewhere, take_back):
    hold = make.hold(assigned_copy=copy, state=HoldState.IN_TRANSIT, pickup_branch=elsewhere.branch)
    between = Desk(desk.actor, make.branch())
    make.hold(copy.book, pickup_branch=between.branch)
    answer = take_back(desk=between)
    session.commit()
    assert answer.route == Route(RouteAction.SEND, elsewhere.branch.id, "hold", hold)
    assert (hold.state, copy.place, copy.transit_to_branch_id) == (
        HoldState.IN_TRANSIT,
        CopyPlace.IN_TRANSIT,
        elsewhere.branch.id,
    )
    assert copy.current_branch_id == between.branch.id


def test_it_goes_to_where_it_is_collected_now_though_that_changed_on_the_way(
    session, make, desk, copy, elsewhere, take_back
):
    hold = make.hold(assigned_copy=copy, state=HoldState.IN_TRANSIT, pickup_branch=elsewhere.branch)
    third = Desk(desk.actor, make.branch())
    holds.change_hold(session, hold, {"pickup_branch_id": third.branch.id}, NOON)
    assert copy.transit_to_branch_id == third.branch.id
    answer = take_back(desk=elsewhere)
    assert answer.route == Route(RouteAction.SEND, third.branch.id, "hold", hold)
    assert take_back(desk=third).route == Route(RouteAction.HOLD_SHELF, third.branch.id, "hold", hold)


def test_what_was_on_its_way_for_a_hold_that_ended_is_led_anew(session, make, desk, branch, copy, elsewhere, take_back):
    ended = make.hold(assigned_copy=copy, state=HoldState.IN_TRANSIT, pickup_branch=elsewhere.branch)
    left = holds.cancel_hold(session, desk, ended, NOON).route
    assert (left.action, left.branch_id, left.hold) == (RouteAction.SEND, elsewhere.branch.id, None)
    assert copy.place is CopyPlace.IN_TRANSIT
    following = make.hold(copy.book, pickup_branch=branch)
    assert take_back(desk=elsewhere).route == Route(RouteAction.SEND, branch.id, "hold", following)
    holds.cancel_hold(session, desk, following, NOON)
    assert take_back(desk=elsewhere).route == Route(RouteAction.SEND, branch.id, "home")


def test_what_travels_home_is_led_anew_at_every_scan(session, make, desk, copy, elsewhere, lend, take_back):
    lend()
    take_back(desk=elsewhere)
    third = Desk(desk.actor, make.branch())
    hold = make.hold(copy.book, pickup_branch=third.branch)
    answer = take_back(desk=elsewhere, now=NOON + HOUR)
    assert answer.route == Route(RouteAction.SEND, third.branch.id, "hold", hold)
    holds.cancel_hold(session, desk, hold, NOON)
    here = make.hold(copy.book, pickup_branch=third.branch)
    assert take_back(desk=third, now=NOON + DAY).route == Route(RouteAction.HOLD_SHELF, third.branch.id, "hold", here)


def test_what_is_set_aside_and_scanned_elsewhere_goes_back(make, branch, copy, elsewhere, take_back):
    hold = make.hold(assigned_copy=copy, state=HoldState.READY, pickup_branch=branch)
    assert take_back(desk=elsewhere).route == Route(RouteAction.SEND, branch.id, "hold", hold)
    assert (hold.state, hold.shelf_until_at, copy.place) == (HoldState.IN_TRANSIT, None, CopyPlace.IN_TRANSIT)
    assert take_back(now=NOON + DAY).route.action is RouteAction.HOLD_SHELF
    assert (hold.state, hold.shelf_until_on) == (HoldState.READY, TODAY + 8 * DAY)


# --- What is not as it should be ----------------------------------------------------------------


@pytest.mark.parametrize("condition", [CopyCondition.DAMAGED, CopyCondition.WITHDRAWN])
def test_what_is_unfit_goes_to_its_desk_and_not_to_a_shelf(
    make, branch, copy, elsewhere, take_back, session, condition
):
    copy.condition = condition
    session.commit()
    make.hold(copy.book, pickup_branch=branch)
    sent = take_back(desk=elsewhere)
    assert sent.route == Route(RouteAction.SEND, branch.id, "home")
    answer = take_back()
    assert answer.route == Route(RouteAction.SET_ASIDE, branch.id, condition.value)
    assert [(said.code, said.params) for said in answer.warnings] == [("not_fit", {"condition": condition.value})]
    assert (copy.place, copy.condition) == (CopyPlace.AVAILABLE, condition)


@pytest.mark.parametrize("condition", [CopyCondition.MISSING, CopyCondition.LOST])
def test_what_was_missing_is_here_again(session, make, branch, copy, take_back, condition):
    copy.condition = condition
    session.commit()
    hold = make.hold(copy.book, pickup_branch=branch)
    answer = take_back()
    assert [(said.code, said.params) for said in answer.warnings] == [("was_missing", {"condition": condition.value})]
    assert (answer.hold, copy.condition, copy.place) == (hold, CopyCondition.USABLE, CopyPlace.ON_HOLD_SHELF)


@pytest.mark.parametrize("place", [CopyPlace.IN_PROCESS, CopyPlace.ON_ORDER, CopyPlace.AVAILABLE])
def test_what_is_scanned_is_here(make, branch, take_back, place):
    copy = make.copy(place=place, home_branch=branch, current_branch_id=make.branch().id)
    take_back(copy=copy)
    assert (copy.place, copy.current_branch_id) == (CopyPlace.AVAILABLE, branch.id)
    assert (copy.last_seen_at, copy.last_seen_branch_id) == (NOON, branch.id)


def test_a_check_note_is_shown(make, branch, take_back):
    answer = take_back(copy=make.copy(home_branch=branch, check_note="2 CDs"))
    assert [(said.code, said.params) for said in answer.warnings] == [("check_note", {"note": "2 CDs"})]


# --- Claims that it was brought back ------------------------------------------------------------


@pytest.fixture
def claimed(session, make, late_loan):
    """The late loan, claimed to be back on Saturday; 20 cents a day."""
    make.policy("fine_rate", {"cents": 20, "per": "day"})
    losses.claim_returned(session, late_loan, datetime(2026, 5, 2, 12, tzinfo=UTC), "Book drop.")
    session.commit()
    return late_loan


def test_a_claimed_copy_that_is_scanned_is_fined_until_the_claim(copy, claimed, take_back):
    answer = take_back()
    assert [charge.amount_cents for charge in answer.charges] == [40]
    assert [(said.code, said.params) for said in answer.warnings] == [
        ("was_missing", {"condition": "claimed_returned"})
    ]
    assert (claimed.closed_as, copy.place, copy.condition) == (
        LoanClosing.RETURNED,
        CopyPlace.AVAILABLE,
        CopyCondition.USABLE,
    )


def test_a_claim_that_was_right_ends_the_loan_where_the_copy_was_found(session, make, desk, elsewhere, copy, claimed):
    hold = make.hold(copy.book, pickup_branch=elsewhere.branch)
    answer = returns.resolve_claim(session, elsewhere, claimed, ClaimOutcome.FOUND, NOON)
    session.commit()
    assert answer == returns.Resolution(claimed, Route(RouteAction.HOLD_SHELF, elsewhere.branch.id, "hold", hold))
    assert (claimed.closed_at, claimed.closed_as) == (NOON, LoanClosing.CLAIM_FOUND)
    assert (claimed.closed_by_id, claimed.returned_branch_id) == (desk.actor.id, elsewhere.branch.id)
    assert (copy.place, copy.last_seen_branch_id) == (CopyPlace.ON_HOLD_SHELF, elsewhere.branch.id)
    assert [charge.amount_cents for charge in session.query(AccountEntry)] == [40]


def test_after_a_claim_that_was_wrong_the_loan_goes_on_and_its_days_are_not_fined(
    session, desk, copy, patron, claimed, charged, take_back
):
    answer = returns.resolve_claim(session, desk, claimed, ClaimOutcome.MISSING, NOON)
    session.commit()
    session.expire_all()
    assert answer == returns.Resolution(claimed, None)
    assert (copy.place, copy.condition, claimed.claimed_at) == (CopyPlace.ON_LOAN, CopyCondition.USABLE, None)
    assert charged(patron) == []
    # Friday and Saturday were late before the claim, Monday and Tuesday after it.
    take_back(now=NOON + DAY)
    assert charged(patron) == [("overdue", 80)]


def test_only_a_claim_is_resolved(session, desk, make, copy, patron):
    loan = make.loan(copy, patron)
    for outcome in ClaimOutcome:
        with refused_for("not_claimed"):
            returns.resolve_claim(session, desk, loan, outcome, NOON)
    closed = make.loan(closed_at=NOON, closed_as=LoanClosing.RETURNED)
    with refused_for("loan_closed"):
        returns.resolve_claim(session, desk, closed, ClaimOutcome.FOUND, NOON)
