"""Plain reads: views of which the database's rendering is the whole answer, known from the views themselves.

The row that a view finds and returns as it is, one's own account, a list of the catalogue. The fast path answers them.
"""

import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any, NamedTuple
from urllib.parse import parse_qsl

from flask import Flask, g
from flask.views import MethodView
from marshmallow import EXCLUDE, Schema, ValidationError
from sqlalchemy import bindparam, select
from webargs.multidictproxy import MultiDictProxy
from werkzeug.datastructures import MultiDict
from werkzeug.http import parse_etags

from library.api.plumbing import gate
from library.api.plumbing.asking import Asked
from library.api.plumbing.caching import Kept, kept_key
from library.api.plumbing.edge import LONGEST_QUERY, refuse_bad_encoding
from library.api.plumbing.errors import Problem
from library.api.plumbing.marks import marks_of
from library.api.plumbing.negotiation import JSON, preferred
from library.api.plumbing.pagination import Listing
from library.api.plumbing.reading import NotPlain, Reader, Statement
from library.api.plumbing.references import QueryRef
from library.api.plumbing.rendering import PRIVATE, tag_of, varies
from library.api.plumbing.sql_json import Rendering
from library.api.plumbing.tokens import Claims
from library.database import CATALOGUE, GENERATION
from library.models import Role, User
from library.rules import access, sessions

Headers = list[tuple[str, str]]
NOTHING: Mapping[str, str] = {}
LONGEST_ACCEPT = 200


class Actor(NamedTuple):
    """Who reads: what permissions are judged by."""

    id: int
    role: Role
    scopes: frozenset[str] | None = None


class Found(NamedTuple):
    """What is answered, before the headers that every answer has."""

    status: int
    headers: Headers
    body: bytes


@dataclass(frozen=True)
class Call:
    """A call of a plain read, as far as it is known before the database is asked."""

    environ: dict[str, Any]
    query: str
    key: int
    claims: Claims | None
    now: datetime

    @property
    def said(self) -> dict[str, Any]:
        """What the statement about the actor wants to know."""
        assert self.claims is not None
        claims = self.claims
        session = {"session_id": claims.session_id, "token_version": claims.token_version}
        return {"user_id": claims.user_id, "now": self.now} | session


class Read:
    """A view that is a plain read: who may call it, and how it is answered."""

    def __init__(self, path: str, marks: Mapping[str, Any]) -> None:
        self.path, self.passage = path, marks["passage"]
        self.permission: str = self.passage.permission
        self.offered = tuple(marks.get("formats", ()))

    def is_asked_plainly(self, call: Mapping[str, Any]) -> bool:
        """Whether JSON is wanted, and nothing that the query would change."""
        return not call.get("QUERY_STRING") and self._wants_json(call.get("HTTP_ACCEPT", ""))

    def answered(self, reader: Reader, call: Call) -> Found | None:
        """The answer; None where it is not this read's to give."""
        raise NotImplementedError

    def _wants_json(self, accept: str) -> bool:
        return not self.offered or not accept or _preferred(accept, self.offered) == JSON

    def _found(self, call: Call, row: Any) -> Found:
        """The answer that shows a row: its text and its version."""
        body = row[0].encode()
        headers = _shown(body, row[1], bool(self.offered))
        return _conditional(call, [*headers.items()], body, headers["ETag"])

    def _admitted(self, reader: Reader, call: Call, actor_of: Statement) -> bool:
        return access.may(_actor(reader, call, actor_of), self.permission)


class ReadOne(Read):
    """The row whose key stands in the path, shown as it is."""

    def __init__(self, path: str, marks: Mapping[str, Any], told: Rendering, engine: Any) -> None:
        super().__init__(path, marks)
        table = told.table
        self._actor = _statement_of_actor(engine)
        self._shown = Statement(told.of(select(table).where(table.id == bindparam("row_id")), told.version), engine)
        self.is_plain = self._shown.is_plain

    def answered(self, reader: Reader, call: Call) -> Found | None:
        if call.claims is not None and not self._admitted(reader, call, self._actor):
            return None
        row = reader.one(self._shown, row_id=call.key)
        return None if row is None else self._found(call, row)


