"""What the commands that take files in share: the bar, the faults that are named, the line of counts at the end."""

import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import click
from sqlalchemy.exc import OperationalError

from library.cli.common import caught_signals, first_line, ready_session
from library.exchange.records import FormatError
from library.importing import Intake, batches, read_file
from library.models import JobKind, OnDuplicate, Outcome
from library.rules.outcomes import Result


@dataclass
class Tale:
    """What is told of one run: how far it came, and what became of the records."""

    again: str
    dry_run: bool
    started: float = field(default_factory=time.perf_counter)
    outcomes: Counter[Outcome] = field(default_factory=Counter)
    position: int = 0

    def go_on(self) -> str:
        """How far it came, and what running it again does."""
        if self.dry_run:
            return f"Looked at the records up to {self.position:,}."
        return f"The records up to {self.position:,} are in; running it again would {self.again}."

    def tell(self) -> None:
        """Print the line of counts."""
        total, seconds = self.outcomes.total(), time.perf_counter() - self.started
        counts = ", ".join(f"{outcome.value} {self.outcomes[outcome]:,}" for outcome in Outcome)
        speed = f"{total:,} records in {seconds:.1f} s, {total / max(seconds, 0.001):,.0f} a second"
        click.echo(f"{counts} ({speed})")
        if self.dry_run:
            click.echo("This was a dry run: nothing was written.")


def take_file(kind: JobKind, file: Path, on_duplicate: OnDuplicate, dry_run: bool) -> None:
    """Take a file in, batch by batch, and say what became of it; ends with status 1 where a record failed."""
    tale = Tale("add them a second time" if on_duplicate is OnDuplicate.ADD else "go on from there", dry_run)
    with ready_session() as session, caught_signals() as received:
        intake = Intake(session, kind, on_duplicate, dry_run)
        try:
            with progress_bar(file) as progress:
                for batch in batches(read_file(kind, file, progress)):
                    for result in intake.take(batch):
                        tale.outcomes[result.outcome] += 1
                        if result.outcome is Outcome.FAILED:
                            _show_fault(_named(result))
                    tale.position = intake.position
                    if received:
                        break
        except (FormatError, OSError) as error:
            if tale.position:
                tale.tell()
            raise click.ClickException(f"{file}: {_why(error)}") from error
        except OperationalError as error:
            tale.tell()
            raise click.ClickException(f"the database does not answer: {first_line(error)}. {tale.go_on()}") from error
    tale.tell()
    if received:
        click.echo(f"Interrupted. {tale.go_on()}", err=True)
        sys.exit(128 + received[0])
    if tale.outcomes[Outcome.FAILED]:
        sys.exit(1)


@contextmanager
def progress_bar(file: Path, length: int | None = None) -> Iterator[Callable[[int], None]]:
    """A bar on standard error, of the bytes of a file or of `length` things; nothing where that is no terminal."""
    if not sys.stderr.isatty():
        yield lambda count: None
        return
    length = os.stat(file).st_size if length is None else length
    with click.progressbar(length=length, label=file.name, file=sys.stderr) as bar:
        yield bar.update


def _show_fault(line: str) -> None:
    # On a terminal the bar stands in this line: it is wiped here and drawn again below.
    click.echo(f"\r\x1b[K{line}" if sys.stderr.isatty() else line, err=True)


def _named(result: Result) -> str:
    number = f" ({result.reference})" if result.reference else ""
    return f"record {result.position}{number}: {result.reason}"


def _why(error: FormatError | OSError) -> str:
    return str(error.strerror or error) if isinstance(error, OSError) else str(error)
