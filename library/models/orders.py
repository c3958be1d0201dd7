"""Orders: what the library means to buy, as drafts of lines."""

from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING

from sqlalchemy import CheckConstraint, ForeignKey, String
from sqlalchemy.orm import Mapped, mapped_column, relationship

from library.models.base import Base, Versioned, enumerated

if TYPE_CHECKING:
    from library.models.users import User


class OrderStatus(StrEnum):
    """How far an order has come."""

    DRAFT = "draft"


class Order(Versioned, Base):
    """A list of wanted books; it belongs to the user who wrote it."""

    __tablename__ = "orders"

    user_id: Mapped[int] = mapped_column(ForeignKey("users.id", ondelete="RESTRICT"), index=True)
    status: Mapped[OrderStatus] = mapped_column(
        enumerated(OrderStatus, "status"), default=OrderStatus.DRAFT, doc="How far the order has come."
    )
    note: Mapped[str | None] = mapped_column(String(2000), doc="A note for those who work on the order.")
    created_at: Mapped[datetime] = mapped_column(doc="When the order was written.")
    updated_at: Mapped[datetime] = mapped_column(doc="When the order was last changed.")

    user: Mapped["User"] = relationship(back_populates="orders")
    lines: Mapped[list["OrderLine"]] = relationship(
        order_by="OrderLine.position", cascade="all, delete-orphan", passive_deletes=True
    )


class OrderLine(Base):
    """So many copies of one book."""

    __tablename__ = "order_lines"
    __table_args__ = (CheckConstraint("quantity > 0", "quantity"),)

    order_id: Mapped[int] = mapped_column(ForeignKey("orders.id", ondelete="CASCADE"), index=True)
    book_id: Mapped[int] = mapped_column(ForeignKey("books.id", ondelete="RESTRICT"), index=True)
    quantity: Mapped[int] = mapped_column(doc="How many copies.")
    position: Mapped[int]
