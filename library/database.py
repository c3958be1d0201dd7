"""The one place that begins and commits: engines, their safety settings, and `transaction`."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from functools import lru_cache
from pathlib import Path
from sqlite3 import SQLITE_BUSY, DatabaseError
from sqlite3 import Connection as SQLiteConnection
from threading import RLock
from typing import Any
from weakref import WeakKeyDictionary

from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, bindparam, event, make_url, select, update
from sqlalchemy.orm import Session, scoped_session, sessionmaker

from library.models import Author, Book, Branch, Generation, Identifier, ItemType, Subject
from library.rules.sentences import CONNECTION

WRITES, PATIENCE, BATCHES = "library_writes", "library_patience", "library_batches"
# Seconds after which a writer looks again whether it is its turn, and how often before it is less eager.
LOOK, LATER, EAGER = 0.0005, 0.005, 100
# A batch of an import changes some 6 MB of a full SQLite file. With less in memory its pages are written out in its
# midst and read again; and what its savepoint would bring back goes through a file unless it is told not to.
ROOM_FOR_BATCHES = ("cache_size=-16000", "temp_store=MEMORY")
CATALOGUE = "catalogue"
# A change of one of these makes every kept page of the catalogue stale.
CATALOGUE_TABLES = (Book, Author, Subject, Identifier, Branch, ItemType)
_lines: WeakKeyDictionary[Engine, Any] = WeakKeyDictionary()
# How often a family of tables has changed, built once: every call whose answer is kept asks it.
GENERATION = select(Generation.number).where(Generation.name == bindparam("name"))


def engine_options(url: str, lock_timeout: int = 5) -> dict[str, Any]:
    """Options for `create_engine`: how long to wait for a lock, an answer or a connection, by database.

    `lock_timeout` is in seconds. The figures are those of the design: a stuck row must not stall unrelated readers.
    """
    # An error's text goes into the log: it must not carry what people wrote.
    hidden = {"hide_parameters": True}
    if make_url(url).get_backend_name() == "sqlite":
        connect = {"timeout": lock_timeout, "isolation_level": None, "check_same_thread": False}
        # As many as a worker has threads: what is opened beyond is closed again after each request.
        kept = {"pool_size": 10} if make_url(url).database not in (None, "", ":memory:") else {}
        return hidden | kept | {"connect_args": connect, "execution_options": {PATIENCE: lock_timeout}}
    options = f"-c lock_timeout={lock_timeout * 400}ms -c statement_timeout={lock_timeout}s"
    return hidden | {
        "pool_pre_ping": True,
        "pool_timeout": 2,
        "pool_size": 10,
        "connect_args": {
            "connect_timeout": 3,
            "keepalives_idle": 30,
            "options": f"{options} -c idle_in_transaction_session_timeout=10s -c timezone=UTC",
        },
    }


@event.listens_for(Engine, "connect")
def _make_sqlite_safe(connection: Any, _record: Any) -> None:
    if isinstance(connection, SQLiteConnection):
        _close_to_others(connection)
        # What is deleted is written over with zeros: it must not be read out of the file afterwards. A REPLACE, too,
        # asks the triggers whether a row may go.
        safety = ("foreign_keys=ON", "synchronous=FULL", "secure_delete=ON", "recursive_triggers=ON")
        for pragma in ("journal_mode=WAL", *safety):
            connection.execute(f"PRAGMA {pragma}")


def _close_to_others(connection: SQLiteConnection) -> None:
    """A file just made is its owner's alone, and its companions take after it; what is there already stays as it is."""
    path = connection.execute("PRAGMA database_list").fetchone()[2]
    if path and os.path.getsize(path) == 0:
        os.chmod(path, 0o600)


@event.listens_for(Engine, "begin")
def _begin_sqlite(connection: Connection) -> None:
    # The driver's own BEGIN is off: it comes too late for a read and asks for no write lock. A writer takes the
    # lock before its first look, so that writers queue instead of failing half-way.
    if connection.dialect.name != "sqlite":
        return
    options = connection.get_execution_options()
    for pragma in ROOM_FOR_BATCHES if options.get(BATCHES) else ():
        connection.exec_driver_sql(f"PRAGMA {pragma}")
    if not options.get(WRITES):
        connection.exec_driver_sql("BEGIN")
    elif PATIENCE in options:
        _begin_to_write(connection, options[PATIENCE])
    else:
        connection.exec_driver_sql("BEGIN IMMEDIATE")


