"""From what a view returns to bytes: one rendering for POST, GET and lists, hence one tag.

Where its schema can be put in SQL the database renders a row (sql_json.py); else it is loaded and dumped, which gives
the same bytes.
"""

import hashlib
import json
from collections.abc import Callable
from functools import cached_property
from typing import Any, Protocol

import marshmallow as ma
from flask import Response, g, request
from sqlalchemy import Select, bindparam, inspect, select
from werkzeug.http import parse_etags

from library.api.plumbing.errors import SENTENCES, Problem, header_error
from library.api.plumbing.prepared import Prepared
from library.api.plumbing.sql_json import NotInSql, Rendering, rendering_of
from library.models import Base

PRIVATE = "private, no-store"
_COMPACT = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))


class Shape(Protocol):
    """How an operation shows its rows."""

    def dump(self, obj: Any, /) -> Any:
        """The record as it is shown."""

    def rendered(self, result: Any) -> tuple[bytes, int] | None:
        """JSON and version of a row as the database has them, None where it is dumped."""


class Shown:
    """A schema as the shape of an answer."""

    def __init__(self, schema: ma.Schema) -> None:
        self.schema, self.dump = schema, schema.dump
        self.prepared = Prepared()

    @cached_property
    def in_sql(self) -> Rendering | None:
        """How the database renders the schema, None where it cannot be put in SQL."""
        try:
            return rendering_of(self.schema)
        except NotInSql:
            return None

    @cached_property
    def _by_key(self) -> Select[Any]:
        assert self.in_sql is not None
        return select(self.in_sql.table).where(self.in_sql.table.id == bindparam("row_id"))

    def rendered(self, result: Any) -> tuple[bytes, int] | None:
        """The JSON and the version of what a view returns, as they stand in this transaction.

        None where it is dumped: the schema cannot be put in SQL, another format was negotiated, or it is no row of
        the table that this transaction has written.
        """
        told = self.in_sql
        if told is None or g.get("format") is not None:
            return None
        if isinstance(result, Unread):
            found = self._one(told, result.statement, **result.values)
            if found is None:
                raise Problem(404)
            return found
        # What a mere look has loaded already is dumped as fast as it is asked for once more.
        if not isinstance(result, told.table) or request.method in ("GET", "HEAD"):
            return None
        state = inspect(result)
        if state.session is None or not state.session.in_transaction():
            return None
        state.session.flush()
        return self._one(told, self._by_key, row_id=result.id) if state.persistent else None

    def _one(self, told: Rendering, statement: Select[Any], **values: Any) -> tuple[bytes, int] | None:
        found: Any = self.prepared.run(None, "one", statement, lambda: told.of(statement, told.version), **values)
        row = found.one_or_none()
        return None if row is None else (row.rendered.encode(), row.version)


class Unread:
    """The row of a statement, not read yet: shown as it is, the database renders it; looked into, it loads itself."""

    def __init__(self, statement: Select[Any], values: dict[str, Any], load: Callable[[], Base]) -> None:
        self.statement, self.values, self._load = statement, values, load

    @cached_property
    def _row(self) -> Base:
        return self._load()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._row, name)


def dump_json(value: Any) -> bytes:
    """Compact JSON in UTF-8."""
    return _COMPACT.encode(value).encode()


def tag_of(body: bytes, version: int = 0) -> str:
    """`<version>-<hash of the body>`, without the quotes."""
    return f"{version}-{hashlib.blake2b(body, digest_size=10).hexdigest()}"


def respond(result: Any, status: int, shape: Shape | None, location: str | None = None) -> Response:
    """Render what a view returned in its shape; a 201 or 202 says where the new thing stands.

    `location` is a path with members of the result in braces; without one the thing stands below its collection.
    """
    if isinstance(result, Response):
        return result
    if shape is None or result is None:
        return Response(status=status)
    found = shape.rendered(result)
    if found is None:
        response, version = written(result, shape.dump, status), getattr(result, "version", 0)
    else:
        response, version = in_json(found[0], status), found[1]
    if status in (201, 202):
        template = location or f"{request.path}/{{0.id}}"
        response.headers["Location"] = template.format(result)
    # What an action answers beside the record is nothing that could be read again: it has no tag.
    if request.method in ("GET", "HEAD") or isinstance(result, Base) or hasattr(result, "version"):
        response.headers["ETag"] = f'"{tag_of(response.get_data(), version)}"'
    return conditional(response)


def written(shown: Any, dump: Callable[[Any], Any], status: int = 200) -> Response:
    """A row, or a list of rows, in JSON as `dump` has it, or in the format that was negotiated (negotiation.py)."""
    chosen = g.get("format")
    if chosen is None:
        return in_json(dump_json(dump(shown)), status)
    response = Response(chosen.body(shown), status, content_type=chosen.writer.content_type)
    name = chosen.file_name(None if isinstance(shown, list) else shown.id)
    response.headers["Content-Disposition"] = f'attachment; filename="{name}"'
    private(response)
    return response


def in_json(body: bytes, status: int = 200) -> Response:
    """An answer of rendered JSON."""
    response = Response(body, status, content_type="application/json")
    private(response)
    return response


def private(response: Response) -> None:
    """What an answer that depends on its reader says to caches on the way."""
    response.headers["Cache-Control"] = PRIVATE
    response.headers["Vary"] = varies(bool(g.get("negotiated")))


def varies(negotiated: bool) -> str:
    """On which headers of the request an answer depends."""
    return "Accept, Authorization" if negotiated else "Authorization"


def conditional(response: Response) -> Response:
    """304 where a GET names the tag that the answer has (compared weakly, RFC 9110, 13.1.2)."""
    if request.method not in ("GET", "HEAD") or response.status_code != 200:
        return response
    tag = response.headers.get("ETag", "").strip('"')
    wanted = request.headers.get("If-None-Match")
    if not wanted or not tag or not parse_etags(wanted).contains_weak(tag):
        return response
    bare = Response(status=304)
    for name in ("ETag", "Cache-Control", "Vary", "Link", "X-Pagination", "X-Total-Count", "X-Next-Cursor"):
        if name in response.headers:
            bare.headers[name] = response.headers[name]
    return bare


def require_match(version: int) -> None:
    """Hold a change to the version its client has read: 428 without `If-Match`, 412 where it no longer fits.

    Only the version part of a tag is compared, so that a tag of any representation serves, also one that a proxy
    has made weak.
    """
    given = request.headers.get("If-Match")
    if given is None:
        detail = "Say with If-Match which version you have read: the ETag of your last answer, or *."
        raise Problem(428, detail, errors=[header_error("If-Match", "required", detail)])
    if given.strip() == "*":
        return
    versions = {tag.rsplit("-", 1)[0] for tag in parse_etags(given).as_set(include_weak=True) if tag}
    if str(version) not in versions:
        raise Problem(412, errors=[header_error("If-Match", "stale_version", SENTENCES[412])])
