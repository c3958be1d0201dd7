"""Where the processor time of a call goes: the application in this process, under Python's profiler."""

import cProfile
import io
import sys
import time
from collections import Counter
from collections.abc import Iterable
from pstats import Stats
from typing import Any, cast

from flask import Flask

from bench import build
from bench.load import Line
from bench.servers import PLENTY
from library.extensions import db

# The first that fits the file of a function takes its time; what is built in counts where it is called from.
LAYERS = {
    "driver and database": ("/psycopg", "sqlite3"),
    "SQLAlchemy": ("/sqlalchemy/", "/flask_sqlalchemy/"),
    "limiter": ("/flask_limiter/", "/limits/", "/api/plumbing/limits.py"),
    "token": ("/jwt/", "/flask_jwt_extended/", "/api/plumbing/tokens.py", "/hmac.py"),
    "marshmallow, arguments, documents": ("/marshmallow", "/webargs/", "/flask_smorest/"),
    "JSON": ("/json/",),
    "log line": ("/logging/", "/api/plumbing/logs.py"),
    "Flask dispatch, contexts, response": ("/flask/", "/werkzeug/", "/blinker/", "/http/"),
    "rules and tables": ("/library/rules/", "/library/models/", "/library/database.py"),
    "plumbing and views": ("/library/api/", "/library/extensions.py", "/library/logs.py", "/library/config.py"),
}
REST = "else of Python"
# Calls beforehand: most readers have come by then, and most pages been turned.
WARMING, PROFILED = 2000, 400
# The profiler makes calls of Python dearer than those of C: shares are of its time, and the whole is measured without.
Layers = dict[str, float]


def layers(url: str, lines: Iterable[Line], calls: int = 1) -> Layers:
    """µs of each layer, and of the whole, for as many calls as make one of what is asked for."""
    app = _made(url)
    drawn = [*lines][: WARMING + 2 * PROFILED * calls]
    warm, plain, told = drawn[:WARMING], drawn[WARMING : -PROFILED * calls], drawn[-PROFILED * calls :]
    _seconds(app, warm)
    whole = _seconds(app, plain) / len(plain) * calls * 1e6
    profile = cProfile.Profile(time.process_time)
    profile.runcall(_seconds, app, told)
    with app.app_context():
        db.engine.dispose()
    taken = _by_layer(profile)
    total = sum(taken.values())
    return {name: whole * taken[name] / total for name in (*LAYERS, REST)} | {"the whole": whole}


def _seconds(app: Flask, lines: Iterable[Line]) -> float:
    """The processor time that calls take."""
    began = time.process_time()
    for line in lines:
        _call(app, line)
    return time.process_time() - began


def _made(url: str) -> Flask:
    plenty = {f"LIMIT_{name}": PLENTY for name in ("ANONYMOUS", "PATRON", "STAFF")}
    return build.make_app(url, **plenty, LIMITS_ENABLED=True, LOG_REQUESTS=True, CACHE_SECONDS=0, PUBLIC_CATALOGUE=True)


def _call(app: Flask, line: Line) -> None:
    """Call it as a server does; anything but a success ends the run."""
    _, method, path, bearer, body = line
    before, _, query = path.partition("?")
    told: list[str] = []
    asked = {
        "REQUEST_METHOD": method,
        "PATH_INFO": before,
        "QUERY_STRING": query,
        "SERVER_NAME": "localhost",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": "127.0.0.1",
        "SCRIPT_NAME": "",
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(body.encode()),
        "wsgi.errors": sys.stderr,
        "wsgi.version": (1, 0),
        "wsgi.multithread": True,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
    }
    asked |= {"HTTP_AUTHORIZATION": f"Bearer {bearer}"} if bearer else {}
    asked |= {"CONTENT_TYPE": "application/json", "CONTENT_LENGTH": str(len(body))} if body else {}
    found: Any = app.wsgi_app(asked, cast(Any, lambda status, headers, *_: told.append(status)))
    answer = b"".join(found)
    if hasattr(found, "close"):
        found.close()
    if told[0][0] != "2":
        raise SystemExit(f"{method} {path}: {told[0]} {answer[:500]!r}")


def _by_layer(profile: cProfile.Profile) -> Counter[str]:
    """Seconds of each layer."""
    taken: Counter[str] = Counter()
    found: Any = cast(Any, Stats(profile)).stats
    for (file, _, name), (_, _, own, _, callers) in found.items():
        layer = _layer_of(file, name)
        if layer != REST or file != "~" or not callers:
            taken[layer] += own
            continue
        for (caller, _, its_name), (_, _, part, _) in callers.items():
            taken[_layer_of(caller, its_name)] += part
    return taken


def _layer_of(file: str, name: str) -> str:
    place = name if file == "~" else file
    return next((layer for layer, marks in LAYERS.items() if any(mark in place for mark in marks)), REST)
