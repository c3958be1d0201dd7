"""API keys: what lets a program in, for the account that made it, within the scopes it was given."""

import hashlib
import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Select, func, or_, select, update
from sqlalchemy.orm import Session, raiseload

from library.models import ApiKey, Role, User
from library.rules import access, locks
from library.rules.errors import Refusal, Refused, refuses

PREFIX = "lib_"
_FORM = re.compile(rf"{PREFIX}[A-Za-z0-9_-]{{43}}", re.ASCII)
# Of the 43 letters so many are shown: enough to tell keys apart, far too few to guess one.
SHOWN = len(PREFIX) + 6
MOST_KEYS = 20
# How exactly the last use is known: a write for each call would be dear.
NOTED_EVERY = timedelta(minutes=1)

KEY_SORTS = {"name": ApiKey.name, "created_at": ApiKey.created_at, "last_used_at": ApiKey.last_used_at}


class ScopeNotHeld(Refusal):
    """A key can do nothing that its account may not do itself."""

    parameters = ("scopes",)
    pointer = "/scopes"


class KeyExpiryNotValid(Refusal):
    """A key must end at a moment that is still to come, and no later than this library allows."""

    parameters = ("latest_at",)
    pointer = "/expires_at"


class TooManyApiKeys(Refusal):
    """This account has as many good keys as it may have: end one first."""

    parameters = ("limit",)


@dataclass(frozen=True)
class MadeKey:
    """A key that was just made, with the text that lets in, which is kept nowhere."""

    api_key: ApiKey
    key: str


@dataclass(frozen=True)
class Holder:
    """Whose key somebody has shown, as it was a moment ago; `is_noted`: its use within the last minute is."""

    user_id: int
    role: Role
    key_id: int
    is_noted: bool


def looks_like_one(text: str) -> bool:
    """Whether a text is meant for an API key, good or not."""
    return text.startswith(PREFIX)


@refuses(ScopeNotHeld, KeyExpiryNotValid, TooManyApiKeys)
def create(
    session: Session, actor: User, values: Mapping[str, Any], now: datetime, longest: timedelta | None
) -> MadeKey:
    """Make a key for oneself.

    Without an end of its own it ends after the `longest` time that the library allows; None is without end.
    """
    # Two that make keys at once count one another's.
    locks.lock_patron_by_id(session, actor.id)
    good = session.scalar(select(func.count()).where(ApiKey.user_id == actor.id, *_good(now))) or 0
    latest = now + longest if longest else None
    expires_at = values.get("expires_at") or latest
    reasons: list[Refusal] = []
    not_held = sorted({scope for scope in values["scopes"] if scope not in access.scopes_of(actor)})
    if not_held:
        reasons.append(ScopeNotHeld(scopes=not_held))
    if expires_at is not None and not now < expires_at <= (latest or expires_at):
        reasons.append(KeyExpiryNotValid(latest_at=latest.isoformat() if latest else None))
    if good >= MOST_KEYS:
        reasons.append(TooManyApiKeys(limit=MOST_KEYS))
    if reasons:
        raise Refused(reasons)
    text = PREFIX + secrets.token_urlsafe(32)
    key = ApiKey(
        user_id=actor.id,
        name=values["name"],
        prefix=text[:SHOWN],
        key_hash=_hash(text),
        scopes=sorted(set(values["scopes"])),
        created_at=now,
        expires_at=expires_at,
    )
    session.add(key)
    session.flush()
    return MadeKey(key, text)


def find_keys(actor: User, **filters: Any) -> Select[Any]:
    """Keys the actor may see: their own, or everybody's for an admin, also those that have ended."""
    return access.visible(select(ApiKey).options(raiseload("*")), ApiKey, actor).filter_by(**filters)


def end(session: Session, key: ApiKey, now: datetime) -> None:
    """End a key; one that has ended stays as it was."""
    key.ended_at = key.ended_at or now
    session.flush()


def holder_of(session: Session, text: str, now: datetime) -> Holder | None:
    """Whose key this is; None for one that is not good, or not any more."""
    if not _FORM.fullmatch(text):
        return None
    shown = _of_good_keys(select(User.id, User.role, ApiKey.id, ApiKey.last_used_at), now)
    found = session.execute(shown.where(ApiKey.key_hash == _hash(text))).one_or_none()
    if found is None:
        return None
    user_id, role, key_id, used_at = found
    return Holder(user_id, role, key_id, used_at is not None and used_at > now - NOTED_EVERY)


def actor_of(session: Session, key_id: int, now: datetime) -> User | None:
    """The user a key speaks for, if it is still good, with what it may do at most."""
    holders = _of_good_keys(select(User, ApiKey.scopes), now).options(raiseload("*"))
    found = session.execute(holders.where(ApiKey.id == key_id)).one_or_none()
    if found is None:
        return None
    user: User = found[0]
    user.scopes = access.SCOPES.intersection(found[1])
    return user


def note_use(session: Session, key_id: int, now: datetime) -> None:
    """Write down that a key was used, where that was not done within the last minute."""
    stale = or_(ApiKey.last_used_at.is_(None), ApiKey.last_used_at <= now - NOTED_EVERY)
    noted = update(ApiKey).where(ApiKey.id == key_id, stale).values(last_used_at=now)
    session.connection().execute(noted)


def _of_good_keys(statement: Any, now: datetime) -> Any:
    return statement.join(ApiKey, ApiKey.user_id == User.id).where(User.active, *_good(now))


def _good(now: datetime) -> Sequence[ColumnElement[bool]]:
    return ApiKey.ended_at.is_(None), or_(ApiKey.expires_at.is_(None), ApiKey.expires_at > now)


def _hash(text: str) -> str:
    # The key is random and long: nothing slower is needed.
    return hashlib.sha256(text.encode()).hexdigest()
