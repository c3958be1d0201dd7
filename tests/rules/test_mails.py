"""The outbox: who takes a mail, what it says, when it is tried again, and what stays of it."""

from datetime import timedelta
from functools import partial

import pytest
from sqlalchemy import select, update

from library.database import transaction
from library.models import Mail, MailKind, OneTimeToken, TokenPurpose
from library.rules import mails, one_time_tokens

from .helping import at_once
from .nights import work

KEY = "a key of the library's own, long enough"
MINUTE = timedelta(minutes=1)


@pytest.fixture
def queued(session, now):
    """Call it to queue a mail; its key."""

    def queue(kind: MailKind = MailKind.PASSWORD_CHANGED, **values) -> int:
        mails.queue(session, kind, now, **values)
        session.commit()
        return session.scalars(select(Mail.id).order_by(Mail.id.desc())).first()

    return queue


@pytest.fixture
def claim(session):
    """Call it for the letter that a mail becomes at a moment."""

    def take(key: int, at) -> mails.Letter | None:
        letter = mails.claim(session, key, at, [KEY])
        session.commit()
        return letter

    return take


@pytest.fixture
def reset_of(session, queued, now):
    """Call it for the token of an account and the key of the mail that brings it."""

    def ask(user, at=now):
        token = one_time_tokens.make(session, KEY, TokenPurpose.PASSWORD_RESET, user.id, at)
        return token, queued(MailKind.PASSWORD_RESET, user_id=user.id, token=token)

    return ask


def test_a_mail_holds_neither_words_nor_token_nor_the_address_of_an_account(session, make, reset_of, claim, now):
    user = make.user(email="jane@example.org")
    token, key = reset_of(user)
    text = one_time_tokens.text_of(token, [KEY])
    kept = " ".join(str(value) for value in vars(session.get_one(Mail, key)).values())
    assert "jane" not in kept
    assert text not in kept
    letter = claim(key, now)
    assert (letter.address, letter.token, letter.kind) == ("jane@example.org", text, MailKind.PASSWORD_RESET)
    assert text in letter.text("")
    assert "POST /password-resets/redeem" in letter.text("")
    linked = letter.text("https://town.example.org/library/")
    assert f"https://town.example.org/library/password-reset#token={text}\n" in linked
    assert letter.subject("Town") == "Town: Choose a new password"


def test_a_mail_goes_to_the_address_that_the_account_has_when_it_is_sent(session, make, queued, claim, now):
    user = make.user(email="old@example.org")
    key = queued(user_id=user.id)
    user.email = "new@example.org"
    session.commit()
    assert claim(key, now).address == "new@example.org"


def test_a_mail_to_the_address_an_account_had_goes_there_and_away_with_the_account(session, make, queued, claim, now):
    user = make.user(email="new@example.org")
    key = queued(MailKind.EMAIL_CHANGED, user_id=user.id, address="old@example.org")
    letter = claim(key, now)
    assert (letter.address, letter.has_account) == ("old@example.org", True)
    assert "new@example.org" not in letter.text("")
    mails.sent(session, key, now)
    assert session.get_one(Mail, key).address is None
    again = queued(MailKind.EMAIL_CHANGED, user_id=user.id, address="old@example.org")
    session.delete(user)
    session.commit()
    assert claim(again, now) is None
    assert session.scalars(select(Mail.id)).all() == []


def test_an_address_without_an_account_is_kept_until_the_mail_is_sent(session, queued, claim, now):
    key = queued(MailKind.REGISTRATION_REFUSED, address="stranger@example.org")
    letter = claim(key, now)
    assert (letter.address, letter.has_account, letter.token) == ("stranger@example.org", False, None)
    assert "username" in letter.text("https://town.example.org")
    mails.sent(session, key, now)
    mail = session.get_one(Mail, key)
    assert (mail.address, mail.sent_at, mail.next_try_at) == (None, now, None)


def test_every_kind_has_words_that_need_nothing_more(make):
    for kind, has_account in mails.WORDS:
        letter = mails.Letter(1, kind, "x@y.org", has_account, "t0ken" if kind in mails.PLACES else None)
        for url in ("", "https://town.example.org"):
            text = letter.text(url)
            assert text.endswith(".\n")
            assert "{" not in text
            assert "None" not in text
            assert all(len(line) <= 72 for line in text.splitlines())
            assert ("t0ken" in text) == (kind in mails.PLACES)
    assert {kind for kind, _ in mails.WORDS} == set(MailKind)


