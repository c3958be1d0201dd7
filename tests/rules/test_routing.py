"""Who may have a copy that lies at a desk, who is passed over, and where a copy goes whose hold has ended."""

from datetime import UTC, date, datetime, timedelta

import pytest

from library.models import (
    BlockScope,
    CopyCondition,
    CopyPlace,
    HoldEnding,
    HoldState,
    Notice,
    PatronBlock,
    Role,
)
from library.rules import holds, queues, routing
from library.rules.desk import Desk
from library.rules.routing import Route, RouteAction

NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)
TODAY = date(2026, 5, 4)
DAY = timedelta(days=1)


@pytest.fixture
def now():
    return NOON


@pytest.fixture
def elsewhere(make):
    return make.branch()


# --- Eligible -----------------------------------------------------------------------------------


def put(row, **values) -> None:
    for name, value in values.items():
        setattr(row, name, value)


def block(make, patron, scope: BlockScope, until_on: date | None = None) -> None:
    make.row(PatronBlock(user_id=patron.id, scope=scope, until_on=until_on, reason="Noise.", created_at=NOON))


PASSED_OVER = {
    "suspended": lambda make, hold, copy, start: put(hold, suspended=True),
    "suspended through today": lambda make, hold, copy, start: put(hold, suspended=True, suspended_until=TODAY),
    "needed until yesterday": lambda make, hold, copy, start: put(hold, not_needed_after=TODAY - DAY),
    "inactive": lambda make, hold, copy, start: put(hold.patron, active=False),
    "card expired": lambda make, hold, copy, start: put(hold.patron, expires_on=TODAY - DAY),
    "blocked": lambda make, hold, copy, start: block(make, hold.patron, BlockScope.ALL),
    "blocked from holds": lambda make, hold, copy, start: block(make, hold.patron, BlockScope.HOLDS, TODAY),
    "too much debt": lambda make, hold, copy, start: [
        make.policy("max_debt_cents", 499, branch=hold.pickup_branch),
        make.charge(hold.patron, 500),
    ],
    "too much overdue": lambda make, hold, copy, start: [
        make.policy("max_overdue", 0),
        make.loan(patron=hold.patron, due_at=NOON - DAY),
    ],
    "too young": lambda make, hold, copy, start: make.policy("minimum_age", 18),
    "holds not allowed": lambda make, hold, copy, start: make.policy("holds_allowed", False, branch=hold.pickup_branch),
    "no way there": lambda make, hold, copy, start: make.transfer_limit(start, hold.pickup_branch),
    "another copy": lambda make, hold, copy, start: put(hold, copy_id=make.copy(book=copy.book).id),
    "copy stays in the house": lambda make, hold, copy, start: put(copy, not_for_loan=True),
    "type is not held": lambda make, hold, copy, start: put(copy, item_type_id=make.item_type(holdable=False).id),
    "type stays in the house": lambda make, hold, copy, start: put(
        copy, item_type_id=make.item_type(not_for_loan=True).id
    ),
}
SERVED = {
    "nothing": lambda make, hold, copy, start: None,
    "suspended until yesterday": lambda make, hold, copy, start: put(hold, suspended=True, suspended_until=TODAY - DAY),
    "needed until today": lambda make, hold, copy, start: put(hold, not_needed_after=TODAY),
    "card ends today": lambda make, hold, copy, start: put(hold.patron, expires_on=TODAY),
    "blocked until yesterday": lambda make, hold, copy, start: block(make, hold.patron, BlockScope.ALL, TODAY - DAY),
    "blocked from loans": lambda make, hold, copy, start: block(make, hold.patron, BlockScope.LOANS),
    "debt at another branch": lambda make, hold, copy, start: [
        make.policy("max_debt_cents", 499, branch=start),
        make.charge(hold.patron, 500),
    ],
    "old enough": lambda make, hold, copy, start: [
        make.policy("minimum_age", 18),
        put(hold.patron, birth_date=date(2008, 5, 4)),
    ],
    "no way back": lambda make, hold, copy, start: make.transfer_limit(hold.pickup_branch, start),
    "no way for others": lambda make, hold, copy, start: make.transfer_limit(
        start, hold.pickup_branch, make.item_type()
    ),
    "this very copy": lambda make, hold, copy, start: put(hold, copy_id=copy.id),
    "not confirmed yet": lambda make, hold, copy, start: put(hold.patron, confirmed=False),
}


@pytest.mark.parametrize("why", PASSED_OVER)
def test_who_may_not_have_the_copy_now_is_passed_over_and_keeps_their_place(
    session, make, branch, elsewhere, copy, take_back, why
):
    hold = make.hold(copy.book, pickup_branch=elsewhere)
    PASSED_OVER[why](make, hold, copy, branch)
    session.commit()
    assert take_back().route == Route(RouteAction.SHELVE, branch.id, "home")
    assert (hold.state, hold.assigned_copy_id) == (HoldState.QUEUED, None)
    assert queues.positions(session, [copy.book_id]) == {hold.id: (1, 1)}


@pytest.mark.parametrize("why", SERVED)
def test_whoever_may_have_it_gets_it(session, make, branch, elsewhere, copy, take_back, why):
    hold = make.hold(copy.book, pickup_branch=elsewhere)
    SERVED[why](make, hold, copy, branch)
    session.commit()
    assert take_back().route == Route(RouteAction.SEND, elsewhere.id, "hold", hold)


