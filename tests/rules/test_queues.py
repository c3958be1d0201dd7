"""Queues without HTTP: order and reordering, who waits for what, and what is to be fetched from the shelves."""

from datetime import UTC, date, datetime, timedelta

import pytest

from library.models import CopyCondition, CopyPlace, Hold, HoldState, PolicyKind
from library.rules import queues, routing

from .helping import refused_for

NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)
TODAY = date(2026, 5, 4)
DAY = timedelta(days=1)


@pytest.fixture
def now():
    return NOON


@pytest.fixture
def book(make):
    return make.book()


@pytest.fixture
def waiting(make, book):
    """Three holds of the book."""
    return [make.hold(book) for _ in range(3)]


def ids(rows) -> list[int]:
    return [row.id for row in rows]


# --- Order --------------------------------------------------------------------------------------


def test_positions_run_without_gaps_and_by_book(session, make, book, waiting):
    waiting[0].state, waiting[0].sort_key, waiting[0].ended_at = HoldState.CANCELLED, None, NOON
    waiting[0].ended_why = "cancelled_by_staff"
    make.hold(assigned_copy=make.copy(book=book), state=HoldState.READY)
    other = make.hold()
    session.commit()
    expected = {waiting[1].id: (1, 2), waiting[2].id: (2, 2), other.id: (1, 1)}
    assert queues.positions(session, [book.id, other.book_id, other.book_id]) == expected
    assert queues.positions(session, []) == {}


def test_one_that_falls_back_is_first(session, make, book, waiting):
    ready = make.hold(assigned_copy=make.copy(book=book), state=HoldState.READY)
    before = queues.read_queue(session, book.id).version
    routing.fall_back(session, ready)
    session.commit()
    after = queues.read_queue(session, book.id)
    assert ids(after.holds) == [ready.id, *ids(waiting)]
    assert after.version != before


def test_staff_reorder_by_naming_exactly_those_who_wait(session, book, waiting):
    first, second, third = ids(waiting)
    queue = queues.reorder_queue(session, book, [third, first, second])
    session.commit()
    assert ids(queue.holds) == [third, first, second]
    assert queues.positions(session, [book.id]) == {third: (1, 3), first: (2, 3), second: (3, 3)}
    again = queues.reorder_queue(session, book, [second, third, first])
    session.commit()
    assert ids(again.holds) == [second, third, first]
    assert again.version != queue.version


def test_a_new_order_leaves_the_version_of_each_hold(session, book, waiting):
    queues.reorder_queue(session, book, ids(waiting)[::-1])
    session.commit()
    assert {hold.version for hold in session.query(Hold)} == {1}


def test_the_same_order_changes_nothing(session, book, waiting):
    keys = [hold.sort_key for hold in waiting]
    before = queues.read_queue(session, book.id).version
    assert queues.reorder_queue(session, book, ids(waiting)).version == before
    assert [hold.sort_key for hold in waiting] == keys


def test_a_queue_named_wrongly_stays_as_it_is(session, make, book, waiting):
    first, second, third = ids(waiting)
    stranger = make.hold().id
    for named, params in (
        ([first, second], {"missing": [third], "unknown": []}),
        ([first, second, third, stranger], {"missing": [], "unknown": [stranger]}),
        ([first, second, second], {"missing": [third], "unknown": []}),
        ([first, second, third, third], {"missing": [], "unknown": []}),
        ([], {"missing": [first, second, third], "unknown": []}),
    ):
        with refused_for("queue_changed") as caught:
            queues.reorder_queue(session, book, named)
        assert caught.value.reasons[0].params == params
    assert ids(queues.read_queue(session, book.id).holds) == [first, second, third]


# --- Demand -------------------------------------------------------------------------------------


def test_demand_counts_who_waits_and_what_is_free(session, make, book, waiting, statements):
    copy = make.copy(book=book)
    make.copy(book=book, item_type_id=make.item_type().id)
    for values in (
        {"not_for_loan": True},
        {"item_type_id": make.item_type(not_for_loan=True).id},
        {"item_type_id": make.item_type(holdable=False).id},
        {"condition": CopyCondition.DAMAGED},
        {"place": CopyPlace.ON_HOLD_SHELF},
        {"place": CopyPlace.IN_PROCESS},
    ):
        make.copy(book=book, **values)
    for values in (
        {"copy_id": copy.id},
        {"copy_id": copy.id, "not_needed_after": TODAY},
        {"suspended": True},
        {"suspended": True, "suspended_until": TODAY},
        {"suspended": True, "suspended_until": TODAY - DAY},
        {"not_needed_after": TODAY - DAY},
        {"assigned_copy": make.copy(book=book), "state": HoldState.READY},
    ):
        make.hold(book, **values)
    empty = make.book()
    statements.clear()
    found = queues.demand(session, [book.id, empty.id], NOON)
    assert len(statements) == 2
    demand = found[book.id]
    assert (demand.title_holds, demand.copy_holds, demand.free_copies) == (4, {copy.id: 2}, 2)
    assert found[empty.id] == queues.Demand()


