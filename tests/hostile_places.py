"""Every place of a document where a caller may put something: parameters, headers, members of bodies, parts of uploads.

Each place knows which kinds of hostile values are meant for it, and those just outside what its schema allows.
"""

import json
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from hostile import CORPUS, Kind, Value, said, token

# What every call may carry, whether or not its operation speaks of it.
HEADERS = ("Authorization", "Accept", "Content-Type", "Content-Encoding", "Sandbox-Now", "X-Request-ID", "Origin")
HEADERS += ("X-Forwarded-For", "Forwarded", "Cookie", "Range", "If-Modified-Since", "Accept-Encoding", "Prefer")
# Where the whole body, the name of a member or of a parameter is what is replaced.
WHOLE, NAME = "(all of it)", "(a name)"
OF_FORMAT = {"date": Kind.DAY, "date-time": Kind.MOMENT, "email": Kind.WORD, "binary": Kind.BYTES}
OF_TYPE = {
    "integer": Kind.NUMBER,
    "number": Kind.NUMBER,
    "boolean": Kind.FLAG,
    "array": Kind.LIST,
    "object": Kind.OBJECT,
}
DEEPEST = 6
# They end what others need, so they come late, in this order.
ENDS = (
    "resolve_claim",
    "check_in",
    "declare_lost",
    "pay",
    "refund",
    "reverse",
    "cancel_hold",
    "mark_copy",
    "start_job",
)
ENDS += ("erase_user", "log_out")


@dataclass(frozen=True)
class Place:
    """One place of one operation; `route` leads through a body."""

    where: str
    name: str
    schema: Any = field(default=None, hash=False, compare=False)
    route: tuple[str | int, ...] = ()

    def __str__(self) -> str:
        return f"{self.where} {self.name}"


