"""Schemas in SQL: one expression that renders a row to JSON as its schema dumps it, on both databases.

The schema stays the only source. What cannot be put in SQL raises NotInSql, which says why, and is loaded and dumped.
"""

import re
from collections.abc import Iterator
from functools import reduce
from typing import Any

import marshmallow as ma
from sqlalchemy import Boolean, Date, Enum, Integer, Select, String, Text, cast, inspect, literal_column, select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.hybrid import HybridExtensionType
from sqlalchemy.orm import MANYTOONE, RelationshipProperty, aliased
from sqlalchemy.sql import operators
from sqlalchemy.sql.util import ClauseAdapter

from library.api.plumbing.expansion import Expanded
from library.api.plumbing.fields import Choice, MomentField
from library.api.plumbing.json_functions import Flag, Item, Items, MomentText, Object
from library.api.plumbing.references import Ref
from library.models import Base, Moment, Versioned

# A function of SQLite takes 100 arguments at least, two for each member.
MOST_MEMBERS = 50
_PLAIN_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,62}\Z")
# How a field writes a value, and the columns whose values SQL writes the same way.
_WRITTEN_ALIKE: dict[Any, tuple[type, ...]] = {
    ma.fields.String._serialize: (String,),
    Choice._serialize: (Enum,),
    ma.fields.Integer._serialize: (Integer,),
    ma.fields.Boolean._serialize: (Boolean,),
    ma.fields.Date._serialize: (Date,),
    MomentField._serialize: (Moment,),
}


class NotInSql(Exception):
    """A schema cannot be put in SQL: why, beginning with the schema or its member."""


class Rendering:
    """How rows of `table` are rendered by the database: as a text that holds what the schema dumps."""

    def __init__(self, table: type[Base], schema: ma.Schema) -> None:
        self.table = table
        self._row = _Row(table)
        members = self._row.members(schema, ())
        self.text = cast(Object(*members), Text).label("rendered")
        self.version = table.version if issubclass(table, Versioned) else literal_column("0").label("version")

    def select(self, *columns: Any) -> Select[Any]:
        """The texts of all rows, as `rendered`, and columns of theirs."""
        return self._row.joined_to(select(self.text, *columns))

    def of(self, statement: Select[Any], *columns: Any) -> Select[Any]:
        """The same for the rows of a statement over the table."""
        return self._row.joined_to(statement.with_only_columns(self.text, *columns, maintain_column_froms=True))


def rendering_of(schema: ma.Schema) -> Rendering:
    """The rendering of a schema over a table; raises NotInSql."""
    table = getattr(schema.Meta, "model", None)
    if table is None:
        raise NotInSql(f"{type(schema).__name__} shows no row of one table")
    return Rendering(table, schema)


class _Row:
    """A row that is rendered, and the rows that paths lead to from it, each joined once."""

    def __init__(self, entity: Any) -> None:
        self.entity = entity
        self._joined: dict[str, tuple[Any, Any]] = {}

    def joined_to(self, statement: Select[Any]) -> Select[Any]:
        """A statement over the row and what is joined to it."""
        return reduce(lambda so_far, way: so_far.join(*way), self._joined.values(), statement.select_from(self.entity))

    def members(self, schema: ma.Schema, outer: tuple[type, ...]) -> Iterator[Any]:
        """Name and value of every member, in the order of the schema; `outer` are the schemas it stands in."""
        _require_plain(schema, outer)
        shown = {name: field for name, field in schema.dump_fields.items() if not isinstance(field, Expanded)}
        if len(shown) > MOST_MEMBERS:
            raise NotInSql(f"{type(schema).__name__} has more than {MOST_MEMBERS} members")
        for name, field in shown.items():
            key = name if field.data_key is None else field.data_key
            where = f"{type(schema).__name__}.{key}"
            if not _PLAIN_NAME.match(key):
                raise NotInSql(f"{where} is no plain name")
            try:
                value = self._value(name, field, (*outer, type(schema)))
            except NotInSql as reason:
                raise NotInSql(f"{where} {reason}" if str(reason)[0].islower() else str(reason)) from None
            yield literal_column(f"'{key}'")
            yield value

    def _value(self, name: str, field: ma.fields.Field[Any], outer: tuple[type, ...]) -> Any:
        if type(field).serialize is not ma.fields.Field.serialize:
            raise NotInSql("writes itself in Python")
        if type(field).get_value is Ref.get_value:
            path = name
        elif type(field).get_value is ma.fields.Field.get_value:
            path = field.attribute or name
        else:
            raise NotInSql("finds its value in Python")
        *way, last = path.split(".")
        entity = self._entity_at(way)
        nested, many = _nested(field)
        if nested is not None:
            return _relation(entity, last, nested, many, outer)
        return _leaf(field, _column(entity, last))

    def _entity_at(self, way: list[str]) -> Any:
        """The row that a path of relationships leads to; where it may lead nowhere, the member may be absent."""
        entity = self.entity
        for depth, name in enumerate(way, 1):
            path = ".".join(way[:depth])
            relation = _relationship(entity, name)
            if relation.direction is not MANYTOONE or any(column.nullable for column in relation.local_columns):
                raise NotInSql(f"goes by {path}, which may lead nowhere")
            if path not in self._joined:
                other = aliased(relation.mapper.class_)
                self._joined[path] = other, getattr(entity, name).of_type(other)
            entity = self._joined[path][0]
        return entity


