"""Canaries: words that occur nowhere else, put wherever something personal may stand, and looked for afterwards.

Every column that holds words, bytes, days or JSON is said to be personal or not, and why not: a new one is neither,
and a test says so.
"""

import re
import sqlite3
from collections.abc import Iterable
from datetime import date, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

from sqlalchemy import JSON, Column, Date, Engine, Enum, LargeBinary, String, select, text
from sqlalchemy.orm import Session

from library.models import Base, Moment

# Of whom a row tells, in words: what must be gone once that person is erased.
PERSONAL: dict[str, set[str]] = {
    "users": {
        "username",
        "username_key",
        "email",
        "email_key",
        "password_hash",
        "first_name",
        "last_name",
        "phone",
        "address",
        "birth_date",
        "language",
        "staff_note",
        "card_barcode",
        "expires_on",
        "words",
    },
    "user_sessions": {"refresh_jti", "client"},
    "patron_blocks": {"until_on", "reason"},
    "account_entries": {"note"},
    "loans": {"claim_note", "fine_pauses"},
    "due_changes": {"reason"},
    "overrides": {"reason"},
    "holds": {"end_reason"},
    "notices": {"occasion"},
    "idempotency_keys": {"call", "key", "fingerprint", "headers", "body"},
    "job_results": {"reference", "reason"},
    "api_keys": {"name", "prefix", "key_hash", "scopes"},
    "one_time_tokens": {"nonce", "token_hash"},
    "mails": {"address"},
}
THING, LAW, FIGURES = "about a thing", "a rule of the house", "figures and the words of an enumeration"
NOT_PERSONAL: dict[str, dict[str, str]] = {
    "account_entries": {"steps": FIGURES},
    "audit_events": {
        "action": "the name of an operation",
        "actor_role": FIGURES,
        "codes": "codes of refusals",
        "members": "names of members of schemas",
        "object_kind": "the name of a table",
        "request_id": "a number that the client or the server has made up",
    },
    "authors": {"name": "who made a book", "name_key": "who made a book", "dates": "who made a book"},
    "books": dict.fromkeys(
        ("title", "title_key", "subtitle", "publisher", "year_text", "edition", "series", "description", "words"),
        THING,
    )
    | {"language": THING, "control_number": "the number of a record"},
    "branches": dict.fromkeys(("name", "time_zone", "hours", "address"), THING),
    "calendar_exceptions": dict.fromkeys(("from_on", "to_on", "opens", "closes", "reason"), LAW),
    "copies": dict.fromkeys(("barcode", "condition_note", "shelf_mark", "check_note"), THING),
    "generations": {"name": "the name of a family of tables"},
    "holds": dict.fromkeys(
        ("placed_on", "not_needed_after", "suspended_until", "shelf_until_on", "time_zone"),
        "days of a hold of nobody's",
    ),
    "identifiers": {"value": THING},
    "imports": {"file_name": "what staff called a file; the report is deleted after JOB_RESULTS_DAYS"},
    "item_types": {"name": LAW},
    "jobs": {"error": "the name of an exception"},
    "loans": dict.fromkeys(("time_zone", "due_on", "due_steps", "lent_condition"), "days of a loan of nobody's"),
    "orders": {"note": "no order is left when its writer is erased"},
    "overrides": {"action": "the name of an operation", "code": "the code of a refusal"},
    "patron_categories": {"name": LAW},
    "policies": dict.fromkeys(("scope_key", "value"), LAW),
    "source_records": {"format": THING, "content": THING},
    "subjects": {"name": THING, "name_key": THING},
    "transfer_limits": {"scope_key": LAW},
    "upload_parts": {"content": "a file that waits to be taken in; gone when its job ends"},
}
_numbers = count(1)


def tells(column: Column[Any]) -> bool:
    """Whether a column can hold something that a person would recognise somebody by: not a key, a figure, a choice."""
    return isinstance(column.type, String | JSON | LargeBinary | Date) and not isinstance(column.type, Enum)


def unsaid() -> list[str]:
    """Columns of which nobody has said whether they are personal, or of which both is said."""
    said = [f"{table}.{name}" for known in (PERSONAL, NOT_PERSONAL) for table, names in known.items() for name in names]
    there = [
        f"{table.name}.{column.name}"
        for table in Base.metadata.sorted_tables
        for column in table.columns
        if tells(column)
    ]
    return sorted(set(there) ^ set(said)) + [name for name in set(said) if said.count(name) > 1]


def canary() -> str:
    """A word of lower-case letters and figures, the same however it is folded, normalised or cut into words."""
    return f"kanari{next(_numbers):04d}vogel"


def canary_day() -> date:
    """A day that is no other row's."""
    return date(2150, 1, 1) + timedelta(days=next(_numbers))


def planted(column: Column[Any]) -> tuple[Any, str]:
    """A value for a column with a canary in it, and what to look for."""
    if isinstance(column.type, Date):
        day = canary_day()
        return day, day.isoformat()
    word = canary()
    if isinstance(column.type, JSON):
        return [word], word
    if isinstance(column.type, LargeBinary):
        return word.encode(), word
    assert isinstance(column.type, String)
    assert (column.type.length or 99) >= len(word), column
    return word, word


def dump_of(engine: Engine) -> bytes:
    """Every row of every table there is, those too that no model knows; bytes stand in it as they are and as hex."""
    with engine.connect() as connection:
        if engine.dialect.name == "sqlite":
            lines = list(connection.connection.driver_connection.iterdump())  # type: ignore[union-attr]
            return "\n".join(lines).encode()
        names = connection.scalars(text("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")).all()
        assert set(Base.metadata.tables) <= set(names)
        rows = [row for name in names for row in connection.scalars(text(f'SELECT t::text FROM "{name}" t'))]
        return "\n".join(rows).encode()


def file_bytes(engine: Engine) -> bytes:
    """The bytes of the files of an embedded database, its log included."""
    path = Path(str(engine.url.database))
    assert path.exists()
    return b"".join(part.read_bytes() for part in path.parent.glob(f"{path.name}*"))


def write_log_back(engine: Engine) -> None:
    """Bring what the log of an embedded database holds into its file, and empty the log."""
    with sqlite3.connect(str(engine.url.database)) as connection:
        assert connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0] == 0
    connection.close()


def found_in(haystack: bytes, words: Iterable[str]) -> set[str]:
    """The words that occur, in whatever case, as they are or in hex."""
    folded = haystack.lower()
    return {word for word in words if word.lower().encode() in folded or word.encode().hex().encode() in folded}


def columns_of(found: Iterable[str], places: dict[str, str]) -> set[str]:
    """Where the words that were found had been planted."""
    return {places[word] for word in found}


def ties_with(session: Session, moments: set[datetime]) -> set[str]:
    """Columns of all tables, but the ledger and the audit, in which one of these very moments stands."""
    return {
        f"{table.name}.{column.name}"
        for table in Base.metadata.sorted_tables
        if table.name not in ("account_entries", "audit_events")
        for column in table.columns
        if isinstance(column.type, Moment) and not moments.isdisjoint(session.scalars(select(column)))
    }


def as_words(body: Any) -> set[str]:
    """The canaries in something that was sent."""
    return set(re.findall(r"kanari\d{4}vogel", repr(body)))
