"""The one place that begins and commits, and the counter of changes of the catalogue."""

import sqlite3

import pytest
from sqlalchemy import create_engine, event, select, text, update
from sqlalchemy.exc import OperationalError

from library import database
from library.database import BATCHES, CATALOGUE, count_change, engine_options, generation, make_session, transaction
from library.models import Branch, Generation, IdentifierScheme, Subject, User
from library.rules import catalogue, changes, lending, returns
from library.rules.desk import Desk

from .helping import at_once

WRITERS = 50


@pytest.fixture
def engine(session):
    """An engine of its own on the same database, with a connection for each of many writers."""
    url = session.get_bind().url
    engine = create_engine(url, **engine_options(str(url), 30) | {"pool_size": WRITERS, "pool_timeout": 30})
    yield engine
    engine.dispose()


@pytest.fixture
def fresh(engine):
    session = make_session(engine)
    yield session
    session.close()


@pytest.fixture
def number(another):
    """Call it for the generation of the catalogue as everybody sees it."""

    def committed() -> int:
        session = another()
        with transaction(session, write=False):
            return generation(session, CATALOGUE)

    return committed


def write_and_raise(session, error: type[BaseException]) -> None:
    with transaction(session, write=True):
        changes.save(session, Branch(name="Main", time_zone="UTC"), {})
        raise error


def branches(session) -> list[str]:
    session.rollback()
    return list(session.scalars(select(Branch.name).order_by(Branch.name)))


def test_a_write_commits_at_the_end_of_its_block(session, fresh):
    with transaction(fresh, write=True):
        changes.save(fresh, Branch(name="Main", time_zone="UTC"), {})
        assert branches(session) == []
    assert not fresh.in_transaction()
    assert branches(session) == ["Main"]


def test_a_write_that_raises_is_taken_back(session, fresh):
    with pytest.raises(KeyError):
        write_and_raise(fresh, KeyError)
    assert not fresh.in_transaction()
    assert branches(session) == []


def test_a_read_is_always_rolled_back(session, fresh):
    with transaction(fresh, write=False):
        changes.save(fresh, Branch(name="Main", time_zone="UTC"), {})
    assert not fresh.in_transaction()
    assert branches(session) == []
    with pytest.raises(KeyError), transaction(fresh, write=False):
        raise KeyError
    assert not fresh.in_transaction()


def test_an_interrupted_write_is_taken_back(session, fresh):
    with pytest.raises(KeyboardInterrupt):
        write_and_raise(fresh, KeyboardInterrupt)
    assert not fresh.in_transaction()
    assert branches(session) == []


def test_a_session_serves_one_transaction_after_another(session, fresh):
    for name in "AB":
        with transaction(fresh, write=True):
            changes.save(fresh, Branch(name=name, time_zone="UTC"), {})
        with transaction(fresh, write=False):
            assert fresh.scalar(select(Branch.name).where(Branch.name == name)) == name
    assert branches(session) == ["A", "B"]


def traced(engine) -> list[str]:
    """What a SQLite database is asked from now on, by whatever way."""
    asked: list[str] = []
    event.listen(engine, "checkout", lambda driver, *_: driver.set_trace_callback(asked.append))
    return asked


@pytest.mark.parametrize(("write", "begin"), [(True, "BEGIN IMMEDIATE"), (False, "BEGIN")])
def test_on_sqlite_a_writer_takes_the_lock_before_its_first_statement(engine, fresh, on_postgres, write, begin):
    if on_postgres:
        pytest.skip("rows are locked there")
    ran = traced(engine)
    for _ in range(2):
        with transaction(fresh, write=write):
            fresh.execute(text("SELECT 1"))
    assert [statement for statement in ran if statement.startswith(("BEGIN", "SELECT"))] == [begin, "SELECT 1"] * 2


def test_on_sqlite_readers_do_not_wait_for_a_writer(session, fresh, make):
    make.branch(name="Old")
    with transaction(fresh, write=True):
        fresh.execute(update(Branch).values(name="New"))
        assert branches(session) == ["Old"]
    assert branches(session) == ["New"]


