"""The audit of calls: one row of each change and each refusal, what stands in it, what never does, who searches it."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from flask.testing import FlaskClient
from sqlalchemy import select, text
from sqlalchemy.exc import DBAPIError
from test_house import operations, views

from library.models import AuditEvent, Hold, Loan, Renewal, User, UserSession
from library.rules import audit

PASSWORD = "wide river under ice"
CANARY = "canary-7f3a"
REQUEST = "3f2b8a60-5f1e-4a53-9a51-0d9f6f6a2f11"


@pytest.fixture
def trail(session):
    """Call it for the rows of the audit written since it was last called."""
    seen = 0

    def since() -> list[AuditEvent]:
        nonlocal seen
        session.rollback()
        found = list(session.scalars(select(AuditEvent).where(AuditEvent.id > seen).order_by(AuditEvent.id)))
        seen = found[-1].id if found else seen
        session.expunge_all()
        session.rollback()
        return found

    return since


def told(row: AuditEvent) -> tuple[Any, ...]:
    return (row.action, row.outcome.value, row.status, row.actor_id, row.actor_role, row.object_kind, row.object_id)


def test_a_request_is_named_as_programs_name_it_and_not_in_words(as_librarian, trail):
    for name in (REQUEST, "Jeanne.Moreau.0171"):
        as_librarian.post("/users", json={}, headers={"X-Request-ID": name})
    assert [row.request_id for row in trail()] == [REQUEST, None]


def test_a_change_leaves_a_row_with_actor_object_and_members(as_librarian, trail):
    before = datetime.now(UTC)
    made = as_librarian.post("/users", json={"username": "ada", "email": "ada@example.org"}).json["id"]
    as_librarian.change(f"/users/{made}", json={"first_name": "Ada"})
    as_librarian.change(f"/users/{made}", method="DELETE")
    who = as_librarian.user_id, "librarian", "users", made
    rows = trail()
    assert [told(row) for row in rows] == [
        ("create_user", "done", 201, *who),
        ("patch_user", "done", 200, *who),
        ("delete_user", "done", 204, *who),
    ]
    assert [row.members for row in rows] == [["email", "username"], ["first_name"], []]
    assert [row.codes for row in rows] == [[], [], []]
    assert before <= rows[0].at <= rows[1].at <= rows[2].at <= datetime.now(UTC)
    assert len({row.request_id for row in rows}) == 3


def test_a_part_is_the_object_and_not_what_it_belongs_to(as_librarian, make, trail):
    patron = make.user()
    block = as_librarian.post(f"/users/{patron.id}/blocks", json={"reason": "Loud"}).json["id"]
    as_librarian.change(f"/users/{patron.id}/blocks/{block}", json={"reason": "Very loud"})
    assert [(row.object_kind, row.object_id) for row in trail()] == [("patron_blocks", block)] * 2


def test_ones_own_account_is_the_object_of_what_names_none(app, as_patron, trail):
    as_patron.change("/users/me", json={"first_name": "Pat"})
    (row,) = trail()
    assert told(row) == ("patch_me", "done", 200, as_patron.user_id, "patron", "users", as_patron.user_id)


def test_the_sandbox_clock_does_not_move_it(as_librarian, app, monkeypatch, trail):
    monkeypatch.setitem(app.config, "SANDBOX_CLOCK", True)
    as_librarian.post("/users", json={}, headers={"Sandbox-Now": "2031-01-01T00:00:00Z"})
    (row,) = trail()
    assert abs(row.at - datetime.now(UTC)) < timedelta(minutes=5)


# --- Signing in ---------------------------------------------------------------------------------


def test_signing_in_and_out(client, make, session, trail):
    user = make.user(username="jdoe", password=PASSWORD)
    tokens = client.post("/users/login", json={"email": "jdoe", "password": PASSWORD}).json
    again = client.post("/users/refresh", json={"refresh_token": tokens["refresh_token"]}).json
    client.post("/users/logout", headers={"Authorization": f"Bearer {again['access_token']}"})
    key = session.scalar(select(UserSession.id))
    who = user.id, "patron", "user_sessions", key
    assert [told(row) for row in trail()] == [
        ("log_in", "done", 200, *who),
        ("refresh", "done", 200, *who),
        ("log_out", "done", 204, *who),
    ]


def test_who_registers_is_nobody_yet(client, trail):
    made = client.post("/users/register", json={"username": "new", "email": "new@example.org", "password": PASSWORD})
    (row,) = trail()
    assert told(row) == ("register", "done", 201, None, None, "users", made.json["id"])


def test_a_wrong_password_is_kept_with_the_account_it_was_tried_on(client, make, trail):
    user, gone = make.user(username="jdoe", password=PASSWORD), make.user(username="gone", active=False)
    for name in ("jdoe", "nobody", "gone"):
        assert client.post("/users/login", json={"email": name, "password": CANARY}).status_code == 401
    rows = trail()
    assert [told(row)[:5] for row in rows] == [("log_in", "refused", 401, None, None)] * 3
    assert [row.object_id for row in rows] == [user.id, None, None], f"{gone.id} has no password at all"
    assert {(*row.members, *row.codes) for row in rows} == {("email", "password", "unauthorized")}


def test_a_stolen_refresh_token_ends_its_session_in_the_transaction_of_its_row(client, make, session, trail):
    make.user(username="jdoe", password=PASSWORD)
    tokens = client.post("/users/login", json={"email": "jdoe", "password": PASSWORD}).json
    client.post("/users/refresh", json={"refresh_token": tokens["refresh_token"]})
    (opened,) = session.scalars(select(UserSession))
    opened.rotated_at -= timedelta(minutes=1)
    session.commit()
    trail()
    assert client.post("/users/refresh", json={"refresh_token": tokens["refresh_token"]}).status_code == 401
    (row,) = trail()
    assert told(row) == ("refresh", "refused", 401, None, None, "user_sessions", opened.id)


def test_a_wrong_old_password(signed_in, make, trail):
    client = signed_in(make.user(password=PASSWORD))
    body = {"old_password": CANARY, "new_password": f"{CANARY}-{CANARY}"}
    assert client.post("/users/me/password", json=body).status_code == 422
    (row,) = trail()
    assert told(row)[:4] == ("change_password", "refused", 422, client.user_id)
    assert (row.codes, row.members) == (["wrong_password"], ["new_password", "old_password"])


# --- Refused ------------------------------------------------------------------------------------


def test_what_a_known_actor_may_not_do_is_kept(as_patron, make, trail):
    other = make.user()
    as_patron.change(f"/users/{other.id}", json={"role": "admin"})
    as_patron.get("/users")
    as_patron.get(f"/users/{other.id}/blocks")
    rows = trail()
    assert [told(row)[:5] for row in rows] == [
        (action, "refused", 403, as_patron.user_id, "patron") for action in ("patch_user", "list_users", "list_blocks")
    ]
    assert [(row.object_kind, row.object_id) for row in rows] == [
        ("users", other.id),
        (None, None),
        ("users", other.id),
    ]
    assert [row.codes for row in rows] == [["permission_missing"]] * 3


def test_refusals_clashes_and_stale_versions_are_kept(as_librarian, make, trail):
    make.user(username="ada")
    branch = make.branch()
    make.copy(home_branch=branch)
    assert as_librarian.post("/users", json={"username": "ADA"}).status_code == 409
    user = make.user()
    assert as_librarian.change(f"/users/{user.id}", tag='"77-x"', json={"first_name": "A"}).status_code == 412
    rows = trail()
    assert [(row.action, row.status, row.codes) for row in rows] == [
        ("create_user", 409, ["already_exists"]),
        ("patch_user", 412, ["stale_version"]),
    ]
    assert (rows[1].object_kind, rows[1].object_id, rows[1].actor_id) == ("users", user.id, as_librarian.user_id)


def test_faults_of_form_and_previews_and_strangers_leave_none(as_librarian, as_patron, client, make, trail):
    user, loan = make.user(), make.loan()
    as_librarian.post("/users", json={"surprise": 1})
    as_librarian.post("/users", data="{")
    as_librarian.post("/users", data="x", content_type="text/plain")
    as_librarian.patch(f"/users/{user.id}", json={"first_name": "A"})
    as_librarian.change("/users/999", json={"first_name": "A"})
    as_librarian.get("/users/999")
    as_patron.get(f"/loans/{loan.id}")
    as_librarian.post(f"/loans/{loan.id}/renewals/preview", json={})
    as_patron.post("/check-ins/preview", json={"copy_barcode": "x"})
    client.post("/users", json={})
    client.get("/users", headers={"Authorization": "Bearer x.y.z"})
    client.post("/nowhere", json={})
    assert trail() == []


def test_of_what_was_sent_only_known_names_are_kept(as_patron, trail):
    body = {CANARY: 1, "name'); DROP TABLE users;--": 2, "\r\nForged: line": 3, "title": CANARY}
    assert as_patron.post("/books", json=body).status_code == 403
    assert as_patron.post("/books", json=[CANARY]).status_code == 403
    assert [row.members for row in trail()] == [["title"], []]


@pytest.fixture
def broken_audit(session) -> Iterator[None]:
    """The audit cannot be written: its table is somewhere else."""
    session.execute(text("ALTER TABLE audit_events RENAME TO audit_elsewhere"))
    session.commit()
    yield
    session.execute(text("ALTER TABLE audit_elsewhere RENAME TO audit_events"))
    session.commit()


@pytest.fixture
def unwatched(app, as_librarian) -> FlaskClient:
    """The librarian with a client that does not count rows of the audit."""
    client = FlaskClient(app, app.response_class)
    client.environ_base["HTTP_AUTHORIZATION"] = f"Bearer {as_librarian.token}"
    return client


def test_a_refusal_stands_where_the_audit_cannot_be_written(unwatched, broken_audit, caplog):
    answer = unwatched.post("/branches", json={"name": CANARY}, headers={"X-Request-ID": "desk-9"})
    assert (answer.status_code, answer.json["code"]) == (403, "forbidden")
    assert "request desk-9: its refusal is not in the audit: " in caplog.text
    assert CANARY not in caplog.text


def test_a_change_does_not_stand_where_the_audit_cannot_be_written(unwatched, broken_audit, session):
    with pytest.raises(DBAPIError, match="audit_events"):
        unwatched.post("/users", json={"username": "ada"})
    assert session.scalar(select(User.id).where(User.username == "ada")) is None
    session.rollback()


# --- Once, and not twice ------------------------------------------------------------------------


def test_a_call_that_is_repeated_under_its_key_leaves_one_row(as_librarian, trail):
    for _ in range(3):
        assert (
            as_librarian.post("/users", json={"username": "ada"}, headers={"Idempotency-Key": "k"}).status_code == 201
        )
    assert [row.action for row in trail()] == ["create_user"]


# --- What is borrowed ---------------------------------------------------------------------------


def test_what_patrons_do_with_loans_and_holds_names_neither_them_nor_the_thing(as_patron, session, make, trail):
    patron_id = as_patron.user_id
    loan = make.loan(due_at=datetime.now(UTC) + timedelta(days=3))
    session.execute(text("UPDATE loans SET patron_id = :key"), {"key": patron_id})
    branch = make.branch()
    session.execute(text("UPDATE users SET home_branch_id = :key, confirmed = true"), {"key": branch.id})
    session.commit()
    hold = as_patron.post("/holds", json={"book_id": make.copy().book_id, "pickup_branch_id": branch.id})
    assert hold.status_code == 201, hold.text
    as_patron.change(f"/holds/{hold.json['id']}", json={"pickup_branch_id": branch.id})
    as_patron.post(f"/holds/{hold.json['id']}/cancel", json={})
    as_patron.post(f"/loans/{loan.id}/claim-returned", json={"note": "I brought it."})
    as_patron.post(f"/loans/{loan.id}/renewals", json={}, headers={"X-Request-ID": REQUEST})
    as_patron.post("/renewals", json={})
    as_patron.post("/loans", json={"copy_barcode": "x", "patron_barcode": "y"})
    rows = trail()
    assert [row.action for row in rows] == [
        "place_hold",
        "patch_hold",
        "cancel_hold",
        "claim_returned",
        "renew",
        "renew_many",
        "check_out",
    ]
    assert {(row.actor_id, row.object_id, row.actor_role) for row in rows} == {(None, None, "patron")}
    assert {row.object_kind for row in rows} == {"holds", "loans", None}
    # A program that names all its calls alike would join them; what the server names is in the log only.
    assert [row.request_id is None for row in rows] == [row.action == "renew" for row in rows]


def test_every_change_of_what_is_borrowed_is_known_for_one(shared_app):
    marks = {doc["library"]["operation"]: doc["library"] for _, doc in views()}
    told = {
        operation["operationId"]: {*operation["tags"]} & {"Circulation", "Holds"}
        for _, method, operation in operations(shared_app)
        if method != "get" and not operation["operationId"].startswith("preview_")
    }
    found = {name for name, said in marks.items() if name in told and said.get("finds") in (Loan, Hold, Renewal)}
    borrowing = {name for name, tags in told.items() if tags} | found
    assert {"check_out", "renew_many", "suspend_holds", "patch_hold"} < borrowing
    reading = {name for name in told if audit.is_about_reading(marks[name]["permission"])}
    # Whoever marks a lost copy as found may pay somebody back.
    assert reading == borrowing | {"mark_copy"}


def test_what_the_desk_lets_pass_is_kept_by_its_codes(as_librarian, make, session, trail):
    branch_id = session.scalar(text("SELECT home_branch_id FROM users WHERE username = 'libby'"))
    session.rollback()
    copy, patron = make.copy(not_for_loan=True, current_branch_id=branch_id), make.user(active=True)
    scan = {"copy_barcode": copy.barcode, "patron_barcode": patron.card_barcode, "due_at": "2199-01-01T00:00:00Z"}
    refused = as_librarian.post("/loans", json=scan)
    assert refused.status_code == 409
    codes = [error["code"] for error in refused.json["errors"]]
    overrides = [{"code": code, "reason": "For a class."} for code in codes if code != "other_branch"]
    assert as_librarian.post("/loans", json=scan | {"overrides": overrides}).status_code == 201
    turned_away, done = trail()
    assert (turned_away.outcome.value, turned_away.codes) == ("refused", codes)
    assert (done.outcome.value, done.codes) == ("done", [one["code"] for one in overrides])
    assert (done.actor_id, done.object_kind, done.object_id) == (as_librarian.user_id, "loans", None)


def test_money_is_kept_with_its_entry(as_librarian, make, trail):
    patron = make.user()
    made = as_librarian.post("/charges", json={"patron_id": patron.id, "amount_cents": 250, "note": CANARY})
    (row,) = trail()
    assert (row.action, row.object_kind, row.object_id) == ("create_charge", "account_entries", made.json["id"])


def test_nothing_personal_stands_in_any_row(as_librarian, client, session):
    personal = {"username": CANARY, "email": f"{CANARY}@example.org", "first_name": CANARY, "last_name": CANARY}
    more = {"phone": CANARY, "address": CANARY, "card_barcode": CANARY, "birth_date": "1999-12-31"}
    made = as_librarian.post("/users", json=personal | more).json
    as_librarian.change(f"/users/{made['id']}", json={"last_name": CANARY * 2})
    as_librarian.post(f"/users/{made['id']}/blocks", json={"reason": CANARY})
    as_librarian.post("/users", json=personal)
    client.post("/users/login", json={"email": CANARY, "password": CANARY})
    as_librarian.get(f"/users?q={CANARY}", headers={"X-Forwarded-For": CANARY, "User-Agent": CANARY})
    session.rollback()
    dump = repr(session.execute(select(AuditEvent.__table__)).all())
    assert "create_user" in dump
    assert CANARY not in dump
    assert "1999" not in dump


# --- Searching ----------------------------------------------------------------------------------


def test_only_admins_search_it(as_patron, as_librarian, client):
    assert client.get("/audit-events").status_code == 401
    assert as_patron.get("/audit-events").status_code == 403
    assert as_librarian.get("/audit-events").status_code == 403


def test_admins_search_it_by_what_it_holds(as_admin, as_librarian):
    made = as_librarian.post("/users", json={"username": "ada"}, headers={"X-Request-ID": REQUEST}).json["id"]
    as_librarian.change(f"/users/{made}", json={"first_name": "Ada"})
    as_librarian.post("/users", json={"username": "ada"})

    def actions(query: str) -> list[str]:
        answer = as_admin.get(f"/audit-events?{query}")
        assert answer.status_code == 200, answer.text
        return [row["action"] for row in answer.json]

    everything = ["create_user", "patch_user", "create_user"]
    assert actions("") == everything
    assert actions(f"actor_id={as_librarian.user_id}") == everything
    assert actions(f"actor_id={as_admin.user_id}") == []
    assert actions(f"object_kind=users&object_id={made}") == ["create_user", "patch_user"]
    assert actions("outcome=refused") == ["create_user"]
    assert actions("action=patch_user&outcome=done") == ["patch_user"]
    assert actions(f"request_id={REQUEST}") == ["create_user"]
    assert actions("at_min=2200-01-01T00:00:00Z") == []
    assert actions("at_max=2200-01-01T00:00:00Z&at_min=2020-01-01T00:00:00%2B02:00") == everything
    latest = as_admin.get("/audit-events?sort=-at&page_size=1").json[0]
    assert (latest["codes"], latest["outcome"], latest["status"]) == (["already_exists"], "refused", 409)
    first = as_admin.get("/audit-events?cursor=start&page_size=2")
    assert [row["action"] for row in first.json] == everything[:2]
    onward = as_admin.get("/audit-events", query_string={"cursor": first.headers["X-Next-Cursor"], "page_size": 2})
    assert [row["action"] for row in onward.json] == everything[2:]
    assert onward.headers["Cache-Control"] == "private, no-store"


@pytest.mark.parametrize(
    "query", ["at_min=yesterday", "outcome=maybe", "object_id=0", "actor=1", "actor_id=1&actor_id=2"]
)
def test_what_cannot_be_searched_by_is_refused(as_admin, query):
    assert as_admin.get(f"/audit-events?{query}").status_code == 422


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_there_is_no_way_to_change_it(as_admin, method):
    assert as_admin.open("/audit-events", method=method, json={}).status_code == 405
