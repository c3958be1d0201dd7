"""`flask circulation`: nightly work by hand or by cron, all of it or one step."""

import sys
from collections.abc import Iterable
from datetime import UTC, datetime

import click
from flask import current_app
from flask.cli import AppGroup

from library.cli.common import at_option, caught_signals, ready_session
from library.models import JobKind
from library.rules import audit
from library.rules.nightly import STEPS, Night, steps_of
from library.working import Tally, work_step

MOST_DAYS = 36_500

circulation = AppGroup("circulation", help="Nightly work of the desk; safe to run again, and several at once.")

SENTENCES = {
    JobKind.EXPIRE_HOLDS: "End holds that were not collected or are no longer needed; their copies go to the next.",
    JobKind.RESUME_HOLDS: "End suspensions of holds whose last day is past.",
    JobKind.AGE_TO_LOST: "Declare lost what is overdue for as long as the policies say.",
    JobKind.RENEW: "Renew the loans that renew themselves.",
    JobKind.CUT_HISTORY: "Forget whose the loans and holds were that have ended, as each patron chose.",
    JobKind.WRITE_NOTICES: "Write the notices of loans that are due soon or late.",
    JobKind.PURGE: "Forget old reports of imports, and answers kept under a key for more than a day.",
}


def night_of(now: datetime) -> Night:
    """The night of this moment, with the library's settings."""
    settings = current_app.config
    days = (min(settings[name], MOST_DAYS) for name in ("HISTORY_DAYS", "DUE_SOON_DAYS", "JOB_RESULTS_DAYS"))
    return Night(now, datetime.now(UTC), *days)


def named(kind: JobKind) -> str:
    """A step as a command is called."""
    return kind.value.replace("_", "-")


def run_steps(kinds: Iterable[JobKind], now: datetime) -> None:
    """Run steps in their order and print a line for each; status 1 where a record failed."""
    tallies: list[Tally] = []
    with ready_session() as session, caught_signals() as received:
        for kind in kinds:
            tallies.append(work_step(session, kind, night_of(now), stop=received, role=audit.COMMAND))
            click.echo(f"{named(kind)}: {tallies[-1]}")
            if received:
                click.echo("Interrupted. Running it again goes on from there.", err=True)
                sys.exit(128 + received[0])
    if any(tally.failed for tally in tallies):
        raise click.ClickException("some records failed, the log says why; everything else is done")


@circulation.command("nightly")
@at_option
def nightly(now: datetime) -> None:
    """Do all that is below, in the order in which it must be done.

    Cron runs it once a night. Stopped half-way, the next run goes on from there.
    """
    run_steps(steps_of(JobKind.NIGHTLY), now)


def _add(kind: JobKind) -> None:
    @circulation.command(named(kind), help=SENTENCES[kind])
    @at_option
    def step(now: datetime) -> None:
        run_steps([kind], now)


for _kind in STEPS:
    _add(_kind)
