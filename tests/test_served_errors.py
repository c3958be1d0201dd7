"""Errors through the real server: the same form, headers and silence about the inside as in the test client."""

import http.client
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path

import falling
import pytest
from documented import document_of
from jsonschema import Draft202012Validator
from served import Served

JSON = b"Content-Type: application/json\r\n"
HEX_ID = re.compile(r"[0-9a-f]{32}\Z")


class Falling(Served):
    """The server of the application whose views fall over."""

    application = "falling:load"


@pytest.fixture(scope="module")
def server(new_database, tmp_path_factory) -> Iterator[Falling]:
    here = str(Path(__file__).parent)
    folder = tmp_path_factory.mktemp("falling")
    running = Falling(folder, new_database(), workers=1, PYTHONPATH=here, LIBRARY_LOG_REQUESTS="true")
    yield running
    running.stop()


@pytest.fixture(scope="module")
def token(server) -> str:
    return server.admin()


class Reply(io.BytesIO):
    """Received bytes, as http.client wants to read them."""

    def __init__(self, received: bytes) -> None:
        super().__init__(received)
        self.answer = http.client.HTTPResponse(self)  # type: ignore[arg-type]
        self.answer.begin()
        self.body = self.answer.read()

    def makefile(self, *_: object) -> io.BytesIO:
        return self


@pytest.fixture
def ask(server, token):
    """Call it with a request's first line, more headers and a body, all in bytes, for the status, headers and body."""

    def call(line: bytes, headers: bytes = b"", body: bytes = b"", signed_in: bool = True) -> Reply:
        authorization = b"Authorization: Bearer " + token.encode() + b"\r\n" if signed_in else b""
        head = line + b" HTTP/1.1\r\nHost: library\r\nConnection: close\r\n" + authorization + headers + b"\r\n"
        return Reply(server.raw(head + body))

    return call


@pytest.fixture
def problem(shared_app):
    """Call it with an answer to hold it against the one schema; the problem."""
    schemas = document_of(shared_app)["components"]
    validator = Draft202012Validator({"$ref": "#/components/schemas/Problem", "components": schemas})

    def check(reply: Reply, status: int, code: str) -> dict:
        answer = reply.answer
        assert answer.status == status, reply.body
        assert answer.getheader("Content-Type") == "application/problem+json"
        found = json.loads(reply.body)
        validator.validate(found)
        assert (found["status"], found["code"]) == (status, code)
        assert found["request_id"] == answer.getheader("X-Request-ID")
        assert answer.getheader("Cache-Control") == "no-store"
        assert answer.getheader("X-Content-Type-Options") == "nosniff"
        return found

    return check


def sized(body: bytes) -> bytes:
    return JSON + b"Content-Length: %d\r\n" % len(body)


def chunked(*parts: bytes) -> bytes:
    return b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"


@pytest.mark.parametrize(
    ("line", "status", "code"),
    [
        (b"GET /nowhere", 404, "not_found"),
        (b"GET /books/", 404, "not_found"),
        (b"GET //books", 404, "not_found"),
        (b"GET /books/%zz", 404, "not_found"),
        (b"GET /../../etc/passwd", 404, "not_found"),
        (b"GET /docs/assets/nothing.js", 404, "not_found"),
        (b"GET /docs/assets/..%2f..%2fsetup.cfg", 404, "not_found"),
        (b"GET /" + b"x" * 20_000, 404, "not_found"),
        (b"GET http://elsewhere/nowhere", 404, "not_found"),
        (b"CONNECT library:80", 404, "not_found"),
        (b"GET /books%00", 400, "bad_request"),
        (b"GET /%ff", 400, "bad_request"),
        (b"GET /books?q=%ff", 400, "bad_request"),
        (b"GET /books?isbn=%00", 422, "validation_failed"),
        (b"GET /books?surprise=1", 422, "validation_failed"),
        (b"DELETE /books", 405, "method_not_allowed"),
        (b"TRACE /books", 405, "method_not_allowed"),
        (b"FROBNICATE /books", 405, "method_not_allowed"),
        (b"DELETE /docs", 405, "method_not_allowed"),
    ],
)
def test_addresses_and_methods(ask, problem, line, status, code):
    reply = ask(line)
    problem(reply, status, code)
    assert (status == 405) == (reply.answer.getheader("Allow") is not None)


def test_a_head_is_answered_like_a_get_without_its_body(server, token):
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    for path, status in (("/nowhere", 404), ("/books?surprise=1", 422), ("/books/1", 404)):
        connection.request("HEAD", path, headers={"Authorization": f"Bearer {token}"})
        answer = connection.getresponse()
        assert (answer.status, answer.read()) == (status, b"")
        assert answer.getheader("Content-Type") == "application/problem+json"
    connection.close()


