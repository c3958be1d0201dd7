"""Forgotten passwords and addresses to be proven, from the call over the mail to the log-in."""

from datetime import timedelta

import pytest
from postbox import post_of, token_in
from sqlalchemy import func, select, update

from library.database import make_session
from library.extensions import db
from library.models import Mail, OneTimeToken, Role, User

OLD, NEW = "password123", "wide river under ice"


def ask(client, email: str):
    return client.post("/password-resets", json={"email": email})


def redeem(client, token: str, password: str = NEW):
    return client.post("/password-resets/redeem", json={"token": token, "password": password})


def verify(client, token: str):
    return client.post("/email-verifications/redeem", json={"token": token})


def register(client, username: str, email: str, password: str = OLD):
    body = {"username": username, "email": email, "password": password}
    return client.post("/users/register", json=body)


def log_in(client, name: str, password: str):
    return client.post("/users/login", json={"email": name, "password": password})


def codes_of(answer) -> list[tuple[str, str]]:
    return [(error["code"], error["pointer"]) for error in answer.json["errors"]]


@pytest.fixture
def verifying(migrated):
    """A client of a library where addresses must be proven."""
    return migrated(REQUIRE_EMAIL_VERIFICATION=True).test_client()


def test_a_forgotten_password_is_replaced_with_the_token_of_a_mail(app, client, make):
    make.user(username="jdoe", email="JDoe@example.com", password=OLD)
    pair = log_in(client, "jdoe", OLD).json
    assert ask(client, "jdoe@EXAMPLE.com").status_code == 202
    (mail,) = post_of(app)
    assert (mail["To"], mail["From"]) == ("JDoe@example.com", "library@localhost")
    assert redeem(client, token_in(mail)).status_code == 204
    assert log_in(client, "jdoe", OLD).status_code == 401
    assert log_in(client, "jdoe", NEW).status_code == 200
    headers = {"Authorization": f"Bearer {pair['access_token']}"}
    assert client.get("/users/me", headers=headers).status_code == 401
    assert client.post("/users/refresh", json={"refresh_token": pair["refresh_token"]}).status_code == 401
    assert codes_of(redeem(client, token_in(mail), OLD)) == [("invalid_token", "/token")]
    (told,) = post_of(app)
    assert told["Subject"] == "Library: Your password was changed"


def test_a_look_alike_of_an_address_gets_no_mail(app, client, make):
    make.user(email="james@example.com", password=OLD)
    # A long s is folded to the s of everybody else's.
    assert ask(client, "jame\u017f@example.com").status_code == 202
    assert [mail["To"] for mail in post_of(app)] == ["james@example.com"]


def test_the_answer_has_no_body_and_nothing_is_kept_that_opens_the_account(app, client, make, session):
    make.user(email="jdoe@example.com", password=OLD)
    answer = ask(client, "jdoe@example.com")
    assert (answer.status_code, answer.data, "Location" in answer.headers) == (202, b"", False)
    (mail,) = post_of(app)
    kept = [
        str(value)
        for table in (OneTimeToken, Mail)
        for row in session.scalars(select(table))
        for value in vars(row).values()
    ]
    assert token_in(mail) not in " ".join(kept)
    assert "jdoe" not in " ".join(kept)


@pytest.mark.parametrize("death", ["made up", "used", "too old", "of another kind", "of a closed account"])
def test_a_dead_token_is_422_and_does_not_say_why(app, client, make, session, now, death):
    user = make.user(email="jdoe@example.com", password=OLD)
    ask(client, "jdoe@example.com")
    (mail,) = post_of(app)
    token = token_in(mail)
    if death == "made up":
        token = token[::-1]
    elif death == "used":
        redeem(client, token)
    elif death == "too old":
        session.execute(update(OneTimeToken).values(expires_at=now - timedelta(seconds=1)))
    elif death == "of a closed account":
        user.active = False
    session.commit()
    answer = verify(client, token) if death == "of another kind" else redeem(client, token, "another password")
    assert (answer.status_code, codes_of(answer)) == (422, [("invalid_token", "/token")])
    assert log_in(client, "jdoe@example.com", "another password").status_code == 401


