"""Loans: who has which copy, since when, until when."""

from datetime import date, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from sqlalchemy import JSON, CheckConstraint, ForeignKey, Index, String, text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from library.models.base import Base, Versioned, enumerated

if TYPE_CHECKING:
    from library.models.holdings import Branch, Copy
    from library.models.users import User


class LoanClosing(StrEnum):
    """How a loan ended.

    * `returned`: the copy was brought back
    * `lost_paid`: the copy is lost, and what it costs is settled
    * `claim_found`: the patron had said that it was back, and it was
    """

    RETURNED = "returned"
    LOST_PAID = "lost_paid"
    CLAIM_FOUND = "claim_found"


class RenewalChannel(StrEnum):
    """How a loan was renewed.

    * `desk`: by staff
    * `own`: by the patron
    * `automatic`: by itself at night
    """

    DESK = "desk"
    OWN = "own"
    AUTOMATIC = "automatic"


class Loan(Versioned, Base):
    """One copy in one patron's hands; the database admits one open loan a copy."""

    __tablename__ = "loans"
    __table_args__ = (
        Index(
            "uq_loans_open_copy",
            "copy_id",
            unique=True,
            sqlite_where=text("closed_at IS NULL"),
            postgresql_where=text("closed_at IS NULL"),
        ),
        Index("ix_loans_patron_id_closed_at", "patron_id", "closed_at"),
        Index("ix_loans_due_at", "due_at"),
        CheckConstraint("due_at > checked_out_at", "due_after_start"),
        CheckConstraint("closed_at >= checked_out_at", "closed_after_start"),
        CheckConstraint("(closed_at IS NULL) = (closed_as IS NULL)", "closed_somehow"),
    )

    copy_id: Mapped[int] = mapped_column(ForeignKey("copies.id", ondelete="RESTRICT"), index=True)
    patron_id: Mapped[int | None] = mapped_column(ForeignKey("users.id", ondelete="RESTRICT"))
    branch_id: Mapped[int] = mapped_column(ForeignKey("branches.id", ondelete="RESTRICT"), index=True)
    time_zone: Mapped[str] = mapped_column(String(64), doc="Time zone of the lending branch, in which `due_on` holds.")
    checked_out_at: Mapped[datetime] = mapped_column(doc="When the copy was lent.")
    checked_out_by_id: Mapped[int | None] = mapped_column(ForeignKey("users.id", ondelete="SET NULL"))
    due_at: Mapped[datetime] = mapped_column(doc="Last moment at which the copy is not late.")
    due_on: Mapped[date] = mapped_column(doc="Last local day on which the copy is not late.")
    due_steps: Mapped[list[dict[str, Any]]] = mapped_column(JSON, default=list, server_default="[]")
    renewals: Mapped[int] = mapped_column(default=0, server_default="0", doc="How often the loan was renewed.")
    # A copy that was lent though it is damaged or withdrawn goes back to that.
    lent_condition: Mapped[str | None] = mapped_column(String(30))
    # Until when a fine was charged or forgiven: each late day is charged once.
    fined_until_at: Mapped[datetime | None]
    lost_at: Mapped[datetime | None] = mapped_column(doc="When the copy was declared lost.")
    claimed_at: Mapped[datetime | None] = mapped_column(doc="When the patron claimed to have returned the copy.")
    claim_note: Mapped[str | None] = mapped_column(String(500), doc="What was said to the claim.")
    # Claims that were rejected: on these days nothing was fined.
    fine_pauses: Mapped[list[dict[str, Any]]] = mapped_column(JSON, default=list, server_default="[]")
    closed_at: Mapped[datetime | None] = mapped_column(doc="When the loan ended.")
    # When a return that was dated back was scanned.
    closing_noted_at: Mapped[datetime | None]
    closed_as: Mapped[LoanClosing | None] = mapped_column(enumerated(LoanClosing, "closed_as"), doc="How it ended.")
    closed_by_id: Mapped[int | None] = mapped_column(ForeignKey("users.id", ondelete="SET NULL"))
    returned_branch_id: Mapped[int | None] = mapped_column(ForeignKey("branches.id", ondelete="RESTRICT"))

    # What was known when it was lent; only of a loan that was just now, and as long as that holds.
    scan = None  # type: Any

    copy: Mapped["Copy"] = relationship()
    patron: Mapped["User | None"] = relationship(foreign_keys=patron_id)
    branch: Mapped["Branch"] = relationship(foreign_keys=branch_id)

    @property
    def book_id(self) -> int:
        """The book of which a copy is lent."""
        return self.copy.book_id


class Renewal(Base):
    """One renewal of a loan: who, when, by which channel, from which due date to which."""

    __tablename__ = "renewals"

    loan_id: Mapped[int] = mapped_column(ForeignKey("loans.id", ondelete="CASCADE"), index=True)
    renewed_at: Mapped[datetime] = mapped_column(doc="When the loan was renewed.")
    # Null where it renewed itself, and once the history is cut where the patron did it.
    actor_id: Mapped[int | None] = mapped_column(ForeignKey("users.id", ondelete="SET NULL"))
    channel: Mapped[RenewalChannel] = mapped_column(enumerated(RenewalChannel, "channel"), doc="How it was renewed.")
    was_due_at: Mapped[datetime] = mapped_column(doc="Due date before.")
    due_at: Mapped[datetime] = mapped_column(doc="Due date after.")

    loan: Mapped["Loan"] = relationship()


class DueChange(Base):
    """A due date that staff changed, and why."""

    __tablename__ = "due_changes"

    loan_id: Mapped[int] = mapped_column(ForeignKey("loans.id", ondelete="CASCADE"), index=True)
    changed_at: Mapped[datetime] = mapped_column(doc="When it was changed.")
    actor_id: Mapped[int | None] = mapped_column(ForeignKey("users.id", ondelete="SET NULL"))
    was_due_at: Mapped[datetime] = mapped_column(doc="Due date before.")
    due_at: Mapped[datetime] = mapped_column(doc="Due date after.")
    reason: Mapped[str] = mapped_column(String(500), doc="Why; empty once the reading history is cut.")


class Override(Base):
    """A refusal that a member of staff let pass, with the reason they wrote."""

    __tablename__ = "overrides"

    action: Mapped[str] = mapped_column(String(30), doc="What was done: `check_out`, `renew` …")
    code: Mapped[str] = mapped_column(String(50), doc="Code of the refusal.")
    reason: Mapped[str] = mapped_column(String(500), doc="Why it was let pass; empty once the history is cut.")
    actor_id: Mapped[int | None] = mapped_column(ForeignKey("users.id", ondelete="SET NULL"), index=True)
    loan_id: Mapped[int | None] = mapped_column(ForeignKey("loans.id", ondelete="CASCADE"), index=True)
    hold_id: Mapped[int | None] = mapped_column(ForeignKey("holds.id", ondelete="CASCADE"), index=True)
    made_at: Mapped[datetime] = mapped_column(doc="When it was let pass.")
