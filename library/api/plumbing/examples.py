"""Examples of the document: what a schema says of itself, and for the rest a likely value of each field's kind."""

from functools import cache
from typing import Any

import marshmallow as ma

from library.api.plumbing.fields import Choice, Whole
from library.api.plumbing.problem import ProblemErrorSchema
from library.api.plumbing.schemas import QuerySchema, RequestSchema

A_MOMENT, A_DAY = "2026-05-04T09:30:00.000000Z", "2026-05-04"
# What stands for a text of which no schema gives an example; tests/test_contract.py lets none into the document.
UNTOLD = "…"


def example_of(schema: ma.Schema) -> Any:
    """An example of what the schema takes or shows; a list of one where it shows many."""
    one = example_of_kind(type(schema))
    return [one] if schema.many else one


@cache
def example_of_kind(kind: type[ma.Schema]) -> dict[str, Any]:
    """An example of one object of a schema.

    What is sent is shown as `example` has it, or with the members that are required or have an example. An answer has
    every member that it always has: out of `example` and `shown_example`, or likely ones.
    """
    if issubclass(kind, RequestSchema | QuerySchema):
        if kind.example is not None:  # type: ignore[union-attr]
            return kind.example  # type: ignore[union-attr]
        fields = kind().load_fields
        wanted = {name for name, field in fields.items() if field.required or "example" in field.metadata}
        return {fields[name].data_key or name: _likely(fields[name]) for name in fields if name in wanted}
    fields = kind().dump_fields
    said = {**(getattr(kind, "example", None) or {}), **(getattr(kind, "shown_example", None) or {})}
    always = getattr(kind, "always", [field.data_key or name for name, field in fields.items()])
    return {
        field.data_key or name: said[name] if name in said else _likely(field)
        for name, field in fields.items()
        if name in said or (field.data_key or name) in always
    }


def _likely(field: Any) -> Any:
    if "example" in field.metadata:
        return field.metadata["example"]
    if isinstance(field, ma.fields.Nested):
        return example_of(field.schema)
    if isinstance(field, ma.fields.List):
        # Reasons of a refusal: most calls have none.
        inner = getattr(field.inner, "nested", None)
        return [] if inner is ProblemErrorSchema else [_likely(field.inner)]
    if field.allow_none:
        return None
    if isinstance(field, Choice):
        return next(iter(field.values)).value
    return _of_kind(field)


def _of_kind(field: Any) -> Any:
    if isinstance(field, Whole):
        return min(max(field.low, 1), field.high)
    kinds: dict[type[ma.fields.Field[Any]], Any] = {
        ma.fields.Boolean: True,
        # A day is a moment to marshmallow: the narrower kind comes first.
        ma.fields.Date: A_DAY,
        ma.fields.DateTime: A_MOMENT,
        ma.fields.Integer: 1,
        ma.fields.Dict: {},
    }
    for kind, value in kinds.items():
        if isinstance(field, kind):
            return value
    return next(iter(field.metadata.get("enum", ())), UNTOLD)
