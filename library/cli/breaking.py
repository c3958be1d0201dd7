"""Which changes of the API's document break clients: two documents are compared, each change is one sentence.

A request breaks where it must say more or may say less than before; an answer breaks where it has less than before, or
words and kinds of values that were never announced: generated clients refuse words they do not know. They also bear
the names of operations, tags and schemas. New operations, parameters that may be left out, further members of answers,
further errors and wider or narrower bounds of answers break nobody. What this module does not know counts as breaking.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from library.cli.keywords import (
    CHOOSING,
    KEYWORDS,
    NULL,
    STRUCTURE,
    Pair,
    Schema,
    beside,
    choices,
    component,
    flat,
    kinds,
    part,
    resolved,
    unknown,
    ways_in,
    writing,
)

METHODS = ("get", "put", "post", "patch", "delete", "head", "options", "trace")


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
    """Two documents side by side; two schemas that are referred to are compared once in each direction."""

    def __init__(self, old: Schema, new: Schema) -> None:
        self.old, self.new = old, new
        self.seen: set[tuple[str, str, str, str, bool]] = set()

    def changes(self) -> Iterator[Change]:
        befores, afters = (component(side, "securitySchemes") for side in (self.old, self.new))
        for name in befores.keys() & afters.keys():
            yield from _others(name, name, (befores[name], afters[name]))
        for path, methods in self.old["paths"].items():
            for method in [method for method in METHODS if method in methods]:
                now = self.new["paths"].get(path, {})
                name = methods[method].get("operationId", f"{method} {path}")
                if method not in now:
                    yield Change(name, name, f"({method.upper()} {path}) is gone")
                    continue
                shared: list[Schema] = [{"parameters": item.get("parameters", [])} for item in (methods, now)]
                yield from self._operation(name, (methods[method], now[method]), shared)

    def _operation(self, where: str, pair: Pair, shared: list[Schema]) -> Iterator[Change]:
        old, new = pair
        if new.get("operationId") != old.get("operationId"):
            yield Change(where, where, f"is now called `{new.get('operationId')}`")
        befores, afters = (ways_in(side, document) for side, document in ((old, self.old), (new, self.new)))
        if any(not any(after <= before for after in afters) for before in befores):
            yield Change(where, "security", "is stricter")
        yield from self._parameters(where, self._named(self.old, old, shared[0]), self._named(self.new, new, shared[1]))
        yield from self._body(where, old.get("requestBody"), new.get("requestBody"))
        befores, afters = old.get("responses", {}), new.get("responses", {})
        for status in [status for status in befores if status in afters]:
            yield from self._answer(where, status, befores[status], afters[status])
        for status in [status for status in befores if status not in afters and status[0] in "23"]:
            yield Change(where, status, "is no longer answered")
        for status in [status for status in afters if status not in befores and status[0] == "2"]:
            yield Change(where, status, "is now answered too")
        yield from _others(where, None, pair, {"operationId", "security", "parameters", "requestBody", "responses"})

    def _named(self, document: Schema, *holders: Schema) -> dict[tuple[str, str], Schema]:
        found = [resolved(document, item) for holder in holders for item in holder.get("parameters", [])]
        return {(item["in"], item["name"]): item for item in found}

    def _parameters(self, where: str, old: Mapping[Any, Schema], new: Mapping[Any, Schema]) -> Iterator[Change]:
        for key in old.keys() - new.keys():
            yield Change(where, key[1], f"is no longer a {key[0]} parameter")
        for key in old.keys() & new.keys():
            pair = old[key], new[key]
            if writing(old[key]) != writing(new[key]):
                yield Change(where, key[1], "is written another way (`style`, `explode`)")
            yield from self._schema(where, key[1], part(pair, "schema"), True)
            yield from _others(where, key[1], pair, {"in", "name", "required", "schema", "style", "explode"})
        for key, parameter in new.items():
            if parameter.get("required") and not old.get(key, {}).get("required"):
                yield Change(where, key[1], f"is now a {key[0]} parameter that is required")

    def _body(self, where: str, old: Schema | None, new: Schema | None) -> Iterator[Change]:
        pair = resolved(self.old, old or {}), resolved(self.new, new or {})
        if pair[1].get("required") and not pair[0].get("required"):
            yield Change(where, "requestBody", "is now required")
        yield from self._content(where, "requestBody", pair, in_request=True)

    def _answer(self, where: str, status: str, old: Schema, new: Schema) -> Iterator[Change]:
        pair = resolved(self.old, old), resolved(self.new, new)
        befores, afters = part(pair, "headers") if status[0] == "2" else ({}, {})
        for header in befores.keys() - afters.keys():
            yield Change(where, header, f"is no longer a header of {status}")
        for header in befores.keys() & afters.keys():
            described = resolved(self.old, befores[header]), resolved(self.new, afters[header])
            yield from self._schema(where, header, part(described, "schema"), False)
            yield from _others(where, header, described, {"schema"})
        yield from self._content(where, "answer", pair, in_request=False)

    def _content(self, where: str, what: str, pair: Pair, in_request: bool) -> Iterator[Change]:
        befores, afters = part(pair, "content")
        for media_type in befores.keys() - afters.keys():
            yield Change(where, media_type, f"is no longer {'taken' if in_request else 'answered'}")
        for media_type in befores.keys() & afters.keys():
            described = befores[media_type], afters[media_type]
            yield from self._schema(where, what, part(described, "schema"), in_request)
            yield from _others(where, media_type, described, {"schema"})

    def _schema(self, where: str, what: str, pair: Pair, in_request: bool) -> Iterator[Change]:
        """What breaks from one schema to another; `where` turns into the name of a schema that both refer to."""
        old, new = pair
        if any(key in side for key in CHOOSING for side in pair):
            yield from self._alternatives(where, what, pair, in_request)
            return
        if "$ref" in old and "$ref" in new:
            yield from self._references(where, what, (old["$ref"], new["$ref"]), in_request)
            if beside(old, "$ref") == beside(new, "$ref"):
                return
        elif "$ref" in old and (name := _name(old["$ref"])) not in component(self.new, "schemas"):
            yield Change(name, name, "is no longer a schema of its own")
        # What refers to itself must end.
        if any(key in side for key in ("$ref", "allOf") for side in pair) and not self._is_first(
            where, what, pair, in_request
        ):
            return
        before, after = flat(self.old, old), flat(self.new, new)
        if any(key in side for key in CHOOSING for side in (before, after)):
            yield from self._alternatives(where, what, (before, after), in_request)
        else:
            yield from self._values(where, what, (before, after), in_request)

    def _references(self, where: str, what: str, references: tuple[str, str], in_request: bool) -> Iterator[Change]:
        before, after = (_name(reference) for reference in references)
        if before != after and before in component(self.new, "schemas"):
            yield Change(where, what, f"is now a `{after}`, no longer a `{before}`")
        elif before != after:
            yield Change(before, before, f"is now called `{after}`")
        pair = {"$ref": references[0]}, {"$ref": references[1]}
        if self._is_first(before, before, pair, in_request):
            yield from self._schema(before, before, (flat(self.old, pair[0]), flat(self.new, pair[1])), in_request)

    def _is_first(self, where: str, what: str, pair: Pair, in_request: bool) -> bool:
        key = (where, what, str(pair[0]), str(pair[1]), in_request)
        is_first = key not in self.seen
        self.seen.add(key)
        return is_first

    def _alternatives(self, where: str, what: str, pair: Pair, in_request: bool) -> Iterator[Change]:
        """Each alternative that is given must be taken: by the one of its name, the only other, or one that it fits."""
        given, taken = self._kinds(pair, in_request)
        if taken is not None and NULL in (given or ()) and NULL not in taken:
            yield Change(where, what, "is no longer taken as null" if in_request else "may be null")
        befores, afters = choices(pair[0]), choices(pair[1])
        same = [(old, new) for old in befores for new in afters if beside(old) == beside(new)]
        for both in same:
            yield from self._schema(where, what, both, in_request)
        lefts = [old for old in befores if old not in [one for one, _ in same]]
        rights = [new for new in afters if new not in [one for _, one in same]]
        if len(lefts) == len(rights) == 1:
            yield from self._schema(where, what, (lefts[0], rights[0]), in_request)
            return
        for one in lefts if in_request else rights:
            others = [(one, new) for new in afters] if in_request else [(old, one) for old in befores]
            if not any(self._fit(where, what, both, in_request) for both in others):
                how = "is no longer taken in one of its alternatives" if in_request else "has a new alternative"
                yield Change(where, what, how)

    def _fit(self, where: str, what: str, pair: Pair, in_request: bool) -> bool:
        seen = set(self.seen)
        fits = not any(self._schema(where, what, pair, in_request))
        self.seen = seen
        return fits

    def _values(self, where: str, what: str, pair: Pair, in_request: bool) -> Iterator[Change]:
        """What breaks between two schemas that refer to nothing and have no alternatives."""
        given, taken = self._kinds(pair, in_request)
        if taken is not None and (given is None or given - taken):
            yield Change(where, what, "takes fewer kinds of values" if in_request else "may be of another kind")
        for name, keyword in KEYWORDS.items():
            breaks = keyword.breaks_request if in_request else keyword.breaks_answer
            if breaks(pair[0].get(name), pair[1].get(name)):
                sentence = keyword.of_request if in_request else keyword.of_answer
                yield Change(where, what, sentence.format(name))
        yield from _others(where, what, pair, STRUCTURE | KEYWORDS.keys())
        both = {kind for kind in ("object", "array") if all(one is None or kind in one for one in (given, taken))}
        if "object" in both:
            yield from self._members(where, part(pair, "properties"), part(pair, "required", ()), in_request)
        for kind, inner in (("array", "items"), ("object", "additionalProperties")):
            if kind in both and any(inner in side for side in pair):
                yield from self._inner(where, what, part(pair, inner), in_request)

    def _kinds(self, pair: Pair, in_request: bool) -> tuple[set[str] | None, set[str] | None]:
        """The types of what is given and of what is taken: clients give requests, and take answers."""
        old, new = kinds(self.old, pair[0]), kinds(self.new, pair[1])
        return (old, new) if in_request else (new, old)

    def _inner(self, where: str, what: str, pair: Any, in_request: bool) -> Iterator[Change]:
        """The items of an array, or the members without a name: absent and True are anything, False is nothing."""
        old, new = ({} if side is True else side for side in pair)
        if old is not False and new is not False:
            yield from self._schema(where, what, (old, new), in_request)
        elif in_request and old is not False:
            yield Change(where, what, "takes no further members")
        elif not in_request and old not in (False, {}):
            yield Change(where, what, "has no further members")

    def _members(self, where: str, properties: Pair, required: Any, in_request: bool) -> Iterator[Change]:
        befores, afters = properties
        needed = set(required[0]), set(required[1])
        for name in befores.keys() - afters.keys():
            yield Change(where, name, "is no longer taken" if in_request else "is no longer answered")
        for name in needed[1] - needed[0] if in_request else ():
            yield Change(where, name, "is now required")
        for name in (needed[0] - needed[1]) & afters.keys() if not in_request else ():
            yield Change(where, name, "is no longer always answered")
        for name in befores.keys() & afters.keys():
            yield from self._schema(where, name, (befores[name], afters[name]), in_request)


def _others(where: str, what: str | None, pair: Pair, known: Iterable[str] = ()) -> Iterator[Change]:
    """What differs and is not known here: whoever changed it must tell, or teach this module."""
    for key in unknown(pair, known):
        yield Change(where, what or key, f"has another {key}" if what else "has changed")


def _name(reference: str) -> str:
    return reference.rsplit("/", 1)[-1]
