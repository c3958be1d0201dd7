"""People: registration, passwords, and what staff may do with accounts."""

import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from threading import BoundedSemaphore
from typing import Any

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from sqlalchemy import Select, case, inspect, or_, select
from sqlalchemy.orm import Session, raiseload

from library.models import PatronCategory, Role, User
from library.rules import access, changes, locks, mails, one_time_tokens, sessions, traces, words
from library.rules.access import NotForOneself
from library.rules.errors import Crowded, Forbidden, Refusal, Refused, refuse_if_any, refuses
from library.rules.sessions import Login

LONGEST_PASSWORD = 128
# Without blanks; and without @, so that no username can be an address.
USERNAME = r"[^\s@\x00-\x1F\x7F-\x9F]+"
EMAIL = r"[^@\s\"(),:;<>\[\]\\]+@[^@\s\"(),:;<>\[\]\\.]+(\.[^@\s\"(),:;<>\[\]\\.]+)*"
LANGUAGE_TAG = r"[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8})*"
# OWASP's figures for argon2id: about 45 ms a hash, where the library's default takes five times that.
_hasher = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)
# More hashes at once than this starve every reader of the process, and more who wait for one take its threads.
HASHES_AT_ONCE, HASHES_WAITING = 2, 3
_hashing = BoundedSemaphore(HASHES_AT_ONCE)
_places = BoundedSemaphore(HASHES_AT_ONCE + HASHES_WAITING)
_nobodys_hash = _hasher.hash(secrets.token_urlsafe())

# Beside the category, what decides whether and what somebody may borrow.
_STANDING = ("confirmed", "expires_on", "birth_date")

ACCOUNT_SORTS = {"username": User.username_key, "last_name": User.last_name, "created_at": User.created_at}


class RegistrationRefused(Refusal):
    """An account with these data cannot be made."""


class RegistrationClosed(Refusal):
    """This library makes the accounts itself: ask at the desk."""


class LastAdmin(Refusal):
    """The last active admin stays admin and active."""


@contextmanager
def _place() -> Iterator[None]:
    """A place to hash at; raises Crowded where too many are waiting for one."""
    if not _places.acquire(blocking=False):
        raise Crowded
    try:
        with _hashing:
            yield
    finally:
        _places.release()


def refuse_crowd() -> None:
    """Raise Crowded where a password would find no place now, before anything is done for its sake."""
    if not _places.acquire(blocking=False):
        raise Crowded
    _places.release()


def hash_password(password: str) -> str:
    """The argon2id hash of a password; slow by design, so call it outside any transaction."""
    with _place():
        return _hasher.hash(password)


def password_fits(login: Login, password: str) -> bool:
    """Whether the password is the account's and the account is active; as slow for nobody as for somebody."""
    with _place():
        fits = _verified(login.password_hash, password)
    return fits and login.active and bool(login.user_id)


def _verified(password_hash: str, password: str) -> bool:
    try:
        return _hasher.verify(password_hash, password)
    except (VerificationError, InvalidHashError):
        return False


def find_login(session: Session, name: str, proven: bool = False) -> Login:
    """The account that logs in by this e-mail address, username or card barcode; a dummy for nobody.

    A card as it is written goes before a username that is only alike: nobody's log-in is taken by another's name.
    `proven`: who registered themselves is let in only once the address is proven, or staff have seen them.
    """
    key, written = fold(name), name.strip()
    ranks = case((User.email_key == key, 1), (User.username == written, 2), (User.card_barcode == written, 3), else_=4)
    user = session.scalars(
        select(User)
        .where(or_(User.email_key == key, User.username_key == key, User.card_barcode == written))
        .order_by(ranks)
        .limit(1)
    ).first()
    if user is None or user.password_hash is None:
        return Login(0, _nobodys_hash, False)
    known = not proven or user.confirmed or user.email_verified_at is not None
    return Login(user.id, user.password_hash, user.active and known)


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


def spellings(username: str) -> list[str]:
    """The cards that a username would be taken for: as it is written, in capitals and in small letters."""
    return [username, username.upper(), username.lower()]


def _refuse_confusion(session: Session, user: User) -> None:
    """One logs in by username or by card: nobody's new username may be another's card, nor the other way round."""
    crossings = {"card_barcode": User.username_key == fold(user.card_barcode)}
    if user.username != user.card_barcode:
        crossings["username"] = User.card_barcode.in_(spellings(user.username))
    new = [member for member in crossings if inspect(user).attrs[member].history.has_changes()]
    with session.no_autoflush:
        for member in new:
            crossing = crossings[member]
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
    _require_credentials(actor, None, values)
    user = User(created_at=now, role=Role.PATRON)
    values = dict(values)
    values["card_barcode"] = values.get("card_barcode") or new_card(session)
    values["username"] = values.get("username") or values["card_barcode"]
    _save(session, user, values)
    return user


