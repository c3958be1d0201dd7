"""A plain noun is a declaration: list, create, read, replace, patch and delete of one table, with all their manners."""

from collections.abc import Callable
from typing import Any

import marshmallow as ma
from flask.views import MethodView
from sqlalchemy import Select, select

from library.api.plumbing.blueprint import Blueprint
from library.api.plumbing.pagination import Sorts
from library.api.plumbing.schemas import QuerySchema, defaults_of, input_of, patch_of
from library.extensions import db
from library.models import Base
from library.rules import changes


def plain_noun(
    blp: Blueprint,
    table: type[Base],
    schema: type[ma.Schema],
    *,
    read: str,
    write: str,
    sorts: Sorts,
    query: type[QuerySchema] = QuerySchema,
    select_rows: Callable[..., Select[Any]] | None = None,
    save: Any = changes.save,
    remove: Any = changes.delete,
    replaces: bool = True,
    cached: bool = False,
) -> None:
    """Give `table` its six operations under `/<plural>` and `/<plural>/{<singular>_id}`.

    `select_rows` takes what `query` loaded and returns the Select of the list; `save(session, row, values)` and
    `remove(session, row)` are the rules obeyed. `read` and `write` are permissions. `replaces`: whether there is a PUT.
    """
    whole, part = input_of(schema), patch_of(schema)
    rows = select_rows or (lambda **_: select(table))
    noun, plural = blp.singular.replace("_", " "), blp.name.replace("-", " ")

    class Collection(MethodView):
        @blp.allow(read)
        @blp.arguments(query, location="query")
        @blp.lists(schema, sorts, cached)
        def get(self, filters: dict[str, Any]) -> Select[Any]:
            return rows(**filters)

        @blp.allow(write)
        @blp.obeys(save)
        @blp.arguments(whole)
        @blp.response(201, schema)
        def post(self, values: dict[str, Any]) -> Base:
            row = table()
            save(db.session, row, values)
            return row

    class One(MethodView):
        @blp.allow(read)
        @blp.finds(table)
        @blp.response(200, schema)
        def get(self, row: Base) -> Base:
            return row

        @blp.allow(write)
        @blp.finds(table)
        @blp.obeys(save)
        @blp.arguments(part)
        @blp.response(200, schema)
        def patch(self, row: Base, values: dict[str, Any]) -> Base:
            save(db.session, row, values)
            return row

        @blp.allow(write)
        @blp.finds(table)
        @blp.obeys(remove)
        @blp.response(204)
        def delete(self, row: Base) -> None:
            remove(db.session, row)

    if replaces:

        @blp.allow(write)
        @blp.finds(table)
        @blp.obeys(save)
        @blp.arguments(whole)
        @blp.response(200, schema)
        def put(self: Any, row: Base, values: dict[str, Any]) -> Base:
            save(db.session, row, defaults_of(whole, table) | values)
            return row

        One.put = put  # type: ignore[attr-defined]
        One.methods = {*(One.methods or ()), "PUT"}

    summaries = {
        Collection: {"get": f"List {plural}.", "post": f"Create a {noun}."},
        One: {
            "get": f"Read a {noun}.",
            "put": f"Replace a {noun}.",
            "patch": f"Change a {noun}.",
            "delete": f"Delete a {noun}.",
        },
    }
    for view, sentences in summaries.items():
        for method, sentence in sentences.items():
            if hasattr(view, method):
                getattr(view, method).__doc__ = sentence.replace(" a i", " an i").replace(" a a", " an a")
    blp.route(f"/{blp.name}")(Collection)
    blp.route(f"/{blp.name}/<id:{blp.singular}_id>")(One)
