"""People: accounts, patron categories, and the sessions in which they are signed in."""

from datetime import date, datetime
from enum import StrEnum
from typing import TYPE_CHECKING

from sqlalchemy import ForeignKey, String, Text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from library.models.base import Base, Versioned, enumerated, key_text

if TYPE_CHECKING:
    from library.models.holdings import Branch
    from library.models.orders import Order


class Role(StrEnum):
    """What an account may do."""

    PATRON = "patron"
    LIBRARIAN = "librarian"
    ADMIN = "admin"


class HistoryMode(StrEnum):
    """How long the library remembers what a patron had: cut in the night after the return, later, or kept."""

    CUT = "cut"
    DELAYED = "delayed"
    KEPT = "kept"


class BlockScope(StrEnum):
    """What a patron is barred from.

    * `all`: everything below
    * `loans`: borrowing
    * `holds`: placing holds
    * `renewals`: renewing
    """

    ALL = "all"
    LOANS = "loans"
    HOLDS = "holds"
    RENEWALS = "renewals"


class PatronCategory(Versioned, Base):
    """A group of patrons for whom the same policies hold (adults, children, staff …)."""

    __tablename__ = "patron_categories"

    name: Mapped[str] = mapped_column(String(100), unique=True, doc="Name of the category.")
    self_registration: Mapped[bool] = mapped_column(
        default=False, doc="Whether people who register themselves get this category."
    )


class User(Versioned, Base):
    """An account and, where it borrows, a patron."""

    __tablename__ = "users"

    username: Mapped[str] = mapped_column(String(100), doc="Name to log in with, unique without regard to case.")
    # Folding may make three letters of one.
    username_key: Mapped[str] = mapped_column(key_text(300), unique=True)
    email: Mapped[str | None] = mapped_column(String(254), doc="E-mail address, unique without regard to case.")
    email_key: Mapped[str | None] = mapped_column(key_text(762), unique=True)
    password_hash: Mapped[str | None] = mapped_column(String(200))
    first_name: Mapped[str | None] = mapped_column(String(100), doc="Given name.")
    last_name: Mapped[str | None] = mapped_column(String(100), doc="Family name.")
    phone: Mapped[str | None] = mapped_column(String(50), doc="Telephone number.")
    address: Mapped[str | None] = mapped_column(String(500), doc="Postal address, lines separated by line feeds.")
    birth_date: Mapped[date | None] = mapped_column(doc="Date of birth.")
    language: Mapped[str | None] = mapped_column(String(35), doc="Preferred language, a BCP 47 tag.")
    staff_note: Mapped[str | None] = mapped_column(Text, doc="A note that only staff see.")
    role: Mapped[Role] = mapped_column(enumerated(Role, "role"), default=Role.PATRON, doc="What the account may do.")
    active: Mapped[bool] = mapped_column(default=True, doc="An inactive account can neither log in nor borrow.")
    confirmed: Mapped[bool] = mapped_column(
        default=True, doc="Whether staff have seen the person; who registered themselves borrows only then."
    )
    card_barcode: Mapped[str] = mapped_column(String(50), unique=True, doc="Barcode of the library card.")
    expires_on: Mapped[date | None] = mapped_column(doc="Last local day on which the card is valid; null is for ever.")
    patron_category_id: Mapped[int | None] = mapped_column(
        ForeignKey("patron_categories.id", ondelete="RESTRICT"), index=True
    )
    home_branch_id: Mapped[int | None] = mapped_column(ForeignKey("branches.id", ondelete="RESTRICT"), index=True)
    guarantor_id: Mapped[int | None] = mapped_column(ForeignKey("users.id", ondelete="RESTRICT"), index=True)
    history: Mapped[HistoryMode] = mapped_column(
        enumerated(HistoryMode, "history"),
        default=HistoryMode.CUT,
        server_default=HistoryMode.CUT.value,
        doc="How long loans that ended are remembered: `cut` in the night after, `delayed`, or `kept`.",
    )
    words: Mapped[str] = mapped_column(Text, default="")
    token_version: Mapped[int] = mapped_column(default=1)
    created_at: Mapped[datetime] = mapped_column(doc="When the account was made.")
    email_verified_at: Mapped[datetime | None] = mapped_column(doc="When the address was proven; null: not yet.")
    erased_at: Mapped[datetime | None] = mapped_column(doc="When the person was forgotten; only a number is left.")

    # What an API key leaves of the role's permissions; only of who acts by one, and only while they do.
    scopes = None  # type: frozenset[str] | None

    patron_category: Mapped["PatronCategory | None"] = relationship()
    home_branch: Mapped["Branch | None"] = relationship()
    orders: Mapped[list["Order"]] = relationship(back_populates="user", passive_deletes="all")
    sessions: Mapped[list["UserSession"]] = relationship(back_populates="user", passive_deletes=True)


class UserSession(Base):
    """One log-in: the family of tokens that grew out of it, with the hash of the refresh token now good."""

    __tablename__ = "user_sessions"

    user_id: Mapped[int] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)
    refresh_jti: Mapped[str] = mapped_column(String(64))
    started_at: Mapped[datetime]
    rotated_at: Mapped[datetime]
    expires_at: Mapped[datetime] = mapped_column(index=True)
    ended_at: Mapped[datetime | None]
    # By it people tell a log-in from elsewhere; it goes with the session.
    client: Mapped[str | None] = mapped_column(String(100), doc="What the program called itself.")

    user: Mapped["User"] = relationship(back_populates="sessions")


class PatronBlock(Versioned, Base):
    """What staff bar a patron from, with a reason, for ever or until a day."""

    __tablename__ = "patron_blocks"

    user_id: Mapped[int] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)
    scope: Mapped[BlockScope] = mapped_column(
        enumerated(BlockScope, "scope"), default=BlockScope.ALL, doc="What the patron is barred from."
    )
    until_on: Mapped[date | None] = mapped_column(doc="Last local day of the block; null is without end.")
    reason: Mapped[str] = mapped_column(String(500), doc="Why, as staff wrote it; the patron can read it.")
    created_at: Mapped[datetime] = mapped_column(doc="When it was laid.")
    created_by_id: Mapped[int | None] = mapped_column(ForeignKey("users.id", ondelete="SET NULL"))
