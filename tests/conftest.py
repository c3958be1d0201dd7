"""One application and one migrated database a run, emptied before each test; actors as clients."""

import os
import signal
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import flask_migrate
import pytest
from documented import DocumentedClient
from factories import Factories
from flask import Flask
from served import ROOT, Served
from sqlalchemy import Engine, create_engine, event, make_url, text
from sqlalchemy.orm import Session

from library import create_app
from library.config import database_url
from library.database import WRITES, make_session
from library.extensions import cache, db
from library.models import Base, Generation, Role
from library.rules import errors

errors.strict = True


# A shell that starts the tests in the background has SIGINT ignored, and every process of theirs would inherit it.
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--database", choices=("sqlite", "postgres"), default="sqlite", help="which database to test on")
    parser.addoption("--long", action="store_true", help="let the state machine of the desk run for a minute")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Tests that need services run when they are asked for by name: `-m services`; .ci/run does."""
    if "services" in (config.option.markexpr or ""):
        return
    kept = [item for item in items if "services" not in item.keywords]
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
    return shared_app


def empty(engine: Engine) -> None:
    """Take every row out and start all keys anew."""
    tables = [table.name for table in reversed(Base.metadata.sorted_tables)]
    with engine.connect().execution_options(**{WRITES: True}) as connection, connection.begin():
        if engine.dialect.name == "postgresql":
            connection.execute(text(f"TRUNCATE {', '.join(tables)} RESTART IDENTITY CASCADE"))
        else:
            connection.execute(text("PRAGMA defer_foreign_keys=ON"))
            # A RESTRICT holds at once even when deferred: what points at its own table goes first.
            connection.execute(text("UPDATE users SET guarantor_id = NULL"))
            # The ledger refuses deletion, as it should.
            guards = "SELECT name, sql FROM sqlite_master WHERE type = 'trigger' AND sql LIKE '%append-only%'"
            triggers = connection.execute(text(guards)).all()
            for name, _ in triggers:
                connection.execute(text(f"DROP TRIGGER {name}"))
            connection.execute(text("DELETE FROM account_entries WHERE reverses_id IS NOT NULL"))
            for name in tables:
                connection.execute(text(f"DELETE FROM {name}"))
            for _, sql in triggers:
                connection.exec_driver_sql(sql)
            connection.execute(text("DELETE FROM sqlite_sequence"))
        connection.execute(Generation.__table__.insert().values(name="catalogue", number=0))


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
    """The statements the application's database runs, as they come."""
    ran: list[str] = []
    with app.app_context():
        engine = db.engine

    def note(_connection, _cursor, statement: str, *_) -> None:
        if not statement.startswith(("BEGIN", "PRAGMA")):
            ran.append(statement)

    event.listen(engine, "before_cursor_execute", note)
    yield ran
    event.remove(engine, "before_cursor_execute", note)


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


@pytest.fixture
def served(new_database, tmp_path: Path) -> Iterator[Served]:
    """A real server with two workers on a database of its own."""
    running = Served(tmp_path, new_database())
    yield running
    running.stop()


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
