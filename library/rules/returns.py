"""Check-in: the loan ends, the fine is charged, and the copy is led to where it belongs now."""

from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import bindparam, exists, select
from sqlalchemy.orm import Session, aliased, attributes

from library.models import AccountEntry, Copy, CopyCondition, Hold, Loan, LoanClosing, PolicyKind
from library.rules import locks, losses, places, routing, rows, running
from library.rules.access import NotForOneself
from library.rules.borrowing import CheckNote
from library.rules.desk import Desk
from library.rules.errors import Refusal, Refused, Severity, refuse_if_any, refuses
from library.rules.gathering import Entity, Gathering, Value
from library.rules.lending import ItemNotFound, see
from library.rules.losses import ClaimOutcome, LoanClosed, NotClaimed
from library.rules.places import Action
from library.rules.routing import Route
from library.rules.scanning import after_last_scan


class ReturnedBeforeLoan(Refusal):
    """The copy cannot have come back before it was lent."""

    pointer = "/returned_at"


@dataclass(frozen=True)
class CheckIn:
    """What a check-in found and did; `loan` is None where the copy was not out.

    `charges` are the entries it wrote to the account: a fine, or what was given back for a copy that was lost.
    """

    copy: Copy
    loan: Loan | None
    route: Route
    charges: list[AccountEntry] = field(default_factory=list)
    warnings: list[Refusal] = field(default_factory=list)

    @property
    def hold(self) -> Hold | None:
        """The hold that the copy serves now."""
        return self.route.hold


_COPY, _LOAN = aliased(Copy), aliased(Loan)
# The copy that comes back, its open loan, and whether any hold asks where it goes.
BROUGHT = Gathering(
    select(_COPY)
    .outerjoin(_LOAN, (_LOAN.copy_id == _COPY.id) & _LOAN.closed_at.is_(None))
    .where(_COPY.barcode == bindparam("barcode")),
    copy=Entity(_COPY),
    loan=Entity(_LOAN),
    is_wanted=Value(
        exists().where(Hold.book_id == _COPY.book_id, Hold.ended_at.is_(None))
        | exists().where(Hold.assigned_copy_id == _COPY.id, Hold.ended_at.is_(None))
    ),
)


class WasMissing(Refusal):
    """The copy was missing or lost, and is here again."""

    severity = Severity.WARN
    pointer = "/copy_barcode"
    parameters = ("condition",)


class NotFit(Refusal):
    """The copy is not fit for the shelf."""

    severity = Severity.WARN
    pointer = "/copy_barcode"
    parameters = ("condition",)


@refuses(ItemNotFound, ReturnedBeforeLoan, NotForOneself)
def check_in(
    session: Session, desk: Desk, copy_barcode: str, now: datetime, returned_at: datetime | None = None
) -> CheckIn:
    """Take a copy back and say where it goes; a copy that was not out is no error.

    `returned_at` dates the return back (a book drop over the week-end); a moment to come counts as now.
    """
    brought = BROUGHT.of(session, barcode=locks.lock_return(session, copy_barcode))
    if brought is None:
        raise Refused([ItemNotFound()])
    copy, loan = brought.copy, brought.loan
    now = after_last_scan(copy, now)
    back_at = min(returned_at or now, now)
    refuse_if_any(_against(desk, loan, back_at, now) if loan is not None else [])
    warnings = _warnings(copy, loan)
    if loan is not None:
        charges = close(session, desk, loan, LoanClosing.RETURNED, back_at, now)
    else:
        charges = losses.refund_paid(session, desk, copy, back_at, now)
    places.move(Action.CHECK_IN, copy)
    _restore(copy, loan)
    see(copy, desk.here, now)
    if brought.is_wanted:
        rows.update_row(session, copy)
        route = routing.route(session, copy, desk.here, now)
        session.flush()
    else:
        route = routing.send_home(copy, desk.here)
        rows.update_row(session, copy)
    if loan is not None:
        attributes.set_committed_value(loan, "copy", copy)
    return CheckIn(copy, loan, route, charges, warnings)


