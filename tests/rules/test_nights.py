"""Whole nights: run again, many at once, stopped anywhere, they leave what one clean night leaves."""

from collections.abc import Iterator

import nightworld
import pytest
from conftest import empty
from nightworld import NIGHT
from sqlalchemy.orm import Session

from library.database import make_session
from library.models import JobKind
from library.rules.invariants import check_invariants
from library.rules.nightly import STEPS, steps_of
from library.working import work_step

from .helping import at_once
from .nights import night, work

SEEDS = (4, 7)
# By seed, what one run leaves: the same for every test.
MORNINGS: dict[int, dict] = {}


@pytest.fixture(params=SEEDS)
def begin_evening(request, session) -> Iterator:
    """Call it for a session on a new evening of the same library."""
    opened: list[Session] = []

    def begin() -> Session:
        for earlier in opened:
            earlier.close()
        empty(session.get_bind())
        opened.append(make_session(session.get_bind()))
        nightworld.build(opened[-1], request.param)
        return opened[-1]

    yield begin
    for one in opened:
        one.close()


@pytest.fixture
def clean(request, begin_evening) -> dict:
    """What one run leaves, nothing beside it and nothing in its way."""
    seed = request.node.callspec.params["begin_evening"]
    return MORNINGS.get(seed) or MORNINGS.setdefault(seed, one_morning(begin_evening()))


def one_morning(session: Session) -> dict:
    evening = nightworld.picture(session)
    found, done, skipped = work(session, "nightly", NIGHT)
    assert found == done + skipped
    assert done > 20
    morning = nightworld.picture(session)
    assert all(evening[name] != morning[name] for name in ("loans", "holds", "ledger", "renewals", "notices"))
    assert check_invariants(session) == []
    return morning


def test_ten_runs_do_what_one_does(begin_evening, clean):
    session = begin_evening()
    for _ in range(9):
        work(session, "nightly", NIGHT)
    assert work(session, "nightly", NIGHT)[1] == 0
    assert nightworld.picture(session) == clean


def test_four_at_once_do_what_one_does(begin_evening, clean):
    session = begin_evening()

    def run() -> int:
        with make_session(session.get_bind()) as own:
            tallies = [work_step(own, kind, night(NIGHT)) for kind in steps_of(JobKind.NIGHTLY)]
        assert not any(tally.failed for tally in tallies), tallies
        return sum(tally.done for tally in tallies)

    done = at_once([run] * 4)
    assert all(isinstance(one, int) for one in done), done
    assert nightworld.picture(session) == clean
    assert check_invariants(session) == []


class Stopped(BaseException):
    """The run ends here, in the middle of a transaction."""


@pytest.mark.parametrize("kind", list(STEPS))
def test_stopped_anywhere_in_a_step_the_next_run_goes_on(begin_evening, clean, kind):
    session = begin_evening()
    seen: list[str] = []

    def stop_at_second(_session: Session, found: int, done: int, skipped: int) -> None:
        seen.append("a record")
        if len(seen) == 2:
            raise Stopped

    with make_session(session.get_bind()) as own:
        for step in STEPS:
            if step is not kind:
                work_step(own, step, night(NIGHT))
                continue
            with pytest.raises(Stopped):
                work_step(own, step, night(NIGHT), stop_at_second)
            break
    assert nightworld.picture(session) != clean
    work(session, "nightly", NIGHT)
    assert nightworld.picture(session) == clean


def test_the_nights_after_have_less_to_do(begin_evening, clean):
    session = begin_evening()
    for later in range(10):
        # Claims and losses come of age, shelves are emptied, reminders go out.
        work(session, "nightly", NIGHT + 4 * later * nightworld.DAY)
        assert check_invariants(session) == []
