"""What opens an account beside its password: API keys, and tokens that are sent by mail and good once."""

from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING

from sqlalchemy import JSON, ForeignKey, String
from sqlalchemy.orm import Mapped, mapped_column, relationship

from library.models.base import Base, enumerated

if TYPE_CHECKING:
    from library.models.users import User


class TokenPurpose(StrEnum):
    """What a mailed token is good for."""

    PASSWORD_RESET = "password_reset"
    EMAIL_VERIFICATION = "email_verification"


class MailKind(StrEnum):
    """What a mail says.

    * `password_reset`: a token to choose a new password
    * `email_verification`: a token that proves the address
    * `registration_refused`: somebody wanted an account with this address or a name that is taken
    * `password_changed`: the password is another since
    * `email_changed`: the account has another address since, or none
    """

    PASSWORD_RESET = "password_reset"
    EMAIL_VERIFICATION = "email_verification"
    REGISTRATION_REFUSED = "registration_refused"
    PASSWORD_CHANGED = "password_changed"
    EMAIL_CHANGED = "email_changed"


class ApiKey(Base):
    """A key for a program: it acts for the account it belongs to, within its scopes; only its hash is kept."""

    __tablename__ = "api_keys"

    user_id: Mapped[int] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)
    name: Mapped[str] = mapped_column(String(100), doc="What the key is for, in the words of who made it.")
    prefix: Mapped[str] = mapped_column(String(20), doc="How the key begins: enough to tell it from others.")
    key_hash: Mapped[str] = mapped_column(String(64), unique=True)
    scopes: Mapped[list[str]] = mapped_column(JSON, doc="Permissions that the key has, of those its account has.")
    created_at: Mapped[datetime] = mapped_column(doc="When it was made.")
    expires_at: Mapped[datetime | None] = mapped_column(doc="When it ends by itself; null is never.")
    last_used_at: Mapped[datetime | None] = mapped_column(doc="When it was last used, give or take a minute.")
    ended_at: Mapped[datetime | None] = mapped_column(doc="When it was ended.")

    user: Mapped["User"] = relationship()


class OneTimeToken(Base):
    """A token sent by mail: its hash, and what it is made from anew, together with the library's secret, when sent.

    One without an account answers somebody who named an address that nobody has: the work is the same.
    """

    __tablename__ = "one_time_tokens"

    user_id: Mapped[int | None] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)
    purpose: Mapped[TokenPurpose] = mapped_column(enumerated(TokenPurpose, "purpose"))
    nonce: Mapped[str] = mapped_column(String(64))
    token_hash: Mapped[str] = mapped_column(String(64), unique=True)
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime] = mapped_column(index=True)
    # Used, or ended by a log-in or another password.
    ended_at: Mapped[datetime | None]


class Mail(Base):
    """A mail that waits to be sent; the address and the words are found when it is sent, so little stays behind.

    `address` stands only where there is no account to look it up in, or where it is the one the account had before.
    """

    __tablename__ = "mails"

    kind: Mapped[MailKind] = mapped_column(enumerated(MailKind, "kind"))
    user_id: Mapped[int | None] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)
    token_id: Mapped[int | None] = mapped_column(ForeignKey("one_time_tokens.id", ondelete="CASCADE"), index=True)
    address: Mapped[str | None] = mapped_column(String(254))
    created_at: Mapped[datetime]
    sent_at: Mapped[datetime | None]
    tries: Mapped[int] = mapped_column(default=0)
    # Null where nothing is to be tried any more.
    next_try_at: Mapped[datetime | None] = mapped_column(index=True)

    token: Mapped["OneTimeToken | None"] = relationship()
    user: Mapped["User | None"] = relationship()
