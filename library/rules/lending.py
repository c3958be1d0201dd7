"""Lending: everything that speaks against a check-out, and the check-out."""

from collections.abc import Iterator
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from library.models import BlockScope, Branch, Copy, CopyCondition, Loan, PolicyKind, User
from library.rules import access, calendar, due_dates, holds, locks, losses, places, policies, standing
from library.rules.access import NotForOneself
from library.rules.borrowing import (
    AGAINST_COPIES,
    TO_CONFIRM,
    Case,
    Facts,
    ItemOnLoan,
    LimitReached,
    LoanLimit,
    NotForLoan,
    OtherBranch,
    SetAsideFreed,
    against_case,
    against_copy,
    at_sight,
    case_of,
)
from library.rules.desk import OVERRIDING, Desk, OverrideDueDateMissing, record
from library.rules.errors import Refusal, Refused, refuses
from library.rules.places import Action


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
    patron = _served(session, desk, patron_barcode)
    desk = desk.serving(patron.id if patron else None)
    copy = lock_scanned(session, copy_barcode)
    branch, now = desk.here, after_last_scan(copy, now)
    case = case_of(session, copy, patron, branch, now)
    reasons = list(_reasons(session, desk, case, copy, patron, now))
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
    assert case is not None
    card_counts = not any(override.code == "patron_expired" for override in overrides)
    due = _due(session, case, due_at, card_counts)
    loan = _lend(session, desk, case, due)
    record(session, desk, overrides, now, loan_id=loan.id)
    return loan


def _served(session: Session, desk: Desk, card_barcode: str) -> User | None:
    """Whose card was scanned, locked; of others' cards a patron learns nothing."""
    actor = desk.actor
    if actor is not None and not access.is_staff(actor) and actor.card_barcode != card_barcode:
        return None
    return locks.lock_patron(session, card_barcode)


def lock_scanned(session: Session, barcode: str) -> Copy | None:
    """The copy with that barcode, locked behind the queue of its book."""
    book_id = session.scalar(select(Copy.book_id).where(Copy.barcode == barcode))
    if book_id is None:
        return None
    locks.lock_queue(session, book_id)
    return locks.lock_copy(session, barcode)


def after_last_scan(copy: Copy | None, now: datetime) -> datetime:
    """The moment of this scan: a request that waited for another's lock happened after it, whenever it set out."""
    return max(now, copy.last_seen_at) if copy is not None and copy.last_seen_at is not None else now


def see(copy: Copy, branch: Branch, now: datetime) -> None:
    """Every scan says where a copy is."""
    copy.current_branch_id = copy.last_seen_branch_id = branch.id
    copy.last_seen_at = now


def _reasons(
    session: Session, desk: Desk, case: Case | None, copy: Copy | None, patron: User | None, now: datetime
) -> Iterator[Refusal]:
    if copy is None:
        yield ItemNotFound()
    else:
        yield from against_copy(copy, patron, case.facts if case else Facts.load(session, patron, [copy], now))
        yield from at_sight(copy, desk.here)
    if patron is None:
        yield PatronNotFound()
        return
    if not patron.confirmed and not desk.self_registered_may_borrow:
        yield standing.PatronUnconfirmed()
    if case is None:
        # The copy is unknown: what the patron's own policies say is judged all the same.
        table = policies.load(session)
        known = standing.load(session, [patron], table, now)[patron.id]
        rules = table.at(desk.here.id, patron.patron_category_id, None)
        yield from standing.against(known, BlockScope.LOANS, desk.here, rules, now)
        return
    yield from against_case(case)


def _due(session: Session, case: Case, due_at: datetime | None, card_counts: bool) -> due_dates.Due:
    zone = case.branch.time_zone
    if due_at is not None:
        return due_dates.named(due_at, zone)
    days = calendar.load(session, [case.branch])[case.branch.id]
    length = case.rules[PolicyKind.LOAN_PERIOD]
    return due_dates.due(case.now, length, case.rules, days, case.patron.expires_on if card_counts else None)


def _lend(session: Session, desk: Desk, case: Case, due: due_dates.Due) -> Loan:
    copy, now = case.copy, case.now
    own_hold = holds.served_by(copy, case.facts.own_holds)
    if copy.condition is CopyCondition.LOST:
        losses.refund_paid(session, desk, copy, now, now)
    loan = Loan(
        copy=copy,
        patron=case.patron,
        branch=case.branch,
        time_zone=case.branch.time_zone,
        checked_out_at=now,
        checked_out_by_id=desk.actor_id,
        due_at=due.at,
        due_on=due.on,
        due_steps=due.steps,
    )
    session.add(loan)
    try:
        session.flush()
    except IntegrityError as error:
        if "uq_loans_open_copy" not in str(error.orig) and "loans.copy_id" not in str(error.orig):
            raise
        raise Refused([ItemOnLoan()]) from error
    if own_hold is not None:
        freed = holds.fulfil(session, own_hold, copy, desk, now)
        if freed is not None:
            desk.remarks.append(SetAsideFreed(action=freed.action.value, branch_id=freed.branch_id))
    if copy.condition in (CopyCondition.DAMAGED, CopyCondition.WITHDRAWN):
        loan.lent_condition = copy.condition.value
    places.move(Action.CHECK_OUT, copy)
    see(copy, case.branch, now)
    session.flush()
    return loan
