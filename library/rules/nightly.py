"""Nightly work: what the house does by itself, record by record, so that any run may stop and any other go on.

A part of a step names the records that are due as a statement, and does one of them after it has locked it and asked
the statement again: ten runs, four of them at once, do what one does. Records are taken in the order of their keys,
and a step ends before the next begins, so that one record's effect on another is always the same.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Select, delete, exists, false, or_, select, true
from sqlalchemy.orm import Session, contains_eager, joinedload

from library.models import (
    Branch,
    Hold,
    HoldEnding,
    HoldState,
    IdempotencyKey,
    Job,
    JobKind,
    Loan,
    Mail,
    NoticeKind,
    OneTimeToken,
    PolicyKind,
    Renewal,
    RenewalChannel,
    UserSession,
)
from library.rules import (
    calendar,
    holds,
    idempotency,
    locks,
    losses,
    mails,
    notices,
    one_time_tokens,
    policies,
    privacy,
    reminders,
    renewals,
    running,
    sessions,
    uploads,
)
from library.rules.calendar import local_day
from library.rules.desk import Desk
from library.rules.errors import Refused
from library.rules.local_days import LocalDays
from library.rules.policies import Length, Unit
from library.rules.routing import no_longer_needed

AT_ONCE = 200
HOUSE = Desk(actor=None)


@dataclass(frozen=True)
class Night:
    """The moment that a run takes for now, the real one, and what the library has laid down in days."""

    now: datetime
    real_now: datetime
    history_days: int
    due_soon_days: int
    results_days: int = 90


def no_lock(session: Session, row: Any) -> object:
    """Lock nothing."""
    return None


def all_of_them(session: Session, night: Night, rows: Sequence[Any]) -> Iterable[Any]:
    """Keep every row that was chosen."""
    return rows


@dataclass(frozen=True)
class Part:
    """One kind of record that a step does: which rows are `chosen`, which of them to `keep` (what no statement can
    say), how one is locked, and what is done with it; False says that it was left as it was."""

    table: type[Any]
    choose: Callable[[Session, Night], Select[Any]]
    act: Callable[[Session, Night, Any], bool]
    lock: Callable[[Session, Any], object] = no_lock
    keep: Callable[[Session, Night, Sequence[Any]], Iterable[Any]] = all_of_them

    def due(self, session: Session, night: Night, after: int = 0) -> tuple[list[int], int | None]:
        """Keys of what is due, at most so many at once, and after which key to go on; None where that was all."""
        chosen = self.choose(session, night).where(self.table.id > after).order_by(self.table.id).limit(AT_ONCE)
        rows = session.scalars(chosen).all()
        return [row.id for row in self.keep(session, night, rows)], rows[-1].id if len(rows) == AT_ONCE else None

    def do(self, session: Session, night: Night, key: int) -> bool:
        """Do one record, if it is still due once it is locked; False where it was left as it was."""
        row = session.get(self.table, key)
        if row is None:
            return False
        self.lock(session, row)
        again = self.choose(session, night).where(self.table.id == key).execution_options(populate_existing=True)
        return any(self.act(session, night, found) for found in self.keep(session, night, session.scalars(again).all()))


def _ending_holds(session: Session, night: Night) -> Select[Any]:
    today = LocalDays.load(session, night.now).today(Branch.time_zone)
    uncollected = (Hold.state == HoldState.READY) & (Hold.shelf_until_on < today)
    return (
        select(Hold)
        .join(Hold.pickup_branch)
        .where(Hold.ended_at.is_(None), or_(uncollected, Hold.not_needed_after < today))
        .options(contains_eager(Hold.pickup_branch), joinedload(Hold.patron), joinedload(Hold.assigned_copy))
    )


def _really_ending(session: Session, night: Night, rows: Sequence[Hold]) -> Iterable[Hold]:
    """What is set aside stays so on closed days, and though it is no longer needed, where the policies say so."""
    table = policies.load(session)
    days = calendar.load(session, {hold.pickup_branch for hold in rows})
    for hold in rows:
        if hold.assigned_copy is None:
            yield hold
            continue
        category_id = hold.patron.patron_category_id if hold.patron else None
        rules = table.at(hold.pickup_branch_id, category_id, hold.assigned_copy.item_type_id)
        today = local_day(night.now, hold.pickup_branch.time_zone)
        unneeded = bool(rules[PolicyKind.EXPIRE_READY_WHEN_NOT_NEEDED]) and no_longer_needed(hold, today)
        on_time = bool(rules[PolicyKind.EXPIRE_ON_CLOSED_DAYS]) or days[hold.pickup_branch_id].is_open_on(today)
        if on_time and (unneeded or _is_uncollected(hold, night)):
            yield hold


def _is_uncollected(hold: Hold, night: Night) -> bool:
    today = local_day(night.now, hold.pickup_branch.time_zone)
    return hold.state is HoldState.READY and hold.shelf_until_on is not None and hold.shelf_until_on < today


def _expire_hold(session: Session, night: Night, hold: Hold) -> bool:
    why = HoldEnding.NOT_COLLECTED if _is_uncollected(hold, night) else HoldEnding.NOT_NEEDED
    holds.end_hold(session, hold, HoldState.EXPIRED, why, night.now)
    if hold.patron_id is not None:
        occasion = f"hold_expired:{hold.id}"
        notices.write(session, hold.patron_id, NoticeKind.HOLD_EXPIRED, occasion, night.now, hold_id=hold.id)
    return True


def _holds_to_resume(session: Session, night: Night) -> Select[Any]:
    today = LocalDays.load(session, night.now).today(Branch.time_zone)
    past = (Hold.suspended, Hold.suspended_until < today, Hold.ended_at.is_(None))
    return select(Hold).join(Hold.pickup_branch).where(*past)


def _resume_hold(session: Session, night: Night, hold: Hold) -> bool:
    hold.suspended, hold.suspended_until = False, None
    return True


def _loans_to_lose(session: Session, night: Night) -> Select[Any]:
    laid_down = bool(policies.load(session).rows.get(PolicyKind.LOST_AFTER))
    unsettled = (Loan.lost_at.is_(None), Loan.claimed_at.is_(None))
    return running.overdue_loans(night.now).where(*unsettled, true() if laid_down else false())


def _given_up(session: Session, night: Night, rows: Sequence[Loan]) -> Iterable[Loan]:
    table = policies.load(session)
    for loan in rows:
        length = running.rules_of(table, loan)[PolicyKind.LOST_AFTER]
        if length is not None and _has_passed(length, loan, night.now):
            yield loan


def _has_passed(length: Length, loan: Loan, now: datetime) -> bool:
    """Whether so many hours, or local days, have gone by since a loan was due."""
    if length.unit is Unit.HOURS:
        return loan.due_at + timedelta(hours=length.number) <= now
    return (local_day(now, loan.time_zone) - loan.due_on).days >= length.number


def _lose(session: Session, night: Night, loan: Loan) -> bool:
    assert loan.patron_id is not None
    losses.declare_lost(session, HOUSE, loan, night.now)
    notices.write(session, loan.patron_id, NoticeKind.LOST, f"lost:{loan.id}", night.now, loan_id=loan.id)
    return True


def _loans_to_renew(session: Session, night: Night) -> Select[Any]:
    """Loans on their last day or later; a loan of hours renews itself once a day, however often that is tried."""
    laid_down = bool(policies.load(session).rows.get(PolicyKind.AUTO_RENEW))
    local = LocalDays.load(session, night.now)
    today = exists().where(
        Renewal.loan_id == Loan.id,
        Renewal.channel == RenewalChannel.AUTOMATIC,
        Renewal.renewed_at >= local.start(Loan.time_zone),
    )
    ending = reminders.loans_that_end(local, later=0).options(*running.parts())
    return ending.where(~today, true() if laid_down else false())


def _that_renew_themselves(session: Session, night: Night, rows: Sequence[Loan]) -> Iterable[Loan]:
    table = policies.load(session)
    return [loan for loan in rows if running.rules_of(table, loan)[PolicyKind.AUTO_RENEW]]


def _renew(session: Session, night: Night, loan: Loan) -> bool:
    """Renew a loan, or tell its patron once that it could not be."""
    assert loan.patron_id is not None
    told, was_renewed = NoticeKind.RENEWED, True
    try:
        with session.begin_nested():
            renewals.renew(session, HOUSE, loan, night.now, RenewalChannel.AUTOMATIC)
    except Refused:
        told, was_renewed = NoticeKind.NOT_RENEWED, False
    occasion = f"{told.value}:{loan.id}:{loan.due_on}"
    notices.write(session, loan.patron_id, told, occasion, night.now, loan_id=loan.id)
    return was_renewed


def _memory(session: Session, night: Night) -> privacy.Memory:
    return privacy.Memory(LocalDays.load(session, night.now), night.history_days)


def _loans_to_cut(session: Session, night: Night) -> Select[Any]:
    return privacy.loans_to_cut(_memory(session, night)).options(*running.parts())


def _that_may_be_cut(session: Session, night: Night, rows: Sequence[Loan]) -> Iterable[Loan]:
    table = policies.load(session)
    return [loan for loan in rows if privacy.may_cut(loan, running.rules_of(table, loan), night.now)]


def _lock_with_patron(lock: Callable[[Session, int], Any]) -> Callable[[Session, Any], object]:
    def locked(session: Session, row: Any) -> object:
        if row.patron_id is not None:
            locks.lock_patron_by_id(session, row.patron_id)
        return lock(session, row.id)

    return locked


def _cut_loan(session: Session, night: Night, loan: Loan) -> bool:
    privacy.cut(session, loan)
    return True


def _cut_hold(session: Session, night: Night, hold: Hold) -> bool:
    privacy.cut_hold(session, hold)
    return True


def _loans_to_tell_of(session: Session, night: Night) -> Select[Any]:
    return reminders.loans_that_end(LocalDays.load(session, night.now), night.due_soon_days)


def _not_told_yet(session: Session, night: Night, rows: Sequence[Loan]) -> Iterable[Loan]:
    return [reminder.loan for reminder in reminders.untold(session, rows, night.now)]


def _remind(session: Session, night: Night, loan: Loan) -> bool:
    reminder = reminders.reminder_of(loan, night.now)
    return reminder is not None and reminders.remind(session, reminder, night.now)


def _delete(session: Session, night: Night, row: Any) -> bool:
    # Another run may have deleted it meanwhile.
    return bool(session.connection().execute(delete(type(row)).where(type(row).id == row.id)).rowcount)


STEPS: Mapping[JobKind, tuple[Part, ...]] = {
    JobKind.EXPIRE_HOLDS: (Part(Hold, _ending_holds, _expire_hold, holds.lock, _really_ending),),
    JobKind.RESUME_HOLDS: (
        Part(Hold, _holds_to_resume, _resume_hold, lambda session, hold: locks.lock_hold(session, hold.id)),
    ),
    JobKind.AGE_TO_LOST: (Part(Loan, _loans_to_lose, _lose, losses.lock_whole, _given_up),),
    JobKind.RENEW: (Part(Loan, _loans_to_renew, _renew, losses.lock_whole, _that_renew_themselves),),
    JobKind.CUT_HISTORY: (
        Part(Loan, _loans_to_cut, _cut_loan, _lock_with_patron(locks.lock_loan), _that_may_be_cut),
        Part(Hold, lambda *at: privacy.holds_to_cut(_memory(*at)), _cut_hold, _lock_with_patron(locks.lock_hold)),
    ),
    JobKind.WRITE_NOTICES: (
        Part(Loan, _loans_to_tell_of, _remind, lambda session, loan: locks.lock_loan(session, loan.id), _not_told_yet),
    ),
    JobKind.PURGE: (
        # Real time: a day that is only tried out must not end keys that clients count on.
        Part(IdempotencyKey, lambda _, night: idempotency.expired(night.real_now), _delete, idempotency.lock),
        Part(OneTimeToken, lambda _, night: one_time_tokens.outworn(night.real_now), _delete),
        Part(Mail, lambda _, night: mails.outworn(night.real_now), _delete),
        Part(UserSession, lambda _, night: sessions.outworn(night.real_now), _delete),
        Part(Job, lambda _, night: uploads.outworn(night.real_now, night.results_days), uploads.forget),
    ),
}


def steps_of(kind: JobKind) -> Sequence[JobKind]:
    """The steps of a kind of job, in their order: all of them for `nightly`."""
    return list(STEPS) if kind is JobKind.NIGHTLY else [kind]
