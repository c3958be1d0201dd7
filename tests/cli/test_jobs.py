"""`flask jobs run`: a worker does what was asked for, and what a worker that died has left."""

import itertools
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import flask_migrate
import nightworld
import pytest
from conftest import empty
from nightworld import NIGHT
from served import DEADLINE
from sqlalchemy import event, select, text, update
from sqlalchemy.orm import Session

from library.extensions import db
from library.models import Job, JobKind, JobState, Loan, LoanClosing
from library.rules import jobs

from .conftest import runner

LONG_AGO = timedelta(minutes=11)


@pytest.fixture
def asked(commands):
    """Call it to ask for work on the night of the little library; the key of the job."""

    def ask(kind: JobKind = JobKind.NIGHTLY) -> int:
        with commands.session() as session:
            key = jobs.start(session, None, kind, datetime.now(UTC), NIGHT).id
            session.commit()
            return key

    return ask


@pytest.fixture
def seen(commands):
    """Call it for the job as it now stands."""

    def look(key: int) -> Job:
        with commands.session() as session:
            return session.get_one(Job, key)

    return look


@pytest.fixture
def evening(commands) -> dict:
    """The little library; what a clean night leaves of it."""
    with commands.session() as session:
        nightworld.build(session, 7)
    commands.run("circulation", "nightly", "--at", NIGHT.isoformat())
    with commands.session() as session:
        morning = nightworld.picture(session)
    empty(commands.engine)
    with commands.session() as session:
        nightworld.build(session, 7)
    return morning


def test_a_worker_does_what_waits_and_ends_when_told_so(run, session, make):
    loan = make.loan(closed_at=nightworld.NIGHT - timedelta(days=9), closed_as=LoanClosing.RETURNED)
    keys = [jobs.start(session, None, kind, NIGHT, NIGHT).id for kind in (JobKind.CUT_HISTORY, JobKind.NIGHTLY)]
    session.commit()
    result = run("jobs", "run", "--once")
    assert (result.exit_code, result.output) == (0, "")
    session.expire_all()
    first, second = (session.get_one(Job, key) for key in keys)
    assert (first.state, first.found, first.done, first.skipped) == (JobState.DONE, 1, 1, 0)
    assert first.created_at < first.started_at <= first.heartbeat_at <= first.ended_at <= second.started_at
    assert (second.state, second.found, second.error) == (JobState.DONE, 0, None)
    assert session.get_one(Loan, loan.id).patron_id is None


def test_without_a_moment_of_its_own_a_job_takes_the_real_one(run, session, make):
    now = datetime.now(UTC)
    make.loan(closed_at=now - timedelta(hours=50), closed_as=LoanClosing.RETURNED)
    today = make.loan(closed_at=now, closed_as=LoanClosing.RETURNED)
    job = jobs.start(session, None, JobKind.CUT_HISTORY, now)
    session.commit()
    run("jobs", "run", "--once")
    session.expire_all()
    assert (job.runs_as_of, job.done) == (None, 1)
    assert today.patron_id is not None


def test_a_job_in_which_a_record_fails_says_so(run, session, make):
    make.loan(closed_at=NIGHT - timedelta(days=9), closed_as=LoanClosing.RETURNED)
    stubborn = make.loan(closed_at=NIGHT - timedelta(days=9), closed_as=LoanClosing.RETURNED)
    job = jobs.start(session, None, JobKind.NIGHTLY, NIGHT, NIGHT)
    on_postgres = session.get_bind().dialect.name == "postgresql"
    rest = "EXECUTE FUNCTION refuse_change()" if on_postgres else "BEGIN SELECT RAISE(ABORT, 'not this one'); END"
    head = f"CREATE TRIGGER stubborn BEFORE UPDATE ON loans FOR EACH ROW WHEN (OLD.id = {stubborn.id})"
    session.execute(text(f"{head} {rest}"))
    session.commit()
    try:
        assert run("jobs", "run", "--once").exit_code == 0
    finally:
        session.execute(text("DROP TRIGGER stubborn" + (" ON loans" if on_postgres else "")))
        session.commit()
    session.expire_all()
    assert (job.state, job.found, job.done, job.skipped) == (JobState.FAILED, 2, 1, 0)
    assert job.error.startswith(f"cut-history: 1 of 2 failed, first loans {stubborn.id}: ")


def test_what_a_killed_worker_had_begun_another_ends(commands, evening, asked, seen):
    key, killed = asked(), 0
    for number in range(2, 40, 3):
        status = commands.strike("SIGKILL", ("before", "after")[number % 2], number, "jobs", "run", "--once")
        if status == 0:
            break
        assert status == -signal.SIGKILL
        killed += 1
        job = seen(key)
        if job.state is JobState.RUNNING:
            # Nobody else gets it as long as its worker might only be slow.
            assert commands.run("jobs", "run", "--once") == ""
            assert seen(key).found == job.found
            with commands.session() as session:
                session.execute(update(Job).values(heartbeat_at=datetime.now(UTC) - LONG_AGO))
                session.commit()
    assert killed > 3
    with commands.session() as session:
        assert nightworld.picture(session) == evening
    job = seen(key)
    assert (job.state, job.error) == (JobState.DONE, None)
    # Each record was counted in the transaction that did it, whoever did it.
    assert job.found == job.done + job.skipped
    with commands.session() as session:
        changed = session.scalar(text("SELECT count(*) FROM notices WHERE kind IN ('lost', 'hold_expired', 'renewed')"))
    assert job.done > changed > 0


