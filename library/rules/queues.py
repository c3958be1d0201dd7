"""Queues: the order in which holds of a book are served, how many wait, and what is to be fetched from the shelves."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import blake2b
from typing import Any

from sqlalchemy import Select, bindparam, false, func, or_, select, update
from sqlalchemy.orm import Session, aliased, joinedload, raiseload

from library.models import Book, Branch, Copy, CopyCondition, CopyPlace, Hold, HoldState, ItemType, User
from library.rules import access, calendar, locks
from library.rules.errors import Refusal, Refused, refuses
from library.rules.routing import SORT_GAP, Eligibility, no_longer_needed, suspended_on

HOLD_SORTS = {"placed_at": Hold.placed_at, "ready_at": Hold.ready_at, "shelf_until_at": Hold.shelf_until_at}


class QueueChanged(Refusal):
    """The queue is ordered by naming exactly the holds that wait in it, each once."""

    pointer = "/hold_ids"
    parameters = ("missing", "unknown")


@dataclass(frozen=True)
class Queue:
    """The holds that wait for a book, the first to be served first."""

    book_id: int
    holds: Sequence[Hold]

    @property
    def version(self) -> int:
        """A number that is another once somebody came, left or changed places."""
        order = ",".join(str(hold.id) for hold in self.holds)
        return int.from_bytes(blake2b(order.encode(), digest_size=6).digest())


@dataclass
class Demand:
    """Who waits for a book, or for certain copies of it, and which of its copies could serve them now.

    `waiting` holds the patron and the copy that is asked for (None is any) of each hold; `free` the keys of copies.
    """

    waiting: list[tuple[int | None, int | None]] = field(default_factory=list)
    free: set[int] = field(default_factory=set)

    @property
    def title_holds(self) -> int:
        """How many wait for any copy."""
        return sum(copy_id is None for _, copy_id in self.waiting)

    @property
    def copy_holds(self) -> Counter[int]:
        """How many wait for which very copy."""
        return Counter(copy_id for _, copy_id in self.waiting if copy_id is not None)

    @property
    def free_copies(self) -> int:
        """How many copies stand free."""
        return len(self.free)

    @property
    def free_for_titles(self) -> int:
        """How many copies stand free that nobody asks for by name."""
        return len(self.free - self.copy_holds.keys())

    def for_copy(self, copy_id: int) -> int:
        """How many wait for what this copy could serve."""
        return self.title_holds + self.copy_holds[copy_id]

    def of_others(self, patron_id: int) -> "Demand":
        """The same without what this patron waits for."""
        return Demand([wish for wish in self.waiting if wish[0] != patron_id], self.free)


@dataclass(frozen=True)
class Pick:
    """A copy to fetch from its shelf, and the hold it is for."""

    copy: Copy
    hold: Hold


def find_holds(actor: User, **filters: Any) -> Select[Any]:
    """Holds the actor may see, narrowed by state, patron, book and pickup branch."""
    return access.visible(select(Hold), Hold, actor).options(raiseload("*")).filter_by(**filters)


def queue_of(book_id: int) -> Select[Any]:
    """The holds that wait for a book, in their order."""
    return select(Hold).where(Hold.book_id == book_id, Hold.state == HoldState.QUEUED).order_by(Hold.sort_key)


def read_queue(session: Session, book_id: int) -> Queue:
    """The queue of a book as it stands."""
    waiting = queue_of(book_id).execution_options(populate_existing=True)
    return Queue(book_id, session.scalars(waiting).all())


def next_key(session: Session, book_id: int) -> int:
    """A sort key behind everybody who waits for a book; lock its queue first."""
    return (session.scalar(select(func.max(Hold.sort_key)).where(Hold.book_id == book_id)) or 0) + SORT_GAP


def positions(session: Session, book_ids: Iterable[int]) -> dict[int, tuple[int, int]]:
    """For each hold that waits for one of the books: which in the queue it is, and of how many."""
    place = func.row_number().over(partition_by=Hold.book_id, order_by=Hold.sort_key)
    length = func.count().over(partition_by=Hold.book_id)
    waiting = (Hold.book_id.in_(sorted(set(book_ids))), Hold.state == HoldState.QUEUED)
    rows = session.execute(select(Hold.id, place, length).where(*waiting))
    return {key: (at, of) for key, at, of in rows}


@refuses(QueueChanged)
def reorder_queue(session: Session, book: Book, hold_ids: Sequence[int]) -> Queue:
    """Serve the holds that wait for a book in this order; exactly those who wait must be named."""
    locks.lock_queue(session, book.id)
    waiting = [hold.id for hold in read_queue(session, book.id).holds]
    if sorted(waiting) != sorted(hold_ids):
        missing, unknown = sorted(set(waiting) - set(hold_ids)), sorted(set(hold_ids) - set(waiting))
        raise Refused([QueueChanged(missing=missing, unknown=unknown)])
    if waiting != list(hold_ids):
        # The keys are unique row by row: all of them are new ones behind the last.
        first = next_key(session, book.id)
        table = Hold.__table__
        keys = [{"hold": key, "to": first + at * SORT_GAP} for at, key in enumerate(hold_ids)]
        session.connection().execute(
            update(table).where(table.c.id == bindparam("hold")).values(sort_key=bindparam("to")),  # type: ignore[arg-type]
            keys,
        )
    return read_queue(session, book.id)


def demand(session: Session, book_ids: Iterable[int], now: datetime) -> dict[int, Demand]:
    """Who waits for these books and how many copies are free, in two statements.

    Suspended holds and those no longer needed do not count; copies set aside, travelling or kept in the house are
    not free.
    """
    found = {book_id: Demand() for book_id in book_ids}
    _count(session.execute(waiting_for(Hold.book_id.in_(found))), found, now)
    for book_id, copy_id in session.execute(free_copies_of(Copy.book_id.in_(found))):
        found[book_id].free.add(copy_id)
    return found


def demand_of(book_id: int, waiting: Iterable[Any], free: Iterable[Any], now: datetime) -> dict[int, Demand]:
    """The same for a book of which was gathered who is `waiting_for` it, and the `free_copies_of` it."""
    found = {book_id: Demand(free={copy_id for _, copy_id in free})}
    _count(waiting, found, now)
    return found


def ahead(session: Session, holds: Iterable[Hold], now: datetime) -> dict[int, Demand]:
    """Who waits ahead of each of these holds, by its key, in one statement; nobody, once it has left the queue."""
    found = {hold.id: Demand() for hold in holds}
    own = aliased(Hold)
    sooner = (own.book_id == Hold.book_id) & (own.sort_key > Hold.sort_key)
    _count(session.execute(_waiting(own.id).join(own, sooner).where(own.id.in_(found))), found, now)
    return found


def lengths(session: Session, book_ids: Iterable[int]) -> dict[int, int]:
    """How many stand in the queues of these books, also those passed over; one statement."""
    queued = (Hold.book_id.in_(book_ids), Hold.state == HoldState.QUEUED)
    rows = session.execute(select(Hold.book_id, func.count().label("length")).where(*queued).group_by(Hold.book_id))
    return {row.book_id: row.length for row in rows}


def waiting_for(books: Any) -> Select[Any]:
    """The queued holds of some books, alike ones counted."""
    return _waiting(Hold.book_id).where(books)


def _waiting(key: Any) -> Select[Any]:
    """The queued holds, counted by `key` and by what tells whether they wait now."""
    wish = (
        key,
        Hold.patron_id,
        Hold.copy_id,
        Hold.suspended,
        Hold.suspended_until,
        Hold.not_needed_after,
        Branch.time_zone,
    )
    queued = select(*wish, func.count().label("holds")).select_from(Hold).join(Hold.pickup_branch)
    return queued.where(Hold.state == HoldState.QUEUED).group_by(*wish)


def _count(waiting: Iterable[Any], found: dict[int, Demand], now: datetime) -> None:
    for alike in waiting:
        today = calendar.local_day(now, alike.time_zone)
        if suspended_on(alike, today) or no_longer_needed(alike, today):
            continue
        found[alike[0]].waiting += [(alike.patron_id, alike.copy_id)] * alike.holds


def free_copies_of(books: Any) -> Any:
    """The copies of some books that could be lent, or set aside, now."""
    lendable = or_(Copy.item_type_id.is_(None), ItemType.holdable & (ItemType.not_for_loan == false()))
    return (
        select(Copy.book_id, Copy.id)
        .outerjoin(Copy.item_type)
        .where(
            books,
            Copy.place == CopyPlace.AVAILABLE,
            Copy.condition == CopyCondition.USABLE,
            Copy.not_for_loan == false(),
            lendable,
        )
    )


def pick_list(session: Session, now: datetime, branch_id: int | None = None) -> list[Pick]:
    """What to fetch from the shelves, of one branch or all: each copy for one hold, each hold once.

    Those first in a queue choose first: a copy at their pickup branch rather than one elsewhere, and one that nobody
    asked for by name rather than one that somebody did. A fixed number of statements, however long the list is.
    """
    free, waiting = _on_shelves(session), _in_want(session)
    eligibility = Eligibility.load(session, waiting, now)
    named = {hold.copy_id for hold in waiting}
    picks = []
    for hold in waiting:
        fitting = [
            copy
            for copy in free.get(hold.book_id, [])
            if hold.copy_id in (None, copy.id) and eligibility.fits(copy, copy.current_branch_id, hold)
        ]
        if fitting:
            here = hold.pickup_branch_id
            copy = min(fitting, key=lambda copy: (copy.current_branch_id != here, copy.id in named, copy.id))
            free[hold.book_id].remove(copy)
            picks.append(Pick(copy, hold))
    picks = [pick for pick in picks if branch_id in (None, pick.copy.current_branch_id)]
    return sorted(picks, key=lambda pick: (pick.copy.current_branch_id, pick.copy.shelf_mark or "", pick.copy.barcode))


def _on_shelves(session: Session) -> dict[int, list[Copy]]:
    """The copies, by book, that stand on shelves while somebody waits for the book."""
    wanted = select(Hold.book_id).where(Hold.state == HoldState.QUEUED)
    copies = (
        select(Copy)
        .where(Copy.place == CopyPlace.AVAILABLE, Copy.condition == CopyCondition.USABLE, Copy.book_id.in_(wanted))
        .options(joinedload(Copy.item_type), joinedload(Copy.book).load_only(Book.title))
        .order_by(Copy.id)
    )
    found: dict[int, list[Copy]] = {}
    for copy in session.scalars(copies):
        found.setdefault(copy.book_id, []).append(copy)
    return found


def _in_want(session: Session) -> Sequence[Hold]:
    """The holds that wait while a copy of their book stands on a shelf, in the order of their queues."""
    free = select(Copy.book_id).where(Copy.place == CopyPlace.AVAILABLE, Copy.condition == CopyCondition.USABLE)
    holds = (
        select(Hold)
        .where(Hold.state == HoldState.QUEUED, Hold.book_id.in_(free))
        .options(joinedload(Hold.patron), joinedload(Hold.pickup_branch))
        .order_by(Hold.book_id, Hold.sort_key)
    )
    return session.scalars(holds).all()
