"""Cursors: where a walk through a list stands, as a signed text, and which rows come next."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from datetime import date, datetime
from typing import Any

from itsdangerous import BadData, URLSafeSerializer
from sqlalchemy import ColumnElement, Select, select, union_all
from sqlalchemy.orm import InstrumentedAttribute

from library.api.plumbing.asking import Asked
from library.api.plumbing.errors import invalid
from library.api.plumbing.fields import Fault
from library.config import secret_keys
from library.models import Base

START = "start"
# What a step may change: how much is shown of each row and at once, and where the walk stands.
OF_A_STEP = ("cursor", "page", "page_size", "per_page", "expand")

# The columns of an order, each with whether it goes down; the key, which ends every order, is not among them.
Order = Sequence[tuple[InstrumentedAttribute[Any], bool]]
# A row's values in the columns of the order, then its key.
Position = tuple[Any, ...]


def in_order(order: Order, key: Any) -> list[Any]:
    """The clauses of an order: what has no value stands last on every database, the key decides at the end.

    The key goes the way of the column before it, as an index has both.
    """
    ways = (_one_way(column, down, column.nullable) for column, down in order)
    return [*ways, key.desc() if order and order[-1][1] else key]


def key_of(statement: Select[Any], noun: type[Base]) -> Any:
    """The column that a walk by key goes along: the noun's own, or the equal one that the statement is found by."""
    return statement.get_execution_options().get("walked_by", noun.id)


def rows_after(statement: Select[Any], noun: type[Base], order: Order, position: Position | None, most: Any) -> Any:
    """The statement narrowed to the next rows after a position, None for the first ones."""
    narrowed = statement.where(noun.id.in_(keys_after(statement, noun, order, position, most)))
    return narrowed.order_by(None).order_by(*in_order(order, noun.id)).limit(most)


def keys_after(statement: Select[Any], noun: type[Base], order: Order, position: Position | None, most: Any) -> Any:
    """The keys among which the next `most` rows after a position are; None for the first ones.

    What comes after a position falls into a few stretches, such as "the same year and a higher key", "a later year",
    "no year". Each of them alone is a range of an index, and gives its first rows without counting up to them; one
    condition that covers all of them would be worked off row by row from the beginning.
    """
    key = key_of(statement, noun)
    return select(_next_of_each(statement, order, key, position, most, [key.label("id")]).c.id)


def first_of(statement: Select[Any], order: Order, key: Any, most: Any, columns: Sequence[Any]) -> Any:
    """Columns of the first `most` rows of each stretch, among which the first `most` of all are."""
    return _next_of_each(statement, order, key, None, most, columns)


def _next_of_each(
    statement: Select[Any], order: Order, key: Any, position: Position | None, most: Any, columns: Sequence[Any]
) -> Any:
    bare = statement.with_only_columns(*columns, maintain_column_froms=True).order_by(None)
    found = [
        bare.where(*conditions).order_by(*clauses).limit(most).subquery()
        for conditions, clauses in _stretches(order, key, position)
    ]
    return union_all(*(select(stretch) for stretch in found)).subquery()


def _stretches(
    order: Order, key: Any, position: Position | None, key_down: bool = False
) -> Iterator[tuple[list[ColumnElement[bool]], list[Any]]]:
    """Conditions and order of every stretch that lies after the position."""
    if not order:
        last = key.desc() if key_down else key
        yield [] if position is None else [key < position[0] if key_down else key > position[0]], [last]
        return
    (column, down), *rest = order
    after = [*in_order(order, key)][1:]
    beyond = [_one_way(column, down, nulls_last=False), *after]
    if position is None:
        if not column.nullable:
            yield [], beyond
            return
        yield [column.is_not(None)], beyond
        yield [column.is_(None)], after
        return
    value, *further = position
    same = column.is_(None) if value is None else column == value
    for conditions, clauses in _stretches(rest, key, tuple(further), order[-1][1]):
        yield [same, *conditions], clauses
    if value is not None:
        yield [column < value if down else column > value], beyond
        if column.nullable:
            yield [column.is_(None)], after


def _one_way(column: InstrumentedAttribute[Any], down: bool, nulls_last: bool) -> Any:
    clause = column.desc() if down else column.asc()
    return clause.nulls_last() if nulls_last else clause


def written(row: Any, order: Order, asked: Asked) -> str:
    """The cursor that stands on a row."""
    values = [_plain(getattr(row, column.key)) for column, _ in order]
    return str(_signer(asked).dumps([_list_asked_for(order, asked), *values, row.id]))


def read(text: str, order: Order, asked: Asked) -> Position | None:
    """The position that a cursor stands on, None for the start; 422 for one of another list, filter or order."""
    if text == START:
        return None
    try:
        asked_for, *values, key = _signer(asked).loads(text)
    except BadData:
        raise _not_valid("This is no cursor of this library: begin with cursor=start.") from None
    if asked_for != _list_asked_for(order, asked):
        raise _not_valid("This cursor goes with another list: repeat its filters and its sort, or begin anew.")
    return *(_typed(value) for value in values), key


def _not_valid(sentence: str) -> Exception:
    return invalid({"cursor": [Fault(sentence, "cursor_not_valid")]}, "query")


def _signer(asked: Asked) -> URLSafeSerializer:
    signing = {"key_derivation": "hmac", "digest_method": hashlib.sha256}
    # The serializer signs with the last key.
    keys = [*reversed(secret_keys(asked.settings))]
    return URLSafeSerializer(keys, salt="cursor", signer_kwargs=signing)


def _list_asked_for(order: Order, asked: Asked) -> str:
    """What a cursor is tied to: the path, the filters and the order."""
    ways = [(column.key, down) for column, down in order]
    text = json.dumps([asked.path, sorted(asked.but(*OF_A_STEP, "sort")), ways])
    return hashlib.blake2b(text.encode(), digest_size=9).hexdigest()


def _plain(value: Any) -> Any:
    """A value of a row as JSON can hold it; a moment is a day too, and comes first."""
    if isinstance(value, datetime):
        return {"at": value.isoformat()}
    return {"on": value.isoformat()} if isinstance(value, date) else value


def _typed(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    ((kind, text),) = value.items()
    return (datetime if kind == "at" else date).fromisoformat(text)
