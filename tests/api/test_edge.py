"""The edge and the one error form: every source of an error answers problem+json."""

import gzip
import json
import sqlite3

import pytest
from problems import check

from library.api.plumbing.edge import LONGEST_QUERY
from library.api.plumbing.errors import MOST_ERRORS


@pytest.mark.parametrize(
    ("body", "content_type", "status", "code"),
    [
        ("{", "application/json", 400, "bad_request"),
        ("", "application/json", 400, "bad_request"),
        ('{"title": "x", "title": "y"}', "application/json", 400, "bad_request"),
        ('{"title": NaN}', "application/json", 400, "bad_request"),
        ('{"year": 1e400}', "application/json", 400, "bad_request"),
        ('{"year": -1e400}', "application/json", 400, "bad_request"),
        ('{"year": 1e300}', "application/json", 422, "validation_failed"),
        ('\ufeff{"title": "x"}', "application/json", 400, "bad_request"),
        ('{"title": "x"}'.encode("utf-16"), "application/json", 400, "bad_request"),
        ('{"title": "x"} {}', "application/json", 400, "bad_request"),
        ('{"a": {"b": 1, "b": 2}}', "application/json", 400, "bad_request"),
        ('{"title": "a\\u0000b"}', "application/json", 422, "validation_failed"),
        (b'{"title": "\xff"}', "application/json", 400, "bad_request"),
        ('{"title": "\\ud800"}', "application/json", 422, "validation_failed"),
        ("[" * 40 + "]" * 40, "application/json", 400, "bad_request"),
        ("[" * 100_000, "application/json", 400, "bad_request"),
        ('{"year": ' + "9" * 5000 + "}", "application/json", 400, "bad_request"),
        ('{"title": "x"}', "text/plain", 415, "unsupported_media_type"),
        ("title=x", "application/x-www-form-urlencoded", 415, "unsupported_media_type"),
        ('"' + '\\\\"' * 60_000, "application/json", 400, "bad_request"),
        ('{"title": "' + "x" * 300_000 + '"}', "application/json", 413, "content_too_large"),
    ],
)
def test_bodies(as_librarian, body, content_type, status, code):
    check(as_librarian.post("/books", data=body, content_type=content_type), status, code)
    assert as_librarian.get("/books").json == []


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nowhere", 404, "not_found"),
        ("GET", "/books/", 404, "not_found"),
        ("GET", "/users//me", 404, "not_found"),
        ("GET", "/books/0", 404, "not_found"),
        ("GET", "/books/-1", 404, "not_found"),
        ("GET", "/books/99999999999999999999", 404, "not_found"),
        ("GET", "/books/1.5", 404, "not_found"),
        ("GET", "/books/1", 404, "not_found"),
        ("GET", "/books?q=%ff", 400, "bad_request"),
        ("GET", "/%ff", 400, "bad_request"),
        ("GET", f"/books?q={'x' * LONGEST_QUERY}", 400, "bad_request"),
        ("GET", "/books?isbn=%00", 422, "validation_failed"),
        ("DELETE", "/books", 405, "method_not_allowed"),
        ("PUT", "/library", 405, "method_not_allowed"),
    ],
)
def test_addresses(as_librarian, method, path, status, code):
    answer = as_librarian.open(path, method=method, json={"x": 1} if method != "GET" else None)
    check(answer, status, code)
    if status == 405:
        assert answer.headers["Allow"]


def test_the_links_of_the_longest_query_are_no_longer_than_clients_take(as_librarian):
    for _ in range(3):
        as_librarian.post("/books", json={"title": "x" * 500})
    query = "page=2&page_size=1&q="
    answer = as_librarian.get(f"/books?{query}{'x' * (LONGEST_QUERY - len(query))}")
    assert (answer.status_code, answer.headers["X-Total-Count"]) == (200, "3")
    # What the standard library of Python reads of one header, and others like it.
    assert len(f"Link: {answer.headers['Link']}") < 65_536
    assert answer.headers["Link"].count("rel=") == 4


def test_a_coded_body_is_not_unpacked(as_librarian):
    packed = gzip.compress(b'{"title": "x"}')
    headers = {"Content-Encoding": "gzip"}
    check(
        as_librarian.post("/books", data=packed, content_type="application/json", headers=headers),
        415,
        "unsupported_media_type",
    )


def test_a_parameter_is_given_once(as_librarian):
    answer = as_librarian.get("/books?year_min=1&year_min=1")
    check(answer, 422, "validation_failed")
    assert [error["code"] for error in answer.json["errors"]] == ["duplicate_parameter"]


def test_thousands_of_faults_make_no_large_answer(as_librarian):
    body = {f"member {number}": 1 for number in range(10_000)}
    answer = as_librarian.post("/books", json=body)
    check(answer, 422, "validation_failed")
    assert len(answer.json["errors"]) == MOST_ERRORS
    assert len(answer.data) < len(json.dumps(body))
    answer = as_librarian.get("/books?" + "&".join(f"p{number}" for number in range(1000)))
    assert len(answer.json["errors"]) == MOST_ERRORS


def test_a_member_named_with_half_a_character_is_told_in_whole_ones(as_librarian):
    answer = as_librarian.post("/books", data='{"\\ud800": 1}', content_type="application/json")
    check(answer, 422, "validation_failed")
    assert "/?" in [error["pointer"] for error in answer.json["errors"]]


def test_request_ids_are_echoed_when_well_formed(client):
    assert client.get("/library", headers={"X-Request-ID": "abc-1.2_3"}).headers["X-Request-ID"] == "abc-1.2_3"
    for bad in ("a b", "x" * 65, "ä", '"'):
        assert client.get("/library", headers={"X-Request-ID": bad}).headers["X-Request-ID"] != bad


def test_every_answer_has_the_security_headers(client, as_patron):
    for answer in (client.get("/library"), client.get("/nowhere"), as_patron.get("/users/me")):
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
        assert "Set-Cookie" not in answer.headers


def test_a_locked_database_is_503_and_loses_nothing(migrated, tmp_path, request):
    if request.config.getoption("--database") != "sqlite":
        pytest.skip("the lock of a whole file is SQLite's")
    path = tmp_path / "locked.sqlite3"
    app = migrated(DATABASE_URL=f"sqlite:///{path}", LOCK_TIMEOUT_SECONDS=0)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    body = {"username": "jdoe", "email": "j@example.com", "password": "password123"}
    answer = app.test_client().post("/users/register", json=body)
    check(answer, 503, "unavailable")
    other.execute("ROLLBACK")
    other.close()
    assert app.test_client().post("/users/register", json=body).status_code == 201


@pytest.mark.parametrize("tag", ['""', "", '"', "W/", ",", '"x', "é", '"-"', '"1-x", ""'])
def test_odd_tags_are_no_error_of_ours(as_librarian, make, tag):
    path = f"/books/{make.book().id}"
    assert as_librarian.change(path, json={"year": 1}, tag=tag).status_code in (200, 412, 428)
    assert as_librarian.get(path, headers={"If-None-Match": tag}).status_code == 200


def test_a_weak_tag_still_names_the_version(as_librarian, make):
    path = f"/books/{make.book().id}"
    tag = f"W/{as_librarian.get(path).headers['ETag']}"
    assert as_librarian.change(path, json={"year": 1}, tag=tag).status_code == 200


def test_the_scheme_of_a_token_may_be_written_small(as_patron):
    token = as_patron.token
    assert as_patron.get("/users/me", headers={"Authorization": f"bearer {token}"}).status_code == 200