def _begin_to_write(connection: Connection, patience: float) -> None:
    """Take the write lock within so many seconds.

    Who waits in SQLite looks again after ever longer pauses, of a tenth of a second in the end, and beside a busy
    process hardly ever at the right moment.
    """
    driver: Any = connection.connection.driver_connection
    end, looks = time.monotonic() + patience, 0
    driver.execute("PRAGMA busy_timeout=0")
    try:
        while time.monotonic() < end and not _takes_lock(driver):
            looks += 1
            time.sleep(LOOK if looks < EAGER else LATER)
        if not driver.in_transaction:
            # What stands in the way is told as of any statement.
            connection.exec_driver_sql("BEGIN IMMEDIATE")
    finally:
        driver.execute(f"PRAGMA busy_timeout={int(patience * 1000)}")


def _takes_lock(driver: Any) -> bool:
    """Whether the wait is over: the lock is taken, or it is not another writer that is in the way."""
    try:
        driver.execute("BEGIN IMMEDIATE")
    except DatabaseError as error:
        return error.sqlite_errorcode & 0xFF != SQLITE_BUSY
    return True


@contextmanager
def transaction(session: Session, write: bool, keep: bool = True) -> Iterator[None]:
    """Run a block in one transaction; `write` decides before the first statement.

    A write commits at the end of the block and rolls back where the block raises; a read always rolls back, and so
    does a write that shall not be kept, a preview. A session whose info has BATCHES is given more memory.
    """
    if isinstance(session, scoped_session):
        session = session()
    with _in_line(session.get_bind()) if write else nullcontext():
        options = {WRITES: write, BATCHES: session.info.get(BATCHES, False)}
        session.info[CONNECTION] = session.connection(execution_options=options)
        try:
            yield
            if write and keep:
                session.commit()
            else:
                session.rollback()
        except BaseException:
            session.rollback()
            raise
        finally:
            session.info.pop(CONNECTION, None)


@contextmanager
def _in_line(engine: Any) -> Iterator[None]:
    """Let the writers of this process to a SQLite file wait for one another in line.

    SQLite has one writer at a time, and whoever waits for it only looks again now and then. Who has waited too long
    goes on, and SQLite judges.
    """
    if engine.dialect.name != "sqlite":
        yield
        return
    line = _lines.setdefault(engine, RLock())
    is_first = line.acquire(timeout=engine.get_execution_options().get(PATIENCE, 0))
    try:
        yield
    finally:
        if is_first:
            line.release()


def make_session(engine: Engine) -> Session:
    """A session for a command, a job or a test that runs without an application."""
    return sessionmaker(engine, expire_on_commit=False)()


@event.listens_for(Session, "before_flush")
def _count_catalogue_changes(session: Session, _context: Any, _instances: Any) -> None:
    changed = (*session.new, *session.deleted, *(row for row in session.dirty if session.is_modified(row)))
    if any(isinstance(row, CATALOGUE_TABLES) for row in changed):
        count_change(session, CATALOGUE)


def count_change(session: Session, name: str) -> None:
    """Count a change of a family of tables, at least once a transaction: readers then make their kept bytes anew."""
    marks = session.info.setdefault("changes", {})
    # A count made inside a savepoint goes with it, so each savepoint counts for itself.
    current = session.get_nested_transaction() or session.get_transaction()
    if marks.get(name) is current:
        return
    marks[name] = current
    change = update(Generation).where(Generation.name == name).values(number=Generation.number + 1)
    session.connection().execute(change)


def generation(session: Session, name: str) -> int:
    """How often that family of tables has changed, as this transaction sees it."""
    return session.scalar(GENERATION, {"name": name}) or 0


def schema_is_at_head(connection: Connection, folder: Path) -> bool:
    """Whether the database has every migration of the folder."""
    return MigrationContext.configure(connection).get_current_heads() == _heads(folder)


@lru_cache(maxsize=4)
def _heads(folder: Path) -> tuple[str, ...]:
    return tuple(ScriptDirectory(str(folder)).get_heads())
