"""Keys under which calls may be repeated, each with the answer that the first call was given."""

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, ForeignKey, LargeBinary, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from library.models.base import Base


class IdempotencyKey(Base):
    """A key that a client gave a call, and the answer; it stands and falls with what the call did."""

    __tablename__ = "idempotency_keys"
    __table_args__ = (UniqueConstraint("user_id", "call", "key"),)

    user_id: Mapped[int] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    # Method and concrete path.
    call: Mapped[str] = mapped_column(String(300))
    key: Mapped[str] = mapped_column(String(255))
    # A keyed hash: what people sent cannot be guessed from it.
    fingerprint: Mapped[str] = mapped_column(String(64))
    created_at: Mapped[datetime] = mapped_column(index=True)
    # Null only inside the transaction that makes the answer.
    status: Mapped[int | None]
    headers: Mapped[list[Any] | None] = mapped_column(JSON)
    body: Mapped[bytes | None] = mapped_column(LargeBinary)
