"""The fast path: as the whole application answers, or not at all."""

import json
import sqlite3
from contextlib import contextmanager
from types import SimpleNamespace

import pytest
from sqlalchemy import text
from test_house import populate

from library.api.plumbing import reads
from library.api.plumbing.reading import CACHE_KB, Readers
from library.api.plumbing.reads import _returns_the_actor, _returns_what_it_finds
from library.api.plumbing.tokens import Claims, Verified
from library.extensions import db
from library.models import Role

PLAIN = {
    "/users/me",
    "/patron-categories/<id>",
    "/books",
    "/books/<id>",
    "/authors",
    "/authors/<id>",
    "/subjects",
    "/subjects/<id>",
    "/item-types",
    "/item-types/<id>",
    "/transfer-limits/<id>",
    "/calendar-exceptions/<id>",
    "/jobs/<id>",
}
# Of each answer its own.
OWN = {"X-Request-ID", "RateLimit", "X-RateLimit-Remaining", "X-RateLimit-Reset"}
QUERIES = ("", "page=2&page_size=5", "q=title&page_size=3", "sort=-name", "sort=title", "cursor=start&page_size=4")
FAULTS = ("x=1", "q=%FF", "page_size=0", "page=1&page=2", "page=2&cursor=start", "expand=author")
HEADERS = (
    {},
    {"If-None-Match": '"0-0"'},
    {"If-None-Match": "*"},
    {"Accept": "text/csv"},
    {"Accept": "application/json;q=0.5, */*;q=0.1"},
    {"Accept": "image/png"},
    {"Origin": "https://desk.example"},
    {"Origin": "null"},
    {"If-Match": '"1-x"'},
    {"X-Request-ID": "mine"},
    {"X-Request-ID": "not a name"},
    {"Sandbox-Now": "2030-01-01T00:00:00Z"},
    {"Authorization": "Bearer nobody's"},
    {"Authorization": "Basic eDp5"},
)


@pytest.fixture
def fast_path(app, monkeypatch):
    """The fast path of the application; `onward` are the paths that the application answered itself."""
    found = app.extensions["library_fast_path"]
    onward, application = [], found._onward

    def note(environ, start_response):
        onward.append(environ["PATH_INFO"])
        return application(environ, start_response)

    monkeypatch.setattr(found, "_onward", note)
    found.onward = onward
    return found


@contextmanager
def without(fast_path):
    fast_path.enabled = False
    yield
    fast_path.enabled = True


def told(answer):
    """Of an answer what both ways must agree on."""
    headers = sorted((name, value) for name, value in answer.headers if name not in OWN)
    body = answer.get_data()
    if answer.status_code >= 400:
        body = {name: value for name, value in json.loads(body).items() if name != "request_id"}
    return answer.status_code, headers, body


def address_of(path):
    return path.replace("<id>", "3")


def warm(client):
    """A token is seen for the first time; it is known afterwards."""
    assert client.get("/users/me").status_code == 200


def test_what_is_plain(fast_path):
    assert set(fast_path._reads) == PLAIN


@pytest.mark.parametrize("role", [None, Role.PATRON, Role.ADMIN])
@pytest.mark.parametrize("opened", [False, True])
def test_both_ways_answer_alike(app, client, fast_path, make, signed_in, monkeypatch, role, opened):
    monkeypatch.setitem(app.config, "PUBLIC_CATALOGUE", opened)
    admin = make.librarian(role=Role.ADMIN)
    populate(make, admin)
    if role is not None:
        client = signed_in(admin if role is Role.ADMIN else make.user())
        warm(client)
    answered = set()
    for path in PLAIN:
        address = address_of(path)
        asked = [(query, headers) for query in (*QUERIES, *FAULTS) for headers in HEADERS[:2]]
        for query, headers in [*asked, *(("", headers) for headers in HEADERS)]:
            fast_path.onward.clear()
            answer = client.get(address, query_string=query, headers=headers)
            if not fast_path.onward:
                answered.add((path, answer.status_code))
            if answer.status_code == 200:
                again = client.get(
                    address, query_string=query, headers=headers | {"If-None-Match": answer.headers["ETag"]}
                )
                assert again.status_code == 304
            with without(fast_path):
                assert told(client.get(address, query_string=query, headers=headers)) == told(answer), (
                    address,
                    query,
                    headers,
                )
                if answer.status_code == 200:
                    tagged = headers | {"If-None-Match": answer.headers["ETag"]}
                    assert told(client.get(address, query_string=query, headers=tagged)) == told(again)
    # Or the test would be about one way only.
    catalogue = {
        path for path in PLAIN if path.partition("/<")[0] in ("/books", "/authors", "/subjects", "/item-types")
    }
    if role is Role.ADMIN:
        assert answered >= {(path, 200) for path in PLAIN}
    elif role is Role.PATRON or opened:
        assert answered >= {(path, 200) for path in catalogue}
    else:
        assert not answered


