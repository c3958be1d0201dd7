"""Taking patrons in: a line of a roster makes an account or is known again; a bad line costs itself only."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import or_, select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from library.exchange.records import PatronRecord
from library.models import Branch, OnDuplicate, Outcome, PatronCategory, Role, User
from library.rules import changes, locks, users
from library.rules.errors import Refused
from library.rules.outcomes import Result

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


class _Unfit(Exception):
    """A line cannot be taken; the text says why."""


@dataclass(frozen=True)
class _Names:
    """Key by folded name of the categories and branches that a roster may name."""

    categories: Mapping[str, int]
    branches: Mapping[str, int]

    @classmethod
    def load(cls, session: Session) -> "_Names":
        return cls(
            *(
                {name.casefold(): key for name, key in session.execute(select(noun.name, noun.id))}
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

    A cell that is empty leaves what an account has. Staff are never touched, and nobody gets a role.
    """
    names = _Names.load(session)
    return [_take(session, numbered, names, on_duplicate, now) for numbered in batch]


def _take(session: Session, numbered: Numbered, names: _Names, on_duplicate: OnDuplicate, now: datetime) -> Result:
    position, record = numbered
    reference = record.card_barcode or record.username or record.email
    try:
        with session.begin_nested():
            outcome, user_id = _write(session, record, names, on_duplicate, now)
        return Result(position, outcome, reference, user_id=user_id)
    except _Unfit as unfit:
        reason = str(unfit)
    except Refused as refused:
        reason = _kindly(refused)
    except (DBAPIError, ValueError) as error:
        if getattr(error, "connection_invalidated", False) or _may_be_tried_again(error):
            raise
        reason = "the database refused the record"
    return Result(position, Outcome.FAILED, reference, reason)


def _may_be_tried_again(error: Exception) -> bool:
    """Whether another transaction was in the way, and not the record."""
    state = getattr(getattr(error, "orig", None), "sqlstate", None)
    return state is not None and state[:2] in ("40", "55", "57")


def _write(
    session: Session, record: PatronRecord, names: _Names, on_duplicate: OnDuplicate, now: datetime
) -> tuple[Outcome, int]:
    values = _values(record, names)
    known = _known(session, record)
    if known is None:
        user = users.create_user(session, _DESK, values, now)
        return Outcome.ADDED, user.id
    if on_duplicate is not OnDuplicate.UPDATE:
        return Outcome.SKIPPED, known.id
    if known.role is not Role.PATRON:
        raise _Unfit("this is the account of a member of staff, which no roster changes")
    users.change_user(session, _DESK, known, values)
    return Outcome.UPDATED, known.id


def _known(session: Session, record: PatronRecord) -> User | None:
    conditions = [_COLUMNS[name] == value for name, value in keys_of(record)]
    if not conditions:
        raise _Unfit("a patron needs a card barcode, a username or an e-mail address")
    found = session.scalars(locks.lock_found(select(User).where(or_(*conditions)).order_by(User.id), User)).all()
    if len(found) > 1:
        raise _Unfit("card barcode, username and e-mail address belong to different accounts")
    return found[0] if found else None


def _values(record: PatronRecord, names: _Names) -> dict[str, Any]:
    """The columns that a line fills; raises _Unfit."""
    values: dict[str, Any] = {name: getattr(record, name) for name in _TEXTS if getattr(record, name)}
    for name, text in values.items():
        form, complaint = _FORMS.get(name, (None, ""))
        if form is not None and not form.fullmatch(text):
            raise _Unfit(f"{name}: {complaint}")
        longest = User.__table__.columns[name].type.length  # type: ignore[attr-defined]
        if len(text) > longest:
            raise _Unfit(f"{name}: this has more than {longest} characters")
    values |= {name: getattr(record, name) for name in ("expires_on", "birth_date") if getattr(record, name)}
    if record.category:
        values["patron_category_id"] = _key(names.categories, "category", record.category)
    if record.branch:
        values["home_branch_id"] = _key(names.branches, "branch", record.branch)
    return values


def _key(keys: Mapping[str, int], column: str, name: str) -> int:
    if name.casefold() not in keys:
        raise _Unfit(f"{column}: there is none of the name {name[:100]!r}")
    return keys[name.casefold()]


def _kindly(refused: Refused) -> str:
    for reason in refused.reasons:
        if isinstance(reason, changes.AlreadyExists):
            return f"{' and '.join(reason.params['members'])}: another account has this"
    return " ".join(reason.sentence() for reason in refused.reasons)
