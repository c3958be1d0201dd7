"""What speaks against a patron's borrowing a copy: the copy's place and condition, limits, who else waits."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from library.models import (
    BlockScope,
    Branch,
    Copy,
    CopyCondition,
    Hold,
    Loan,
    PolicyKind,
    User,
)
from library.rules import holds, places, queues, standing
from library.rules.errors import Refusal, Severity
from library.rules.places import Action
from library.rules.policies import Effective
from library.rules.queues import Demand
from library.rules.standing import OVERRIDE, Standing


class HeldForAnother(Refusal):
    """The copy is set aside for another patron."""

    pointer = "/copy_barcode"


class ItemOnLoan(Refusal):
    """The copy is on loan."""

    pointer = "/copy_barcode"
    parameters = ("loan_id",)


class LoanLimit(Refusal):
    """The patron has as many loans as are allowed."""

    severity = Severity.OVERRIDE
    permission = OVERRIDE
    pointer = "/patron_barcode"
    parameters = ("scope", "count", "limit", "of")


class NotForLoan(Refusal):
    """The copy stays in the house."""

    severity = Severity.OVERRIDE
    permission = OVERRIDE
    pointer = "/copy_barcode"


class BadCondition(Refusal):
    """The copy is not fit to be lent."""

    severity = Severity.OVERRIDE
    permission = OVERRIDE
    pointer = "/copy_barcode"
    parameters = ("condition",)


class SameTitleOnLoan(Refusal):
    """The patron already has a copy of this title."""

    severity = Severity.CONFIRM
    pointer = "/copy_barcode"


class WantedByOthers(Refusal):
    """Others wait for this title, and no more copies are free than there are waiting."""

    severity = Severity.CONFIRM
    pointer = "/copy_barcode"
    parameters = ("waiting", "free")


class CheckNote(Refusal):
    """Check the copy before it leaves the desk."""

    severity = Severity.CONFIRM
    pointer = "/copy_barcode"
    parameters = ("note",)


class OtherBranch(Refusal):
    """The copy belongs to another branch."""

    severity = Severity.WARN
    pointer = "/copy_barcode"
    parameters = ("home_branch_id",)


class LimitReached(Refusal):
    """With this loan the patron reaches a limit."""

    severity = Severity.WARN
    pointer = "/patron_barcode"
    parameters = ("scope", "count", "limit")


class SetAsideFreed(Refusal):
    """The copy that was set aside for the patron is free again: it goes on from the hold shelf."""

    severity = Severity.WARN
    pointer = "/copy_barcode"
    parameters = ("action", "branch_id")


AGAINST_COPIES = (ItemOnLoan, HeldForAnother, NotForLoan, BadCondition)
TO_CONFIRM = (SameTitleOnLoan, WantedByOthers, CheckNote)


@dataclass(frozen=True)
class Facts:
    """What one patron, or nobody yet, and others have to do with some copies; loaded for all of them at once."""

    patron: User | None
    served: Mapping[int, int | None]
    own_loans: Sequence[Any]
    own_holds: Sequence[Hold]
    demand: Mapping[int, Demand]
    ahead: Mapping[int, Demand]

    @classmethod
    def load(cls, session: Session, patron: User | None, copies: Sequence[Copy], now: datetime) -> "Facts":
        """The facts in six statements."""
        book_ids = {copy.book_id for copy in copies}
        set_aside = session.execute(served(Hold.assigned_copy_id.in_([copy.id for copy in copies])))
        own_loans: Sequence[Any] = []
        own_holds: Sequence[Hold] = []
        if patron is not None:
            own_loans = session.execute(lent(patron.id, Copy.book_id.in_(book_ids))).all()
            own_holds = holds.own_holds(session, patron, book_ids)
        return cls(
            patron,
            dict(set_aside.all()),
            own_loans,
            own_holds,
            queues.demand(session, book_ids, now),
            queues.ahead(session, own_holds, now),
        )

    @classmethod
    def of(cls, session: Session, patron: User | None, copy: Copy, gathered: Any, now: datetime) -> "Facts":
        """The facts about one copy, out of what was gathered of it (scanning.py)."""
        own_holds = holds.own_holds(session, patron, [copy.book_id]) if patron and gathered.own_holds else []
        return cls(
            patron,
            dict(gathered.served),
            gathered.own_loans,
            own_holds,
            queues.demand_of(copy.book_id, gathered.waiting, gathered.free_copies, now),
            queues.ahead(session, own_holds, now) if own_holds else {},
        )

    def ahead_of(self, copy: Copy) -> Demand:
        """The others who wait for the book; where the patron waits too, those whose turn comes sooner."""
        own = holds.served_by(copy, self.own_holds)
        demand = self.demand[copy.book_id] if own is None else self.ahead[own.id]
        return demand if self.patron is None else demand.of_others(self.patron.id)


@dataclass(frozen=True)
class Case:
    """A copy and a patron who are both known, and all that the decision depends on."""

    copy: Copy
    patron: User
    branch: Branch
    now: datetime
    standing: Standing
    rules: Effective
    facts: Facts


def lent(patron_id: Any, books: Any) -> Any:
    """What a patron has of some books."""
    lent = select(Loan.id, Loan.copy_id, Copy.book_id).join(Loan.copy)
    return lent.where(Loan.patron_id == patron_id, Loan.closed_at.is_(None), books)


def served(copies: Any) -> Any:
    """For whom some copies are set aside or travelling."""
    return select(Hold.assigned_copy_id, Hold.patron_id).where(copies, Hold.ended_at.is_(None))


def against_copy(copy: Copy, patron: User | None, facts: Facts) -> Iterator[Refusal]:
    """What speaks against lending a copy, to this patron or to anybody."""
    code = places.refused(Action.CHECK_OUT, copy)
    if code == "item_on_loan":
        # Points to the loan where the patron has the copy already: it may be renewed. Another's loan is not named.
        own = [loan.id for loan in facts.own_loans if loan.copy_id == copy.id]
        yield ItemOnLoan(**({"loan_id": own[0]} if own else {}))
    if code == "bad_condition" or copy.condition is not CopyCondition.USABLE:
        yield BadCondition(condition=_what_is_wrong(copy))
    if copy.id in facts.served and (patron is None or facts.served[copy.id] != patron.id):
        yield HeldForAnother()
    if stays_in_house(copy):
        yield NotForLoan()


def stays_in_house(copy: Copy) -> bool:
    """Whether a copy, or its whole type, is not for loan."""
    return copy.not_for_loan or (copy.item_type is not None and copy.item_type.not_for_loan)


def at_sight(copy: Copy, branch: Branch) -> Iterator[Refusal]:
    """What the desk should see of a copy, whoever borrows it."""
    if copy.check_note:
        yield CheckNote(note=copy.check_note)
    if copy.home_branch_id != branch.id:
        yield OtherBranch(home_branch_id=copy.home_branch_id)


def _what_is_wrong(copy: Copy) -> str:
    return copy.place.value if copy.condition is CopyCondition.USABLE else copy.condition.value


def against_case(case: Case) -> Iterator[Refusal]:
    """What speaks against lending to this patron: their standing, limits, and what the desk should know first."""
    yield from standing.against(case.standing, BlockScope.LOANS, case.branch, case.rules, case.now)
    yield from against_borrowing(case)
    yield from to_confirm(case)


def against_borrowing(case: Case) -> Iterator[Refusal]:
    """Limits; one that this loan reaches is a remark."""
    counts = {
        PolicyKind.MAX_LOANS: case.standing.open_loans,
        PolicyKind.MAX_LOANS_PER_ITEM_TYPE: case.standing.loans_by_type.get(case.copy.item_type_id, 0),
        PolicyKind.MAX_LOANS_PER_OWNER: case.standing.loans_by_owner.get(case.copy.home_branch_id, 0),
    }
    for kind, count in counts.items():
        limit = case.rules[kind]
        if limit is not None and count >= limit:
            yield LoanLimit(scope=kind.value, count=count, limit=limit)
        elif limit is not None and count + 1 == limit:
            yield LimitReached(scope=kind.value, count=count + 1, limit=limit)


def to_confirm(case: Case) -> Iterator[Refusal]:
    """What the desk should know before it goes on."""
    copy, facts = case.copy, case.facts
    if any(loan.book_id == copy.book_id and loan.copy_id != copy.id for loan in facts.own_loans):
        yield SameTitleOnLoan()
    ahead, free = facts.ahead_of(copy), facts.demand[copy.book_id].free_copies
    waiting = ahead.for_copy(copy.id)
    # Who waits for this very copy is served by no other, however many are free.
    if waiting and (waiting >= free or ahead.copy_holds[copy.id]):
        yield WantedByOthers(waiting=waiting, free=free)
