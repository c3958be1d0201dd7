"""Holds without HTTP: placing them and every reason against it, changing, suspending and ending them."""

from datetime import UTC, date, datetime, timedelta

import pytest

from library.database import transaction
from library.models import (
    BlockScope,
    Book,
    CopyCondition,
    CopyPlace,
    Hold,
    HoldEnding,
    HoldState,
    Notice,
    Override,
    PatronBlock,
    PolicyKind,
    User,
)
from library.rules import holds, queues
from library.rules.desk import Desk
from library.rules.routing import RouteAction

from .helping import at_once, refused_for

NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)
TODAY = date(2026, 5, 4)
DAY = timedelta(days=1)


@pytest.fixture
def now():
    return NOON


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
    """A copy that is lent: what one waits for."""
    return make.loan(copy=make.copy(home_branch=branch), due_at=NOON + DAY).copy


@pytest.fixture
def place(session, desk, patron, copy):
    """Call it to place a hold of the patron on the copy's book."""

    def place_hold(**changes) -> Hold:
        book = changes.pop("book", None) or session.get_one(Book, copy.book_id)
        asked = {"desk": desk, "patron": patron, "now": NOON} | changes
        return holds.place_hold(session, asked.pop("desk"), asked.pop("patron"), book, asked.pop("now"), **asked)

    return place_hold


def queue(session, book_id: int) -> list[int]:
    return [hold.id for hold in queues.read_queue(session, book_id).holds]


# --- Placing ------------------------------------------------------------------------------------


def test_a_hold_stands_at_the_end_of_its_queue(session, make, desk, patron, branch, copy, place):
    first = make.hold(session.get_one(Book, copy.book_id))
    hold = place(not_needed_after=TODAY)
    session.commit()
    session.expire_all()
    assert (hold.patron_id, hold.book_id, hold.copy_id, hold.assigned_copy_id) == (patron.id, copy.book_id, None, None)
    assert (hold.state, hold.pickup_branch_id, hold.suspended) == (HoldState.QUEUED, branch.id, False)
    assert (hold.placed_at, hold.placed_on, hold.placed_by_id) == (NOON, TODAY, desk.actor.id)
    assert hold.not_needed_after == TODAY
    assert queue(session, copy.book_id) == [first.id, hold.id]
    assert queues.positions(session, [copy.book_id]) == {first.id: (1, 2), hold.id: (2, 2)}


def test_a_hold_may_be_for_one_copy_and_collected_elsewhere(make, copy, place):
    elsewhere = make.branch(time_zone="Pacific/Auckland")
    hold = place(copy=copy, pickup_branch_id=elsewhere.id)
    assert (hold.copy_id, hold.pickup_branch_id) == (copy.id, elsewhere.id)
    assert hold.placed_on == TODAY + DAY


def test_a_copy_on_the_shelf_stays_there_until_it_is_scanned(session, make, branch, place):
    copy = make.copy(home_branch=branch)
    hold = place(book=session.get_one(Book, copy.book_id))
    assert (hold.state, copy.place) == (HoldState.QUEUED, CopyPlace.AVAILABLE)
    assert [(pick.copy, pick.hold) for pick in queues.pick_list(session, NOON)] == [(copy, hold)]


def test_twenty_who_hold_at_once_stand_from_1_to_20(session, another, make, desk, branch, copy):
    actor_id, book_id = desk.actor.id, copy.book_id
    patrons = [make.user(home_branch=branch).id for _ in range(20)]

    def place(patron_id: int) -> int:
        mine = another()
        with transaction(mine, write=True):
            here = Desk(mine.get_one(User, actor_id))
            return holds.place_hold(mine, here, mine.get_one(User, patron_id), mine.get_one(Book, book_id), NOON).id

    answers = at_once([lambda patron_id=patron_id: place(patron_id) for patron_id in patrons])
    session.rollback()
    found = queues.positions(session, [book_id])
    assert sorted(answers, key=str) == sorted(found, key=str)
    assert sorted(found.values()) == [(at, 20) for at in range(1, 21)]


