"""One JSON line a request: what was asked, what was answered, how long it took; nothing about persons."""

import json
import os
import sys
import time
from collections import deque
from contextlib import suppress
from multiprocessing.util import Finalize
from threading import Event, Lock, Thread
from typing import Any

from flask import Flask, Response, current_app, g, request

from library.logs import Discreet

DISCREET = Discreet()
METHODS = {"GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"}
# Seconds that a line waits for others, and that a process which ends waits for its last lines.
PAUSE, LAST_WORDS = 0.1, 1
# Characters of a bundle: into no more of them does a pipe let the lines of other workers come.
LONGEST = 4096
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
        if not self._is_wanted.is_set() or self._process != os.getpid():
            self._wake()

    def flush(self) -> None:
        """Write what was said so far."""
        with self._writes:
            while bundle := self._bundle():
                self._send("\n".join([*bundle, ""]))

    def _send(self, text: str) -> None:
        # Past the stream where it is a file: who waits in there keeps the process from ending.
        try:
            file = self._stream.fileno()
        except (AttributeError, OSError, ValueError):
            self._stream.write(text)
            self._stream.flush()
            return
        sent = text.encode()
        while sent:
            sent = sent[os.write(file, sent) :]

    def _bundle(self) -> list[str]:
        bundle: list[str] = []
        room = LONGEST
        while self._lines and (not bundle or len(self._lines[0]) < room):
            bundle.append(self._lines.popleft())
            room -= len(bundle[-1]) + 1
        return bundle

    def _wake(self) -> None:
        with self._begins:
            if self._process != os.getpid():
                # A process that was forked has none of its threads, and locks as they stood.
                self._is_wanted, self._writes = Event(), Lock()
                Thread(target=self._write, name="log", daemon=True).start()
                # Called too where a server has started the process.
                Finalize(None, self._end, exitpriority=0)
                self._process = os.getpid()
        self._is_wanted.set()

    def _write(self) -> None:
        while self._is_wanted.wait():
            time.sleep(PAUSE)
            self._is_wanted.clear()
            # What cannot be written is lost, and what comes later may not be.
            with suppress(Exception):
                self.flush()

    def _end(self) -> None:
        """Wait until all is written, but not for a reader that takes nothing."""
        end = time.monotonic() + LAST_WORDS
        self._is_wanted.set()
        while (self._lines or self._writes.locked()) and time.monotonic() < end:
            time.sleep(PAUSE / 10)


def init_app(app: Flask) -> None:
    """Write a line for every answer, where the setting says so."""
    # Flask's own, which logs what goes wrong while an error is answered.
    app.logger.addFilter(DISCREET)
    # Whoever starts a process may leave it without a standard error.
    if not app.config["LOG_REQUESTS"] or sys.stderr is None:
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