def test_who_waits_ahead_is_counted_by_what_they_want(session, make, book, waiting, statements):
    copy = make.copy(book=book)
    named = make.hold(book, copy_id=copy.id)
    make.hold(book, suspended=True)
    last, other = make.hold(book), make.hold()
    ready = make.hold(assigned_copy=make.copy(book=book), state=HoldState.READY)
    statements.clear()
    found = queues.ahead(session, [waiting[0], waiting[1], named, last, other, ready], NOON)
    assert len(statements) == 1
    assert [found[key].title_holds for key in (waiting[0].id, waiting[1].id, named.id, last.id)] == [0, 1, 3, 3]
    assert (found[last.id].copy_holds, found[named.id].copy_holds) == ({copy.id: 1}, {})
    assert found[last.id].for_copy(copy.id) == 4
    assert found[other.id] == found[ready.id] == queues.Demand()


def test_a_queue_is_as_long_as_all_who_stand_in_it(session, make, book, waiting):
    make.hold(book, suspended=True)
    make.hold(assigned_copy=make.copy(book=book), state=HoldState.READY)
    assert queues.lengths(session, [book.id, make.book().id]) == {book.id: 4}


# --- The pick list ------------------------------------------------------------------------------


@pytest.fixture
def picks(session):
    """Call it for the pick list as (copy, hold) pairs."""

    def listed(branch=None) -> list[tuple]:
        rows = queues.pick_list(session, NOON, branch.id if branch else None)
        return [(row.copy, row.hold) for row in rows]

    return listed


def test_each_copy_is_fetched_for_one_hold(make, book, waiting, picks):
    copies = [make.copy(book=book) for _ in range(2)]
    make.copy(book=book, place=CopyPlace.IN_PROCESS)
    make.copy()
    assert picks() == list(zip(copies, waiting, strict=False))
    assert picks(copies[1].home_branch) == [(copies[1], waiting[1])]
    assert picks(make.branch()) == []


def test_a_copy_at_the_pickup_branch_is_fetched_rather(make, book, picks):
    far, near = make.copy(book=book), make.copy(book=book)
    first = make.hold(book, pickup_branch=near.home_branch)
    second = make.hold(book, pickup_branch=near.home_branch)
    assert set(picks()) == {(near, first), (far, second)}


def test_a_copy_that_somebody_asked_for_is_kept_for_them(make, book, picks):
    named, other = make.copy(book=book), make.copy(book=book)
    title, of_copy = make.hold(book), make.hold(book, copy_id=named.id)
    assert set(picks()) == {(other, title), (named, of_copy)}


def test_who_may_not_have_it_is_passed_over(make, book, picks):
    copy = make.copy(book=book)
    make.hold(book, suspended=True)
    make.hold(book, not_needed_after=TODAY - DAY)
    make.hold(book, patron=make.user(active=False))
    make.hold(book, copy_id=make.copy(book=book, place=CopyPlace.IN_PROCESS).id)
    far = make.hold(book)
    make.transfer_limit(copy.home_branch, far.pickup_branch)
    child = make.hold(book, patron=make.user(patron_category_id=make.category().id))
    make.policy(PolicyKind.HOLDS_ALLOWED, False, patron_category=child.patron.patron_category)
    assert picks() == []
    last = make.hold(book)
    assert picks() == [(copy, last)]


def test_what_stays_in_the_house_is_not_fetched(make, book, waiting, picks):
    make.copy(book=book, not_for_loan=True)
    make.copy(book=book, condition=CopyCondition.DAMAGED)
    assert picks() == []


def test_the_list_runs_along_the_shelves(session, make, picks):
    here = make.branch()
    copies = [make.copy(home_branch=here, shelf_mark=mark) for mark in ("B 2", "A 1", None)]
    for copy in copies:
        make.hold(copy.book)
    assert [copy.shelf_mark for copy, _ in picks()] == [None, "A 1", "B 2"]


def test_a_long_list_takes_as_many_statements_as_a_short_one(session, make, statements):
    def count() -> int:
        session.expire_all()
        session.rollback()
        statements.clear()
        rows = queues.pick_list(session, NOON)
        assert all(row.copy.book.title for row in rows)
        return len(statements)

    make.hold(make.copy(item_type_id=make.item_type().id).book)
    few = count()
    for _ in range(10):
        make.hold(make.copy(item_type_id=make.item_type().id).book)
    assert count() == few


# --- Lists --------------------------------------------------------------------------------------


def test_holds_are_narrowed_and_patrons_see_their_own(session, make):
    librarian = make.librarian()
    patron = make.user()
    waiting, ready = make.hold(patron=patron), make.hold(assigned_copy=make.copy(), state=HoldState.READY)

    def find(actor=librarian, **filters) -> list[Hold]:
        return session.scalars(queues.find_holds(actor, **filters).order_by(Hold.id)).all()

    assert find() == [waiting, ready]
    assert find(state=HoldState.READY) == [ready]
    assert find(patron_id=waiting.patron_id) == [waiting]
    assert find(book_id=ready.book_id) == [ready]
    assert find(pickup_branch_id=waiting.pickup_branch_id) == [waiting]
    assert find(patron) == [waiting]
    assert find(patron, patron_id=ready.patron_id) == []
