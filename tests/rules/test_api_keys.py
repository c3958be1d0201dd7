"""API keys: made with bounds, shown once, and good no longer than their account and their scopes."""

import hashlib
from datetime import timedelta

import pytest
from sqlalchemy import func, select

from library.database import transaction
from library.models import ApiKey, Role, User
from library.rules import access, api_keys, sessions, users
from library.rules.errors import Forbidden, Refused

from .helping import at_once, refused_for

YEAR = timedelta(days=365)
SECOND = timedelta(seconds=1)
LOANS = {"name": "Self-check", "scopes": ["loans.read", "catalogue.read"]}


def made(session, actor: User, now, longest=YEAR, **values) -> api_keys.MadeKey:
    return api_keys.create(session, actor, LOANS | values, now, longest)


def test_a_key_is_long_random_and_kept_as_a_hash_only(session, make, now):
    user = make.user()
    one, other = made(session, user, now), made(session, user, now)
    assert one.key.startswith("lib_")
    assert len(one.key) == 47
    assert one.key != other.key
    row = one.api_key
    assert row.key_hash == hashlib.sha256(one.key.encode()).hexdigest()
    assert (row.prefix, row.user_id, row.last_used_at, row.ended_at) == (one.key[:10], user.id, None, None)
    assert row.scopes == ["catalogue.read", "loans.read"]
    assert one.key not in str(vars(row))


@pytest.mark.parametrize(
    ("longest", "asked", "given"),
    [(YEAR, None, YEAR), (YEAR, YEAR, YEAR), (YEAR, SECOND, SECOND), (None, None, None), (None, 9 * YEAR, 9 * YEAR)],
)
def test_a_key_ends_when_it_is_asked_to_or_as_late_as_is_allowed(session, make, now, longest, asked, given):
    key = made(session, make.user(), now, longest, expires_at=asked and now + asked).api_key
    assert key.expires_at == (given and now + given)


@pytest.mark.parametrize(("longest", "asked"), [(YEAR, YEAR + SECOND), (YEAR, timedelta(0)), (None, -SECOND)])
def test_no_key_ends_before_it_is_made_or_too_late(session, make, now, longest, asked):
    with refused_for("key_expiry_not_valid") as caught:
        made(session, make.user(), now, longest, expires_at=now + asked)
    assert caught.value.reasons[0].pointer == "/expires_at"


@pytest.mark.parametrize("scope", ["loans.check_out", "sessions.own", "credentials.own", "users.roles", "anyone"])
def test_nobody_gives_a_key_what_they_may_not_or_what_none_may(session, make, now, scope):
    with refused_for("scope_not_held") as caught:
        made(session, make.user(), now, scopes=["loans.read", scope])
    assert caught.value.reasons[0].params == {"scopes": [scope]}


@pytest.mark.parametrize("role", list(Role))
def test_everything_else_of_the_role_may_be_given(session, make, now, role):
    user = make.user(role=role)
    given = sorted(access.PERMISSIONS[role] - access.NEVER_BY_KEY)
    key = made(session, user, now, scopes=given)
    acting = api_keys.actor_of(session, key.api_key.id, now)
    assert [scope for scope in sorted(access.ADMIN) if access.may(acting, scope)] == given


def test_an_account_has_so_many_good_keys_and_no_more(session, make, now):
    user = make.user()
    ended, over = make.api_key(user, ended_at=now), make.api_key(user, expires_at=now)
    keys = [made(session, user, now).api_key for _ in range(api_keys.MOST_KEYS)]
    with refused_for("too_many_api_keys"):
        made(session, user, now)
    api_keys.end(session, keys[0], now)
    assert made(session, user, now).api_key.id not in {ended.id, over.id}
    made(session, make.user(), now)


def test_of_keys_made_at_once_no_more_are_made_than_may_be(session, another, make, now):
    user_id = make.user().id

    def make_one() -> bool:
        client = another()
        try:
            with transaction(client, write=True):
                made(client, client.get_one(User, user_id), now)
        except Refused as refused:
            return [reason.code for reason in refused.reasons] != ["too_many_api_keys"]
        return True

    for _ in range(api_keys.MOST_KEYS - 2):
        make.api_key(make.session.get(User, user_id))
    assert sorted(at_once([make_one] * 6)) == [False] * 4 + [True] * 2
    good = select(func.count()).where(ApiKey.user_id == user_id, ApiKey.ended_at.is_(None))
    assert session.scalar(good) == api_keys.MOST_KEYS


