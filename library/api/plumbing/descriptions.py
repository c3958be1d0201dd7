"""Descriptions of members: what a schema or a column says, and for the rest what the name and the kind tell."""

import inspect
from typing import Any

import marshmallow as ma

from library.api.plumbing.fields import Choice, Id, ListOf


def described_as(field: Any, said: str | None) -> str | None:
    """What the document says of a member of a schema; `said` is what the schema says itself."""
    return said or _of_column(field) or _of_kind(field)


def _of_column(field: Any) -> str | None:
    """What the column of the noun says that the schema is about."""
    noun = getattr(field.parent, "noun", None)
    column = None if noun is None else noun.__table__.columns.get(field.attribute or field.name)
    return None if column is None else column.doc


def _of_kind(field: Any) -> str | None:
    if field.name == "id":
        return "Key of the record."
    if isinstance(field, Id):
        return f"Key of the {str(field.name).removesuffix('_id').replace('_', ' ')}."
    if isinstance(field, Choice):
        return _first_line(field.values)
    if isinstance(field, ListOf) and isinstance(field.inner, Choice):
        return _first_line(field.inner.values)
    nested = field.inner if isinstance(field, ma.fields.List) else field
    return _first_line(type(nested.schema)) if isinstance(nested, ma.fields.Nested) else None


def _first_line(kind: type) -> str:
    return (inspect.getdoc(kind) or "").partition("\n")[0]
