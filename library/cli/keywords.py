"""Schemas of the document as they are compared: which keyword breaks whom when it changes, and what a schema says."""

from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

Schema = Mapping[str, Any]
Pair = tuple[Schema, Schema]
NULL = "null"
CHOOSING = ("anyOf", "oneOf")


class Keyword(NamedTuple):
    """What a keyword of a schema breaks when it goes from an old value to a new one; None is absent."""

    breaks_request: Callable[[Any, Any], bool]
    breaks_answer: Callable[[Any, Any], bool]
    of_request: str = "has a narrower {}"
    of_answer: str = "has another {}"


def _never(_old: Any, _new: Any) -> bool:
    return False


def _raised(old: Any, new: Any) -> bool:
    return new is not None and (old is None or new > old)


def _lowered(old: Any, new: Any) -> bool:
    return new is not None and (old is None or new < old)


def _demanded(old: Any, new: Any) -> bool:
    return new not in (None, False) and new != old


def _replaced(old: Any, new: Any) -> bool:
    return old is not None and new != old


def _changed(old: Any, new: Any) -> bool:
    return new != old


def _fewer(old: Any, new: Any) -> bool:
    return new is not None and (old is None or any(word not in new for word in old))


def _more(old: Any, new: Any) -> bool:
    return _fewer(new, old)


KEYWORDS: Mapping[str, Keyword] = {
    **dict.fromkeys(("minimum", "minLength", "minItems", "minProperties"), Keyword(_raised, _never)),
    **dict.fromkeys(("maximum", "maxLength", "maxItems", "maxProperties"), Keyword(_lowered, _never)),
    "exclusiveMinimum": Keyword(_raised, _never),
    "exclusiveMaximum": Keyword(_lowered, _never),
    **dict.fromkeys(("pattern", "multipleOf", "uniqueItems"), Keyword(_demanded, _never)),
    "format": Keyword(_demanded, _changed),
    "enum": Keyword(_fewer, _more, "takes fewer words", "may be a word that it never was"),
    "default": Keyword(_replaced, _replaced, "has another {}"),
}
# Compared by a method each.
STRUCTURE = {"$ref", "type", "const", "properties", "required", "items", "additionalProperties"} | {
    "allOf",
    "anyOf",
    "oneOf",
}
# What is said to readers only.
SILENT = {"title", "summary", "description", "example", "examples", "deprecated", "externalDocs", "$comment"}
# How a parameter is written where the document does not say.
STYLES = {"query": "form", "cookie": "form", "path": "simple", "header": "simple"}


def component(document: Schema, kind: str) -> Schema:
    """The components of a kind, by name."""
    return document.get("components", {}).get(kind, {})


def part(pair: Pair, key: str, absent: Any = MappingProxyType({})) -> Any:
    """A part of both sides."""
    return pair[0].get(key, absent), pair[1].get(key, absent)


def resolved(document: Schema, described: Schema) -> Schema:
    """What a reference leads to, with what stands beside it."""
    while "$ref" in described:
        target: Any = document
        for step in described["$ref"].removeprefix("#/").split("/"):
            target = target.get(step.replace("~1", "/").replace("~0", "~"), {})
        described = {**target, **{key: value for key, value in described.items() if key != "$ref"}}
    return described


def unknown(pair: Pair, known: Iterable[str]) -> list[str]:
    """The keywords that differ, but for the known ones and those that are said to readers only."""
    keys = {key for key in pair[0].keys() | pair[1].keys() if not key.startswith("x-")} - SILENT - set(known)
    return sorted(key for key in keys if pair[0].get(key) != pair[1].get(key))


def beside(described: Schema, *keys: str) -> dict[str, Any]:
    """What a schema demands beside some keywords."""
    left_out = SILENT | set(keys)
    return {key: value for key, value in described.items() if key not in left_out and not key.startswith("x-")}


def flat(document: Schema, described: Schema) -> Schema:
    """The schema with what it refers to, and with all that `allOf` adds up."""
    own = beside(described, "$ref", "allOf")
    if "const" in own:
        own["enum"] = [own.pop("const")]
    pointed = [resolved(document, {"$ref": described["$ref"]})] if "$ref" in described else []
    merged: dict[str, Any] = {}
    for added in [*(flat(document, inner) for inner in (*pointed, *described.get("allOf", ()))), own]:
        merged = _both(merged, added)
    return merged


def _both(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    both = {**one, **other}
    if "required" in one and "required" in other:
        both["required"] = [*one["required"], *other["required"]]
    if "properties" in one and "properties" in other:
        both["properties"] = _each(one["properties"], other["properties"])
    return both | _each({"items": one["items"]}, {"items": other["items"]}) if "items" in one.keys() & other else both


def _each(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    return {**one, **other} | {key: {"allOf": [one[key], other[key]]} for key in one.keys() & other.keys()}


def choices(described: Schema) -> list[Schema]:
    """The alternatives of a schema, each with what all demand, but for null; itself, where it has none."""
    key = next((key for key in CHOOSING if key in described), None)
    common = beside(described, key or "")
    every = described[key] if key else [described]
    found = [{**choice, "type": _without_null(choice["type"])} if "type" in choice else choice for choice in every]
    if key is None:
        return found
    alternatives = [one for one in found if one.get("type") != []]
    return [{"allOf": [common, one]} if common.keys() & one.keys() else {**common, **one} for one in alternatives]


def _without_null(named: Any) -> Any:
    types = [name for name in (named if isinstance(named, list) else [named]) if name != NULL]
    return types[0] if len(types) == 1 else types


def kinds(document: Schema, described: Schema) -> set[str] | None:
    """The types a value may have; None for any."""
    described = flat(document, described)
    if "type" in described:
        named = described["type"]
        types = set(named) if isinstance(named, list) else {named}
        return types | {"integer"} if "number" in types else types
    key = next((key for key in CHOOSING if key in described), None)
    if key is None:
        return None
    found = [kinds(document, choice) for choice in described[key]]
    return None if None in found else set().union(*(kind or () for kind in found))


def ways_in(operation: Schema, document: Schema) -> list[set[str]]:
    """The ways to be let in, each a set of schemes; an empty set is anybody."""
    return [set(way) for way in operation.get("security", document.get("security", [])) or [{}]]


def writing(parameter: Schema) -> tuple[str, bool]:
    """How lists and objects are written in a parameter, also where the document does not say."""
    style = parameter.get("style", STYLES[parameter["in"]])
    return style, parameter.get("explode", style == "form")
