"""Holds: who waits for which book or copy, in which order, and where it is collected."""

from datetime import date, datetime
from enum import StrEnum
from typing import TYPE_CHECKING

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Index, String, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from library.models.base import Base, Versioned, enumerated

if TYPE_CHECKING:
    from library.models.catalogue import Book
    from library.models.holdings import Branch, Copy
    from library.models.users import User


class HoldState(StrEnum):
    """How far a hold has come; the last three are the end.

    * `queued`: it waits in the queue of the book
    * `in_transit`: its copy travels to the pickup branch
    * `ready`: its copy waits on the hold shelf
    * `fulfilled`: the patron has borrowed the copy
    * `cancelled`: it is no longer wanted
    * `expired`: its time is over
    """

    QUEUED = "queued"
    IN_TRANSIT = "in_transit"
    READY = "ready"
    FULFILLED = "fulfilled"
    CANCELLED = "cancelled"
    EXPIRED = "expired"


class HoldEnding(StrEnum):
    """Why a hold ended.

    * `borrowed`: the patron has got it
    * `cancelled_by_patron`: the patron no longer wants it
    * `cancelled_by_staff`: the desk has cancelled it
    * `not_collected`: nobody came while the copy was on the hold shelf
    * `not_needed`: the last day on which it was wanted has passed
    """

    BORROWED = "borrowed"
    CANCELLED_BY_PATRON = "cancelled_by_patron"
    CANCELLED_BY_STAFF = "cancelled_by_staff"
    NOT_COLLECTED = "not_collected"
    NOT_NEEDED = "not_needed"


OPEN_STATES = (HoldState.QUEUED, HoldState.IN_TRANSIT, HoldState.READY)


class Hold(Versioned, Base):
    """One patron's wish for a book, or for one copy of it; queued holds have a sort key, unique per book."""

    __tablename__ = "holds"
    __table_args__ = (
        UniqueConstraint("book_id", "sort_key"),
        Index(
            "uq_holds_assigned_copy",
            "assigned_copy_id",
            unique=True,
            sqlite_where=text("ended_at IS NULL"),
            postgresql_where=text("ended_at IS NULL"),
        ),
        Index("ix_holds_patron_id_state", "patron_id", "state"),
        Index("ix_holds_state_shelf_until_at", "state", "shelf_until_at"),
        CheckConstraint("(state = 'queued') = (sort_key IS NOT NULL)", "queued_has_a_place"),
        CheckConstraint("state NOT IN ('in_transit', 'ready') OR assigned_copy_id IS NOT NULL", "copy_set_aside"),
        CheckConstraint("state <> 'queued' OR assigned_copy_id IS NULL", "queued_has_no_copy"),
        CheckConstraint("state <> 'ready' OR shelf_until_at IS NOT NULL", "ready_until"),
        CheckConstraint("(state IN ('fulfilled', 'cancelled', 'expired')) = (ended_at IS NOT NULL)", "ended"),
        CheckConstraint("(ended_at IS NULL) = (ended_why IS NULL)", "ended_somehow"),
    )

    patron_id: Mapped[int | None] = mapped_column(ForeignKey("users.id", ondelete="RESTRICT"))
    book_id: Mapped[int] = mapped_column(ForeignKey("books.id", ondelete="RESTRICT"))
    copy_id: Mapped[int | None] = mapped_column(ForeignKey("copies.id", ondelete="RESTRICT"), index=True)
    assigned_copy_id: Mapped[int | None] = mapped_column(ForeignKey("copies.id", ondelete="RESTRICT"))
    pickup_branch_id: Mapped[int] = mapped_column(ForeignKey("branches.id", ondelete="RESTRICT"), index=True)
    state: Mapped[HoldState] = mapped_column(
        enumerated(HoldState, "state"), default=HoldState.QUEUED, doc="How far it has come."
    )
    sort_key: Mapped[int | None] = mapped_column(BigInteger)
    placed_at: Mapped[datetime] = mapped_column(doc="When it was placed.")
    placed_on: Mapped[date] = mapped_column(doc="Local day at the pickup branch on which it was placed.")
    placed_by_id: Mapped[int | None] = mapped_column(ForeignKey("users.id", ondelete="SET NULL"))
    not_needed_after: Mapped[date | None] = mapped_column(doc="Last local day on which it is wanted.")
    suspended: Mapped[bool] = mapped_column(default=False, doc="Keeps its place in the queue and is passed over.")
    suspended_until: Mapped[date | None] = mapped_column(doc="Last local day of the suspension; null is without end.")
    ready_at: Mapped[datetime | None] = mapped_column(doc="When the copy was put on the hold shelf.")
    shelf_until_at: Mapped[datetime | None] = mapped_column(doc="Last moment at which it can be collected.")
    shelf_until_on: Mapped[date | None] = mapped_column(doc="Last local day on which it can be collected.")
    time_zone: Mapped[str | None] = mapped_column(String(64), doc="Time zone of the pickup branch.")
    ended_at: Mapped[datetime | None] = mapped_column(doc="When it ended.")
    ended_why: Mapped[HoldEnding | None] = mapped_column(enumerated(HoldEnding, "ended_why"), doc="Why it ended.")
    ended_by_id: Mapped[int | None] = mapped_column(ForeignKey("users.id", ondelete="SET NULL"))
    end_reason: Mapped[str | None] = mapped_column(String(200), doc="What the person who ended it wrote.")

    patron: Mapped["User | None"] = relationship(foreign_keys=patron_id)
    book: Mapped["Book"] = relationship()
    copy: Mapped["Copy | None"] = relationship(foreign_keys=copy_id)
    assigned_copy: Mapped["Copy | None"] = relationship(foreign_keys=assigned_copy_id)
    pickup_branch: Mapped["Branch"] = relationship()
