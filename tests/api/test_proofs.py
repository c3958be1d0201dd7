"""What is done only for who gives the password again: it holds when it is done, and so does the session."""

import re
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import event, select

from library.extensions import db
from library.models import ApiKey, Role, User
from library.rules import users

OLD, NEW = "password123", "wide river under ice"
LOCK = re.compile(r"FROM users\b.*\bFOR (NO KEY )?UPDATE", re.DOTALL)
CALLS = {
    "/api-keys": {"name": "Web site", "scopes": ["loans.read"], "password": OLD},
    "/users/{}/erase": {"password": OLD},
}


@pytest.fixture(params=CALLS)
def mine(request, signed_in, make):
    """A client, and the call of theirs that asks for the password."""
    # An admin, whose colleagues are locked before them; the last one would have to stay.
    make.user(role=Role.ADMIN)
    client = signed_in(make.user(password=OLD, role=Role.ADMIN))
    body = CALLS[request.param]
    client.ask = lambda: client.post(request.param.format(client.user_id), json=body)
    return client


def beside(act) -> None:
    """Do something in a thread, and so in a transaction, of its own."""
    with ThreadPoolExecutor(1) as thread:
        thread.submit(act).result(60)


def change_password(client) -> None:
    body = {"old_password": OLD, "new_password": NEW}
    assert client.post("/users/me/password", json=body).status_code == 204


def assert_nothing_was_done(session, user_id: int) -> None:
    session.rollback()
    assert session.scalars(select(ApiKey)).all() == []
    assert session.get_one(User, user_id, populate_existing=True).erased_at is None


def test_a_password_that_was_changed_since_it_was_checked_proves_nothing(mine, session, monkeypatch):
    fits = users.password_fits

    def checked(login, password) -> bool:
        # Once: the change checks it too.
        monkeypatch.setattr(users, "password_fits", fits)
        answer = fits(login, password)
        beside(lambda: change_password(mine))
        return answer

    monkeypatch.setattr(users, "password_fits", checked)
    answer = mine.ask()
    assert (answer.status_code, answer.json["errors"][0]["code"]) == (422, "wrong_password")
    assert_nothing_was_done(session, mine.user_id)
    # The session that it was changed in goes on.
    assert mine.get("/users/me").status_code == 200


@pytest.fixture
def while_it_waits(app, session):
    """Call it with what happens before a call locks an account for the first time: it has looked at it already."""
    if session.get_bind().dialect.name != "postgresql":
        pytest.skip("writers on SQLite look at nothing before it is their turn")
    with app.app_context():
        engine = db.engine
    waiting = []

    def look(_connection, _cursor, statement: str, *_) -> None:
        if waiting and LOCK.search(statement):
            beside(waiting.pop())

    event.listen(engine, "before_cursor_execute", look)
    yield waiting.append
    event.remove(engine, "before_cursor_execute", look)
    assert not waiting


@pytest.mark.parametrize("how", ["changes the password", "signs out", "is deactivated"])
def test_a_session_that_ended_while_its_call_waited_does_nothing(
    mine, signed_in, as_admin, make, session, while_it_waits, how
):
    elsewhere = signed_in(session.get_one(User, mine.user_id))

    def end() -> None:
        if how == "changes the password":
            change_password(elsewhere)
        elif how == "signs out":
            assert mine.post("/users/logout").status_code == 204
        else:
            assert as_admin.change(f"/users/{mine.user_id}", json={"active": False}).status_code == 200

    while_it_waits(end)
    answer = mine.ask()
    assert (answer.status_code, 'error="invalid_token"' in answer.headers["WWW-Authenticate"]) == (401, True)
    assert_nothing_was_done(session, mine.user_id)
