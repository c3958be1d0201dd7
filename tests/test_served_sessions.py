"""Tokens, sessions and API keys through the real server: what one worker ends no other lets in."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from factories import Factories
from served import Answer, Served
from sqlalchemy import Engine

from library.database import make_session
from library.models import User, UserSession

# So many calls meet every worker.
CALLS = 12
DEAD = 'Bearer realm="library", error="invalid_token"'


@pytest.fixture
def make(served: Served, server: tuple[Served, Engine]):
    session = make_session(server[1])
    yield Factories(session)
    session.close()


@pytest.fixture
def owner(make: Factories) -> User:
    return make.user(username="jdoe", password="password123")


def log_in(served: Served) -> dict:
    answer = served.call("POST", "/users/login", {"email": "jdoe", "password": "password123"})
    assert answer.status == 200, answer.data
    return answer.json


def refresh(served: Served, token: str) -> Answer:
    return served.call("POST", "/users/refresh", {"refresh_token": token})


def statuses(served: Served, token: str) -> set[int]:
    """The statuses of calls that every worker is asked."""
    return {served.call("GET", "/users/me", token=token).status for _ in range(CALLS)}


def assert_dead(served: Served, tokens: dict) -> None:
    assert statuses(served, tokens["access_token"]) == {401}
    assert refresh(served, tokens["refresh_token"]).status == 401


def test_of_a_hundred_parallel_refreshes_one_succeeds_and_the_session_goes_on(served, make, owner):
    first = log_in(served)
    with ThreadPoolExecutor(100) as threads:
        answers = list(threads.map(lambda _: refresh(served, first["refresh_token"]), range(100)))
    assert Counter(answer.status for answer in answers) == {200: 1, 401: 99}
    assert all(answer.headers["WWW-Authenticate"] == DEAD for answer in answers if answer.status == 401)
    second = next(answer.json for answer in answers if answer.status == 200)
    assert statuses(served, second["access_token"]) == {200}
    third = refresh(served, second["refresh_token"])
    assert third.status == 200
    # Later than ten seconds after it was replaced it was stolen: nobody goes on.
    session = make.session
    session.rollback()
    row = session.query(UserSession).one()
    row.rotated_at -= timedelta(seconds=11)
    session.commit()
    with ThreadPoolExecutor(20) as threads:
        late = list(threads.map(lambda _: refresh(served, second["refresh_token"]), range(20)))
    assert {answer.status for answer in late} == {401}
    assert_dead(served, third.json)
    assert_dead(served, second)


def test_what_one_worker_ends_no_other_lets_in(served, make, owner):
    admin = served.admin()
    path, here = f"/users/{owner.id}", {"If-Match": "*"}
    key = make.api_key(owner, "profile.own").text

    pair, other = log_in(served), log_in(served)
    assert served.call("POST", "/users/logout", token=pair["access_token"]).status == 204
    assert_dead(served, pair)
    assert statuses(served, other["access_token"]) == {200}

    pair = log_in(served)
    (mine,) = [
        row["id"]
        for row in served.call("GET", "/users/me/sessions", token=other["access_token"]).json
        if row["current"]
    ]
    assert served.call("DELETE", f"/users/me/sessions/{mine}", token=pair["access_token"]).status == 204
    assert_dead(served, other)
    assert statuses(served, pair["access_token"]) == {200}

    other = log_in(served)
    assert statuses(served, key) == {200}
    body = {"old_password": "password123", "new_password": "wide river under ice"}
    assert served.call("POST", "/users/me/password", body, token=pair["access_token"]).status == 204
    assert_dead(served, other)
    assert statuses(served, key) == {401}
    assert statuses(served, pair["access_token"]) == {200}

    make.session.rollback()
    for change in ({"role": "librarian"}, {"password": "password123"}, {"active": False}):
        opened, key = log_in_with(served, make, owner), make.api_key(owner, "profile.own").text
        assert statuses(served, opened["access_token"]) == statuses(served, key) == {200}
        assert served.call("PATCH", path, change, admin, here).status == 200
        assert_dead(served, opened)
        assert statuses(served, key) == {401}
        make.session.rollback()


def log_in_with(served: Served, make: Factories, owner: User) -> dict:
    """A log-in with whichever password holds now."""
    for password in ("wide river under ice", "password123"):
        answer = served.call("POST", "/users/login", {"email": "jdoe", "password": password})
        if answer.status == 200:
            return answer.json
    raise AssertionError(answer.data)


def test_hostile_credentials_break_no_worker(served, make, owner):
    hostile = [
        b"Bearer " + b"A" * 7000,
        b"Bearer " + b".".join([b"W1tb" * 1500, b"e30", b"A" * 43]),
        b"Bearer eyJhbGciOiJub25lIn0.e30.",
        b"Bearer lib_" + b"\xff" * 43,
        b"Bearer \xc3\xa9",
        b"bearer",
        b"Basic YTpi",
        b"Bearer a\r\nAuthorization: Bearer b",
    ]
    for header in hostile:
        said = served.raw(
            b"GET /users/me HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: " + header + b"\r\n\r\n"
        )
        assert said.startswith(b"HTTP/1.1 401 "), (header[:40], said[:80])
    assert statuses(served, log_in(served)["access_token"]) == {200}
    assert "Traceback" not in served.logged()
