"""Files of records are taken in: batches of at most 200, each in a transaction of its own, by a command or a job."""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from tempfile import TemporaryFile
from typing import IO, Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from library.database import BATCHES, CATALOGUE, count_change, transaction
from library.exchange.readers import Format, Progress, Source, check_books, read_records
from library.exchange.records import FormatError, RecordFault
from library.exchange.rosters import check_roster, read_roster
from library.models import Import, Job, JobKind, OnDuplicate, Outcome, User
from library.rules import audit, duplicates, imports, jobs, rosters, uploads
from library.rules.outcomes import AT_ONCE, Result
from library.working import insistently

# Position, counted from 1, and the record or why there is none.
Item = tuple[int, Any]
# Of records that are written one by one a worker takes fewer at once: whoever is at the desk waits for all of them.
FEW_AT_ONCE = 50
# After a batch a worker rests as long as it took, but so long at least and at most.
SHORTEST_REST, LONGEST_REST = 0.05, 2.0
# A file may have much in it that is no record: so often a worker says that it is alive, and looks for a cancellation.
HEARTBEAT_SECONDS = 5.0
CHANGING = (Outcome.ADDED, Outcome.UPDATED)
# Told of what became of a batch, in the transaction that keeps it.
Witness = Callable[[Sequence[Result], int], None]


def no_witness(results: Sequence[Result], position: int) -> None:
    """Nobody wants to know."""


@dataclass(frozen=True)
class Kind:
    """What a file may hold: how a batch of its records is taken in, and by what one is known again."""

    take: Callable[[Session, Any, OnDuplicate, datetime], list[Result]]
    keys_of: Callable[[Any], Sequence[Any]]


KINDS = {
    JobKind.IMPORT_BOOKS: Kind(imports.import_batch, duplicates.keys_of),
    JobKind.IMPORT_USERS: Kind(rosters.import_patrons, rosters.keys_of),
}


@dataclass
class Intake:
    """One run over a file: how records are taken in, and how far it has come."""

    session: Session
    kind: JobKind
    on_duplicate: OnDuplicate
    dry_run: bool
    witness: Witness = no_witness
    position: int = 0
    # The job that takes the file in; None for a command.
    job_id: int | None = None
    # A dry run takes every batch back, so it must remember by itself what an earlier batch would have written: the
    # keys of the whole file, some 200 bytes a record.
    would_be_known: set[Any] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.session.info[BATCHES] = True

    def take(self, batch: Sequence[Item]) -> list[Result]:
        """Take in one batch, all of it or nothing; what became of each record, in their order."""
        last = batch[-1][0]
        records = [(position, item) for position, item in batch if not isinstance(item, RecordFault)]
        faults = [item for _, item in batch if isinstance(item, RecordFault)]
        failed = [Result(fault.position, Outcome.FAILED, fault.control_number, fault.reason) for fault in faults]

        def write() -> list[Result]:
            results = self._write(records) if records else []
            return sorted(results + failed, key=lambda result: result.position)

        def write_and_tell() -> list[Result]:
            results = write()
            if any(result.outcome in CHANGING for result in results):
                self._write_down([result.user_id for result in results if result.outcome in CHANGING])
            self.witness(results, last)
            return results

        if self.dry_run:
            results = self._as_if_kept(records, insistently(self.session, write, keep=False))
            self.session.expunge_all()
            if self.witness is not no_witness:
                insistently(self.session, lambda: self.witness(results, last))
        else:
            results = insistently(self.session, write_and_tell)
        self.session.expunge_all()
        self.position = last
        return results

    def _write_down(self, user_ids: Sequence[int | None]) -> None:
        """A row for each account that changed, else one for the batch: nobody asks what became of one book."""
        now, role = datetime.now(UTC), audit.JOB if self.job_id else audit.COMMAND
        about: list[tuple[str | None, int | None]] = [(Job.__tablename__ if self.job_id else None, self.job_id)]
        if self.kind is JobKind.IMPORT_USERS:
            about = [(User.__tablename__, key) for key in user_ids]
        for kind, key in about:
            audit.write_done(self.session, self.kind.value, role, now, kind, key)

    def _write(self, records: Sequence[Item]) -> list[Result]:
        results = KINDS[self.kind].take(self.session, records, self.on_duplicate, datetime.now(UTC))
        if self.kind is JobKind.IMPORT_BOOKS and any(result.outcome in CHANGING for result in results):
            # Books come in by bulk inserts, which the listener that counts changes does not see.
            count_change(self.session, CATALOGUE)
        return results

    def _as_if_kept(self, records: Sequence[Item], results: Sequence[Result]) -> list[Result]:
        """What would have become of a batch had those before it stayed; no row is named that does not stay."""
        known_again = Outcome.UPDATED if self.on_duplicate is OnDuplicate.UPDATE else Outcome.SKIPPED
        undone = {(row.book_id, row.user_id) for row in results if row.outcome is Outcome.ADDED}
        by_position = dict(records)
        seen = []
        for result in results:
            if (result.book_id, result.user_id) in undone:
                result = replace(result, book_id=None, user_id=None)
            if result.outcome in CHANGING and self.on_duplicate is not OnDuplicate.ADD:
                keys = KINDS[self.kind].keys_of(by_position[result.position])
                if result.outcome is Outcome.ADDED and not self.would_be_known.isdisjoint(keys):
                    result = replace(result, outcome=known_again)
                # What is skipped leaves no keys behind.
                if result.outcome is not Outcome.SKIPPED:
                    self.would_be_known.update(keys)
            seen.append(result)
        return seen


