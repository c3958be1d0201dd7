"""Lists: a view returns a Select, this runs the page of it that was asked for."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

import marshmallow as ma
from flask import Response, current_app, request
from sqlalchemy import Select, func, select
from sqlalchemy.orm import InstrumentedAttribute

from library.api.plumbing.errors import invalid
from library.api.plumbing.fields import Fault, QueryWhole, SortBy
from library.api.plumbing.rendering import conditional, dump_json, private, tag_of
from library.api.plumbing.schemas import QuerySchema
from library.extensions import db

PAGE_SIZE, LARGEST_PAGE = 10, 100
Sorts = Mapping[str, InstrumentedAttribute[Any]]

HEADERS = {
    "X-Total-Count": {"description": "Number of all items.", "schema": {"type": "integer", "minimum": 0}},
    "X-Pagination": {
        "description": "The page as JSON text: total, total_pages, first_page, last_page, page, previous_page, "
        "next_page, total_is.",
        "schema": {"type": "string"},
    },
    "Link": {
        "description": "Addresses of the first, previous, next and last page (RFC 8288).",
        "schema": {"type": "string"},
    },
}


def page_schema(sorts: Sorts) -> type[QuerySchema]:
    """The parameters that every list has: page, page_size (per_page), sort."""

    class PageQuerySchema(QuerySchema):
        page = QueryWhole(1, load_default=1, metadata={"description": "Number of the page, from 1."})
        page_size = QueryWhole(1, LARGEST_PAGE, metadata={"description": "Items on a page.", "default": PAGE_SIZE})
        per_page = QueryWhole(1, LARGEST_PAGE, metadata={"description": "Another name of page_size."})
        if sorts:
            sort = SortBy(sorts, metadata={"description": "Order: names parted by commas, `-` turns one round."})

        @ma.validates_schema
        def _one_size(self, data: dict[str, Any], **_: Any) -> None:
            if "page_size" in data and "per_page" in data:
                raise ma.ValidationError(Fault("Name page_size or per_page, not both.", "conflict"), "per_page")

    return PageQuerySchema


def listed(statement: Select[Any], schema: ma.Schema, page_query: type[QuerySchema], sorts: Sorts) -> Response:
    """Run one page of a statement and answer it with total, links and tag.

    The primary key ends every order, so that pages neither overlap nor skip.
    """
    try:
        asked = page_query().load(request.args.to_dict())
    except ma.ValidationError as error:
        raise invalid(error.messages, "query") from error
    page, size = asked["page"], asked.get("page_size") or asked.get("per_page") or PAGE_SIZE
    if page * size > current_app.config["DEEPEST_ROW"]:
        fault = Fault("This page lies too deep: narrow the list.", "page_too_deep")
        raise invalid({"page": [fault]}, "query")
    noun = statement.column_descriptions[0]["entity"]
    if asked.get("sort"):
        statement = statement.order_by(None).order_by(*(_ordered(sorts[name], down) for name, down in asked["sort"]))
    # The key of all rows is counted, not the rows.
    keys = statement.with_only_columns(noun.id, maintain_column_froms=True).order_by(None)
    total = db.session.scalar(select(func.count()).select_from(keys.subquery())) or 0
    rows = []
    if (page - 1) * size < total:
        paged = statement.order_by(noun.id).limit(size).offset((page - 1) * size)
        rows = list(db.session.scalars(paged).unique())
    body = dump_json(schema.dump(rows, many=True))
    response = Response(body, content_type="application/json")
    private(response)
    response.headers["ETag"] = f'"{tag_of(body)}"'
    response.headers["X-Total-Count"] = str(total)
    _link(response, page, size, total)
    return conditional(response)


def _ordered(column: InstrumentedAttribute[Any], down: bool) -> Any:
    """The order by a column, what has no value last on every database."""
    order = column.desc() if down else column.asc()
    return order.nulls_last() if column.nullable else order


def _link(response: Response, page: int, size: int, total: int) -> None:
    pages = -(-total // size)
    meta: dict[str, Any] = {"total": total, "total_pages": pages, "total_is": "exact"}
    links = {}
    if pages:
        meta |= {"first_page": 1, "last_page": pages}
        links["first"] = 1
        if page <= pages:
            meta["page"] = page
            if page > 1:
                meta["previous_page"] = links["prev"] = page - 1
            if page < pages:
                meta["next_page"] = links["next"] = page + 1
        if pages * size <= current_app.config["DEEPEST_ROW"]:
            links["last"] = pages
    response.headers["X-Pagination"] = dump_json(meta).decode()
    others = [
        (key, value) for key, value in request.args.items(multi=True) if key not in ("page", "page_size", "per_page")
    ]
    parts = [
        f'<{request.path}?{urlencode([*others, ("page", number), ("page_size", size)])}>; rel="{relation}"'
        for relation, number in links.items()
    ]
    if parts:
        response.headers["Link"] = ", ".join(parts)
