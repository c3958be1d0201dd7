"""API keys: shown once, within their scopes, and never a way to the account itself."""

from datetime import UTC, datetime, timedelta
from io import BytesIO

import pytest
from documented import DocumentedClient, document_of
from factories import Factories
from sqlalchemy import select

from library.database import make_session
from library.extensions import db
from library.models import ApiKey, AuditEvent, Role
from library.rules import access

BODY = {"name": "Web site", "scopes": ["catalogue.read", "loans.read"], "password": "password123"}
# Of each operation that no key reaches, whoever's key it is: a call that a log-in of an admin may make.
CLOSED = [
    ("post", "/users/logout", None),
    ("get", "/users/me/sessions", None),
    ("delete", "/users/me/sessions/1", None),
    ("post", "/users/me/password", {"old_password": "password123", "new_password": "wide river under ice"}),
    ("get", "/api-keys", None),
    ("get", "/api-keys/1", None),
    ("post", "/api-keys", BODY),
    ("delete", "/api-keys/1", None),
]


@pytest.fixture
def with_key(app, make):
    """Call it with a user and scopes for a client that comes with a key, and the key."""

    def come(user, *scopes: str, **values) -> tuple[DocumentedClient, ApiKey]:
        client, key = app.test_client(), make.api_key(user, *scopes, **values)
        client.token = key.text
        return client, key

    return come


@pytest.fixture
def owner(make):
    return make.user(username="jdoe", password="password123")


def test_a_key_is_shown_once_and_lets_in(app, signed_in, owner, session):
    client = signed_in(owner)
    made = client.post("/api-keys", json=BODY)
    assert made.status_code == 201, made.text
    key, row = made.json["key"], made.json["api_key"]
    assert made.headers["Location"] == f"/api-keys/{row['id']}"
    assert "no-store" in made.headers["Cache-Control"]
    assert (row["user_id"], row["last_used_at"], row["ended_at"]) == (owner.id, None, None)
    for shown in (client.get(made.headers["Location"]), client.get("/api-keys")):
        assert key not in shown.text
        assert "hash" not in shown.text
    program = app.test_client()
    program.token = key
    assert program.get("/books").status_code == 200
    refused = program.get("/holds")
    assert (refused.status_code, refused.json["errors"][0]["params"]) == (403, {"permission": "holds.read"})
    assert "API key" in refused.json["errors"][0]["detail"]
    assert "role" in program.get("/audit-events").json["errors"][0]["detail"]
    (kept,) = session.query(ApiKey)
    assert key not in (kept.key_hash, kept.prefix)
    assert kept.last_used_at is not None


def test_a_key_is_made_only_by_who_knows_the_password(signed_in, owner, make):
    client = signed_in(owner)
    for password in ("password000", "", "x" * 129, "\ud800"):
        answer = client.post("/api-keys", json=BODY | {"password": password})
        assert (answer.status_code, answer.json["errors"][0]["pointer"]) == (422, "/password")
    assert client.get("/api-keys").json == []
    without = signed_in(make.user())
    assert without.post("/api-keys", json=BODY).json["errors"][0]["code"] == "wrong_password"


@pytest.mark.parametrize(
    ("values", "status", "pointer"),
    [
        ({"scopes": []}, 422, "/scopes"),
        ({"scopes": ["loans.burn"]}, 422, "/scopes/0"),
        ({"scopes": ["sessions.own"]}, 422, "/scopes/0"),
        ({"scopes": ["users.read"]}, 409, "/scopes"),
        ({"scopes": "loans.read"}, 422, "/scopes"),
        ({"expires_at": "2020-01-01T00:00:00Z"}, 409, "/expires_at"),
        ({"expires_at": "2190-01-01T00:00:00Z"}, 409, "/expires_at"),
        ({"expires_at": None}, 422, "/expires_at"),
        ({"user_id": 1}, 422, "/user_id"),
        ({"name": ""}, 422, "/name"),
    ],
)
def test_what_no_key_can_be(signed_in, owner, session, values, status, pointer):
    answer = signed_in(owner).post("/api-keys", json=BODY | values)
    assert (answer.status_code, answer.json["errors"][0]["pointer"]) == (status, pointer)
    assert session.query(ApiKey).count() == 0


def test_a_key_opens_something(signed_in, owner):
    answer = signed_in(owner).post("/api-keys", json=BODY | {"scopes": []})
    assert answer.json["errors"][0]["code"] == "too_few"


def test_a_library_may_let_keys_live_for_ever_or_shortly(signed_in, owner, app, monkeypatch):
    client = signed_in(owner)
    ends = []
    for days in (0, 1, 365):
        monkeypatch.setitem(app.config, "API_KEY_DAYS", days)
        ends.append(client.post("/api-keys", json=BODY).json["api_key"]["expires_at"])
    assert ends[0] is None
    left = [datetime.fromisoformat(end) - datetime.now(UTC) for end in ends[1:]]
    assert [round(span / timedelta(days=1)) for span in left] == [1, 365]


