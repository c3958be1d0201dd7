"""Saving and deleting plain records: kind words for a clash, and a count of what is in the way."""

import pytest
from sqlalchemy.exc import IntegrityError

from library.models import Author, Base, Branch, Copy, IdentifierScheme, ItemType, Subject, User
from library.rules import changes

from .helping import refused_for


def author(name: str, dates: str = "") -> Author:
    return Author(name=name, name_key=name.lower(), dates=dates)


def test_a_new_row_is_written_and_known_by_its_key(session):
    branch = Branch(time_zone="UTC")
    changes.save(session, branch, {"name": "Main"})
    session.commit()
    assert session.query(Branch).one().name == "Main"


def test_a_known_row_takes_new_values_and_a_new_version(session, make):
    branch = make.branch(name="Main")
    changes.save(session, branch, {"name": "Central", "address": "1 High Street"})
    session.commit()
    assert (branch.name, branch.address, branch.version) == ("Central", "1 High Street", 2)


def test_a_clash_of_one_column_names_its_member(session, make):
    make.branch(name="Main")
    with refused_for("already_exists") as caught:
        changes.save(session, Branch(time_zone="UTC"), {"name": "Main"})
    assert (caught.value.reasons[0].pointer, caught.value.reasons[0].params) == ("/name", {"members": ["name"]})


def test_a_clash_of_two_columns_names_both(session, make):
    make.author(name="Dumas, Alexandre", dates="1802-1870")
    changes.save(session, author("Dumas, Alexandre", "1824-1895"), {})
    with refused_for("already_exists") as caught:
        changes.save(session, author("Dumas, Alexandre", "1802-1870"), {})
    assert caught.value.reasons[0].pointer == "/name"
    assert caught.value.reasons[0].params == {"members": ["name", "dates"]}


def test_a_clash_of_a_folded_column_names_the_member_that_was_sent(session, make):
    make.user(username="jane")
    user = User(username="Jane", card_barcode="X", created_at=make.user().created_at)
    with refused_for("already_exists") as caught:
        changes.save(session, user, {"username_key": "jane"})
    assert caught.value.reasons[0].params == {"members": ["username"]}


def test_a_change_can_clash_too(session, make):
    make.item_type(name="Book")
    film = make.item_type(name="Film")
    with refused_for("already_exists"):
        changes.save(session, film, {"name": "Book"})
    session.rollback()
    assert {row.name for row in session.query(ItemType)} == {"Book", "Film"}


def test_tables_with_like_constraints_are_told_apart(session, make):
    make.branch(name="Same")
    make.subject(name="Same")
    changes.save(session, make.item_type(), {"name": "Same"})
    with refused_for("already_exists"):
        changes.save(session, Subject(name="Same", name_key="same"), {})


def test_a_broken_law_that_is_no_clash_is_no_refusal(session, make):
    with pytest.raises(IntegrityError):
        changes.save(session, make.item_type(), {"default_price_cents": -1})


def test_an_unused_row_is_deleted(session, make):
    changes.delete(session, make.branch())
    session.commit()
    assert session.query(Branch).count() == 0


def test_what_is_in_the_way_is_counted_by_kind(session, make):
    here, elsewhere = make.branch(), make.branch()
    for _ in range(2):
        make.copy(home_branch=elsewhere, current_branch_id=here.id)
    make.user(home_branch=here)
    make.loan(copy=make.copy(home_branch=elsewhere), returned_branch_id=here.id)
    make.loan(copy=make.copy(home_branch=elsewhere))
    assert changes.in_the_way(session, here) == {"copies": 2, "loans": 1, "users": 1}
    with refused_for("still_in_use") as caught:
        changes.delete(session, here)
    assert caught.value.reasons[0].params == {"by": {"copies": 2, "loans": 1, "users": 1}}
    session.commit()
    assert session.query(Branch).count() == 2


def test_what_goes_with_a_row_is_not_in_its_way(session, make):
    book = make.book(make.author(), subjects=[make.subject()], identifiers=[(IdentifierScheme.ISBN, "9780141439518")])
    assert changes.in_the_way(session, book) == {}
    changes.delete(session, book)
    session.commit()
    left = {table.name for table in Base.metadata.sorted_tables if session.query(table).count()}
    assert left == {"authors", "subjects", "generations"}


def test_a_book_with_copies_or_wished_for_stays(session, make):
    book = make.book()
    make.copy(book=book)
    make.order(None, book)
    with refused_for("still_in_use") as caught:
        changes.delete(session, book)
    assert caught.value.reasons[0].params == {"by": {"copies": 1, "order_lines": 1}}


def test_headings_of_books_stay(session, make):
    writer, subject = make.author(), make.subject()
    make.book(writer, subjects=[subject])
    assert changes.in_the_way(session, writer) == {"contributions": 1}
    assert changes.in_the_way(session, subject) == {"book_subjects": 1}


def test_who_only_stood_at_the_desk_is_in_nobodys_way(session, make):
    worker = make.librarian()
    loan = make.loan(checked_out_by_id=worker.id)
    changes.delete(session, worker)
    session.commit()
    session.refresh(loan)
    assert loan.checked_out_by_id is None


def test_rows_of_other_kinds_with_the_same_key_are_not_counted(session, make):
    branch, copy = make.branch(), make.copy()
    assert changes.in_the_way(session, make.item_type()) == {}
    assert session.get(Copy, copy.id).home_branch_id != branch.id
    assert changes.in_the_way(session, branch) == {}


def test_a_row_that_points_twice_is_counted_once(session, make):
    branch = make.branch()
    make.copy(home_branch=branch)
    assert changes.in_the_way(session, branch) == {"copies": 1}
