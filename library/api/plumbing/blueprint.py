"""The blueprint of every resource: flask-smorest's, with our gate, rendering, paging and document."""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from functools import wraps
from typing import Any

import marshmallow as ma
from flask import g, request
from flask.views import MethodView
from flask_smorest import Blueprint as SmorestBlueprint
from flask_smorest.utils import resolve_schema_instance
from sqlalchemy import select
from sqlalchemy.orm import Session
from sqlalchemy.sql import Select
from webargs.flaskparser import FlaskParser

from library.api.plumbing import caching, document, gate, pagination, previews, rendering
from library.api.plumbing.errors import Problem, invalid
from library.extensions import db
from library.models import Base, User, Versioned
from library.rules import access, locks

View = Callable[..., Any]
_CHANGES = ("PUT", "PATCH", "DELETE")


class Unmarked(Exception):
    """A view has no permission: the application does not start."""


class Parser(FlaskParser):
    """webargs, reading the body that the edge has parsed and answering in our form."""

    def load_json(self, req: Any, schema: Any) -> Any:
        return g.body.get()

    def handle_error(self, error: ma.ValidationError, req: Any, schema: Any, **_: Any) -> Any:
        location, messages = next(iter(error.normalized_messages().items()))
        raise invalid(messages, location) from error


class Blueprint(SmorestBlueprint):
    """A resource: every view marked with a permission, documented, and reached only through the gate."""

    ARGUMENTS_PARSER = Parser()

    def __init__(self, name: str, singular: str, tag: str) -> None:
        super().__init__(name, name)
        self.singular, self.tag = singular, tag
        self._prepare_doc_cbks.append(document.complete)

    def add_url_rule(  # type: ignore[override]
        self, rule: str, endpoint: str | None = None, view_func: Any = None, **options: Any
    ) -> None:
        """Put every method of the view behind the gate; raises Unmarked for one that has no permission.

        A previewed action gets its twin under `<rule>/preview`.
        """
        twins: list[type[MethodView]] = []
        if isinstance(view_func, type(MethodView)):
            # flask-smorest does not hand the option on: an automatic OPTIONS would go round the gate.
            view_func.provide_automatic_options = False
            for method in view_func.methods or ():
                name = method.lower()
                view = getattr(view_func, name)
                setattr(view_func, name, self._behind_gate(view, rule, method))
                if "previewed" in marks_of(view):
                    twins.append(self._preview(view_func, view, rule, method))
        options["tags"] = options.get("tags") or [self.tag]
        super().add_url_rule(rule, endpoint, view_func, **options)
        for twin in twins:
            self.add_url_rule(f"{rule}/preview", view_func=twin, **options)

    def _preview(self, view_func: Any, act: View, rule: str, method: str) -> type[MethodView]:
        """The twin that shows what the action would do: the same function, permission, body and query."""
        marks = marks_of(act)
        passage, answer = marks["passage"], marks.get("answer")
        if method != "POST" or passage.own_transaction or answer is None:
            raise previews.Unpreviewable(f"{method} {rule} is no POST in the gate's transaction that answers a body")
        operation = marks.get("operation") or document.operation_id(self.name, self.singular, rule, method)
        show: Any = previews.shown(act)
        said = {key: value for key, value in marks.items() if key not in ("previewed", "refusals", "remarked")}
        show._marks = said | {"operation": f"preview_{operation}", "passage": replace(passage, kept=False)}
        show._apidoc = {key: value for key, value in show._apidoc.items() if key != "response"}
        described = previews.description_of(marks.get("refusals", ()))
        post = self.response(200, previews.schema_of(operation, answer), description=described)(show)
        return type(f"{view_func.__name__}Preview", (view_func,), {"methods": {method}, "post": post})

    def _behind_gate(self, view: View, rule: str, method: str) -> View:
        marks = marks_of(view)
        if "permission" not in marks:
            raise Unmarked(f"{method} {rule} says not with @blp.allow who may call it")
        marks.setdefault("operation", document.operation_id(self.name, self.singular, rule, method))
        query = {
            field.data_key or name: isinstance(field, ma.fields.List) and not hasattr(field, "delimiter")
            for schema in marks.get("query", ())
            for name, field in schema().fields.items()
        }
        guarded = gate.guarded(view, marks["passage"], query)
        said = {key: value for key, value in marks.items() if key not in ("passage", "answer")}
        guarded._apidoc = deepcopy(getattr(view, "_apidoc", {})) | {"library": said}
        return guarded

    @staticmethod
    def allow(
        permission: str,
        own_transaction: bool = False,
        prepare: Callable[[], None] | None = None,
        limited: bool = True,
    ) -> Callable[[View], View]:
        """Who may call the view; see library/rules/access.py.

        `own_transaction`: the view begins by itself, for it has slow work to do outside. `prepare`: slow work done
        before the gate begins, for callers whose token carries the permission. `limited`: whether a call counts.
        """
        return mark(
            permission=permission, limited=limited, passage=gate.Passage(permission, own_transaction, limited, prepare)
        )

    @staticmethod
    def obeys(*rules: Any) -> Callable[[View], View]:
        """The rules the view calls: their refusals are its 409."""
        refusals = tuple(dict.fromkeys(reason for rule in rules for reason in rule.refusals))
        return mark(refusals=refusals)

    @staticmethod
    def fails(*statuses: int) -> Callable[[View], View]:
        """Statuses of errors that the view answers by itself."""
        return mark(failures=statuses)

    @staticmethod
    def previewed(view: View) -> View:
        """The action may be tried: `POST <path>/preview` runs it, answers what would happen, and undoes it."""
        return mark(previewed=True)(view)

    @staticmethod
    def operation(name: str) -> Callable[[View], View]:
        """An operationId that path and method do not give."""
        return mark(operation=name)

    def arguments(self, schema: Any, *, location: str = "json", **kwargs: Any) -> Any:  # type: ignore[override]
        """The schema of the body or of the query; what was loaded is the view's last argument."""
        inner = super().arguments(schema, location=location, **kwargs)

        def decorator(view: View) -> View:
            if location == "query":
                return mark(query=(*marks_of(view).get("query", ()), schema))(inner(view))
            return mark(remarked=True)(inner(view)) if getattr(schema, "remarked", False) else inner(view)

        return decorator

    @staticmethod
    def finds(
        table: type[Base],
        *options: Any,
        first: Callable[[Session, int], None] | None = None,
        version_of: Callable[[Session, Any], int] | None = None,
    ) -> Callable[[View], View]:
        """Hand the view the row whose key stands in the path, if the actor may see it: else 404.

        A change of a versioned row wants `If-Match`; the row is then locked until the request ends. `first(session,
        key)` locks before that what stands before the row in the order of locks; there may be no such row.
        `version_of(session, row)` is the version that counts where the view is about something that hangs on the row.
        """
        return _found(table, options, _key_in_path, first, version_of)

    @staticmethod
    def finds_part(table: type[Base], *options: Any) -> Callable[[View], View]:
        """Like `finds`, for a row below another: `/users/1/blocks/2` is the block 2 if its `user_id` is 1, else 404."""
        return _found(table, options, _keys_of_part)

    @staticmethod
    def finds_me(view: View) -> View:
        """Hand the view the actor's own row, locked and held to `If-Match` like any other."""
        return _found(User, (), lambda _: {"id": g.actor.id})(view)

    def response(self, status_code: int, schema: Any = None, *, location: str | None = None, **kwargs: Any) -> Any:  # type: ignore[override]
        """What the view answers; a Select or a row becomes JSON here."""
        documented = super().response(status_code, schema, **kwargs)
        instance = resolve_schema_instance(schema)

        def decorator(view: View) -> View:
            @wraps(view)
            def rendered(*args: Any, **kwargs: Any) -> Any:
                response = rendering.respond(view(*args, **kwargs), status_code, instance, location)
                if g.remarks:
                    response.headers["X-Remarks"] = ",".join(dict.fromkeys(remark.code for remark in g.remarks))
                return response

            return mark(answer=instance)(documented(rendered))

        return decorator

    def lists(self, schema: type[ma.Schema], sorts: pagination.Sorts, cached: bool = False) -> Any:
        """The view returns a Select; this answers the page that was asked for, `cached` out of kept bytes."""
        page_query = pagination.page_schema(sorts)
        many = schema(many=True)
        documented = super().response(200, many, headers=pagination.HEADERS)

        def decorator(view: View) -> View:
            @wraps(view)
            def paged(*args: Any, **kwargs: Any) -> Any:
                statement = view(*args, **kwargs)
                assert isinstance(statement, Select)
                return pagination.listed(statement, many, page_query, sorts)

            wrapped = mark(query=(*marks_of(view).get("query", ()), page_query))(documented(paged))
            wrapped._apidoc.setdefault("arguments", {}).setdefault("parameters", []).append(  # type: ignore[attr-defined]
                {"in": "query", "schema": page_query}
            )
            return _kept(wrapped) if cached else wrapped

        return decorator