def test_the_answer_with_the_key_is_never_kept(signed_in, owner, app):
    headers = {"Idempotency-Key": "once"}
    client = signed_in(owner)
    keys = {client.post("/api-keys", json=BODY, headers=headers).json["key"] for _ in range(2)}
    assert len(keys) == 2
    parameters = document_of(app)["paths"]["/api-keys"]["post"].get("parameters", [])
    assert "Idempotency-Key" not in [parameter.get("name") for parameter in parameters]


@pytest.mark.parametrize(("method", "path", "body"), CLOSED)
def test_no_key_opens_what_the_account_is_got_into_by(with_key, make, method, path, body):
    admin = make.user(role=Role.ADMIN, password="password123")
    # Such a key cannot be made; were it in the table, it would open these no more.
    client, _ = with_key(admin, *access.ADMIN)
    assert client.get("/users/me").status_code == 200
    answer = client.open(path, method=method.upper(), json=body)
    assert answer.status_code == 403, answer.text


def test_every_operation_over_accounts_is_closed_to_keys(app):
    permissions = {}
    for rule in app.url_map.iter_rules():
        view = getattr(app.view_functions[rule.endpoint], "view_class", None)
        for method in view.methods or () if view else ():
            said = getattr(getattr(view, method.lower()), "_apidoc", {}).get("library", {})
            permissions[method.lower(), rule.rule.replace("<id:session_id>", "1").replace("<id:api_key_id>", "1")] = (
                said.get("permission")
            )
    closed = {call for call, permission in permissions.items() if permission in ("sessions.own", "credentials.own")}
    assert closed == {(method, path) for method, path, _ in CLOSED}


def test_a_key_sets_no_password_and_no_address(with_key, make):
    librarian, patron = make.librarian(), make.user(email="pat@example.org")
    client, _ = with_key(librarian, "users.read", "users.write")
    for body in ({"password": "wide river under ice"}, {"email": "thief@example.org"}):
        answer = client.change(f"/users/{patron.id}", json=body)
        assert (answer.status_code, answer.json["errors"][0]["params"]) == (403, {"permission": "users.credentials"})
    assert client.change(f"/users/{patron.id}", json={"first_name": "Ann"}).status_code == 200
    assert client.change(f"/users/{librarian.id}", json={"email": "thief@example.org"}).status_code == 403


def test_a_key_sees_what_its_account_sees(with_key, make):
    ann, bob = make.user(), make.user()
    loans = [make.loan(patron=person).id for person in (ann, bob)]
    patron, _ = with_key(ann, "loans.read")
    assert [row["id"] for row in patron.get("/loans").json] == loans[:1]
    assert patron.get(f"/loans/{loans[1]}").status_code == 404
    desk, _ = with_key(make.librarian(), "loans.read")
    assert [row["id"] for row in desk.get("/loans").json] == loans


def test_what_ends_a_key_ends_it_at_the_next_call(with_key, as_admin, signed_in, make, session):
    owner = make.user(password="password123")

    def ended_by(change) -> None:
        client, key = with_key(owner, "catalogue.read")
        assert client.get("/books").status_code == 200
        change(key)
        session.commit()
        answer = client.get("/books")
        assert (answer.status_code, 'error="invalid_token"' in answer.headers["WWW-Authenticate"]) == (401, True)

    def change_password(_key) -> None:
        body = {"old_password": "password123", "new_password": "wide river under ice"}
        assert signed_in(owner).post("/users/me/password", json=body).status_code == 204

    def patch(**values) -> None:
        assert as_admin.change(f"/users/{owner.id}", json=values).status_code == 200

    ended_by(lambda key: signed_in(owner).delete(f"/api-keys/{key.id}"))
    ended_by(lambda key: as_admin.delete(f"/api-keys/{key.id}"))
    ended_by(lambda key: setattr(key, "expires_at", datetime.now(UTC)))
    ended_by(change_password)
    ended_by(lambda _: patch(role="librarian"))
    ended_by(lambda _: patch(password="wide river under ice too"))
    ended_by(lambda _: patch(active=False))


def test_the_audit_tells_by_which_key_something_was_done(with_key, make, session):
    librarian = make.librarian()
    client, key = with_key(librarian, "catalogue.write")
    assert client.post("/authors", json={"name": "Melville, Herman"}).status_code == 201
    assert client.post("/holds", json={"book_id": 1}).status_code == 403
    told = session.execute(select(AuditEvent.action, AuditEvent.outcome, AuditEvent.api_key_id, AuditEvent.actor_id))
    assert [tuple(row) for row in told] == [
        ("create_author", "done", key.id, librarian.id),
        ("place_hold", "refused", key.id, librarian.id),
    ]


