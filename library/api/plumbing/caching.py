"""Kept bytes: pages of the catalogue, under a key of everything they depend on."""

from typing import Any

from flask import Response, current_app, g, request

from library.api.plumbing.rendering import conditional
from library.database import CATALOGUE, generation
from library.extensions import cache, db

KEPT_HEADERS = ("Content-Type", "ETag", "Link", "X-Pagination", "X-Total-Count", "Cache-Control", "Vary")
# Live counts change with every loan: an answer that depends on them is never kept.
LIVE_PARAMETERS = frozenset({"available"})


def kept_key() -> str | None:
    """The key of this answer, or None where it may not be kept.

    The generation in it is read in this request's own transaction, so a write on any worker makes a new key.
    """
    if not current_app.config["CACHE_SECONDS"] or LIVE_PARAMETERS & set(request.args):
        return None
    role = g.actor.role.value if g.actor else "anonymous"
    query = "&".join(sorted(request.query_string.decode("ascii", "replace").split("&")))
    number = generation(db.session, CATALOGUE)
    return f"{current_app.config['CACHE_SPACE']}:{number}:{role}:{request.path}?{query}"


def get(key: str) -> Response | None:
    """The kept answer, built anew; None where there is none or the cache cannot be asked."""
    kept: Any = _ask(lambda: cache.get(key))
    if kept is None:
        return None
    body, headers = kept
    response = Response(body)
    response.headers.clear()
    response.headers.update(headers)
    return conditional(response)


def keep(key: str, response: Response) -> None:
    """Keep the bytes and the tag of a good answer."""
    if response.status_code == 200:
        headers = {name: response.headers[name] for name in KEPT_HEADERS if name in response.headers}
        _ask(lambda: cache.set(key, (response.get_data(), headers)))


def _ask(question: Any) -> Any:
    try:
        return question()
    except Exception:  # whatever the cache's client raises: an answer without the cache is only slower
        current_app.logger.warning("cache: the storage does not answer")
        return None
