"""Availability: what of some books is free, who waits, and whether one patron may have them."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from library.models import Book, Branch, Copy, CopyCondition, CopyPlace, Loan, User
from library.rules import borrowing, holdability, queues, standing
from library.rules.borrowing import Case
from library.rules.errors import Refusal, Severity

MOST_BOOKS = 100


class NoCopy(Refusal):
    """The library has no copy of this."""


@dataclass
class Shelf:
    """The copies of a book at one branch, and how many of them are free to be borrowed."""

    branch_id: int
    free: int = 0
    total: int = 0


@dataclass(frozen=True)
class Availability:
    """What there is of a book; `against_*` are the reasons against one patron, None where nobody in particular asks."""

    book_id: int
    shelves: list[Shelf] = field(default_factory=list)
    queue_length: int = 0
    next_due_on: date | None = None
    against_hold: list[Refusal] | None = None
    against_loan: list[Refusal] | None = None

    @property
    def copies(self) -> int:
        """How many copies the library has."""
        return sum(shelf.total for shelf in self.shelves)


def all_there(session: Session, book_ids: Sequence[int]) -> bool:
    """Whether the catalogue has all of these books, each named once."""
    known = session.scalar(select(func.count()).select_from(Book).where(Book.id.in_(book_ids)))
    return known == len(book_ids)


def of_books(
    session: Session,
    book_ids: Sequence[int],
    now: datetime,
    patron: User | None = None,
    self_registered_may_borrow: bool = False,
) -> list[Availability]:
    """What there is of books, in their order, and whether a patron may hold and borrow them.

    A fixed number of statements, however many books. Books are judged by what placing a hold and checking out judge
    by: the hold as collected at the patron's home branch, the loan as made where the copy is.
    """
    copies = holdability.copies_of(session, book_ids)
    lengths, due = queues.lengths(session, book_ids), _next_due(session, book_ids)
    against = _Against.load(session, patron, copies, now, self_registered_may_borrow) if patron else None
    return [
        Availability(
            book_id,
            _shelves(copies[book_id]),
            lengths.get(book_id, 0),
            due.get(book_id),
            against.hold(book_id) if against else None,
            against.loan(book_id) if against else None,
        )
        for book_id in book_ids
    ]


def _shelves(copies: Iterable[Copy]) -> list[Shelf]:
    """Copies by the branch where they are, or were lent; those that the library gave up do not count."""
    shelves: dict[int, Shelf] = {}
    for copy in copies:
        if copy.condition in (CopyCondition.WITHDRAWN, CopyCondition.LOST):
            continue
        shelf = shelves.setdefault(copy.current_branch_id, Shelf(copy.current_branch_id))
        shelf.total += 1
        shelf.free += _is_free(copy)
    return [shelves[branch_id] for branch_id in sorted(shelves)]


def _is_free(copy: Copy) -> bool:
    stays = copy.not_for_loan or (copy.item_type is not None and copy.item_type.not_for_loan)
    return copy.place is CopyPlace.AVAILABLE and copy.condition is CopyCondition.USABLE and not stays


def _next_due(session: Session, book_ids: Sequence[int]) -> dict[int, date]:
    """When the next copy is due back, by book; lost ones are not awaited."""
    out = (
        select(Copy.book_id, func.min(Loan.due_on).label("due_on"))
        .join(Loan.copy)
        .where(Copy.book_id.in_(book_ids), Loan.closed_at.is_(None), Copy.condition == CopyCondition.USABLE)
        .group_by(Copy.book_id)
    )
    return {row.book_id: row.due_on for row in session.execute(out)}


@dataclass(frozen=True)
class _Against:
    """What speaks against one patron's holds and loans of some books."""

    holding: holdability.Facts
    borrowing: borrowing.Facts
    pickup: Branch | None
    branches: dict[int, Branch]
    self_registered_may_borrow: bool

    @classmethod
    def load(
        cls, session: Session, patron: User, copies: dict[int, list[Copy]], now: datetime, self_registered: bool
    ) -> "_Against":
        every = [copy for of_book in copies.values() for copy in of_book]
        branch_ids = {copy.current_branch_id for copy in every} | {patron.home_branch_id}
        branches = {branch.id: branch for branch in session.scalars(select(Branch).where(Branch.id.in_(branch_ids)))}
        return cls(
            holdability.Facts.load(session, patron, list(copies), now),
            borrowing.Facts.load(session, patron, every, now),
            branches.get(patron.home_branch_id or 0),
            branches,
            self_registered,
        )

    def hold(self, book_id: int) -> list[Refusal]:
        """The reasons against a hold collected at the patron's home branch."""
        reasons = self.holding.against(book_id, None, self.pickup)
        return reasons + holdability.against_pickup(self.pickup, named=False)

    def loan(self, book_id: int) -> list[Refusal]:
        """The reasons against borrowing the copy that comes closest to it."""
        every = [list(self._loan_of(copy)) for copy in self.holding.copies[book_id]]
        grades = list(Severity)

        def gravity(reasons: list[Refusal]) -> list[int]:
            return [sum(reason.severity is grade for reason in reasons) for grade in grades]

        return min(every, key=gravity, default=[NoCopy()])

    def _loan_of(self, copy: Copy) -> Iterator[Refusal]:
        known = self.holding
        patron, branch = known.patron, self.branches[copy.current_branch_id]
        rules = known.table.at(branch.id, patron.patron_category_id, copy.item_type_id)
        case = Case(copy, patron, branch, known.now, known.standing, rules, self.borrowing)
        reasons = [*borrowing.against_copy(copy, patron, self.borrowing), *borrowing.against_case(case)]
        if not patron.confirmed and not self.self_registered_may_borrow:
            reasons.append(standing.PatronUnconfirmed())
        yield from (reason for reason in reasons if reason.severity is not Severity.WARN)
