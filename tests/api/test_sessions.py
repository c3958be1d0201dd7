"""Sessions: where one is signed in, and signing out elsewhere."""

from datetime import UTC, datetime

import pytest

from library.models import Role, UserSession


@pytest.fixture
def logged_in(client, make):
    """Call it with what a program calls itself, for the tokens of a log-in of one account."""
    make.user(username="jdoe", password="password123")

    def log_in(agent: str | None = None) -> dict:
        headers = {} if agent is None else {"User-Agent": agent}
        answer = client.post("/users/login", json={"username": "jdoe", "password": "password123"}, headers=headers)
        assert answer.status_code == 200, answer.text
        return answer.json

    return log_in


def bearer(tokens: dict) -> dict[str, str]:
    return {"Authorization": f"Bearer {tokens['access_token']}"}


def test_one_sees_where_one_is_signed_in_and_signs_out_there(client, logged_in):
    desk, phone = logged_in("Desk 3"), logged_in("Phone")
    listed = client.get("/users/me/sessions?sort=started_at", headers=bearer(phone))
    assert [(row["client"], row["current"]) for row in listed.json] == [("Desk 3", False), ("Phone", True)]
    assert "jti" not in listed.text
    assert "no-store" in listed.headers["Cache-Control"]
    path = f"/users/me/sessions/{listed.json[0]['id']}"
    assert client.delete(path, headers=bearer(phone)).status_code == 204
    assert client.get("/users/me", headers=bearer(desk)).status_code == 401
    assert client.post("/users/refresh", json={"refresh_token": desk["refresh_token"]}).status_code == 401
    left = client.get("/users/me/sessions", headers=bearer(phone)).json
    assert [row["client"] for row in left] == ["Phone"]


def test_to_end_the_session_that_asks_is_to_log_out(client, logged_in):
    tokens = logged_in()
    (row,) = client.get("/users/me/sessions", headers=bearer(tokens)).json
    assert row["client"].startswith("Werkzeug/")
    assert client.delete(f"/users/me/sessions/{row['id']}", headers=bearer(tokens)).status_code == 204
    assert client.get("/users/me/sessions", headers=bearer(tokens)).status_code == 401


def test_no_token_outlives_its_session(client, logged_in, session):
    tokens = logged_in()
    assert client.get("/users/me", headers=bearer(tokens)).status_code == 200
    session.query(UserSession).one().expires_at = datetime.now(UTC)
    session.commit()
    assert client.get("/users/me", headers=bearer(tokens)).status_code == 401


@pytest.mark.parametrize("role", list(Role))
def test_anothers_session_is_nothing_at_all(signed_in, make, session, role):
    theirs = make.session_of(make.user())
    client = signed_in(make.user(role=role))
    answers = [client.delete(f"/users/me/sessions/{key}") for key in (theirs.id, 999_999)]
    bodies = [{name: value for name, value in answer.json.items() if name != "request_id"} for answer in answers]
    assert [answer.status_code for answer in answers] == [404, 404]
    assert bodies[0] == bodies[1]
    session.refresh(theirs)
    assert theirs.ended_at is None
    assert len(client.get("/users/me/sessions").json) == 1


@pytest.mark.parametrize(
    ("agent", "kept"),
    [
        ("Mozilla/5.0 (X11)", "Mozilla/5.0 (X11)"),
        ("a" * 500, "a" * 100),
        ("  ", None),
        ("", None),
        ("x\ty\x7fz", "x y z"),
        ("caf\xe9", "caf"),
    ],
)
def test_of_what_a_program_calls_itself_little_is_kept(logged_in, session, agent, kept):
    logged_in(agent)
    assert session.query(UserSession).one().client == kept