class ReadMe(Read):
    """One's own account, which the database shows while it looks whether the token still holds."""

    def __init__(self, path: str, marks: Mapping[str, Any], told: Rendering, engine: Any) -> None:
        super().__init__(path, marks)
        self._shown = Statement(told.of(sessions.ACTOR, told.version, User.id, User.role), engine)

    def answered(self, reader: Reader, call: Call) -> Found | None:
        row = call.claims and reader.one(self._shown, **call.said)
        if not row or not access.may(Actor(row[2], Role(row[3])), self.permission):  # type: ignore[arg-type]
            return None
        return self._found(call, row)


class ReadMany(Read):
    """A list of the catalogue: out of kept bytes, or of the statement that its view returns.

    That depends on the filters and on nothing else, or its pages could not be kept for a role: so it is kept too.
    """

    # So many queries are remembered, each of so many characters at the most.
    MOST, LONGEST = 4000, 200

    def __init__(self, path: str, marks: Mapping[str, Any], view: Any, app: Flask, engine: Any) -> None:
        super().__init__(path, marks)
        self._app, self._view, self._kept = app, view, Kept(app)
        self._listing: Listing = marks["listing"]
        self._filters: list[Schema] = [one() for one in marks["query"] if one is not self._listing.query]
        self._known = gate.known_of(marks)
        self._actor, self._number = _statement_of_actor(engine), Statement(GENERATION, engine)
        self._asked: dict[str, tuple[Any, Asked]] = {}

    def is_asked_plainly(self, call: Mapping[str, Any]) -> bool:
        query = call.get("QUERY_STRING", "")
        return len(query) <= LONGEST_QUERY and _is_well_written(query) and self._wants_json(call.get("HTTP_ACCEPT", ""))

    def answered(self, reader: Reader, call: Call) -> Found | None:
        actor = None
        if call.claims is not None:
            actor = _actor(reader, call, self._actor)
            if not access.may(actor, self.permission):  # type: ignore[arg-type]
                return None
        key = None
        if self._kept.seconds:
            row = reader.one(self._number, name=CATALOGUE)
            key = kept_key(row[0] if row else 0, actor, JSON, self.path, call.query)
            kept = self._kept.get(key) if key else None
            if kept is not None:
                headers, body = kept
                return _conditional(call, [*headers.items()], body, headers["ETag"])
        try:
            statement, asked = self._asked.get(call.query) or self._ask(call)
            body, more = self._listing.rendered(statement, asked, reader)
        except (Problem, ValidationError, NotPlain):
            # Whatever is wrong, the application says it.
            return None
        found = _shown(body, 0, bool(self.offered), more)
        if key is not None:
            self._kept.keep(key, found, body)
        return _conditional(call, [*found.items()], body, found["ETag"])

    def _ask(self, call: Call) -> tuple[Any, Asked]:
        """The statement of a call, and what it asks of the list."""
        given = MultiDict(parse_qsl(call.query, keep_blank_values=True))
        with self._app.app_context():
            gate.check_query(self._known, given)
            g.now = g.real_now = call.now
            filters = [one.load(MultiDictProxy(given, one), unknown=EXCLUDE) for one in self._filters]
            found = self._view(None, *filters), Asked(self._app, self.path, tuple(given.items(multi=True)))
        if len(call.query) <= self.LONGEST:
            if len(self._asked) >= self.MOST:
                self._asked.clear()
            self._asked[call.query] = found
        return found


def reads_of(app: Flask, engine: Any) -> Iterable[tuple[str, Read]]:
    """Every plain read of an application, by its path; a key at the end of one is written `<id>`."""
    for rule in app.url_map.iter_rules():
        view_class = getattr(app.view_functions[rule.endpoint], "view_class", None)
        if view_class is None or not issubclass(view_class, MethodView) or "GET" not in (rule.methods or ()):
            continue
        marks, view = marks_of(view_class.get), inspect.unwrap(view_class.get)
        read = _read_of(rule, marks, view, app, engine)
        if read is not None:
            yield (f"{rule.rule.rpartition('/')[0]}/<id>" if rule.arguments else rule.rule), read