def _require_plain(schema: ma.Schema, outer: tuple[type, ...]) -> None:
    """Nothing is done in Python before or after the members are written."""
    name = type(schema).__name__
    if type(schema) in outer:
        raise NotInSql(f"{name} holds itself")
    hooks = [hook for tag in ("pre_dump", "post_dump") for hook in schema._hooks[tag]]
    if hooks:
        raise NotInSql(f"{name} is prepared in Python by {hooks[0][0]}")
    for method in ("dump", "_serialize", "get_attribute", "dict_class"):
        if getattr(type(schema), method) is not getattr(ma.Schema, method):
            raise NotInSql(f"{name} has its own {method}")


def _nested(field: ma.fields.Field[Any]) -> tuple[ma.Schema | None, bool]:
    """The schema of the records in a member, and whether it is a list of them."""
    if isinstance(field, ma.fields.List) and type(field)._serialize is ma.fields.List._serialize:
        inner, _ = _nested(field.inner)
        if inner is None:
            raise NotInSql("lists values of a column")
        return inner, True
    if isinstance(field, ma.fields.Nested):
        if type(field)._serialize is not ma.fields.Nested._serialize:
            raise NotInSql("writes itself in Python")
        return field.schema, bool(field.many or field.schema.many)
    return None, False


def _relation(entity: Any, name: str, schema: ma.Schema, many: bool, outer: tuple[type, ...]) -> Any:
    """The records behind a relationship, in its order."""
    relation = _relationship(entity, name)
    if many is not bool(relation.uselist):
        raise NotInSql("is a list of one thing, or one of a list")
    other = aliased(relation.mapper.class_)
    row = _Row(other)
    value = Object(*row.members(schema, outer)).label("item")
    ((here, there),) = relation.local_remote_pairs
    related = getattr(other, _key_of(relation.mapper, there)) == getattr(entity, _key_of(relation.parent, here))
    found = row.joined_to(select(value)).where(related).correlate(entity)
    if not many:
        return Item(found.limit(1).scalar_subquery())
    order = [ClauseAdapter(inspect(other).selectable).traverse(clause) for clause in relation.order_by or ()]
    return Items(found.order_by(*order, other.id).scalar_subquery())


def _relationship(entity: Any, name: str) -> RelationshipProperty[Any]:
    relation = inspect(entity).mapper.relationships.get(name)
    if relation is None:
        raise NotInSql("is kept in a column or made in Python, and no relation")
    # Any other condition than that the keys are equal would have to be carried over.
    if relation.secondary is not None or relation.primaryjoin.operator is not operators.eq:
        raise NotInSql("is related by more than a key")
    return relation


def _key_of(mapper: Any, column: Any) -> str:
    return str(mapper.get_property_by_column(column).key)


def _column(entity: Any, name: str) -> Any:
    """The column, or what is computed in SQL, under a name of the model."""
    mapper = inspect(entity).mapper
    if name in mapper.column_attrs:
        return getattr(entity, name)
    described = mapper.all_orm_descriptors.get(name)
    if described is None or described.extension_type is not HybridExtensionType.HYBRID_PROPERTY:
        raise NotInSql("is no column")
    try:
        return inspect(getattr(entity, name)).__clause_element__()
    except (SQLAlchemyError, TypeError, AttributeError):
        raise NotInSql("is computed in Python") from None


def _leaf(field: ma.fields.Field[Any], column: Any) -> Any:
    """One value as the field writes it; a field that has its own way may have one in SQL beside it, `in_sql`."""
    kind = type(field)
    if _origin(kind, "in_sql") is not None and _origin(kind, "in_sql") is _origin(kind, "_serialize"):
        column = field.in_sql(column)  # type: ignore[attr-defined]
    else:
        columns = _WRITTEN_ALIKE.get(kind._serialize)
        if columns is None:
            raise NotInSql("writes itself in Python")
        if not isinstance(column.type, columns) or _says_otherwise(field):
            raise NotInSql(f"is kept in a column of {type(column.type).__name__}, which SQL writes otherwise")
    if isinstance(column.type, Enum):
        members = list(column.type.enum_class or ())
        if not all(isinstance(member, str) for member in members) or column.type.enums != [*map(str, members)]:
            raise NotInSql("is no enumeration that is kept by its values")
    if isinstance(column.type, Boolean):
        return Flag(column)
    return MomentText(column) if isinstance(column.type, Moment) else column


def _origin(kind: type, name: str) -> type | None:
    """The class in which a field class finds a method."""
    return next((base for base in kind.__mro__ if name in vars(base)), None)


def _says_otherwise(field: Any) -> bool:
    """Whether an option of the field changes how it writes."""
    counts = getattr(field, "num_type", int) is int and not getattr(field, "as_string", False)
    return not counts or getattr(field, "format", None) not in (None, "iso")
