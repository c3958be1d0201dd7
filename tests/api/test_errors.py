"""Whatever goes wrong inside: the one form outside, nothing of the inside, and a code that some test has met."""

import ast
import logging
import re
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path

import pytest
from flask import Response
from flask.testing import FlaskClient
from problems import check
from sqlalchemy import insert, text
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm.exc import StaleDataError
from test_house import subclasses
from werkzeug.datastructures import WWWAuthenticate
from werkzeug.exceptions import ImATeapot, Unauthorized

from library.api.plumbing.errors import CODES, Problem
from library.api.plumbing.fields import Coded
from library.api.plumbing.references import Ref
from library.api.plumbing.schemas import QuerySchema, RequestSchema
from library.extensions import db
from library.models import Generation
from library.rules.borrowing import ItemOnLoan
from library.rules.errors import Forbidden, Refused

SECRET = "the cook has the key"
TESTS = Path(__file__).parent.parent
PACKAGE = TESTS.parent / "library"


@pytest.fixture(scope="module")
def falling_app(migrated):
    """An application as it is served, whose view `/fall` does what `trouble` holds."""
    app = migrated(LOG_REQUESTS=False)
    app.testing = False
    app.add_url_rule("/fall", view_func=lambda: app.trouble(), endpoint="fall", methods=["GET", "POST"])
    app.add_url_rule("/wing/", view_func=lambda: "", endpoint="wing")
    return app


@pytest.fixture
def fall(falling_app) -> Callable:
    """Call it with what shall go wrong for the answer."""

    def answer(trouble: Callable[[], object] | Exception, **options):
        def go_wrong() -> object:
            if isinstance(trouble, Exception):
                raise trouble
            return trouble()

        falling_app.trouble = go_wrong
        return falling_app.test_client().open("/fall", **options)

    return answer


def gone(message: str = SECRET, invalidated: bool = False) -> DBAPIError:
    return DBAPIError(f"SELECT '{SECRET}'", {}, Exception(message), connection_invalidated=invalidated)


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (ZeroDivisionError(SECRET), 500, "internal_error"),
        (gone(), 500, "internal_error"),
        (RecursionError(SECRET), 500, "internal_error"),
        (Problem(410), 410, "gone"),
        (Forbidden("x"), 403, "forbidden"),
        (Refused([ItemOnLoan()]), 409, "refused"),
        (StaleDataError(SECRET), 412, "precondition_failed"),
        (gone(invalidated=True), 503, "unavailable"),
        (OperationalError(f"SELECT '{SECRET}'", {}, Exception("gone")), 503, "unavailable"),
        (PoolTimeout(SECRET), 503, "unavailable"),
        (ImATeapot(), 418, "error"),
    ],
)
def test_what_a_view_raises(fall, error, status, code):
    answer = fall(error)
    check(answer, status, code)
    assert (status == 503) == (answer.headers.get("Retry-After") == "1")
    for inside in (SECRET, "SELECT", "ZeroDivision", "DBAPI", "StaleData", "sqlalche", "Traceback"):
        assert inside not in answer.text


@pytest.mark.parametrize("switch", [{"DEBUG": True}, {"PROPAGATE_EXCEPTIONS": True}])
def test_no_switch_lets_the_inside_out(falling_app, fall, monkeypatch, switch):
    for name, value in switch.items():
        monkeypatch.setitem(falling_app.config, name, value)
    answer = fall(ZeroDivisionError(SECRET))
    check(answer, 500, "internal_error")
    assert SECRET not in answer.text


def test_the_log_has_the_crash_under_the_name_of_the_request(fall, caplog):
    with caplog.at_level(logging.WARNING, "library"):
        fall(ZeroDivisionError(SECRET), headers={"X-Request-ID": "desk-7"})
        fall(gone(invalidated=True), headers={"X-Request-ID": "desk-8"})
    crash, away = caplog.records
    assert crash.getMessage().startswith("request desk-7: unhandled\n")
    assert crash.getMessage().endswith("\nbuiltins.ZeroDivisionError")
    assert f'File "{__file__}"' in crash.getMessage()
    assert SECRET not in caplog.text
    assert away.getMessage() == "request desk-8: database: DBAPIError"


def test_a_clash_that_only_the_database_saw_is_409(fall):
    def clash() -> None:
        for _ in range(2):
            db.session.execute(insert(Generation).values(name=SECRET, number=0))

    answer = fall(clash, method="POST", json={})
    check(answer, 409, "conflict")
    for inside in (SECRET, "UNIQUE", "unique", "generations"):
        assert inside not in answer.text


def test_a_statement_that_is_wrong_is_a_crash(fall):
    answer = fall(lambda: db.session.execute(text("SELECT key_of_the_cook FROM house")))
    check(answer, 500, "internal_error")
    assert "Retry-After" not in answer.headers
    assert "cook" not in answer.text


def test_what_flask_itself_raises_keeps_its_challenge(fall):
    challenge = WWWAuthenticate("bearer", {"realm": "library"})
    answer = fall(Unauthorized(www_authenticate=challenge))
    check(answer, 401, "unauthorized")
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")


def test_a_redirect_stays_one(falling_app):
    answer = FlaskClient(falling_app, Response).get("/wing?q=1")
    assert (answer.status_code, answer.headers["Location"]) == (308, "http://localhost/wing/?q=1")
    assert answer.headers["X-Request-ID"]