def _read_of(rule: Any, marks: dict[str, Any], view: Any, app: Flask, engine: Any) -> Read | None:
    if "passage" not in marks or marks["passage"].own_transaction or "deprecation" in marks:
        return None
    if "listing" in marks and "kept" in marks and not rule.arguments:
        listing: Listing = marks["listing"]
        filters = [field for schema in marks["query"] for field in schema().fields.values()]
        if listing.shape.in_sql is not None and not any(isinstance(field, QueryRef) for field in filters):
            return ReadMany(rule.rule, marks, view, app, engine)
        return None
    shape, table = marks.get("shape"), marks.get("finds")
    told = shape.in_sql if shape is not None else None
    if told is None or "kept" in marks or marks["status"] != 200:
        return None
    if rule.arguments:
        at_the_end = len(rule.arguments) == 1 and rule.rule.endswith(">")
        whole = told.table is table and table not in access.OWN_ROWS and _returns_what_it_finds(view)
        read = ReadOne(rule.rule, marks, told, engine) if at_the_end and whole else None
        return read if read and read.is_plain else None
    return ReadMe(rule.rule, marks, told, engine) if told.table is User and _returns_the_actor(view) else None


def _returns_what_it_finds(view: Callable[..., Any]) -> bool:
    """Whether a view does nothing with the row that it is handed but to return it: it is handed something else."""
    anything = object()
    return len(inspect.signature(view).parameters) == 2 and _returns(anything, view, None, anything)


def _returns_the_actor(view: Callable[..., Any]) -> bool:
    """Whether a view does nothing but to return who asks."""
    g.actor = anybody = object()
    return len(inspect.signature(view).parameters) == 1 and _returns(anybody, view, None)


def _returns(expected: object, view: Callable[..., Any], *arguments: Any) -> bool:
    try:
        return view(*arguments) is expected
    except Exception:  # it looks into what it was handed
        return False


def _preferred(accept: str, offered: tuple[str, ...]) -> str | None:
    # What is long is looked at each time: strangers must not fill the memory.
    return (preferred if len(accept) > LONGEST_ACCEPT else _known_preference)(accept, offered)


_known_preference = lru_cache(maxsize=1000)(preferred)


def _is_well_written(query: str) -> bool:
    """Whether the application would look at it at all: what it turns away at its door does not count as a call."""
    if "%" in query:
        try:
            refuse_bad_encoding(query)
        except Problem:
            return False
    return query.isascii()


def _statement_of_actor(engine: Any) -> Statement:
    narrow: Any = sessions.ACTOR.with_only_columns(User.id, User.role, maintain_column_froms=True)
    return Statement(narrow, engine)


def _actor(reader: Reader, call: Call, statement: Statement) -> Any:
    """The actor; nobody, who may nothing, where the token does not hold any more."""
    row = reader.one(statement, **call.said)
    return None if row is None else Actor(row[0], Role(row[1]))


def _shown(body: bytes, version: int, negotiated: bool, more: Mapping[str, str] = NOTHING) -> dict[str, str]:
    """The headers of an answer that shows something."""
    tag = f'"{tag_of(body, version)}"'
    return {"Content-Type": JSON, "Cache-Control": PRIVATE, "Vary": varies(negotiated), "ETag": tag, **more}


def _conditional(call: Call, headers: Headers, body: bytes, tag: str) -> Found:
    """304 where the call names the tag; see rendering.conditional."""
    wanted = call.environ.get("HTTP_IF_NONE_MATCH")
    if wanted and parse_etags(wanted).contains_weak(tag.strip('"')):
        return Found(304, [pair for pair in headers if pair[0] not in ("Content-Type", "Content-Disposition")], b"")
    return Found(200, [*headers, ("Content-Length", str(len(body)))], body)
