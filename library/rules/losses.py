"""Losses: copies that are lost, claimed to be back, paid for, or found again."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from enum import StrEnum

from sqlalchemy import select
from sqlalchemy.orm import Session

from library.models import AccountEntry, ChargeLoan, ChargeReason, Copy, Loan, LoanClosing, PolicyKind
from library.rules import accounts, ledger, locks, places, policies, running
from library.rules.access import NotForOneself
from library.rules.calendar import local_day
from library.rules.desk import Desk
from library.rules.errors import Refusal, refuse_if_any, refuses
from library.rules.places import Action
from library.rules.policies import Effective, LostRefund

FOR_THE_LOSS = (ChargeReason.REPLACEMENT, ChargeReason.PROCESSING)


class LoanClosed(Refusal):
    """The loan has ended."""


class AlreadyLost(Refusal):
    """The copy was declared lost before."""


class AlreadyClaimed(Refusal):
    """The copy was claimed to be back before."""


class NotClaimed(Refusal):
    """Nobody claims that the copy is back."""


_BY_CODE = {refusal.code: refusal for refusal in (LoanClosed, AlreadyLost, AlreadyClaimed, NotClaimed)}


def lock_whole(session: Session, loan: Loan) -> Loan:
    """Lock a loan with its patron, the queue of its book and its copy, in the order that all desks keep."""
    if loan.patron_id is not None:
        locks.lock_patron_by_id(session, loan.patron_id)
    book_id = session.scalar(select(Copy.book_id).where(Copy.id == loan.copy_id))
    assert book_id is not None
    locks.lock_queue(session, book_id)
    locks.lock_copy_by_id(session, loan.copy_id)
    locked = locks.lock_loan(session, loan.id)
    assert locked is not None
    return locked


def lock_around(session: Session, loan_id: int) -> None:
    """Lock a loan with all that stands before it in the order of locks, if there is such a loan."""
    loan = session.get(Loan, loan_id)
    if loan is not None:
        lock_whole(session, loan)


def lock_all(session: Session, loans: Sequence[Loan]) -> None:
    """Lock what stands before many loans in the order of locks: their patrons, then the queues of their books."""
    for patron_id in sorted({loan.patron_id for loan in loans if loan.patron_id is not None}):
        locks.lock_patron_by_id(session, patron_id)
    book_ids = select(Copy.book_id).where(Copy.id.in_({loan.copy_id for loan in loans}))
    for book_id in sorted(set(session.scalars(book_ids))):
        locks.lock_queue(session, book_id)


def against(action: Action, loan: Loan) -> list[Refusal]:
    """What the table of places says against an action on the copy of a loan."""
    if loan.closed_at is not None:
        return [LoanClosed()]
    code = places.refused(action, loan.copy)
    return [_BY_CODE[code]()] if code in _BY_CODE else []


def rules_of(session: Session, loan: Loan) -> Effective:
    """The policies under which a loan was lent."""
    return running.rules_of(policies.load(session), loan)


@refuses(LoanClosed, AlreadyLost, NotForOneself)
def declare_lost(
    session: Session, desk: Desk, loan: Loan, now: datetime, replacement_cents: int | None = None
) -> list[AccountEntry]:
    """Declare the copy of a loan lost: the fine stops and is charged, the price and the fee are charged.

    The loan stays open until both are settled. `replacement_cents` is charged instead of the price that is known.
    """
    loan = lock_whole(session, loan)
    names_price = replacement_cents is not None and desk.serving(loan.patron_id).serves_oneself
    refuse_if_any(against(Action.DECLARE_LOST, loan) + ([NotForOneself("/replacement_cents")] if names_price else []))
    assert loan.patron_id is not None
    rules = rules_of(session, loan)
    fine = running.charge_fine(session, loan, rules, now, now, desk)
    price = replacement_cents if replacement_cents is not None else running.price_of(loan.copy)
    owed = {ChargeReason.REPLACEMENT: price, ChargeReason.PROCESSING: rules[PolicyKind.PROCESSING_FEE_CENTS]}
    branch_id = desk.branch.id if desk.branch else loan.branch_id
    charges = [
        ledger.charge(
            session, loan.patron_id, cents, reason, now, branch_id=branch_id, actor_id=desk.actor_id, loan_id=loan.id
        )
        for reason, cents in owed.items()
        if cents
    ]
    loan.lost_at = now
    places.move(Action.DECLARE_LOST, loan.copy)
    session.flush()
    return [*([fine] if fine else []), *charges]


@refuses(LoanClosed, AlreadyClaimed, AlreadyLost)
def claim_returned(session: Session, loan: Loan, now: datetime, note: str | None = None) -> Loan:
    """Note that the patron says they brought the copy back: fines stop, the loan no longer counts."""
    loan = lock_whole(session, loan)
    refuse_if_any(against(Action.CLAIM_RETURNED, loan))
    loan.claimed_at, loan.claim_note = now, note
    places.move(Action.CLAIM_RETURNED, loan.copy)
    session.flush()
    return loan


def reject_claim(loan: Loan, now: datetime) -> None:
    """The copy is still missing: the loan goes on, and the days of the claim are not fined."""
    assert loan.claimed_at is not None
    pause = {"from": loan.claimed_at.isoformat(), "to": now.isoformat()}
    loan.fine_pauses = [*loan.fine_pauses, pause]
    loan.claimed_at = None
    places.move(Action.CLAIM_MISSING, loan.copy)


class ClaimOutcome(StrEnum):
    """How a claim ends: the copy was found in the house, or it is still missing.

    * `found`: it was here, and the loan ends
    * `missing`: nobody finds it, and the loan goes on
    """

    FOUND = "found"
    MISSING = "missing"


def close_settled(session: Session, charge_ids: Iterable[int], now: datetime) -> list[Loan]:
    """Close the loans of lost copies whose replacement and fee are settled now; the copies stay lost."""
    of_charges = (
        select(ChargeLoan.loan_id)
        .join(AccountEntry, AccountEntry.id == ChargeLoan.entry_id)
        .where(AccountEntry.id.in_(list(charge_ids)), AccountEntry.reason.in_(FOR_THE_LOSS))
    )
    open_losses = select(Loan).where(Loan.id.in_(of_charges), Loan.closed_at.is_(None), Loan.lost_at.is_not(None))
    closed = []
    losses = session.scalars(open_losses.order_by(Loan.id)).all()
    lock_all(session, losses)
    for loan in losses:
        loan = lock_whole(session, loan)
        if loan.closed_at is None and not ledger.open_cents_of_loan(session, loan.id, FOR_THE_LOSS):
            loan.closed_at, loan.closed_as = max(now, loan.checked_out_at), LoanClosing.LOST_PAID
            places.move(Action.SETTLE_LOSS, loan.copy)
            closed.append(loan)
    session.flush()
    return closed


def refund_found(
    session: Session, desk: Desk, loan: Loan, rules: Effective, back_at: datetime, now: datetime
) -> list[AccountEntry]:
    """What the policies give back for a lost copy that came back: the price, its unpaid part, or nothing.

    The days within which they do are local days of the branch that lent it; the last one is still within.
    """
    assert loan.lost_at is not None
    days, how = rules[PolicyKind.LOST_REFUND_DAYS], rules[PolicyKind.LOST_REFUND]
    lost_on, back_on = (local_day(moment, loan.time_zone) for moment in (loan.lost_at, back_at))
    if how is LostRefund.KEEP or (days is not None and (back_on - lost_on).days > days):
        return []
    wanted = [ChargeReason.REPLACEMENT]
    if rules[PolicyKind.PROCESSING_FEE_REFUNDABLE]:
        wanted.append(ChargeReason.PROCESSING)
    reversed_ = []
    for charge in ledger.charges_of_loan(session, loan.id):
        if charge.reason in wanted:
            entry = accounts.lift(session, desk, charge, now, unpaid_only=how is LostRefund.UNPAID_PART)
            reversed_ += [entry] if entry else []
    return reversed_


def lock_payers(session: Session, barcode: str) -> None:
    """What a lost copy cost may be given back: the accounts are then locked first, as everywhere."""
    lost = select(Loan.patron_id).join(Loan.copy).where(Copy.barcode == barcode, Loan.lost_at.is_not(None))
    for patron_id in sorted(key for key in session.scalars(lost.distinct()) if key is not None):
        locks.lock_patron_by_id(session, patron_id)


def refund_paid(session: Session, desk: Desk, copy: Copy, back_at: datetime, now: datetime) -> list[AccountEntry]:
    """What is given back for a copy that is here again after it was lost and paid for, as long as it is known by whom.

    Whatever has led it here counts: a scan, a mark, or that it is lent again. What was given back is not given twice.
    """
    last = select(Loan).where(Loan.copy_id == copy.id).options(*running.parts()).order_by(Loan.id.desc()).limit(1)
    loan = session.scalars(last).first()
    if loan is None or loan.closed_as is not LoanClosing.LOST_PAID or None in (loan.patron_id, loan.lost_at):
        return []
    rules = rules_of(session, loan)
    fine = None
    if rules[PolicyKind.FINE_ON_LOST_RETURN]:
        fine = running.charge_fine(session, loan, rules, back_at, now, desk, ignore_loss=True)
    return [*([fine] if fine else []), *refund_found(session, desk, loan, rules, back_at, now)]


def lift_fine_of_loss(session: Session, desk: Desk, loan: Loan, back_at: datetime, now: datetime) -> list[AccountEntry]:
    """A copy that was here before it was late was never late: the fine that its loss had led to is taken back."""
    if loan.lost_at is None or back_at > loan.due_at:
        return []
    at_loss = [
        charge
        for charge in ledger.charges_of_loan(session, loan.id)
        if charge.reason is ChargeReason.OVERDUE and charge.made_at == loan.lost_at
    ]
    lifted = [accounts.lift(session, desk, charge, now) for charge in at_loss]
    return [entry for entry in lifted if entry is not None]
