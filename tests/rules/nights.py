"""Nightly work in a test: steps run as the commands run them, in sessions of their own."""

from datetime import datetime

from sqlalchemy.orm import Session

from library.database import make_session
from library.models import JobKind
from library.rules.nightly import Night, steps_of
from library.working import Tally, work_step

HISTORY_DAYS, DUE_SOON_DAYS = 30, 3


def night(now: datetime, history_days: int = HISTORY_DAYS, due_soon_days: int = DUE_SOON_DAYS) -> Night:
    """A night with the shipped settings."""
    return Night(now, now, history_days, due_soon_days)


def work(session: Session, kind: str, now: datetime, **settings: int) -> tuple[int, int, int]:
    """Run a kind of job at a moment on the session's database: found, done and skipped; nothing may fail.

    What the session had loaded is read anew afterwards.
    """
    session.commit()
    tallies: list[Tally] = []
    with make_session(session.get_bind()) as own:
        tallies += [work_step(own, step, night(now, **settings)) for step in steps_of(JobKind(kind))]
    session.expire_all()
    assert not any(tally.failed for tally in tallies), tallies
    return tuple(sum(getattr(tally, name) for tally in tallies) for name in ("found", "done", "skipped"))
