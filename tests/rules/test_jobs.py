"""Jobs without HTTP: one worker gets a job, counts on it what it does, and loses it when it is not heard of."""

from datetime import timedelta

import pytest
from sqlalchemy import select

from library.database import transaction
from library.models import Job, JobKind, JobState
from library.rules import jobs
from library.rules.jobs import PATIENCE, NotOurs

from .helping import at_once

MINUTE = timedelta(minutes=1)


@pytest.fixture
def job(session, now) -> Job:
    found = jobs.start(session, None, JobKind.RENEW, now)
    session.commit()
    return found


def test_a_job_waits_for_a_worker(session, make, now):
    admin = make.user(role="admin")
    job = jobs.start(session, admin, JobKind.NIGHTLY, now, runs_as_of=now + MINUTE)
    session.commit()
    session.expire_all()
    assert (job.kind, job.state, job.created_by_id, job.created_at) == ("nightly", "queued", admin.id, now)
    assert (job.runs_as_of, job.started_at, job.ended_at) == (now + MINUTE, None, None)
    assert (job.found, job.done, job.skipped, job.error) == (0, 0, 0, None)


def test_the_oldest_job_is_next_and_only_those_that_wait(session, now):
    first, second = (jobs.start(session, None, kind, now) for kind in (JobKind.RENEW, JobKind.NIGHTLY))
    assert jobs.next_free(session, now) == first.id
    assert jobs.claim(session, first.id, now) is first
    assert jobs.next_free(session, now) == second.id
    jobs.claim(session, second.id, now)
    assert jobs.next_free(session, now) is None


def test_a_claimed_job_says_since_when(session, job, now):
    claimed = jobs.claim(session, job.id, now + MINUTE)
    assert (claimed.state, claimed.started_at, claimed.heartbeat_at) == (JobState.RUNNING, now + MINUTE, now + MINUTE)
    assert jobs.claim(session, job.id, now + MINUTE) is None
    assert jobs.claim(session, 10**6, now) is None


def test_of_many_workers_one_gets_the_job(another, job, now):
    def claim() -> bool:
        own = another()
        with transaction(own, write=True):
            return jobs.claim(own, job.id, now) is not None

    assert sorted(at_once([claim] * 6)) == [False] * 5 + [True]


def test_what_was_done_is_counted_where_it_is_done(session, another, job, now):
    claimed = jobs.claim(session, job.id, now)
    session.commit()
    for counts in ({"found": 1, "done": 1}, {"found": 1, "skipped": 1}, {"found": 1, "done": 1}):
        with transaction(session, write=True):
            jobs.count(session, claimed, now + MINUTE, **counts)
    seen = another().get(Job, job.id)
    assert (seen.found, seen.done, seen.skipped, seen.heartbeat_at) == (3, 2, 1, now + MINUTE)


def test_a_job_ends_well_or_with_an_error(session, job, now):
    jobs.finish(session, jobs.claim(session, job.id, now), now + MINUTE)
    session.refresh(job)
    assert (job.state, job.ended_at, job.error) == (JobState.DONE, now + MINUTE, None)
    other = jobs.start(session, None, JobKind.RENEW, now)
    jobs.finish(session, jobs.claim(session, other.id, now), now, "x" * 1000)
    session.refresh(other)
    assert (other.state, other.error) == (JobState.FAILED, "x" * 200)


def test_a_worker_that_is_not_heard_of_loses_its_job(session, job, now):
    jobs.claim(session, job.id, now)
    jobs.count(session, job, now + MINUTE, found=5, done=5)
    assert jobs.next_free(session, now + MINUTE + PATIENCE) is None
    late = now + MINUTE + PATIENCE + timedelta(microseconds=1)
    assert jobs.next_free(session, late) == job.id
    assert jobs.claim(session, job.id, now + PATIENCE) is None
    again = jobs.claim(session, job.id, late)
    assert (again.started_at, again.found, again.done) == (late, 5, 5), "what was done is done"


def test_a_worker_that_lost_its_job_can_neither_count_nor_end_it(session, another, job, now):
    slow = another()
    with transaction(slow, write=True):
        mine = jobs.claim(slow, job.id, now)
    slow.expunge(mine)
    late = now + 2 * PATIENCE
    theirs = jobs.claim(session, job.id, late)
    session.commit()
    for late_word in (
        lambda: jobs.count(slow, mine, late, found=1),
        lambda: jobs.finish(slow, mine, late),
        lambda: jobs.give_back(slow, mine),
    ):
        with pytest.raises(NotOurs), transaction(slow, write=True):
            late_word()
    jobs.finish(session, theirs, late)
    with pytest.raises(NotOurs):
        jobs.finish(session, theirs, late)


def test_a_job_that_is_given_back_is_free_at_once(session, job, now):
    jobs.give_back(session, jobs.claim(session, job.id, now))
    assert jobs.next_free(session, now) == job.id
    assert jobs.claim(session, job.id, now + MINUTE).started_at == now + MINUTE


def test_jobs_are_found_by_kind_and_state(session, now):
    renew, nightly = (jobs.start(session, None, kind, now) for kind in (JobKind.RENEW, JobKind.NIGHTLY))
    jobs.claim(session, renew.id, now)
    assert session.scalars(jobs.find_jobs(kind=JobKind.RENEW)).all() == [renew]
    assert session.scalars(jobs.find_jobs(state=JobState.QUEUED)).all() == [nightly]
    assert len(session.scalars(jobs.find_jobs()).all()) == len(session.scalars(select(Job)).all()) == 2
