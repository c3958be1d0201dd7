"""What speaks against a patron's hold on a book or a copy: limits, the copies there are, the way to the pickup."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import StrEnum
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session, joinedload

from library.models import (
    OPEN_STATES,
    BlockScope,
    Branch,
    Copy,
    CopyCondition,
    CopyPlace,
    Hold,
    Loan,
    PolicyKind,
    User,
)
from library.rules import calendar, policies, standing, transfers
from library.rules.errors import Refusal, Severity
from library.rules.policies import Effective, PolicyTable
from library.rules.standing import OVERRIDE, Standing
from library.rules.transfers import TransferLimits


class AlreadyHeld(Refusal):
    """The patron already waits for this."""

    pointer = "/book_id"
    parameters = ("count", "limit")


class AlreadyBorrowed(Refusal):
    """The patron has this on loan."""

    pointer = "/book_id"


class PickupMissing(Refusal):
    """Name the branch where it is to be collected: the patron has no home branch."""

    pointer = "/pickup_branch_id"


class PickupUnknown(Refusal):
    """There is no such pickup branch."""

    pointer = "/pickup_branch_id"


class PickupNotAllowed(Refusal):
    """Nothing can be collected at this branch."""

    pointer = "/pickup_branch_id"


class NotNeededInThePast(Refusal):
    """The last day on which it is wanted is past already."""

    pointer = "/not_needed_after"


class CopyOfAnotherBook(Refusal):
    """The copy is not one of this book."""

    pointer = "/copy_id"


class HoldLimit(Refusal):
    """The patron has as many holds as are allowed."""

    severity = Severity.OVERRIDE
    permission = OVERRIDE
    pointer = "/patron_id"
    parameters = ("scope", "count", "limit")


class HoldsPerDay(Refusal):
    """The patron has placed as many holds today as are allowed."""

    severity = Severity.OVERRIDE
    permission = OVERRIDE
    pointer = "/patron_id"
    parameters = ("count", "limit")


class NotHoldable(Refusal):
    """This cannot be held."""

    pointer = "/book_id"
    parameters = ("why",)


class OnShelf(Refusal):
    """A copy stands on the shelf, free to be taken."""

    severity = Severity.OVERRIDE
    permission = OVERRIDE
    pointer = "/book_id"


class NotTransferable(Refusal):
    """No copy of it may travel to the pickup branch."""

    severity = Severity.OVERRIDE
    permission = OVERRIDE
    pointer = "/pickup_branch_id"


AGAINST_HOLDS = (
    AlreadyHeld,
    AlreadyBorrowed,
    PickupMissing,
    PickupUnknown,
    PickupNotAllowed,
    NotNeededInThePast,
    CopyOfAnotherBook,
    *standing.AGAINST_PATRONS,
    HoldLimit,
    HoldsPerDay,
    NotHoldable,
    OnShelf,
    NotTransferable,
)


class Why(StrEnum):
    """Why something cannot be held."""

    NOT_ALLOWED = "not_allowed"
    NO_COPIES = "no_copies"
    ITEM_TYPE = "item_type"
    NOT_FOR_LOAN = "not_for_loan"
    CONDITION = "condition"


# Where no branch is known, the reasons that need none are told all the same.
NOWHERE = Branch(name="", time_zone="UTC")


def pickup_of(session: Session, patron: User, branch_id: int | None) -> Branch | None:
    """The branch that was named for collecting, else the patron's own; None where there is no such branch."""
    key = patron.home_branch_id if branch_id is None else branch_id
    return None if key is None else session.get(Branch, key)


def against_pickup(pickup: Branch | None, named: bool) -> list[Refusal]:
    """What speaks against collecting at a branch; `named`: somebody asked for it."""
    if pickup is None:
        return [PickupUnknown() if named else PickupMissing()]
    return [] if pickup.pickup_point else [PickupNotAllowed()]


def against_last_day(last_day: date | None, pickup: Branch | None, now: datetime) -> list[Refusal]:
    """What speaks against a last day on which a hold is wanted."""
    today = calendar.local_day(now, (pickup or NOWHERE).time_zone)
    return [NotNeededInThePast()] if last_day is not None and last_day < today else []


def copies_of(session: Session, book_ids: Iterable[int]) -> dict[int, list[Copy]]:
    """The copies of books with their types, read anew, by book; one statement."""
    found: dict[int, list[Copy]] = {book_id: [] for book_id in book_ids}
    copies = select(Copy).where(Copy.book_id.in_(found)).options(joinedload(Copy.item_type))
    for copy in session.scalars(copies.order_by(Copy.id).execution_options(populate_existing=True)):
        found[copy.book_id].append(copy)
    return found


def travels(limits: TransferLimits, copies: Iterable[Copy], pickup: Branch) -> bool:
    """Whether a copy may go to a branch, from where it is or from its home."""
    return any(
        limits.allows(start, pickup.id, copy.item_type_id)
        for copy in copies
        for start in (copy.current_branch_id, copy.home_branch_id)
    )


