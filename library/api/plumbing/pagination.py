"""Lists: a view returns a Select, this runs the page of it that was asked for, or the next step of a walk."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any
from urllib.parse import quote_plus

import marshmallow as ma
from flask import Response, current_app, g
from sqlalchemy import Select
from sqlalchemy.orm import InstrumentedAttribute

from library.api.plumbing import cursors, expansion
from library.api.plumbing.asking import Asked, asked_here
from library.api.plumbing.errors import invalid
from library.api.plumbing.fields import Choices, Fault, QueryWhole, SortBy
from library.api.plumbing.reading import NotPlain, Reader
from library.api.plumbing.rendering import Shown, conditional, dump_json, in_json, tag_of, written
from library.api.plumbing.schemas import QuerySchema
from library.api.plumbing.sources import Source
from library.api.plumbing.sql_json import Rendering
from library.api.plumbing.texts import Text

PAGE_SIZE, LARGEST_PAGE = 10, 100
LONGEST_CURSOR = 4000
Sorts = Mapping[str, InstrumentedAttribute[Any]]

HEADERS = {
    "X-Total-Count": {
        "description": "Number of all items, where it is exact; absent where there are more than are counted, and on "
        "a walk.",
        "schema": {"type": "integer", "minimum": 0},
        "example": 42,
    },
    "X-Pagination": {
        "description": "The page as JSON text: total, total_is (`exact`, or `at_least` where there are more than are "
        "counted), page, and where they are known total_pages, first_page, last_page, previous_page, next_page; absent "
        "on a walk.",
        "schema": {"type": "string"},
        "example": '{"total":42,"total_is":"exact","page":1,"next_page":2}',
    },
    "X-Next-Cursor": {
        "description": "On a walk: the cursor of the next step; absent at the end.",
        "schema": {"type": "string"},
        "example": "WyI0ZjAyYTciLDEwXQ.hVfW8o4mXo2mJc0rJbYdM7r0Q1c",
    },
    "Link": {
        "description": "Addresses of the first, previous, next and last page, or of the next step of a walk "
        "(RFC 8288); the last page only where its number is known and not too deep.",
        "schema": {"type": "string"},
        "example": '</books?page=2&page_size=10>; rel="next"',
    },
}


class PageNumber(QueryWhole):
    """The number of a page; how deep one may look is a setting."""

    def document(self) -> dict[str, Any]:
        # No default, here and of the size: clients that send defaults could never name a cursor or `per_page`.
        return {"minimum": 1, "maximum": current_app.config["DEEPEST_ROW"]}


def page_schema(
    sorts: Sorts, usual: str | None = None, ranked: bool = False, places: expansion.Places | None = None
) -> type[QuerySchema]:
    """The parameters that every list has: page, page_size (per_page), cursor, sort, and expand where it can be."""
    otherwise = f"by `{usual}`" if usual else "by key"
    pages = "by relevance where `q` is given, else by key" if ranked else otherwise
    order = f"Order: names parted by commas, or the parameter repeated; `-` turns one round. If absent: {pages}."

    class PageQuerySchema(QuerySchema):
        page = PageNumber(
            1,
            metadata={
                "description": "Number of the page, from 1, which is meant if absent; one past the end is empty."
            },
        )
        page_size = QueryWhole(1, LARGEST_PAGE, metadata={"description": f"Items on a page, {PAGE_SIZE} if absent."})
        per_page = QueryWhole(1, LARGEST_PAGE, metadata={"description": "Another name of page_size; not both."})
        cursor = Text(
            LONGEST_CURSOR,
            metadata={
                "description": "Instead of `page`, a walk of any length through all items, at the same cost at any "
                "depth: begin with `start`, go on with `X-Next-Cursor` and the same filters and sort. Nothing comes "
                "twice, and nothing that stands throughout is missed. Without `sort` it goes "
                f"{otherwise}{', with `q` too' if ranked else ''}.",
                "example": cursors.START,
            },
        )
        if sorts:
            sort = SortBy(sorts, metadata={"description": order})
        if places:
            expand = Choices(list(places), metadata={"description": expansion.DESCRIPTION})

        @ma.validates_schema
        def _one_way(self, data: dict[str, Any], **_: Any) -> None:
            for name, other in (("page_size", "per_page"), ("page", "cursor")):
                if name in data and other in data:
                    raise ma.ValidationError(Fault(f"Name {name} or {other}, not both.", "conflict"), other)

    return PageQuerySchema


class Listing:
    """How one operation lists: the shape of its items, its sorts, its usual order and what can be expanded.

    `ranked`: without a sort the view itself orders pages, by relevance.
    """

    def __init__(self, schema: type[ma.Schema], sorts: Sorts, usual: str | None = None, ranked: bool = False) -> None:
        self.shape, self.sorts, self.usual = Shown(schema(many=True)), sorts, usual
        self.schema = self.shape.schema
        self.places = expansion.places_of(schema)
        self.query = page_schema(sorts, usual, ranked, self.places)
        self._asks = self.query()

    def answer(self, statement: Select[Any]) -> Response:
        """The page, or the step of a walk, that was asked for, with its links and its tag."""
        asked = asked_here()
        wanted = expansion.asked(self._asks, asked.pairs)
        told = None if wanted.get("expand") or g.get("format") is not None else self.shape.in_sql
        rows, headers = self._rows(statement, asked, told)
        if told is None:
            shape = expansion.Expanding(self.schema, self.places, wanted.get("expand", ()))
            response = written(rows, shape.dump)
        else:
            response = in_json(_joined(rows))
        response.headers["ETag"] = f'"{tag_of(response.get_data())}"'
        response.headers.update(headers)
        return conditional(response)

    def rendered(self, statement: Select[Any], asked: Asked, reader: Reader) -> tuple[bytes, Mapping[str, str]]:
        """The same as bytes and headers, as the database renders it to a reader; raises NotPlain where it cannot."""
        if self.shape.in_sql is None or expansion.asked(self._asks, asked.pairs).get("expand"):
            raise NotPlain
        rows, headers = self._rows(statement, asked, self.shape.in_sql, reader)
        return _joined(rows), headers

    def _rows(
        self, statement: Select[Any], asked: Asked, told: Rendering | None, reader: Reader | None = None
    ) -> tuple[list[Any], Mapping[str, str]]:
        wanted = expansion.asked(self._asks, asked.pairs)
        size = wanted.get("page_size") or wanted.get("per_page") or PAGE_SIZE
        named = wanted.get("sort") or ([(self.usual, False)] if self.usual else [])
        order = [(self.sorts[name], down) for name, down in named]
        source = Source(statement, order, self.shape.prepared, told, asked, reader)
        if "cursor" in wanted:
            return _step(source, wanted["cursor"], size)
        return _page(source, wanted.get("page", 1), size)


def _joined(rows: list[Any]) -> bytes:
    return f"[{','.join(row.rendered for row in rows)}]".encode()


def _step(source: Source, cursor: str, size: int) -> tuple[list[Any], Mapping[str, str]]:
    """The next rows of a walk, and where it goes on."""
    found = source.after(cursors.read(cursor, source.order, source.asked), size + 1)
    rows = found[:size]
    if len(found) == len(rows):
        return rows, {}
    onward = cursors.written(rows[-1], source.order, source.asked)
    return rows, {"X-Next-Cursor": onward, "Link": _links(source.asked.place, {"next": ("cursor", onward)}, size)}


def _page(source: Source, page: int, size: int) -> tuple[list[Any], Mapping[str, str]]:
    """One page, and where it lies among the others."""
    deepest = source.reach(source.asked.settings["DEEPEST_ROW"])
    if page * size > deepest:
        fault = Fault("This page lies too deep: narrow the list, or walk it with cursor=start.", "page_too_deep")
        raise invalid({"page": [fault]}, "query")
    rows, total = source.page(size, (page - 1) * size, deepest + 1)
    # Behind the last page that anybody may turn to, a walk in the same order goes on.
    goes_on = rows and page * size < total and (page + 1) * size > deepest and source.in_walking_order
    onward = cursors.written(rows[-1], source.order, source.asked) if goes_on else None
    return rows, _headers(source.asked.place, page, size, total, deepest, onward)


@lru_cache(maxsize=1000)
def _headers(place: str, page: int, size: int, total: int, deepest: int, onward: str | None) -> Mapping[str, str]:
    """Where a page lies, in words of the headers; who turns pages, or comes back, is told the same again."""
    exact = total <= deepest
    pages = -(-total // size)
    reachable = min(pages, deepest // size)
    numbers = {
        "first": 1 if total else 0,
        "prev": min(page - 1, reachable),
        "next": page + 1 if page < reachable else 0,
        "last": pages if exact and pages == reachable else 0,
    }
    links: dict[str, tuple[str, Any]]
    links = {relation: ("page", number) for relation, number in numbers.items() if number}
    if onward is not None:
        links["next"] = "cursor", onward
    meta: dict[str, Any] = {"total": total, "total_is": "exact" if exact else "at_least", "page": page}
    if exact:
        meta["total_pages"] = pages
    names = {"first": "first_page", "prev": "previous_page", "next": "next_page"}
    meta |= {name: numbers[relation] for relation, name in names.items() if numbers[relation]}
    if numbers["last"]:
        meta["last_page"] = pages
    headers = {"X-Pagination": dump_json(meta).decode()}
    if exact:
        headers["X-Total-Count"] = str(total)
    if links:
        headers["Link"] = _links(place, links, size)
    return headers


def _links(place: str, relations: Mapping[str, tuple[str, Any]], size: int) -> str:
    """The addresses of other parts of a list, which begin alike."""
    return ", ".join(
        f'<{place}{name}={quote_plus(str(where))}&page_size={size}>; rel="{relation}"'
        for relation, (name, where) in relations.items()
    )
