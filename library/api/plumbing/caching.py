"""Kept bytes: pages of the catalogue, under a key of everything they depend on."""

import hashlib
import json
from collections.abc import Callable
from functools import wraps
from typing import Any

from flask import Response, current_app, g, request
from werkzeug.datastructures import Headers

from library.api.plumbing.negotiation import variant
from library.api.plumbing.rendering import conditional, dump_json
from library.database import CATALOGUE, generation
from library.extensions import cache, db, storage

KEPT_HEADERS = (
    "Content-Type",
    "ETag",
    "Link",
    "X-Pagination",
    "X-Total-Count",
    "X-Next-Cursor",
    "Cache-Control",
    "Vary",
    "Content-Disposition",
)
# Live counts change with every loan: an answer that depends on them is never kept.
LIVE_PARAMETERS = frozenset({"available"})


def kept_key() -> str | None:
    """The key of this answer, or None where it may not be kept.

    The answer to a call that names its own moment is never kept. The generation in the key is read in this
    request's own transaction, so a write on any worker makes a new key.
    """
    if not current_app.config["CACHE_SECONDS"] or LIVE_PARAMETERS & set(request.args) or g.now != g.real_now:
        return None
    # By name only: where a parameter is repeated, the order of its values may tell.
    parts = sorted(request.query_string.decode("latin-1").split("&"), key=lambda part: part.partition("=")[0])
    number = generation(db.session, CATALOGUE)
    # What people look for does not stand in the storage.
    asked = f"{_reader()}:{variant()}:{request.path}?{'&'.join(parts)}"
    return f"{number}:{hashlib.blake2b(asked.encode(), digest_size=20).hexdigest()}"


def _reader() -> str:
    """What of its reader an answer may depend on: the role, and the scopes of the API key that narrow it."""
    if g.actor is None:
        return "anonymous"
    scopes = getattr(g.actor, "scopes", None)
    return g.actor.role.value if scopes is None else f"{g.actor.role.value}({','.join(sorted(scopes))})"


def kept(view: Callable[..., Response]) -> Callable[..., Response]:
    """A view whose answers are kept, and given out of what is kept."""

    @wraps(view)
    def from_cache(*args: Any, **kwargs: Any) -> Response:
        key = kept_key()
        response = get(key) if key else None
        if response is None:
            response = view(*args, **kwargs)
            if key:
                keep(key, response)
        return response

    return from_cache


def get(key: str) -> Response | None:
    """The kept answer, built anew; None where there is none or the cache cannot be asked."""
    kept: bytes | None = storage().ask(lambda: cache.get(key), lambda: None)
    if kept is None:
        return None
    headers, _, body = kept.partition(b"\n")
    response = Response(body)
    try:
        response.headers = Headers(json.loads(headers))
    except (ValueError, TypeError):  # not of our making
        return None
    return conditional(response)


def keep(key: str, response: Response) -> None:
    """Keep the bytes and the tag of a good answer: a line of headers, then the body."""
    if response.status_code == 200:
        headers = {name: response.headers[name] for name in KEPT_HEADERS if name in response.headers}
        kept = dump_json(headers) + b"\n" + response.get_data()
        storage().ask(lambda: cache.set(key, kept), lambda: None)
