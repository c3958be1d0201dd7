"""Registration, log-in, log-out, tokens."""

from datetime import timedelta

import jwt
import pytest
from factories import Factories

from library.models import Role, User, UserSession


def log_in(client, name: str, password: str = "password123", member: str = "email"):
    return client.post("/users/login", json={member: name, "password": password})


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def test_register_answers_the_user_without_secrets(client, session):
    body = {"username": "jdoe", "email": "JDoe@example.com", "password": "password123"}
    answer = client.post("/users/register", json=body)
    assert answer.status_code == 201
    assert answer.headers["Location"] == f"/users/{answer.json['id']}"
    assert (answer.json["confirmed"], answer.json["role"]) == (False, "patron")
    assert answer.json["card_barcode"]
    user = session.get(User, answer.json["id"])
    assert user.password_hash.startswith("$argon2id$v=19$m=19456,t=2,p=1$")


@pytest.mark.parametrize("taken", [{"username": "JDOE"}, {"email": "jdoe@EXAMPLE.com"}])
def test_a_clash_does_not_say_what_is_taken(client, make: Factories, session, taken):
    make.user(username="jdoe", email="jdoe@example.com")
    body = {"username": "other", "email": "other@example.com", "password": "password123"} | taken
    answer = client.post("/users/register", json=body)
    assert answer.status_code == 409
    assert [error["code"] for error in answer.json["errors"]] == ["registration_refused"]
    assert "pointer" not in answer.json["errors"][0]
    assert session.query(User).count() == 1


def test_nobody_registers_as_admin(client, session):
    body = {"username": "jdoe", "email": "j@example.com", "password": "password123", "role": "admin"}
    answer = client.post("/users/register", json=body)
    assert (answer.status_code, answer.json["errors"][0]["pointer"]) == (422, "/role")
    assert session.query(User).count() == 0


def test_another_persons_card_is_no_username(client, make):
    make.user(card_barcode="P000777")
    body = {"username": "P000777", "email": "x@example.com", "password": "password123"}
    assert client.post("/users/register", json=body).status_code == 409


def test_a_library_may_make_all_accounts_itself(migrated):
    client = migrated(SELF_REGISTRATION=False).test_client()
    body = {"username": "jdoe", "email": "x@example.com", "password": "password123"}
    assert client.post("/users/register", json=body).json["errors"][0]["code"] == "registration_closed"


def test_a_short_password_is_refused(client):
    body = {"username": "jdoe", "email": "j@example.com", "password": "short"}
    answer = client.post("/users/register", json=body)
    assert (answer.json["errors"][0]["pointer"], answer.json["errors"][0]["code"]) == ("/password", "too_short")


@pytest.mark.parametrize(
    ("name", "member"),
    [("jdoe@example.com", "email"), ("JDOE", "email"), ("P000001", "email"), ("jdoe", "username")],
)
def test_log_in_by_address_name_or_card(client, make, name, member):
    make.user(username="jdoe", email="jdoe@example.com", card_barcode="P000001", password="password123")
    answer = log_in(client, name, member=member)
    assert answer.status_code == 200, answer.text
    assert (answer.json["token_type"], answer.json["expires_in"]) == ("Bearer", 3600)
    assert client.get("/users/me", headers=bearer(answer.json["access_token"])).json["username"] == "jdoe"


def test_unknown_wrong_and_inactive_look_the_same(client, make):
    make.user(username="jdoe", password="password123")
    make.user(username="gone", password="password123", active=False)
    make.user(username="cardonly")
    answers = [log_in(client, *pair) for pair in (("jdoe", "wrong-pass"), ("nobody",), ("gone",), ("cardonly",))]
    bodies = [{key: value for key, value in a.json.items() if key != "request_id"} for a in answers]
    assert {a.status_code for a in answers} == {401}
    assert all(body == bodies[0] for body in bodies)


def test_log_out_ends_both_tokens(client, make):
    make.user(username="jdoe", password="password123")
    pair = log_in(client, "jdoe").json
    assert client.post("/users/logout", headers=bearer(pair["access_token"])).status_code == 204
    dead = client.get("/users/me", headers=bearer(pair["access_token"]))
    assert dead.status_code == 401
    assert 'error="invalid_token"' in dead.headers["WWW-Authenticate"]
    assert client.post("/users/refresh", json={"refresh_token": pair["refresh_token"]}).status_code == 401


