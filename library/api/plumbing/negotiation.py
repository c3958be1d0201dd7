"""Which format an answer is in: JSON, or one of the others that a resource offers and the client asks for (Accept)."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import wraps
from typing import Any, Protocol

from flask import g, request

from library.api.plumbing.errors import Problem
from library.api.plumbing.marks import View, mark, marks_of
from library.extensions import db

JSON = "application/json"


class Writer(Protocol):
    """One format: its names, and how records become bytes."""

    @property
    def media_type(self) -> str: ...

    @property
    def content_type(self) -> str: ...

    @property
    def suffix(self) -> str: ...

    def write(self, records: Iterable[Any]) -> Iterator[bytes]: ...

    def one(self, record: Any) -> bytes: ...


@dataclass(frozen=True)
class Formats:
    """What a resource is answered in beside JSON: the writers by media type, and how rows become their records.

    `records_of(session, rows)` runs the same number of statements for any number of rows; `name` begins file names.
    """

    name: str
    writers: Mapping[str, Any]
    records_of: Callable[[Any, Sequence[Any]], Sequence[Any]]

    def media_types(self) -> list[str]:
        """Everything a client may ask for; JSON, the first, is what it gets without asking."""
        return [JSON, *self.writers]

    def chosen(self) -> "Chosen | None":
        """What the client likes best, None for JSON; raises Problem where it takes nothing of what there is."""
        media_type = preferred(request.headers.get("Accept", ""), self.media_types())
        if media_type is None:
            offered = ", ".join(self.media_types())
            raise Problem(406, f"This is answered in one of these formats: {offered}.")
        return None if media_type == JSON else Chosen(self, self.writers[media_type])


@dataclass(frozen=True)
class Chosen:
    """The format, other than JSON, of the answer at hand."""

    formats: Formats
    writer: Writer

    def body(self, shown: Any) -> bytes:
        """A row, or a list of rows, in this format."""
        many = isinstance(shown, list)
        records = self.formats.records_of(db.session, shown if many else [shown])
        return b"".join(self.writer.write(records)) if many else self.writer.one(records[0])

    def file_name(self, key: Any = None) -> str:
        """Under which name a browser keeps the answer: `books.mrc`, `books-7.mrc`."""
        return f"{self.formats.name}{'' if key is None else f'-{key}'}{self.writer.suffix}"


def speaks(formats: Formats) -> Callable[[View], View]:
    """The view's answer is negotiated; stands above `lists` and `response`, which write it."""

    def decorator(view: View) -> View:
        @wraps(view)
        def negotiated(*args: Any, **kwargs: Any) -> Any:
            g.negotiated, g.format = True, formats.chosen()
            return view(*args, **kwargs)

        failures = (*marks_of(view).get("failures", ()), 406)
        return mark(formats=formats.media_types(), failures=failures)(negotiated)

    return decorator


def preferred(accept: str, offered: Sequence[str]) -> str | None:
    """The offered media type that an Accept header likes best, None where it takes none (RFC 9110, 12.5.1).

    The most precise range that names a type gives its weight. Of equal weights the one that is named more precisely
    wins, then what is offered first. Parameters other than `q` are not told apart.
    """
    if not accept.strip():
        return offered[0]
    ranges = [_range(part) for part in accept.split(",") if part.strip()]
    best: tuple[float, int] = (0.0, 0)
    found = None
    for media_type in offered:
        weights = [
            (precision, weight)
            for precision, name in enumerate(("*/*", f"{media_type.partition('/')[0]}/*", media_type), 1)
            for wanted, weight in ranges
            if wanted == name
        ]
        precision, weight = max(weights, default=(0, 0.0))
        if weight and (weight, precision) > best:
            best, found = (weight, precision), media_type
    return found


def _range(part: str) -> tuple[str, float]:
    """A media range and its weight; what is no weight at all counts as 1."""
    name, *parameters = (piece.strip().lower() for piece in part.split(";"))
    for parameter in parameters:
        key, _, value = parameter.partition("=")
        if key.strip() == "q":
            try:
                return name, min(max(float(value), 0.0), 1.0)
            except ValueError:
                break
    return name, 1.0


def variant() -> str:
    """What tells the answer at hand from the others under the same address."""
    chosen = g.get("format")
    return chosen.writer.media_type if chosen else JSON
