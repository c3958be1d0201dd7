"""What the commands share: a session on a database that is ready, or one line that says what to do."""

from collections.abc import Iterator
from contextlib import contextmanager

import click
from sqlalchemy.exc import DatabaseError, OperationalError
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


def first_line(error: DatabaseError) -> str:
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
