"""Sessions: what a log-in opens, a refresh carries on, and a log-out ends."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Select, bindparam, select, update
from sqlalchemy.orm import Session, raiseload

from library.models import ApiKey, User, UserSession
from library.rules import access, locks, mails, one_time_tokens
from library.rules.gathering import Entity, Gathering

REUSE_GRACE = timedelta(seconds=10)
KEPT = timedelta(days=1)

SESSION_SORTS = {"started_at": UserSession.started_at, "rotated_at": UserSession.rotated_at}
# The user a token speaks for; built once, for every call asks it.
ACTOR = (
    select(User)
    .join(UserSession, UserSession.user_id == User.id)
    .where(
        User.id == bindparam("user_id"),
        User.active,
        User.token_version == bindparam("token_version"),
        UserSession.id == bindparam("session_id"),
        UserSession.ended_at.is_(None),
        UserSession.expires_at > bindparam("now"),
    )
    .options(raiseload("*"))
)
_ACTING = Gathering(ACTOR, user=Entity(User))


@dataclass(frozen=True)
class Login:
    """What a log-in is checked against, taken out of the database before the slow hash; nobody has the key 0."""

    user_id: int
    password_hash: str
    active: bool


def start_session(
    session: Session, login: Login, refresh_jti: str, now: datetime, lifetime: timedelta, client: str | None = None
) -> tuple[User, UserSession] | None:
    """Open a session for a log-in whose password fits; None where account or password changed since the look.

    `client` is what the program calls itself.
    """
    unchanged = (User.id == login.user_id, User.active, User.password_hash == login.password_hash)
    user = session.scalars(locks.lock_found(select(User).where(*unchanged), User)).one_or_none()
    if user is None:
        return None
    opened = UserSession(
        user_id=user.id,
        refresh_jti=refresh_jti,
        started_at=now,
        rotated_at=now,
        expires_at=now + lifetime,
        client=client,
    )
    session.add(opened)
    session.flush()
    one_time_tokens.end_all(session, user.id, now)
    return user, opened


def rotate_session(session: Session, session_id: int, old_jti: str, new_jti: str, now: datetime) -> UserSession | None:
    """Put a new refresh token in the place of the old one; None where the old one is not the good one.

    Of parallel calls one succeeds. A token used again later than 10 s after it was replaced was stolen:
    the whole session ends (RFC 6819, 5.2.2.3).
    """
    good = (UserSession.id == session_id, UserSession.ended_at.is_(None), UserSession.expires_at > now)
    changed = session.execute(
        update(UserSession)
        .where(*good, UserSession.refresh_jti == old_jti)
        .values(refresh_jti=new_jti, rotated_at=now)
        .returning(UserSession.id)
    ).scalar()
    if changed is None:
        stolen = (*good, UserSession.refresh_jti != old_jti, UserSession.rotated_at < now - REUSE_GRACE)
        session.execute(update(UserSession).where(*stolen).values(ended_at=now))
        return None
    return session.get(UserSession, session_id, populate_existing=True)


def end_session(session: Session, session_id: int, now: datetime) -> None:
    """Sign out: neither token of the session is good any more."""
    session.execute(update(UserSession).where(UserSession.id == session_id).values(ended_at=now))


def find_sessions(actor: User, now: datetime) -> Select[tuple[UserSession]]:
    """Where the actor is signed in."""
    mine = access.visible(select(UserSession).options(raiseload("*")), UserSession, actor)
    return mine.where(UserSession.ended_at.is_(None), UserSession.expires_at > now)


def outworn(now: datetime) -> Select[Any]:
    """Sessions that have been over for a day: nobody asks any more where somebody was signed in."""
    return select(UserSession).where(UserSession.expires_at < now - KEPT)


def change_password(session: Session, login: Login, password_hash: str, session_id: int, now: datetime) -> bool:
    """Give a user a new password, unless the old one changed meanwhile; all that was open ends, but this session."""
    unchanged = (User.id == login.user_id, User.password_hash == login.password_hash)
    change = update(User).where(*unchanged).values(password_hash=password_hash)
    if not session.connection().execute(change).rowcount:
        return False
    end_all(session, login.user_id, now, but=session_id)
    mails.tell_of_new_password(session, session.get_one(User, login.user_id), now)
    return True


def end_all(session: Session, user_id: int, now: datetime, but: int = 0) -> None:
    """End every session of an account `but` one, its API keys and mailed tokens: whoever got in before is out."""
    others = (UserSession.user_id == user_id, UserSession.id != but, UserSession.ended_at.is_(None))
    session.connection().execute(update(UserSession).where(*others).values(ended_at=now))
    keys = (ApiKey.user_id == user_id, ApiKey.ended_at.is_(None))
    session.connection().execute(update(ApiKey).where(*keys).values(ended_at=now))
    one_time_tokens.end_all(session, user_id, now)


def lock_account(session: Session, user_id: int, session_id: int, now: datetime) -> User | None:
    """The account of a session as it is now, locked until the transaction ends; None where either ended meanwhile."""
    user = locks.lock_whole_patron(session, user_id)
    return user and actor_of(session, user.id, session_id, user.token_version, now)


def actor_of(session: Session, user_id: int, session_id: int, token_version: int, now: datetime) -> User | None:
    """The user a token speaks for, if the account is active and neither session nor token ended since."""
    said = {"user_id": user_id, "session_id": session_id, "token_version": token_version, "now": now}
    found = _ACTING.of(session, **said)
    return found and found.user