@pytest.mark.parametrize("setting", ["https://desk.example", "*"])
def test_pages_of_other_origins_are_told_alike(migrated, setting):
    app = migrated(CORS_ORIGINS=setting, PUBLIC_CATALOGUE=True)
    client, fast_path = app.test_client(), app.extensions["library_fast_path"]
    for origin in ({}, *({"Origin": origin} for origin in ("https://desk.example", "https://else.example", "null"))):
        answer = client.get("/item-types", headers=origin)
        with without(fast_path):
            assert told(client.get("/item-types", headers=origin)) == told(answer)
    assert "Origin" in answer.headers["Vary"]


def test_other_methods_bodies_and_keys_go_on(fast_path, as_patron, make):
    warm(as_patron)
    fast_path.onward.clear()
    assert as_patron.head("/users/me").status_code == 200
    assert as_patron.options("/users/me").status_code == 204
    assert as_patron.get("/users/me", data=b"{}", headers={"Content-Type": "application/json"}).status_code == 200
    assert as_patron.get("/users/me/").status_code == 404
    assert as_patron.get("/books/0").status_code == 404
    assert as_patron.get("/books/01").status_code == 404
    assert as_patron.get("/books/99999999999").status_code == 404
    assert as_patron.get("/books/٣").status_code == 404  # a digit, and none of ours
    assert as_patron.get("/books/1", headers={"Upgrade": "websocket"}).status_code in (400, 404)
    assert len(fast_path.onward) == 9


def test_whether_a_token_still_holds_is_asked_each_time(fast_path, make, signed_in, session):
    for end in ("UPDATE users SET active = false", "UPDATE users SET token_version = token_version + 1"):
        client = signed_in(make.user())
        warm(client)
        assert [client.get(path).status_code for path in ("/users/me", "/books")] == [200, 200]
        session.execute(text(f"{end} WHERE id = {client.user_id}"))
        session.commit()
        assert [client.get(path).status_code for path in ("/users/me", "/books", "/item-types/1")] == [401] * 3
    client = signed_in(make.user())
    warm(client)
    assert client.post("/users/logout").status_code == 204
    assert [client.get(path).status_code for path in ("/users/me", "/books")] == [401, 401]


def test_a_role_that_was_taken_holds_no_more(make, signed_in, session):
    client = signed_in(make.librarian(role=Role.ADMIN))
    make.transfer_limit()
    warm(client)
    assert client.get("/transfer-limits/1").status_code == 200
    session.execute(text(f"UPDATE users SET role = 'patron' WHERE id = {client.user_id}"))
    session.commit()
    assert client.get("/transfer-limits/1").status_code == 403


def test_a_token_is_known_until_it_expires_and_while_its_key_is_ours(monkeypatch):
    settings = {"SECRET_KEY": "a", "SECRET_KEY_PREVIOUS": ""}
    verified, claims = Verified(settings), Claims(1, Role.PATRON, 1, 1, "x")
    monkeypatch.setattr("library.api.plumbing.tokens.time", SimpleNamespace(time=lambda: 100.0))
    verified.keep("one", claims, 101)
    assert (verified.get("one"), verified.get("two")) == (claims, None)
    verified.keep("one", claims, 100)
    assert verified.get("one") is None
    verified.keep("one", claims, 101)
    settings["SECRET_KEY"] = "b"
    assert verified.get("one") is None


def test_tokens_are_not_remembered_without_end(monkeypatch):
    monkeypatch.setattr(Verified, "MOST", 3)
    verified, claims = Verified({"SECRET_KEY": "a", "SECRET_KEY_PREVIOUS": ""}), Claims(1, Role.PATRON, 1, 1, "x")
    for number in range(7):
        verified.keep(str(number), claims, 2**40)
    assert sum(verified.get(str(number)) is not None for number in range(7)) == 1


def test_a_call_counts_once_whichever_way_it_goes(migrated, fast_path):
    app = migrated(LIMITS_ENABLED=True, LIMIT_ANONYMOUS="5 per minute", PUBLIC_CATALOGUE=True)
    client = app.test_client()
    left = [
        client.get(path).headers["X-RateLimit-Remaining"] for path in ("/books", "/books/1", "/books?x=1", "/books")
    ]
    assert left == ["4", "3", "2", "1"]
    assert [client.get("/books").status_code for _ in range(3)] == [200, 429, 429]
    assert client.get("/books").headers["Retry-After"]


def test_what_is_turned_away_at_the_door_does_not_count(migrated):
    app = migrated(LIMITS_ENABLED=True, LIMIT_ANONYMOUS="9 per minute", PUBLIC_CATALOGUE=True)
    client = app.test_client()
    assert client.get("/books").headers["X-RateLimit-Remaining"] == "8"
    assert {client.get("/books?q=%FF").status_code for _ in range(3)} == {400}
    assert client.get("/books").headers["X-RateLimit-Remaining"] == "7"


