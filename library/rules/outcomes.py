"""What becomes of the records of a file: one outcome each, whatever kind of record it is."""

from dataclasses import dataclass

from sqlalchemy.exc import DBAPIError, IntegrityError, PendingRollbackError

from library.models import Outcome

AT_ONCE = 200
# Classes of PostgreSQL's errors that no record causes: connection, serialization and deadlock, resources, locks and
# states, an operator or a time-out, the system itself. Of SQLite's codes: locks, memory, disk.
_STATES_OF_THE_DATABASE = ("08", "40", "53", "55", "57", "58", "XX")
_SQLITE_CODES_OF_THE_DATABASE = (5, 6, 7, 8, 10, 11, 13, 14)


@dataclass(frozen=True)
class Result:
    """The outcome of the record at `position` of its file, counted from 1.

    `reason` says why it failed, or by what a patron is known. `reference` is what the record calls itself: a control
    number, else a title; a card. `book_id` or `user_id` is the row that it became or is known as.
    """

    position: int
    outcome: Outcome
    reference: str = ""
    reason: str = ""
    book_id: int | None = None
    user_id: int | None = None


def is_of_the_database(error: BaseException) -> bool:
    """Whether another transaction, a lost connection or a full disk was in the way, and not the record at hand."""
    if isinstance(error, PendingRollbackError):
        return True
    if not isinstance(error, DBAPIError) or isinstance(error, IntegrityError):
        return False
    state, code = (getattr(error.orig, name, None) for name in ("sqlstate", "sqlite_errorcode"))
    return (
        error.connection_invalidated
        or (state or "").startswith(_STATES_OF_THE_DATABASE)
        or (code is not None and code & 0xFF in _SQLITE_CODES_OF_THE_DATABASE)
    )
