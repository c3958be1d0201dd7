"""Sessions: what a log-in opens, a refresh carries on, and a log-out ends."""

from datetime import datetime, timedelta

import pytest
from factories import START
from sqlalchemy import select

from library.database import transaction
from library.models import Role, User, UserSession
from library.rules import sessions, users

from .helping import at_once
from .nights import work

HASH = users.hash_password("correct horse battery")
MONTH = timedelta(days=30)
SECOND = timedelta(seconds=1)


def login_of(user: User) -> users.Login:
    return users.Login(user.id, user.password_hash, user.active)


def opened_by(session, user: User, jti: str, now: datetime) -> UserSession:
    user.password_hash = HASH
    session.flush()
    started = sessions.start_session(session, login_of(user), jti, now, MONTH)
    assert started[0] is user
    return started[1]


@pytest.mark.parametrize("change", [{"active": False}, {"password_hash": HASH + "x"}])
def test_no_session_starts_once_account_or_password_have_changed(session, make, now, change):
    user = make.user(password_hash=HASH)
    login = login_of(user)
    for name, value in change.items():
        setattr(user, name, value)
    session.flush()
    assert sessions.start_session(session, login, "first", now, MONTH) is None
    assert session.query(UserSession).count() == 0


def test_a_session_starts_and_rotates(session, make, now):
    opened = opened_by(session, make.user(), "first", now)
    assert (opened.expires_at, opened.ended_at) == (now + MONTH, None)
    later = now + timedelta(hours=1)
    rotated = sessions.rotate_session(session, opened.id, "first", "second", later)
    assert (rotated.id, rotated.refresh_jti, rotated.rotated_at) == (opened.id, "second", later)
    assert rotated.expires_at == now + MONTH


def test_a_refresh_token_used_again_at_once_is_no_theft(session, make, now):
    opened = opened_by(session, make.user(), "first", now)
    sessions.rotate_session(session, opened.id, "first", "second", now)
    assert sessions.rotate_session(session, opened.id, "first", "third", now + sessions.REUSE_GRACE) is None
    assert sessions.rotate_session(session, opened.id, "second", "third", now + sessions.REUSE_GRACE).ended_at is None


def test_a_refresh_token_used_again_later_ends_the_session_for_the_thief_and_the_owner(session, make, now):
    opened = opened_by(session, make.user(), "first", now)
    sessions.rotate_session(session, opened.id, "first", "second", now)
    late = now + sessions.REUSE_GRACE + SECOND
    assert sessions.rotate_session(session, opened.id, "first", "third", late) is None
    session.refresh(opened)
    assert opened.ended_at == late
    assert sessions.rotate_session(session, opened.id, "second", "third", late) is None


def test_a_session_that_ran_out_or_is_another_does_not_rotate(session, make, now):
    user = make.user()
    opened, other = (opened_by(session, user, jti, now) for jti in ("first", "other"))
    assert sessions.rotate_session(session, opened.id, "first", "second", now + MONTH) is None
    assert sessions.rotate_session(session, opened.id, "other", "second", now) is None
    assert sessions.rotate_session(session, other.id + 1, "first", "second", now) is None
    session.refresh(opened)
    assert (opened.refresh_jti, opened.ended_at) == ("first", None)


def test_of_parallel_rotations_one_succeeds_and_the_session_goes_on(session, another, make, now):
    opened = make.session_of(make.user())
    old, session_id = opened.refresh_jti, opened.id

    def rotate(number: int) -> bool:
        client = another()
        with transaction(client, write=True):
            return sessions.rotate_session(client, session_id, old, f"new{number}", now + SECOND) is not None

    answers = at_once([lambda number=number: rotate(number) for number in range(8)])
    assert sorted(answers) == [False] * 7 + [True]
    session.refresh(opened)
    assert (opened.ended_at, opened.refresh_jti) == (None, f"new{answers.index(True)}")


def test_a_token_speaks_for_an_active_user_in_a_session_that_goes_on(session, make, now):
    user = make.user()
    opened = make.session_of(user)
    assert sessions.actor_of(session, user.id, opened.id, 1, now) is user
    assert sessions.actor_of(session, user.id, opened.id, 2, now) is None
    assert sessions.actor_of(session, user.id, make.session_of(make.user()).id, 1, now) is None
    assert sessions.actor_of(session, user.id, opened.id, 1, opened.expires_at - SECOND) is user
    assert sessions.actor_of(session, user.id, opened.id, 1, opened.expires_at) is None
    sessions.end_session(session, opened.id, now)
    assert sessions.actor_of(session, user.id, opened.id, 1, now) is None


