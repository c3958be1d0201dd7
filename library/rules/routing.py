"""Where a copy goes from a desk: to the first who may have it, else home."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum

from sqlalchemy import func, or_, select
from sqlalchemy.orm import Session, joinedload

from library.models import (
    BlockScope,
    Branch,
    Copy,
    CopyCondition,
    CopyPlace,
    Hold,
    HoldState,
    NoticeKind,
    PolicyKind,
)
from library.rules import calendar, due_dates, notices, policies, standing, transfers
from library.rules.policies import PolicyTable
from library.rules.transfers import TransferLimits

SORT_GAP = 1024


class RouteAction(StrEnum):
    """What the desk does with the copy now.

    * `shelve`: back to its place on the shelves
    * `hold_shelf`: set aside for the patron whose turn it is
    * `send`: into the box for another branch
    * `set_aside`: kept back: something is wrong with it
    """

    SHELVE = "shelve"
    HOLD_SHELF = "hold_shelf"
    SEND = "send"
    SET_ASIDE = "set_aside"


@dataclass(frozen=True)
class Route:
    """Where a copy goes from the desk: the action, the branch, why, and the hold it serves."""

    action: RouteAction
    branch_id: int
    reason: str
    hold: Hold | None = None


def route(session: Session, copy: Copy, branch: Branch, now: datetime) -> Route:
    """Lead a copy that lies at a branch to where it belongs now; its queue and the copy must be locked.

    A copy that is set aside or travelling for a hold goes to that hold's pickup branch as it now stands; else the
    first eligible hold takes it; else it goes home.
    """
    copy.current_branch_id = branch.id
    if copy.condition is not CopyCondition.USABLE:
        return send_home(copy, branch)
    hold = serving(session, copy) or first_eligible(session, copy, branch, now)
    if hold is None:
        return send_home(copy, branch)
    if hold.pickup_branch_id == branch.id:
        return _put_on_shelf(session, hold, copy, branch, now)
    hold.assigned_copy_id, hold.sort_key, hold.state = copy.id, None, HoldState.IN_TRANSIT
    hold.ready_at = hold.shelf_until_at = hold.shelf_until_on = None
    copy.place, copy.transit_to_branch_id = CopyPlace.IN_TRANSIT, hold.pickup_branch_id
    session.flush()
    return Route(RouteAction.SEND, hold.pickup_branch_id, "hold", hold)


def _put_on_shelf(session: Session, hold: Hold, copy: Copy, branch: Branch, now: datetime) -> Route:
    copy.place, copy.transit_to_branch_id = CopyPlace.ON_HOLD_SHELF, None
    if hold.state is not HoldState.READY:
        assert hold.patron is not None
        rules = policies.load(session).at(branch.id, hold.patron.patron_category_id, copy.item_type_id)
        until = due_dates.shelf_until(now, rules, calendar.load(session, [branch])[branch.id])
        hold.assigned_copy_id, hold.sort_key, hold.state = copy.id, None, HoldState.READY
        hold.ready_at, hold.time_zone = now, branch.time_zone
        hold.shelf_until_at, hold.shelf_until_on = until.at, until.on
        session.flush()
        occasion = f"hold_ready:{hold.id}:{copy.id}:{until.on}"
        notices.write(session, hold.patron.id, NoticeKind.HOLD_READY, occasion, now, hold_id=hold.id)
    session.flush()
    return Route(RouteAction.HOLD_SHELF, branch.id, "hold", hold)


def send_home(copy: Copy, branch: Branch) -> Route:
    """Where a copy goes that nobody waits for: its shelf, its own branch, or the desk's back room."""
    if copy.home_branch_id != branch.id:
        copy.place, copy.transit_to_branch_id = CopyPlace.IN_TRANSIT, copy.home_branch_id
        return Route(RouteAction.SEND, copy.home_branch_id, "home")
    copy.place, copy.transit_to_branch_id = CopyPlace.AVAILABLE, None
    if copy.condition is not CopyCondition.USABLE:
        return Route(RouteAction.SET_ASIDE, branch.id, copy.condition.value)
    return Route(RouteAction.SHELVE, branch.id, "home")


def serving(session: Session, copy: Copy) -> Hold | None:
    """The hold for which a copy is set aside or travelling."""
    open_hold = (Hold.assigned_copy_id == copy.id, Hold.ended_at.is_(None))
    return session.scalars(select(Hold).where(*open_hold).options(joinedload(Hold.patron))).one_or_none()


