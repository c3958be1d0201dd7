"""One JSON line a request: what was asked, what was answered, how long it took; nothing about persons."""

import json
import logging
import sys
import time

from flask import Flask, Response, g, request

from library.logs import Discreet

log = logging.getLogger("library.requests")
DISCREET = Discreet()
METHODS = {"GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"}


def init_app(app: Flask) -> None:
    """Write a line for every answer, where the setting says so."""
    # Flask's own, which logs what goes wrong while an error is answered.
    app.logger.addFilter(DISCREET)
    if not app.config["LOG_REQUESTS"]:
        return
    if not log.handlers:
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(logging.Formatter("%(message)s"))
        log.addHandler(handler)
        log.setLevel(logging.INFO)
        log.propagate = False
    app.after_request(_write)


def line(request_id: str, method: str, route: str | None, status: int, started: float) -> str:
    """What the log says of a call."""
    said = {
        "id": request_id,
        "method": method if method in METHODS else "other",
        "route": route,
        "status": status,
        "ms": round((time.perf_counter() - started) * 1000, 1),
    }
    return json.dumps(said)


def _write(response: Response) -> Response:
    started = g.get("started", time.perf_counter())
    rule = request.url_rule.rule if request.url_rule else None
    log.info(line(g.get("request_id", ""), request.method, rule, response.status_code, started))
    return response
