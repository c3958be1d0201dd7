"""What was done and what was refused: one row per change, which nobody changes afterwards."""

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import JSON, Index, String
from sqlalchemy.orm import Mapped, mapped_column

from library.models.base import Base, enumerated


class AuditOutcome(StrEnum):
    """What came of an attempt.

    * `done`: it changed something
    * `refused`: it was turned away and changed nothing
    """

    DONE = "done"
    REFUSED = "refused"


class AuditEvent(Base):
    """One change or one refused attempt; a trigger of the database refuses to change or delete it.

    It refers to others by number only and holds no personal data: what it names may be gone. Ids never come back.
    """

    __tablename__ = "audit_events"
    __table_args__ = (Index("ix_audit_events_object_kind_object_id", "object_kind", "object_id", "id"),)

    at: Mapped[datetime] = mapped_column(index=True, doc="When it was tried; real time, in a sandbox too.")
    action: Mapped[str] = mapped_column(
        String(100), index=True, doc="What was tried: an operation, a command or a step of the night."
    )
    outcome: Mapped[AuditOutcome] = mapped_column(enumerated(AuditOutcome, "outcome"), doc="What came of it.")
    status: Mapped[int | None] = mapped_column(doc="The status of the answer, where there was one.")
    codes: Mapped[list[str]] = mapped_column(JSON, doc="Codes of the refusal, or of what was let pass.")
    actor_id: Mapped[int | None] = mapped_column(
        index=True, doc="The account that acted; null for strangers, commands, and where patrons borrow."
    )
    actor_role: Mapped[str | None] = mapped_column(
        String(30), doc="The role it had: patron, librarian, admin, `command` or `job`; null for strangers."
    )
    api_key_id: Mapped[int | None] = mapped_column(doc="The API key it used.")
    object_kind: Mapped[str | None] = mapped_column(String(60), doc="The kind of what it was tried on.")
    object_id: Mapped[int | None] = mapped_column(doc="The number of what it was tried on.")
    members: Mapped[list[Any]] = mapped_column(JSON, doc="Names of the members that were sent, never their values.")
    request_id: Mapped[str | None] = mapped_column(String(128), doc="The request, as the logs name it.")
