"""One JSON line a request: what was asked, what was answered, how long it took; nothing about persons."""

import json
import os
import sys
import time
from collections import deque
from multiprocessing.util import Finalize
from threading import Event, Lock, Thread
from typing import Any

from flask import Flask, Response, current_app, g, request

from library.logs import Discreet

DISCREET = Discreet()
METHODS = {"GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"}
# Seconds that a line waits for others.
PAUSE = 0.1
# Where nobody takes the lines away, the oldest of more than these go.
MOST = 100_000


class Lines:
    """Writes the lines of a tenth of a second at once, from a thread of its own: no answer waits for the log."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self._lines: deque[str] = deque(maxlen=MOST)
        self._is_wanted, self._begins, self._writes = Event(), Lock(), Lock()
        self._process = 0

    def add(self, line: str) -> None:
        """Take a line; it waits for nobody."""
        self._lines.append(line)
        if not self._is_wanted.is_set():
            self._wake()

    def flush(self) -> None:
        """Write what was said so far."""
        with self._writes:
            lines = []
            while self._lines:
                lines.append(self._lines.popleft())
            if lines:
                self._stream.write("\n".join([*lines, ""]))
                self._stream.flush()

    def _wake(self) -> None:
        with self._begins:
            # A process that was forked has none of its threads.
            if self._process != os.getpid():
                self._process = os.getpid()
                Thread(target=self._write, name="log", daemon=True).start()
                # Before the process ends, also one that a server has started.
                Finalize(None, self.flush, exitpriority=0)
        self._is_wanted.set()

    def _write(self) -> None:
        while self._is_wanted.wait():
            time.sleep(PAUSE)
            self._is_wanted.clear()
            self.flush()


def init_app(app: Flask) -> None:
    """Write a line for every answer, where the setting says so."""
    # Flask's own, which logs what goes wrong while an error is answered.
    app.logger.addFilter(DISCREET)
    if not app.config["LOG_REQUESTS"]:
        return
    app.extensions["library_lines"] = Lines(sys.stderr)
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
    said = line(g.get("request_id", ""), request.method, rule, response.status_code, started)
    current_app.extensions["library_lines"].add(said)
    return response
