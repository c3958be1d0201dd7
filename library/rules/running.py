"""What open loans would cost if they ended now: fines that run, shown and not yet charged."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Select, func, select
from sqlalchemy.orm import Session, joinedload

from library.models import AccountEntry, ChargeLoan, ChargeReason, Copy, Loan
from library.rules import calendar, fines, ledger
from library.rules.calendar import BranchCalendar
from library.rules.desk import Desk
from library.rules.fines import Fine
from library.rules.policies import Effective, PolicyTable


def overdue_loans(now: datetime) -> Select[Any]:
    """Open loans that are late, with what their fines depend on."""
    return select(Loan).where(Loan.closed_at.is_(None), Loan.due_at < now).options(*parts())


def parts() -> tuple[Any, ...]:
    """What the fine of a loan depends on, to be loaded with it."""
    return (
        joinedload(Loan.copy).joinedload(Copy.item_type),
        joinedload(Loan.patron),
        joinedload(Loan.branch),
    )


def rules_of(table: PolicyTable, loan: Loan) -> Effective:
    """The policies of a loan: those of the branch that lent it."""
    category_id = loan.patron.patron_category_id if loan.patron else None
    return table.at(loan.branch_id, category_id, loan.copy.item_type_id)


def fines_of(session: Session, loans: Sequence[Loan], table: PolicyTable, now: datetime) -> dict[Loan, Fine]:
    """The fine that each loan has run up by now beside what is charged already, in two statements."""
    late = [loan for loan in loans if loan.closed_at is None and loan.due_at < now]
    if not late:
        return {}
    days = calendar.load(session, {loan.branch for loan in late})
    charged = charged_cents(session, [loan.id for loan in late])
    return {
        loan: fine_of(loan, rules_of(table, loan), days[loan.branch_id], now, charged.get(loan.id, 0)) for loan in late
    }


def fine_of(
    loan: Loan, rules: Effective, days: BranchCalendar, until: datetime, charged: int, ignore_loss: bool = False
) -> Fine:
    """The fine of one loan until a moment; a claim or a loss has stopped it."""
    lost_at = None if ignore_loss else loan.lost_at
    stops = [moment for moment in (lost_at, loan.claimed_at, until) if moment is not None]
    return fines.fine(
        rules,
        days,
        loan.due_at,
        loan.due_on,
        min(stops),
        price_of(loan.copy),
        charged,
        loan.fined_until_at,
        loan.fine_pauses,
    )


def price_of(copy: Copy) -> int | None:
    """What a copy costs in cents: its own price, else its type's; None where nobody knows."""
    return copy.price_cents or (copy.item_type.default_price_cents if copy.item_type else None) or None


def charged_cents(session: Session, loan_ids: Iterable[int]) -> dict[int, int]:
    """How much was charged for lateness so far, by loan."""
    statement = (
        select(ChargeLoan.loan_id, func.sum(AccountEntry.amount_cents))
        .join(AccountEntry, AccountEntry.id == ChargeLoan.entry_id)
        .where(ChargeLoan.loan_id.in_(loan_ids), AccountEntry.reason == ChargeReason.OVERDUE)
        .group_by(ChargeLoan.loan_id)
    )
    return {loan_id: int(cents) for loan_id, cents in session.execute(statement)}


def charge_fine(
    session: Session,
    loan: Loan,
    rules: Effective,
    until: datetime,
    now: datetime,
    desk: Desk,
    ignore_loss: bool = False,
) -> AccountEntry | None:
    """Charge what a loan has run up until a moment, and see to it that no day is charged again.

    Where there is nothing to charge yet nothing is noted: days of grace may count once the grace is over.
    `ignore_loss` goes on beyond the moment of the loss, where a lost copy came back and the policy wants it so.
    """
    days = calendar.load(session, [loan.branch])[loan.branch_id]
    charged = charged_cents(session, [loan.id]).get(loan.id, 0)
    fine = fine_of(loan, rules, days, until, charged, ignore_loss)
    if not fine.cents or loan.patron_id is None:
        return None
    loan.fined_until_at = max(until, loan.fined_until_at or until)
    return ledger.charge(
        session,
        loan.patron_id,
        fine.cents,
        ChargeReason.OVERDUE,
        now,
        branch_id=desk.branch.id if desk.branch else loan.branch_id,
        actor_id=desk.actor_id,
        steps=fine.steps,
        loan_id=loan.id,
    )
