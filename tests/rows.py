"""Any rows that a table may hold, written past the rules: what a column admits, however odd."""

from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, timedelta
from itertools import count
from typing import Any

from hypothesis import strategies as st
from sqlalchemy import JSON, Boolean, Column, Date, Enum, Integer, LargeBinary, String, Table, insert, select
from sqlalchemy.orm import Session

from library.models import Base, Book, CopyCondition, CopyPlace, Job, Moment, Order

# Quotes, what JSON escapes and what JavaScript does, controls, both ends of the planes, and marks that combine.
ODD = "\"\\/'\b\f\n\r\t\x01\x0b\x1f\x7f\x80\x9f\u2028\u2029\ufeff\ufffd\uffff\U00010000\U0001f4da\U0010ffffe\u0301%:{}"
EARLIEST = datetime(1900, 1, 1, tzinfo=UTC)
# PostgreSQL holds no NUL, and neither any half of a pair.
LETTERS = st.one_of(st.sampled_from(ODD), st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
_SECONDS = int((datetime(2200, 12, 31, tzinfo=UTC) - EARLIEST).total_seconds())
MOMENTS = st.builds(
    lambda seconds, fraction: EARLIEST + timedelta(seconds=seconds, microseconds=fraction),
    st.integers(0, _SECONDS),
    st.one_of(st.just(0), st.integers(0, 999_999)),
)
WHOLE = st.integers(-(2**31), 2**31 - 1)
AMOUNTS = {"price_cents", "default_price_cents", "quantity", "size", "bytes_read", "position"}
# What belongs to a row, and the column that makes it differ from its sisters; of a file there is one.
PARTS: Mapping[type[Base], Mapping[str, tuple[str, int]]] = {
    Book: {"contributions": ("author_id", 4), "book_subjects": ("subject_id", 3), "identifiers": ("value", 4)},
    Order: {"order_lines": ("position", 4)},
    Job: {"imports": ("size", 1)},
}
_PLACES = [
    (CopyPlace.AVAILABLE, CopyCondition.LOST),
    (CopyPlace.ON_LOAN, CopyCondition.CLAIMED_RETURNED),
    (CopyPlace.IN_TRANSIT, CopyCondition.DAMAGED),
    (CopyPlace.ON_HOLD_SHELF, CopyCondition.USABLE),
]
_numbers = count(1)


def texts(most: int) -> st.SearchStrategy[str]:
    """Texts of no more than so many characters, and of no more than a few."""
    return st.text(LETTERS, max_size=min(most, 12))


def _of(column: Column[Any]) -> st.SearchStrategy[Any]:
    kind = column.type
    if isinstance(kind, Enum):
        return st.sampled_from(list(kind.enum_class))
    if isinstance(kind, Moment):
        return MOMENTS
    if isinstance(kind, Boolean):
        return st.booleans()
    if isinstance(kind, Date):
        return st.dates(date(1900, 1, 1), date(2200, 12, 31))
    if isinstance(kind, Integer):
        return st.integers(1, 2**31 - 1) if column.name in AMOUNTS else WHOLE
    if isinstance(kind, String):
        most = kind.length or 200
        unlike = column.unique or column.name in ("name", "value", "scope_key")
        return texts(most - 12).map(lambda text: f"{text}#{next(_numbers)}") if unlike else texts(most)
    return {JSON: st.just([]), LargeBinary: st.just(b"")}[type(kind)]


def draw_row(draw: Callable[[Any], Any], table: Table, keys: Mapping[str, list[int]], **fixed: Any) -> dict[str, Any]:
    """The values of a row; `keys` are those of the rows it may refer to, by table."""
    row = {"version": draw(st.integers(1, 2**31 - 2))} if "version" in table.c else {}
    for column in table.c:
        if column.primary_key or column.name == "version":
            continue
        if column.name in fixed:
            row[column.name] = fixed[column.name]
        elif column.nullable and draw(st.booleans()):
            row[column.name] = None
        elif column.foreign_keys:
            (key,) = column.foreign_keys
            row[column.name] = draw(st.sampled_from(keys[key.column.table.name]))
        else:
            row[column.name] = draw(_of(column))
    return _admitted(draw, table.name, row, keys)


def _admitted(draw: Callable[[Any], Any], name: str, row: dict[str, Any], keys: Mapping[str, list[int]]) -> Any:
    """The row as the constraints of its table admit it."""
    if name == "books":
        # What words.py writes there; PostgreSQL's index takes no empty word.
        row["words"] = " ".join(filter(None, row["words"].split(" ")))
    if name == "copies":
        row["place"], row["condition"] = draw(st.sampled_from(_PLACES))
        row["transit_to_branch_id"] = keys["branches"][0] if row["place"] is CopyPlace.IN_TRANSIT else None
    if name == "calendar_exceptions":
        row["from_on"], row["to_on"] = sorted((row["from_on"], row["to_on"]))
        row |= {"opens": "08:00", "closes": "12:30"} if row["is_open"] else {"opens": None, "closes": None}
    if name == "job_results":
        row["position"] = next(_numbers) + 1000
    if name == "transfer_limits":
        row["from_branch_id"], row["to_branch_id"] = keys["branches"][:2]
    return row


def write_row(draw: Callable[[Any], Any], session: Session, noun: type[Base], keys: Mapping[str, list[int]]) -> int:
    """Write a row and its parts; its key."""
    key = _write(session, noun.__table__, draw_row(draw, noun.__table__, keys))
    for name, (unlike, most) in PARTS.get(noun, {}).items():
        table = Base.metadata.tables[name]
        (own,) = [column.name for column in table.c if column.references(noun.__table__.c.id)]
        places = draw(st.permutations(range(1, draw(st.integers(0, most)) + 1)))
        for number, place in enumerate(places):
            fixed = {own: key} | ({"position": place} if name != "imports" else {})
            (at,) = [*table.c[unlike].foreign_keys] or [None]
            fixed |= {unlike: keys[at.column.table.name][number]} if at else {}
            _write(session, table, draw_row(draw, table, keys, **fixed))
    return key


def _write(session: Session, table: Table, row: dict[str, Any]) -> int:
    return session.execute(insert(table).values(**row)).inserted_primary_key[0]


def keys_of(session: Session) -> dict[str, list[int]]:
    """The keys there are, by table."""
    return {name: [*session.scalars(select(table.c.id))] for name, table in Base.metadata.tables.items()}
