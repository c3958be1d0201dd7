"""Lending: everything that speaks against a check-out, and the check-out."""

from collections.abc import Iterator
from datetime import datetime

from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session, attributes

from library.models import BlockScope, Branch, Copy, CopyCondition, Loan, PolicyKind
from library.rules import access, due_dates, holds, locks, losses, places, rows, standing
from library.rules.access import NotForOneself
from library.rules.borrowing import (
    AGAINST_COPIES,
    TO_CONFIRM,
    Case,
    ItemOnLoan,
    LimitReached,
    LoanLimit,
    NotForLoan,
    OtherBranch,
    SetAsideFreed,
    against_case,
    against_copy,
    at_sight,
)
from library.rules.desk import OVERRIDING, Desk, OverrideDueDateMissing, record
from library.rules.errors import Refusal, Refused, refuses
from library.rules.places import Action
from library.rules.scanning import Scan

# A copy that was lent like this comes back like this.
UNFIT = (CopyCondition.DAMAGED, CopyCondition.WITHDRAWN)


class ItemNotFound(Refusal):
    """There is no copy with this barcode."""

    pointer = "/copy_barcode"


class PatronNotFound(Refusal):
    """There is no patron with this card barcode."""

    pointer = "/patron_barcode"


class DueInThePast(Refusal):
    """The due date lies before the moment of lending."""

    pointer = "/due_at"


@refuses(
    ItemNotFound,
    PatronNotFound,
    standing.PatronUnconfirmed,
    *standing.AGAINST_PATRONS,
    *AGAINST_COPIES,
    DueInThePast,
    LoanLimit,
    *TO_CONFIRM,
    OtherBranch,
    LimitReached,
    SetAsideFreed,
    *OVERRIDING,
    OverrideDueDateMissing,
)
def check_out(
    session: Session,
    desk: Desk,
    copy_barcode: str,
    patron_barcode: str,
    now: datetime,
    due_at: datetime | None = None,
) -> Loan:
    """Lend a copy to a patron until the day that the policies of the lending branch give, or until `due_at`.

    All reasons against it are raised at once. The partial unique index has the last word: a lost race is ItemOnLoan.
    A patron who acts (at a self-check) has no card but their own, and takes to the desk what wants to be confirmed.
    """
    barcode, card = locks.lock_lending(session, copy_barcode, _shown_card(desk, patron_barcode))
    scan = Scan.of(session, barcode, card, desk.here, now)
    patron, copy, branch, now = scan.patron, scan.copy, scan.branch, scan.now
    desk = desk.serving(patron.id if patron else None)
    reasons = list(_reasons(desk, scan))
    if due_at is not None and due_at <= now:
        reasons.append(DueInThePast())
    if due_at is not None and desk.serves_oneself:
        reasons.append(NotForOneself("/due_at"))
    if (
        due_at is None
        and any(isinstance(reason, NotForLoan) for reason in reasons)
        and "not_for_loan" in desk.overrides
    ):
        reasons.append(OverrideDueDateMissing())
    # A confirmation holds for the copy as it stands now and for this due date only.
    version, named = (copy.version if copy else None), (due_at.isoformat() if due_at else None)
    about = (copy.id if copy else None, patron.id if patron else None, branch.id, version, named)
    overrides = desk.permit("check_out", about, reasons)
    assert scan.case is not None
    card_counts = not any(override.code == "patron_expired" for override in overrides)
    due = _due(scan, scan.case, due_at, card_counts)
    loan = _lend(session, desk, scan, scan.case, due)
    record(session, desk, overrides, now, loan_id=loan.id)
    return loan


def _shown_card(desk: Desk, card_barcode: str) -> str | None:
    """The card that was scanned; of others' cards a patron learns nothing."""
    actor = desk.actor
    if actor is not None and not access.is_staff(actor) and actor.card_barcode != card_barcode:
        return None
    return card_barcode


def see(copy: Copy, branch: Branch, now: datetime) -> None:
    """Every scan says where a copy is."""
    copy.current_branch_id = copy.last_seen_branch_id = branch.id
    copy.last_seen_at = now


def _reasons(desk: Desk, scan: Scan) -> Iterator[Refusal]:
    copy, patron = scan.copy, scan.patron
    if copy is None or scan.facts is None:
        yield ItemNotFound()
    else:
        yield from against_copy(copy, patron, scan.facts)
        yield from at_sight(copy, scan.branch)
    if patron is None:
        yield PatronNotFound()
        return
    if not patron.confirmed and not desk.self_registered_may_borrow:
        yield standing.PatronUnconfirmed()
    if scan.case is not None:
        yield from against_case(scan.case)
    elif scan.standing is not None:
        # The copy is unknown: what the patron's own policies say is judged all the same.
        yield from standing.against(scan.standing, BlockScope.LOANS, scan.branch, scan.rules, scan.now)


def _due(scan: Scan, case: Case, due_at: datetime | None, card_counts: bool) -> due_dates.Due:
    if due_at is not None:
        return due_dates.named(due_at, case.branch.time_zone)
    length, card_ends_on = case.rules[PolicyKind.LOAN_PERIOD], case.patron.expires_on if card_counts else None
    return due_dates.due(case.now, length, case.rules, scan.days, card_ends_on)


def _lend(session: Session, desk: Desk, scan: Scan, case: Case, due: due_dates.Due) -> Loan:
    copy, now = case.copy, case.now
    own_hold = holds.served_by(copy, case.facts.own_holds)
    is_plain = own_hold is None and copy.condition is not CopyCondition.LOST
    if copy.condition is CopyCondition.LOST:
        losses.refund_paid(session, desk, copy, now, now)
    try:
        loan = rows.insert_row(
            session,
            Loan,
            copy_id=copy.id,
            patron_id=case.patron.id,
            branch_id=case.branch.id,
            time_zone=case.branch.time_zone,
            checked_out_at=now,
            checked_out_by_id=desk.actor_id,
            due_at=due.at,
            due_on=due.on,
            due_steps=due.steps,
            lent_condition=copy.condition.value if copy.condition in UNFIT else None,
        )
    except IntegrityError as error:
        if "uq_loans_open_copy" not in str(error.orig) and "loans.copy_id" not in str(error.orig):
            raise
        raise Refused([ItemOnLoan()]) from error
    if own_hold is not None:
        freed = holds.fulfil(session, own_hold, copy, desk, now)
        if freed is not None:
            desk.remarks.append(SetAsideFreed(action=freed.action.value, branch_id=freed.branch_id))
    places.move(Action.CHECK_OUT, copy)
    see(copy, case.branch, now)
    rows.update_row(session, copy)
    for name, row in (("copy", copy), ("patron", case.patron), ("branch", case.branch)):
        attributes.set_committed_value(loan, name, row)
    if is_plain:
        loan.scan = scan
    return loan
