"""One application and one migrated database a run, emptied before each test; actors as clients."""

import os
import signal
import sqlite3
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from datetime import UTC, datetime
from pathlib import Path

import flask_migrate
import pytest
from documented import DocumentedClient
from factories import Factories
from flask import Flask
from served import ROOT, Served
from sqlalchemy import Connection, Engine, create_engine, event, make_url, select, text
from sqlalchemy.orm import Session

from library import create_app
from library.config import database_url
from library.database import WRITES, make_session
from library.extensions import cache, db
from library.models import Base, Generation, Role
from library.rules import errors

errors.strict = True
APPEND_ONLY = {"account_entries", "audit_events"}
MANY = 1000


# A shell that starts the tests in the background has SIGINT ignored, and every process of theirs would inherit it.
signal.signal(signal.SIGINT, signal.default_int_handler)


@event.listens_for(Engine, "connect")
def hurry_sqlite(connection: object, _record: object) -> None:
    """Wait for no disk: no test cuts the power, and many writers at once would wait for one another."""
    if isinstance(connection, sqlite3.Connection):
        connection.execute("PRAGMA synchronous=OFF")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--database", choices=("sqlite", "postgres"), default="sqlite", help="which database to test on")
    parser.addoption("--long", action="store_true", help="long machine runs, all made-up calls, all hostile values")


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """The whole suite runs on as many cores as there are, up to four; tests that were named run in this process."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(cores, 4) if cores > 1 and config.args_source is not pytest.Config.ArgsSource.ARGS else 0


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Tests that need services, and those that last, run when they are asked for: `-m services`; .ci/run does."""
    unasked = {"services", "fuzz"} - set((config.option.markexpr or "").split())
    kept = [item for item in items if unasked.isdisjoint(item.keywords)]
    config.hook.pytest_deselected(items=[item for item in items if item not in kept])
    items[:] = kept


def postgres_server() -> str:
    """The server the tests may make databases on; .ci/with-services starts one."""
    url = os.environ.get("LIBRARY_TEST_POSTGRES_URL")
    if not url:
        pytest.exit("LIBRARY_TEST_POSTGRES_URL is not set: run through .ci/with-services postgres --", returncode=2)
    return url


