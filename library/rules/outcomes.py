"""What becomes of the records of a file: one outcome each, whatever kind of record it is."""

from dataclasses import dataclass

from library.models import Outcome

AT_ONCE = 200


@dataclass(frozen=True)
class Result:
    """The outcome of the record at `position` of its file, counted from 1; `reason` says why it failed.

    `reference` is what the record calls itself; `book_id` or `user_id` is the row that it became or is known by.
    """

    position: int
    outcome: Outcome
    reference: str = ""
    reason: str = ""
    book_id: int | None = None
    user_id: int | None = None