def test_one_patron_who_holds_twice_at_once_holds_once(session, another, desk, patron, copy):
    keys = desk.actor.id, patron.id, copy.book_id

    def place() -> int:
        mine = another()
        with transaction(mine, write=True):
            here = Desk(mine.get_one(User, keys[0]))
            return holds.place_hold(mine, here, mine.get_one(User, keys[1]), mine.get_one(Book, keys[2]), NOON).id

    answers = at_once([place] * 4)
    session.rollback()
    assert sum(isinstance(answer, int) for answer in answers) == 1, answers
    assert session.query(Hold).count() == 1


def test_who_holds_already_is_told(place, make, copy):
    place()
    with refused_for("already_held") as caught:
        place()
    assert (caught.value.reasons[0].pointer, caught.value.reasons[0].params) == ("/book_id", {"count": 1, "limit": 1})


def test_several_holds_of_a_book_by_policy_but_never_two_of_one_copy(session, place, make, branch, copy):
    make.policy(PolicyKind.MAX_HOLDS_PER_BOOK, 2)
    place(copy=copy)
    with refused_for("already_held") as caught:
        place(copy=copy)
    assert caught.value.reasons[0].pointer == "/copy_id"
    place()
    with refused_for("already_held"):
        place()
    other = make.policy(PolicyKind.MAX_HOLDS_PER_BOOK, None, branch=branch)
    place()
    assert len(queue(session, copy.book_id)) == 3
    other.value = 0
    session.commit()
    with refused_for("hold_limit") as caught:
        place(patron=make.user(home_branch=branch))
    assert caught.value.reasons[0].params == {"scope": "book", "count": 0, "limit": 0}


def test_an_ended_hold_is_no_hold(session, place, desk):
    holds.cancel_hold(session, desk, place(), NOON)
    assert place().state is HoldState.QUEUED


def test_what_one_has_on_loan_is_not_held(session, make, place, patron):
    mine = make.loan(patron=patron)
    with refused_for("already_borrowed"):
        place(book=session.get_one(Book, mine.copy.book_id))
    mine.closed_at, mine.closed_as, mine.copy.place = NOON, "returned", CopyPlace.AVAILABLE
    session.commit()
    assert place(book=session.get_one(Book, mine.copy.book_id))


def test_holds_that_wait_travel_and_lie_ready_count_against_the_limit(session, make, place, patron, desk):
    make.policy(PolicyKind.MAX_HOLDS, 3)
    make.hold(patron=patron)
    make.hold(patron=patron, state=HoldState.IN_TRANSIT, assigned_copy=make.copy())
    ready = make.hold(patron=patron, state=HoldState.READY, assigned_copy=make.copy())
    with refused_for("hold_limit") as caught:
        place()
    assert caught.value.reasons[0].params == {"scope": "all", "count": 3, "limit": 3}
    assert caught.value.reasons[0].pointer == "/patron_id"
    holds.cancel_hold(session, desk, ready, NOON)
    assert place()


def test_limits_follow_the_pickup_branch_and_the_patrons_category(make, place, patron, branch):
    make.policy(PolicyKind.MAX_HOLDS, 0)
    with refused_for("hold_limit"):
        place()
    make.policy(PolicyKind.MAX_HOLDS, None, branch=branch)
    assert place()
    with refused_for("already_held", "hold_limit"):
        place(pickup_branch_id=make.branch().id)