def test_the_first_of_the_queue_who_may_have_it_gets_it(session, make, branch, copy, take_back):
    first, second, third = (make.hold(copy.book, pickup_branch=branch) for _ in range(3))
    first.suspended = True
    session.commit()
    queues.reorder_queue(session, copy.book, [first.id, third.id, second.id])
    assert take_back().hold == third
    assert queues.positions(session, [copy.book_id]) == {first.id: (1, 2), second.id: (2, 2)}


def test_the_local_day_is_that_where_it_is_collected(session, make, copy, take_back):
    # At noon in London tomorrow has begun on Kiritimati.
    far = make.branch(time_zone="Pacific/Kiritimati")
    past = make.hold(copy.book, pickup_branch=far, not_needed_after=TODAY)
    assert take_back().hold is None
    past.not_needed_after = TODAY + DAY
    session.commit()
    assert take_back().hold == past


def test_a_copy_that_is_unfit_serves_nobody_not_even_whom_it_was_meant_for(session, make, branch, copy, take_back):
    make.hold(copy.book, copy_id=copy.id, pickup_branch=branch)
    copy.condition = CopyCondition.DAMAGED
    session.commit()
    assert take_back().route == Route(RouteAction.SET_ASIDE, branch.id, "damaged")


def test_whose_turn_it_was_keeps_the_copy_though_they_are_blocked_by_now(session, make, branch, copy, take_back):
    hold = make.hold(assigned_copy=copy, state=HoldState.IN_TRANSIT, pickup_branch=branch)
    hold.patron.active = False
    session.commit()
    assert take_back().hold == hold


def test_many_who_wait_cost_no_more_statements_than_one(session, make, elsewhere, copy, take_back, statements):
    def statements_of_a_scan() -> int:
        session.expire_all()
        statements.clear()
        assert take_back().hold is None
        session.rollback()
        return len(statements)

    make.hold(copy.book, pickup_branch=elsewhere, suspended=True)
    one = statements_of_a_scan()
    for _ in range(9):
        make.hold(copy.book, pickup_branch=elsewhere, suspended=True)
    assert statements_of_a_scan() == one


# --- After the hold -----------------------------------------------------------------------------


@pytest.fixture
def shelved(make, branch, copy):
    """A hold for which the copy is set aside."""
    return make.hold(assigned_copy=copy, state=HoldState.READY, pickup_branch=branch)


def test_a_copy_whose_hold_has_ended_goes_to_the_next_in_line(session, make, desk, branch, copy, shelved):
    following = make.hold(copy.book, pickup_branch=branch)
    answer = holds.cancel_hold(session, desk, shelved, NOON)
    assert answer.route == Route(RouteAction.HOLD_SHELF, branch.id, "hold", following)
    assert (shelved.state, following.state, copy.place) == (
        HoldState.CANCELLED,
        HoldState.READY,
        CopyPlace.ON_HOLD_SHELF,
    )
    assert (following.shelf_until_on, session.query(Notice).count()) == (TODAY + 7 * DAY, 1)


def test_or_is_sent_to_them_from_where_it_lies(session, make, desk, elsewhere, copy, shelved):
    following = make.hold(copy.book, pickup_branch=elsewhere)
    answer = holds.cancel_hold(session, desk, shelved, NOON)
    assert answer.route == Route(RouteAction.SEND, elsewhere.id, "hold", following)
    assert (copy.place, following.state) == (CopyPlace.IN_TRANSIT, HoldState.IN_TRANSIT)


def test_or_goes_home(session, make, desk, branch, elsewhere):
    copy = make.copy(home_branch=elsewhere, current_branch_id=branch.id)
    hold = make.hold(assigned_copy=copy, state=HoldState.READY, pickup_branch=branch)
    assert holds.cancel_hold(session, desk, hold, NOON).route == Route(RouteAction.SEND, elsewhere.id, "home")
    assert (copy.place, copy.transit_to_branch_id) == (CopyPlace.IN_TRANSIT, elsewhere.id)


def test_a_hold_that_falls_back_is_first_again(session, make, copy, shelved):
    second, third, _ = make.hold(copy.book), make.hold(copy.book), make.hold()
    routing.fall_back(session, shelved)
    session.commit()
    assert (shelved.state, shelved.assigned_copy_id, shelved.ready_at) == (HoldState.QUEUED, None, None)
    assert (shelved.shelf_until_at, shelved.shelf_until_on) == (None, None)
    assert [hold.id for hold in queues.read_queue(session, copy.book_id).holds] == [shelved.id, second.id, third.id]


def test_a_hold_that_falls_back_into_an_empty_queue_is_first_too(session, copy, shelved):
    routing.fall_back(session, shelved)
    assert queues.positions(session, [copy.book_id]) == {shelved.id: (1, 1)}


def test_passing_on_a_copy_that_is_not_at_hand_moves_nothing(session, make, copy):
    make.loan(copy)
    answer = routing.pass_on(session, copy, NOON)
    assert (answer.action, answer.reason, copy.place) == (RouteAction.SET_ASIDE, "on_loan", CopyPlace.ON_LOAN)


def test_ended_holds_are_nobodys(session, make, branch, copy, take_back):
    ended = {"ended_at": NOON, "ended_why": HoldEnding.NOT_COLLECTED, "state": HoldState.EXPIRED}
    make.hold(assigned_copy=copy, pickup_branch=branch, **ended)
    assert routing.serving(session, copy) is None
    assert take_back().hold is None


def test_staff_wait_like_everybody(make, branch, copy, take_back):
    hold = make.hold(copy.book, make.user(role=Role.ADMIN), pickup_branch=branch)
    assert take_back(desk=Desk(hold.patron, branch)).hold == hold
