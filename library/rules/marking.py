"""Marking: what the desk says of a copy's condition, and where that leads the copy."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from sqlalchemy.orm import Session

from library.models import Copy, CopyCondition, CopyPlace
from library.rules import locks, losses, places, routing
from library.rules.desk import Desk
from library.rules.errors import refuse_if_any, refuses
from library.rules.holdings import CopyIsOut
from library.rules.places import Action
from library.rules.routing import Route


class Mark(StrEnum):
    """What a copy is marked as.

    * `usable`: it may be lent again
    * `damaged`: it is here, and not to be lent
    * `missing`: nobody finds it
    * `withdrawn`: it has left the collection
    """

    USABLE = "usable"
    DAMAGED = "damaged"
    MISSING = "missing"
    WITHDRAWN = "withdrawn"


@dataclass(frozen=True)
class Marked:
    """A marked copy, and where it goes; None where it stays as it stood."""

    copy: Copy
    route: Route | None


def lock_around(session: Session, copy_id: int) -> None:
    """Lock what stands before a copy in the order of locks, if there is such a copy."""
    copy = session.get(Copy, copy_id)
    if copy is not None:
        losses.lock_payers(session, copy.barcode)
        locks.lock_queue(session, copy.book_id)


@refuses(CopyIsOut)
def mark(session: Session, desk: Desk, copy: Copy, mark_as: Mark, reason: str, now: datetime) -> Marked:
    """Say what condition a copy is in; a hold it was set aside for falls back to the head of its queue.

    A copy that is usable again and at hand is led on like one that was just scanned.
    """
    lock_around(session, copy.id)
    locks.lock_copy_by_id(session, copy.id)
    action = Action(f"mark_{mark_as.value}")
    refuse_if_any([CopyIsOut()] if places.refused(action, copy) else [])
    was_fit = places.refused(Action.PLACE_HOLD, copy) is None
    hold = routing.serving(session, copy)
    # Who looks at a copy has found it.
    if copy.condition is CopyCondition.LOST and mark_as in (Mark.USABLE, Mark.DAMAGED):
        losses.refund_paid(session, desk, copy, now, now)
    places.move(action, copy)
    copy.condition_note = reason
    session.flush()
    if hold is not None and mark_as is not Mark.USABLE:
        routing.fall_back(session, hold)
    route = None
    if mark_as is Mark.USABLE and not was_fit and copy.place is CopyPlace.AVAILABLE:
        route = routing.route(session, copy, copy.current_branch, now)
    session.flush()
    return Marked(copy, route)
