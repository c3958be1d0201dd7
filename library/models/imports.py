"""Files that are taken in: what was sent, how far the work on it has come, and what became of every record."""

from enum import StrEnum
from typing import TYPE_CHECKING

from sqlalchemy import BigInteger, ColumnElement, ForeignKey, Index, LargeBinary, String, UniqueConstraint, case, cast
from sqlalchemy.ext.hybrid import hybrid_property
from sqlalchemy.orm import Mapped, mapped_column, relationship

from library.models.base import Base, enumerated

if TYPE_CHECKING:
    from library.models.jobs import Job


class ImportFormat(StrEnum):
    """What a file of records is written in, compressed or not."""

    MARC21 = "marc21"
    MARCXML = "marcxml"
    CSV = "csv"


class OnDuplicate(StrEnum):
    """What to do with a record that the library holds already."""

    SKIP = "skip"
    UPDATE = "update"
    ADD = "add"


class Outcome(StrEnum):
    """What became of one record."""

    ADDED = "added"
    UPDATED = "updated"
    SKIPPED = "skipped"
    FAILED = "failed"


class Import(Base):
    """What a job takes in, how, and the counts so far; they change in the transaction that writes the records."""

    __tablename__ = "imports"

    job_id: Mapped[int] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), unique=True)
    file_name: Mapped[str] = mapped_column(String(200), doc="Name of the file as it was sent.")
    format: Mapped[ImportFormat] = mapped_column(enumerated(ImportFormat, "format"), doc="What it is written in.")
    on_duplicate: Mapped[OnDuplicate] = mapped_column(
        enumerated(OnDuplicate, "on_duplicate"), doc="What is done with a record that the library holds already."
    )
    dry_run: Mapped[bool] = mapped_column(doc="Whether only the report is written.")
    size: Mapped[int] = mapped_column(doc="Bytes of the file.")
    bytes_read: Mapped[int] = mapped_column(default=0, doc="Bytes of the file that were read so far.")
    position: Mapped[int] = mapped_column(default=0, doc="Number of the last record that was dealt with, from 1.")
    added: Mapped[int] = mapped_column(default=0, doc="Records that became new ones of the library.")
    updated: Mapped[int] = mapped_column(default=0, doc="Records that were written over known ones.")
    skipped: Mapped[int] = mapped_column(default=0, doc="Records that the library holds already.")
    failed: Mapped[int] = mapped_column(default=0, doc="Records that were not taken; the results say why.")

    job: Mapped["Job"] = relationship(back_populates="intake")

    @hybrid_property
    def progress_percent(self) -> int:
        """How much of the file was read, from 0 to 100."""
        return min(100, 100 * self.bytes_read // self.size)

    @progress_percent.inplace.expression
    @classmethod
    def _progress_percent(cls) -> ColumnElement[int]:
        read = cast(cls.bytes_read, BigInteger) * 100 // cls.size
        return case((read > 100, 100), else_=read)


class UploadPart(Base):
    """A piece of the file: any worker on any host can put it together; gone when the job ends."""

    __tablename__ = "upload_parts"
    __table_args__ = (UniqueConstraint("job_id", "number"),)

    job_id: Mapped[int] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"))
    number: Mapped[int]
    content: Mapped[bytes] = mapped_column(LargeBinary)


class JobResult(Base):
    """What became of one record of a file, and why."""

    __tablename__ = "job_results"
    __table_args__ = (
        UniqueConstraint("job_id", "position"),
        Index("ix_job_results_job_id_outcome", "job_id", "outcome", "id"),
    )

    job_id: Mapped[int] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"))
    position: Mapped[int] = mapped_column(doc="Which record of the file, from 1.")
    outcome: Mapped[Outcome] = mapped_column(enumerated(Outcome, "outcome"), doc="What became of it.")
    reference: Mapped[str] = mapped_column(
        String(254), default="", doc="What it calls itself: a control number, else a title; a card. May be empty."
    )
    reason: Mapped[str] = mapped_column(
        String(500), default="", doc="Why it failed, or by what a patron is known; else empty."
    )
    book_id: Mapped[int | None] = mapped_column(ForeignKey("books.id", ondelete="SET NULL"), index=True)
    user_id: Mapped[int | None] = mapped_column(ForeignKey("users.id", ondelete="SET NULL"), index=True)
