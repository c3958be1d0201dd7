"""The desk: lending a copy and taking it back."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import Select, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session, joinedload, raiseload

from library.models import Branch, Copy, CopyCondition, CopyPlace, Loan, LoanClosing, User
from library.rules import access, calendar, locks, policies
from library.rules.errors import Refusal, Refused, Severity, refuse_if_any, refuses

LOAN_SORTS = {"due_at": Loan.due_at, "checked_out_at": Loan.checked_out_at, "closed_at": Loan.closed_at}


class ItemNotFound(Refusal):
    """There is no copy with this barcode."""

    pointer = "/copy_barcode"


class PatronNotFound(Refusal):
    """There is no patron with this card barcode."""

    pointer = "/patron_barcode"


class PatronInactive(Refusal):
    """The patron's account is not active."""

    pointer = "/patron_barcode"


class ItemOnLoan(Refusal):
    """The copy is on loan."""

    pointer = "/copy_barcode"


class DueInThePast(Refusal):
    """The due date lies before the moment of lending."""

    pointer = "/due_at"


class ReturnedBeforeLoan(Refusal):
    """The copy cannot have come back before it was lent."""

    pointer = "/returned_at"


class PatronUnconfirmed(Refusal):
    """The patron registered themselves, and staff have not confirmed the account yet."""

    severity = Severity.OVERRIDE
    pointer = "/patron_barcode"


class PatronExpired(Refusal):
    """The patron's card has expired."""

    severity = Severity.OVERRIDE
    pointer = "/patron_barcode"
    parameters = ("expires_on",)


class NotForLoan(Refusal):
    """The copy stays in the house."""

    severity = Severity.OVERRIDE
    pointer = "/copy_barcode"


class BadCondition(Refusal):
    """The copy is not fit to be lent."""

    severity = Severity.OVERRIDE
    pointer = "/copy_barcode"
    parameters = ("condition",)


class RouteAction(StrEnum):
    """What the desk does with the copy now."""

    SHELVE = "shelve"
    SEND = "send"
    SET_ASIDE = "set_aside"


@dataclass(frozen=True)
class Route:
    """Where a copy goes from the desk: the action, the branch, and why."""

    action: RouteAction
    branch_id: int
    reason: str


@dataclass(frozen=True)
class CheckIn:
    """What a check-in found and did; `loan` is None where the copy was not out."""

    copy: Copy
    loan: Loan | None
    route: Route


@dataclass(frozen=True)
class Desk:
    """Who stands at which desk, and what they may let pass."""

    actor: User
    branch: Branch
    self_registered_may_borrow: bool = False


@refuses(
    ItemNotFound,
    PatronNotFound,
    PatronInactive,
    ItemOnLoan,
    DueInThePast,
    PatronUnconfirmed,
    PatronExpired,
    NotForLoan,
    BadCondition,
)
def check_out(
    session: Session,
    desk: Desk,
    copy_barcode: str,
    patron_barcode: str,
    now: datetime,
    due_at: datetime | None = None,
) -> Loan:
    """Lend a copy to a patron until the end of a local day of the lending branch, or until `due_at`.

    All reasons against it are raised at once. The partial unique index has the last word: a lost race is ItemOnLoan.
    """
    patron = locks.lock_patron(session, patron_barcode)
    copy = locks.lock_copy(session, copy_barcode)
    branch, now = desk.branch, _after_last_scan(copy, now)
    reasons = _against_patron(patron, desk, now) + _against_copy(copy)
    if due_at is not None and due_at <= now:
        reasons.append(DueInThePast())
    refuse_if_any(reasons)
    assert patron is not None and copy is not None
    due_on = calendar.due_on(now, policies.LOAN_DAYS, branch.time_zone)
    due_at = due_at or calendar.end_of_day(due_on, branch.time_zone)
    loan = Loan(
        copy=copy,
        patron_id=patron.id,
        branch_id=branch.id,
        time_zone=branch.time_zone,
        checked_out_at=now,
        checked_out_by_id=desk.actor.id,
        due_at=due_at,
        due_on=calendar.local_day(due_at, branch.time_zone),
    )
    session.add(loan)
    copy.place, copy.transit_to_branch_id = CopyPlace.ON_LOAN, None
    _see(copy, branch, now)
    try:
        session.flush()
    except IntegrityError as error:
        if "uq_loans_open_copy" not in str(error.orig) and "loans.copy_id" not in str(error.orig):
            raise
        raise Refused([ItemOnLoan()]) from error
    return loan


