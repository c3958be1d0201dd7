"""What is free, and whether one patron may have it: said as holding and lending say it."""

from datetime import UTC, date, datetime, timedelta

import pytest

from library.models import (
    BlockScope,
    Book,
    Copy,
    CopyCondition,
    CopyPlace,
    HoldState,
    Loan,
    PatronBlock,
    PolicyKind,
)
from library.rules import availability, holds, lending
from library.rules.availability import Shelf
from library.rules.desk import Desk
from library.rules.errors import Refused

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
def patron(make, branch):
    return make.user(home_branch=branch)


@pytest.fixture
def book(make):
    return make.book()


@pytest.fixture
def look(session, patron):
    """Call it for the availability of one book, to the patron or to another reader."""

    def of_book(book, reader=patron) -> availability.Availability:
        [found] = availability.of_books(session, [book.id], NOON, reader)
        return found

    return of_book


def codes(reasons) -> list[str]:
    return sorted(reason.code for reason in reasons)


# --- What there is ------------------------------------------------------------------------------


def test_copies_are_counted_where_they_are(make, book, branch, look):
    other = make.branch()
    for values in (
        {},
        {"not_for_loan": True},
        {"item_type_id": make.item_type(not_for_loan=True).id},
        {"condition": CopyCondition.DAMAGED},
        {"place": CopyPlace.ON_HOLD_SHELF},
        {"condition": CopyCondition.WITHDRAWN},
        {"condition": CopyCondition.LOST},
    ):
        make.copy(book=book, home_branch=branch, **values)
    make.copy(book=book, home_branch=branch, current_branch_id=other.id, item_type_id=make.item_type().id)
    found = look(book, None)
    assert found.shelves == [Shelf(branch.id, free=1, total=5), Shelf(other.id, free=1, total=1)]
    assert (found.copies, found.queue_length, found.next_due_on) == (6, 0, None)
    assert (found.against_hold, found.against_loan) == (None, None)


def test_the_next_copy_that_comes_back_is_told(make, book, look):
    make.loan(copy=make.copy(book=book), due_at=NOON + 3 * DAY)
    make.loan(copy=make.copy(book=book), due_at=NOON + 2 * DAY)
    lost = make.loan(copy=make.copy(book=book), due_at=NOON - DAY)
    lost.copy.condition = CopyCondition.LOST
    make.loan(copy=make.copy(book=book), due_at=NOON - DAY, closed_at=NOON, closed_as="returned")
    assert look(book).next_due_on == TODAY + 2 * DAY


def test_the_queue_counts_all_who_stand_in_it(make, book, look):
    make.hold(book)
    make.hold(book, suspended=True)
    make.hold(assigned_copy=make.copy(book=book), state=HoldState.READY)
    assert look(book).queue_length == 2


def test_books_come_in_the_order_in_which_they_were_asked_for(session, make):
    keys = [make.copy().book_id for _ in range(3)][::-1]
    assert [found.book_id for found in availability.of_books(session, keys, NOON)] == keys


def test_whether_all_books_are_there(session, book):
    assert availability.all_there(session, [book.id])
    assert not availability.all_there(session, [book.id, 999])


# --- What a patron may do -----------------------------------------------------------------------


def test_what_is_free_may_be_held_and_borrowed(make, book, look):
    make.copy(book=book)
    found = look(book)
    assert (found.against_hold, found.against_loan) == ([], [])


def test_of_what_has_no_copy_there_is_nothing_to_have(book, look):
    found = look(book)
    assert (codes(found.against_hold), codes(found.against_loan)) == (["not_holdable"], ["no_copy"])


def test_the_copy_that_comes_closest_speaks_for_the_book(make, book, look):
    make.loan(copy=make.copy(book=book, not_for_loan=True))
    assert codes(look(book).against_loan) == ["item_on_loan", "not_for_loan"]
    make.copy(book=book, condition=CopyCondition.DAMAGED)
    assert codes(look(book).against_loan) == ["bad_condition"]
    make.copy(book=book)
    assert look(book).against_loan == []


def test_a_copy_set_aside_is_for_its_holder_only(make, book, look, patron):
    copy = make.copy(book=book)
    make.hold(patron=patron, assigned_copy=copy, state=HoldState.READY)
    make.hold(book)
    mine, theirs = look(book), look(book, make.user())
    assert (codes(mine.against_hold), mine.against_loan) == (["already_held"], [])
    assert codes(theirs.against_loan) == ["held_for_another", "wanted_by_others"]