def _key_in_path(kwargs: dict[str, Any]) -> dict[str, int]:
    return {"id": kwargs.pop(next(iter(request.view_args or {})))}


def _keys_of_part(kwargs: dict[str, Any]) -> dict[str, int]:
    *outer, inner = request.view_args or {}
    return {"id": kwargs.pop(inner)} | {name: kwargs.pop(name) for name in outer}


def _found(
    table: type[Base],
    options: Any,
    keys_of: Callable[[dict[str, Any]], dict[str, int]],
    first: Any = None,
    version_of: Any = None,
) -> Callable[[View], View]:
    versioned = version_of is not None or issubclass(table, Versioned)

    def decorator(view: View) -> View:
        @wraps(view)
        def found(self: Any, *args: Any, **kwargs: Any) -> Any:
            changes = request.method in _CHANGES
            keys = keys_of(kwargs)
            if changes and first is not None:
                first(db.session, keys["id"])
            row = find(table, *options, lock=changes, **keys)
            if versioned and changes:
                rendering.require_match(version_of(db.session, row) if version_of else row.version)
            return view(self, row, *args, **kwargs)

        return mark(finds=table, versioned=versioned)(found)

    return decorator


def _kept(view: View) -> View:
    @wraps(view)
    def from_cache(*args: Any, **kwargs: Any) -> Any:
        key = caching.kept_key()
        response = caching.get(key) if key else None
        if response is None:
            response = view(*args, **kwargs)
            if key:
                caching.keep(key, response)
        return response

    return from_cache


def marks_of(view: View) -> dict[str, Any]:
    """What the decorators have said of a view so far."""
    return dict(getattr(view, "_marks", {}))


def mark(**marks: Any) -> Callable[[View], View]:
    """Say something of a view; `refusals` add up, anything else is replaced."""

    def decorator(view: View) -> View:
        known = marks_of(view)
        if "refusals" in marks:
            marks["refusals"] = tuple(dict.fromkeys((*known.get("refusals", ()), *marks["refusals"])))
        view._marks = known | marks  # type: ignore[attr-defined]
        return view

    return decorator


def find(table: type[Base], *options: Any, lock: bool = False, **keys: int) -> Any:
    """The row with those keys, if the actor may see it; 404 for another's exactly as for none."""
    statement = access.visible(select(table).filter_by(**keys).options(*options), table, g.actor)
    row = db.session.scalars(locks.lock_found(statement, table) if lock else statement).one_or_none()
    if row is None:
        raise Problem(404)
    return row
