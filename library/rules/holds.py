"""Holds: placing, changing, suspending and ending them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any, NamedTuple

from sqlalchemy import Select, select
from sqlalchemy.orm import Session

from library.models import OPEN_STATES, Book, Branch, Copy, CopyPlace, Hold, HoldEnding, HoldState, PolicyKind, User
from library.rules import calendar, holdability, locks, policies, queues, routing, transfers
from library.rules.desk import OVERRIDING, Desk, record
from library.rules.errors import Refusal, Refused, refuse_if_any, refuses
from library.rules.holdability import (
    AGAINST_HOLDS,
    NotHoldable,
    NotNeededInThePast,
    NotTransferable,
    PickupNotAllowed,
    PickupUnknown,
    Why,
)
from library.rules.routing import Route


class HoldEnded(Refusal):
    """The hold has ended."""


class PickupFixed(Refusal):
    """The copy already lies at the pickup branch."""

    pointer = "/pickup_branch_id"


class NotSuspendable(Refusal):
    """Only a hold that still waits in its queue can be suspended."""

    pointer = "/suspended"
    parameters = ("state",)


class SuspendedInThePast(Refusal):
    """The suspension would end before today."""

    pointer = "/suspended_until"


class Cancelled(NamedTuple):
    """A hold that was cancelled, and where the copy set aside for it goes now; None where there was no copy."""

    hold: Hold
    route: Route | None


@dataclass(frozen=True)
class Verdict:
    """What became of one of several holds: changed, or left as it is for these reasons."""

    hold: Hold
    reasons: list[Refusal] = field(default_factory=list)


@refuses(*AGAINST_HOLDS, *OVERRIDING)
def place_hold(
    session: Session,
    desk: Desk,
    patron: User,
    book: Book,
    now: datetime,
    copy: Copy | None = None,
    pickup_branch_id: int | None = None,
    not_needed_after: date | None = None,
) -> Hold:
    """Let a patron wait for a book, or for one copy of it, at the end of the book's queue.

    It is collected at `pickup_branch_id`, else at the patron's home branch. All reasons against it are raised at once.
    """
    desk = desk.serving(patron.id)
    locks.lock_patron_by_id(session, patron.id)
    locks.lock_queue(session, book.id)
    pickup = holdability.pickup_of(session, patron, pickup_branch_id)
    reasons = holdability.Facts.load(session, patron, [book.id], now).against(book.id, copy, pickup)
    reasons += holdability.against_pickup(pickup, named=pickup_branch_id is not None)
    reasons += holdability.against_last_day(not_needed_after, pickup, now)
    copy_id = copy.id if copy else None
    overrides = desk.permit("place_hold", (patron.id, book.id, copy_id), reasons)
    assert pickup is not None
    hold = Hold(
        patron_id=patron.id,
        book_id=book.id,
        copy_id=copy_id,
        pickup_branch_id=pickup.id,
        state=HoldState.QUEUED,
        sort_key=queues.next_key(session, book.id),
        placed_at=now,
        placed_on=calendar.local_day(now, pickup.time_zone),
        placed_by_id=desk.actor_id,
        not_needed_after=not_needed_after,
    )
    session.add(hold)
    session.flush()
    record(session, desk, overrides, now, hold_id=hold.id)
    return hold


def lock_queue_of(session: Session, hold_id: int) -> None:
    """Lock the queue of the book that a hold is for, if there is such a hold."""
    book_id = session.scalar(select(Hold.book_id).where(Hold.id == hold_id))
    if book_id is not None:
        locks.lock_queue(session, book_id)


def lock(session: Session, hold: Hold) -> Copy | None:
    """Lock a hold, its queue, and the copy set aside for it, which is returned; all are read anew."""
    locks.lock_queue(session, hold.book_id)
    session.refresh(hold, ["assigned_copy_id"])
    copy = locks.lock_copy_by_id(session, hold.assigned_copy_id) if hold.assigned_copy_id else None
    locks.lock_hold(session, hold.id)
    return copy


@refuses(
    HoldEnded,
    PickupFixed,
    PickupUnknown,
    PickupNotAllowed,
    NotHoldable,
    NotTransferable,
    NotNeededInThePast,
    NotSuspendable,
    SuspendedInThePast,
)
def change_hold(session: Session, hold: Hold, values: Mapping[str, Any], now: datetime) -> Hold:
    """Change where a hold is collected, until when it is wanted, and whether it is passed over meanwhile.

    `values` may have `pickup_branch_id`, `not_needed_after`, `suspended` and `suspended_until`; naming the end of a
    suspension suspends. No copy is set aside for it: the pick list shows what a hold could have now.
    """
    copy = lock(session, hold)
    if hold.ended_at is not None:
        raise Refused([HoldEnded()])
    was = routing.suspended_on(hold, calendar.local_day(now, hold.pickup_branch.time_zone))
    was_until = hold.suspended_until if was else None
    until = values.get("suspended_until", was_until)
    suspended = values.get("suspended", was or until is not None)
    pickup_id = values.get("pickup_branch_id", hold.pickup_branch_id)
    last_day = values.get("not_needed_after", hold.not_needed_after)
    reasons = _against_moving(session, hold, copy, pickup_id) if pickup_id != hold.pickup_branch_id else []
    if last_day != hold.not_needed_after:
        reasons += holdability.against_last_day(last_day, hold.pickup_branch, now)
    if suspended and (not was or until != was_until):
        reasons += _against_suspending(hold, until, now)
    refuse_if_any(reasons)
    hold.pickup_branch_id, hold.not_needed_after = pickup_id, last_day
    hold.suspended, hold.suspended_until = suspended, until if suspended else None
    if copy is not None and copy.place is CopyPlace.IN_TRANSIT:
        copy.transit_to_branch_id = pickup_id
    session.flush()
    return hold


def _against_moving(session: Session, hold: Hold, copy: Copy | None, branch_id: int) -> list[Refusal]:
    """What speaks against collecting a hold at another branch."""
    if hold.state is HoldState.READY:
        return [PickupFixed()]
    pickup = session.get(Branch, branch_id)
    reasons = holdability.against_pickup(pickup, named=True)
    if pickup is None:
        return reasons
    reasons += _against_policies(session, hold, copy, pickup)
    limits = transfers.load(session)
    if copy is not None:
        reachable = limits.allows(copy.current_branch_id, branch_id, copy.item_type_id)
    else:
        copies = holdability.copies_of(session, [hold.book_id])[hold.book_id]
        choice = [copy for copy in copies if hold.copy_id in (None, copy.id) and routing.is_holdable(copy)]
        reachable = not choice or holdability.travels(limits, choice, pickup)
    return reasons if reachable else [*reasons, NotTransferable()]


def _against_policies(session: Session, hold: Hold, copy: Copy | None, pickup: Branch) -> list[Refusal]:
    """Holds may be allowed at one branch and not at another; one copy that may be held there is enough."""
    table = policies.load(session)
    category_id = hold.patron.patron_category_id if hold.patron else None
    of_book = holdability.copies_of(session, [hold.book_id])[hold.book_id]
    choice = [copy] if copy is not None else [one for one in of_book if hold.copy_id in (None, one.id)]
    allowed = (table.at(pickup.id, category_id, one.item_type_id)[PolicyKind.HOLDS_ALLOWED] for one in choice)
    return [] if not choice or any(allowed) else [NotHoldable("/pickup_branch_id", why=Why.NOT_ALLOWED.value)]


def _against_suspending(hold: Hold, until: date | None, now: datetime) -> list[Refusal]:
    reasons: list[Refusal] = []
    if hold.state is not HoldState.QUEUED:
        reasons.append(NotSuspendable(state=hold.state.value))
    if until is not None and until < calendar.local_day(now, hold.pickup_branch.time_zone):
        reasons.append(SuspendedInThePast())
    return reasons


def suspend_all(session: Session, patron: User, now: datetime, until: date | None = None) -> list[Verdict]:
    """Suspend every hold of a patron that waits, without end or through a last local day; one verdict each."""
    verdicts = []
    for hold in _open_holds(session, patron):
        reasons = _against_suspending(hold, until, now)
        if not reasons:
            hold.suspended, hold.suspended_until = True, until
        verdicts.append(Verdict(hold, reasons))
    session.flush()
    return verdicts


def resume_all(session: Session, patron: User) -> list[Verdict]:
    """End every suspension of a patron's holds; one verdict each."""
    resumed = [hold for hold in _open_holds(session, patron) if hold.suspended]
    for hold in resumed:
        hold.suspended, hold.suspended_until = False, None
    session.flush()
    return [Verdict(hold) for hold in resumed]