def test_so_many_holds_a_local_day(session, make, place, patron, desk, branch):
    make.policy(PolicyKind.MAX_HOLDS_PER_DAY, 2)
    make.hold(patron=patron, placed_on=TODAY - DAY)
    make.hold(patron=patron, placed_on=TODAY)
    taken_back = make.hold(patron=patron, placed_on=TODAY)
    with refused_for("holds_per_day") as caught:
        place()
    assert caught.value.reasons[0].params == {"count": 2, "limit": 2}
    # In Berlin the next day has begun.
    late = NOON.replace(hour=22, minute=30)
    hold = place(now=late)
    assert hold.placed_on == TODAY + DAY
    holds.cancel_hold(session, desk, taken_back, NOON)
    session.commit()
    # What was placed today was placed today, also if it was taken back since.
    with refused_for("holds_per_day"):
        place(book=session.get_one(Book, make.loan().copy.book_id))


def why(caught) -> list[str]:
    return [reason.params["why"] for reason in caught.value.reasons if reason.code == "not_holdable"]


def test_what_cannot_be_held_says_why(session, make, place):
    def refused(**values) -> tuple[list[str], list[str]]:
        copy = make.copy(**values)
        book = session.get_one(Book, copy.book_id)
        with refused_for("not_holdable") as title:
            place(book=book)
        with refused_for("not_holdable") as named:
            place(book=book, copy=copy)
        assert (title.value.reasons[0].pointer, named.value.reasons[0].pointer) == ("/book_id", "/copy_id")
        assert why(title) == why(named)
        return why(title)

    assert refused(not_for_loan=True) == ["not_for_loan"]
    assert refused(item_type_id=make.item_type(not_for_loan=True).id) == ["not_for_loan"]
    assert refused(item_type_id=make.item_type(holdable=False).id) == ["item_type"]
    forbidden = make.item_type()
    make.policy(PolicyKind.HOLDS_ALLOWED, False, item_type=forbidden)
    assert refused(item_type_id=forbidden.id) == ["not_allowed"]
    for condition in set(CopyCondition) - {CopyCondition.USABLE, CopyCondition.CLAIMED_RETURNED}:
        assert refused(condition=condition) == ["condition"]
    with refused_for("not_holdable") as caught:
        place(book=make.book())
    assert why(caught) == ["no_copies"]


def test_a_copy_may_have_several_obstacles(session, make, place):
    copy = make.copy(not_for_loan=True, condition=CopyCondition.DAMAGED)
    with refused_for("not_holdable", "not_holdable") as caught:
        place(book=session.get_one(Book, copy.book_id), copy=copy)
    assert why(caught) == ["not_for_loan", "condition"]


def test_one_copy_that_can_be_held_is_enough_for_the_title(session, make, place, branch):
    book = make.book()
    bad = make.copy(book=book, not_for_loan=True, home_branch=branch)
    make.copy(book=book, home_branch=branch)
    with refused_for("not_holdable"):
        place(book=book, copy=bad)
    assert place(book=book)


def test_what_stands_on_the_shelf_is_not_held_where_policy_says_so(session, make, place, branch, copy):
    make.policy(PolicyKind.HOLDS_ON_SHELF, False)
    book = session.get_one(Book, copy.book_id)
    free = make.copy(book=book, home_branch=branch)
    with refused_for("on_shelf"):
        place()
    assert place(copy=copy)
    free.place = CopyPlace.ON_HOLD_SHELF
    session.commit()
    assert place(patron=make.user(home_branch=branch))


def test_it_is_collected_where_one_can_collect(session, make, place, branch):
    with refused_for("pickup_missing"):
        place(patron=make.user())
    with refused_for("pickup_unknown") as caught:
        place(pickup_branch_id=999)
    assert caught.value.reasons[0].pointer == "/pickup_branch_id"
    depot = make.branch(pickup_point=False)
    with refused_for("pickup_not_allowed"):
        place(pickup_branch_id=depot.id)
    with refused_for("pickup_not_allowed"):
        place(patron=make.user(home_branch=depot))