def test_fifty_writers_who_look_before_they_write_all_succeed(session, engine):
    def look_and_write() -> int:
        mine = make_session(engine)
        try:
            with transaction(mine, write=True):
                row = mine.scalars(select(Generation).with_for_update()).one()
                row.number += 1
                return row.number
        finally:
            mine.close()

    assert sorted(at_once([look_and_write] * WRITERS)) == list(range(1, WRITERS + 1))
    assert session.scalar(select(Generation.number)) == WRITERS


def test_writers_of_one_process_stand_in_line(session, engine, on_postgres):
    """SQLite itself is asked for its lock by one of them at a time, so that none of them finds it taken."""
    if on_postgres:
        pytest.skip("rows are locked there")
    asked = traced(engine)

    def write() -> None:
        with make_session(engine) as own, transaction(own, write=True):
            own.execute(update(Generation).values(number=Generation.number + 1))

    at_once([write] * 8)
    assert [statement for statement in asked if statement.startswith(("BEGIN", "COMMIT"))] == [
        "BEGIN IMMEDIATE",
        "COMMIT",
    ] * 8


def test_who_waits_too_long_in_line_is_told_by_sqlite(session, on_postgres):
    if on_postgres:
        pytest.skip("rows are locked there")
    engine = create_engine(session.get_bind().url, **engine_options("sqlite:///x", 0))
    first, second, told = make_session(engine), make_session(engine), []

    def wait() -> None:
        with pytest.raises(OperationalError, match="database is locked") as error, transaction(second, write=True):
            pass
        told.append(error.value)

    with transaction(first, write=True):
        at_once([wait])
    with transaction(second, write=True):
        second.execute(update(Generation).values(number=Generation.number + 1))
    assert len(told) == 1
    engine.dispose()


def test_the_safety_settings_are_on(fresh, on_postgres):
    asked = (
        ("SHOW timezone", "UTC"),
        ("SHOW statement_timeout", "30s"),
        ("SHOW lock_timeout", "12s"),
        ("SHOW idle_in_transaction_session_timeout", "10s"),
    )
    if not on_postgres:
        asked = (
            ("PRAGMA journal_mode", "wal"),
            ("PRAGMA foreign_keys", 1),
            ("PRAGMA busy_timeout", 30000),
        )
    for statement, value in asked:
        assert fresh.scalar(text(statement)) == value


def test_a_file_just_made_is_its_owners_alone(tmp_path):
    engine = create_engine(f"sqlite:///{tmp_path / 'library.sqlite3'}")
    for mode in (0o600, 0o640):
        with engine.connect() as connection:
            connection.exec_driver_sql("CREATE TABLE IF NOT EXISTS kept (id INTEGER)")
            connection.exec_driver_sql("INSERT INTO kept VALUES (1)")
            assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {mode}
            connection.commit()
        engine.dispose()
        # Whoever runs the server may let others read it.
        (tmp_path / "library.sqlite3").chmod(0o640)


def test_what_is_committed_is_on_the_disk(tmp_path):
    # The tests' own connections do without, so this one is made by hand.
    connection = sqlite3.connect(tmp_path / "library.sqlite3")
    database._make_sqlite_safe(connection, None)
    assert connection.execute("PRAGMA synchronous").fetchone() == (2,)
    connection.close()


@pytest.mark.parametrize(
    "write",
    [
        lambda session, make, now: changes.save(session, Branch(name="X", time_zone="UTC"), {}),
        lambda session, make, now: catalogue.save_heading(session, Subject(), {"name": "X"}),
        lambda session, make, now: session.delete(session.get_one(Subject, make.id)),
        lambda session, make, now: changes.save(session, session.get_one(Subject, make.id), {"name": "Y"}),
    ],
    ids=["a new branch", "a new subject", "a deleted subject", "a renamed subject"],
)
def test_a_write_to_the_catalogue_counts_once(fresh, make, number, now, write):
    subject = make.subject()
    before = number()
    with transaction(fresh, write=True):
        write(fresh, subject, now)
    assert number() == before + 1


