"""Tokens that are sent by mail: good once, for a while, and only their hashes are kept."""

import base64
import hashlib
import hmac
import secrets
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Select, select, update
from sqlalchemy.orm import Session

from library.models import OneTimeToken, TokenPurpose, User
from library.rules import locks

LIFETIMES: Mapping[TokenPurpose, timedelta] = {
    TokenPurpose.PASSWORD_RESET: timedelta(minutes=60),
    TokenPurpose.EMAIL_VERIFICATION: timedelta(hours=24),
}
# Of the letters of base64url, as long as an HMAC-SHA256 comes out.
FORM = r"[A-Za-z0-9_-]{43}"
# So long the row of a dead token stays: a mail that is on its way still finds it.
KEPT = timedelta(days=1)


def make(session: Session, key: str, purpose: TokenPurpose, user_id: int | None, now: datetime) -> OneTimeToken:
    """A new token for an account, or for nobody: then it is never sent, and opens nothing.

    `key` is the library's secret: without it what the table holds makes no token.
    """
    nonce = secrets.token_urlsafe(32)
    token = OneTimeToken(
        user_id=user_id,
        purpose=purpose,
        nonce=nonce,
        token_hash=_hash(_written(key, purpose, nonce)),
        created_at=now,
        expires_at=now + LIFETIMES[purpose],
    )
    session.add(token)
    session.flush()
    return token


def text_of(token: OneTimeToken, keys: Iterable[str]) -> str | None:
    """The token as it is sent, made with that of the keys it was made with; None where it was made with another."""
    texts = (_written(key, token.purpose, token.nonce) for key in keys)
    return next((text for text in texts if hmac.compare_digest(_hash(text), token.token_hash)), None)


def is_open(token: OneTimeToken, now: datetime) -> bool:
    """Whether the token still opens something."""
    return token.ended_at is None and token.expires_at > now


def holder(session: Session, purpose: TokenPurpose, text: str, now: datetime) -> int | None:
    """The key of the account that a token is good for; None for one that is not good, or not any more."""
    return session.scalar(select(OneTimeToken.user_id).where(*_good(purpose, text, now)))


def use(session: Session, purpose: TokenPurpose, text: str, now: datetime) -> User | None:
    """Use a token up, and every other of its account with it; the account, None where the token is not good.

    Of parallel calls with one token, one gets the account, which is locked.
    """
    user_id = holder(session, purpose, text, now)
    # Locked before the tokens, as a log-in locks it: two that end one another's tokens would wait for ever.
    user = None if user_id is None else locks.lock_patron_by_id(session, user_id)
    if user is None or holder(session, purpose, text, now) is None:
        return None
    end_all(session, user.id, now)
    return user


def end_all(session: Session, user_id: int, now: datetime) -> None:
    """End what was sent to an account: it has come in, or its password or address is another."""
    still_open = (OneTimeToken.user_id == user_id, OneTimeToken.ended_at.is_(None))
    session.connection().execute(update(OneTimeToken).where(*still_open).values(ended_at=now))


def outworn(now: datetime) -> Select[Any]:
    """Tokens that have been good for nothing for a day."""
    return select(OneTimeToken).where(OneTimeToken.expires_at < now - KEPT)


def _good(purpose: TokenPurpose, text: str, now: datetime) -> tuple[ColumnElement[bool], ...]:
    return (
        OneTimeToken.token_hash == _hash(text),
        OneTimeToken.user_id.is_not(None),
        OneTimeToken.purpose == purpose,
        OneTimeToken.ended_at.is_(None),
        OneTimeToken.expires_at > now,
    )


def _written(key: str, purpose: TokenPurpose, nonce: str) -> str:
    # A key of its own, made from the library's: what is signed elsewhere with that one is no token.
    own = hmac.digest(key.encode(), b"library: tokens sent by mail", "sha256")
    signed = hmac.digest(own, f"{purpose.value}|{nonce}".encode(), "sha256")
    return base64.urlsafe_b64encode(signed).rstrip(b"=").decode()


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
