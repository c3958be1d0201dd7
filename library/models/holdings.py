"""Holdings: branches, item types, and the copies that stand on shelves."""

from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from sqlalchemy import JSON, CheckConstraint, ForeignKey, Index, String
from sqlalchemy.orm import Mapped, mapped_column, relationship

from library.models.base import Base, Versioned, enumerated

if TYPE_CHECKING:
    from library.models.catalogue import Book


class CopyPlace(StrEnum):
    """Where a copy is.

    * `available`: on its shelf
    * `on_loan`: with a patron
    * `on_hold_shelf`: set aside for a patron
    * `in_transit`: between two branches
    * `in_process`: being prepared for the shelf
    * `on_order`: bought, and not here yet
    """

    AVAILABLE = "available"
    ON_LOAN = "on_loan"
    ON_HOLD_SHELF = "on_hold_shelf"
    IN_TRANSIT = "in_transit"
    IN_PROCESS = "in_process"
    ON_ORDER = "on_order"


class CopyCondition(StrEnum):
    """In what state a copy is; only a usable one becomes available to borrow.

    * `usable`: nothing is wrong with it
    * `damaged`: not to be lent as it is
    * `missing`: nobody finds it
    * `lost`: a patron has lost it
    * `claimed_returned`: a patron says that it was brought back
    * `withdrawn`: it has left the collection
    """

    USABLE = "usable"
    DAMAGED = "damaged"
    MISSING = "missing"
    LOST = "lost"
    CLAIMED_RETURNED = "claimed_returned"
    WITHDRAWN = "withdrawn"


class Branch(Versioned, Base):
    """A place of the library, with its own time zone and hours."""

    __tablename__ = "branches"

    name: Mapped[str] = mapped_column(String(100), unique=True, doc="Name of the branch.")
    time_zone: Mapped[str] = mapped_column(String(64), default="UTC", doc="IANA time zone: `Europe/Berlin`.")
    hours: Mapped[list[dict[str, Any]]] = mapped_column(JSON, default=list, doc="Opening hours; none: open every day.")
    pickup_point: Mapped[bool] = mapped_column(default=True, doc="Whether holds can be collected here.")
    address: Mapped[str | None] = mapped_column(String(500), doc="Postal address, lines separated by line feeds.")


class ItemType(Versioned, Base):
    """A group of copies for which the same policies hold (books, films, reference works …)."""

    __tablename__ = "item_types"
    __table_args__ = (CheckConstraint("default_price_cents >= 0", "default_price"),)

    name: Mapped[str] = mapped_column(String(100), unique=True, doc="Name of the item type.")
    default_price_cents: Mapped[int | None] = mapped_column(doc="Price of a copy that has none of its own.")
    not_for_loan: Mapped[bool] = mapped_column(default=False, doc="Copies of this type stay in the house.")
    holdable: Mapped[bool] = mapped_column(default=True, doc="Whether copies of this type can be held.")


class Copy(Versioned, Base):
    """One physical item with a barcode; `place` says where it is, `condition` what state it is in."""

    __tablename__ = "copies"
    __table_args__ = (
        CheckConstraint("price_cents >= 0", "price"),
        CheckConstraint("(place = 'in_transit') = (transit_to_branch_id IS NOT NULL)", "transit_has_a_goal"),
        # The cells of library/rules/places.py that never occur.
        CheckConstraint("place <> 'on_loan' OR condition IN ('usable', 'lost', 'claimed_returned')", "out"),
        CheckConstraint("place = 'on_loan' OR condition <> 'claimed_returned'", "claimed_is_out"),
        CheckConstraint("place <> 'on_hold_shelf' OR condition = 'usable'", "set_aside_is_usable"),
        CheckConstraint("place <> 'in_transit' OR condition <> 'missing'", "travelling_is_known"),
        CheckConstraint("place IN ('available', 'on_loan') OR condition <> 'lost'", "lost_was_lent"),
        Index("ix_copies_place_condition", "place", "condition"),
    )

    barcode: Mapped[str] = mapped_column(String(50), unique=True, doc="Barcode on the copy.")
    book_id: Mapped[int] = mapped_column(ForeignKey("books.id", ondelete="RESTRICT"), index=True)
    home_branch_id: Mapped[int] = mapped_column(ForeignKey("branches.id", ondelete="RESTRICT"), index=True)
    current_branch_id: Mapped[int] = mapped_column(ForeignKey("branches.id", ondelete="RESTRICT"), index=True)
    transit_to_branch_id: Mapped[int | None] = mapped_column(ForeignKey("branches.id", ondelete="RESTRICT"), index=True)
    item_type_id: Mapped[int | None] = mapped_column(ForeignKey("item_types.id", ondelete="RESTRICT"), index=True)
    place: Mapped[CopyPlace] = mapped_column(
        enumerated(CopyPlace, "place"), default=CopyPlace.AVAILABLE, doc="Where the copy is."
    )
    condition: Mapped[CopyCondition] = mapped_column(
        enumerated(CopyCondition, "condition"), default=CopyCondition.USABLE, doc="What state the copy is in."
    )
    condition_note: Mapped[str | None] = mapped_column(String(500), doc="Why it was marked so.")
    shelf_mark: Mapped[str | None] = mapped_column(String(100), doc="Where it stands on the shelves.")
    price_cents: Mapped[int | None] = mapped_column(doc="Price in cents; unset or 0 means the item type's.")
    not_for_loan: Mapped[bool] = mapped_column(default=False, doc="It stays in the house; so may its whole type.")
    check_note: Mapped[str | None] = mapped_column(String(200), doc="What the desk must check: `2 CDs`.")
    last_seen_at: Mapped[datetime | None] = mapped_column(doc="When the copy was last scanned.")
    last_seen_branch_id: Mapped[int | None] = mapped_column(ForeignKey("branches.id", ondelete="RESTRICT"))
    created_at: Mapped[datetime] = mapped_column(doc="When the copy was made.")

    book: Mapped["Book"] = relationship(back_populates="copies")
    home_branch: Mapped["Branch"] = relationship(foreign_keys=home_branch_id)
    current_branch: Mapped["Branch"] = relationship(foreign_keys=current_branch_id)
    item_type: Mapped["ItemType | None"] = relationship()
