"""Tokens that are sent by mail: made anew from what is kept, good once and for a while, ended together."""

import hashlib
import re
from datetime import timedelta

import pytest

from library.database import transaction
from library.models import OneTimeToken, TokenPurpose
from library.rules import one_time_tokens

from .helping import at_once

KEY, OTHER_KEY = "a key of the library's own, long enough", "another key of the library, long enough"
RESET, VERIFICATION = TokenPurpose.PASSWORD_RESET, TokenPurpose.EMAIL_VERIFICATION


@pytest.fixture
def sent(session, make, now):
    """Call it for a token of an account, and its text as it is sent."""

    def send(user, purpose: TokenPurpose = RESET) -> tuple[OneTimeToken, str]:
        token = one_time_tokens.make(session, KEY, purpose, user.id, now)
        session.commit()
        text = one_time_tokens.text_of(token, [KEY])
        assert text is not None
        return token, text

    return send


def test_only_the_hash_is_kept_and_the_text_is_made_anew(session, make, sent):
    token, text = sent(make.user())
    assert re.fullmatch(one_time_tokens.FORM, text)
    assert token.token_hash == hashlib.sha256(text.encode()).hexdigest()
    assert text not in {token.nonce, token.token_hash}
    session.expire_all()
    assert one_time_tokens.text_of(session.get_one(OneTimeToken, token.id), [KEY]) == text


def test_no_two_tokens_are_alike_and_the_purpose_is_part_of_them(make, sent):
    user = make.user()
    assert len({sent(user)[1] for _ in range(20)}) == 20
    token, _ = sent(user)
    token.purpose = VERIFICATION
    assert one_time_tokens.text_of(token, [KEY]) is None


def test_a_token_outlives_the_key_it_was_made_with_as_long_as_that_is_known(make, sent):
    token, text = sent(make.user())
    assert one_time_tokens.text_of(token, [OTHER_KEY, KEY]) == text
    assert one_time_tokens.text_of(token, [OTHER_KEY]) is None


@pytest.mark.parametrize(("purpose", "lifetime"), [(RESET, timedelta(hours=1)), (VERIFICATION, timedelta(hours=24))])
def test_a_token_is_good_for_its_time_and_its_purpose(session, make, sent, now, purpose, lifetime):
    user = make.user()
    token, text = sent(user, purpose)
    (other,) = {RESET, VERIFICATION} - {purpose}
    almost, late = now + lifetime - timedelta(seconds=1), now + lifetime
    assert one_time_tokens.holder(session, purpose, text, almost) == user.id
    assert one_time_tokens.holder(session, purpose, text, late) is None
    assert one_time_tokens.holder(session, other, text, now) is None
    assert (one_time_tokens.is_open(token, almost), one_time_tokens.is_open(token, late)) == (True, False)
    assert one_time_tokens.use(session, purpose, text, late) is None
    assert one_time_tokens.use(session, purpose, text, almost).id == user.id


def test_use_ends_every_token_of_the_account_and_no_others(session, make, sent, now):
    user, neighbour = make.user(), make.user()
    (_, first), (_, second), (_, third), (_, theirs) = sent(user), sent(user), sent(user, VERIFICATION), sent(neighbour)
    assert one_time_tokens.use(session, RESET, second, now).id == user.id
    assert one_time_tokens.use(session, RESET, second, now) is None
    assert one_time_tokens.use(session, RESET, first, now) is None
    assert one_time_tokens.use(session, VERIFICATION, third, now) is None
    assert one_time_tokens.use(session, RESET, theirs, now).id == neighbour.id


def test_nobodys_token_opens_nothing(session, now):
    token = one_time_tokens.make(session, KEY, RESET, None, now)
    text = one_time_tokens.text_of(token, [KEY])
    assert one_time_tokens.holder(session, RESET, text, now) is None
    assert one_time_tokens.use(session, RESET, text, now) is None


def test_of_many_at_once_one_uses_a_token(another, make, sent, now):
    user = make.user()
    texts = [sent(user)[1] for _ in range(2)]

    def use(session, text):
        with transaction(session, write=True):
            used = one_time_tokens.use(session, RESET, text, now)
            return used and used.id

    sessions = [another() for _ in range(8)]
    tries = [lambda session=one, text=texts[at % 2]: use(session, text) for at, one in enumerate(sessions)]
    assert sorted(at_once(tries), key=str) == [user.id, *[None] * 7]


def test_the_night_takes_tokens_that_are_dead_for_a_day(session, make, sent, now):
    token, _ = sent(make.user())
    for later, gone in ((timedelta(hours=25), False), (timedelta(hours=26), True)):
        dead = session.scalars(one_time_tokens.outworn(now + later)).all()
        assert dead == ([token] if gone else [])
