"""The logs: nothing of what was sent stands in them, and nothing that is sent can write a line of its own."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from flask.testing import FlaskClient
from served import ROOT, Served
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError, IntegrityError

from library.api.plumbing.logs import LONGEST, Lines
from library.extensions import db
from library.logs import told

CANARY = "canary-7f3a"
FORGED = '{"id": "forged", "method": "GET", "route": "/admin", "status": 200, "ms": 1}'


def caught(work) -> BaseException:
    with pytest.raises(BaseException) as info:
        work()
    return info.value


def fall(cause: BaseException | None = None) -> None:
    raise ValueError(f"invalid literal: '{CANARY}'") from cause


def test_an_error_is_told_by_its_kind_and_place():
    said = told(caught(fall))
    assert said.endswith("\nbuiltins.ValueError")
    assert f'File "{__file__}"' in said
    assert "in fall" in said
    assert CANARY not in said


def test_what_led_to_it_is_told_first_and_without_its_text_too():
    said = told(caught(lambda: fall(KeyError(CANARY))))
    assert said.index("builtins.KeyError") < said.index("builtins.ValueError")
    assert CANARY not in said


def test_what_was_at_work_when_it_happened_is_told():
    def twice() -> None:
        try:
            fall()
        except ValueError as error:
            error.add_note(CANARY)
            raise LookupError(CANARY)  # noqa: B904 - it is the context that is told

    said = told(caught(twice))
    assert said.index("builtins.ValueError") < said.index("builtins.LookupError")
    assert CANARY not in said


def test_a_cause_that_is_hidden_stays_so():
    def hide() -> None:
        try:
            fall()
        except ValueError:
            raise LookupError from None

    assert "ValueError" not in told(caught(hide))


def test_of_a_group_every_error_is_told():
    said = told(ExceptionGroup(CANARY, [caught(fall), OSError(CANARY)]))
    assert said.index("ExceptionGroup") < said.index("builtins.ValueError") < said.index("builtins.OSError")
    assert CANARY not in said


def test_an_error_that_leads_to_itself_is_told_once():
    error = caught(fall)
    error.__cause__ = other = LookupError()
    other.__cause__ = error
    assert told(error).count("builtins.ValueError") == 1


def test_a_kind_may_be_local():
    class Odd(Exception):
        pass

    assert told(Odd(CANARY)).endswith("test_a_kind_may_be_local.<locals>.Odd")


@pytest.fixture
def clash(app, make):
    """An error of the database that quotes what was to be stored, as PostgreSQL does."""
    make.user(username=CANARY)
    with app.app_context():
        again = text("UPDATE users SET username_key = :name WHERE username <> :name")
        make.user()
        yield caught(lambda: db.session.execute(again, {"name": CANARY}))
        db.session.rollback()


def test_of_a_statement_the_values_are_not_told(clash, request):
    assert isinstance(clash, IntegrityError)
    if request.config.getoption("--database") == "postgres":
        assert CANARY in str(clash.orig), "else this test proves nothing"
    said = told(clash)
    assert "UPDATE users SET username_key" in said
    assert "IntegrityError" in said
    assert CANARY not in said


def test_a_statement_may_be_missing():
    assert told(DBAPIError(None, {}, Exception(CANARY))).endswith("sqlalchemy.exc.DBAPIError")


def test_what_goes_wrong_after_the_view_is_told_without_its_address(migrated, caplog):
    app = migrated(PROPAGATE_EXCEPTIONS=False)

    @app.after_request
    def fall_late(_response) -> None:
        raise ValueError(CANARY)

    client = FlaskClient(app, app.response_class)
    answer = client.get(f"/library?x={CANARY}", headers={"X-Request-ID": "late-1"})
    assert answer.status_code == 500
    assert "request late-1: unhandled" in caplog.text
    assert "builtins.ValueError" in caplog.text
    assert CANARY not in caplog.text
    assert "/library" not in caplog.text.replace(str(ROOT), "")


# --- The lines of requests ----------------------------------------------------------------------


class Noted:
    """A stream that remembers what each write brought."""

    def __init__(self) -> None:
        self.writes: list[str] = []

    def write(self, text: str) -> None:
        self.writes.append(text)

    def flush(self) -> None: ...


def test_lines_of_a_moment_are_written_together_and_in_order():
    stream = Noted()
    log = Lines(stream)
    for bundle in range(2):
        for number in range(1000):
            log.add(f"line {bundle}.{number}")
        assert until(lambda: "".join(stream.writes).count("\n") == 1000 * (bundle + 1))  # noqa: B023 - called here
    said = "".join(stream.writes)
    assert said.splitlines() == [f"line {bundle}.{number}" for bundle in range(2) for number in range(1000)]
    assert len(stream.writes) < 1000


def until(holds, seconds: float = 30) -> bool:
    end = time.monotonic() + seconds
    while not holds() and time.monotonic() < end:
        time.sleep(0.01)
    return holds()


def test_a_log_that_could_not_be_written_once_goes_on():
    class Full(Noted):
        is_full = True

        def write(self, text: str) -> None:
            if self.is_full:
                self.is_full = False
                raise OSError(28, "No space left on device")
            super().write(text)

    stream = Full()
    log = Lines(stream)
    log.add("lost")
    assert until(lambda: not stream.is_full)
    log.add("told")
    assert until(lambda: bool(stream.writes))
    assert stream.writes == ["told\n"]


def test_no_bundle_is_longer_than_a_pipe_keeps_whole():
    stream = Noted()
    log = Lines(stream)
    lines = [str(number) * (number % 300 + 1) for number in range(1000)] + ["x" * 5000, "y"]
    for line in lines:
        log.add(line)
    log.flush()
    assert "".join(stream.writes).splitlines() == lines
    assert all(len(text) <= LONGEST for text in stream.writes if "x" not in text)


def test_a_process_ends_though_nobody_takes_its_lines_away():
    program = """