def test_a_mail_to_nobody_is_never_due(session, queued, now):
    queued(MailKind.PASSWORD_RESET)
    assert list(mails.due(session, now + timedelta(days=9), 10)) == []


def test_the_mail_that_has_waited_longest_comes_first_and_so_many_at_once(session, make, queued, now):
    keys = [queued(user_id=make.user().id) for _ in range(3)]
    assert list(mails.due(session, now, 2)) == keys[:2]
    assert list(mails.due(session, now - MINUTE, 2)) == []


def test_a_mail_that_was_taken_is_tried_again_ever_more_slowly(session, make, queued, claim, now):
    key, at = queued(user_id=make.user().id), now
    pauses = []
    for _ in range(mails.MOST_TRIES):
        assert claim(key, at) is not None
        assert claim(key, at) is None
        upcoming = session.get_one(Mail, key).next_try_at
        pauses.append((upcoming - at) // MINUTE)
        at = upcoming
    assert pauses == [2, 4, 8, 16, 32, 64, 128, 240, 240, 240]
    assert claim(key, at) is None
    assert session.get_one(Mail, key).next_try_at is None


def test_of_many_senders_one_takes_a_mail(another, make, queued, now):
    key = queued(user_id=make.user().id)

    def take(session):
        with transaction(session, write=True):
            return mails.claim(session, key, now, [KEY]) is not None

    assert sorted(at_once([partial(take, another()) for _ in range(6)])) == [False] * 5 + [True]


@pytest.mark.parametrize("hour", [0, 2])
def test_a_token_that_is_dead_is_not_sent_any_more(session, make, reset_of, claim, now, hour):
    user = make.user()
    _, key = reset_of(user)
    if not hour:
        one_time_tokens.end_all(session, user.id, now)
    assert claim(key, now + timedelta(hours=hour)) is None
    assert session.get_one(Mail, key).next_try_at is None


def test_nothing_is_sent_to_an_account_without_an_address(make, queued, claim, now):
    assert claim(queued(user_id=make.user(email=None).id), now) is None


def test_nobody_is_written_to_without_end(session, make, reset_of, claim, now):
    user, neighbour = make.user(), make.user()
    for _ in range(mails.MOST_IN_AN_HOUR):
        token, key = reset_of(user)
        assert claim(key, now)
        mails.sent(session, key, now)
    assert claim(reset_of(user)[1], now) is None
    assert claim(reset_of(neighbour)[1], now)
    # What came last is good as long as no more comes.
    assert one_time_tokens.is_open(token, now + timedelta(minutes=59))
    later = now + timedelta(hours=1)
    assert claim(reset_of(user, later)[1], later)


def test_strangers_use_nothing_up_of_one_another(session, queued, claim, now):
    for number in range(mails.MOST_IN_AN_HOUR + 1):
        key = queued(MailKind.REGISTRATION_REFUSED, address=f"stranger{number}@example.org")
        assert claim(key, now)
        mails.sent(session, key, now)


def test_a_mail_that_can_never_arrive_is_given_up(session, queued, claim, now):
    key = queued(MailKind.REGISTRATION_REFUSED, address="x@example.org")
    mails.give_up(session, key)
    mail = session.get_one(Mail, key)
    assert (mail.next_try_at, mail.address, mail.sent_at) == (None, None, None)


def test_the_night_takes_mails_that_are_done_after_a_day_and_all_after_a_week(session, make, queued, now):
    waiting, done = queued(user_id=make.user().id), queued(user_id=make.user().id)
    mails.sent(session, done, now)

    def outworn(**later):
        return [mail.id for mail in session.scalars(mails.outworn(now + timedelta(**later)).order_by(Mail.id))]

    assert outworn(hours=23) == []
    assert outworn(hours=25) == [done]
    assert outworn(days=8) == [waiting, done]


def test_the_nightly_purge_takes_mails_and_tokens_that_are_done(session, make, reset_of, queued, now):
    user = make.user()
    reset_of(user, now - timedelta(days=2))
    mails.sent(session, queued(user_id=user.id), now)
    session.execute(update(Mail).values(created_at=now - timedelta(days=2)))
    token, waiting = reset_of(user)
    # The mail of the token goes with it.
    assert work(session, "purge", now) == (2, 2, 0)
    assert session.scalars(select(Mail.id)).all() == [waiting]
    assert session.scalars(select(OneTimeToken.id)).all() == [token.id]
    assert work(session, "purge", now) == (0, 0, 0)
