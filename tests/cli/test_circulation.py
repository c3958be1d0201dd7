"""`flask circulation`: the night by hand, in processes that are killed, many at once, and one command a step."""

import re
import signal

import nightworld
import pytest
from conftest import empty
from factories import START
from nightworld import DAY, NIGHT
from sqlalchemy import text

from library.api.jobs import NightlyKind
from library.models import Loan, LoanClosing
from library.rules.invariants import check_invariants

STEPS = ["expire-holds", "resume-holds", "age-to-lost", "renew", "cut-history", "write-notices", "purge"]
NIGHTLY = ("circulation", "nightly", "--at", NIGHT.isoformat())
COUNTS = re.compile(r"([a-z-]+): found (\d+), done (\d+), skipped (\d+)")


def counts(printed: str) -> dict[str, tuple[int, int, int]]:
    """What was printed of each step: found, done, skipped."""
    lines = [COUNTS.fullmatch(line) for line in printed.splitlines()]
    assert all(lines), printed
    return {line[1]: (int(line[2]), int(line[3]), int(line[4])) for line in lines if line}


@pytest.fixture
def picture(commands):
    """Call it for what there is to be seen of the library now."""

    def look() -> dict:
        with commands.session() as session:
            return nightworld.picture(session)

    return look


@pytest.fixture
def clean(commands, picture) -> dict:
    """What one run of the command leaves; the evening then begins anew."""
    with commands.session() as session:
        nightworld.build(session, 7)
        evening = nightworld.picture(session)
    printed = counts(commands.run(*NIGHTLY))
    assert list(printed) == STEPS
    assert all(found == done + skipped for found, done, skipped in printed.values())
    assert all(done for _, done, _ in printed.values())
    morning = picture()
    assert morning != evening
    empty(commands.engine)
    with commands.session() as session:
        nightworld.build(session, 7)
        assert nightworld.picture(session) == evening
    return morning


def test_killed_again_and_again_it_leaves_what_one_clean_run_leaves(commands, clean, picture):
    killed = 0
    # Each run comes a little further than the last before it dies, now in the middle of a commit, now after one.
    for number in range(1, 40):
        status = commands.strike("SIGKILL", ("before", "after")[number % 2], number, *NIGHTLY)
        if status == 0:
            break
        assert status == -signal.SIGKILL
        killed += 1
    assert killed > 5
    assert picture() == clean
    assert all(done == 0 for _, done, _ in counts(commands.run(*NIGHTLY)).values())
    assert picture() == clean
    with commands.session() as session:
        assert check_invariants(session) == []


def test_four_at_once_leave_what_one_clean_run_leaves(commands, clean, picture):
    printed = [counts(one) for one in commands.run_at_once(4, *NIGHTLY)]
    assert picture() == clean
    with commands.session() as session:
        assert check_invariants(session) == []
    # What one of them did, no other did.
    world = sum(done for _, done, _ in (one[step] for one in printed for step in ("expire-holds", "age-to-lost")))
    with commands.session() as session:
        ended = session.execute(text("SELECT count(*) FROM holds WHERE state = 'expired'")).scalar()
        lost = session.execute(text("SELECT count(*) FROM loans WHERE lost_at IS NOT NULL")).scalar()
    assert world == ended + lost


def test_a_run_that_is_told_to_stop_ends_after_the_record_at_hand(commands, clean, picture):
    assert commands.strike("SIGTERM", "before", 3, *NIGHTLY) == 128 + signal.SIGTERM
    with commands.session() as session:
        assert session.execute(text("SELECT count(*) FROM holds WHERE state = 'expired'")).scalar() == 3
    commands.run(*NIGHTLY)
    assert picture() == clean


@pytest.fixture
def read(make) -> Loan:
    """A loan that ended, to be forgotten."""
    return make.loan(closed_at=START + DAY, closed_as=LoanClosing.RETURNED)


@pytest.mark.parametrize("step", STEPS)
def test_each_step_alone(run, read, session, step):
    result = run("circulation", step)
    assert result.exit_code == 0, result.output
    found = 1 if step == "cut-history" else 0
    assert counts(result.output) == {step: (found, found, 0)}
    session.refresh(read)
    assert (read.patron_id is None) is bool(found)


def test_the_steps_are_those_that_can_be_asked_for_over_http():
    assert [step.replace("-", "_") for step in STEPS] == [*NightlyKind][1:]


@pytest.mark.usefixtures("sandbox")
def test_in_a_sandbox_it_may_be_another_night(run, read):
    for days, found in ((1, 0), (2, 1), (2, 0)):
        moment = (START + days * DAY).isoformat()
        assert counts(run("circulation", "cut-history", "--at", moment).output)["cut-history"][0] == found


def test_the_settings_say_how_long(run, session, make, app, monkeypatch):
    loan = make.loan(patron=make.user(history="delayed"), closed_at=START, closed_as=LoanClosing.RETURNED)
    monkeypatch.setitem(app.config, "SANDBOX_CLOCK", True)
    monkeypatch.setitem(app.config, "HISTORY_DAYS", 10**9)
    assert "found 0" in run("circulation", "cut-history", "--at", (START + 400 * DAY).isoformat()).output
    monkeypatch.setitem(app.config, "HISTORY_DAYS", 399)
    assert "done 1" in run("circulation", "cut-history", "--at", (START + 400 * DAY).isoformat()).output
    session.refresh(loan)
    assert loan.patron_id is None


@pytest.fixture
def stubborn(session, make, read, on_postgres):
    """Another loan to be forgotten, which the database does not let anybody change."""
    other = make.loan(closed_at=START + DAY, closed_as=LoanClosing.RETURNED)
    head = f"CREATE TRIGGER stubborn BEFORE UPDATE ON loans FOR EACH ROW WHEN (OLD.id = {other.id})"
    rest = "EXECUTE FUNCTION refuse_change()" if on_postgres else "BEGIN SELECT RAISE(ABORT, 'not this one'); END"
    session.execute(text(f"{head} {rest}"))
    session.commit()
    yield other
    session.rollback()
    session.execute(text("DROP TRIGGER stubborn" + (" ON loans" if on_postgres else "")))
    session.commit()


@pytest.fixture
def on_postgres(session) -> bool:
    return session.get_bind().dialect.name == "postgresql"


def test_a_record_that_fails_costs_itself_only(run, session, make, stubborn, caplog):
    after = make.loan(closed_at=START + DAY, closed_as=LoanClosing.RETURNED)
    result = run("circulation", "cut-history")
    assert result.exit_code == 1
    line, error = result.output.splitlines()
    assert re.fullmatch(rf"cut-history: found 3, done 2, skipped 0, failed 1: loans {stubborn.id}: \w+Error", line)
    assert error.startswith("Error: some records failed")
    assert f"loans {stubborn.id} could not be done" in caplog.text
    session.refresh(after)
    session.refresh(stubborn)
    assert (after.patron_id is None, stubborn.patron_id is None) == (True, False)
