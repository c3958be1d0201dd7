"""A new password for whoever reads the account's mail."""

from datetime import timedelta
from functools import partial

import pytest
from sqlalchemy import func, select

from library.database import transaction
from library.models import ApiKey, Mail, MailKind, OneTimeToken, Role, User, UserSession
from library.rules import one_time_tokens, password_resets, sessions, users

from .helping import at_once

KEY = "a key of the library's own, long enough"
OLD, NEW = users.hash_password("correct horse battery"), users.hash_password("wide river under ice")
MINUTE = timedelta(minutes=1)


@pytest.fixture
def asked(session, now):
    """Call it with an address for the text of the token that is sent there."""

    def ask(email: str) -> str:
        token = password_resets.request(session, KEY, email, now)
        session.commit()
        return one_time_tokens.text_of(token, [KEY])

    return ask


def rows(session, noun, *conditions) -> int:
    return session.scalar(select(func.count()).select_from(noun).where(*conditions))


def test_who_has_the_token_gets_a_new_password_and_everybody_else_is_out(session, make, asked, now):
    user = make.user(email="Jane@example.org", password_hash=OLD)
    make.session_of(user)
    make.row(ApiKey(user_id=user.id, name="x", prefix="lib_x", key_hash="x", scopes=[], created_at=now))
    first, second = asked("jane@example.org"), asked(" JANE@EXAMPLE.ORG ")
    assert password_resets.find_holder(session, first, now) is user
    assert password_resets.redeem(session, first, NEW, now + MINUTE) is user
    session.commit()
    assert (user.password_hash, user.token_version) == (NEW, 2)
    assert user.email_verified_at == now + MINUTE
    assert rows(session, UserSession, UserSession.ended_at.is_(None)) == 0
    assert rows(session, ApiKey, ApiKey.ended_at.is_(None)) == 0
    for token in (first, second):
        assert password_resets.find_holder(session, token, now + MINUTE) is None
        assert password_resets.redeem(session, token, OLD, now + MINUTE) is None
    kinds = session.scalars(select(Mail.kind).order_by(Mail.id)).all()
    assert kinds == [MailKind.PASSWORD_RESET, MailKind.PASSWORD_RESET, MailKind.PASSWORD_CHANGED]


@pytest.mark.parametrize("state", ["unknown", "inactive"])
def test_for_nobody_the_same_is_written_and_nothing_sent(session, make, asked, now, state):
    if state == "inactive":
        make.user(email="jane@example.org", active=False)
    token = asked("jane@example.org")
    assert (rows(session, OneTimeToken), rows(session, Mail)) == (1, 1)
    assert rows(session, Mail, Mail.next_try_at.is_not(None)) == 0
    assert password_resets.find_holder(session, token, now) is None


def test_a_token_of_an_account_that_was_closed_meanwhile_opens_nothing(session, make, asked, now):
    user = make.user(email="jane@example.org", password_hash=OLD)
    token = asked("jane@example.org")
    user.active = False
    session.commit()
    assert password_resets.find_holder(session, token, now) is None
    assert password_resets.redeem(session, token, NEW, now) is None
    assert user.password_hash == OLD


def test_a_log_in_ends_what_was_sent(session, make, asked, now):
    user = make.user(email="jane@example.org", password_hash=OLD)
    token = asked("jane@example.org")
    login = users.find_login(session, "jane@example.org")
    assert sessions.start_session(session, login, "jti", now, timedelta(days=1))
    assert password_resets.redeem(session, token, NEW, now) is None
    assert user.password_hash == OLD


@pytest.mark.parametrize(
    "change", [{"password_hash": NEW}, {"email": "other@example.org"}, {"email": None}, {"active": False}]
)
def test_a_change_at_the_desk_ends_what_was_sent(session, make, asked, now, change):
    user = make.user(email="jane@example.org", password_hash=OLD, email_verified_at=now)
    token = asked("jane@example.org")
    users.change_user(session, make.user(role=Role.ADMIN), user, change, now)
    session.commit()
    assert password_resets.find_holder(session, token, now) is None
    assert (user.email_verified_at is None) == ("email" in change)


def test_another_spelling_of_the_address_ends_nothing(session, make, asked, now):
    user = make.user(email="jane@example.org", email_verified_at=now)
    token = asked("jane@example.org")
    users.change_user(session, make.user(role=Role.ADMIN), user, {"email": "Jane@Example.org", "phone": "1"}, now)
    assert password_resets.find_holder(session, token, now) is user
    assert user.email_verified_at == now


def test_ones_own_change_ends_what_was_sent_and_is_told(session, make, asked, now):
    user = make.user(email="jane@example.org", password_hash=OLD)
    opened, token = make.session_of(user), asked("jane@example.org")
    login = users.find_login(session, "jane@example.org")
    assert sessions.change_password(session, login, NEW, opened.id, now)
    assert password_resets.find_holder(session, token, now) is None
    assert rows(session, Mail, Mail.kind == MailKind.PASSWORD_CHANGED, Mail.user_id == user.id) == 1


def test_who_has_no_address_is_told_nothing(session, make, now):
    user = make.user(email=None, password_hash=OLD)
    users.change_user(session, make.user(role=Role.ADMIN), user, {"password_hash": NEW}, now)
    assert rows(session, Mail) == 0


def test_of_many_at_once_one_chooses_the_password(session, another, make, asked, now):
    make.user(email="jane@example.org", password_hash=OLD)
    tokens = [asked("jane@example.org") for _ in range(2)]

    def redeem(session, at):
        with transaction(session, write=True):
            return password_resets.redeem(session, tokens[at % 2], f"hash {at}", now) is not None

    done = at_once([partial(redeem, another(), at) for at in range(6)])
    assert sorted(done) == [False] * 5 + [True]
    session.rollback()
    assert session.scalar(select(User.token_version)) == 2