def _against_patron(patron: User | None, desk: Desk, now: datetime) -> list[Refusal]:
    if patron is None:
        return [PatronNotFound()]
    reasons: list[Refusal] = []
    if not patron.active:
        reasons.append(PatronInactive())
    if not patron.confirmed and not desk.self_registered_may_borrow:
        reasons.append(PatronUnconfirmed())
    today = calendar.local_day(now, desk.branch.time_zone)
    if patron.expires_on is not None and patron.expires_on < today:
        reasons.append(PatronExpired(expires_on=patron.expires_on.isoformat()))
    return reasons


def _against_copy(copy: Copy | None) -> list[Refusal]:
    if copy is None:
        return [ItemNotFound()]
    reasons: list[Refusal] = []
    if copy.place is CopyPlace.ON_LOAN:
        reasons.append(ItemOnLoan())
    if copy.not_for_loan or (copy.item_type is not None and copy.item_type.not_for_loan):
        reasons.append(NotForLoan())
    if copy.condition is not CopyCondition.USABLE:
        reasons.append(BadCondition(condition=copy.condition.value))
    return reasons


def _after_last_scan(copy: Copy | None, now: datetime) -> datetime:
    """The moment of this scan: a request that waited for another's lock happened after it, whenever it set out."""
    return max(now, copy.last_seen_at) if copy is not None and copy.last_seen_at is not None else now


def _see(copy: Copy, branch: Branch, now: datetime) -> None:
    """Every scan says where a copy is."""
    copy.current_branch_id = copy.last_seen_branch_id = branch.id
    copy.last_seen_at = now


@refuses(ItemNotFound, ReturnedBeforeLoan)
def check_in(
    session: Session, desk: Desk, copy_barcode: str, now: datetime, returned_at: datetime | None = None
) -> CheckIn:
    """Take a copy back and say where it goes; a copy that was not out is no error.

    `returned_at` dates the return back (a book drop over the week-end); a moment to come counts as now.
    """
    copy = locks.lock_copy(session, copy_barcode)
    now = _after_last_scan(copy, now)
    reasons: list[Refusal] = []
    if copy is None:
        reasons.append(ItemNotFound())
    loan = locks.lock_open_loan(session, copy) if copy else None
    back_at = min(returned_at or now, now)
    if loan is not None and back_at < loan.checked_out_at:
        reasons.append(ReturnedBeforeLoan())
    refuse_if_any(reasons)
    assert copy is not None
    if loan is not None:
        loan.closed_at, loan.closed_as = back_at, LoanClosing.RETURNED
        loan.closed_by_id, loan.returned_branch_id = desk.actor.id, desk.branch.id
    _see(copy, desk.branch, now)
    route = _send_home(copy, desk.branch)
    session.flush()
    return CheckIn(copy, loan, route)


def _send_home(copy: Copy, branch: Branch) -> Route:
    """Where a copy goes that nobody waits for: its shelf, its own branch, or the desk's back room."""
    if copy.home_branch_id != branch.id:
        copy.place, copy.transit_to_branch_id = CopyPlace.IN_TRANSIT, copy.home_branch_id
        return Route(RouteAction.SEND, copy.home_branch_id, "home")
    copy.place, copy.transit_to_branch_id = CopyPlace.AVAILABLE, None
    if copy.condition is not CopyCondition.USABLE:
        return Route(RouteAction.SET_ASIDE, branch.id, copy.condition.value)
    return Route(RouteAction.SHELVE, branch.id, "home")


class LoanStatus(StrEnum):
    """How a list of loans may be narrowed."""

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
    return (joinedload(Loan.copy).load_only(Copy.book_id), raiseload("*"))


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