@dataclass(frozen=True)
class Facts:
    """All that decides about one patron's holds on some books; loaded in a fixed number of statements."""

    patron: User
    now: datetime
    table: PolicyTable
    limits: TransferLimits
    standing: Standing
    copies: dict[int, list[Copy]]
    held: Sequence[Any]
    borrowed: set[int]
    placed: dict[date, int]

    @classmethod
    def load(cls, session: Session, patron: User, book_ids: Sequence[int], now: datetime) -> "Facts":
        """The facts as they stand; to act on them, lock the patron and the queues of the books first."""
        table = policies.load(session)
        known = standing.load(session, [patron], table, now)[patron.id]
        own = select(Hold.book_id, Hold.copy_id).where(Hold.patron_id == patron.id, Hold.state.in_(OPEN_STATES))
        lent = select(Copy.book_id).join(Loan, Loan.copy_id == Copy.id)
        lent = lent.where(Loan.patron_id == patron.id, Loan.closed_at.is_(None), Copy.book_id.in_(book_ids))
        return cls(
            patron,
            now,
            table,
            transfers.load(session),
            known,
            copies_of(session, book_ids),
            session.execute(own).all(),
            set(session.scalars(lent)),
            _placed_lately(session, patron, now),
        )

    def against(self, book_id: int, copy: Copy | None, pickup: Branch | None) -> list[Refusal]:
        """Every reason against a hold of the patron on a book, or on one copy of it, collected at a branch."""
        choice = self.copies[book_id] if copy is None else [copy]
        reasons = self._mildest(choice, book_id, copy, pickup)
        if book_id in self.borrowed:
            reasons.append(AlreadyBorrowed())
        if copy is not None and copy.book_id != book_id:
            return [*reasons, CopyOfAnotherBook()]
        return [*reasons, *self._against_copies(choice, pickup, "/book_id" if copy is None else "/copy_id")]

    def _rules(self, item_type_id: int | None, pickup: Branch | None) -> Effective:
        return self.table.at(pickup.id if pickup else None, self.patron.patron_category_id, item_type_id)

    def _mildest(self, choice: Sequence[Copy], book_id: int, copy: Copy | None, pickup: Branch | None) -> list[Refusal]:
        """The patron's standing and limits: policies may differ by item type, and one copy that is open is enough."""
        holdable = [copy for copy in choice if not self._obstacles(copy, pickup)]
        types = dict.fromkeys(copy.item_type_id for copy in holdable or choice) or {None: None}
        here, scope = pickup or NOWHERE, BlockScope.HOLDS
        every = []
        for kind in types:
            rules = self._rules(kind, pickup)
            reasons = standing.against(self.standing, scope, here, rules, self.now, pointer="/patron_id")
            every.append([*reasons, *self._against_limits(rules, book_id, copy, pickup)])
        return min(every, key=len)

    def _against_limits(
        self, rules: Effective, book_id: int, copy: Copy | None, pickup: Branch | None
    ) -> Iterator[Refusal]:
        of_book = [hold for hold in self.held if hold.book_id == book_id]
        limit = rules[PolicyKind.MAX_HOLDS_PER_BOOK]
        same_copy = copy is not None and any(hold.copy_id == copy.id for hold in of_book)
        if same_copy or (of_book and limit is not None and len(of_book) >= limit):
            yield AlreadyHeld("/copy_id" if same_copy else None, count=len(of_book), limit=limit)
        elif limit == 0:
            yield HoldLimit(scope="book", count=0, limit=0)
        limit = rules[PolicyKind.MAX_HOLDS]
        if limit is not None and len(self.held) >= limit:
            yield HoldLimit(scope="all", count=len(self.held), limit=limit)
        today = calendar.local_day(self.now, (pickup or NOWHERE).time_zone)
        limit, count = rules[PolicyKind.MAX_HOLDS_PER_DAY], self.placed.get(today, 0)
        if limit is not None and count >= limit:
            yield HoldsPerDay(count=count, limit=limit)

    def _against_copies(self, choice: Sequence[Copy], pickup: Branch | None, pointer: str) -> Iterator[Refusal]:
        """A title can be held if one of its copies can; else the copy that comes closest says why not."""
        if not choice:
            yield NotHoldable(pointer, why=Why.NO_COPIES.value)
            return
        obstacles = {copy.id: self._obstacles(copy, pickup) for copy in choice}
        holdable = [copy for copy in choice if not obstacles[copy.id]]
        for why in min(obstacles.values(), key=len):
            yield NotHoldable(pointer, why=why.value)
        free = [copy for copy in holdable if copy.place is CopyPlace.AVAILABLE]
        if free and not any(self._rules(copy.item_type_id, pickup)[PolicyKind.HOLDS_ON_SHELF] for copy in free):
            yield OnShelf(pointer)
        if pickup is not None and not travels(self.limits, holdable or choice, pickup):
            yield NotTransferable()

    def _obstacles(self, copy: Copy, pickup: Branch | None) -> list[Why]:
        kind = copy.item_type
        found = {
            Why.NOT_ALLOWED: not self._rules(copy.item_type_id, pickup)[PolicyKind.HOLDS_ALLOWED],
            Why.ITEM_TYPE: kind is not None and not kind.holdable,
            Why.NOT_FOR_LOAN: copy.not_for_loan or (kind is not None and kind.not_for_loan),
            Why.CONDITION: copy.condition is not CopyCondition.USABLE,
        }
        return [why for why, holds in found.items() if holds]


def _placed_lately(session: Session, patron: User, now: datetime) -> dict[date, int]:
    """How many holds a patron placed, by local day, around now, also those taken back since."""
    days = [now.date() + timedelta(days) for days in (-1, 0, 1)]
    placed = (
        select(Hold.placed_on, func.count().label("placed"))
        .where(Hold.patron_id == patron.id, Hold.placed_on.in_(days))
        .group_by(Hold.placed_on)
    )
    return {row.placed_on: row.placed for row in session.execute(placed)}
