"""The blueprint of every resource: flask-smorest's, with our gate, rendering, paging and document."""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from datetime import date
from functools import cache, wraps
from typing import Any

import marshmallow as ma
from flask import g, request
from flask.views import MethodView
from flask_smorest import Blueprint as SmorestBlueprint
from flask_smorest.utils import resolve_schema_instance
from marshmallow_sqlalchemy import SQLAlchemySchema
from sqlalchemy.orm import Session
from sqlalchemy.sql import Select
from webargs.flaskparser import FlaskParser

from library.api.plumbing import answers, caching, document, expansion, gate, pagination, previews, rendering, uploads
from library.api.plumbing.auditing import made, trial_of
from library.api.plumbing.deprecation import Deprecation
from library.api.plumbing.errors import invalid
from library.api.plumbing.finding import found_first, key_in_path, keys_of_part
from library.api.plumbing.marks import View, mark, marks_of
from library.models import Base, User
from library.rules import access

# Marks that say nothing to the document.
_NOT_TOLD = {"passage", "answer", "shape", "listing", "body", "status", "kept"}


class Unmarked(Exception):
    """A view has no permission: the application does not start."""


class Unkeyable(Exception):
    """A view honours idempotency keys and begins by itself: the application does not start."""


_made: Callable[[type[ma.Schema]], ma.Schema] = cache(resolve_schema_instance)


class Parser(FlaskParser):
    """webargs, reading the body that the edge has parsed and answering in our form."""

    DEFAULT_UNKNOWN_BY_LOCATION = FlaskParser.DEFAULT_UNKNOWN_BY_LOCATION | {"files": None}

    def _get_schema(self, argmap: Any, req: Any) -> ma.Schema:
        return _made(argmap) if isinstance(argmap, type) else super()._get_schema(argmap, req)

    def load_json(self, req: Any, schema: Any) -> Any:
        return g.body.get()

    def load_files(self, req: Any, schema: Any) -> Any:
        return uploads.parts()

    def handle_error(self, error: ma.ValidationError, req: Any, schema: Any, **_: Any) -> Any:
        location, messages = next(iter(error.normalized_messages().items()))
        raise invalid(messages, location) from error


