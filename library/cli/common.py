"""What the commands share: a session on a database that is ready, or one line that says what to do."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import wraps
from types import FrameType
from typing import Any

import click
from flask import current_app
from sqlalchemy.exc import DatabaseError, DBAPIError, OperationalError
from sqlalchemy.orm import Session

from library.database import make_session, schema_is_at_head
from library.extensions import db, migrations_folder
from library.models import Role, User


def operator() -> User:
    """Who holds the shell of the server: an actor who may do what an admin may, and has no account.

    How else would the first admin come about?
    """
    return User(role=Role.ADMIN)


@contextmanager
def database_errors_in_one_line() -> Iterator[None]:
    """Turn a database that cannot be reached, stays locked or is none at all into one line and exit code 1."""
    try:
        yield
    except DatabaseError as error:
        # The other kinds (a broken constraint, a wrong statement) are faults of ours, and keep their traceback.
        if type(error) not in (OperationalError, DatabaseError):
            raise
        raise click.ClickException(f"the database does not answer: {first_line(error)}") from error


def first_line(error: DBAPIError) -> str:
    """What the driver says, without the statement and its parameters."""
    return (str(error.orig).strip().splitlines() or ["no reason given"])[0]


def is_at_head() -> bool:
    """Whether the application's database has every migration."""
    with db.engine.connect() as connection:
        return schema_is_at_head(connection, migrations_folder())


@contextmanager
def ready_session() -> Iterator[Session]:
    """A session on the application's database; click.ClickException where its tables are missing or out of date."""
    with database_errors_in_one_line():
        if not is_at_head():
            raise click.ClickException("the database does not have today's tables, run: flask db upgrade")
        with make_session(db.engine) as session:
            yield session


@contextmanager
def caught_signals() -> Iterator[list[int]]:
    """The signals received so far, of Ctrl-C and SIGTERM: they end a run after what is at hand, a second one at once.

    An exception out of nowhere would hit the database's driver in the middle of a commit.
    """
    received: list[int] = []

    def receive(number: int, _frame: FrameType | None) -> None:
        received.append(number)
        signal.signal(number, before[number])

    caught: tuple[int, ...] = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.getsignal(number) or signal.SIG_DFL for number in caught}
    for number in before:
        signal.signal(number, receive)
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def at_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command `now`, the moment its rules judge by: the real one, or in a sandbox that of `--at`."""

    @click.option("--at", metavar="MOMENT", help="In a sandbox: the moment to judge by, such as 2026-05-01T09:30:00Z.")
    @wraps(command)
    def with_now(*args: Any, at: str | None, **kwargs: Any) -> Any:
        return command(*args, now=datetime.now(UTC) if at is None else _sandbox_moment(at), **kwargs)

    return with_now


def _sandbox_moment(text: str) -> datetime:
    if not current_app.config["SANDBOX_CLOCK"]:
        raise click.ClickException("--at works in a sandbox only, where the setting SANDBOX_CLOCK is on")
    try:
        moment = datetime.fromisoformat(text)
        # The years the API knows.
        if moment.tzinfo is None or not 1900 <= moment.year <= 2200:
            raise ValueError(text)
    except ValueError:
        raise click.ClickException("--at wants a moment with its offset, such as 2026-05-01T09:30:00Z") from None
    return moment.astimezone(UTC)
