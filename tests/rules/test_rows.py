"""Single rows past the unit of work: the session knows them as if it had loaded or flushed them itself."""

from datetime import UTC, date, datetime, timedelta

import pytest
from sqlalchemy import inspect, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm.exc import StaleDataError

from library.database import transaction
from library.models import Branch, Copy, CopyPlace, Loan
from library.rules import rows

NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)
DAY = timedelta(days=1)


@pytest.fixture
def values(make):
    """What a loan needs."""
    copy, patron = make.copy(), make.user()
    return {
        "copy_id": copy.id,
        "patron_id": patron.id,
        "branch_id": copy.home_branch_id,
        "time_zone": "UTC",
        "checked_out_at": NOON,
        "due_at": NOON + DAY,
        "due_on": date(2026, 5, 5),
    }


def columns_of(row) -> dict:
    return {column.key: getattr(row, column.key) for column in inspect(type(row)).column_attrs}


def test_what_is_referred_to_is_read_when_it_is_looked_at(session, another, make, statements):
    branch, other = make.branch(name="Main Library"), another()
    statements.clear()
    row = rows.refer(other, Branch, branch.id)
    assert (row.id, statements) == (branch.id, [])
    assert (row.name, len(statements)) == ("Main Library", 1)
    assert rows.refer(other, Branch, branch.id) is row


def test_what_was_read_just_now_is_the_row_that_the_session_has(session, make):
    copy, item_type = make.copy(), make.item_type()
    assert copy.item_type is None
    found = rows.known(session, Copy, {"id": copy.id, "shelf_mark": "PS 2384", "item_type_id": item_type.id})
    assert found is copy
    assert (copy.shelf_mark, copy.item_type) == ("PS 2384", item_type)
    assert not session.dirty


def test_of_a_row_that_the_session_has_not_the_rest_is_read_when_it_is_looked_at(session, another, make):
    copy, other = make.copy(shelf_mark="PS 2384"), another()
    found = rows.known(other, Copy, {"id": copy.id, "barcode": copy.barcode})
    assert (found.barcode, found.shelf_mark, found.home_branch.id) == (copy.barcode, "PS 2384", copy.home_branch_id)
    assert other.get(Copy, copy.id) is found


def test_a_new_row_stands_there_as_a_flush_would_have_written_it(session, another, make, values):
    written = rows.insert_row(session, Loan, **values)
    session.commit()
    read = another().get_one(Loan, written.id)
    assert columns_of(read) == columns_of(written)
    elsewhere = make.copy()
    flushed = make.row(Loan(**values | {"copy_id": elsewhere.id}))
    assert columns_of(read) | {"id": 0, "copy_id": 0} == columns_of(flushed) | {"id": 0, "copy_id": 0}


def test_a_new_row_is_the_sessions_and_can_be_changed(session, another, values):
    loan = rows.insert_row(session, Loan, **values)
    assert session.get(Loan, loan.id) is loan
    loan.renewals = 3
    session.commit()
    assert (another().get_one(Loan, loan.id).renewals, loan.version) == (3, 2)


def test_a_new_row_that_is_rolled_back_leaves_the_session(session, values):
    gone = rows.insert_row(session, Loan, **values)
    session.rollback()
    assert inspect(gone).transient
    loan = rows.insert_row(session, Loan, **values)
    session.commit()
    assert session.scalars(select(Loan)).all() == [loan]


def test_a_new_row_that_the_database_refuses_says_why(session, values):
    rows.insert_row(session, Loan, **values)
    with pytest.raises(IntegrityError, match=r"uq_loans_open_copy|loans\.copy_id"):
        rows.insert_row(session, Loan, **values)


def test_what_was_changed_of_a_row_is_written_and_counted(session, another, make, statements):
    copy = make.copy(shelf_mark="old")
    copy.shelf_mark, copy.last_seen_at, copy.place = "new", NOON, CopyPlace.AVAILABLE
    statements.clear()
    rows.update_row(session, copy)
    (statement,) = statements
    assert "place" not in statement
    assert (copy.version, list(session.dirty)) == (2, [])
    session.commit()
    read = another().get_one(Copy, copy.id)
    assert (read.shelf_mark, read.last_seen_at, read.version) == ("new", NOON, 2)


def test_a_row_that_was_not_changed_is_not_written(session, make, statements):
    copy = make.copy(shelf_mark="old")
    copy.shelf_mark = "new"
    copy.shelf_mark = "old"
    statements.clear()
    rows.update_row(session, copy)
    assert (statements, copy.version, list(session.dirty)) == ([], 1, [])


def test_a_row_that_another_changed_meanwhile_is_not_written(session, another, make):
    copy, other = make.copy(), another()
    with transaction(other, write=True):
        other.get_one(Copy, copy.id).shelf_mark = "theirs"
    copy.shelf_mark = "mine"
    with pytest.raises(StaleDataError):
        rows.update_row(session, copy)


def test_what_was_written_in_a_savepoint_goes_with_it(session, make):
    copy = make.copy(shelf_mark="old")
    savepoint = session.begin_nested()
    copy.shelf_mark = "new"
    rows.update_row(session, copy)
    savepoint.rollback()
    assert (copy.shelf_mark, copy.version) == ("old", 1)
