"""Enumerations of the document: one named schema each, so that generated clients have one type of one name for it."""

import inspect
from enum import StrEnum
from typing import Any

from apispec import APISpec

from library.api.plumbing.fields import Choice

# Enumerations whose own name is that of an object: apispec refuses two schemas of one name.
_RENAMED = {"ClaimOutcome": "ClaimEnd", "DueStep": "DueStepKind", "Mark": "CopyMark"}
# What stays with the place: the named schema is the same everywhere.
_OF_THE_SCHEMA = ("type", "enum")


def named(spec: APISpec, field: Any, described: dict[str, Any]) -> dict[str, Any]:
    """Let a field of an enumeration refer to its schema; name the members of an order that goes both ways.

    What apispec says of the field stands in `described`: what moves into the schema is taken out there.
    """
    if isinstance(field, Choice) and "enum" in described:
        reference = {"$ref": f"#/components/schemas/{_registered(spec, field.values)}"}
        for key in _OF_THE_SCHEMA:
            del described[key]
        return {"anyOf": [reference, {"type": "null"}]} if field.allow_none else reference
    items = described.get("items", {})
    if any(str(word).startswith("-") for word in items.get("enum", ())):
        # No language lets a name begin with a minus.
        names = [f"{word[1:]}_descending" if word.startswith("-") else word for word in items["enum"]]
        return {"items": items | {"x-enum-varnames": names}}
    return {}


def _registered(spec: APISpec, values: type[StrEnum]) -> str:
    name = _RENAMED.get(values.__name__, values.__name__)
    known = spec.components.schemas.get(name)
    if known is None or known.get("enum") != list(values):
        described = {"type": "string", "enum": [member.value for member in values]}
        spec.components.schema(name, described | {"description": inspect.getdoc(values) or name})
    return name