def test_a_copy_must_be_able_to_get_there(session, make, place, branch, copy):
    far, kind = make.branch(), make.item_type()
    make.transfer_limit(branch, far)
    with refused_for("not_transferable"):
        place(pickup_branch_id=far.id)
    with refused_for("not_transferable"):
        place(copy=copy, pickup_branch_id=far.id)
    other = make.copy(book=session.get_one(Book, copy.book_id), item_type_id=kind.id)
    with refused_for("not_transferable"):
        place(copy=copy, pickup_branch_id=far.id)
    assert place(pickup_branch_id=far.id)
    limit = make.transfer_limit(other.home_branch, far, kind)
    with refused_for("not_transferable"):
        place(patron=make.user(home_branch=far))
    # It may be sent home first, and from there.
    limit.from_branch_id = make.branch().id
    other.current_branch_id = branch.id
    session.commit()
    assert place(patron=make.user(home_branch=far))


def test_a_last_day_lies_not_before_the_local_today(make, place):
    honolulu = make.branch(time_zone="Pacific/Honolulu")
    midnight = NOON.replace(hour=1)
    with refused_for("not_needed_in_the_past") as caught:
        place(now=midnight, not_needed_after=TODAY - DAY)
    assert caught.value.reasons[0].pointer == "/not_needed_after"
    assert place(now=midnight, not_needed_after=TODAY - DAY, pickup_branch_id=honolulu.id)


def test_the_copy_is_one_of_the_book(make, place):
    with refused_for("copy_of_another_book"):
        place(copy=make.copy())


def test_whoever_could_not_borrow_could_not_hold(session, make, place, branch):
    nobody = make.user(active=False, expires_on=TODAY - DAY, home_branch=branch)
    make.row(PatronBlock(user_id=nobody.id, reason="Noise", scope=BlockScope.HOLDS, created_at=NOON))
    make.row(PatronBlock(user_id=nobody.id, reason="Late", scope=BlockScope.RENEWALS, created_at=NOON))
    make.policy(PolicyKind.MAX_OVERDUE, 0)
    make.loan(patron=nobody, due_at=NOON - DAY)
    codes = ("patron_inactive", "patron_expired", "patron_blocked", "overdue_limit")
    with refused_for(*codes) as caught:
        place(patron=nobody)
    assert {reason.pointer for reason in caught.value.reasons} == {"/patron_id"}


def test_who_owes_too_much_holds_nothing(make, place, patron):
    make.policy(PolicyKind.MAX_DEBT_CENTS, 499)
    make.charge(patron, 500)
    with refused_for("debt_limit") as caught:
        place()
    assert caught.value.reasons[0].params == {"owed_cents": 500, "limit_cents": 499}


def test_who_registered_themselves_may_hold(make, place, branch):
    assert place(patron=make.user(confirmed=False, home_branch=branch))


def test_an_age_counts_where_no_copy_is_open_to_it(session, make, place, patron, copy):
    book, grown, film = session.get_one(Book, copy.book_id), make.item_type(), make.item_type()
    make.policy(PolicyKind.MINIMUM_AGE, 18, item_type=grown)
    make.policy(PolicyKind.MINIMUM_AGE, 12, item_type=film)
    patron.birth_date, copy.item_type_id = date(2016, 1, 1), grown.id
    make.copy(book=book, item_type_id=film.id, condition=CopyCondition.DAMAGED)
    with refused_for("age_restricted"):
        place()
    open_to_all = make.copy(book=book, item_type_id=film.id)
    with refused_for("age_restricted") as caught:
        place()
    assert caught.value.reasons[0].params == {"minimum_age": 18}
    open_to_all.item_type_id = None
    session.commit()
    with refused_for("age_restricted"):
        place(copy=copy)
    assert place()