@pytest.mark.parametrize("token", ["", "x", "x" * 44, "ü" * 43, "+" * 43, None, 7, ["x" * 43]])
def test_what_cannot_be_a_token_is_422(client, token):
    for path, body in (("/password-resets/redeem", {"password": NEW}), ("/email-verifications/redeem", {})):
        answer = client.post(path, json=body | {"token": token})
        assert answer.status_code == 422
        assert {error["pointer"] for error in answer.json["errors"]} == {"/token"}


def test_a_token_is_not_used_up_by_a_password_that_does_not_do(app, client, make):
    make.user(email="jdoe@example.com", password=OLD)
    ask(client, "jdoe@example.com")
    (mail,) = post_of(app)
    assert codes_of(redeem(client, token_in(mail), "short")) == [("too_short", "/password")]
    assert redeem(client, token_in(mail)).status_code == 204


def test_mails_link_to_the_librarys_pages_whatever_the_caller_says(app, client, make):
    make.user(email="jdoe@example.com", password=OLD)
    headers = {"Host": "evil.example.net", "X-Forwarded-Host": "evil.example.net", "Referer": "//evil.example.net"}
    client.post("/password-resets", json={"email": "jdoe@example.com"}, headers=headers)
    (mail,) = post_of(app, public_url="https://town.example.org")
    assert f"https://town.example.org/password-reset#token={token_in(mail)}" in mail.get_content()
    assert "evil" not in mail.as_string()


def test_who_proves_the_address_logs_in(verifying):
    answer = register(verifying, "jdoe", "jdoe@example.com")
    assert (answer.status_code, answer.data) == (202, b"")
    assert log_in(verifying, "jdoe", OLD).status_code == 401
    (mail,) = post_of(verifying.application)
    assert mail["Subject"] == "Library: Confirm your address"
    assert verify(verifying, token_in(mail)).status_code == 204
    assert log_in(verifying, "jdoe", OLD).status_code == 200
    assert codes_of(verify(verifying, token_in(mail))) == [("invalid_token", "/token")]
    # A second registration changes nothing of the first, and its owner hears of it.
    assert register(verifying, "jdoe2", "jdoe@example.com", NEW).status_code == 202
    assert log_in(verifying, "jdoe", OLD).status_code == 200
    assert log_in(verifying, "jdoe2", NEW).status_code == 401
    (mail,) = post_of(verifying.application)
    assert (mail["To"], mail["Subject"]) == ("jdoe@example.com", "Library: You have an account already")
    assert register(verifying, "JDOE", "other@example.com", NEW).status_code == 202
    (mail,) = post_of(verifying.application)
    assert (mail["To"], mail["Subject"]) == ("other@example.com", "Library: No account was made")


def test_a_reset_proves_the_address_too(verifying):
    register(verifying, "jane", "jane@example.com")
    post_of(verifying.application)
    ask(verifying, "jane@example.com")
    (mail,) = post_of(verifying.application)
    assert redeem(verifying, token_in(mail)).status_code == 204
    assert log_in(verifying, "jane", NEW).status_code == 200


def test_staff_may_vouch_for_who_gets_no_mail(verifying):
    app = verifying.application
    register(verifying, "mail-less", "mail-less@example.com")
    assert log_in(verifying, "mail-less", OLD).status_code == 401
    with app.app_context(), make_session(db.engine) as session:
        session.execute(update(User).where(User.username == "mail-less").values(confirmed=True))
        session.commit()
    assert log_in(verifying, "mail-less", OLD).status_code == 200


def test_a_closed_registration_stays_closed(migrated):
    app = migrated(REQUIRE_EMAIL_VERIFICATION=True, SELF_REGISTRATION=False)
    answer = register(app.test_client(), "jdoe", "jdoe@example.com")
    assert (answer.status_code, answer.json["errors"][0]["code"]) == (409, "registration_closed")
    assert post_of(app) == []


