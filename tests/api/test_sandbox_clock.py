"""The sandbox clock: a call may say when it happens; the rules believe it, tokens and sessions do not."""

from datetime import UTC, datetime, timedelta

import pytest

from library.models import UserSession

CHRISTMAS = "2031-12-24T10:00:00Z"
LONG_AGO = "1950-01-01T00:00:00+01:00"


def at(moment: str) -> dict[str, str]:
    return {"Sandbox-Now": moment}


@pytest.fixture
def sandbox(app, monkeypatch):
    """The clock is on."""
    monkeypatch.setitem(app.config, "SANDBOX_CLOCK", True)


@pytest.fixture
def lend(as_librarian, make):
    """Call it with headers to lend some copy to some patron."""

    def lend_some(**headers: str):
        body = {"copy_barcode": make.copy().barcode, "patron_barcode": make.user().card_barcode}
        return as_librarian.post("/loans", json=body, **headers)

    return lend_some


@pytest.mark.usefixtures("sandbox")
def test_the_rules_judge_by_the_moment_that_the_call_names(as_librarian, lend):
    loan = lend(headers=at("2031-12-24T10:00:00.250000+01:00")).json
    assert loan["checked_out_at"] == "2031-12-24T09:00:00.250000Z"
    assert loan["due_on"] > "2031-12-24"
    late = as_librarian.get("/loans?status=overdue", headers=at("2032-12-24T10:00:00Z")).json
    assert [row["id"] for row in late] == [loan["id"]]
    assert as_librarian.get("/loans?status=overdue", headers=at(CHRISTMAS)).json == []


@pytest.mark.usefixtures("sandbox")
def test_each_call_names_its_own(lend):
    lend(headers=at(CHRISTMAS))
    out_at = datetime.fromisoformat(lend().json["checked_out_at"])
    assert abs(out_at - datetime.now(UTC)) < timedelta(hours=1)


@pytest.mark.usefixtures("sandbox")
@pytest.mark.parametrize(
    ("moment", "code"),
    [
        ("tomorrow", "invalid_type"),
        ("", "invalid_type"),
        ("2031-12-24", "invalid_type"),
        ("2031-12-24T10:00:00", "invalid_type"),
        ("2031-02-30T10:00:00Z", "invalid_type"),
        (f"{CHRISTMAS}, {CHRISTMAS}", "invalid_type"),
        ("2999-01-01T00:00:00Z", "out_of_range"),
    ],
)
def test_a_moment_that_is_none_is_refused_before_anything_else(client, moment, code):
    for path in ("/loans", "/library", "/nowhere"):
        answer = client.get(path, headers=at(moment))
        assert (answer.status_code, answer.json["code"]) == (400, "bad_request")
        [reason] = answer.json["errors"]
        assert (reason["code"], reason["header"]) == (code, "Sandbox-Now")


def test_where_the_clock_is_off_the_header_is_refused(client, lend):
    for moment in (CHRISTMAS, "tomorrow"):
        [reason] = client.get("/library", headers=at(moment)).json["errors"]
        assert (reason["code"], reason["header"]) == ("sandbox_clock_off", "Sandbox-Now")
    assert lend(headers=at(CHRISTMAS)).status_code == 400


@pytest.mark.usefixtures("sandbox")
def test_the_library_says_that_it_is_a_sandbox(client):
    assert client.get("/library").json["sandbox"] is True


@pytest.mark.usefixtures("sandbox")
def test_tokens_and_sessions_keep_real_time(client, make, session):
    user = make.user(username="tess", password="correct horse")
    pair = client.post(
        "/users/login", json={"username": "tess", "password": "correct horse"}, headers=at(LONG_AGO)
    ).json
    opened = session.query(UserSession).filter_by(user_id=user.id).one()
    assert abs(opened.started_at - datetime.now(UTC)) < timedelta(hours=1)
    assert opened.expires_at > datetime.now(UTC) + timedelta(days=29)
    # Neither has the token expired in 2031, nor the session.
    rotated = client.post("/users/refresh", json={"refresh_token": pair["refresh_token"]}, headers=at(CHRISTMAS))
    assert rotated.status_code == 200
    client.token = rotated.json["access_token"]
    assert client.get("/users/me", headers=at(CHRISTMAS)).status_code == 200
    change = {"old_password": "correct horse", "new_password": "battery staple"}
    second = client.post("/users/login", json={"username": "tess", "password": "correct horse"}).json
    assert client.post("/users/me/password", json=change, headers=at(CHRISTMAS)).status_code == 204
    assert client.post("/users/logout", headers=at(LONG_AGO)).status_code == 204
    session.rollback()
    ended = [row.ended_at for row in session.query(UserSession).filter_by(user_id=user.id)]
    assert all(abs(moment - datetime.now(UTC)) < timedelta(hours=1) for moment in ended)
    assert client.post("/users/refresh", json={"refresh_token": second["refresh_token"]}).status_code == 401


@pytest.mark.usefixtures("sandbox")
def test_a_page_of_another_moment_is_never_kept(as_librarian, make, statements):
    make.book()

    def pages(**headers: str) -> int:
        statements.clear()
        as_librarian.get("/books", headers=headers)
        return len([statement for statement in statements if "FROM books" in statement])

    assert pages() > 0
    assert pages() == 0
    assert pages(**at(CHRISTMAS)) > 0
    assert pages(**at(CHRISTMAS)) > 0
