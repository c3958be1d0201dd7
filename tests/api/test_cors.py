"""CORS: closed unless the setting names who may read; OPTIONS and HEAD beside it."""

import pytest
from documented import DocumentedClient
from factories import Factories

from library.config import ConfigurationError, origins
from library.database import make_session
from library.extensions import db

DESK, OTHER = "https://desk.example.org", "https://evil.example.org"
ASKS = {"Access-Control-Request-Method": "PATCH", "Access-Control-Request-Headers": "authorization,if-match"}
READABLE = {
    "ETag",
    "Link",
    "Location",
    "X-Pagination",
    "X-Total-Count",
    "X-Next-Cursor",
    "Retry-After",
    "Idempotency-Replayed",
    "X-Remarks",
    "X-Request-ID",
    "WWW-Authenticate",
}
SENDABLE = {
    "Authorization",
    "Content-Type",
    "If-Match",
    "If-None-Match",
    "Idempotency-Key",
    "X-Request-ID",
    "Sandbox-Now",
}


def words(answer, header: str) -> set[str]:
    return {word.strip() for word in answer.headers.get(header, "").split(",") if word.strip()}


def opened(answer) -> dict[str, str]:
    """What an answer says to a browser about other origins."""
    return {name: value for name, value in answer.headers.items() if name.startswith("Access-Control-")}


@pytest.fixture
def open_to(migrated):
    """Call it with a setting for a client of an application with a librarian signed in."""

    def make_client(setting: str, **settings: object) -> DocumentedClient:
        app = migrated(CORS_ORIGINS=setting, **settings)
        with app.app_context():
            session = make_session(db.engine)
        make, client = Factories(session), app.test_client()
        librarian = make.librarian()
        client.sign_in(librarian, make.session_of(librarian))
        session.close()
        return client

    return make_client


def test_off_by_default(client, as_librarian):
    for answer in (
        as_librarian.get("/books", headers={"Origin": DESK}),
        client.options("/books", headers={"Origin": DESK} | ASKS),
    ):
        assert opened(answer) == {}
        assert "Origin" not in answer.headers.get("Vary", "")


def test_what_is_open(open_to):
    # An application and a database each: all of it in one test.
    client = open_to(f"{DESK}, http://localhost:8080")
    assert_answers_are_open_to(client, DESK)
    assert_answers_are_open_to(client, "http://localhost:8080")
    assert_strangers_are_told_nothing(client)
    assert_preflights_are_answered(client)


def assert_answers_are_open_to(client, origin: str) -> None:
    made = client.post("/books", json={"title": "A"}, headers={"Origin": origin})
    answers = [
        made,
        client.get("/authors", headers={"Origin": origin}),
        client.get(made.headers["Location"], headers={"Origin": origin, "If-None-Match": made.headers["ETag"]}),
        client.get("/authors?x=1", headers={"Origin": origin}),
        client.get("/nowhere", headers={"Origin": origin}),
        client.put("/authors", headers={"Origin": origin}),
        client.get("/authors/999", headers={"Origin": origin}),
        client.post("/authors", data="{", content_type="application/json", headers={"Origin": origin}),
        client.get("/authors", headers={"Origin": origin, "Authorization": "Bearer x"}),
        client.get("/authors?q=%ff", headers={"Origin": origin}),
    ]
    assert [answer.status_code for answer in answers] == [201, 200, 304, 422, 404, 405, 404, 400, 401, 400]
    for answer in answers:
        assert answer.headers["Access-Control-Allow-Origin"] == origin
        assert words(answer, "Access-Control-Expose-Headers") >= READABLE
        assert "Access-Control-Allow-Credentials" not in answer.headers
        assert "Origin" in words(answer, "Vary")
    assert words(answers[1], "Vary") == {"Authorization", "Origin"}


def assert_strangers_are_told_nothing(client) -> None:
    for origin in (
        OTHER,
        "null",
        "",
        "https://desk.example.org.evil.org",
        "https://evil-desk.example.org",
        "http://desk.example.org",
        "https://desk.example.org:8443",
        "https://sub.desk.example.org",
        "https://desk.example",
        "https://deskxexample.org",
        "*",
        f"{DESK}, {OTHER}",
    ):
        for answer in (
            client.get("/authors", headers={"Origin": origin}),
            client.options("/authors", headers={"Origin": origin} | ASKS),
        ):
            assert answer.status_code in (200, 204)
            assert opened(answer) == {}
            assert "Origin" in words(answer, "Vary")
    # Nor is who says nothing: a cache must keep the answers apart.
    silent = client.get("/authors")
    assert (opened(silent), words(silent, "Vary")) == ({}, {"Authorization", "Origin"})


