"""Keys under which calls are repeated: claimed once, kept for a day of the real clock, forgotten in the night."""

from dataclasses import replace
from datetime import timedelta

from factories import START
from sqlalchemy import select

from library.database import make_session, transaction
from library.models import IdempotencyKey, JobKind
from library.rules import idempotency
from library.rules.idempotency import KEPT, Call
from library.working import work_step

from .helping import at_once
from .nights import night, work

SECOND = timedelta(seconds=1)


def call_of(user, **values) -> Call:
    return replace(Call(user.id, "POST /loans", "k", "f"), **values)


def claim(session, call, now=START):
    """A claim in a transaction of its own, answered with 204."""
    with transaction(session, write=True):
        claimed = idempotency.claim(session, call, now)
        if isinstance(claimed, int):
            idempotency.keep(session, claimed, 204, [("ETag", '"1-x"')], b"body")
        return claimed


def test_the_first_claims_and_the_next_is_told(session, make):
    call = call_of(make.user())
    first, second = (claim(session, call) for _ in range(2))
    assert isinstance(first, int)
    assert tuple(second) == ("f", 204, [["ETag", '"1-x"']], b"body")
    # What belongs to another body is told as well: who asks compares.
    assert claim(session, replace(call, fingerprint="g")).fingerprint == "f"


def test_account_path_and_key_part_claims(session, make):
    user, other = make.user(), make.user()
    calls = [call_of(user), call_of(other), call_of(user, call="POST /holds"), call_of(user, key="K")]
    assert len({claim(session, call) for call in calls}) == 4


def test_a_claim_is_new_after_a_day(session, make):
    call = call_of(make.user())
    number = claim(session, call)
    assert claim(session, call, START + KEPT - SECOND).status == 204
    assert claim(session, replace(call, fingerprint="g"), START + KEPT) == number
    assert claim(session, call, START + 2 * KEPT - SECOND).fingerprint == "g"


def test_a_claim_goes_with_what_it_was_for(session, make):
    call = call_of(make.user())
    with transaction(session, write=True, keep=False):
        assert isinstance(idempotency.claim(session, call, START), int)
    assert isinstance(claim(session, call), int)


def test_of_many_at_once_one_claims(session, make):
    call = call_of(make.user())
    session.commit()

    def one():
        with make_session(session.get_bind()) as own:
            return claim(own, call)

    claimed = at_once([one] * 8)
    numbers = [each for each in claimed if isinstance(each, int)]
    assert len(numbers) == 1
    assert {each.status for each in claimed if not isinstance(each, int)} == {204}


def keys(session) -> list[str]:
    return sorted(session.scalars(select(IdempotencyKey.key)))


def test_the_night_forgets_what_has_expired(session, make):
    user = make.user()
    for key, age in (("old", KEPT), ("older", 3 * KEPT), ("young", KEPT - SECOND)):
        claim(session, call_of(user, key=key), START - age)
    assert work(session, "purge", START) == (2, 2, 0)
    assert keys(session) == ["young"]
    assert work(session, "purge", START) == (0, 0, 0)


def test_a_night_that_is_only_tried_out_forgets_nothing_too_soon(session, make):
    claim(session, call_of(make.user()), START)
    tried = replace(night(START + 30 * KEPT), real_now=START + SECOND)
    tally = work_step(session, JobKind.PURGE, tried)
    assert (tally.found, tally.failed) == (0, 0)
    assert keys(session) == ["k"]
