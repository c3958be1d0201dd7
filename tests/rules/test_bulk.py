"""Many rows at once: keys that nobody else gets, rows as they were given, look-ups of any number of values."""

import os
import socket
from datetime import timedelta, timezone
from typing import Any

import pytest
from sqlalchemy import func, select, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from library.database import make_session, transaction
from library.exchange.records import BookRecord
from library.models import Author, AuthorKind, OnDuplicate, SourceRecord, Subject
from library.rules import bulk
from library.rules.imports import import_batch
from library.rules.outcomes import is_of_the_database

SUBJECT = ("id", "version", "name", "name_key")


def write_subjects(session, keys) -> None:
    bulk.insert_rows(session, Subject, SUBJECT, [(key, 1, f"S{key}", f"s{key}") for key in keys])


def test_keys_ascend_and_are_never_given_twice(session, make):
    with transaction(session, write=True):
        assert bulk.new_keys(session, Subject, 0) == []
        first = list(bulk.new_keys(session, Subject, 3))
        write_subjects(session, first)
        second = list(bulk.new_keys(session, Subject, 300))
        write_subjects(session, second)
    with transaction(session, write=True):
        session.execute(text("DELETE FROM subjects"))
    assert [*first, *second] == list(range(first[0], first[0] + 303))
    assert make.subject(name="Later").id > second[-1]


def test_values_are_kept_as_they_were_given(session, make, now):
    names = ("tab\there", "back\\slash", "line\nend", "\\N", "quote'\"", "Œuvre 東京", "")
    book = make.book()
    content = bytes(range(256))
    with transaction(session, write=True):
        rows = [("p" * at, 1, name, name, AuthorKind.BODY.value) for at, name in enumerate(names)]
        bulk.insert_rows(session, Author, ("dates", "version", "name", "name_key", "kind"), rows)
        bulk.insert_rows(session, SourceRecord, ("book_id", "format", "content"), [(book.id, "marc21", content)])
        bulk.insert_rows(session, Author, ("name",), [])
    found = session.query(Author).order_by(Author.id).all()
    assert [(row.name, len(row.dates), row.kind) for row in found] == [
        (name, at, AuthorKind.BODY) for at, name in enumerate(names)
    ]
    assert session.query(SourceRecord).one().content == content


@pytest.mark.parametrize("count", [0, 1, 3000])
def test_one_of_any_number_of_values_is_found_by_one_statement(session, make, count):
    odd = ('a"]', "b\\", "c'd,", "Ünï {}")
    for name in (*odd, "Other"):
        make.subject(name=name)
    wanted = [*odd, *map(str, range(count))][:count]
    found = session.scalars(select(Subject.name).where(bulk.is_among(session, Subject.name, wanted)))
    assert set(found) == set(wanted) & set(odd)
    keys = [row.id for row in session.query(Subject)][:count]
    assert session.query(Subject).where(bulk.is_among(session, Subject.id, keys)).count() == len(keys)


def test_a_moment_in_any_zone_is_kept_in_utc(session, make, now):
    elsewhere = now.astimezone(timezone(timedelta(hours=9)))
    batch = [(1, BookRecord("Moby-Dick"))]
    with transaction(session, write=True):
        book_id = import_batch(session, batch, OnDuplicate.SKIP, elsewhere)[0].book_id
    assert session.execute(text("SELECT updated_at = created_at FROM books WHERE id = :key"), {"key": book_id}).scalar()
    assert make.book(created_at=now, updated_at=now) is not None
    assert session.scalar(text("SELECT count(DISTINCT created_at) FROM books")) == 1


def test_what_a_constraint_refuses_is_no_fault_of_the_database(session, make):
    make.subject(name="Whales")
    with pytest.raises(DBAPIError) as error, transaction(session, write=True):
        bulk.insert_rows(session, Subject, ("version", "name", "name_key"), [(1, "Whales", "whales")])
    assert not is_of_the_database(error.value)
    assert session.scalar(select(func.count()).select_from(Subject)) == 1


def test_a_connection_that_is_lost_is_one_of_the_database(session, on_postgres):
    if not on_postgres:
        pytest.skip("SQLite has no connection to lose")
    with make_session(session.get_bind()) as lost:
        lost.connection()
        process = lost.scalar(text("SELECT pg_backend_pid()"))
        session.execute(text("SELECT pg_terminate_backend(:process, 5000)"), {"process": process})
        with pytest.raises(DBAPIError) as error:
            bulk.insert_rows(lost, Subject, ("version", "name", "name_key"), [(1, "Whales", "whales")])
        assert is_of_the_database(error.value)
        lost.rollback()
        assert lost.scalar(select(func.count()).select_from(Subject)) == 0, "the next connection is a new one"


def test_a_line_that_is_cut_is_one_of_the_database(session, make, now, on_postgres):
    if not on_postgres:
        pytest.skip("SQLite has no line to cut")
    with make_session(session.get_bind()) as lost:
        lost.connection()
        driver: Any = lost.connection().connection.driver_connection
        with socket.socket(fileno=os.dup(driver.fileno())) as line:
            line.shutdown(socket.SHUT_RDWR)
        with pytest.raises(DBAPIError) as error:
            bulk.insert_rows(lost, Subject, ("version", "name", "name_key"), [(1, "Whales", "whales")])
        assert error.value.connection_invalidated
        assert is_of_the_database(error.value)


def test_a_batch_writes_the_full_text_index_once(session, now, on_postgres):
    """Written after each row it takes far longer."""
    if on_postgres:
        pytest.skip("its index is a part of the table")
    batch = [(number, BookRecord(f"Title number {number}")) for number in range(1, 201)]
    with transaction(session, write=True):
        session.execute(text("INSERT INTO book_search(book_search) VALUES ('delete-all')"))
        import_batch(session, batch, OnDuplicate.SKIP, now)
        # What is written at once is one segment, whose number stands in its keys; two rows are the index's own.
        segments = session.scalars(text("SELECT DISTINCT id >> 37 FROM book_search_data WHERE id > 10")).all()
        assert segments == [1]


def test_look_ups_of_a_batch_are_planned_afresh_and_others_are_not(session, now, on_postgres):
    """A plan made for empty tables, and kept, reads all of the full ones."""
    if not on_postgres:
        pytest.skip("SQLite keeps no plans by itself")
    with session.get_bind().connect() as connection, Session(connection) as same:
        with transaction(same, write=True):
            import_batch(same, [(1, BookRecord("Moby-Dick"))], OnDuplicate.SKIP, now)
            assert same.scalar(text("SHOW plan_cache_mode")) == "force_custom_plan"
        assert same.scalar(text("SHOW plan_cache_mode")) == "auto"