def test_refresh_rotates_and_reuse_ends_the_session(client, make, session):
    make.user(username="jdoe", password="password123")
    first = log_in(client, "jdoe").json
    second = client.post("/users/refresh", json={"refresh_token": first["refresh_token"]})
    assert second.status_code == 200
    assert second.json["refresh_token"] != first["refresh_token"]
    # Soon after, a second use is a race of one client with itself: refused, and the session lives.
    assert client.post("/users/refresh", json={"refresh_token": first["refresh_token"]}).status_code == 401
    assert client.get("/users/me", headers=bearer(second.json["access_token"])).status_code == 200
    # Later it is a theft: the session ends.
    row = session.query(UserSession).one()
    row.rotated_at -= timedelta(seconds=11)
    session.commit()
    assert client.post("/users/refresh", json={"refresh_token": first["refresh_token"]}).status_code == 401
    assert client.get("/users/me", headers=bearer(second.json["access_token"])).status_code == 401
    assert client.post("/users/refresh", json={"refresh_token": second.json["refresh_token"]}).status_code == 401


def test_an_access_token_does_not_refresh_and_the_other_way_round(client, make):
    make.user(username="jdoe", password="password123")
    pair = log_in(client, "jdoe").json
    assert client.post("/users/refresh", json={"refresh_token": pair["access_token"]}).status_code == 401
    assert client.get("/users/me", headers=bearer(pair["refresh_token"])).status_code == 401


@pytest.mark.parametrize("change", [{"role": Role.LIBRARIAN}, {"active": False}])
def test_a_new_role_or_deactivation_ends_older_tokens(as_admin, signed_in, make, change):
    user = make.user()
    theirs = signed_in(user)
    assert theirs.get("/users/me").status_code == 200
    assert as_admin.change(f"/users/{user.id}", json=change).status_code == 200
    assert theirs.get("/users/me").status_code == 401


def test_a_new_password_ends_other_sessions(client, make):
    make.user(username="jdoe", password="password123")
    here, there = log_in(client, "jdoe").json, log_in(client, "jdoe").json
    body = {"old_password": "password123", "new_password": "password456"}
    wrong = client.post(
        "/users/me/password", json=body | {"old_password": "password000"}, headers=bearer(here["access_token"])
    )
    assert (wrong.status_code, wrong.json["errors"][0]["code"]) == (422, "wrong_password")
    assert client.post("/users/me/password", json=body, headers=bearer(here["access_token"])).status_code == 204
    assert client.get("/users/me", headers=bearer(here["access_token"])).status_code == 200
    assert client.get("/users/me", headers=bearer(there["access_token"])).status_code == 401
    assert log_in(client, "jdoe").status_code == 401
    assert log_in(client, "jdoe", "password456").status_code == 200


def forged(app, **claims) -> str:
    key = claims.pop("key", app.config["SECRET_KEY"])
    return jwt.encode(claims, key, algorithm=claims.pop("algorithm", "HS256") if key else "none")


def test_hostile_tokens_are_401(app, client, make):
    user = make.user()
    opened = make.session_of(user)
    good = {
        "sub": str(user.id),
        "role": "patron",
        "iat": 1,
        "exp": 4102444800,
        "jti": "x",
        "aud": "library",
        "iss": "library",
        "typ": "access",
        "sid": opened.id,
        "ver": 1,
        "fresh": False,
    }
    assert client.get("/users/me", headers=bearer(forged(app, **good))).status_code == 200
    hostile = [
        good | {name: value}
        for name, value in [
            ("sub", user.id),
            ("sub", "abc"),
            ("sub", "99999999999"),
            ("sub", "²"),
            ("role", "king"),
            ("exp", 1),
            ("aud", "other"),
            ("iss", "other"),
            ("typ", "refresh"),
            ("sid", "1"),
            ("sid", 2**40),
            ("ver", None),
            ("ver", 2),
            ("key", "x" * 40),
        ]
    ]
    hostile += [
        {name: value for name, value in good.items() if name != missing} for missing in good if missing != "fresh"
    ]
    texts = [forged(app, **claims) for claims in hostile]
    texts += [jwt.encode(good, None, algorithm="none"), "x", "a.b.c", "", "Bearer", "é"]
    for text in texts:
        answer = client.get("/users/me", headers=bearer(text))
        assert answer.status_code == 401, text
        assert "invalid_token" in answer.headers["WWW-Authenticate"]
