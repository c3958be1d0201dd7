"""From what a view returns to bytes: one rendering for POST, GET and lists, hence one tag."""

import hashlib
import json
from collections.abc import Callable
from typing import Any, Protocol

from flask import Response, g, request
from werkzeug.http import parse_etags

from library.api.plumbing.errors import SENTENCES, Problem, header_error
from library.models import Base


class Shape(Protocol):
    """A schema, or what shows a record otherwise."""

    def dump(self, obj: Any, /) -> Any:
        """The record as it is shown."""


def dump_json(value: Any) -> bytes:
    """Compact JSON in UTF-8."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def tag_of(body: bytes, version: int = 0) -> str:
    """`<version>-<hash of the body>`, without the quotes."""
    return f"{version}-{hashlib.blake2b(body, digest_size=10).hexdigest()}"


def respond(result: Any, status: int, schema: Shape | None, location: str | None = None) -> Response:
    """Render what a view returned under its schema; a 201 or 202 says where the new thing stands.

    `location` is a path with members of the result in braces; without one the thing stands below its collection.
    """
    if isinstance(result, Response):
        return result
    if schema is None or result is None:
        return Response(status=status)
    response = written(result, schema.dump, status)
    if status in (201, 202):
        template = location or f"{request.path}/{{0.id}}"
        response.headers["Location"] = template.format(result)
    # What an action answers beside the record is nothing that could be read again: it has no tag.
    if request.method in ("GET", "HEAD") or isinstance(result, Base) or hasattr(result, "version"):
        version = getattr(result, "version", 0)
        response.headers["ETag"] = f'"{tag_of(response.get_data(), version)}"'
    return conditional(response)


def written(shown: Any, dump: Callable[[Any], Any], status: int = 200) -> Response:
    """A row, or a list of rows, in JSON as `dump` has it, or in the format that was negotiated (negotiation.py)."""
    chosen = g.get("format")
    if chosen is None:
        response = Response(dump_json(dump(shown)), status, content_type="application/json")
    else:
        response = Response(chosen.body(shown), status, content_type=chosen.writer.content_type)
        name = chosen.file_name(None if isinstance(shown, list) else shown.id)
        response.headers["Content-Disposition"] = f'attachment; filename="{name}"'
    private(response)
    return response


def private(response: Response) -> None:
    """What an answer that depends on its reader says to caches on the way."""
    response.headers["Cache-Control"] = "private, no-store"
    response.headers["Vary"] = "Accept, Authorization" if g.get("negotiated") else "Authorization"


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
