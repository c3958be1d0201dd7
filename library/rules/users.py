"""People: registration, passwords, sessions, and what staff may do with accounts."""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from threading import BoundedSemaphore
from typing import Any

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from sqlalchemy import Select, case, or_, select, update
from sqlalchemy.orm import Session, raiseload

from library.models import JobResult, PatronCategory, Role, User, UserSession
from library.rules import access, changes, locks, words
from library.rules.errors import Forbidden, Refusal, Refused, refuses

LONGEST_PASSWORD = 128
# Without blanks; and without @, so that no username can be an address.
USERNAME = r"[^\s@\x00-\x1F\x7F-\x9F]+"
EMAIL = r"[^@\s\"(),:;<>\[\]\\]+@[^@\s\"(),:;<>\[\]\\.]+(\.[^@\s\"(),:;<>\[\]\\.]+)*"
LANGUAGE_TAG = r"[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8})*"
REUSE_GRACE = timedelta(seconds=10)
# OWASP's figures for argon2id: about 45 ms a hash, where the library's default takes five times that.
_hasher = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)
# More hashes at once than this starve every reader of the process.
_hashing = BoundedSemaphore(2)
_nobodys_hash = _hasher.hash(secrets.token_urlsafe())

ACCOUNT_SORTS = {"username": User.username_key, "last_name": User.last_name, "created_at": User.created_at}


class RegistrationRefused(Refusal):
    """An account with these data cannot be made."""


class RegistrationClosed(Refusal):
    """This library makes the accounts itself: ask at the desk."""


class LastAdmin(Refusal):
    """The last active admin stays admin and active."""


@dataclass(frozen=True)
class Login:
    """What a log-in is checked against, taken out of the database before the slow hash; nobody has the key 0."""

    user_id: int
    password_hash: str
    active: bool


def hash_password(password: str) -> str:
    """The argon2id hash of a password; slow by design, so call it outside any transaction."""
    with _hashing:
        return _hasher.hash(password)


def password_fits(login: Login, password: str) -> bool:
    """Whether the password is the account's and the account is active; as slow for nobody as for somebody."""
    with _hashing:
        fits = _verified(login.password_hash, password)
    return fits and login.active and bool(login.user_id)


def _verified(password_hash: str, password: str) -> bool:
    try:
        return _hasher.verify(password_hash, password)
    except (VerificationError, InvalidHashError):
        return False


def find_login(session: Session, name: str) -> Login:
    """The account that logs in by this e-mail address, username or card barcode; a dummy for nobody."""
    key = fold(name)
    user = session.scalars(
        select(User)
        .where(or_(User.email_key == key, User.username_key == key, User.card_barcode == name.strip()))
        .order_by(case((User.email_key == key, 1), (User.username_key == key, 2), else_=3))
        .limit(1)
    ).first()
    if user is None or user.password_hash is None:
        return Login(0, _nobodys_hash, False)
    return Login(user.id, user.password_hash, user.active)


def fold(name: str) -> str:
    """The form in which usernames and addresses are compared: no case, no blanks around."""
    return name.strip().casefold()


def _save(session: Session, user: User, values: Mapping[str, Any]) -> None:
    """Write an account with the keys under which it is compared and found."""
    for name, value in values.items():
        setattr(user, name, value)
    user.username_key = fold(user.username)
    user.email_key = fold(user.email) if user.email else None
    user.words = words.index_words((user.last_name, user.first_name, user.username, user.email, user.card_barcode))
    _refuse_confusion(session, user)
    changes.save(session, user, {})


def _refuse_confusion(session: Session, user: User) -> None:
    """One logs in by username or by card: nobody's username may be another's card."""
    crossings = {"card_barcode": User.username_key == fold(user.card_barcode)}
    if user.username != user.card_barcode:
        crossings["username"] = User.card_barcode == user.username
    with session.no_autoflush:
        for member, crossing in crossings.items():
            if session.scalar(select(User.id).where(crossing, User.id != (user.id or 0)).limit(1)):
                raise Refused([changes.AlreadyExists(f"/{member}", members=[member])])


@refuses(RegistrationRefused, RegistrationClosed)
def register(session: Session, values: Mapping[str, Any], password_hash: str, is_open: bool, now: datetime) -> User:
    """Make an account for a person who registers themselves: a patron whom staff have not seen yet.

    A clash does not say whether it is the name or the address that is taken.
    """
    if not is_open:
        raise Refused([RegistrationClosed()])
    category = session.scalars(select(PatronCategory).where(PatronCategory.self_registration).limit(1)).first()
    user = User(password_hash=password_hash, created_at=now, confirmed=False, card_barcode=new_card(session))
    user.patron_category = category
    try:
        _save(session, user, values)
    except Refused as refused:
        raise Refused([RegistrationRefused()]) from refused
    return user


