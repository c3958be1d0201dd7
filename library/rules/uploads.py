"""Files that were sent to be taken in: kept in pieces until their job ends, and the report of every record."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, cast

from sqlalchemy import Select, Table, delete, insert, select, update
from sqlalchemy.orm import Session, raiseload

from library.models import Import, Job, JobKind, JobResult, JobState, OnDuplicate, Outcome, UploadPart, User
from library.rules import access
from library.rules.outcomes import Result

RESULT_SORTS = {"position": JobResult.position}
PART_BYTES = 1 << 20
DELETED_AT_ONCE = 10_000
IMPORTS = (JobKind.IMPORT_BOOKS, JobKind.IMPORT_USERS)
# What each kind writes, its sender must be allowed to write.
NEEDED = {JobKind.IMPORT_BOOKS: "catalogue.write", JobKind.IMPORT_USERS: "users.write"}
ENDED = (JobState.DONE, JobState.FAILED, JobState.CANCELLED)


def start_import(
    session: Session, actor: User, kind: JobKind, values: Mapping[str, Any], parts: Iterable[bytes], now: datetime
) -> Job:
    """Ask that a file be taken in: `values` are the columns of Import, `parts` the bytes of the file, in pieces.

    Raises Forbidden where the actor may not write what the file holds.
    """
    access.require(actor, NEEDED[kind])
    if kind is JobKind.IMPORT_USERS and values["on_duplicate"] is OnDuplicate.UPDATE:
        # A roster may name another address for an account, and who has the address chooses its password.
        access.require(actor, "users.credentials")
    job = Job(kind=kind, created_at=now, created_by_id=actor.id, intake=Import(**values))
    session.add(job)
    session.flush()
    for number, content in enumerate(parts):
        session.connection().execute(
            insert(_table(UploadPart)), {"job_id": job.id, "number": number, "content": content}
        )
    return job


def part(session: Session, job_id: int, number: int) -> bytes | None:
    """A piece of the file, counted from 0; None behind the last."""
    of_it = (UploadPart.job_id == job_id, UploadPart.number == number)
    return session.scalar(select(UploadPart.content).where(*of_it))


def drop_parts(session: Session, job_id: int) -> None:
    """Forget the file: its job has ended."""
    session.connection().execute(delete(UploadPart).where(UploadPart.job_id == job_id))


def note(session: Session, job_id: int, results: Sequence[Result], position: int, bytes_read: int) -> None:
    """Write what became of a batch that ends at `position`, in the transaction that takes it in."""
    counts = {outcome: sum(result.outcome is outcome for result in results) for outcome in Outcome}
    sums = {outcome.value: getattr(Import, outcome.value) + count for outcome, count in counts.items()}
    change = update(Import).where(Import.job_id == job_id)
    session.connection().execute(change.values(position=position, bytes_read=bytes_read, **sums))
    rows = [
        {
            "job_id": job_id,
            "position": result.position,
            "outcome": result.outcome,
            "reference": _text(result.reference, 254),
            "reason": _text(result.reason, 500),
            "book_id": result.book_id,
            "user_id": result.user_id,
        }
        for result in results
    ]
    if rows:
        session.connection().execute(insert(_table(JobResult)), rows)


def all_read(session: Session, job_id: int) -> None:
    """Note that nothing of the file is left."""
    session.connection().execute(update(Import).where(Import.job_id == job_id).values(bytes_read=Import.size))


def begin_again(session: Session, job_id: int) -> None:
    """Forget the report of a dry run whose worker is gone: it knew by heart what it had seen."""
    _drop_report(session, job_id)
    nothing = {"position": 0, "bytes_read": 0, **{outcome.value: 0 for outcome in Outcome}}
    session.connection().execute(update(Import).where(Import.job_id == job_id).values(**nothing))
    session.connection().execute(update(Job).where(Job.id == job_id).values(found=0, done=0, skipped=0))


def find_results(job: Job, outcome: Outcome | None = None) -> Select[Any]:
    """What became of the records of a job's file, in their order."""
    statement = select(JobResult).where(JobResult.job_id == job.id).options(raiseload("*"))
    if outcome is not None:
        statement = statement.where(JobResult.outcome == outcome)
    return statement.order_by(JobResult.position)


def outworn(now: datetime, days: int) -> Select[Any]:
    """Imports that ended so many days before a real moment: the night deletes them, with their reports."""
    return select(Job).where(Job.kind.in_(IMPORTS), Job.state.in_(ENDED), Job.ended_at < now - timedelta(days=days))


def forget(session: Session, _night: Any, job: Job) -> bool:
    """Delete an import with its report."""
    key = job.id
    _drop_report(session, key)
    session.connection().execute(delete(Job).where(Job.id == key))
    return True


def _drop_report(session: Session, job_id: int) -> None:
    """Delete a report in pieces: one statement over a million rows takes long."""
    some = select(JobResult.id).where(JobResult.job_id == job_id).limit(DELETED_AT_ONCE)
    while session.connection().execute(delete(JobResult).where(JobResult.id.in_(some))).rowcount:
        pass


def is_duplicate_policy_of(kind: JobKind, on_duplicate: OnDuplicate) -> bool:
    """Whether a kind of file may be taken in so: nobody becomes two patrons."""
    return kind is JobKind.IMPORT_BOOKS or on_duplicate is not OnDuplicate.ADD


def _table(noun: type[Any]) -> Table:
    return cast(Table, noun.__table__)


def _text(text: str, limit: int) -> str:
    """A text of a record as every database takes it."""
    text = text.replace("\0", "").encode("utf-8", "replace").decode("utf-8")
    return text if len(text) <= limit else text[: limit - 1] + "…"