def test_a_worker_that_is_stopped_gives_its_job_back(commands, evening, asked, seen):
    key = asked()
    assert commands.strike("SIGTERM", "after", 4, "jobs", "run") == 0
    job = seen(key)
    assert (job.state, job.found) == (JobState.QUEUED, 3), "claimed, and done three records"
    assert commands.run("jobs", "run", "--once") == ""
    assert seen(key).state is JobState.DONE
    with commands.session() as session:
        assert nightworld.picture(session) == evening


def test_several_workers_share_the_jobs(commands, asked, evening, seen):
    keys = [asked() for _ in range(4)]
    assert commands.run_at_once(3, "jobs", "run", "--once") == [""] * 3
    assert [seen(key).state for key in keys] == [JobState.DONE] * 4
    with commands.session() as session:
        assert nightworld.picture(session) == evening


def wait_until(what) -> None:
    """Wait for something that another process does."""
    end = time.monotonic() + DEADLINE
    while not what():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_an_idle_worker_goes_on_until_it_is_stopped(commands, asked, seen):
    worker = commands.start("jobs", "run")
    for _ in range(2):
        key = asked(JobKind.RENEW)
        wait_until(lambda key=key: seen(key).state is JobState.DONE)
    worker.send_signal(signal.SIGINT)
    printed, complained = worker.communicate(timeout=DEADLINE)
    assert (worker.returncode, printed, complained) == (0, "", "")


PARENT = """
import subprocess, sys
worker = subprocess.Popen([sys.executable, "-m", "flask", "--app", "library", "jobs", "run", "--with-parent"])
print(worker.pid, flush=True)
worker.wait()
"""


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks for processes in /proc")
def test_a_worker_beside_a_server_does_not_outlive_it(commands, asked, seen):
    parent = subprocess.Popen([sys.executable, "-c", PARENT], env=commands.environment, stdout=subprocess.PIPE)
    with parent:
        worker = Path("/proc", parent.stdout.readline().decode().strip())
        key = asked(JobKind.RENEW)
        wait_until(lambda: seen(key).state is JobState.DONE)
        parent.kill()
    wait_until(lambda: not worker.exists() or "zombie" in (worker / "status").read_text())


def test_no_job_is_asked_for_twice(commands, asked):
    asked(JobKind.RENEW)
    commands.run("jobs", "run", "--once")
    commands.run("jobs", "run", "--once")
    with commands.session() as session:
        assert session.scalars(select(Job.state)).all() == [JobState.DONE]


def test_a_worker_that_was_too_slow_leaves_the_job_to_who_took_it(run, session, make, app):
    for _ in range(3):
        make.loan(closed_at=NIGHT - timedelta(days=9), closed_as=LoanClosing.RETURNED)
    job = jobs.start(session, None, JobKind.CUT_HISTORY, NIGHT, NIGHT)
    session.commit()
    commits = itertools.count(1)

    def take_over(_session: Session) -> None:
        if next(commits) == 2:
            with session.get_bind().begin() as connection:
                connection.execute(update(Job).values(started_at=NIGHT))

    event.listen(Session, "after_commit", take_over)
    try:
        result = run("jobs", "run", "--once")
    finally:
        event.remove(Session, "after_commit", take_over)
    assert result.output == f"job {job.id} was taken over by another worker\n"
    session.expire_all()
    assert (job.state, job.found, job.done) == (JobState.RUNNING, 1, 1)
    # What it could not count it has not done.
    assert [patron_id is None for patron_id in session.scalars(select(Loan.patron_id).order_by(Loan.id))] == [
        True,
        False,
        False,
    ]


def test_a_job_that_is_taken_over_at_its_very_end_does_not_end_the_worker(run, session):
    first, second = (jobs.start(session, None, JobKind.RENEW, NIGHT, NIGHT) for _ in range(2))
    session.commit()
    commits = itertools.count(1)

    def take_over(_session: Session) -> None:
        # It has only just been claimed, and has nothing to do but to end.
        if next(commits) == 1:
            with session.get_bind().begin() as connection:
                connection.execute(update(Job).where(Job.id == first.id).values(started_at=NIGHT))

    event.listen(Session, "after_commit", take_over)
    try:
        result = run("jobs", "run", "--once")
    finally:
        event.remove(Session, "after_commit", take_over)
    assert (result.exit_code, result.output) == (0, f"job {first.id} was taken over by another worker\n")
    session.expire_all()
    assert [first.state, second.state] == [JobState.RUNNING, JobState.DONE]


def test_a_database_that_does_not_answer_is_one_line(app_in, tmp_path):
    app = app_in(tmp_path)
    with app.app_context():
        flask_migrate.upgrade()
        with db.engine.begin() as connection:
            connection.execute(text("DROP TABLE jobs"))
    result = runner(app)("jobs", "run", "--once")
    assert (result.exit_code, result.output) == (1, "the database does not answer: no such table: jobs\n")
