"""The blueprint of every resource: flask-smorest's, with our gate, rendering, paging and document."""

from collections.abc import Callable
from copy import deepcopy
from functools import wraps
from typing import Any

import marshmallow as ma
from flask import g, request
from flask.views import MethodView
from flask_smorest import Blueprint as SmorestBlueprint
from flask_smorest.utils import resolve_schema_instance
from sqlalchemy import select
from sqlalchemy.sql import Select
from webargs.flaskparser import FlaskParser

from library.api.plumbing import caching, document, gate, pagination, rendering
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
        """Put every method of the view behind the gate; raises Unmarked for one that has no permission."""
        if isinstance(view_func, type(MethodView)):
            # flask-smorest does not hand the option on: an automatic OPTIONS would go round the gate.
            view_func.provide_automatic_options = False
            for method in view_func.methods or ():
                name = method.lower()
                setattr(view_func, name, self._behind_gate(getattr(view_func, name), rule, method))
        options["tags"] = options.get("tags") or [self.tag]
        super().add_url_rule(rule, endpoint, view_func, **options)

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
        said = {key: value for key, value in marks.items() if key != "passage"}
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
    def operation(name: str) -> Callable[[View], View]:
        """An operationId that path and method do not give."""
        return mark(operation=name)

    def arguments(self, schema: Any, *, location: str = "json", **kwargs: Any) -> Any:  # type: ignore[override]
        """The schema of the body or of the query; what was loaded is the view's last argument."""
        inner = super().arguments(schema, location=location, **kwargs)
        if location != "query":
            return inner

        def decorator(view: View) -> View:
            return mark(query=(*marks_of(view).get("query", ()), schema))(inner(view))

        return decorator

    @staticmethod
    def finds(table: type[Base], *options: Any) -> Callable[[View], View]:
        """Hand the view the row whose key stands in the path, if the actor may see it: else 404.

        A change of a versioned row wants `If-Match`; the row is then locked until the request ends.
        """
        return _found(table, options, lambda kwargs: kwargs.pop(next(iter(request.view_args or {}))))

    @staticmethod
    def finds_me(view: View) -> View:
        """Hand the view the actor's own row, locked and held to `If-Match` like any other."""
        return _found(User, (), lambda _: g.actor.id)(view)

    def response(self, status_code: int, schema: Any = None, *, location: str | None = None, **kwargs: Any) -> Any:  # type: ignore[override]
        """What the view answers; a Select or a row becomes JSON here."""
        documented = super().response(status_code, schema, **kwargs)
        instance = resolve_schema_instance(schema)

        def decorator(view: View) -> View:
            @wraps(view)
            def rendered(*args: Any, **kwargs: Any) -> Any:
                return rendering.respond(view(*args, **kwargs), status_code, instance, location)

            return documented(rendered)

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


def _found(table: type[Base], options: Any, key_of: Callable[[dict[str, Any]], int]) -> Callable[[View], View]:
    versioned = issubclass(table, Versioned)

    def decorator(view: View) -> View:
        @wraps(view)
        def found(self: Any, *args: Any, **kwargs: Any) -> Any:
            changes = request.method in _CHANGES
            row = find(table, key_of(kwargs), *options, lock=changes)
            if versioned and changes:
                rendering.require_match(row.version)
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


def find(table: type[Base], key: int, *options: Any, lock: bool = False) -> Any:
    """The row with that key, if the actor may see it; 404 for another's exactly as for none."""
    statement = access.visible(select(table).where(table.id == key).options(*options), table, g.actor)
    row = db.session.scalars(locks.lock_found(statement, table) if lock else statement).one_or_none()
    if row is None:
        raise Problem(404)
    return row