@refuses(changes.AlreadyExists)
def create_user(session: Session, actor: User, values: Mapping[str, Any], now: datetime) -> User:
    """Make an account at the desk; without a username it is called after its card."""
    _require_role_permission(actor, None, values)
    user = User(created_at=now, role=Role.PATRON)
    values = dict(values)
    values["card_barcode"] = values.get("card_barcode") or new_card(session)
    values["username"] = values.get("username") or values["card_barcode"]
    _save(session, user, values)
    return user


@refuses(changes.AlreadyExists, LastAdmin)
def change_user(session: Session, actor: User, user: User, values: Mapping[str, Any]) -> User:
    """Change an account; a new role, a new password or deactivation ends the tokens given out so far.

    Raises Forbidden where the actor may not give roles or touch an account above their own.
    """
    values = dict(values)
    _require_role_permission(actor, user, values)
    if actor.id == user.id and "password_hash" in values:
        # One's own password changes only for who knows the old one.
        raise Forbidden("users.write")
    loses_admin = (
        user.active
        and user.role is Role.ADMIN
        and (values.get("role", Role.ADMIN) is not Role.ADMIN or values.get("active") is False)
    )
    if loses_admin and not _other_admin(session, user):
        raise Refused([LastAdmin()])
    ends_tokens = {"role", "active", "password_hash"} & {
        name for name, value in values.items() if getattr(user, name) != value
    }
    if ends_tokens:
        values["token_version"] = user.token_version + 1
    for name in ("username", "card_barcode"):
        if name in values and values[name] is None:
            values[name] = getattr(user, name)
    _save(session, user, values)
    return user


def change_profile(session: Session, user: User, values: Mapping[str, Any]) -> User:
    """Change what people may change of themselves: nothing that could clash with anybody else."""
    _save(session, user, values)
    return user


@refuses(changes.StillInUse, LastAdmin)
def delete_user(session: Session, actor: User, user: User) -> None:
    """Delete an account that nothing refers to any more."""
    _require_role_permission(actor, user, {})
    if user.role is Role.ADMIN and user.active and not _other_admin(session, user):
        raise Refused([LastAdmin()])
    if actor.id == user.id:
        raise Forbidden("users.write")
    # The reports of imports name the card.
    session.connection().execute(update(JobResult).where(JobResult.user_id == user.id).values(reference=""))
    changes.delete(session, user)


def _require_role_permission(actor: User, user: User | None, values: Mapping[str, Any]) -> None:
    """Only an admin gives roles, and only an admin touches the account of another member of staff."""
    now = user.role if user else Role.PATRON
    gives_role = values.get("role", now) is not now
    above = user is not None and user.role is not Role.PATRON and user.id != actor.id
    if (gives_role or above) and not access.may(actor, "users.roles"):
        raise Forbidden("users.roles")


def _other_admin(session: Session, user: User) -> bool:
    return any(admin.id != user.id for admin in locks.lock_admins(session))


def new_card(session: Session) -> str:
    """A card barcode nobody has yet."""
    while True:
        barcode = f"P{secrets.randbelow(10**9):09d}"
        if session.scalar(select(User.id).where(User.card_barcode == barcode)) is None:
            return barcode


def find_users(actor: User, q: str | None = None, **filters: Any) -> Select[Any]:
    """Accounts the actor may see; `q` finds part of a name, the address or the card."""
    statement = access.visible(select(User).options(raiseload("*")), User, actor)
    if q:
        statement = statement.where(words.holds_words(User.words, q))
    return statement.filter_by(**filters)


def start_session(
    session: Session, login: Login, refresh_jti: str, now: datetime, lifetime: timedelta
) -> tuple[User, UserSession] | None:
    """Open a session for a log-in whose password fits; None where account or password changed since the look."""
    unchanged = (User.id == login.user_id, User.active, User.password_hash == login.password_hash)
    user = session.scalars(locks.lock_found(select(User).where(*unchanged), User)).one_or_none()
    if user is None:
        return None
    opened = UserSession(
        user_id=user.id, refresh_jti=refresh_jti, started_at=now, rotated_at=now, expires_at=now + lifetime
    )
    session.add(opened)
    session.flush()
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


def change_password(session: Session, login: Login, password_hash: str, session_id: int, now: datetime) -> bool:
    """Give a user a new password, unless the old one changed meanwhile; every session but this one ends."""
    unchanged = (User.id == login.user_id, User.password_hash == login.password_hash)
    change = update(User).where(*unchanged).values(password_hash=password_hash)
    if not session.connection().execute(change).rowcount:
        return False
    others = (UserSession.user_id == login.user_id, UserSession.id != session_id, UserSession.ended_at.is_(None))
    session.execute(update(UserSession).where(*others).values(ended_at=now))
    return True


def actor_of(session: Session, user_id: int, session_id: int, token_version: int) -> User | None:
    """The user a token speaks for, if the account is active and neither session nor token were ended since."""
    return session.scalars(
        select(User)
        .join(UserSession, UserSession.user_id == User.id)
        .where(
            User.id == user_id,
            User.active,
            User.token_version == token_version,
            UserSession.id == session_id,
            UserSession.ended_at.is_(None),
        )
        .options(raiseload("*"))
    ).one_or_none()