@refuses(changes.AlreadyExists, LastAdmin, NotForOneself)
def change_user(session: Session, actor: User, user: User, values: Mapping[str, Any], now: datetime) -> User:
    """Change an account; a new role, a new password or deactivation ends every session, token and key of it.

    Another address is told to the old one. Raises Forbidden where the actor may not give roles, touch an account above
    their own, or get into their own for good.
    """
    values = dict(values)
    _require_role_permission(actor, user, values)
    _require_credentials(actor, user, values)
    other_address = _other_address(user, values)
    if actor.id == user.id and ("password_hash" in values or other_address):
        # One's own password changes only for who knows the old one; a new one is sent to the address.
        raise Forbidden("users.write")
    if actor.id == user.id:
        _refuse_own_standing(user, values)
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
        sessions.end_all(session, user.id, now)
    old_address = user.email if other_address else None
    if other_address:
        # What was sent to the other address opens nothing any more.
        values["email_verified_at"] = None
        one_time_tokens.end_all(session, user.id, now)
        mails.tell_of_other_address(session, user, now)
    for name in ("username", "card_barcode"):
        if name in values and values[name] is None:
            values[name] = getattr(user, name)
    if values.get("card_barcode", user.card_barcode) != user.card_barcode:
        traces.follow_card(session, user)
    _save(session, user, values)
    if "password_hash" in ends_tokens:
        mails.tell_of_new_password(session, user, now, old_address)
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
    traces.forget(session, user)
    changes.delete(session, user)


def _require_role_permission(actor: User, user: User | None, values: Mapping[str, Any]) -> None:
    """Only an admin gives roles, and only an admin touches the account of another member of staff."""
    now = user.role if user else Role.PATRON
    gives_role = values.get("role", now) is not now
    above = user is not None and user.role is not Role.PATRON and user.id != actor.id
    if (gives_role or above) and not access.may(actor, "users.roles"):
        raise Forbidden("users.roles")


def _require_credentials(actor: User, user: User | None, values: Mapping[str, Any]) -> None:
    """Passwords, and addresses to which new ones are sent, people change: a key would get into the account."""
    other_address = user is not None and _other_address(user, values)
    if ("password_hash" in values or other_address) and not access.may(actor, "users.credentials"):
        raise Forbidden("users.credentials")


def _other_address(user: User, values: Mapping[str, Any]) -> bool:
    """Whether mails would go elsewhere: case does not count, but `ß` and `ss`, which fold alike, are two addresses."""
    return (values.get("email", user.email) or "").strip().lower() != (user.email or "").strip().lower()


def _refuse_own_standing(user: User, values: Mapping[str, Any]) -> None:
    """Whether and what somebody may borrow, a colleague says."""
    changed = {f"/{name}": values.get(name, getattr(user, name)) != getattr(user, name) for name in _STANDING}
    if "patron_category" in values:
        category = values["patron_category"]
        changed["/patron_category_id"] = (category.id if category else None) != user.patron_category_id
    refuse_if_any(NotForOneself(pointer) for pointer, is_other in changed.items() if is_other)


def lock_colleagues(session: Session, user_id: int) -> None:
    """Lock all admins, in the order that all keep, before one of them is locked: or two would wait for one another."""
    if session.scalar(select(User.role).where(User.id == user_id)) is Role.ADMIN:
        locks.lock_admins(session)


def _other_admin(session: Session, user: User) -> bool:
    return any(admin.id != user.id for admin in locks.lock_admins(session))


def new_card(session: Session) -> str:
    """A card barcode nobody has yet."""
    while True:
        barcode = f"P{secrets.randbelow(10**9):09d}"
        taken = or_(User.card_barcode == barcode, User.username_key == fold(barcode))
        if session.scalar(select(User.id).where(taken).limit(1)) is None:
            return barcode


def find_users(actor: User, q: str | None = None, **filters: Any) -> Select[Any]:
    """Accounts the actor may see; `q` finds part of a name, the address or the card."""
    statement = access.visible(select(User).options(raiseload("*")), User, actor)
    if q:
        statement = statement.where(words.holds_words(User.words, q))
    return statement.filter_by(**filters)
