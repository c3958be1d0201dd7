"""The floor: a bare WSGI callable on the bare driver, with the best SQL known. Nothing does less for these answers."""

import threading
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import parse_qsl

import psycopg

from bench import raw

PHRASES = {200: "200 OK", 201: "201 Created"}
_local = threading.local()


def _cursor() -> Any:
    """This thread's own cursor."""
    if not hasattr(_local, "cursor"):
        connect = raw.connect_sqlite if raw.IS_SQLITE else _connect_postgresql
        _local.cursor = connect().cursor()
    return _local.cursor


def _connect_postgresql() -> Any:
    return psycopg.connect(raw.URL, **raw.POSTGRESQL_OPTIONS)


def close() -> None:
    """Close this thread's connection; a server's end with it."""
    if hasattr(_local, "cursor"):
        _local.cursor.connection.close()
        del _local.cursor


def _run(work: raw.Work) -> raw.Answer:
    """Run an answer, statement by statement."""
    cursor, rows = _cursor(), None
    try:
        while True:
            statement, values = work.send(rows)  # type: ignore[arg-type]
            cursor.execute(statement, values)
            rows = cursor.fetchall() if cursor.description else []
    except StopIteration as done:
        return done.value
    except Exception:
        close()
        raise


def _work(environ: dict[str, Any]) -> raw.Work | None:
    path, token = environ["PATH_INFO"], environ.get("HTTP_AUTHORIZATION", "")
    if environ["REQUEST_METHOD"] == "GET":
        if path == "/books":
            query = dict(parse_qsl(environ["QUERY_STRING"]))
            return raw.books(int(query.get("page", 1)), int(query.get("page_size", 10)), query.get("q"))
        if path == "/users/me":
            return raw.me(raw.claims_of(token))
        if path.startswith("/books/"):
            return raw.book(int(path[7:]))
    elif path == "/loans":
        return raw.check_out(raw.claims_of(token), environ["wsgi.input"].read())
    elif path == "/check-ins":
        return raw.check_in(raw.claims_of(token), environ["wsgi.input"].read())
    return None


def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """The WSGI application; what it does not know, it answers with nothing."""
    work = _work(environ)
    status, body, total = _run(work) if work else raw.Answer(200, b"")
    headers = [("Content-Type", "application/json"), ("Content-Length", str(len(body)))]
    if total is not None:
        headers.append(("X-Total-Count", str(total)))
    start_response(PHRASES.get(status) or f"{status} Error", headers)
    return [body]
