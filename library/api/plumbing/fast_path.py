"""The fast path: plain reads answered by the database and the driver, byte for byte as the whole application would.

Most of the time of a plain read goes into machinery for what is not plain. Only a 200 or a 304 is answered here.
Whatever else a call may come to - another header, a token seen for the first time, a fault, a refusal, a database that
does not answer - the application does from the beginning; nothing has happened yet, but that the call was counted,
which it is told.
"""

import logging
import time
import uuid
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

from flask import Flask

from library.api.plumbing import cors, limits, logs
from library.api.plumbing.edge import REQUEST_ID, SECURITY_HEADERS
from library.api.plumbing.reading import Readers
from library.api.plumbing.reads import Call, Found, Read, reads_of
from library.api.plumbing.tokens import Verified
from library.extensions import db
from library.models import HIGHEST_ID
from library.rules import access

log = logging.getLogger("library")
# Headers of a request that ask for more than a plain read.
UNUSUAL = frozenset(
    {
        "HTTP_SANDBOX_NOW",
        "HTTP_IF_MATCH",
        "HTTP_TRANSFER_ENCODING",
        "HTTP_UPGRADE",
        "HTTP_X_HTTP_METHOD_OVERRIDE",
    }
)
STATUS = {200: "200 OK", 304: "304 NOT MODIFIED"}


class FastPath:
    """Stands before the application, and answers what is plain."""

    def __init__(self, app: Flask, onward: Callable[..., Iterable[bytes]]) -> None:
        self._app, self._onward = app, onward
        # For tests that count statements: those of the fast path go past the engine.
        self.enabled = True

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        found = self._answered(environ) if environ["REQUEST_METHOD"] == "GET" and self.enabled else None
        if found is None:
            return self._onward(environ, start_response)
        status, headers, body = found
        start_response(STATUS[status], headers)
        return [body]

    def _answered(self, environ: dict[str, Any]) -> Found | None:
        started = time.perf_counter()
        path: str = environ.get("PATH_INFO", "")
        read, key = self._read_at(path)
        if read is None or _is_unusual(environ) or not read.is_asked_plainly(environ):
            return None
        claims = None
        if read.permission != access.ANYONE and (header := environ.get("HTTP_AUTHORIZATION")):
            claims = self._verified.get(header[7:]) if header[:7] == "Bearer " else None
            if claims is None:
                return None
        if claims is None and not self._is_open(read.permission):
            return None
        left = None
        if read.passage.limited:
            counted = self._counters.counted(claims, read.passage.limit, environ.get("REMOTE_ADDR"))
            if counted is not None:
                environ[limits.COUNTED] = counted
                left = counted[0]
                if not left.within:
                    return None
        call = Call(environ, environ.get("QUERY_STRING", ""), key, claims, datetime.now(UTC))
        try:
            with self._readers.reader() as reader:
                found = read.answered(reader, call)
        except Exception as error:  # whatever it is, the application says it, or does better
            if not isinstance(error, self._readers.failure):
                log.warning("fast path: %s at %s", type(error).__name__, read.path)
            return None
        if found is None:
            return None
        given = environ.get("HTTP_X_REQUEST_ID", "")
        request_id = given if REQUEST_ID.match(given) else uuid.uuid4().hex
        found.headers.extend(left.headers() if left else ())
        found.headers.append(("X-Request-ID", request_id))
        found.headers.extend(SECURITY_HEADERS.items())
        if self._settings["CORS_ORIGINS"]:
            at = next(at for at, pair in enumerate(found.headers) if pair[0] == "Vary")
            found.headers[at] = "Vary", f"{found.headers[at][1]}, Origin"
            found.headers.extend(cors.opened(self._settings["CORS_ORIGINS"], environ.get("HTTP_ORIGIN")).items())
        if self._lines is not None:
            self._lines.add(logs.line(request_id, "GET", read.path, found.status, started))
        return found

    def _is_open(self, permission: str) -> bool:
        return permission == access.ANYONE or (
            permission in access.OPEN_CATALOGUE and self._settings["PUBLIC_CATALOGUE"]
        )

    def _read_at(self, path: str) -> tuple[Read | None, int]:
        """The read at an address, and the key at its end."""
        known = self._reads.get(path)
        if known is not None:
            return known, 0
        before, _, last = path.rpartition("/")
        if not (last.isascii() and last.isdigit()) or last[0] == "0" or len(last) > 10 or int(last) > HIGHEST_ID:
            return None, 0
        return self._reads.get(f"{before}/<id>"), int(last)

    @property
    def _settings(self) -> Mapping[str, Any]:
        return self._app.config

    @cached_property
    def _verified(self) -> Verified:
        return self._app.extensions["library_tokens"]

    @cached_property
    def _counters(self) -> limits.Counters:
        return self._app.extensions["library_counters"]

    @cached_property
    def _lines(self) -> logs.Lines | None:
        return self._app.extensions.get("library_lines")

    @cached_property
    def _readers(self) -> Readers:
        with self._app.app_context():
            return Readers(db.engine)

    @cached_property
    def _reads(self) -> dict[str, Read]:
        with self._app.app_context():
            return dict(reads_of(self._app, db.engine))


def init_app(app: Flask) -> None:
    """Put the fast path before the application, where its database is one that several connections can look at."""
    if app.config["DATABASE_URL"] not in ("sqlite://", "sqlite:///:memory:"):
        fast_path = FastPath(app, app.wsgi_app)
        app.extensions["library_fast_path"] = fast_path
        app.wsgi_app = fast_path  # type: ignore[method-assign]


def _is_unusual(environ: Mapping[str, Any]) -> bool:
    """Whether a call brings along more than a plain read looks at."""
    return (
        not UNUSUAL.isdisjoint(environ)
        or environ.get("CONTENT_LENGTH", "") not in ("", "0")
        or bool(environ.get("SCRIPT_NAME"))
    )
