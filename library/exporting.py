"""Books are given out: a walk through the catalogue in short transactions, for the command and for the API."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy.orm import Session

from library.database import transaction
from library.rules import catalogue, exports


def walk(
    session: Session, filters: Mapping[str, Any], shown: Callable[[Session, Sequence[int]], Sequence[Any]]
) -> Iterator[Any]:
    """What `shown` makes of the books that the filters select, given by their keys and in the order of these.

    Each batch is read in a transaction of its own: no snapshot is held for hours, and nobody waits. What stands
    throughout comes exactly once, each book as it is when its turn comes.
    """
    statement = catalogue.find_books(session, **filters)
    after: int | None = 0
    while after is not None:
        with transaction(session, write=False):
            _see_one_moment(session)
            keys = exports.next_keys(session, statement, after)
            found = shown(session, keys) if keys else ()
            after = keys[-1] if keys else None
        session.expunge_all()
        yield from found


def _see_one_moment(session: Session) -> None:
    """Let all statements of a read see the same: a book is several, and must not be half old and half new."""
    connection = session.connection()
    # SQLite does so by itself; PostgreSQL sees each statement's own moment unless told so first of all.
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
