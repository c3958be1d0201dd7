"""CORS: which pages of other origins may read the answers; none unless `CORS_ORIGINS` names them."""

from flask import Flask, Response, current_app, request

from library.config import origins

ANYWHERE = frozenset({"*"})
# What a page may read beside the body, and what it may send.
READABLE = (
    "ETag, Link, Location, X-Pagination, X-Total-Count, X-Next-Cursor, Retry-After, Idempotency-Replayed, X-Remarks, "
    "X-Request-ID, WWW-Authenticate, Content-Disposition, RateLimit, RateLimit-Policy, Deprecation, Sunset"
)
SENDABLE = "Authorization, Content-Type, If-Match, If-None-Match, Idempotency-Key, X-Request-ID, Sandbox-Now"
# How long a browser remembers what it was told; two hours is the most that Chromium keeps.
SECONDS = 7200


def init_app(app: Flask) -> None:
    """Open every answer, errors too, to the origins of the setting."""
    if app.config["CORS_ORIGINS"]:
        app.after_request(_open)


def opened(setting: str, origin: str | None) -> dict[str, str]:
    """The headers by which a page of an origin may read an answer; none where the setting does not name it."""
    named = origins(setting)
    # `null` is what local files and frames without an origin say: it is nobody in particular.
    if origin is None or origin == "null" or not named & {origin, "*"}:
        return {}
    allowed = "*" if named == ANYWHERE else origin
    return {"Access-Control-Allow-Origin": allowed, "Access-Control-Expose-Headers": READABLE}


def _open(response: Response) -> Response:
    """Tell a browser whether a page of that origin may read this; cookies are never asked for."""
    headers = response.headers
    # A cache on the way must not hand one origin's answer to another.
    response.vary.add("Origin")
    headers.update(opened(current_app.config["CORS_ORIGINS"], request.headers.get("Origin")))
    if "Access-Control-Allow-Origin" not in headers:
        return response
    if request.method == "OPTIONS" and "Access-Control-Request-Method" in request.headers:
        headers["Access-Control-Allow-Methods"] = headers.get("Allow", "")
        headers["Access-Control-Allow-Headers"] = SENDABLE
        headers["Access-Control-Max-Age"] = str(SECONDS)
    return response