def test_an_account_is_locked_as_it_is_by_then(session, another, make, now):
    user = make.user(password_hash=HASH)
    mine, elsewhere = make.session_of(user), make.session_of(user)
    other = another()
    with transaction(other, write=True):
        assert sessions.change_password(other, login_of(user), "another", mine.id, now)
    assert user.password_hash == HASH
    with transaction(session, write=True):
        assert sessions.lock_account(session, user.id, mine.id, now).password_hash == "another"
        assert sessions.lock_account(session, user.id, elsewhere.id, now) is None
        assert sessions.lock_account(session, user.id, mine.id, mine.expires_at) is None
        assert sessions.lock_account(session, user.id + 1, mine.id, now) is None


def test_a_token_of_a_deactivated_or_deleted_user_speaks_for_nobody(session, make):
    admin, user = make.user(role=Role.ADMIN), make.user()
    session_id, user_id = make.session_of(user).id, user.id
    users.change_user(session, admin, user, {"active": False}, START)
    assert sessions.actor_of(session, user_id, session_id, 2, START) is None
    users.change_user(session, admin, user, {"active": True}, START)
    assert sessions.actor_of(session, user_id, session_id, 1, START) is None
    # The account is good again; what was open has ended for good.
    assert sessions.actor_of(session, user_id, session_id, 3, START) is None
    session_id = make.session_of(user).id
    assert sessions.actor_of(session, user_id, session_id, 3, START) is user
    users.delete_user(session, admin, user)
    session.commit()
    newcomer = make.user()
    assert newcomer.id > user_id
    assert sessions.actor_of(session, user_id, session_id, 3, START) is None


def test_an_ended_session_does_not_rotate(session, make, now):
    opened = make.session_of(make.user())
    sessions.end_session(session, opened.id, now)
    assert sessions.rotate_session(session, opened.id, opened.refresh_jti, "new", now) is None


def test_a_new_password_ends_every_session_but_the_one_it_was_set_in(session, make, now):
    user, stranger = make.user(), make.user()
    mine, ended, other = (make.session_of(user) for _ in range(3))
    strangers = make.session_of(stranger)
    sessions.end_session(session, ended.id, now - SECOND)
    assert sessions.change_password(session, login_of(user), HASH, mine.id, now)
    session.expire_all()
    assert [row.ended_at for row in (mine, ended, other, strangers)] == [None, now - SECOND, now, None]
    assert user.password_hash == HASH
    assert stranger.password_hash is None
    assert sessions.actor_of(session, user.id, mine.id, user.token_version, now) is user


def test_people_see_where_they_are_signed_in_and_nobody_else_does(session, make, now):
    user, admin = make.user(), make.user(role=Role.ADMIN)
    opened = opened_by(session, user, "first", now)
    ended, over = make.session_of(user), make.session_of(user)
    sessions.end_session(session, ended.id, now)
    over.expires_at = now
    mine = make.session_of(admin)
    assert session.scalars(sessions.find_sessions(user, now)).all() == [opened]
    assert session.scalars(sessions.find_sessions(admin, now)).all() == [mine]
    assert session.scalars(sessions.find_sessions(user, now + MONTH)).all() == []


def test_all_sessions_of_an_account_end_at_once(session, make, now):
    user = make.user()
    ended, first, second = (make.session_of(user) for _ in range(3))
    strangers = make.session_of(make.user())
    sessions.end_session(session, ended.id, now - SECOND)
    sessions.end_all(session, user.id, now)
    session.expire_all()
    assert [row.ended_at for row in (ended, first, second, strangers)] == [now - SECOND, now, now, None]


def test_a_session_knows_the_program_it_was_opened_from(session, make, now):
    user = make.user(password_hash=HASH)
    _, opened = sessions.start_session(session, login_of(user), "first", now, MONTH, "Desk 3")
    assert opened.client == "Desk 3"


def test_a_session_that_is_over_is_forgotten_a_day_later(session, make, now):
    user = make.user()
    over, lately, good = (make.session_of(user) for _ in range(3))
    over.expires_at, lately.expires_at = now - sessions.KEPT - SECOND, now - sessions.KEPT
    sessions.end_session(session, good.id, now)
    session.commit()
    assert work(session, "purge", now) == (1, 1, 0)
    assert session.scalars(select(UserSession.id).order_by(UserSession.id)).all() == [lately.id, good.id]
