"""Jobs: work that is asked for here and done by a worker, which claims a row and counts on it what it did.

The moments of these rules are real ones, whatever day the work itself takes for today (`runs_as_of`).
"""

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, or_, select, update
from sqlalchemy.orm import Session, joinedload, raiseload

from library.models import Job, JobKind, JobState, User
from library.rules import access, uploads
from library.rules.errors import Refusal, Refused, refuses

JOB_SORTS = {"created_at": Job.created_at, "started_at": Job.started_at, "ended_at": Job.ended_at}
# A worker that was not heard of for so long is gone; another one may take its job.
PATIENCE = timedelta(minutes=10)
LONGEST_ERROR = 200


class NotOurs(Exception):
    """Another worker has taken the job over; what was about to be done is left to it."""


class Cancelled(NotOurs):
    """Somebody has asked that the job be stopped; what was about to be done is not done."""


class JobEnded(Refusal):
    """The job has ended: there is nothing left to cancel."""


def start(
    session: Session, actor: User | None, kind: JobKind, now: datetime, runs_as_of: datetime | None = None
) -> Job:
    """Ask for work; `runs_as_of` is the moment it takes for now, None for the one at which it runs."""
    asked = {"created_at": now, "created_by_id": actor.id if actor else None, "runs_as_of": runs_as_of}
    job = Job(kind=kind, intake=None, **asked)
    session.add(job)
    session.flush()
    return job


def find_jobs(**filters: Any) -> Select[Any]:
    """Jobs by kind and state."""
    return select(Job).options(*job_parts()).filter_by(**filters)


def job_parts() -> tuple[Any, ...]:
    """What a job is shown with."""
    return joinedload(Job.intake), raiseload("*")


def next_free(session: Session, now: datetime) -> int | None:
    """Key of the job that has waited longest for a worker; None where there is none."""
    return session.scalar(select(Job.id).where(_is_free(now)).order_by(Job.id).limit(1))


def claim(session: Session, key: int, now: datetime) -> Job | None:
    """Take a job for oneself: of many workers one gets it, the others None."""
    taken = (
        update(Job).where(Job.id == key, _is_free(now)).values(state=JobState.RUNNING, started_at=now, heartbeat_at=now)
    )
    if not session.connection().execute(taken).rowcount:
        return None
    return session.get(Job, key, populate_existing=True)


def _is_free(now: datetime) -> ColumnElement[bool]:
    deserted = and_(Job.state == JobState.RUNNING, Job.heartbeat_at < now - PATIENCE)
    return or_(Job.state == JobState.QUEUED, deserted)


def count(session: Session, job: Job, now: datetime, found: int = 0, done: int = 0, skipped: int = 0) -> None:
    """Add to what a claimed job has done, in the transaction that does it; raises NotOurs or Cancelled, to undo it."""
    sums = {"found": Job.found + found, "done": Job.done + done, "skipped": Job.skipped + skipped}
    _keep(session, job, {"heartbeat_at": now, **sums})
    if session.scalar(select(Job.cancel_asked_at).where(Job.id == job.id)) is not None:
        raise Cancelled


def finish(session: Session, job: Job, now: datetime, error: str | None = None) -> None:
    """End a claimed job, well or with an error; raises NotOurs."""
    state = JobState.FAILED if error else JobState.DONE
    _end(session, job, state, now, error)


def stop(session: Session, job: Job, now: datetime) -> None:
    """End a claimed job that was asked to stop: what it has done stays; raises NotOurs."""
    _end(session, job, JobState.CANCELLED, now)


def _end(session: Session, job: Job, state: JobState, now: datetime, error: str | None = None) -> None:
    _keep(session, job, {"state": state, "ended_at": now, "error": error[:LONGEST_ERROR] if error else None})
    uploads.drop_parts(session, job.id)


def give_back(session: Session, job: Job) -> None:
    """Let the next worker have a claimed job at once; raises NotOurs."""
    _keep(session, job, {"state": JobState.QUEUED})


@refuses(JobEnded)
def cancel(session: Session, actor: User, job: Job, now: datetime) -> Job:
    """Stop a job: one that waits ends at once, one at work before its next record or batch is kept.

    Raises Forbidden for nightly work where the actor may not start it either.
    """
    if job.kind not in uploads.IMPORTS:
        access.require(actor, "jobs.start")
    connection = session.connection()
    waits = update(Job).where(Job.id == job.id, _is_free(now))
    ended = {"state": JobState.CANCELLED, "cancel_asked_at": now, "ended_at": now}
    if connection.execute(waits.values(**ended)).rowcount:
        uploads.drop_parts(session, job.id)
    else:
        works = update(Job).where(Job.id == job.id, Job.state == JobState.RUNNING)
        if not connection.execute(works.values(cancel_asked_at=now)).rowcount:
            raise Refused([JobEnded()])
    found = select(Job).where(Job.id == job.id).options(*job_parts())
    return session.scalars(found.execution_options(populate_existing=True)).one()


def _keep(session: Session, job: Job, values: dict[str, Any]) -> None:
    ours = (Job.id == job.id, Job.state == JobState.RUNNING, Job.started_at == job.started_at)
    if not session.connection().execute(update(Job).where(*ours).values(**values)).rowcount:
        raise NotOurs
