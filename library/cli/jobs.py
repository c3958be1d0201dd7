"""`flask jobs run`: the worker that does what POST /jobs asks for."""

import logging
import os
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from datetime import UTC, datetime

import click
from flask.cli import AppGroup
from sqlalchemy.exc import DBAPIError, OperationalError, PendingRollbackError
from sqlalchemy.orm import Session

from library.cli.circulation import named, night_of
from library.cli.common import caught_signals, first_line, ready_session
from library.cli.mail import post_beside, send_once
from library.database import transaction
from library.importing import KINDS, work_import
from library.logs import told
from library.models import Job
from library.rules import jobs as rules
from library.rules.nightly import Night, steps_of
from library.rules.outcomes import is_of_the_database
from library.working import insistently, is_busy, patiently, work_step

PAUSE_SECONDS = 1
logger = logging.getLogger(__name__)

jobs = AppGroup("jobs", help="Work that outlives its request.")


@jobs.command("run")
@click.option("--once", is_flag=True, help="End when no job waits and the mails are sent.")
@click.option("--with-parent", is_flag=True, help="End when the process that started this one is gone.")
def run(once: bool, with_parent: bool) -> None:
    """Do the jobs that wait, the oldest first, send mails meanwhile, and go on until stopped (Ctrl-C or SIGTERM).

    Several workers may run at once. A job whose worker was killed is taken up by another after ten minutes; one whose
    worker was stopped, at once.
    """
    parent = os.getppid()
    lost = False
    try:
        with ready_session() as session, nullcontext() if once else post_beside():
            while not (with_parent and os.getppid() != parent):
                try:
                    busy, lost = work_next(session), False
                except (DBAPIError, PendingRollbackError) as error:
                    if not _is_no_fault_of_the_job(error):
                        raise
                    if not lost:
                        click.echo(f"the database does not answer: {_told(error)}", err=True)
                    busy, lost = False, True
                if once and not busy:
                    send_once()
                    sys.exit(1 if lost else 0)
                if not busy:
                    time.sleep(PAUSE_SECONDS)
    except KeyboardInterrupt:
        pass


def work_next(session: Session) -> bool:
    """Claim the job that has waited longest and do it; False where none waits.

    A signal ends a worker at once while it waits; while it works, after the record at hand.
    """
    with transaction(session, write=False):
        key = rules.next_free(session, datetime.now(UTC))
    if key is None:
        return False
    with caught_signals() as received:
        job = patiently(session, lambda: rules.claim(session, key, datetime.now(UTC)))
        # Else another worker was faster.
        if job is not None:
            session.expunge(job)
            _work(session, job, received)
    if received:
        raise KeyboardInterrupt
    return True


def _work(session: Session, job: Job, received: Sequence[int]) -> None:
    """Do a claimed job to its end; a worker that is stopped meanwhile gives it back."""
    try:
        if job.kind in KINDS:
            faults = list(filter(None, [work_import(session, job, received)]))
        else:
            faults = _faults(session, job, night_of(job.runs_as_of or datetime.now(UTC)), received)
    except rules.Cancelled:
        _close(session, job, lambda: rules.stop(session, job, datetime.now(UTC)))
        return
    except rules.NotOurs:
        _tell_of_loss(job)
        return
    except Exception as error:
        if _is_no_fault_of_the_job(error):
            if isinstance(error, DBAPIError) and is_busy(error):
                # Others are at work: whoever comes next goes on, without waiting until this worker counts as gone.
                _close(session, job, lambda: rules.give_back(session, job))
            raise
        # Else the next worker would take it up, and the one after that.
        logger.error("job %s could not be done\n%s", job.id, told(error))
        faults = [f"it could not be done: {type(error).__name__}"]
    if received:
        _close(session, job, lambda: rules.give_back(session, job))
    else:
        _close(session, job, lambda: rules.finish(session, job, datetime.now(UTC), "; ".join(faults) or None))


def _close(session: Session, job: Job, work: Callable[[], None]) -> None:
    """Write how the work on a job ends; somebody else may have taken it over at the last moment."""
    try:
        insistently(session, work)
    except rules.NotOurs:
        _tell_of_loss(job)


def _tell_of_loss(job: Job) -> None:
    click.echo(f"job {job.id} was taken over by another worker", err=True)


def _is_no_fault_of_the_job(error: Exception) -> bool:
    """Whether the database is away or busy: the job is not failed, but taken up again."""
    return isinstance(error, OperationalError) or is_of_the_database(error)


def _told(error: Exception) -> str:
    return first_line(error) if isinstance(error, DBAPIError) else "the connection was lost"


def _faults(session: Session, job: Job, night: Night, received: Sequence[int]) -> list[str]:
    """Do the steps of a job; what went wrong, one sentence a step."""

    def witness(session: Session, found: int, done: int, skipped: int) -> None:
        rules.count(session, job, datetime.now(UTC), found, done, skipped)

    faults = []
    for kind in steps_of(job.kind):
        tally = work_step(session, kind, night, witness, received)
        if tally.failed:
            faults.append(f"{named(kind)}: {tally.failed} of {tally.found} failed, first {tally.first_fault}")
    return faults