def _open_holds(session: Session, patron: User) -> list[Hold]:
    """A patron's open holds, locked with their queues, by book."""
    locks.lock_patron_by_id(session, patron.id)
    mine = select(Hold).where(Hold.patron_id == patron.id, Hold.state.in_(OPEN_STATES)).order_by(Hold.book_id, Hold.id)
    holds = session.scalars(mine).all()
    for hold in holds:
        lock(session, hold)
    return [hold for hold in holds if hold.ended_at is None]


@refuses(HoldEnded)
def cancel_hold(session: Session, desk: Desk, hold: Hold, now: datetime, reason: str | None = None) -> Cancelled:
    """End a hold that is no longer wanted; a copy set aside for it goes to the next in line, or home."""
    lock(session, hold)
    if hold.ended_at is not None:
        raise Refused([HoldEnded()])
    own = desk.actor_id is not None and desk.actor_id == hold.patron_id
    why = HoldEnding.CANCELLED_BY_PATRON if own else HoldEnding.CANCELLED_BY_STAFF
    route = end_hold(session, hold, HoldState.CANCELLED, why, now, actor_id=desk.actor_id, reason=reason)
    return Cancelled(hold, route)


def end_hold(
    session: Session,
    hold: Hold,
    state: HoldState,
    why: HoldEnding,
    now: datetime,
    *,
    actor_id: int | None = None,
    reason: str | None = None,
) -> Route | None:
    """End a hold, and pass the copy on that is set aside or travels for it: where that goes now, None without a copy.

    `actor_id` is None where the house ends it by itself. Lock the hold, its queue and its copy first (`lock`).
    """
    copy_id = hold.assigned_copy_id
    hold.state, hold.sort_key, hold.assigned_copy_id = state, None, None
    hold.ended_at, hold.ended_why, hold.ended_by_id, hold.end_reason = now, why, actor_id, reason
    session.flush()
    return routing.pass_on(session, session.get_one(Copy, copy_id), now) if copy_id else None


