"""Expansion: the record behind a number, shown beside it where `expand` asks for it, one level deep."""

from collections.abc import Iterable, Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Any, NamedTuple

import marshmallow as ma
from flask import current_app, g
from sqlalchemy import select
from sqlalchemy.orm import raiseload

from library.api.plumbing.errors import invalid
from library.api.plumbing.fields import Choices, Nested
from library.api.plumbing.schemas import QuerySchema
from library.extensions import db
from library.models import Base
from library.rules import access

DESCRIPTION = "Records to show in full beside their numbers: names parted by commas, or the parameter repeated."


class Expanded(Nested):
    """The record whose number stands in the member of this name with `_id`.

    The member is there only where `expand` names it, and null where there is no such record or the actor may not see
    it. `parts` are options that load what the record is shown with; nothing, if absent. `optional`: an answer may lack
    the member.
    """

    optional = True

    def __init__(self, schema: type[ma.Schema], table: type[Base], parts: Iterable[Any] = (raiseload("*"),)) -> None:
        said = "Only with `expand`; null where there is none, or none that you may see."
        super().__init__(schema, dump_only=True, allow_none=True, metadata={"description": said})
        self.table, self.parts = table, tuple(parts)

    def get_value(self, obj: Any, attr: str, accessor: Any = None, default: Any = None) -> Any:
        return ma.missing

    def shown(self, keys: set[int]) -> dict[int, Any]:
        """The records of those keys that the actor may see, as they are shown, in one statement and their parts'."""
        if not keys or not _may_see(self.table):
            return {}
        statement = select(self.table).where(self.table.id.in_(keys)).options(*self.parts).order_by(self.table.id)
        # What was loaded for the list itself may lack parts.
        anew = access.named_beside(statement, self.table, g.actor).execution_options(populate_existing=True)
        rows = db.session.scalars(anew).unique().all()
        return {row.id: data for row, data in zip(rows, self.schema.dump(rows, many=True), strict=True)}


class Place(NamedTuple):
    """Where a schema can be expanded: the field, and the list inside the record that holds it, if it is in one."""

    field: Expanded
    within: str | None


Places = Mapping[str, Place]


def places_of(schema: type[ma.Schema]) -> dict[str, Place]:
    """What of a schema `expand` may name."""
    found = {}
    for name, field in schema().fields.items():
        inner = field.inner if isinstance(field, ma.fields.List) else None
        if isinstance(field, Expanded):
            found[name] = Place(field, None)
        elif isinstance(inner, ma.fields.Nested):
            parts = inner.schema.fields.items()
            found |= {part: Place(deep, name) for part, deep in parts if isinstance(deep, Expanded)}
    return found


def query_schema(places: Places) -> type[QuerySchema]:
    """The parameter of an operation that shows one record."""

    class ExpandQuerySchema(QuerySchema):
        expand = Choices(list(places), load_default=list, metadata={"description": DESCRIPTION})

    return ExpandQuerySchema


def asked(schema: ma.Schema, pairs: Iterable[tuple[str, str]]) -> Mapping[str, Any]:
    """What the parameters of a call say to a schema; lists of names may be written either way."""
    return _asked(schema, tuple(pair for pair in pairs if pair[0] in schema.fields))


@lru_cache(maxsize=1000)
def _asked(schema: ma.Schema, pairs: tuple[tuple[str, str], ...]) -> Mapping[str, Any]:
    # The same few words come with most calls; what they mean depends on nothing else.
    values: dict[str, str] = {}
    for name, value in pairs:
        several = name in values and isinstance(schema.fields.get(name), Choices)
        values[name] = f"{values[name]},{value}" if several else values.get(name, value)
    try:
        return MappingProxyType(schema.load(values))
    except ma.ValidationError as error:
        raise invalid(error.messages, "query") from error


class Expanding:
    """A schema that shows what was wanted beside the numbers; rows are loaded for it."""

    def __init__(self, schema: ma.Schema, places: Places, wanted: Iterable[str]) -> None:
        self.schema, self.places, self.wanted = schema, places, wanted

    def rendered(self, result: Any) -> None:
        """Never by the database."""

    def dump(self, result: Any) -> Any:
        """A record as it is shown, or a list of them, as the schema says."""
        data = self.schema.dump(result)
        for name in self.wanted:
            field, within = self.places[name]
            items = data if self.schema.many else [data]
            if within is not None:
                items = [part for item in items for part in item[within]]
            number = f"{name}_id"
            shown = field.shown({item[number] for item in items} - {None})
            for item in items:
                item[name] = shown.get(item[number])
        return data


def _may_see(table: type[Base]) -> bool:
    permission = access.SEEN_WITH[table]
    opened = permission in access.OPEN_CATALOGUE and current_app.config["PUBLIC_CATALOGUE"]
    return access.may(g.actor, permission) or opened
