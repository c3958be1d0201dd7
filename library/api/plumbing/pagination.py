"""Lists: a view returns a Select, this runs the page of it that was asked for, or the next step of a walk."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

import marshmallow as ma
from flask import Response, current_app, request
from sqlalchemy import Select, func, select
from sqlalchemy.orm import InstrumentedAttribute

from library.api.plumbing import cursors, expansion
from library.api.plumbing.errors import invalid
from library.api.plumbing.fields import Choices, Fault, QueryWhole, SortBy
from library.api.plumbing.rendering import conditional, dump_json, tag_of, written
from library.api.plumbing.schemas import QuerySchema
from library.api.plumbing.texts import Text
from library.extensions import db

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
    """How one operation lists: the schema of its items, its sorts, its usual order and what can be expanded.

    `ranked`: without a sort the view itself orders pages, by relevance.
    """

    def __init__(self, schema: type[ma.Schema], sorts: Sorts, usual: str | None = None, ranked: bool = False) -> None:
        self.schema, self.sorts, self.usual = schema(many=True), sorts, usual
        self.places = expansion.places_of(schema)
        self.query = page_schema(sorts, usual, ranked, self.places)
        self._asks = self.query()

    def answer(self, statement: Select[Any]) -> Response:
        """The page, or the step of a walk, that was asked for, with its links and its tag."""
        asked = expansion.asked(self._asks)
        size = asked.get("page_size") or asked.get("per_page") or PAGE_SIZE
        named = asked.get("sort") or ([(self.usual, False)] if self.usual else [])
        order = [(self.sorts[name], down) for name, down in named]
        if "cursor" in asked:
            rows, headers = _step(statement, order, asked["cursor"], size)
        else:
            rows, headers = _page(statement, order, asked.get("page", 1), size)
        shape = expansion.Expanding(self.schema, self.places, asked.get("expand", ()))
        response = written(rows, shape.dump)
        response.headers["ETag"] = f'"{tag_of(response.get_data())}"'
        response.headers.update(headers)
        return conditional(response)


def _step(statement: Select[Any], order: cursors.Order, cursor: str, size: int) -> tuple[list[Any], dict[str, str]]:
    """The next rows of a walk, and where it goes on."""
    noun = statement.column_descriptions[0]["entity"]
    position = cursors.read(cursor, order)
    found = db.session.scalars(cursors.rows_after(statement, noun, order, position, size + 1)).unique().all()
    rows = list(found[:size])
    if len(found) == len(rows):
        return rows, {}
    onward = cursors.written(rows[-1], order)
    return rows, {"X-Next-Cursor": onward, "Link": _links({"next": [("cursor", onward)]}, size)}


def _page(statement: Select[Any], order: cursors.Order, page: int, size: int) -> tuple[list[Any], dict[str, str]]:
    """One page, and where it lies among the others."""
    deepest = current_app.config["DEEPEST_ROW"]
    if page * size > deepest:
        fault = Fault("This page lies too deep: narrow the list, or walk it with cursor=start.", "page_too_deep")
        raise invalid({"page": [fault]}, "query")
    noun = statement.column_descriptions[0]["entity"]
    in_walking_order = bool(order) or not statement._order_by_clauses
    # Keys are counted, not rows, and no further than anybody may turn pages.
    keys = statement.with_only_columns(noun.id, maintain_column_froms=True).order_by(None).limit(deepest + 1)
    total = db.session.scalar(select(func.count()).select_from(keys.subquery())) or 0
    rows = []
    if (page - 1) * size < total:
        if order:
            statement = statement.order_by(None).order_by(*cursors.in_order(order, noun.id))
        else:
            statement = statement.order_by(noun.id)
        rows = list(db.session.scalars(statement.limit(size).offset((page - 1) * size)).unique())
    # Behind the last page that anybody may turn to, a walk in the same order goes on.
    goes_on = rows and page * size < total and (page + 1) * size > deepest and in_walking_order
    onward = cursors.written(rows[-1], order) if goes_on else None
    return rows, _headers(page, size, total, deepest, onward)


def _headers(page: int, size: int, total: int, deepest: int, onward: str | None) -> dict[str, str]:
    exact = total <= deepest
    pages = -(-total // size)
    reachable = min(pages, deepest // size)
    numbers = {
        "first": 1 if total else 0,
        "prev": min(page - 1, reachable),
        "next": page + 1 if page < reachable else 0,
        "last": pages if exact and pages == reachable else 0,
    }
    links: dict[str, list[tuple[str, Any]]]
    links = {relation: [("page", number)] for relation, number in numbers.items() if number}
    if onward is not None:
        links["next"] = [("cursor", onward)]
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
        headers["Link"] = _links(links, size)
    return headers


def _links(relations: Mapping[str, list[tuple[str, Any]]], size: int) -> str:
    """The addresses of other parts of this list, its filters kept."""
    ours = ("page", "page_size", "per_page", "cursor")
    others = [(name, value) for name, value in request.args.items(multi=True) if name not in ours]
    return ", ".join(
        f'<{request.path}?{urlencode([*others, *where, ("page_size", size)])}>; rel="{relation}"'
        for relation, where in relations.items()
    )