def test_a_token_that_was_ended_counts_for_its_address(migrated):
    app = migrated(LIMITS_ENABLED=True, LIMIT_ANONYMOUS="3 per minute", LIMIT_PATRON="9 per minute")
    client = app.test_client()
    account = {"username": "jdoe", "email": "jdoe@example.org", "password": "correct horse battery"}
    client.post("/users/register", json=account, environ_overrides={"REMOTE_ADDR": "192.0.2.1"})
    credentials = {"email": "jdoe@example.org", "password": "correct horse battery"}
    login = client.post("/users/login", json=credentials, environ_overrides={"REMOTE_ADDR": "192.0.2.2"})
    client.token = login.json["access_token"]
    assert client.get("/users/me").headers["X-RateLimit-Remaining"] == "8"
    assert client.get("/users/me").headers["X-RateLimit-Remaining"] == "7"
    client.post("/users/logout")
    assert [client.get("/users/me").status_code for _ in range(4)] == [401, 401, 401, 429]


def test_a_lost_connection_is_nobodys_failure(app, fast_path, as_patron):
    warm(as_patron)
    assert as_patron.get("/books").status_code == 200
    for reader in fast_path._readers._idle:
        reader.connection.close()
    fast_path.onward.clear()
    assert as_patron.get("/books").status_code == 200
    assert fast_path.onward == ["/books"]
    assert as_patron.get("/books").status_code == 200
    assert fast_path.onward == ["/books"]


@pytest.mark.parametrize("fault", [RuntimeError("no connection is free"), KeyError("x")])
def test_whatever_goes_wrong_the_application_answers(fast_path, as_patron, monkeypatch, caplog, fault):
    warm(as_patron)

    def fail():
        raise fault

    monkeypatch.setattr(fast_path._readers, "_taken", fail)
    fast_path.onward.clear()
    assert as_patron.get("/books").status_code == 200
    assert fast_path.onward == ["/books"]
    assert f"fast path: {type(fault).__name__} at /books" in caplog.text


def test_long_headers_are_not_remembered(fast_path, as_patron):
    warm(as_patron)
    before = reads._known_preference.cache_info().currsize
    for number in range(3):
        accept = f"application/json, {', '.join(f'text/x-{number}-{kind}' for kind in range(30))}"
        assert as_patron.get("/books", headers={"Accept": accept}).status_code == 200
    assert reads._known_preference.cache_info().currsize == before
    assert as_patron.get("/books", headers={"Accept": "application/json;q=0.123"}).status_code == 200
    assert reads._known_preference.cache_info().currsize == before + 1


def test_its_connections_hold_more_of_a_file(app):
    with app.app_context():
        readers = Readers(db.engine)
        if db.engine.dialect.name != "sqlite":
            pytest.skip("the server of PostgreSQL holds what is read")
    with readers.reader() as reader:
        assert reader.connection.execute("PRAGMA cache_size").fetchone()[0] == -CACHE_KB
    readers.close()


def test_its_connections_cannot_write(app):
    with app.app_context():
        readers = Readers(db.engine)
    with (
        pytest.raises((sqlite3.OperationalError, readers.failure), match=r"readonly|read-only"),
        readers.reader() as reader,
    ):
        reader.connection.execute("DELETE FROM users")
    assert not readers._idle


def test_it_lets_go_with_the_engine(app, fast_path, as_patron):
    warm(as_patron)
    as_patron.get("/books")
    assert fast_path._readers._idle
    with app.app_context():
        db.engine.dispose()
    assert not fast_path._readers._idle


def test_it_is_logged_like_any_call(migrated, capsys):
    app = migrated(LOG_REQUESTS=True, PUBLIC_CATALOGUE=True)
    capsys.readouterr()
    for enabled in (True, False):
        app.extensions["library_fast_path"].enabled = enabled
        app.test_client().get("/item-types", headers={"X-Request-ID": "mine"})
    app.extensions["library_lines"].flush()
    lines = capsys.readouterr().err.splitlines()
    fast, slow = ({key: value for key, value in json.loads(line).items() if key != "ms"} for line in lines)
    assert fast == slow == {"id": "mine", "method": "GET", "route": "/item-types", "status": 200}


def test_a_view_that_does_something_is_not_plain():
    def plain(self, row):
        return row

    def looks(self, row):
        return row.id and row

    def other(self, row):
        return [row]

    assert [_returns_what_it_finds(view) for view in (plain, looks, other)] == [True, False, False]


def test_only_the_actor_is_ones_own_account(app):
    from flask import g

    def mine(self):
        return g.actor

    def other(self):
        return object()

    with app.app_context():
        assert [_returns_the_actor(view) for view in (mine, other)] == [True, False]
