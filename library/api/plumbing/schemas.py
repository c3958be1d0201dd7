"""Schemas: columns become our fields, one declaration gives the answer, the input and the patch."""

from copy import deepcopy
from typing import Any

import marshmallow as ma
from marshmallow_sqlalchemy import ModelConverter, SQLAlchemySchema, auto_field
from sqlalchemy import Boolean, Column, Date, Enum, Integer, String
from sqlalchemy import Text as LongText

from library.api.plumbing.fields import Choice, Day, Fault, Flag, MomentField, Whole
from library.api.plumbing.texts import Lines, Text
from library.models import Moment

LONGEST_TEXT = 10_000


class Converter(ModelConverter):
    """Which of our fields stands for which type of column, with the column's own length and nullness."""

    SQLA_TYPE_MAPPING = {
        Enum: lambda _converter, _type: Choice,
        LongText: Lines,
        String: Text,
        Integer: Whole,
        Boolean: Flag,
        Date: Day,
        Moment: MomentField,
    }

    def _add_column_kwargs(self, kwargs: dict[str, Any], column: Column[Any]) -> None:
        kwargs["allow_none"] = bool(column.nullable)
        kwargs["required"] = not column.nullable and column.default is None
        if column.primary_key:
            kwargs["low"] = 1
        if isinstance(column.type, Enum):
            kwargs["values"] = column.type.enum_class
        elif isinstance(column.type, String):
            kwargs["max_length"] = column.type.length or LONGEST_TEXT


class RequestSchema(ma.Schema):
    """What a client sends: unknown members are refused; `example` is shown in the document.

    `remarked`: whether the action may be done with remarks, which then stand in a header. `noun`: the table whose
    columns describe the members of their names. `members`: the least and the largest number of members it may have.
    """

    example: dict[str, Any] | None = None
    noun: Any = None
    remarked = False
    members: tuple[int, int] | None = None

    error_messages = {"type": Fault("This must be an object.", "invalid_type")}

    class Meta:
        unknown = ma.RAISE

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        known = ", ".join(self.load_fields)
        self.error_messages["unknown"] = Fault(f"This member is not known; known are: {known}.", "unknown_member")


class QuerySchema(ma.Schema):
    """Parameters of a list; unknown ones are refused by the gate, which knows them all."""

    example: dict[str, Any] | None = None

    class Meta:
        unknown = ma.EXCLUDE


class Always:
    """Names of the members that every answer of a schema has: all but those that only `expand` brings."""

    def __get__(self, _schema: Any, kind: Any) -> tuple[str, ...]:
        fields = kind._declared_fields.items()
        return tuple(field.data_key or name for name, field in fields if not getattr(field, "optional", False))


class Schema(SQLAlchemySchema):
    """What the API shows of a record; every member is always present, but for those that only `expand` brings.

    `input_of` and `patch_of` derive from it what may be written; `example` is the input's, `shown_example` has what an
    answer shows beside or instead.
    """

    always = Always()

    class Meta:
        model_converter = Converter


def shown(**kwargs: Any) -> Any:
    """A column that is shown and never written."""
    return auto_field(dump_only=True, **kwargs)


def lines(**kwargs: Any) -> Any:
    """A column whose text may have several lines."""
    return auto_field(field_class=Lines, **kwargs)


def _derived(schema: type[ma.Schema], suffix: str, required: bool) -> type[RequestSchema]:
    name = schema.__name__.removesuffix("Schema")
    members: dict[str, Any] = {}
    for key, field in schema().fields.items():
        if field.dump_only:
            continue
        copied = deepcopy(schema._declared_fields[key])
        copied.required = copied.required and required
        members[key] = copied
    example = getattr(schema, "example", None)
    if example is not None and not required:
        example = dict([next(iter(example.items()))])
    members |= {"__doc__": schema.__doc__, "example": example, "noun": getattr(schema.Meta, "model", None)}
    return type(f"{name}{suffix}Schema", (RequestSchema,), members)  # type: ignore[return-value]


def input_of(schema: type[ma.Schema]) -> type[RequestSchema]:
    """The schema of a POST or PUT: the members that may be written, required where the column needs them."""
    return _derived(schema, "Input", required=True)


def patch_of(schema: type[ma.Schema]) -> type[RequestSchema]:
    """The schema of a JSON merge patch (RFC 7396): the members that may be written, none required."""
    return _derived(schema, "Patch", required=False)


def defaults_of(schema: type[RequestSchema], model: type[Any]) -> dict[str, Any]:
    """What a PUT gives the members it does not name: the column's default, or nothing."""
    found = {}
    for name, field in schema().fields.items():
        column = model.__table__.columns.get(name)
        default = column.default if column is not None else None
        value = None if default is None else default.arg(None) if default.is_callable else default.arg
        if not field.required:
            found[field.attribute or name] = value
    return found