def own_holds(session: Session, patron: User, book_ids: Iterable[int]) -> Sequence[Hold]:
    """A patron's open holds of some books, or of copies of them."""
    mine = (Hold.patron_id == patron.id, Hold.book_id.in_(book_ids), Hold.state.in_(OPEN_STATES))
    return session.scalars(select(Hold).where(*mine).execution_options(populate_existing=True)).all()


def keys_of(patron_id: Any, book_id: Any) -> Select[Any]:
    """The keys of a patron's open holds of a book."""
    return select(Hold.id).where(Hold.patron_id == patron_id, Hold.book_id == book_id, Hold.ended_at.is_(None))


def served_by(copy: Copy, own: Iterable[Hold]) -> Hold | None:
    """Which of their own holds is served if a patron borrows a copy: that it is set aside for, else the earliest."""
    fitting = (
        hold
        for hold in own
        if hold.assigned_copy_id == copy.id or (hold.book_id == copy.book_id and hold.copy_id in (None, copy.id))
    )
    return min(fitting, key=lambda hold: (hold.assigned_copy_id != copy.id, hold.placed_at, hold.id), default=None)


def fulfil(session: Session, hold: Hold, copy: Copy, desk: Desk, now: datetime) -> Route | None:
    """End a hold because its patron borrows a copy; another one set aside for it passes on: where that goes now."""
    if hold.assigned_copy_id not in (None, copy.id):
        locks.lock_copy_by_id(session, hold.assigned_copy_id)
    else:
        # The copy goes with the patron: nobody is next.
        hold.assigned_copy_id = None
    return end_hold(session, hold, HoldState.FULFILLED, HoldEnding.BORROWED, now, actor_id=desk.actor_id)