@pytest.fixture(scope="session")
def new_database(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator:
    """Call it for the URL of an empty database of the kind under test; all of them go when the run ends."""
    if request.config.getoption("--database") == "sqlite":
        yield lambda: f"sqlite:///{tmp_path_factory.mktemp('database') / 'library.sqlite3'}"
        return
    server = create_engine(database_url(postgres_server(), Path()), isolation_level="AUTOCOMMIT")
    made: list[str] = []

    def make() -> str:
        made.append(f"library_{uuid.uuid4().hex[:12]}")
        with server.connect() as connection:
            connection.execute(text(f'CREATE DATABASE "{made[-1]}"'))
        return make_url(postgres_server()).set(database=made[-1]).render_as_string(hide_password=False)

    yield make
    with server.connect() as connection:
        for name in made:
            connection.execute(text(f'DROP DATABASE "{name}" WITH (FORCE)'))
    server.dispose()


@pytest.fixture(scope="session")
def migrated(new_database):
    """Call it with settings for an application on a new, migrated database of its own."""
    apps: list[Flask] = []

    def make(config_name: str = "testing", **settings: object) -> Flask:
        settings.setdefault("DATABASE_URL", new_database())
        if settings["DATABASE_URL"].startswith("sqlite"):
            # Writers queue: a machine whose disk stands still for some seconds fails no test of theirs.
            settings.setdefault("LOCK_TIMEOUT_SECONDS", 60)
        app = create_app(config_name, **settings)
        app.test_client_class = DocumentedClient
        with app.app_context():
            flask_migrate.upgrade()
        apps.append(app)
        return app

    yield make
    for app in apps:
        with app.app_context():
            db.engine.dispose()


@pytest.fixture(scope="session")
def shared_app(migrated) -> Flask:
    return migrated()


@pytest.fixture
def app(shared_app: Flask) -> Flask:
    """The application on an empty database."""
    with shared_app.app_context():
        empty(db.engine)
        cache.clear()
    # The generations by which totals are kept begin anew as well.
    shared_app.extensions.pop("library_totals", None)
    return shared_app


def empty(engine: Engine, generation: int = 0) -> None:
    """Take every row out and start all keys anew; the catalogue counts its changes from `generation` on."""
    with engine.connect().execution_options(**{WRITES: True}) as connection, connection.begin():
        tables = filled_tables(connection)
        if engine.dialect.name == "postgresql":
            # Where many rows go, each deletion looks for what points at it among those that are gone: too slow.
            many = "books" in tables and connection.scalar(text("SELECT count(*) FROM books")) > MANY
            # Ledger and audit refuse it, as they should: not for a moment.
            connection.execute(text("SET LOCAL session_replication_role = replica"))
            for name in tables if many else APPEND_ONLY & {*tables}:
                connection.execute(text(f"TRUNCATE {name} CASCADE"))
            connection.execute(text("SET LOCAL session_replication_role = origin"))
            delete_all(connection, tables)
            sequences = "SELECT setval(format('%I', sequencename)::regclass, start_value, false) FROM pg_sequences"
            connection.execute(text(f"{sequences} WHERE last_value IS NOT NULL"))
        else:
            connection.execute(text("PRAGMA defer_foreign_keys=ON"))
            with append_only_open(connection) if APPEND_ONLY & {*tables} else nullcontext():
                delete_all(connection, tables)
            connection.execute(text("DELETE FROM sqlite_sequence"))
        connection.execute(Generation.__table__.insert().values(name="catalogue", number=generation))


def filled_tables(connection: Connection) -> list[str]:
    """The tables that have rows, those first that point at others."""
    names = [table.name for table in reversed(Base.metadata.sorted_tables)]
    looks = [f"SELECT {at} WHERE EXISTS (SELECT 1 FROM {name})" for at, name in enumerate(names)]
    return [names[at] for at in sorted(connection.scalars(text(" UNION ALL ".join(looks))))]


def delete_all(connection: Connection, tables: list[str]) -> None:
    # A RESTRICT holds at once even when deferred: what points at its own table goes first.
    if "users" in tables:
        connection.execute(text("UPDATE users SET guarantor_id = NULL WHERE guarantor_id IS NOT NULL"))
    for name in tables:
        connection.execute(text(f"DELETE FROM {name}"))


@contextmanager
def append_only_open(connection: Connection) -> Iterator[None]:
    """Ledger and audit refuse deletion, as they should: not for a moment."""
    guards = "SELECT name, sql FROM sqlite_master WHERE type = 'trigger' AND sql LIKE '%append-only%'"
    triggers = connection.execute(text(guards)).all()
    for name, _ in triggers:
        connection.execute(text(f"DROP TRIGGER {name}"))
    connection.execute(text("DELETE FROM account_entries WHERE reverses_id IS NOT NULL"))
    yield
    for _, sql in triggers:
        connection.exec_driver_sql(sql)


@pytest.fixture
def session(app: Flask) -> Iterator[Session]:
    """A session beside the application's, for looking at what it did and for rules without HTTP."""
    with app.app_context():
        engine = db.engine
    session = make_session(engine)
    yield session
    session.close()


@pytest.fixture
def statements(app: Flask) -> Iterator[list[str]]:
    """The statements the application's database runs, as they come; those of the fast path are no engine's."""
    ran: list[str] = []
    app.extensions["library_fast_path"].enabled = False
    with app.app_context():
        engine = db.engine

    def note(_connection, _cursor, statement: str, *_) -> None:
        if not statement.startswith(("BEGIN", "PRAGMA")):
            ran.append(statement)

    event.listen(engine, "before_cursor_execute", note)
    yield ran
    event.remove(engine, "before_cursor_execute", note)
    app.extensions["library_fast_path"].enabled = True


@pytest.fixture
def now() -> datetime:
    return datetime.now(UTC)


@pytest.fixture
def make(session: Session) -> Factories:
    """Rows with sensible values: `make.loan(copy=…)`."""
    return Factories(session)


@pytest.fixture
def client(app: Flask) -> DocumentedClient:
    """Nobody signed in."""
    return app.test_client()


@pytest.fixture
def signed_in(app: Flask, make: Factories):
    """Call it with a user for a client that speaks for them."""

    def sign_in(user) -> DocumentedClient:
        client = app.test_client()
        client.sign_in(user, make.session_of(user))
        return client

    return sign_in


@pytest.fixture
def as_patron(signed_in, make: Factories) -> DocumentedClient:
    return signed_in(make.user(username="pat"))


@pytest.fixture
def as_librarian(signed_in, make: Factories) -> DocumentedClient:
    return signed_in(make.user(username="libby", role=Role.LIBRARIAN, home_branch=make.branch(name="Main")))


@pytest.fixture
def as_admin(signed_in, make: Factories) -> DocumentedClient:
    return signed_in(make.user(username="adam", role=Role.ADMIN))


@pytest.fixture(scope="session")
def server(migrated, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Served, Engine]]:
    """A real server with two workers, and its database; its limits do not count what tests send."""
    app = migrated()
    running = Served(
        tmp_path_factory.mktemp("server"), app.config["DATABASE_URL"], LIBRARY_TRUSTED_NETWORKS="127.0.0.0/8"
    )
    # Not within the context: commands that are run in this process would take its application for theirs.
    with app.app_context():
        engine = db.engine
    yield running, engine
    running.stop()


@pytest.fixture
def served(server: tuple[Served, Engine]) -> Served:
    """The real server on an empty database."""
    running, engine = server
    with engine.connect() as connection:
        generation = connection.scalar(select(Generation.number))
    # Its workers keep pages of the catalogue by this number: it must not come again.
    empty(engine, (generation or 0) + 1)
    return running


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder with the records of the Library of Congress, which are not in this repository."""
    folder = ROOT / os.environ.get("LIBRARY_TEST_DATA", "../shared/data")
    if not (folder / "lc_10k.mrc.gz").exists():
        sentence = "The real records are not there: set LIBRARY_TEST_DATA to the folder with lc_10k.mrc.gz."
        if os.environ.get("CI"):
            pytest.fail(sentence)
        pytest.skip(sentence)
    return folder
