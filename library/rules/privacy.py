"""The reading history: how long what has ended leads to its patron, and how it is cut so that nothing does.

Three ways, the patron's choice: cut in the night after the end; some days after the end, or after the last charge of
the loan was settled, whichever is later; kept until they say.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, delete, func, or_, select, update
from sqlalchemy.orm import Session, aliased

from library.models import (
    AccountEntry,
    Allocation,
    Branch,
    ChargeLoan,
    Copy,
    DueChange,
    HistoryMode,
    Hold,
    Loan,
    LoanClosing,
    Notice,
    Override,
    PolicyKind,
    Renewal,
    User,
)
from library.rules.calendar import local_day
from library.rules.local_days import LocalDays
from library.rules.policies import Effective, LostRefund

AT_ONCE = 200


@dataclass(frozen=True)
class Memory:
    """How long the library remembers, as it stands at one moment: `days` for those who chose the delayed way."""

    local: LocalDays
    days: int


def loans_to_cut(memory: Memory) -> Select[Any]:
    """Loans whose patron is to be forgotten; ask `may_cut` too before one is cut."""
    # A return that was dated back is remembered from the day on which it was scanned.
    noted_at = func.coalesce(Loan.closing_noted_at, Loan.closed_at)
    past = _is_past(memory, noted_at, Loan.time_zone, _charged_since)
    return select(Loan).join(Loan.patron).where(past)


def holds_to_cut(memory: Memory) -> Select[Any]:
    """Holds whose patron is to be forgotten."""
    past = _is_past(memory, Hold.ended_at, Branch.time_zone, None)
    return select(Hold).join(Hold.patron).join(Hold.pickup_branch).where(past)


def _is_past(memory: Memory, ended_at: Any, time_zone: Any, hinders: Any) -> ColumnElement[bool]:
    delayed = memory.local.start(time_zone, earlier=memory.days)
    late_enough = [User.history == HistoryMode.DELAYED, ended_at < delayed]
    if hinders is not None:
        late_enough.append(~hinders(delayed))
    return or_(and_(User.history == HistoryMode.CUT, ended_at < memory.local.start(time_zone)), and_(*late_enough))


def _charged_since(moment: ColumnElement[datetime]) -> ColumnElement[bool]:
    """Whether a charge of the loan is open, or was until after that moment."""
    charge, settling = aliased(AccountEntry), aliased(AccountEntry)
    settled = select(func.coalesce(func.sum(Allocation.amount_cents), 0)).where(Allocation.charge_id == charge.id)
    last = select(func.max(settling.made_at)).join(Allocation, Allocation.entry_id == settling.id)
    last = last.where(Allocation.charge_id == charge.id)
    return (
        select(ChargeLoan.id)
        .join(charge, charge.id == ChargeLoan.entry_id)
        .where(ChargeLoan.loan_id == Loan.id)
        .where(or_(charge.amount_cents > settled.scalar_subquery(), last.scalar_subquery() >= moment))
        .exists()
    )


def may_cut(loan: Loan, rules: Effective, now: datetime) -> bool:
    """False while money for a lost copy could still have to find the patron, should it turn up."""
    if loan.closed_as is not LoanClosing.LOST_PAID or loan.lost_at is None:
        return True
    days = rules[PolicyKind.LOST_REFUND_DAYS]
    # The days of losses.refund_found: the last one is still within.
    lost_on, today = (local_day(moment, loan.time_zone) for moment in (loan.lost_at, now))
    is_past = days is not None and (today - lost_on).days > days
    return is_past or rules[PolicyKind.LOST_REFUND] is LostRefund.KEEP


def cut(session: Session, loan: Loan) -> None:
    """Forget whose a loan was: every row that led from the patron to it; the loan itself stays, to be counted."""
    cut_all(session, loan.patron_id, [loan])


def cut_all(session: Session, patron_id: int | None, loans: Sequence[Loan]) -> None:
    """Forget whose these ended loans of one patron were; a few statements for some hundreds of them."""
    for start in range(0, len(loans), AT_ONCE):
        some = loans[start : start + AT_ONCE]
        keys = [loan.id for loan in some]
        for loan in some:
            loan.patron_id = None
            for who in ("checked_out_by_id", "closed_by_id"):
                if getattr(loan, who) == patron_id:
                    setattr(loan, who, None)
            _blur(session, loan)
        _blur_rows(session, keys)
        for table in (Renewal, DueChange, Override):
            _forget_actor(session, table, table.loan_id.in_(keys), patron_id)
        for told in (ChargeLoan, Notice):
            session.execute(delete(told).where(told.loan_id.in_(keys)))
        session.flush()


def _blur(session: Session, loan: Loan) -> None:
    """The ledger and the loan were written in one moment: what is left of the loan's moments is their day."""
    assert loan.closed_at is not None
    scanned_at, day = loan.closing_noted_at or loan.closed_at, day_of(loan.closed_at)
    loan.closed_at = max(day, loan.checked_out_at)
    loan.lost_at, loan.claimed_at = (moment and day_of(moment) for moment in (loan.lost_at, loan.claimed_at))
    loan.fined_until_at = loan.closing_noted_at = None
    loan.claim_note, loan.fine_pauses = None, []
    by_that_scan = (Copy.id == loan.copy_id, Copy.last_seen_at == scanned_at)
    session.execute(update(Copy).where(*by_that_scan).values(last_seen_at=day_of(scanned_at)))


def _blur_rows(session: Session, loan_ids: Sequence[int]) -> None:
    """What was done to loans: the moments become days, and what staff wrote about the patron goes."""
    tables: tuple[tuple[Any, str], ...] = ((Renewal, "renewed_at"), (DueChange, "changed_at"), (Override, "made_at"))
    for table, column in tables:
        for row in session.scalars(select(table).where(table.loan_id.in_(loan_ids))):
            setattr(row, column, day_of(getattr(row, column)))
            if table is not Renewal:
                row.reason = ""


def day_of(moment: datetime) -> datetime:
    """The beginning of the day, of UTC, in which a moment lies."""
    return moment.replace(hour=0, minute=0, second=0, microsecond=0)


def cut_hold(session: Session, hold: Hold) -> None:
    """Forget whose a hold was."""
    cut_holds(session, hold.patron_id, [hold])


def cut_holds(session: Session, patron_id: int | None, holds: Sequence[Hold]) -> None:
    """Forget whose these ended holds of one patron were; a few statements for some hundreds of them."""
    for start in range(0, len(holds), AT_ONCE):
        some = holds[start : start + AT_ONCE]
        about = Override.hold_id.in_(hold.id for hold in some)
        for hold in some:
            hold.patron_id, hold.end_reason = None, None
            for who in ("placed_by_id", "ended_by_id"):
                if getattr(hold, who) == patron_id:
                    setattr(hold, who, None)
        _forget_actor(session, Override, about, patron_id)
        session.execute(update(Override).where(about).values(reason=""))
        session.execute(delete(Notice).where(Notice.hold_id.in_(hold.id for hold in some)))
        session.flush()


def _forget_actor(session: Session, table: Any, about: ColumnElement[bool], patron_id: int | None) -> None:
    """Where patrons acted for themselves, the actor leads to them too."""
    session.execute(update(table).where(about, table.actor_id == patron_id).values(actor_id=None))
