"""Work through what is due: one record, one short transaction, as often as a busy neighbour makes it necessary."""

import logging
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TypeVar

from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.orm import Session

from library.database import transaction
from library.logs import told
from library.models import JobKind
from library.rules import audit
from library.rules.jobs import NotOurs
from library.rules.nightly import STEPS, Night, Part

Answer = TypeVar("Answer")

logger = logging.getLogger(__name__)
TRIES = 4
# What only forgets leaves no rows behind.
FORGETTING = (JobKind.PURGE,)
# PostgreSQL's serialization failure, deadlock and lock time-out; SQLite's busy. A statement that took too long.
BUSY_STATES, SQLITE_BUSY, TOO_SLOW = ("40001", "40P01", "55P03"), 5, "57014"


@dataclass
class Tally:
    """How many records a step looked at, changed and left as they were, and how many it could not do at all."""

    found: int = 0
    done: int = 0
    skipped: int = 0
    failed: int = 0
    first_fault: str | None = None

    def __str__(self) -> str:
        counted = f"found {self.found}, done {self.done}, skipped {self.skipped}"
        return f"{counted}, failed {self.failed}: {self.first_fault}" if self.failed else counted


@dataclass(frozen=True)
class Task:
    """A part of a step, the night that does it, and the role for which it is done."""

    kind: JobKind
    part: Part
    night: Night
    role: str


# Told of each record in the transaction that does it: it found one, did one, left one.
Witness = Callable[[Session, int, int, int], None]


def no_witness(session: Session, found: int, done: int, skipped: int) -> None:
    """Nobody wants to know."""


def work_step(
    session: Session,
    kind: JobKind,
    night: Night,
    witness: Witness = no_witness,
    stop: Sequence[int] = (),
    role: str = audit.JOB,
) -> Tally:
    """Do one step of the night to its end, or until there is something in `stop`, and count.

    The audit has a row of each record done, by this `role`.

    A record that another holds on to is left to the next run. One that fails is logged and costs itself only.
    """
    tally = Tally()
    for part in STEPS[kind]:
        after: int | None = 0
        while after is not None:
            with transaction(session, write=False):
                keys, after = part.due(session, night, after)
            session.expunge_all()
            for key in keys:
                if stop:
                    return tally
                _work_record(session, Task(kind, part, night, role), key, witness, tally)
    return tally


def _work_record(session: Session, task: Task, key: int, witness: Witness, tally: Tally) -> None:
    part = task.part
    tally.found += 1
    try:
        done = patiently(session, lambda: _do(session, task, key, witness))
        tally.done, tally.skipped = tally.done + bool(done), tally.skipped + (not done)
        if done is None:
            patiently(session, lambda: witness(session, 1, 0, 1))
    except NotOurs:
        raise
    except Exception as error:
        if isinstance(error, OperationalError) and getattr(error.orig, "sqlstate", None) != TOO_SLOW:
            # The database is gone.
            raise
        logger.error("%s %s could not be done\n%s", part.table.__tablename__, key, told(error))
        tally.failed += 1
        tally.first_fault = tally.first_fault or f"{part.table.__tablename__} {key}: {type(error).__name__}"
        with transaction(session, write=True):
            witness(session, 1, 0, 0)
    finally:
        # What this session remembers of rows others may change meanwhile.
        session.expunge_all()


def _do(session: Session, task: Task, key: int, witness: Witness) -> bool:
    done = task.part.do(session, task.night, key)
    if done and task.kind not in FORGETTING:
        table = task.part.table.__tablename__
        audit.write_done(session, task.kind.value, task.role, datetime.now(UTC), table)
    witness(session, 1, int(done), int(not done))
    return done


def patiently(session: Session, work: Callable[[], Answer]) -> Answer | None:
    """Do something in a write transaction, again where another was in its way; None where it stays so."""
    try:
        return insistently(session, work)
    except DBAPIError as error:
        if not is_busy(error):
            raise
        return None


def insistently(session: Session, work: Callable[[], Answer], keep: bool = True) -> Answer:
    """Do something in a write transaction, again where another was in its way; raises where it stays so."""
    for attempt in range(1, TRIES + 1):
        try:
            with transaction(session, write=True, keep=keep):
                return work()
        except DBAPIError as error:
            session.expunge_all()
            if not is_busy(error) or attempt == TRIES:
                raise
            time.sleep(random.uniform(0, 0.02 * 2**attempt))
    raise AssertionError("unreachable")


def is_busy(error: DBAPIError) -> bool:
    """Whether another was in the way: what was undone for its sake may be done again."""
    state, code = (getattr(error.orig, name, None) for name in ("sqlstate", "sqlite_errorcode"))
    return state in BUSY_STATES or code == SQLITE_BUSY
