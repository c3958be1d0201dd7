"""Taking patrons in: a line of a roster makes an account or is known again; a bad line costs itself only."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import or_, select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from library.exchange.records import PatronRecord
from library.models import Branch, OnDuplicate, Outcome, PatronCategory, Role, User
from library.rules import changes, locks, users
from library.rules.errors import Refused
from library.rules.outcomes import Result, is_of_the_database

Numbered = tuple[int, PatronRecord]

# Whoever sends a roster is at the desk; a line of it makes patrons and nobody else.
_DESK = User(role=Role.LIBRARIAN)
_TEXTS = ("username", "email", "card_barcode", "first_name", "last_name", "phone", "address", "language")
_FORMS = {
    "username": (re.compile(rf"(?=.{{2,100}}\Z){users.USERNAME}"), "a username has 2 to 100 letters, no blanks, no @"),
    "email": (re.compile(users.EMAIL), "this is no e-mail address"),
    "language": (re.compile(users.LANGUAGE_TAG), "this is no language tag such as `de`"),
}
_COLUMNS: Mapping[str, Any] = {
    "card_barcode": User.card_barcode,
    "username": User.username_key,
    "email": User.email_key,
}
_KNOWN_BY = {"card_barcode": "card barcode", "username": "username", "email": "e-mail address"}
_KEYS = {"category": "patron_category_id", "branch": "home_branch_id"}
_NAMED_AT_MOST = 10


class _Unfit(Exception):
    """A line cannot be taken; the text says all that is wrong with it."""


@dataclass(frozen=True)
class _Names:
    """Key and name by folded name of the categories and branches that a roster may name."""

    categories: Mapping[str, tuple[int, str]]
    branches: Mapping[str, tuple[int, str]]

    @classmethod
    def load(cls, session: Session) -> "_Names":
        return cls(
            *(
                {
                    name.casefold(): (key, name)
                    for name, key in session.execute(select(noun.name, noun.id).order_by(noun.name))
                }
                for noun in (PatronCategory, Branch)
            )
        )


def keys_of(record: PatronRecord) -> list[tuple[str, str]]:
    """By what a patron is known again, of which one in common makes a duplicate: card, username, e-mail address."""
    given = {
        "card_barcode": record.card_barcode,
        "username": users.fold(record.username),
        "email": users.fold(record.email),
    }
    return [(name, value) for name, value in given.items() if value]


def import_patrons(
    session: Session, batch: Sequence[Numbered], on_duplicate: OnDuplicate, now: datetime
) -> list[Result]:
    """Take in a batch of (position, record), and say what became of each.

    A cell that is empty leaves what an account has. Staff are never touched, and nobody gets a role. Who is known by
    the e-mail address or the username alone is that person only if staff have confirmed the account (anybody may
    register with any address), and if the line names no other card.
    """
    names = _Names.load(session)
    return [_take(session, numbered, names, on_duplicate, now) for numbered in batch]


def _take(session: Session, numbered: Numbered, names: _Names, on_duplicate: OnDuplicate, now: datetime) -> Result:
    position, record = numbered
    try:
        with session.begin_nested():
            outcome, user_id, reason = _write(session, record, names, on_duplicate, now)
        return Result(position, outcome, record.card_barcode, reason, user_id=user_id)
    except _Unfit as unfit:
        reason = str(unfit)
    except Refused as refused:
        reason = _kindly(refused)
    except (DBAPIError, ValueError) as error:
        if is_of_the_database(error):
            raise
        reason = "the database refused the record"
    return Result(position, Outcome.FAILED, record.card_barcode, reason)


def _write(
    session: Session, record: PatronRecord, names: _Names, on_duplicate: OnDuplicate, now: datetime
) -> tuple[Outcome, int, str]:
    values = _values(record, names, now)
    known = _known(session, record)
    if known is None:
        user = users.create_user(session, _DESK, values, now)
        return Outcome.ADDED, user.id, ""
    known_by = _known_by(record, known)
    if on_duplicate is not OnDuplicate.UPDATE:
        return Outcome.SKIPPED, known.id, f"known by its {known_by}"
    users.change_user(session, _DESK, known, values, now)
    return Outcome.UPDATED, known.id, ""


def _known(session: Session, record: PatronRecord) -> User | None:
    conditions = [_COLUMNS[name] == value for name, value in keys_of(record)]
    if not conditions:
        raise _Unfit("a patron needs a card barcode, a username or an e-mail address")
    found = session.scalars(locks.lock_found(select(User).where(or_(*conditions)).order_by(User.id), User)).all()
    if len(found) > 1:
        raise _Unfit("card barcode, username and e-mail address belong to different accounts")
    return found[0] if found else None


def _known_by(record: PatronRecord, known: User) -> str:
    """By what an account is known to be the person of a line, in words; raises _Unfit where it may not be that one."""
    if known.role is not Role.PATRON:
        raise _Unfit("this is the account of a member of staff, which no roster changes")
    keys = {"card_barcode": known.card_barcode, "username": known.username_key, "email": known.email_key}
    known_by = next(_KNOWN_BY[name] for name, value in keys_of(record) if keys[name] == value)
    if record.card_barcode != known.card_barcode:
        if not known.confirmed:
            raise _Unfit(f"this {known_by} belongs to an account that registered itself; confirm it at the desk first")
        if record.card_barcode:
            raise _Unfit(f"the account with this {known_by} has another card; a new card is given out at the desk")
    return known_by


def _values(record: PatronRecord, names: _Names, now: datetime) -> dict[str, Any]:
    """The columns that a line fills; raises _Unfit."""
    values: dict[str, Any] = {name: getattr(record, name) for name in _TEXTS if getattr(record, name)}
    faults = list(_faults(values))
    values |= {name: getattr(record, name) for name in ("expires_on", "birth_date") if getattr(record, name)}
    # It may be tomorrow elsewhere.
    if record.birth_date and record.birth_date > (now + timedelta(days=1)).date():
        faults.append("birth_date: this day is still to come")
    for column, name, keys in (
        ("category", record.category, names.categories),
        ("branch", record.branch, names.branches),
    ):
        if name and name.casefold() not in keys:
            faults.append(f"{column}: there is none of the name {name[:100]!r}{_those_there_are(keys)}")
        elif name:
            values[_KEYS[column]] = keys[name.casefold()][0]
    if faults:
        raise _Unfit("; ".join(faults))
    return values


def _faults(values: Mapping[str, str]) -> Iterator[str]:
    """What is wrong with the texts of a line."""
    for name, text in values.items():
        form, complaint = _FORMS.get(name, (None, ""))
        if form is not None and not form.fullmatch(text):
            yield f"{name}: {complaint}"
        longest = User.__table__.columns[name].type.length  # type: ignore[attr-defined]
        if len(text) > longest:
            yield f"{name}: this has more than {longest} characters"


def _those_there_are(keys: Mapping[str, tuple[int, str]]) -> str:
    """In brackets the names from which to choose, or the first of them."""
    some = [repr(name) for _, name in keys.values()][:_NAMED_AT_MOST]
    more = ", …" if len(keys) > len(some) else ""
    return f" (there are {', '.join(some)}{more})" if some else ""


def _kindly(refused: Refused) -> str:
    for reason in refused.reasons:
        if isinstance(reason, changes.AlreadyExists):
            return f"{' and '.join(reason.params['members'])}: another account has this"
    return " ".join(reason.sentence() for reason in refused.reasons)