@pytest.mark.parametrize(
    ("headers", "body", "status", "code"),
    [
        (sized(b"{"), b"{", 400, "bad_request"),
        (JSON, b"", 400, "bad_request"),
        (sized(b'{"title": 1}'), b'{"title": 1}', 422, "validation_failed"),
        (b"Content-Type: text/plain\r\nContent-Length: 2\r\n", b"{}", 415, "unsupported_media_type"),
        (b"Content-Length: 2\r\n", b"{}", 415, "unsupported_media_type"),
        (sized(b"{}") + b"Content-Encoding: gzip\r\n", b"{}", 415, "unsupported_media_type"),
        (sized(b" " * 300_000), b" " * 300_000, 413, "content_too_large"),
        (JSON + b"Content-Length: 99999999999\r\n", b"{}", 413, "content_too_large"),
        (JSON + b"Transfer-Encoding: chunked\r\n", chunked(b"{"), 400, "bad_request"),
        (JSON + b"Transfer-Encoding: chunked\r\n", chunked(*[b" " * 65_536] * 6), 413, "content_too_large"),
    ],
)
def test_bodies(ask, problem, headers, body, status, code):
    problem(ask(b"POST /books", headers, body), status, code)


def test_a_method_in_a_header_counts_for_nothing(ask, problem):
    override = b"X-HTTP-Method-Override: DELETE\r\nX-Method-Override: DELETE\r\n"
    problem(ask(b"POST /books?_method=DELETE", sized(b"{}") + override, b"{}"), 422, "validation_failed")


@pytest.mark.parametrize("token", [b"Bearer x.y.z", b"Bearer", b"Basic Zm9v", b"Bearer \xff\xfe", b"x"])
def test_a_stranger_is_told_how_to_sign_in(ask, problem, token):
    reply = ask(b"GET /users/me", b"Authorization: " + token + b"\r\n", signed_in=False)
    problem(reply, 401, "unauthorized")
    assert (reply.answer.getheader("WWW-Authenticate") or "").startswith('Bearer realm="library"')


def test_a_limit_says_when_to_come_again(ask, problem):
    wrong = b'{"email": "nobody", "password": "wrong"}'
    replies = [ask(b"POST /users/login", sized(wrong), wrong, signed_in=False) for _ in range(6)]
    assert [reply.answer.status for reply in replies] == [401] * 5 + [429]
    problem(replies[-1], 429, "too_many_requests")
    assert 0 < int(replies[-1].answer.getheader("Retry-After") or "") <= 600


def test_request_ids_are_echoed_in_header_body_and_log(server, ask, problem):
    for line, status, code in ((b"GET /nowhere", 404, "not_found"), (b"GET /crash", 500, "internal_error")):
        name = f"desk-3.{status}"
        assert problem(ask(line, f"X-Request-ID: {name}\r\n".encode()), status, code)["request_id"] == name
        lines = [json.loads(line) for line in server.logged().splitlines() if line.startswith("{") and name in line]
        assert [(line["id"], line["status"]) for line in lines] == [(name, status)]


@pytest.mark.parametrize("bad", [b"a b", b"x" * 65, b"\xff", b"<b>", b""])
def test_a_bad_request_id_is_replaced(ask, problem, bad):
    assert HEX_ID.match(
        problem(ask(b"GET /nowhere", b"X-Request-ID: " + bad + b"\r\n"), 404, "not_found")["request_id"]
    )


def test_a_crash_tells_the_log_and_nobody_else(server, ask, problem):
    reply = ask(b"GET /crash", b"X-Request-ID: the-crash\r\n")
    assert problem(reply, 500, "internal_error")["errors"] == []
    for inside in (falling.SECRET, "RuntimeError", "Traceback", ".py"):
        assert inside not in reply.body.decode()
    told = server.logged()
    assert "request the-crash: unhandled" in told
    assert "builtins.RuntimeError" in told
    assert falling.SECRET not in told


def test_a_wrong_statement_is_a_crash_and_not_a_reason_to_try_again(server, ask, problem):
    reply = ask(b"GET /wrong_statement")
    problem(reply, 500, "internal_error")
    assert reply.answer.getheader("Retry-After") is None
    assert "house" not in reply.body.decode()
    assert "cook" not in reply.body.decode()
    assert "key_of_the_cook" in server.logged()


@pytest.mark.parametrize(("path", "parts"), [("first_part", 0), ("later_part", 3)])
def test_a_stream_that_breaks_off_leaks_nothing(server, ask, path, parts):
    reply = ask(f"GET /{path}".encode())
    assert reply.body == b"part\n" * 1000 * parts
    assert falling.SECRET in server.logged()


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"hello world\r\n\r\n", 400),
        (b"GET /library\r\n\r\n", 400),
        (b"GET /li\0brary HTTP/1.1\r\nHost: library\r\n\r\n", 400),
        (b"GET /library HTTP/1.1\r\nHost: library\r\nno colon here\r\n\r\n", 400),
        (b"POST /books HTTP/1.1\r\nHost: library\r\nContent-Length: -1\r\n\r\n", 400),
        (b"POST /books HTTP/1.1\r\nHost: library\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}}", 400),
        (b"GET /library?q=" + b"x" * 70_000 + b" HTTP/1.1\r\nHost: library\r\n\r\n", 414),
        (b"GET /library HTTP/1.1\r\nHost: library\r\n" + b"X: y\r\n" * 200 + b"\r\n", 431),
    ],
)
def test_what_is_no_http_the_server_turns_away_with_a_bare_status(server, sent, status):
    reply = Reply(server.raw(sent))
    assert (reply.answer.status, reply.body) == (status, b"")
    assert server.call("GET", "/health/live").status == 200