def test_who_registered_themselves_holds_and_does_not_borrow_yet(session, make, book, branch):
    make.copy(book=book)
    unseen = make.user(confirmed=False, home_branch=branch)
    for allowed, expected in ((False, ["patron_unconfirmed"]), (True, [])):
        [found] = availability.of_books(session, [book.id], NOON, unseen, allowed)
        assert (found.against_hold, codes(found.against_loan)) == ([], expected)


def test_without_a_home_branch_one_must_say_where_to_collect(make, book, look):
    make.copy(book=book)
    assert codes(look(book, make.user()).against_hold) == ["pickup_missing"]


@pytest.fixture
def shelves(session, make, patron, branch) -> list[int]:
    """Books in every condition, and a patron about whom much can be said."""
    child = make.category()
    patron.patron_category, patron.birth_date = child, TODAY - 10 * 365 * DAY
    film, reference, grown = make.item_type(), make.item_type(not_for_loan=True), make.item_type()
    make.policy(PolicyKind.MAX_LOANS_PER_ITEM_TYPE, 1, item_type=film)
    make.policy(PolicyKind.MINIMUM_AGE, 18, item_type=grown)
    make.policy(PolicyKind.HOLDS_ALLOWED, False, patron_category=child, item_type=film)
    far = make.branch(pickup_point=False)
    make.transfer_limit(far, branch)
    copies = [
        make.copy(home_branch=branch),
        make.copy(home_branch=far),
        make.copy(item_type_id=film.id),
        make.copy(item_type_id=reference.id),
        make.copy(item_type_id=grown.id),
        make.copy(condition=CopyCondition.MISSING),
        make.copy(place=CopyPlace.IN_PROCESS),
        make.copy(home_branch=branch),
        make.copy(home_branch=branch),
        make.loan().copy,
        make.loan(patron=patron, copy=make.copy(item_type_id=film.id)).copy,
    ]
    mine = session.query(Loan).filter_by(patron_id=patron.id).one()
    copies.append(make.copy(book=session.get_one(Book, mine.copy.book_id)))
    titles = {copy.id: session.get_one(Book, copy.book_id) for copy in copies}
    make.hold(titles[copies[7].id])
    make.hold(titles[copies[8].id], patron)
    make.hold(patron=patron, assigned_copy=make.copy(), state=HoldState.READY)
    make.hold(assigned_copy=make.copy(), state=HoldState.IN_TRANSIT)
    session.commit()
    return sorted({key for (key,) in session.query(Copy.book_id)})


def said(act) -> list[str]:
    try:
        act()
    except Refused as refused:
        return codes(refused.reasons)
    return []


def test_holds_are_judged_as_placing_them_does(session, shelves, patron):
    for found in availability.of_books(session, shelves, NOON, patron):
        book = session.get_one(Book, found.book_id)
        placed = said(lambda book=book: holds.place_hold(session, Desk(patron), patron, book, NOON))
        assert codes(found.against_hold) == placed, found.book_id
        session.rollback()


def test_loans_are_judged_as_lending_does(session, shelves, patron, make):
    librarian, judged = make.librarian(), set()
    found = {row.book_id: row for row in availability.of_books(session, shelves, NOON, patron)}
    for copy in session.query(Copy).order_by(Copy.id).all():
        desk = Desk(librarian, copy.current_branch)
        lent = said(
            lambda copy=copy, desk=desk: lending.check_out(session, desk, copy.barcode, patron.card_barcode, NOON)
        )
        session.rollback()
        judged |= set(lent)
        if len(session.get_one(Book, copy.book_id).copies) == 1:
            remarks = {"other_branch", "limit_reached"}
            assert codes(found[copy.book_id].against_loan) == [code for code in lent if code not in remarks], copy.id
    assert judged >= {
        "item_on_loan",
        "held_for_another",
        "bad_condition",
        "not_for_loan",
        "age_restricted",
        "loan_limit",
    }


def test_what_speaks_against_a_patron_speaks_against_every_book(make, book, look, patron, branch):
    make.copy(book=book)
    patron.expires_on = TODAY - DAY
    for scope in (BlockScope.LOANS, BlockScope.HOLDS):
        make.row(PatronBlock(user_id=patron.id, reason="Noise", scope=scope, created_at=NOON))
    found = look(book)
    assert codes(found.against_hold) == codes(found.against_loan) == ["patron_blocked", "patron_expired"]


def test_many_books_take_as_many_statements_as_one(session, make, patron, shelves, statements):
    def count(book_ids) -> int:
        session.rollback()
        session.expire_all()
        reader = session.get_one(type(patron), patron.id)
        statements.clear()
        availability.of_books(session, book_ids, NOON, reader)
        return len(statements)

    assert len(shelves) > 10
    assert {count(shelves), count(shelves[:6]), count(shelves[-2:])} == {count(shelves[:1])}
    assert count(shelves) < 25