def test_all_reasons_come_at_once_and_nothing_changes(session, make, place, patron, copy):
    make.hold(session.get_one(Book, copy.book_id), patron, placed_on=NOON.date())
    make.loan(patron=patron, copy=make.copy(book=session.get_one(Book, copy.book_id)))
    patron.active, copy.condition = False, CopyCondition.LOST
    for kind in (PolicyKind.MAX_HOLDS, PolicyKind.MAX_HOLDS_PER_DAY):
        make.policy(kind, 0)
    expected = (
        "patron_inactive",
        "already_held",
        "already_borrowed",
        "pickup_unknown",
        "not_needed_in_the_past",
        "not_holdable",
        "hold_limit",
        "holds_per_day",
    )
    with refused_for(*expected):
        place(copy=copy, pickup_branch_id=999, not_needed_after=TODAY - DAY)
    assert (len(session.new), session.query(Hold).count()) == (0, 1)


def test_staff_let_pass_with_a_reason_that_is_kept(session, make, desk, place):
    make.policy(PolicyKind.MAX_HOLDS, 0)
    make.policy(PolicyKind.MAX_HOLDS_PER_DAY, 0)
    reasons = {"hold_limit": "For the exam", "holds_per_day": "Asked by the school"}
    hold = place(desk=Desk(desk.actor, overrides=reasons))
    session.commit()
    kept = {row.code: row for row in session.query(Override)}
    assert {code: row.reason for code, row in kept.items()} == reasons
    assert {(row.action, row.actor_id, row.hold_id, row.made_at) for row in kept.values()} == {
        ("place_hold", desk.actor.id, hold.id, NOON)
    }


def test_patrons_let_nothing_pass(make, place, patron):
    make.policy(PolicyKind.MAX_HOLDS, 0)
    with refused_for("override_not_permitted", "hold_limit"):
        place(desk=Desk(patron, overrides={"hold_limit": "Please"}))


# --- Changing -----------------------------------------------------------------------------------


@pytest.fixture
def hold(place):
    return place()


def test_what_waits_is_collected_elsewhere_until_another_day(session, make, hold):
    there = make.branch()
    values = {"pickup_branch_id": there.id, "not_needed_after": TODAY}
    holds.change_hold(session, hold, values, NOON)
    session.commit()
    assert (hold.pickup_branch_id, hold.not_needed_after) == (there.id, TODAY)
    holds.change_hold(session, hold, {"not_needed_after": None}, NOON)
    assert hold.not_needed_after is None


def test_an_old_last_day_does_not_hinder_other_changes(session, make):
    hold = make.hold(not_needed_after=TODAY - DAY)
    holds.change_hold(session, hold, {"not_needed_after": TODAY - DAY, "suspended": True}, NOON)
    assert hold.suspended


def test_a_pickup_branch_must_be_one(session, make, branch, copy, hold):
    far, depot = make.branch(), make.branch(pickup_point=False)
    make.transfer_limit(branch, far)
    for place, code in ((999, "pickup_unknown"), (depot.id, "pickup_not_allowed"), (far.id, "not_transferable")):
        with refused_for(code):
            holds.change_hold(session, hold, {"pickup_branch_id": place}, NOON)
    with refused_for("not_needed_in_the_past"):
        holds.change_hold(session, hold, {"not_needed_after": TODAY - DAY}, NOON)
    assert hold.pickup_branch_id == branch.id
    assert not session.dirty


def test_a_hold_on_a_copy_cares_for_that_copy_only(session, make, branch, copy, place):
    far = make.branch()
    make.copy(book=session.get_one(Book, copy.book_id), home_branch=far)
    make.transfer_limit(branch, far)
    of_copy, of_title = place(copy=copy), place(patron=make.user(home_branch=branch))
    with refused_for("not_transferable"):
        holds.change_hold(session, of_copy, {"pickup_branch_id": far.id}, NOON)
    assert holds.change_hold(session, of_title, {"pickup_branch_id": far.id}, NOON).pickup_branch_id == far.id


