"""Loans as they are listed and shown, and the due dates that staff change."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import StrEnum
from typing import Any

from sqlalchemy import Select, inspect, select
from sqlalchemy.orm import Session, joinedload, raiseload

from library.models import Branch, Copy, DueChange, Loan, Override, Renewal, User
from library.rules import access, calendar, due_dates, losses, running
from library.rules.access import NotForOneself
from library.rules.desk import Desk
from library.rules.errors import Refusal, refuse_if_any, refuses
from library.rules.lending import DueInThePast
from library.rules.losses import LoanClosed
from library.rules.renewals import Outlook

_PARTS = {"copy", "patron", "branch"}
LOAN_SORTS = {"due_at": Loan.due_at, "checked_out_at": Loan.checked_out_at, "closed_at": Loan.closed_at}
OVERRIDE_SORTS = {"made_at": Override.made_at}
RENEWAL_SORTS = {"renewed_at": Renewal.renewed_at}


class LoanStatus(StrEnum):
    """How a list of loans may be narrowed.

    * `open`: the copy is out
    * `overdue`: the copy is out and late
    * `closed`: the copy is back, or lost and paid
    """

    OPEN = "open"
    OVERDUE = "overdue"
    CLOSED = "closed"


def find_loans(actor: User, now: datetime, status: LoanStatus | None = None, **filters: Any) -> Select[Any]:
    """Loans the actor may see, narrowed by status, patron, copy, book, branch and due days."""
    statement = access.visible(select(Loan), Loan, actor).options(*loan_parts())
    if status is not None:
        statement = statement.where(_BY_STATUS[status](now))
    for name, value in filters.items():
        statement = statement.where(_LOAN_FILTERS[name](value))
    return statement


def loan_parts() -> tuple[Any, ...]:
    """What a loan is shown with."""
    return (*running.parts(), raiseload("*"))


_BY_STATUS = {
    LoanStatus.OPEN: lambda now: Loan.closed_at.is_(None),
    LoanStatus.OVERDUE: lambda now: Loan.closed_at.is_(None) & (Loan.due_at < now),
    LoanStatus.CLOSED: lambda now: Loan.closed_at.is_not(None),
}
_LOAN_FILTERS = {
    "patron_id": lambda key: Loan.patron_id == key,
    "copy_id": lambda key: Loan.copy_id == key,
    "book_id": lambda key: Loan.copy.has(Copy.book_id == key),
    "branch_id": lambda key: Loan.branch_id == key,
    "due_on_min": lambda day: Loan.due_on >= day,
    "due_on_max": lambda day: Loan.due_on <= day,
}


@dataclass(frozen=True)
class Prospect:
    """What a loan would cost if it ended now, and every reason against renewing it."""

    running_fine_cents: int
    against_renewal: Sequence[Refusal]


def prospects(session: Session, loans: Iterable[Loan], now: datetime) -> dict[int, Prospect]:
    """What is shown of loans beside their columns, by key, in a fixed number of statements."""
    loans = list(loans)
    _load_parts(session, loans)
    still_open = [loan for loan in loans if loan.closed_at is None]
    found = {loan.id: Prospect(0, [LoanClosed()]) for loan in loans}
    if still_open:
        outlook = _after_lending(still_open, now) or Outlook.load(session, still_open, now)
        fines = running.fines_of(session, still_open, outlook.table, now)
        for loan in still_open:
            cents = fines[loan].cents if loan in fines else 0
            found[loan.id] = Prospect(cents, outlook.reasons(loan))
    return found


def _after_lending(loans: Sequence[Loan], now: datetime) -> Outlook | None:
    """What is known already of a loan that was made at this moment."""
    scan = loans[0].scan if len(loans) == 1 else None
    return Outlook.after(scan) if scan is not None and scan.now == now else None


def _load_parts(session: Session, loans: Sequence[Loan]) -> None:
    """Loans that were not read through `loan_parts` get what they are shown with; one that has ended only its copy."""
    bare = [loan.id for loan in loans if (_PARTS if loan.closed_at is None else {"copy"}) & inspect(loan).unloaded]
    if bare:
        session.scalars(select(Loan).where(Loan.id.in_(bare)).options(*running.parts())).all()


def find_renewals(loan: Loan) -> Select[Any]:
    """The renewals of a loan, the first first."""
    return select(Renewal).where(Renewal.loan_id == loan.id).options(raiseload("*"))


def find_overrides(loan: Loan) -> Select[Any]:
    """What staff let pass for a loan."""
    return select(Override).where(Override.loan_id == loan.id).options(raiseload("*"))


@refuses(LoanClosed, DueInThePast, NotForOneself)
def change_due_date(session: Session, desk: Desk, loan: Loan, due_at: datetime, reason: str, now: datetime) -> Loan:
    """Give an open loan another due date, after the moment of lending; who and why is recorded."""
    refuse_if_any(
        ([LoanClosed()] if loan.closed_at is not None else [])
        + ([DueInThePast()] if due_at <= loan.checked_out_at else [])
        + ([NotForOneself("/due_at")] if desk.serving(loan.patron_id).serves_oneself else [])
    )
    _move(session, desk, loan, due_dates.named(due_at, loan.time_zone), reason, now)
    return loan


def _move(session: Session, desk: Desk, loan: Loan, due: due_dates.Due, reason: str, now: datetime) -> None:
    session.add(
        DueChange(
            loan_id=loan.id,
            changed_at=now,
            actor_id=desk.actor_id,
            was_due_at=loan.due_at,
            due_at=due.at,
            reason=reason,
        )
    )
    loan.due_at, loan.due_on, loan.due_steps = due.at, due.on, due.steps
    session.flush()


def move_off_closed_days(
    session: Session, desk: Desk, branch: Branch, from_on: date, to_on: date, reason: str, now: datetime
) -> list[Loan]:
    """Move the due dates of a branch's open loans that fall on closed days to the next open day; at most 100 a call.

    Called again it goes on with those that are left; loans that are due on open days stay as they are.
    """
    days = calendar.load(session, [branch])[branch.id]
    span = (from_on + timedelta(days=number) for number in range((to_on - from_on).days + 1))
    closed = [day for day in span if not days.is_open_on(day)]
    due_then = select(Loan.id).where(Loan.branch_id == branch.id, Loan.closed_at.is_(None), Loan.due_on.in_(closed))
    moved = []
    first = select(Loan).where(Loan.id.in_(due_then.order_by(Loan.id).limit(100))).options(joinedload(Loan.copy))
    found = session.scalars(first.order_by(Loan.id)).all()
    losses.lock_all(session, found)
    for loan in found:
        loan = losses.lock_whole(session, loan)
        next_day = days.next_open_day(loan.due_on)
        if loan.closed_at is None and loan.due_on in closed and next_day is not None:
            due = due_dates.named(calendar.end_of_day(next_day, loan.time_zone), loan.time_zone)
            _move(session, desk, loan, due, reason, now)
            moved.append(loan)
    return moved