def _against(desk: Desk, loan: Loan, back_at: datetime, now: datetime) -> list[Refusal]:
    """What speaks against dating a return back, or against ending one's own claim; both make fines smaller."""
    reasons: list[Refusal] = [ReturnedBeforeLoan()] if back_at < loan.checked_out_at else []
    if desk.serving(loan.patron_id).serves_oneself:
        reasons += [NotForOneself("/returned_at")] if back_at < now else []
        reasons += [NotForOneself("/copy_barcode")] if loan.claimed_at is not None else []
    return reasons


def _restore(copy: Copy, loan: Loan | None) -> None:
    """A copy that was lent though it is not fit comes back as it went out: it belongs to its desk, not on a shelf."""
    if loan is not None and loan.lent_condition is not None:
        copy.condition = CopyCondition(loan.lent_condition)


def _warnings(copy: Copy, loan: Loan | None) -> list[Refusal]:
    warnings: list[Refusal] = []
    if loan is not None and loan.lent_condition is not None:
        warnings.append(NotFit(condition=loan.lent_condition))
    if copy.condition in (CopyCondition.DAMAGED, CopyCondition.WITHDRAWN):
        warnings.append(NotFit(condition=copy.condition.value))
    elif copy.condition is not CopyCondition.USABLE:
        warnings.append(WasMissing(condition=copy.condition.value))
    if copy.check_note:
        warnings.append(CheckNote(note=copy.check_note))
    return warnings


def close(
    session: Session, desk: Desk, loan: Loan, closed_as: LoanClosing, back_at: datetime, now: datetime
) -> list[AccountEntry]:
    """End a loan: charge its fine, or give back what the policies give back for a copy that was lost."""
    charges: list[AccountEntry] = []
    if loan.lost_at is not None or back_at > loan.due_at:
        charges = _settle(session, desk, loan, back_at, now)
    loan.closed_at, loan.closed_as = back_at, closed_as
    loan.closing_noted_at = now if now > back_at else None
    loan.closed_by_id, loan.returned_branch_id = desk.actor_id, desk.branch.id if desk.branch else None
    rows.update_row(session, loan)
    return charges


def _settle(session: Session, desk: Desk, loan: Loan, back_at: datetime, now: datetime) -> list[AccountEntry]:
    """What comes of a copy that is late, or was lost."""
    rules = losses.rules_of(session, loan)
    lost = loan.lost_at is not None
    fine = running.charge_fine(
        session, loan, rules, back_at, now, desk, lost and bool(rules[PolicyKind.FINE_ON_LOST_RETURN])
    )
    given_back = losses.refund_found(session, desk, loan, rules, back_at, now) if lost else []
    given_back += losses.lift_fine_of_loss(session, desk, loan, back_at, now)
    return [*([fine] if fine else []), *given_back]


@dataclass(frozen=True)
class Resolution:
    """What became of a claim: the loan, and where the copy goes if it was found."""

    loan: Loan
    route: Route | None


@refuses(LoanClosed, NotClaimed, NotForOneself)
def resolve_claim(session: Session, desk: Desk, loan: Loan, outcome: ClaimOutcome, now: datetime) -> Resolution:
    """End a claim: the copy was found at this desk and the loan ends, or it is still missing and the loan goes on.

    The days of a claim are not fined: whether one's own was true, a colleague says.
    """
    loan = losses.lock_whole(session, loan)
    action = Action.CLAIM_FOUND if outcome is ClaimOutcome.FOUND else Action.CLAIM_MISSING
    own = desk.serving(loan.patron_id).serves_oneself
    refuse_if_any(losses.against(action, loan) + ([NotForOneself()] if own else []))
    now = after_last_scan(loan.copy, now)
    if outcome is ClaimOutcome.MISSING:
        losses.reject_claim(loan, now)
        session.flush()
        return Resolution(loan, None)
    close(session, desk, loan, LoanClosing.CLAIM_FOUND, now, now)
    places.move(Action.CLAIM_FOUND, loan.copy)
    _restore(loan.copy, loan)
    see(loan.copy, desk.here, now)
    session.flush()
    return Resolution(loan, routing.route(session, loan.copy, desk.here, now))