def test_a_copy_on_its_way_gets_a_new_goal(session, make, branch):
    copy, near, far = make.copy(home_branch=branch), make.branch(), make.branch()
    hold = make.hold(assigned_copy=copy, state=HoldState.IN_TRANSIT)
    make.transfer_limit(branch, far)
    with refused_for("not_transferable"):
        holds.change_hold(session, hold, {"pickup_branch_id": far.id}, NOON)
    holds.change_hold(session, hold, {"pickup_branch_id": near.id}, NOON)
    session.commit()
    session.refresh(copy)
    assert (copy.place, copy.transit_to_branch_id) == (CopyPlace.IN_TRANSIT, near.id)
    assert hold.state is HoldState.IN_TRANSIT


def test_what_lies_ready_is_collected_where_it_lies(session, make):
    hold = make.hold(assigned_copy=make.copy(), state=HoldState.READY)
    with refused_for("pickup_fixed"):
        holds.change_hold(session, hold, {"pickup_branch_id": make.branch().id}, NOON)
    holds.change_hold(session, hold, {"pickup_branch_id": hold.pickup_branch_id, "not_needed_after": TODAY}, NOON)
    assert hold.not_needed_after == TODAY


def test_an_ended_hold_is_changed_no_more(session, desk, hold):
    holds.cancel_hold(session, desk, hold, NOON)
    for change in (
        lambda: holds.change_hold(session, hold, {"not_needed_after": None}, NOON),
        lambda: holds.cancel_hold(session, desk, hold, NOON),
    ):
        with refused_for("hold_ended"):
            change()


# --- Suspending ---------------------------------------------------------------------------------


def test_a_suspended_hold_keeps_its_place(session, make, hold):
    second = make.hold(session.get_one(Book, hold.book_id))
    holds.change_hold(session, hold, {"suspended": True}, NOON)
    assert (hold.suspended, hold.suspended_until) == (True, None)
    assert queues.positions(session, [hold.book_id]) == {hold.id: (1, 2), second.id: (2, 2)}
    holds.change_hold(session, hold, {"suspended": False}, NOON)
    assert not hold.suspended


def test_naming_the_end_suspends(session, hold):
    holds.change_hold(session, hold, {"suspended_until": TODAY}, NOON)
    assert (hold.suspended, hold.suspended_until) == (True, TODAY)
    holds.change_hold(session, hold, {"suspended_until": None}, NOON)
    assert (hold.suspended, hold.suspended_until) == (True, None)
    holds.change_hold(session, hold, {"suspended": False}, NOON)
    holds.change_hold(session, hold, {"suspended_until": None}, NOON)
    assert not hold.suspended


def test_a_suspension_that_is_over_is_none(session, make):
    hold = make.hold(suspended=True, suspended_until=TODAY - DAY)
    holds.change_hold(session, hold, {"not_needed_after": TODAY}, NOON)
    assert (hold.suspended, hold.suspended_until) == (False, None)
    hold.suspended, hold.suspended_until = True, TODAY - DAY
    session.commit()
    holds.change_hold(session, hold, {"suspended": True}, NOON)
    assert (hold.suspended, hold.suspended_until) == (True, None)


def test_a_suspension_ends_not_before_today(session, hold):
    with refused_for("suspended_in_the_past") as caught:
        holds.change_hold(session, hold, {"suspended": True, "suspended_until": TODAY - DAY}, NOON)
    assert caught.value.reasons[0].pointer == "/suspended_until"
    assert not hold.suspended


@pytest.mark.parametrize("state", [HoldState.IN_TRANSIT, HoldState.READY])
def test_only_what_waits_is_suspended(session, make, state):
    hold = make.hold(assigned_copy=make.copy(), state=state)
    with refused_for("not_suspendable") as caught:
        holds.change_hold(session, hold, {"suspended": True}, NOON)
    assert caught.value.reasons[0].params == {"state": state.value}