def test_a_mail_asked_for_before_the_key_was_changed_still_works(migrated):
    first, second = "the first key of this library: 0123456789", "the second key of this library: 0123456789"
    before = migrated(SECRET_KEY=first)
    client = before.test_client()
    register(client, "jdoe", "jdoe@example.com")
    ask(client, "jdoe@example.com")
    url = before.config["DATABASE_URL"]
    after = migrated(SECRET_KEY=second, SECRET_KEY_PREVIOUS=first, DATABASE_URL=url)
    (mail,) = post_of(after)
    assert redeem(after.test_client(), token_in(mail)).status_code == 204
    # Where nobody knows the key any more, the mail has nothing to say.
    ask(client, "jdoe@example.com")
    assert [mail["Subject"] for mail in post_of(migrated(SECRET_KEY=second, DATABASE_URL=url))] == [
        "Library: Your password was changed"
    ]


def test_mails_to_one_account_are_few_and_the_owner_elsewhere_is_not_locked_out(migrated):
    client = migrated(LIMITS_ENABLED=True, LIMIT_MAIL_ADDRESS="5 per hour").test_client()

    def ask_from(address: str, email: str) -> int:
        body = {"email": email}
        return client.post("/password-resets", json=body, environ_overrides={"REMOTE_ADDR": address}).status_code

    assert [ask_from("10.0.0.1", "jdoe@example.com") for _ in range(4)] == [202] * 3 + [429]
    assert ask_from("10.0.0.2", "JDOE@example.com") == 202
    assert [ask_from("10.0.0.1", f"{name}@example.com") for name in ("a", "b")] == [202, 429]


def test_registrations_cannot_flood_somebodys_mailbox(migrated):
    client = migrated(LIMITS_ENABLED=True, REQUIRE_EMAIL_VERIFICATION=True).test_client()
    codes = [register(client, f"name{at}", "victim@example.com").status_code for at in range(4)]
    assert codes == [202] * 3 + [429]


@pytest.fixture
def strict(migrated):
    """A client of a library that refuses common passwords."""
    return migrated(REFUSE_COMMON_PASSWORDS=True).test_client()


def test_common_passwords_are_refused_wherever_one_is_chosen(strict):
    too_common = [("password_too_common", "/password")]
    assert codes_of(register(strict, "jdoe", "jdoe@example.com", "PASSWORD123")) == too_common
    assert codes_of(register(strict, "jdoe", "jdoe@example.com", "jdoe@example.com")) == too_common
    assert register(strict, "jdoe", "jdoe@example.com", NEW).status_code == 201
    token = log_in(strict, "jdoe", NEW).json["access_token"]
    headers = {"Authorization": f"Bearer {token}"}
    for chosen in ("letmein!2026", "jdoe123456"):
        body = {"old_password": NEW, "new_password": chosen}
        answer = strict.post("/users/me/password", json=body, headers=headers)
        assert codes_of(answer) == [("password_too_common", "/new_password")]
    ask(strict, "jdoe@example.com")
    mail = post_of(strict.application)[-1]
    for chosen in ("sunshine1", "JDoe@Example.com"):
        assert codes_of(redeem(strict, token_in(mail), chosen)) == too_common
    assert redeem(strict, token_in(mail), "ice under a wide river").status_code == 204


def test_common_passwords_are_refused_at_the_desk(strict):
    register(strict, "desk", "desk@example.com", NEW)
    with strict.application.app_context(), make_session(db.engine) as session:
        session.execute(update(User).where(User.username == "desk").values(role=Role.ADMIN))
        session.commit()
    strict.token = log_in(strict, "desk", NEW).json["access_token"]
    too_common = [("password_too_common", "/password")]
    assert codes_of(strict.post("/users", json={"username": "ann", "password": "password123"})) == too_common
    assert codes_of(strict.post("/users", json={"username": "annabella", "password": "annabella"})) == too_common
    made = strict.post("/users", json={"username": "annabella", "password": NEW})
    assert made.status_code == 201
    path = f"/users/{made.json['id']}"
    assert codes_of(strict.change(path, json={"password": "annabella2026"})) == too_common
    assert codes_of(strict.change(path, "PUT", json={"username": "berta", "password": "berta-12345"})) == too_common
    assert strict.change(path, json={"password": "ice under a wide river"}).status_code == 200


def test_development_takes_what_tutorials_type(client, session):
    assert register(client, "jdoe", "jdoe@example.com", "password123").status_code == 201
    assert session.scalar(select(func.count()).select_from(User)) == 1
