"""Reminders: what patrons are told of the loans they have: that one is due soon, that one is late."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Select, select
from sqlalchemy.orm import Session

from library.models import Loan, Notice, NoticeKind
from library.rules import notices
from library.rules.calendar import local_day
from library.rules.local_days import LocalDays

# On which days after the due date a patron is told that a loan is late.
REMINDED_ON = (1, 7, 14)


@dataclass(frozen=True)
class Reminder:
    """What the patron of a loan is told; the occasion names the due date, so that a renewed loan is a new one."""

    loan: Loan
    kind: NoticeKind
    occasion: str


def loans_that_end(local: LocalDays, later: int) -> Select[Any]:
    """Open loans that are due today, so many days later at most, or that are late; not what is lost or claimed."""
    unsettled = (Loan.closed_at.is_(None), Loan.lost_at.is_(None), Loan.claimed_at.is_(None))
    return select(Loan).where(*unsettled, Loan.due_on <= local.today(Loan.time_zone, later))


def reminder_of(loan: Loan, now: datetime) -> Reminder | None:
    """What is to be told of a loan that ends: the last thing that it gives occasion for, None where that is nothing."""
    late = (local_day(now, loan.time_zone) - loan.due_on).days
    if late <= 0:
        told = Reminder(loan, NoticeKind.DUE_SOON, f"due_soon:{loan.id}:{loan.due_on}")
        return told if loan.due_at >= now else None
    day = max((day for day in REMINDED_ON if day <= late), default=None)
    return Reminder(loan, NoticeKind.OVERDUE, f"overdue:{loan.id}:{loan.due_on}:{day}") if day else None


def untold(session: Session, loans: Sequence[Loan], now: datetime) -> list[Reminder]:
    """What is to be told of these loans and was not yet."""
    found = [reminder for loan in loans if (reminder := reminder_of(loan, now)) is not None]
    occasions = [reminder.occasion for reminder in found]
    told = set(session.scalars(select(Notice.occasion).where(Notice.occasion.in_(occasions))))
    return [reminder for reminder in found if reminder.occasion not in told]


def remind(session: Session, reminder: Reminder, now: datetime) -> bool:
    """Write the notice; False where another was faster."""
    loan = reminder.loan
    assert loan.patron_id is not None
    return notices.write(session, loan.patron_id, reminder.kind, reminder.occasion, now, loan_id=loan.id)
