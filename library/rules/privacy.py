"""The reading history: how long what has ended leads to its patron, and how it is cut so that nothing does.

Three ways, the patron's choice: cut in the night after the end; some days after the end, or after the last charge of
the loan was settled, whichever is later; kept until they say.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, bindparam, delete, func, null, or_, select, update
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
        scans = [(loan.copy_id, loan.closing_noted_at or loan.closed_at) for loan in some]
        _make_days(session, Copy.last_seen_at, [(key, at, day_of(at)) for key, at in scans if at is not None])
        for loan in some:
            loan.patron_id = None
            for who in ("checked_out_by_id", "closed_by_id"):
                if getattr(loan, who) == patron_id:
                    setattr(loan, who, None)
            _blur(loan)
        _blur_rows(session, keys)
        _blur_ties(session, patron_id, {loan.copy_id for loan in some})
        for table in (Renewal, DueChange, Override):
            _forget_actor(session, table, table.loan_id.in_(keys), patron_id)
        for told in (ChargeLoan, Notice):
            session.execute(delete(told).where(told.loan_id.in_(keys)))
        session.flush()


def _blur(loan: Loan) -> None:
    """The ledger and the loan were written in one moment: what is left of the loan's moments is their day."""
    assert loan.closed_at is not None
    loan.closed_at = max(day_of(loan.closed_at), loan.checked_out_at)
    loan.lost_at, loan.claimed_at = (moment and day_of(moment) for moment in (loan.lost_at, loan.claimed_at))
    loan.fined_until_at = loan.closing_noted_at = None
    loan.claim_note, loan.fine_pauses = None, []


def _blur_rows(session: Session, loan_ids: Sequence[int]) -> None:
    """What was done to loans: the moments become days, and what staff wrote about the patron goes."""
    tables: tuple[tuple[Any, str], ...] = ((Renewal, "renewed_at"), (DueChange, "changed_at"), (Override, "made_at"))
    for table, column in tables:
        for row in session.scalars(select(table).where(table.loan_id.in_(loan_ids))):
            setattr(row, column, day_of(getattr(row, column)))
            if table is not Renewal:
                row.reason = ""


def _blur_ties(session: Session, patron_id: int | None, copy_ids: Collection[int]) -> None:
    """What was done with the books in the very moments of the patron's ledger keeps the day too, whosever it is.

    The scan that charged a fine has set the copy aside for the next one; that which gave money back may have lent it.
    """
    mine = select(AccountEntry.made_at).where(AccountEntry.patron_id == patron_id)
    if session.scalar(mine.limit(1)) is None:
        return
    # A hold that fell back has lost its copy, and one that ended: they are found by the book.
    of_books = Hold.book_id.in_(select(Copy.book_id).where(Copy.id.in_(copy_ids)))
    of_copies, before = Loan.copy_id.in_(copy_ids), aliased(Loan)
    holds, loans = select(Hold.id).where(of_books), select(Loan.id).where(of_copies)
    earlier = select(func.max(before.closed_at)).where(
        before.copy_id == Loan.copy_id, before.id != Loan.id, before.closed_at <= Loan.checked_out_at
    )
    ties: tuple[tuple[Any, ColumnElement[bool], Any], ...] = (
        (Copy.last_seen_at, Copy.id.in_(copy_ids), null()),
        (Hold.ready_at, of_books, null()),
        (Hold.ended_at, of_books, null()),
        (Notice.created_at, or_(Notice.hold_id.in_(holds), Notice.loan_id.in_(loans)), null()),
        (Override.made_at, or_(Override.hold_id.in_(holds), Override.loan_id.in_(loans)), null()),
        # No copy is lent before it came back.
        (Loan.checked_out_at, of_copies, earlier.scalar_subquery()),
    )
    for column, about, not_before in ties:
        tied = session.execute(select(column.class_.id, column, not_before).where(about, column.in_(mine))).all()
        _make_days(session, column, [(key, at, max(day_of(at), since or day_of(at))) for key, at, since in tied])


def _make_days(session: Session, column: Any, rows: Sequence[tuple[int, datetime, datetime]]) -> None:
    """Put days for moments, by keys; who has written another moment meanwhile is not written over."""
    table = column.class_.__table__
    this = (table.c.id == bindparam("key"), table.c[column.key] == bindparam("moment"))
    days = [{"key": key, "moment": moment, "day": day} for key, moment, day in rows]
    if days:
        session.connection().execute(update(table).where(*this).values({column.key: bindparam("day")}), days)


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