class Blueprint(SmorestBlueprint):
    """A resource: every view marked with a permission, documented, and reached only through the gate."""

    ARGUMENTS_PARSER = Parser()

    def __init__(self, name: str, singular: str, tag: str) -> None:
        super().__init__(name, name)
        self.singular, self.tag = singular, tag
        self._prepare_doc_cbks.append(answers.complete)

    def add_url_rule(  # type: ignore[override]
        self, rule: str, endpoint: str | None = None, view_func: Any = None, **options: Any
    ) -> None:
        """Put every method of the view behind the gate; raises Unmarked for one that has no permission.

        A previewed action gets its twin under `<rule>/preview`. The option `examples` names keys of the demo library,
        by their names in the path, with which the call can be tried.
        """
        examples = options.pop("examples", {})
        options["parameters"] = document.path_parameters(rule, examples)
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
            self.add_url_rule(f"{rule}/preview", view_func=twin, tags=options["tags"], examples=examples)

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
        marks["keyed"] = _honours_keys(marks["passage"], f"{method} {rule}")
        passage = replace(marks["passage"], keyed=marks["keyed"], trial=trial_of(marks))
        guarded = gate.guarded(view, passage, gate.known_of(marks))
        said = {key: value for key, value in marks.items() if key not in _NOT_TOLD}
        said["shows_record"] = isinstance(marks.get("answer"), SQLAlchemySchema)
        guarded._apidoc = deepcopy(getattr(view, "_apidoc", {})) | {"library": said}
        return guarded

    @staticmethod
    def allow(
        permission: str,
        own_transaction: bool = False,
        prepare: Callable[[], None] | None = None,
        limited: bool = True,
        keyed: bool = True,
        limit: str = "LIMIT_ANONYMOUS",
    ) -> Callable[[View], View]:
        """Who may call the view; see library/rules/access.py.

        `own_transaction`: the view begins by itself, for it has slow work to do outside. `prepare`: slow work done
        before the gate begins, for actors who have the permission. `limited`: whether a call counts. `keyed`: whether
        a POST honours idempotency keys; what answers a secret must not, for its answer would be kept. `limit`: the
        setting by which the calls of an address count that is not signed in.
        """
        passage = gate.Passage(permission, own_transaction, limited, prepare, keyed=keyed, limit=limit)
        return mark(permission=permission, limited=limited, passage=passage)

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
    def deprecated(since: date, sunset: date | None = None, instead: str | None = None) -> Callable[[View], View]:
        """The operation will go away: said in the document, and by headers on every answer of it, errors too.

        `sunset` is the last day, of UTC, on which it is there, `instead` the operationId to call from now on.
        """
        return mark(deprecation=Deprecation(since, sunset, instead))

    @staticmethod
    def operation(name: str) -> Callable[[View], View]:
        """An operationId that path and method do not give."""
        return mark(operation=name)

    def arguments(self, schema: Any, *, location: str = "json", **kwargs: Any) -> Any:  # type: ignore[override]
        """The schema of the body or of the query; what was loaded is the view's last argument."""
        inner = super().arguments(schema, location=location, **kwargs)

        def decorator(view: View) -> View:
            if location != "query":
                mark(body=resolve_schema_instance(schema))(view)
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

        A change of a versioned row wants `If-Match`, an action on it may have one; the row is then locked until the
        request ends. `first(session, key)` locks before that what stands before the row in the order of locks; there
        may be no such row.
        `version_of(session, row)` is the version that counts where the view is about something that hangs on the row.
        """
        return found_first(table, options, key_in_path, first, version_of)

    @staticmethod
    def finds_part(table: type[Base], *options: Any) -> Callable[[View], View]:
        """Like `finds`, for a row below another: `/users/1/blocks/2` is the block 2 if its `user_id` is 1, else 404."""
        return found_first(table, options, keys_of_part)

    @staticmethod
    def finds_me(view: View) -> View:
        """Hand the view the actor's own row, locked and held to `If-Match` like any other."""
        return found_first(User, (), lambda _: {"id": g.actor.id})(view)

    def response(  # type: ignore[override]
        self,
        status_code: int,
        schema: Any = None,
        *,
        location: str | None = None,
        expands: bool = False,
        cached: bool = False,
        **kwargs: Any,
    ) -> Any:
        """What the view answers; a row becomes JSON here, out of kept bytes where it is `cached`.

        `expands`: the call may ask for the records behind the numbers, where the schema has `Expanded` members.
        """
        documented = super().response(status_code, schema, **kwargs)
        instance = resolve_schema_instance(schema)
        shape = rendering.Shown(instance) if instance is not None else None
        places = expansion.places_of(type(instance)) if expands else {}
        query = expansion.query_schema(places)
        asks = query()

        def decorator(view: View) -> View:
            @wraps(view)
            def rendered(*args: Any, **kwargs: Any) -> Any:
                wanted = (
                    expansion.asked(asks, request.args.items(multi=True))["expand"]
                    if expands and "expand" in request.args
                    else ()
                )
                asked = expansion.Expanding(instance, places, wanted) if wanted else shape
                result = view(*args, **kwargs)
                made(result)
                response = rendering.respond(result, status_code, asked, location)
                if g.remarks:
                    response.headers["X-Remarks"] = ",".join(dict.fromkeys(remark.code for remark in g.remarks))
                return response

            wrapped = mark(answer=instance, shape=shape, status=status_code)(documented(rendered))
            wrapped = _asks(wrapped, query) if expands else wrapped
            return caching.kept(wrapped) if cached else wrapped

        return decorator

    def lists(
        self,
        schema: type[ma.Schema],
        sorts: pagination.Sorts,
        cached: bool = False,
        usual: str | None = None,
        ranked: bool = False,
    ) -> Any:
        """The view returns a Select; this answers the page or the step of a walk that was asked for.

        `cached`: out of kept bytes. `usual` is the sort of a call that names none, where it is not by key; `ranked`:
        the view itself orders pages then, by relevance.
        """
        listing = pagination.Listing(schema, sorts, usual, ranked)
        # Kept bytes are the same for all of a role: they must not hold what one actor sees and another does not.
        assert not (cached and listing.places)
        documented = super().response(200, listing.schema, headers=pagination.HEADERS)

        def decorator(view: View) -> View:
            @wraps(view)
            def paged(*args: Any, **kwargs: Any) -> Any:
                statement = view(*args, **kwargs)
                assert isinstance(statement, Select)
                return listing.answer(statement)

            wrapped = mark(listing=listing)(_asks(documented(paged), listing.query))
            return caching.kept(wrapped) if cached else wrapped

        return decorator


def _asks(view: View, query: type[ma.Schema]) -> View:
    """The view knows these parameters too."""
    parameters = view._apidoc.setdefault("arguments", {}).setdefault("parameters", [])  # type: ignore[attr-defined]
    parameters.append({"in": "query", "schema": query})
    return mark(query=(*marks_of(view).get("query", ()), query))(view)


def _honours_keys(passage: gate.Passage, call: str) -> bool:
    """Whether a call may be repeated under an idempotency key: it changes something, and somebody signed in made it."""
    changes = call.startswith("POST ") and passage.kept and passage.permission != access.ANYONE
    if changes and passage.keyed and passage.own_transaction:
        raise Unkeyable(f"{call} has a transaction of its own, which keeps no answer: prepare, or keyed=False")
    return changes and passage.keyed
