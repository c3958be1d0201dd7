"""Which changes of the API's document break clients: two documents are compared, each change is one sentence.

A request breaks where it must say more or may say less than before; an answer breaks where it has less than before, or
words and kinds of values that were never announced: generated clients refuse words they do not know. New operations,
parameters that may be left out, further members of answers, further errors and wider or narrower bounds of answers
break nobody.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

Schema = Mapping[str, Any]
METHODS = ("get", "put", "post", "patch", "delete")
# Bounds of a request, and whether a new value is the narrower one.
BOUNDS: Mapping[str, Callable[[Any, Any], bool]] = {
    **dict.fromkeys(("minimum", "minLength", "minItems"), lambda old, new: old is None or new > old),
    **dict.fromkeys(("maximum", "maxLength", "maxItems"), lambda old, new: old is None or new < old),
    **dict.fromkeys(("pattern", "format", "multipleOf"), lambda old, new: old != new),
}


@dataclass(frozen=True, order=True)
class Change:
    """A change that breaks clients: the operationId or the name of the schema, what changes there, and how."""

    where: str
    what: str
    how: str

    def __str__(self) -> str:
        return (
            f"`{self.where}`: `{self.what}` {self.how}." if self.what != self.where else f"`{self.where}` {self.how}."
        )


def breaking_changes(old: Schema, new: Schema) -> list[Change]:
    """All changes from the old document to the new one that break clients, each once."""
    return sorted(set(_Comparison(old, new).changes()))


class _Comparison:
    """Two documents side by side; a named schema is compared once for requests and once for answers."""

    def __init__(self, old: Schema, new: Schema) -> None:
        self.old, self.new = old, new
        self.seen: set[tuple[str, bool]] = set()

    def changes(self) -> Iterator[Change]:
        for path, methods in self.old["paths"].items():
            for method in [method for method in METHODS if method in methods]:
                now = self.new["paths"].get(path, {})
                name = methods[method].get("operationId", f"{method} {path}")
                if method not in now:
                    yield Change(name, name, f"({method.upper()} {path}) is gone")
                    continue
                shared: list[Schema] = [{"parameters": item.get("parameters", [])} for item in (methods, now)]
                yield from self._operation(name, (methods[method], now[method]), shared)

    def _operation(self, where: str, pair: tuple[Schema, Schema], shared: list[Schema]) -> Iterator[Change]:
        old, new = pair
        if new.get("operationId") != old.get("operationId"):
            yield Change(where, where, f"is now called `{new.get('operationId')}`")
        befores, afters = (_alternatives(side, document) for side, document in ((old, self.old), (new, self.new)))
        if any(not any(after <= before for after in afters) for before in befores):
            yield Change(where, "security", "is stricter")
        yield from self._parameters(where, self._named(self.old, old, shared[0]), self._named(self.new, new, shared[1]))
        yield from self._body(where, old.get("requestBody"), new.get("requestBody"))
        for status, answer in old.get("responses", {}).items():
            if status in new.get("responses", {}):
                yield from self._answer(where, status, answer, new["responses"][status])
            elif status[0] in "23":
                yield Change(where, status, "is no longer answered")

    def _named(self, document: Schema, *holders: Schema) -> dict[tuple[str, str], Schema]:
        found = [_resolved(document, item) for holder in holders for item in holder.get("parameters", [])]
        return {(item["in"], item["name"]): item for item in found}

    def _parameters(self, where: str, old: Mapping[Any, Schema], new: Mapping[Any, Schema]) -> Iterator[Change]:
        for key, parameter in old.items():
            if key not in new:
                yield Change(where, key[1], f"is no longer a {key[0]} parameter")
            else:
                yield from self._schema(where, key[1], parameter.get("schema", {}), new[key].get("schema", {}), True)
        for key, parameter in new.items():
            if parameter.get("required") and not old.get(key, {}).get("required"):
                yield Change(where, key[1], f"is now a {key[0]} parameter that is required")

    def _body(self, where: str, old: Schema | None, new: Schema | None) -> Iterator[Change]:
        old, new = _resolved(self.old, old or {}), _resolved(self.new, new or {})
        if new.get("required") and not old.get("required"):
            yield Change(where, "requestBody", "is now required")
        yield from self._content(where, old, new, in_request=True)

    def _answer(self, where: str, status: str, old: Schema, new: Schema) -> Iterator[Change]:
        old, new = _resolved(self.old, old), _resolved(self.new, new)
        for header in old.get("headers", {}).keys() - new.get("headers", {}).keys() if status[0] == "2" else ():
            yield Change(where, header, f"is no longer a header of {status}")
        yield from self._content(where, old, new, in_request=False)

    def _content(self, where: str, old: Schema, new: Schema, in_request: bool) -> Iterator[Change]:
        for media_type, described in old.get("content", {}).items():
            if media_type not in new.get("content", {}):
                yield Change(where, media_type, f"is no longer {'taken' if in_request else 'answered'}")
                continue
            after = new["content"][media_type].get("schema", {})
            what = "requestBody" if in_request else "answer"
            yield from self._schema(where, what, described.get("schema", {}), after, in_request)

    def _schema(self, where: str, what: str, old: Schema, new: Schema, in_request: bool) -> Iterator[Change]:
        """What breaks from one schema to another; `where` turns into the name of a schema that both refer to."""
        if "$ref" in old and old.get("$ref") == new.get("$ref"):
            name = old["$ref"].rsplit("/", 1)[-1]
            if (name, in_request) not in self.seen:
                self.seen.add((name, in_request))
                target = {"$ref": old["$ref"]}
                before, after = _resolved(self.old, target), _resolved(self.new, target)
                yield from self._schema(name, name, before, after, in_request)
            old, new = ({key: value for key, value in side.items() if key != "$ref"} for side in (old, new))
        old, new = _resolved(self.old, old), _resolved(self.new, new)
        compare = partial(Change, where, what)
        kinds = _kinds(self.old, old), _kinds(self.new, new)
        given, taken = kinds if in_request else kinds[::-1]
        if taken is not None and (given is None or given - taken):
            yield compare("takes fewer kinds of values" if in_request else "may be of another kind")
        words, known = (old.get("enum"), new.get("enum")) if in_request else (new.get("enum"), old.get("enum"))
        if known is not None and (words is None or any(word not in known for word in words)):
            yield compare("takes fewer words" if in_request else "may be a word that it never was")
        if not in_request and new.get("format") != old.get("format"):
            yield compare("has another format")
        for bound, narrower in BOUNDS.items() if in_request else ():
            if bound in new and narrower(old.get(bound), new[bound]):
                yield compare(f"has a narrower {bound}")
        yield from self._members(where, what, old, new, in_request)

    def _members(self, where: str, what: str, old: Schema, new: Schema, in_request: bool) -> Iterator[Change]:
        befores, afters = old.get("properties", {}), new.get("properties", {})
        required = set(old.get("required", ())), set(new.get("required", ()))
        for name in befores.keys() - afters.keys():
            yield Change(where, name, "is no longer taken" if in_request else "is no longer answered")
        for name in required[1] - required[0] if in_request else ():
            yield Change(where, name, "is now required")
        for name in (required[0] - required[1]) & afters.keys() if not in_request else ():
            yield Change(where, name, "is no longer always answered")
        for name in befores.keys() & afters.keys():
            yield from self._schema(where, name, befores[name], afters[name], in_request)
        if "items" in old and "items" in new:
            yield from self._schema(where, what, old["items"], new["items"], in_request)
        for before, after in zip(_choices(old), _choices(new), strict=False):
            yield from self._schema(where, what, before, after, in_request)


def _resolved(document: Schema, described: Schema) -> Schema:
    """What a reference leads to, with what stands beside it."""
    while "$ref" in described:
        target: Any = document
        for part in described["$ref"].removeprefix("#/").split("/"):
            target = target.get(part.replace("~1", "/").replace("~0", "~"), {})
        described = {**target, **{key: value for key, value in described.items() if key != "$ref"}}
    return described


def _choices(described: Schema) -> list[Schema]:
    """The alternatives of a schema, but for null."""
    return [choice for choice in described.get("anyOf", described.get("oneOf", ())) if choice != {"type": "null"}]


def _kinds(document: Schema, described: Schema) -> set[str] | None:
    """The types a value may have; None for any."""
    if "type" in described:
        named = described["type"]
        types = set(named) if isinstance(named, list) else {named}
        return types | {"integer"} if "number" in types else types
    choices = described.get("anyOf", described.get("oneOf"))
    if choices is None:
        return None
    kinds = [_kinds(document, _resolved(document, choice)) for choice in choices]
    return None if None in kinds else set().union(*(kind or () for kind in kinds))


def _alternatives(operation: Schema, document: Schema) -> list[set[str]]:
    """The ways to be let in, each a set of schemes; an empty set is anybody."""
    return [set(way) for way in operation.get("security", document.get("security", [])) or [{}]]
