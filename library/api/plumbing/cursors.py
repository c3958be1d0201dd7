"""Cursors: where a walk through a list stands, as a signed text, and which rows come next."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from datetime import date, datetime
from typing import Any

from flask import current_app, request
from itsdangerous import BadData, URLSafeSerializer
from sqlalchemy import ColumnElement, Select, select, union_all
from sqlalchemy.orm import InstrumentedAttribute

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
    """The clauses of an order: what has no value stands last on every database, the key decides at the end."""
    return [*(_one_way(column, down, column.nullable) for column, down in order), key]


def key_of(statement: Select[Any], noun: type[Base]) -> Any:
    """The column that a walk by key goes along: the noun's own, or the equal one that the statement is found by."""
    return statement.get_execution_options().get("walked_by", noun.id)


def rows_after(statement: Select[Any], noun: type[Base], order: Order, position: Position | None, most: int) -> Any:
    """The statement narrowed to the next rows after a position, None for the first ones.

    What comes after a position falls into a few stretches, such as "the same year and a higher key", "a later year",
    "no year". Each of them alone is a range of an index, and gives its first rows without counting up to them; one
    condition that covers all of them would be worked off row by row from the beginning.
    """
    key = key_of(statement, noun)
    bare = statement.with_only_columns(key.label("id"), maintain_column_froms=True).order_by(None)
    found = [
        bare.where(*conditions).order_by(*clauses).limit(most).subquery()
        for conditions, clauses in _stretches(order, key, position)
    ]
    keys = union_all(*(select(stretch.c.id) for stretch in found)).subquery()
    narrowed = statement.where(noun.id.in_(select(keys.c.id)))
    return narrowed.order_by(None).order_by(*in_order(order, noun.id)).limit(most)


def _stretches(
    order: Order, key: Any, position: Position | None
) -> Iterator[tuple[list[ColumnElement[bool]], list[Any]]]:
    """Conditions and order of every stretch that lies after the position."""
    if not order:
        yield [] if position is None else [key > position[0]], [key]
        return
    (column, down), *rest = order
    beyond = [_one_way(column, down, nulls_last=False), *in_order(rest, key)]
    if position is None:
        if not column.nullable:
            yield [], beyond
            return
        yield [column.is_not(None)], beyond
        yield [column.is_(None)], in_order(rest, key)
        return
    value, *further = position
    same = column.is_(None) if value is None else column == value
    for conditions, clauses in _stretches(rest, key, tuple(further)):
        yield [same, *conditions], clauses
    if value is not None:
        yield [column < value if down else column > value], beyond
        if column.nullable:
            yield [column.is_(None)], in_order(rest, key)


def _one_way(column: InstrumentedAttribute[Any], down: bool, nulls_last: bool) -> Any:
    clause = column.desc() if down else column.asc()
    return clause.nulls_last() if nulls_last else clause


def written(row: Any, order: Order) -> str:
    """The cursor that stands on a row."""
    values = [_plain(getattr(row, column.key)) for column, _ in order]
    return str(_signer().dumps([_list_asked_for(order), *values, row.id]))


def read(text: str, order: Order) -> Position | None:
    """The position that a cursor stands on, None for the start; 422 for one of another list, filter or order."""
    if text == START:
        return None
    try:
        asked_for, *values, key = _signer().loads(text)
    except BadData:
        raise _not_valid("This is no cursor of this library: begin with cursor=start.") from None
    if asked_for != _list_asked_for(order):
        raise _not_valid("This cursor goes with another list: repeat its filters and its sort, or begin anew.")
    return *(_typed(value) for value in values), key


def _not_valid(sentence: str) -> Exception:
    return invalid({"cursor": [Fault(sentence, "cursor_not_valid")]}, "query")


def _signer() -> URLSafeSerializer:
    signing = {"key_derivation": "hmac", "digest_method": hashlib.sha256}
    # The serializer signs with the last key.
    keys = [*reversed(secret_keys(current_app.config))]
    return URLSafeSerializer(keys, salt="cursor", signer_kwargs=signing)


def _list_asked_for(order: Order) -> str:
    """What a cursor is tied to: the path, the filters and the order."""
    filters = sorted(pair for pair in request.args.items(multi=True) if pair[0] not in (*OF_A_STEP, "sort"))
    asked = [request.path, filters, [(column.key, down) for column, down in order]]
    return hashlib.blake2b(json.dumps(asked).encode(), digest_size=9).hexdigest()


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
