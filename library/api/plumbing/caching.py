"""Kept bytes: pages of the catalogue, under a key of everything they depend on."""

import hashlib
import json
from collections.abc import Callable, Mapping
from functools import lru_cache, wraps
from typing import Any
from urllib.parse import unquote_plus

from flask import Flask, Response, current_app, g, request
from werkzeug.datastructures import Headers

from library.api.plumbing.marks import mark
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
# The names of longer queries are made each time: strangers must not fill the memory.
LONGEST_KNOWN = 200


class Kept:
    """The bytes that an application keeps: a line of headers, then the body."""

    def __init__(self, app: Flask) -> None:
        self._storage, self._cache = storage(app), app.extensions["cache"][cache]
        self._settings = app.config

    @property
    def seconds(self) -> int:
        """How long something is kept; 0 where nothing is."""
        return self._settings["CACHE_SECONDS"]

    def get(self, key: str) -> tuple[dict[str, str], bytes] | None:
        """Headers and body; None where there are none or the cache cannot be asked."""
        kept: bytes | None = self._storage.ask(lambda: self._cache.get(key), lambda: None)
        if kept is None:
            return None
        headers, _, body = kept.partition(b"\n")
        try:
            return dict(json.loads(headers)), body
        except (ValueError, TypeError):  # not of our making
            return None

    def keep(self, key: str, headers: Mapping[str, str], body: bytes) -> None:
        """Keep the bytes and the tag of a good answer."""
        kept = dump_json({name: headers[name] for name in KEPT_HEADERS if name in headers}) + b"\n" + body
        self._storage.ask(lambda: self._cache.set(key, kept, self.seconds), lambda: None)


def init_app(app: Flask) -> None:
    """Give the application what it keeps."""
    app.extensions["library_kept"] = Kept(app)


def kept_key(number: int, actor: Any, media_type: str, path: str, query: str) -> str | None:
    """The key of an answer, or None where it may not be kept.

    `number` is the generation of the catalogue, read before the rest: so a write on any worker makes a new key, and
    what is kept may be newer than its key and never older.
    """
    name = (_named if len(query) > LONGEST_KNOWN else _known_name)(_reader(actor), media_type, path, query)
    return name and f"{number}:{name}"


def _named(reader: str, media_type: str, path: str, query: str) -> str | None:
    parts = query.split("&")
    if not LIVE_PARAMETERS.isdisjoint(map(_name, parts)):
        return None
    # By name only: where a parameter is repeated, the order of its values may tell.
    parts.sort(key=_name)
    # What people look for does not stand in the storage.
    asked = f"{reader}:{media_type}:{path}?{'&'.join(parts)}"
    return hashlib.blake2b(asked.encode(), digest_size=20).hexdigest()


_known_name = lru_cache(maxsize=4000)(_named)


def _name(part: str) -> str:
    """The name of a parameter."""
    return unquote_plus(part.partition("=")[0])


def _reader(actor: Any) -> str:
    """What of its reader an answer may depend on: the role, and the scopes of the API key that narrow it."""
    if actor is None:
        return "anonymous"
    return actor.role.value if actor.scopes is None else f"{actor.role.value}({','.join(sorted(actor.scopes))})"


def kept(view: Callable[..., Response]) -> Callable[..., Response]:
    """A view whose answers are kept, and given out of what is kept."""

    @wraps(view)
    def from_cache(*args: Any, **kwargs: Any) -> Response:
        here: Kept = current_app.extensions["library_kept"]
        # The answer to a call that names its own moment is never kept.
        if not here.seconds or g.now != g.real_now:
            return view(*args, **kwargs)
        query = request.query_string.decode("latin-1")
        key = kept_key(generation(db.session, CATALOGUE), g.actor, variant(), request.path, query)
        found = here.get(key) if key else None
        if found is not None:
            response = Response(found[1])
            response.headers = Headers(found[0])
            return conditional(response)
        response = view(*args, **kwargs)
        if key and response.status_code == 200:
            here.keep(key, dict(response.headers), response.get_data())
        return response

    return mark(kept=True)(from_cache)