def batches(items: Iterable[Item], size: int = AT_ONCE) -> Iterator[list[Item]]:
    """Batches of at most so many; what was read before the file turned out unreadable still comes as one."""
    batch: list[Item] = []
    try:
        for item in items:
            batch.append(item)
            if len(batch) == size:
                yield batch
                batch = []
    except (FormatError, OSError):
        if batch:
            yield batch
        raise
    if batch:
        yield batch


def read_file(
    kind: JobKind, path: Source, progress: Progress | None = None, form: Format | None = None, limit: int | None = None
) -> Any:
    """The records of a file, each with its position; raises FormatError where it is not what it is taken for.

    Of a compressed file at most `limit` bytes are unpacked.
    """
    if kind is JobKind.IMPORT_USERS:
        return read_roster(path, progress, limit)
    return read_records(path, progress, form, limit)


def check_table(kind: JobKind, path: Source, limit: int) -> None:
    """Look at the header of a table and at its first `limit` bytes; raises FormatError."""
    (check_roster if kind is JobKind.IMPORT_USERS else check_books)(path, limit)


def _most(size: int) -> int:
    """How much may come out of a compressed file that was sent: records shrink to a fifth, XML to a twentieth."""
    return max(40 * size, 64 * 1024 * 1024)


class _Stopped(Exception):
    """The worker is asked to stop while it reads."""


def work_import(session: Session, job: Job, stop: Sequence[int] = ()) -> str | None:
    """Take the file of a claimed job in, from where its last worker was, to its end or until there is a `stop`.

    Returns why it cannot go on, None where all was read. It rests between batches, so that others come to write. What
    is kept of a batch is kept with its counts and its place in the file, so that no record is taken twice. Raises
    NotOurs and Cancelled, which undo the batch at hand.
    """
    with transaction(session, write=False):
        asked = session.scalars(select(Import).where(Import.job_id == job.id)).one()
        session.expunge(asked)
    if asked.dry_run and asked.position:
        insistently(session, lambda: uploads.begin_again(session, job.id))
        asked.position = 0
    read, heard_at = 0, time.monotonic()

    def progress(count: int) -> None:
        nonlocal read, heard_at
        read += count
        # It is told of every block, between transactions: a file may be long and hold hardly a record.
        if time.monotonic() - heard_at >= HEARTBEAT_SECONDS:
            if stop:
                raise _Stopped
            insistently(session, lambda: jobs.count(session, job, datetime.now(UTC)))
            heard_at = time.monotonic()

    def witness(results: Sequence[Result], position: int) -> None:
        nonlocal heard_at
        heard_at = time.monotonic()
        outcomes = [result.outcome for result in results]
        done = outcomes.count(Outcome.ADDED) + outcomes.count(Outcome.UPDATED)
        jobs.count(session, job, datetime.now(UTC), len(results), done, outcomes.count(Outcome.SKIPPED))
        uploads.note(session, job.id, results, position, min(read, asked.size))

    intake = Intake(session, job.kind, asked.on_duplicate, asked.dry_run, witness, job_id=job.id)
    few = job.kind is JobKind.IMPORT_USERS or asked.on_duplicate is OnDuplicate.UPDATE
    # It has no name in any folder: of a worker that is killed nothing stays there.
    with TemporaryFile() as file:
        _put_together(session, job.id, file)
        try:
            items = read_file(job.kind, file.fileno(), progress, asked.format.value, _most(asked.size))
            left = (item for item in items if item[0] > asked.position)
            for batch in batches(left, FEW_AT_ONCE if few else AT_ONCE):
                if stop:
                    return None
                began = time.monotonic()
                intake.take(batch)
                time.sleep(min(max(time.monotonic() - began, SHORTEST_REST), LONGEST_REST))
        except _Stopped:
            return None
        except FormatError as error:
            return str(error)
    insistently(session, lambda: uploads.all_read(session, job.id))
    return None


def _put_together(session: Session, job_id: int, file: IO[bytes]) -> None:
    """Write the pieces of an upload into a file, each read by itself: no transaction outlives a piece."""
    number = 0
    while True:
        with transaction(session, write=False):
            content = uploads.part(session, job_id, number)
        if content is None:
            break
        file.write(content)
        number += 1
    file.flush()