class Document:
    """The OpenAPI document, its references followed."""

    def __init__(self, document: dict[str, Any]) -> None:
        self.document = document

    def operations(self) -> Iterator[tuple[str, str, dict[str, Any]]]:
        """Method, path, operation: what makes things first, what takes them away last."""
        found = [
            (
                method,
                path,
                operation | {"parameters": [*methods.get("parameters", ()), *operation.get("parameters", ())]},
            )
            for path, methods in self.document["paths"].items()
            for method, operation in methods.items()
            if method != "parameters"
        ]
        return iter(sorted(found, key=lambda one: (_turn(one[0], one[2]["operationId"]), one[1])))

    def followed(self, schema: dict[str, Any]) -> dict[str, Any]:
        """What a reference refers to."""
        while "$ref" in schema:
            found: Any = self.document
            for part in schema["$ref"].removeprefix("#/").split("/"):
                found = found[part]
            schema = found
        return schema

    def body(self, operation: dict[str, Any]) -> tuple[str, dict[str, Any]] | None:
        """The media type of the body and its schema."""
        content = operation.get("requestBody", {}).get("content", {})
        return next(((name, self.followed(described["schema"])) for name, described in content.items()), None)

    def sample(self, schema: dict[str, Any]) -> Any:
        """Something that a schema allows, or nearly."""
        schema = self.followed(schema)
        for words in ("examples", "enum"):
            if schema.get(words):
                return schema[words][0]
        if "example" in schema:
            return schema["example"]
        for words in ("anyOf", "oneOf", "allOf"):
            if words in schema:
                return self.sample(schema[words][0])
        return {"object": {}, "array": [], "integer": 1, "boolean": True}.get(schema.get("type", ""), "x")

    def places(self, operation: dict[str, Any]) -> list[Place]:
        """Every place of an operation."""
        found = [self._parameter(described) for described in operation["parameters"]]
        named = {place.name for place in found}
        found += [Place("header", name, {"type": "string"}) for name in HEADERS if name not in named]
        found.append(Place("query", NAME, {"type": "string"}))
        if (body := self.body(operation)) is not None:
            media_type, schema = body
            where = "part" if media_type == "multipart/form-data" else "body"
            found += [Place(where, WHOLE, schema), Place(where, NAME, {"type": "string"}, (NAME,))]
            found += dict.fromkeys(self._members(where, schema, (), 0))
        return found

    def _parameter(self, described: dict[str, Any]) -> Place:
        described = self.followed(described)
        return Place(described["in"], described["name"], self.followed(described["schema"]))

    def _members(self, where: str, schema: dict[str, Any], route: tuple[str | int, ...], depth: int) -> Iterator[Place]:
        schema = self.followed(schema)
        if route:
            yield Place(where, "/".join(map(str, route)), schema, route)
        if depth == DEEPEST:
            return
        for words in ("anyOf", "oneOf", "allOf"):
            for branch in schema.get(words, ()):
                yield from self._members(where, branch, route, depth + 1)
        for name, inner in schema.get("properties", {}).items():
            yield from self._members(where, inner, (*route, name), depth + 1)
        if "items" in schema:
            yield from self._members(where, schema["items"], (*route, 0), depth + 1)

    def kinds(self, place: Place) -> set[Kind]:
        """Which kinds of values are meant for a place."""
        usual = {"path": {Kind.NUMBER, Kind.BYTES}, "header": {Kind.TEXT, Kind.WORD, Kind.BYTES}}
        return usual.get(place.where) or set(self._kinds(place.schema))

    def _kinds(self, schema: dict[str, Any]) -> Iterator[Kind]:
        schema = self.followed(schema)
        for words in ("anyOf", "oneOf", "allOf"):
            for branch in schema.get(words, ()):
                yield from self._kinds(branch)
        types = schema.get("type", [])
        for name in [types] if isinstance(types, str) else types:
            if name == "string":
                yield OF_FORMAT.get(schema.get("format", ""), Kind.WORD if "enum" in schema else Kind.TEXT)
            elif name in OF_TYPE:
                yield OF_TYPE[name]
        if "items" in schema:
            yield from self._kinds(schema["items"])

    def bounds(self, place: Place) -> list[Value]:
        """Values at and just beyond the bounds of a place's own schema."""
        schema, found = place.schema, list[Value]()
        for name, step in (("minimum", -1), ("maximum", 1)):
            if name in schema:
                edge = schema[name]
                found += token(Kind.NUMBER, f"{edge}", f"{edge + step}", f"{edge}.5", f"{edge}.0")
        if "maxLength" in schema:
            longest = min(schema["maxLength"], 20_000)
            texts = ("x" * longest, "x" * (longest + 1), "\U0001f600" * longest, "x" + "\u0301" * longest)
            found += said(Kind.TEXT, *texts, "x" * max(schema.get("minLength", 1) - 1, 0))
        if "maxItems" in schema:
            item = self.sample(schema["items"])
            lists = ([item] * (schema["maxItems"] + 1), [item, None], [item, item], [[item]])
            found += token(Kind.LIST, *map(json.dumps, lists))
        for word in schema.get("enum", ())[:1]:
            found += said(Kind.WORD, f"{word}".upper(), f"{word} ", f"{word}\0", f"{word},{word}")
        return found

    def values(self, place: Place, seed: str, most: int | None) -> list[Value]:
        """What is sent there: everything, or a seeded sample in which what is meant for the place prevails."""
        bounds, corpus = self.bounds(place), CORPUS
        if place.where == "path":
            # The first thing that the run makes: PostgreSQL counts on where an insertion was rolled back.
            bounds, corpus = ([value for value in values if value.address != b"1"] for values in (bounds, corpus))
        if place.where == "header":
            # With an end of line in it, it is another request.
            corpus = [value for value in corpus if not {*b"\r\n"} & {*value.text}]
        if most is None:
            return [*bounds, *corpus]
        dice, kinds = random.Random(seed), self.kinds(place)
        own = [value for value in corpus if value.kind in kinds]
        others = [value for value in corpus if value.kind not in kinds]
        chosen = dice.sample(bounds, min(len(bounds), most // 4))
        chosen += dice.sample(own, min(len(own), most // 2))
        return chosen + dice.sample(others, most - len(chosen))


def _turn(method: str, operation: str) -> tuple[int, int]:
    ordered = ("post", "get", "put", "patch", "", "delete")
    return (4, ENDS.index(operation)) if operation in ENDS else (ordered.index(method), 0)