def assert_preflights_are_answered(client) -> None:
    client.token = None
    for path, methods in (
        ("/books", {"GET", "HEAD", "POST", "OPTIONS"}),
        ("/books/1", {"GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS"}),
        ("/users/login", {"POST", "OPTIONS"}),
    ):
        answer = client.options(path, headers={"Origin": DESK} | ASKS)
        assert (answer.status_code, answer.data) == (204, b"")
        assert answer.headers["Access-Control-Allow-Origin"] == DESK
        assert words(answer, "Access-Control-Allow-Methods") == methods == words(answer, "Allow")
        assert words(answer, "Access-Control-Allow-Headers") == SENDABLE
        assert int(answer.headers["Access-Control-Max-Age"]) > 0
        # Neither token nor limit.
        assert "RateLimit" not in answer.headers
    assert client.options("/nowhere", headers={"Origin": DESK} | ASKS).status_code == 404


def test_open_to_anybody_and_never_counted(open_to):
    client = open_to("*", LIMITS_ENABLED=True, LIMIT_ANONYMOUS="1 per day")
    client.token = None
    for _ in range(5):
        assert client.options("/books", headers={"Origin": OTHER} | ASKS).headers["Access-Control-Allow-Origin"] == "*"
    told = [client.get("/library", headers={"Origin": OTHER}) for _ in range(2)]
    assert [answer.status_code for answer in told] == [200, 429]
    for answer in told:
        assert answer.headers["Access-Control-Allow-Origin"] == "*"
        assert "Access-Control-Allow-Credentials" not in answer.headers
    assert opened(client.options("/books", headers={"Origin": "null"} | ASKS)) == {}


@pytest.mark.parametrize(
    "setting",
    [
        "null",
        "desk.example.org",
        "https://*.example.org",
        "https://desk.example.org/",
        "https://desk.example.org/app",
        "https://desk.example.org, null",
        "https://a b.example.org",
        "https://",
        "*, https://desk.example.org",
        "https://user@example.org",
    ],
)
def test_what_is_no_origin_stops_the_start(migrated, setting):
    with pytest.raises(ConfigurationError, match="CORS_ORIGINS"):
        migrated(CORS_ORIGINS=setting)


def test_origins_are_read():
    assert origins("") == frozenset()
    assert origins(" * ") == {"*"}
    read = origins("https://Desk.example.org, http://[::1]:8080,capacitor://localhost")
    assert read == {DESK, "http://[::1]:8080", "capacitor://localhost"}


def test_options_tells_what_an_address_takes(client, app):
    for rule in app.url_map.iter_rules():
        path = rule.build(dict.fromkeys(rule.arguments, 1) | {"filename": "x"}) if rule.arguments else (0, rule.rule)
        answer = client.options(path[1])
        assert (answer.status_code, answer.data) == (204, b""), rule
        allowed = words(answer, "Allow")
        assert allowed >= rule.methods | {"OPTIONS"}
        if "PATCH" in allowed:
            assert words(answer, "Accept-Patch") == {"application/merge-patch+json", "application/json"}
    assert client.options("/nowhere").status_code == 404
    assert client.options("/books/").status_code == 404


def test_whatever_is_asked_of_any_address_no_cookie_and_no_credentials_are_in_it(open_to):
    client = open_to(DESK)
    asks = ASKS | {"Access-Control-Request-Private-Network": "true", "Cookie": "session=1"}
    known = set()
    for rule in client.application.url_map.iter_rules():
        path = rule.build(dict.fromkeys(rule.arguments, 1) | {"filename": "x"}) if rule.arguments else (0, rule.rule)
        for origin in (DESK, OTHER):
            answer = client.options(path[1], headers={"Origin": origin} | asks)
            assert answer.status_code == 204
            assert not {"Set-Cookie", "Access-Control-Allow-Credentials"} & set(answer.headers.keys())
            assert "Access-Control-Allow-Private-Network" not in answer.headers
            assert bool(opened(answer)) is (origin == DESK), path
        known.add(rule.rule)
    assert {"/api-keys", "/users/me/sessions/<id:session_id>", "/users/login"} <= known


@pytest.mark.parametrize("setting", ["*", DESK])
def test_in_production_too_no_page_speaks_with_anothers_credentials(migrated, setting):
    app = migrated("production", SECRET_KEY="jK3vP9mX2wQ7rT4yB8nL5cF1hD6gS0zA", CORS_ORIGINS=setting)
    client = app.test_client()
    with app.app_context():
        make = Factories(make_session(db.engine))
    client.sign_in(user := make.user(), make.session_of(user))
    key, client.token, token = make.api_key(user, "profile.own").text, None, client.token
    for bearer in (token, key):
        read = client.get("/users/me", headers={"Origin": DESK, "Authorization": f"Bearer {bearer}"})
        assert (read.status_code, read.headers["Access-Control-Allow-Origin"]) == (200, setting)
        assert not {"Set-Cookie", "Access-Control-Allow-Credentials"} & set(read.headers.keys())
        # What a browser would send along by itself, or a link could hold, lets nobody in.
        client.set_cookie("access_token_cookie", bearer)
        client.set_cookie("session", bearer)
        for path in ("/users/me", f"/users/me?jwt={bearer}", f"/users/me?access_token={bearer}"):
            assert client.get(path, headers={"Origin": DESK}).status_code == 401
    make.session.close()
