"""A new password for whoever can read the account's mail: asked for by anyone, redeemed by who has the token."""

from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from library.models import MailKind, OneTimeToken, TokenPurpose, User
from library.rules import mails, one_time_tokens, sessions, users

RESET = TokenPurpose.PASSWORD_RESET


def request(session: Session, key: str, email: str, now: datetime) -> OneTimeToken:
    """Have a token sent to the account with this address; for nobody the same is written, and never sent.

    `key` is the library's secret. Older tokens stay good: whoever asks in somebody's place takes nothing from them.
    """
    # No account is loaded: that alone would take longer than to find none.
    user_id = session.scalar(select(User.id).where(User.email_key == users.fold(email), User.active))
    token = one_time_tokens.make(session, key, RESET, user_id, now)
    mails.queue(session, MailKind.PASSWORD_RESET, now, user_id=user_id, token=token)
    return token


def find_holder(session: Session, token: str, now: datetime) -> User | None:
    """The account that a token opens; None where it opens none, or none any more."""
    user_id = one_time_tokens.holder(session, RESET, token, now)
    user = None if user_id is None else session.get(User, user_id)
    return user if user and user.active else None


def redeem(session: Session, token: str, password_hash: str, now: datetime) -> User | None:
    """Give the token's account a new password; the account, None where the token is not good any more.

    Every session, API key and mailed token of it ends. Its address is proven: the token was sent there.
    """
    user = one_time_tokens.use(session, RESET, token, now)
    if user is None or not user.active:
        return None
    user.password_hash = password_hash
    user.token_version += 1
    user.email_verified_at = user.email_verified_at or now
    session.flush()
    sessions.end_all(session, user.id, now)
    mails.tell_of_new_password(session, user, now)
    return user
