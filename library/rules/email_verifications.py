"""Registration where an address must be proven: whatever is asked for, the same is done, and a mail says the rest."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from library.models import MailKind, PatronCategory, TokenPurpose, User
from library.rules import mails, one_time_tokens, users, words
from library.rules.errors import Refused, refuses

VERIFICATION = TokenPurpose.EMAIL_VERIFICATION
_INSERTS: dict[str, Any] = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}


@dataclass(frozen=True)
class Person:
    """Who registers: name and address, the hash of the password, and the moment by the library's clock."""

    values: Mapping[str, Any]
    password_hash: str
    registered_at: datetime


@refuses(users.RegistrationClosed)
def register(session: Session, key: str, person: Person, is_open: bool, now: datetime) -> int | None:
    """Make an account that is good once its address is proven, and have the token sent there; the account's key.

    Where name or address are taken no account is made, and the owner of the address is told: to who registers it
    looks the same, down to the statements. `key` is the library's secret, `now` real time.
    """
    if not is_open:
        raise Refused([users.RegistrationClosed()])
    made, email = _insert(session, person), person.values["email"]
    owner = session.scalar(select(User.id).where(User.email_key == users.fold(email)))
    token = one_time_tokens.make(session, key, VERIFICATION, made, now)
    kind = MailKind.REGISTRATION_REFUSED if made is None else MailKind.EMAIL_VERIFICATION
    mails.queue(session, kind, now, owner, None if owner else email, token)
    return made


def verify(session: Session, token: str, now: datetime) -> User | None:
    """The address that a token was sent to is proven; the account, None where the token is not good any more."""
    user = one_time_tokens.use(session, VERIFICATION, token, now)
    if user is not None:
        user.email_verified_at = now
        session.flush()
    return user


def _insert(session: Session, person: Person) -> int | None:
    """Make the account unless something in it is taken, by one statement either way; its key."""
    values = person.values
    category = session.scalar(select(PatronCategory.id).where(PatronCategory.self_registration).limit(1))
    card = users.new_card(session)
    # One logs in by username or by card: a username that is somebody's card is taken, as that card is.
    of_cards = User.card_barcode.in_(users.spellings(values["username"]))
    taken = session.scalar(select(User.card_barcode).where(of_cards).limit(1))
    folded = {"username_key": users.fold(values["username"]), "email_key": users.fold(values["email"])}
    found_by = (values.get("last_name"), values.get("first_name"), values["username"], values["email"], card)
    row = {
        **{name: values.get(name) for name in ("username", "email", "first_name", "last_name")},
        **folded,
        "password_hash": person.password_hash,
        "patron_category_id": category,
        "card_barcode": taken or card,
        "words": words.index_words(found_by),
        "confirmed": False,
        "created_at": person.registered_at,
    }
    insert = _INSERTS[session.get_bind().dialect.name](User).values(row)
    return session.scalar(insert.on_conflict_do_nothing().returning(User.id))