def test_all_of_a_patrons_holds_are_suspended_and_resumed(session, make, patron, desk):
    waiting = [make.hold(patron=patron) for _ in range(2)]
    ready = make.hold(patron=patron, assigned_copy=make.copy(), state=HoldState.READY)
    holds.cancel_hold(session, desk, make.hold(patron=patron), NOON)
    stranger = make.hold()
    verdicts = holds.suspend_all(session, patron, NOON, TODAY + DAY)
    session.commit()
    assert [(row.hold, [reason.code for reason in row.reasons]) for row in verdicts] == [
        (waiting[0], []),
        (waiting[1], []),
        (ready, ["not_suspendable"]),
    ]
    assert {(hold.suspended, hold.suspended_until) for hold in waiting} == {(True, TODAY + DAY)}
    assert not stranger.suspended
    assert [row.hold for row in holds.resume_all(session, patron)] == waiting
    session.commit()
    assert {(hold.suspended, hold.suspended_until) for hold in waiting} == {(False, None)}
    assert holds.resume_all(session, patron) == []
    past = holds.suspend_all(session, patron, NOON, TODAY - DAY)
    assert [reason.code for reason in past[0].reasons] == ["suspended_in_the_past"]


# --- Ending -------------------------------------------------------------------------------------


def test_a_cancelled_hold_leaves_the_queue(session, make, desk, hold):
    second = make.hold(session.get_one(Book, hold.book_id))
    assert holds.cancel_hold(session, desk, hold, NOON, "Found it elsewhere") == (hold, None)
    session.commit()
    session.expire_all()
    assert (hold.state, hold.sort_key, hold.ended_at) == (HoldState.CANCELLED, None, NOON)
    assert (hold.ended_why, hold.ended_by_id) == (HoldEnding.CANCELLED_BY_STAFF, desk.actor.id)
    assert hold.end_reason == "Found it elsewhere"
    assert queues.positions(session, [hold.book_id]) == {second.id: (1, 1)}


def test_who_cancels_is_told_apart(session, patron, hold, make):
    assert holds.cancel_hold(session, Desk(patron), hold, NOON).hold.ended_why is HoldEnding.CANCELLED_BY_PATRON
    by_the_house = holds.cancel_hold(session, Desk(None), make.hold(), NOON).hold
    assert (by_the_house.ended_why, by_the_house.ended_by_id) == (HoldEnding.CANCELLED_BY_STAFF, None)


def test_the_copy_of_a_cancelled_hold_is_for_the_next(session, make, desk, branch):
    copy = make.copy(home_branch=branch)
    book = session.get_one(Book, copy.book_id)
    ready = make.hold(assigned_copy=copy, state=HoldState.READY, pickup_branch=branch)
    suspended, next_one = make.hold(book, suspended=True), make.hold(book, pickup_branch=branch)
    route = holds.cancel_hold(session, desk, ready, NOON).route
    session.commit()
    assert (route.action, route.branch_id, route.hold) == (RouteAction.HOLD_SHELF, branch.id, next_one)
    assert (ready.assigned_copy_id, next_one.assigned_copy_id) == (None, copy.id)
    assert (next_one.state, next_one.ready_at, suspended.state) == (HoldState.READY, NOON, HoldState.QUEUED)
    assert session.query(Notice).filter_by(hold_id=next_one.id).count() == 1
    route = holds.cancel_hold(session, desk, next_one, NOON).route
    assert (route.action, copy.place) == (RouteAction.SHELVE, CopyPlace.AVAILABLE)


def test_the_copy_of_a_cancelled_hold_that_travels_goes_on_travelling(session, make, desk):
    copy = make.copy()
    hold = make.hold(assigned_copy=copy, state=HoldState.IN_TRANSIT)
    route = holds.cancel_hold(session, desk, hold, NOON).route
    assert (route.action, route.branch_id) == (RouteAction.SEND, hold.pickup_branch_id)
    assert copy.place is CopyPlace.IN_TRANSIT