@pytest.mark.parametrize(
    "key", ["lib_", "lib_" + "A" * 43, "lib_" + "A" * 44, "lib_é", "LIB_" + "A" * 43, "lib_" + "A" * 5000, "lib_\x00"]
)
def test_what_looks_like_a_key_and_is_none_is_refused(app, make, key):
    make.api_key(make.user(), "catalogue.read")
    answer = app.test_client().get("/books", headers={"Authorization": f"Bearer {key}"})
    assert (answer.status_code, 'error="invalid_token"' in answer.headers["WWW-Authenticate"]) == (401, True)


def test_a_use_is_noted_once_a_minute_and_costs_readers_nothing_else(with_key, make, session, statements):
    client, key = with_key(make.user(), "catalogue.read", "loans.read")
    client.get("/loans")
    session.refresh(key)
    first = key.last_used_at
    assert datetime.now(UTC) - first < timedelta(minutes=1)
    statements.clear()
    client.get("/loans")
    session.refresh(key)
    assert key.last_used_at == first
    assert not [text for text in statements if text.startswith("UPDATE")]
    key.last_used_at = first - timedelta(minutes=2)
    session.commit()
    # What is refused is no use.
    assert client.get("/holds").status_code == 403
    session.refresh(key)
    assert key.last_used_at == first - timedelta(minutes=2)
    session.commit()
    client.get("/loans")
    session.refresh(key)
    assert key.last_used_at >= first


def test_programs_of_one_count_together_but_not_as_the_person_and_a_wrong_key_as_a_stranger(migrated):
    app = migrated(LIMITS_ENABLED=True, LIMIT_PATRON="2 per hour", LIMIT_ANONYMOUS="3 per hour")
    with app.app_context():
        make = Factories(make_session(db.engine))
    owner = make.user()
    keys = [make.api_key(owner, "loans.read").text for _ in range(2)]
    another = make.api_key(make.user(), "loans.read").text
    person = app.test_client()
    person.sign_in(owner, make.session_of(owner))

    def statuses(key: str) -> list[int]:
        return [app.test_client().get("/loans", headers={"Authorization": f"Bearer {key}"}).status_code for _ in "1234"]

    assert statuses(keys[0]) == [200, 200, 429, 429]
    assert statuses(keys[1]) == [429] * 4
    assert statuses(another) == [200, 200, 429, 429]
    assert person.get("/loans").status_code == 200
    assert statuses("lib_" + "A" * 43) == [401, 401, 401, 429]
    make.session.close()


def test_admins_see_and_end_every_key_and_nobody_else_does(signed_in, make, session):
    admin, librarian, patron = (make.user(role=role) for role in (Role.ADMIN, Role.LIBRARIAN, Role.PATRON))
    keys = {user: make.api_key(user) for user in (admin, librarian, patron)}
    assert len(signed_in(admin).get("/api-keys").json) == 3
    assert [row["id"] for row in signed_in(admin).get(f"/api-keys?user_id={patron.id}").json] == [keys[patron].id]
    for user, other in ((librarian, patron), (patron, librarian)):
        client = signed_in(user)
        assert [row["id"] for row in client.get("/api-keys").json] == [keys[user].id]
        for method in ("GET", "DELETE"):
            answers = [client.open(f"/api-keys/{key}", method=method) for key in (keys[other].id, 999_999)]
            bodies = [{name: value for name, value in a.json.items() if name != "request_id"} for a in answers]
            assert [answer.status_code for answer in answers] == [404, 404]
            assert bodies[0] == bodies[1]
    assert signed_in(admin).delete(f"/api-keys/{keys[patron].id}").status_code == 204
    session.expire_all()
    assert keys[patron].ended_at is not None
    assert keys[librarian].ended_at is None


@pytest.mark.parametrize(("on_duplicate", "status"), [("skip", 202), ("update", 403)])
def test_a_roster_changes_no_address_under_a_key(with_key, make, on_duplicate, status):
    client, _ = with_key(make.librarian(), "imports.write", "users.write")
    roster = BytesIO(b"card,last name,e-mail\nP1,Doe,mine@example.org\n"), "roster.csv"
    sent = {"file": roster, "kind": "patrons", "on_duplicate": on_duplicate}
    assert client.post("/imports", data=sent, content_type="multipart/form-data").status_code == status


@pytest.mark.parametrize("role", [Role.LIBRARIAN, Role.ADMIN])
def test_who_may_not_read_people_is_not_shown_them_beside_what_they_have(app, make, role):
    owner, patron = make.user(role=role), make.user(first_name="Jane")
    make.loan(patron=patron), make.hold(patron=patron), make.charge(patron, 100), make.order(patron)
    make.loan(patron=owner)
    lists = {"loans.read": "/loans", "holds.read": "/holds", "accounts.read": "/account-entries"}
    for scope, path in lists.items():
        for more in ((), ("users.read",)):
            key = make.api_key(owner, scope, "profile.own", *more).text
            rows = app.test_client().get(f"{path}?expand=patron", headers={"Authorization": f"Bearer {key}"}).json
            shown = {row["patron_id"]: row["patron"] is not None for row in rows}
            assert shown[patron.id] == bool(more)
            assert shown.get(owner.id, True), "one's own profile is within the scopes"