def test_many_writes_in_one_transaction_count_once(fresh, make, number, now):
    author, subject = make.author(), make.subject()
    before = number()
    with transaction(fresh, write=True):
        for title in "ABC":
            values = {"title": title, "identifiers": [(IdentifierScheme.OTHER, title)]}
            book = catalogue.save_book(fresh, catalogue.Book(), values, now)
            catalogue.save_book(fresh, book, {"title": title * 2}, now)
        catalogue.save_heading(fresh, fresh.get_one(type(author), author.id), {"name": "New"})
        catalogue.save_heading(fresh, fresh.get_one(type(subject), subject.id), {"name": "New"})
    assert number() == before + 1


def test_the_next_transaction_counts_anew(fresh, number):
    for count in (1, 2, 3):
        with transaction(fresh, write=True):
            catalogue.save_heading(fresh, Subject(), {"name": f"S{count}"})
        assert number() == count


def test_a_write_that_is_taken_back_does_not_count_but_the_next_one_does(fresh, number):
    with pytest.raises(KeyError):
        write_and_raise(fresh, KeyError)
    assert number() == 0
    with transaction(fresh, write=True):
        catalogue.save_heading(fresh, Subject(), {"name": "S"})
    assert number() == 1


def test_a_write_counts_though_one_in_a_savepoint_before_it_was_taken_back(fresh, number):
    with transaction(fresh, write=True):
        savepoint = fresh.begin_nested()
        catalogue.save_heading(fresh, Subject(), {"name": "Gone"})
        savepoint.rollback()
        catalogue.save_heading(fresh, Subject(), {"name": "Kept"})
    assert number() == 1


def test_a_write_in_a_savepoint_counts(fresh, number):
    with transaction(fresh, write=True), fresh.begin_nested():
        catalogue.save_heading(fresh, Subject(), {"name": "Kept"})
    assert number() == 1


def test_setting_a_value_to_itself_counts_nothing(fresh, make, number):
    subject = make.subject(name="Same")
    before = number()
    with transaction(fresh, write=True):
        changes.save(fresh, fresh.get_one(Subject, subject.id), {"name": "Same"})
    assert number() == before


def test_loans_people_and_categories_are_no_change_of_the_catalogue(fresh, make, number, now):
    copy, patron, librarian, branch = make.copy(), make.user(), make.librarian(), make.branch()
    make.category()
    before = number()
    with transaction(fresh, write=True):
        desk = Desk(fresh.get_one(User, librarian.id), fresh.get_one(Branch, branch.id))
        lending.check_out(fresh, desk, copy.barcode, patron.card_barcode, now)
        fresh.get_one(User, patron.id).first_name = "Ann"
        returns.check_in(fresh, desk, copy.barcode, now)
    assert number() == before


def test_bulk_writes_are_counted_by_hand_once(fresh, number):
    with transaction(fresh, write=True):
        count_change(fresh, CATALOGUE)
        count_change(fresh, CATALOGUE)
        assert generation(fresh, CATALOGUE) == 1
    assert number() == 1


def test_what_nobody_counts_is_at_zero(session):
    assert generation(session, "nothing") == 0


def test_parallel_writers_of_the_catalogue_are_all_counted(session, engine, number):
    def write(name: str) -> None:
        mine = make_session(engine)
        try:
            with transaction(mine, write=True):
                catalogue.save_heading(mine, Subject(), {"name": name})
        finally:
            mine.close()

    assert at_once([lambda name=name: write(f"S{name}") for name in range(12)]) == [None] * 12
    assert number() == 12


def test_a_session_that_takes_batches_in_keeps_them_in_memory(session, on_postgres):
    """Also where the connection has looked at what is temporary, which it may not change within a transaction."""
    if on_postgres:
        pytest.skip("it has a server's memory")
    session.info[BATCHES] = True
    for _ in range(2):
        with transaction(session, write=True):
            session.execute(text("SELECT count(*) FROM sqlite_temp_master"))
            assert session.scalar(text("PRAGMA cache_size")) == -16000
            assert session.scalar(text("PRAGMA temp_store")) == 2