def test_a_hold_cancelled_twice_at_once_is_cancelled_once(session, another, make, desk):
    key, actor_id = make.hold().id, desk.actor.id

    def cancel() -> bool:
        mine = another()
        with transaction(mine, write=True):
            hold, actor = mine.get_one(Hold, key), mine.get_one(User, actor_id)
            return holds.cancel_hold(mine, Desk(actor), hold, NOON).hold.ended_at == NOON

    answers = at_once([cancel] * 4)
    assert answers.count(True) == 1
    assert {str(answer) for answer in answers if answer is not True} == {"hold_ended"}


def served(session, patron, copy):
    """Which hold of the patron is served if they borrow the copy."""
    return holds.served_by(copy, holds.own_holds(session, patron, [copy.book_id]))


def test_what_a_patron_borrows_serves_their_own_hold(session, make, patron, copy, place):
    book = session.get_one(Book, copy.book_id)
    other = make.copy(book=book)
    assert served(session, patron, other) is None
    of_copy = make.hold(book, patron, copy_id=copy.id, placed_at=NOON - 2 * DAY)
    late, early = (make.hold(book, patron, placed_at=NOON - days * DAY) for days in (1, 3))
    stranger = make.user()
    assert served(session, patron, other) is early
    assert served(session, patron, copy) is early
    holds.cancel_hold(session, Desk(patron), early, NOON)
    assert (served(session, patron, copy), served(session, patron, other)) == (of_copy, late)
    assert served(session, stranger, copy) is None
    set_aside = make.copy(book=book)
    ready = make.hold(patron=patron, assigned_copy=set_aside, state=HoldState.READY)
    assert served(session, patron, set_aside) is ready


def test_a_hold_that_is_served_ends_with_the_loan(session, make, desk, hold, copy):
    assert holds.fulfil(session, hold, copy, desk, NOON) is None
    session.commit()
    assert (hold.state, hold.ended_why, hold.sort_key) == (HoldState.FULFILLED, HoldEnding.BORROWED, None)
    assert (hold.ended_at, hold.ended_by_id) == (NOON, desk.actor.id)


def test_the_copy_that_was_set_aside_is_taken(session, make, desk):
    copy = make.copy()
    hold = make.hold(assigned_copy=copy, state=HoldState.READY)
    make.hold(session.get_one(Book, copy.book_id))
    assert holds.fulfil(session, hold, copy, desk, NOON) is None
    assert (hold.assigned_copy_id, hold.state) == (None, HoldState.FULFILLED)


def test_the_copy_set_aside_that_was_not_taken_passes_on(session, make, desk, branch):
    set_aside = make.copy(home_branch=branch)
    book = session.get_one(Book, set_aside.book_id)
    hold = make.hold(assigned_copy=set_aside, state=HoldState.READY, pickup_branch=branch)
    next_one = make.hold(book, pickup_branch=branch)
    route = holds.fulfil(session, hold, make.copy(book=book), desk, NOON)
    assert (route.action, route.hold, next_one.assigned_copy_id) == (RouteAction.HOLD_SHELF, next_one, set_aside.id)


def test_limits_of_an_item_type_hold_for_titles_too(session, make, place, branch):
    film = make.item_type()
    make.policy(PolicyKind.MAX_HOLDS, 0, item_type=film)
    book = make.book()
    make.copy(book=book, home_branch=branch, item_type_id=film.id)
    with refused_for("hold_limit"):
        place(book=book)
    make.copy(book=book, home_branch=branch)
    assert place(book=book)


def test_a_pickup_branch_that_allows_no_holds_is_none_to_move_to(session, make, place, branch, copy):
    strict = make.branch()
    make.policy(PolicyKind.HOLDS_ALLOWED, False, branch=strict)
    hold = place()
    session.commit()
    with refused_for("not_holdable") as caught:
        holds.change_hold(session, hold, {"pickup_branch_id": strict.id}, NOON)
    assert caught.value.reasons[0].pointer == "/pickup_branch_id"
