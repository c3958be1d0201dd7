"""What the house does by itself: jobs, and the notices that wait to be sent or were."""

from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING

from sqlalchemy import ForeignKey, Index, String
from sqlalchemy.orm import Mapped, mapped_column, relationship

from library.models.base import Base, enumerated

if TYPE_CHECKING:
    from library.models.imports import Import
    from library.models.users import User


class JobKind(StrEnum):
    """What a job does; `nightly` is all the steps of the night in their order."""

    NIGHTLY = "nightly"
    EXPIRE_HOLDS = "expire_holds"
    RESUME_HOLDS = "resume_holds"
    AGE_TO_LOST = "age_to_lost"
    RENEW = "renew"
    CUT_HISTORY = "cut_history"
    WRITE_NOTICES = "write_notices"
    PURGE = "purge"
    IMPORT_BOOKS = "import_books"
    IMPORT_USERS = "import_users"


class JobState(StrEnum):
    """How far a job has come."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


class Job(Base):
    """Work that outlives its request: a row that one worker claims."""

    __tablename__ = "jobs"
    __table_args__ = (Index("ix_jobs_state_id", "state", "id"),)

    kind: Mapped[JobKind] = mapped_column(enumerated(JobKind, "kind"), doc="What it does.")
    state: Mapped[JobState] = mapped_column(
        enumerated(JobState, "state"), default=JobState.QUEUED, doc="How far it has come."
    )
    created_at: Mapped[datetime] = mapped_column(doc="When it was asked for.")
    created_by_id: Mapped[int | None] = mapped_column(ForeignKey("users.id", ondelete="SET NULL"))
    runs_as_of: Mapped[datetime | None] = mapped_column(doc="The moment it takes for now; null is when it runs.")
    started_at: Mapped[datetime | None] = mapped_column(doc="When a worker began it.")
    heartbeat_at: Mapped[datetime | None] = mapped_column(doc="When its worker was last known to be alive.")
    cancel_asked_at: Mapped[datetime | None] = mapped_column(doc="When somebody asked that it be stopped.")
    ended_at: Mapped[datetime | None] = mapped_column(doc="When it ended.")
    found: Mapped[int] = mapped_column(default=0, doc="How many records it looked at.")
    done: Mapped[int] = mapped_column(default=0, doc="How many it changed.")
    skipped: Mapped[int] = mapped_column(default=0, doc="How many it left as they were.")
    error: Mapped[str | None] = mapped_column(String(200), doc="Why it failed.")

    intake: Mapped["Import | None"] = relationship(back_populates="job", passive_deletes=True)


class NoticeKind(StrEnum):
    """What a notice tells."""

    HOLD_READY = "hold_ready"
    HOLD_EXPIRED = "hold_expired"
    DUE_SOON = "due_soon"
    OVERDUE = "overdue"
    RENEWED = "renewed"
    NOT_RENEWED = "not_renewed"
    LOST = "lost"


class Notice(Base):
    """Something a patron is told, once an occasion."""

    __tablename__ = "notices"
    __table_args__ = (Index("ix_notices_patron_id_id", "patron_id", "id"),)

    patron_id: Mapped[int] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    kind: Mapped[NoticeKind] = mapped_column(enumerated(NoticeKind, "kind"), doc="What it tells.")
    # The hold or loan and the day it is about: the same is told once.
    occasion: Mapped[str] = mapped_column(String(100), unique=True)
    loan_id: Mapped[int | None] = mapped_column(ForeignKey("loans.id", ondelete="CASCADE"), index=True)
    hold_id: Mapped[int | None] = mapped_column(ForeignKey("holds.id", ondelete="CASCADE"), index=True)
    created_at: Mapped[datetime] = mapped_column(doc="When it was written.")
    sent_at: Mapped[datetime | None] = mapped_column(doc="When it was sent; null while it waits.")

    patron: Mapped["User"] = relationship()