def first_eligible(session: Session, copy: Copy, branch: Branch, now: datetime) -> Hold | None:
    """The first in the queue who may have this copy as it lies at `branch`: not suspended, still needed, in good
    standing, and the copy may be held and may travel there."""
    waiting = session.scalars(
        select(Hold)
        .where(Hold.book_id == copy.book_id, Hold.state == HoldState.QUEUED)
        .where(or_(Hold.copy_id.is_(None), Hold.copy_id == copy.id))
        .options(joinedload(Hold.patron), joinedload(Hold.pickup_branch))
        .order_by(Hold.sort_key)
    ).all()
    if not waiting:
        return None
    return Eligibility.load(session, waiting, now).first(copy, branch.id, waiting)


@dataclass(frozen=True)
class Eligibility:
    """What decides whether a hold may have a copy, loaded once for many holds."""

    table: PolicyTable
    limits: TransferLimits
    standings: dict[int, standing.Standing]
    now: datetime

    @classmethod
    def load(cls, session: Session, holds: Sequence[Hold], now: datetime) -> "Eligibility":
        """Load it for these holds, whose patrons and pickup branches are loaded, in a fixed number of statements."""
        table = policies.load(session)
        patrons = {hold.patron for hold in holds if hold.patron is not None}
        return cls(table, transfers.load(session), standing.load(session, patrons, table, now), now)

    def first(self, copy: Copy, from_branch_id: int, holds: Sequence[Hold]) -> Hold | None:
        """The first of the holds, in their order, that may have the copy."""
        return next((hold for hold in holds if self.fits(copy, from_branch_id, hold)), None)

    def fits(self, copy: Copy, from_branch_id: int, hold: Hold) -> bool:
        """Whether a hold may have a copy that lies at a branch."""
        today = calendar.local_day(self.now, hold.pickup_branch.time_zone)
        if hold.patron is None or suspended_on(hold, today) or no_longer_needed(hold, today):
            return False
        rules = self.table.at(hold.pickup_branch_id, hold.patron.patron_category_id, copy.item_type_id)
        return (
            is_holdable(copy)
            and bool(rules[PolicyKind.HOLDS_ALLOWED])
            and self.limits.allows(from_branch_id, hold.pickup_branch_id, copy.item_type_id)
            and not standing.against(
                self.standings[hold.patron.id], BlockScope.HOLDS, hold.pickup_branch, rules, self.now
            )
        )


def suspended_on(hold: Hold, today: date) -> bool:
    """Whether a hold is passed over on this local day."""
    return hold.suspended and (hold.suspended_until is None or today <= hold.suspended_until)


def no_longer_needed(hold: Hold, today: date) -> bool:
    """Whether the last day on which a hold was wanted is past."""
    return hold.not_needed_after is not None and hold.not_needed_after < today


def is_holdable(copy: Copy) -> bool:
    """Whether a copy can serve a hold at all: fit, and neither it nor its type stays in the house."""
    kind = copy.item_type
    fits = copy.condition is CopyCondition.USABLE and not copy.not_for_loan
    return fits and (kind is None or (kind.holdable and not kind.not_for_loan))


def pass_on(session: Session, copy: Copy, now: datetime) -> Route:
    """Lead on a copy whose hold has ended or fallen back; one that travels is led anew when it is next scanned."""
    session.flush()
    if copy.place is CopyPlace.IN_TRANSIT and copy.transit_to_branch_id is not None:
        return Route(RouteAction.SEND, copy.transit_to_branch_id, "in_transit")
    if copy.place is not CopyPlace.ON_HOLD_SHELF:
        return Route(RouteAction.SET_ASIDE, copy.current_branch_id, copy.place.value)
    return route(session, copy, session.get_one(Branch, copy.current_branch_id), now)


def fall_back(session: Session, hold: Hold) -> None:
    """Put a hold that loses its copy at the head of its queue."""
    first = session.scalar(select(func.min(Hold.sort_key)).where(Hold.book_id == hold.book_id))
    hold.state, hold.assigned_copy_id = HoldState.QUEUED, None
    hold.sort_key = (first or 0) - SORT_GAP
    hold.ready_at = hold.shelf_until_at = hold.shelf_until_on = None
    session.flush()
