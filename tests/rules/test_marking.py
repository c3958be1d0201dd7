"""Marking without HTTP: what the desk says of a copy's condition, and where that leads the copy and its hold."""

from datetime import UTC, date, datetime

import pytest

from library.models import CopyCondition, CopyPlace, HoldState, LoanClosing, Notice
from library.rules import marking, queues
from library.rules.marking import Mark
from library.rules.routing import Route, RouteAction

from .helping import refused_for

NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)


@pytest.fixture
def mark(session, desk, copy):
    """Call it to mark the copy."""

    def mark_copy(mark_as: Mark, reason: str = "Coffee on page 12.", of=None) -> marking.Marked:
        return marking.mark(session, desk, of or copy, mark_as, reason, NOON)

    return mark_copy


@pytest.mark.parametrize("mark_as", [Mark.DAMAGED, Mark.MISSING, Mark.WITHDRAWN])
def test_a_copy_is_marked_with_a_reason_and_marked_usable_again(session, branch, copy, mark, mark_as):
    answer = mark(mark_as)
    session.commit()
    session.expire_all()
    assert answer == marking.Marked(copy, None)
    assert (copy.place, copy.condition.value) == (CopyPlace.AVAILABLE, mark_as.value)
    assert copy.condition_note == "Coffee on page 12."
    answer = mark(Mark.USABLE, "Washed.")
    assert answer.route == Route(RouteAction.SHELVE, branch.id, "home")
    assert (copy.condition, copy.condition_note) == (CopyCondition.USABLE, "Washed.")


@pytest.mark.parametrize("mark_as", list(Mark))
def test_a_copy_that_is_out_is_not_marked(lend, copy, mark, mark_as):
    lend()
    with refused_for("copy_is_out"):
        mark(mark_as)
    assert (copy.place, copy.condition, copy.condition_note) == (CopyPlace.ON_LOAN, CopyCondition.USABLE, None)


@pytest.mark.parametrize("state", [HoldState.READY, HoldState.IN_TRANSIT])
@pytest.mark.parametrize("mark_as", [Mark.DAMAGED, Mark.MISSING, Mark.WITHDRAWN])
def test_the_hold_it_was_for_falls_back_to_the_head_of_its_queue(session, make, branch, copy, mark, state, mark_as):
    hold = make.hold(assigned_copy=copy, state=state, pickup_branch=branch)
    other = make.hold(copy.book)
    mark(mark_as)
    session.commit()
    session.expire_all()
    assert (hold.state, hold.assigned_copy_id, hold.shelf_until_at) == (HoldState.QUEUED, None, None)
    assert [found.id for found in queues.read_queue(session, copy.book_id).holds] == [hold.id, other.id]
    assert (copy.place, copy.transit_to_branch_id) == (CopyPlace.AVAILABLE, None)


@pytest.mark.parametrize("state", [HoldState.READY, HoldState.IN_TRANSIT])
def test_what_is_usable_and_set_aside_stays_so(make, branch, copy, mark, state):
    hold = make.hold(assigned_copy=copy, state=state, pickup_branch=branch)
    place = copy.place
    assert mark(Mark.USABLE).route is None
    assert (hold.state, copy.place) == (state, place)


def test_what_is_usable_again_serves_who_waits_first(session, make, branch, copy, mark):
    mark(Mark.MISSING)
    hold = make.hold(copy.book, pickup_branch=branch)
    assert mark(Mark.USABLE).route == Route(RouteAction.HOLD_SHELF, branch.id, "hold", hold)
    assert (hold.state, hold.shelf_until_on) == (HoldState.READY, date(2026, 5, 11))
    assert session.query(Notice).count() == 1


def test_what_is_usable_again_far_from_home_travels_there(make, branch, mark):
    far = make.copy(home_branch=branch, current_branch_id=make.branch().id, condition=CopyCondition.DAMAGED)
    assert mark(Mark.USABLE, of=far).route == Route(RouteAction.SEND, branch.id, "home")
    assert far.place is CopyPlace.IN_TRANSIT


def test_what_was_usable_all_along_stays_on_its_shelf_and_on_the_pick_list(make, branch, copy, mark):
    hold = make.hold(copy.book, pickup_branch=branch)
    assert mark(Mark.USABLE).route is None
    assert (hold.state, copy.place) == (HoldState.QUEUED, CopyPlace.AVAILABLE)


@pytest.mark.parametrize("place", [CopyPlace.IN_PROCESS, CopyPlace.ON_ORDER])
def test_what_is_not_at_hand_yet_is_not_led_on(make, branch, mark, place):
    copy = make.copy(home_branch=branch, place=place, condition=CopyCondition.DAMAGED)
    make.hold(copy.book, pickup_branch=branch)
    assert mark(Mark.USABLE, of=copy).route is None
    assert (copy.place, copy.condition) == (place, CopyCondition.USABLE)


def test_a_copy_that_travels_goes_on_when_it_is_usable_again(make, branch, mark, take_back):
    copy = make.copy(
        home_branch=branch,
        place=CopyPlace.IN_TRANSIT,
        transit_to_branch_id=branch.id,
        condition=CopyCondition.DAMAGED,
    )
    assert mark(Mark.USABLE, of=copy).route is None
    assert (copy.place, copy.transit_to_branch_id) == (CopyPlace.IN_TRANSIT, branch.id)
    assert take_back(copy=copy, now=NOON).route.action is RouteAction.SHELVE


def test_what_was_lost_and_paid_for_may_be_marked(make, copy, mark):
    copy.condition = CopyCondition.LOST
    make.loan(copy, closed_at=NOON, closed_as=LoanClosing.LOST_PAID)
    assert mark(Mark.WITHDRAWN).copy.condition is CopyCondition.WITHDRAWN