def test_a_key_speaks_for_its_account_within_its_scopes(session, make, now):
    librarian = make.librarian()
    key = make.api_key(librarian, "loans.read", "loans.check_out")
    holder = api_keys.holder_of(session, key.text, now)
    assert holder == api_keys.Holder(librarian.id, Role.LIBRARIAN, key.id, is_noted=False)
    acting = api_keys.actor_of(session, key.id, now)
    assert acting.id == librarian.id
    assert access.may(acting, "loans.check_out")
    assert not access.may(acting, "loans.check_in")
    # Not what the role no longer has either, nor what is opened to everybody of it.
    acting.role = Role.PATRON
    assert access.may(acting, "loans.read")
    assert not access.may(acting, "loans.check_out")
    assert not access.may(acting, "holds.read", frozenset({"holds.read"}))


def test_a_key_that_is_none_ended_or_over_speaks_for_nobody(session, make, now):
    user = make.user()
    good = make.api_key(user, "loans.read", expires_at=now + SECOND)
    ended, over = make.api_key(user, ended_at=now), make.api_key(user, expires_at=now)
    gone = make.api_key(make.user(active=False))
    for text in (ended.text, over.text, gone.text, good.text[:-1], good.text + "A", good.key_hash, "lib_", "lib_\0"):
        assert api_keys.holder_of(session, text, now) is None, text
    for key in (ended, over, gone):
        assert api_keys.actor_of(session, key.id, now) is None
    assert api_keys.holder_of(session, good.text, now).key_id == good.id
    assert api_keys.holder_of(session, good.text, now + SECOND) is None
    api_keys.end(session, good, now)
    assert api_keys.holder_of(session, good.text, now) is None
    api_keys.end(session, good, now + SECOND)
    assert good.ended_at == now


@pytest.mark.parametrize("values", [{"role": Role.LIBRARIAN}, {"active": False}, {"password_hash": "other"}])
def test_what_ends_the_tokens_of_an_account_ends_its_keys_for_good(session, make, now, values):
    admin, user = make.user(role=Role.ADMIN), make.user()
    key, strangers = make.api_key(user), make.api_key(admin)
    opened = make.session_of(user)
    users.change_user(session, admin, user, values, now)
    users.change_user(session, admin, user, {"role": Role.PATRON, "active": True}, now)
    session.expire_all()
    assert (key.ended_at, opened.ended_at, strangers.ended_at) == (now, now, None)


def test_a_change_that_ends_no_tokens_ends_no_keys(session, make, now):
    admin, user = make.user(role=Role.ADMIN), make.user()
    key = make.api_key(user)
    users.change_user(session, admin, user, {"first_name": "Ann", "role": user.role}, now)
    session.expire_all()
    assert key.ended_at is None


def test_ones_own_new_password_ends_the_keys_too(session, make, now):
    user = make.user(password_hash="old")
    key, mine = make.api_key(user), make.session_of(user)
    assert sessions.change_password(session, sessions.Login(user.id, "old", True), "new", mine.id, now)
    session.expire_all()
    assert (key.ended_at, mine.ended_at) == (now, None)


def test_a_use_is_noted_at_most_once_a_minute(session, make, now):
    key = make.api_key(make.user())
    for seconds, noted in ((0, 0), (59, 0), (60, 60), (61, 60), (30, 60), (120, 120)):
        moment = now + seconds * SECOND
        is_noted = api_keys.holder_of(session, key.text, moment).is_noted
        api_keys.note_use(session, key.id, moment)
        session.refresh(key)
        assert key.last_used_at == now + noted * SECOND
        assert is_noted is (seconds in (59, 61, 30))


def test_people_see_their_own_keys_and_admins_all(session, make):
    admin, librarian, patron = make.user(role=Role.ADMIN), make.librarian(), make.user()
    keys = [make.api_key(user) for user in (admin, librarian, patron)]
    for user, seen in ((librarian, keys[1:2]), (patron, keys[2:]), (admin, keys)):
        assert session.scalars(api_keys.find_keys(user).order_by(ApiKey.id)).all() == seen
    assert session.scalars(api_keys.find_keys(admin, user_id=patron.id)).all() == keys[2:]
    assert session.scalars(api_keys.find_keys(librarian, user_id=patron.id)).all() == []


@pytest.mark.parametrize("values", [{"password_hash": "new"}, {"email": "thief@example.org"}, {"email": None}])
def test_no_key_changes_what_an_account_is_got_into_by(session, make, now, values):
    librarian, patron = make.librarian(), make.user(email="pat@example.org")
    acting = api_keys.actor_of(session, make.api_key(librarian, "users.write").id, now)
    with pytest.raises(Forbidden, match=r"users\.credentials"):
        users.change_user(session, acting, patron, values, now)
    with pytest.raises(Forbidden, match=r"users\.credentials"):
        users.create_user(session, acting, {"password_hash": "new"}, now)
    same = {"first_name": "Ann", "email": "Pat@example.org"}
    assert users.change_user(session, acting, patron, same, now).first_name == "Ann"
    assert users.create_user(session, acting, {"email": "new@example.org"}, now).email == "new@example.org"