import sys, time
from library.api.plumbing.logs import LONGEST, Lines

log = Lines(sys.stderr)
for number in range(5000):
    log.add("x" * 100)
time.sleep(0.5)
"""
    reader, writer = os.pipe()
    try:
        ran = subprocess.run([sys.executable, "-c", program], cwd=ROOT, stderr=writer, timeout=60, check=False)
    finally:
        os.close(reader)
        os.close(writer)
    assert ran.returncode == 0


def test_a_process_that_was_forked_writes_its_own_lines(tmp_path):
    program = """
import os, sys
from library.api.plumbing.logs import LONGEST, Lines

log = Lines(sys.stderr)
log.add("of the parent")
if os.fork() == 0:
    log.add("of the child")
    log._end()
    os._exit(0)
os.wait()
"""
    ran = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
    )
    assert {"of the parent", "of the child"} == set(ran.stderr.splitlines())


def test_what_was_said_just_now_is_written_when_it_is_flushed():
    stream = Noted()
    log = Lines(stream)
    log.add("the last words")
    log.flush()
    assert stream.writes == ["the last words\n"]


# --- Through the real server --------------------------------------------------------------------


class Falling(Served):
    """The server of the application whose views fall over."""

    application = "falling:load"


@pytest.fixture(scope="module")
def server(new_database, tmp_path_factory) -> Iterator[Falling]:
    path = os.pathsep.join(filter(None, [str(Path(__file__).parent), os.environ.get("PYTHONPATH")]))
    folder = tmp_path_factory.mktemp("logging")
    settings = {"LIBRARY_LOG_REQUESTS": "true", "LIBRARY_TRUSTED_NETWORKS": "127.0.0.0/8", "PYTHONPATH": path}
    running = Falling(folder, new_database(), workers=1, **settings)
    yield running
    running.stop()


HOSTILE = (
    b"GET /users/%0d%0a" + CANARY.encode() + b" HTTP/1.1\r\n",
    b"GET /" + CANARY.encode() + b"?email=" + CANARY.encode() + b"%0a" + b" HTTP/1.1\r\n",
    b"GET /books?q=" + CANARY.encode() + b" HTTP/1.1\r\n",
    CANARY.encode() + b" /books HTTP/1.1\r\n",
    b"GET /books HTTP/1.1\r\nX-Request-ID: " + CANARY.encode() + b"\xc3\xa9" + FORGED.encode() + b"\r\n",
    b"GET /books HTTP/1.1\r\nX-Request-ID: a\tb" + CANARY.encode() + b"\r\n",
    b"GET /books HTTP/1.1\r\nAuthorization: Bearer " + CANARY.encode() + b"\r\n",
    b"GET /books HTTP/1.1\r\nUser-Agent: " + CANARY.encode() + b"\r\nReferer: " + CANARY.encode() + b"\r\n",
    b"GET /books HTTP/1.1\r\nX-Forwarded-For: " + CANARY.encode() + b"\r\nCookie: " + CANARY.encode() + b"\r\n",
)


def requests() -> Iterator[bytes]:
    for head in HOSTILE:
        yield head + b"Host: " + CANARY.encode() + b"\r\nConnection: close\r\n\r\n"
    for path in ("/users/register", "/users/login", "/users/refresh", "/crash_with"):
        for body in (
            {"email": CANARY, "password": CANARY, "username": CANARY, "refresh_token": CANARY},
            {CANARY: f"\n{FORGED}\n"},
            [CANARY],
        ):
            sent = json.dumps(body).encode()
            yield (
                f"POST {path} HTTP/1.1\r\nHost: library\r\nConnection: close\r\n".encode()
                + (f"Content-Type: application/json\r\nContent-Length: {len(sent)}\r\n\r\n").encode()
                + sent
            )


def test_nothing_that_is_sent_stands_in_the_log_or_writes_a_line(server):
    answered = [server.raw(sent).split(b" ", 2)[1:2] for sent in requests()]
    assert len(answered) == len(HOSTILE) + 12
    assert {b"500"} < {status for line in answered for status in line}, "the crashes were reached"
    said = server.logged()
    assert CANARY not in said
    assert "forged" not in said
    lines = [json.loads(line) for line in said.splitlines() if line.startswith("{")]
    assert len(lines) >= len(answered) - 3, "what is no HTTP never comes to the application"
    for line in lines:
        assert line.keys() == {"id", "method", "route", "status", "ms"}
        assert line["route"] is None or CANARY not in line["route"]
    assert "other" in {line["method"] for line in lines}
    assert {"/users/login", "/books", None} <= {line["route"] for line in lines}
    assert said.count("builtins.ValueError") == 3


def test_the_last_lines_are_written_before_the_server_ends(new_database, tmp_path):
    server = Served(tmp_path, new_database(), workers=1, LIBRARY_LOG_REQUESTS="true")
    for number in range(20):
        assert server.call("GET", "/health/live", headers={"X-Request-ID": f"last-{number}"}).status == 200
    server.stop()
    said = (tmp_path / "server.log").read_text()
    assert [number for number in range(20) if f'"last-{number}"' not in said] == []