def test_a_body_in_chunks_is_not_cut_at_the_limit(as_librarian):
    """Its first part alone would be a good body."""
    whole = b'{"title": "Omoo"}'.ljust(as_librarian.application.config["LARGEST_BODY"]) + b"and more"
    call = {
        "input_stream": BytesIO(whole),
        "content_type": "application/json",
        "headers": {"Transfer-Encoding": "chunked"},
        "environ_overrides": {"wsgi.input_terminated": True},
    }
    check(as_librarian.post("/books", **call), 413, "content_too_large")
    assert as_librarian.get("/books").json == []


def test_a_packed_body_is_not_taken(as_librarian):
    answer = as_librarian.post("/books", json={"title": "Omoo"}, headers={"Content-Encoding": "gzip"})
    check(answer, 415, "unsupported_media_type")
    assert answer.headers["Accept-Encoding"] == "identity"
    plain = as_librarian.post("/books", json={"title": "Omoo"}, headers={"Content-Encoding": "identity"})
    assert plain.status_code == 201


def test_a_stranger_learns_nothing_by_a_bad_body(client):
    for headers in ({"Content-Encoding": "gzip"}, {"Content-Type": "text/plain"}):
        check(client.post("/books", data=b"{", headers=headers), 401, "unauthorized")


@pytest.mark.parametrize(
    ("path", "body", "place", "code"),
    [
        ("/copies", {"book_id": 9}, {"pointer": "/book_id"}, "book_not_found"),
        ("/copies", {"book_id": 1, "item_type_id": 9}, {"pointer": "/item_type_id"}, "item_type_not_found"),
        ("/users", {"patron_category_id": 9}, {"pointer": "/patron_category_id"}, "patron_category_not_found"),
        ("/waivers", {"charge_id": 9, "reason": "Because"}, {"pointer": "/charge_id"}, "account_entry_not_found"),
        ("/books", {"title": "x", "subject_ids": [1, 1]}, {"pointer": "/subject_ids"}, "duplicate_value"),
        ("/books?surprise=1", None, {"parameter": "surprise"}, "unknown_parameter"),
        ("/books?year_min=1&year_min=2", None, {"parameter": "year_min"}, "duplicate_parameter"),
    ],
)
def test_a_fault_says_where_it_is(as_librarian, make, path, body, place, code):
    make.book(subjects=[make.subject()])
    answer = as_librarian.get(path) if body is None else as_librarian.post(path, json=body)
    check(answer, 422, "validation_failed")
    assert code in [error["code"] for error in answer.json["errors"] if place.items() <= error.items()]


@pytest.mark.parametrize(
    ("headers", "status", "code", "reason"),
    [
        ({}, 428, "precondition_required", "required"),
        ({"If-Match": '"0-0"'}, 412, "precondition_failed", "stale_version"),
        ({"If-Match": "junk"}, 412, "precondition_failed", "stale_version"),
        ({"If-Match": "*", "Sandbox-Now": "tomorrow"}, 400, "bad_request", "sandbox_clock_off"),
    ],
)
def test_a_fault_of_a_header_names_it(as_librarian, make, headers, status, code, reason):
    answer = as_librarian.patch(f"/books/{make.book().id}", json={"year": 1847}, headers=headers)
    check(answer, status, code)
    (error,) = answer.json["errors"]
    assert (error["code"], error["header"]) == (reason, "Sandbox-Now" if status == 400 else "If-Match")
    assert error.keys() == {"code", "detail", "header", "params"}


def literal(node: ast.AST | None) -> Iterator[str]:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value


def codes_of(tree: ast.AST) -> Iterator[str]:
    """The codes that a module writes down: of faults, of problems, of single reasons."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            place = {"Fault": 1, "Problem": 2, "header_error": 1}.get(node.func.id)
            if place is not None:
                yield from literal(next(iter(node.args[place : place + 1]), None))
                yield from (code for word in node.keywords if word.arg == "code" for code in literal(word.value))
        if isinstance(node, ast.Dict):
            for key, value in zip(node.keys, node.values, strict=True):
                yield from literal(value) if list(literal(key)) == ["code"] else ()


def codes_of_fields() -> set[str]:
    """The codes by which fields refuse a value."""
    keys = {key for field in subclasses(Coded) for key in field.default_error_messages}
    return {"null_not_allowed" if key == "null" else "invalid_type" if key == "type" else key for key in keys}


def codes_of_references() -> set[str]:
    """The codes of keys that lead nowhere."""
    fields = [
        field for schema in subclasses(RequestSchema) + subclasses(QuerySchema) for field in schema().fields.values()
    ]
    nouns = {field.table.__name__ for field in fields if isinstance(field, Ref)}
    return {re.sub(r"(?<!^)(?=[A-Z])", "_", noun).lower() + "_not_found" for noun in nouns}


def test_every_code_was_met_by_a_test():
    written = {code for path in PACKAGE.rglob("*.py") for code in codes_of(ast.parse(path.read_text("utf-8")))}
    assert {"sandbox_clock_off", "refused", "page_too_deep", "permission_missing"} <= written
    told = written | codes_of_fields() | codes_of_references() | set(CODES.values())
    texts = "\n".join(path.read_text("utf-8") for path in TESTS.rglob("test_*.py"))
    unmet = sorted(code for code in told if not re.search(rf"\b{code}\b", texts))
    assert unmet == []
