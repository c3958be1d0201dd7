"""Loans: who has which copy, since when, until when."""

from datetime import date, datetime
from enum import StrEnum
from typing import TYPE_CHECKING

from sqlalchemy import CheckConstraint, ForeignKey, Index, String, text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from library.models.base import Base, Versioned, enumerated

if TYPE_CHECKING:
    from library.models.holdings import Branch, Copy
    from library.models.users import User


class LoanClosing(StrEnum):
    """How a loan ended."""

    RETURNED = "returned"


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
    closed_at: Mapped[datetime | None] = mapped_column(doc="When the loan ended.")
    closed_as: Mapped[LoanClosing | None] = mapped_column(enumerated(LoanClosing, "closed_as"), doc="How it ended.")
    closed_by_id: Mapped[int | None] = mapped_column(ForeignKey("users.id", ondelete="SET NULL"))
    returned_branch_id: Mapped[int | None] = mapped_column(ForeignKey("branches.id", ondelete="RESTRICT"))

    copy: Mapped["Copy"] = relationship()
    patron: Mapped["User | None"] = relationship(foreign_keys=patron_id)
    branch: Mapped["Branch"] = relationship(foreign_keys=branch_id)

    @property
    def book_id(self) -> int:
        """The book of which a copy is lent."""
        return self.copy.book_id
