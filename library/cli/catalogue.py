"""`flask catalogue import`: takes a file of records into the catalogue, a batch and a transaction at a time."""

import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import click
from flask.cli import AppGroup
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from library.cli.common import caught_signals, first_line, ready_session
from library.database import CATALOGUE, count_change, transaction
from library.exchange.readers import Item, read_records
from library.exchange.records import FormatError, RecordFault
from library.rules.imports import AT_ONCE, OnDuplicate, Outcome, Result, import_batch

catalogue = AppGroup("catalogue", help="The catalogue.")


@dataclass
class Import:
    """One run: how records are taken in, and how far it has come."""

    session: Session
    on_duplicate: OnDuplicate
    dry_run: bool
    show_fault: Callable[[str], None]
    outcomes: Counter[Outcome] = field(default_factory=Counter)
    position: int = 0
    # A dry run takes every batch back, so it must remember by itself what an earlier batch would have added.
    would_be_known: set[str] = field(default_factory=set)

    def take(self, batch: list[Item]) -> None:
        """Take in one batch in a transaction of its own, and report the records that failed."""
        records = [(position, item) for position, item in batch if not isinstance(item, RecordFault)]
        faults = [item for _, item in batch if isinstance(item, RecordFault)]
        failed = [Result(fault.position, Outcome.FAILED, fault.control_number, fault.reason) for fault in faults]
        results = self._write(records) if records else []
        for result in sorted(results + failed, key=lambda result: result.position):
            self.outcomes[result.outcome] += 1
            if result.outcome is Outcome.FAILED:
                self.show_fault(_named(result))
        self.position = batch[-1][0]

    def _write(self, records: list) -> list[Result]:
        with transaction(self.session, write=True):
            results = import_batch(self.session, records, self.on_duplicate, datetime.now(UTC))
            if self.dry_run:
                self.session.rollback()
                results = [self._as_if_kept(result) for result in results]
            elif any(result.outcome in (Outcome.ADDED, Outcome.UPDATED) for result in results):
                # Books come in by bulk inserts, which the listener that counts changes does not see.
                count_change(self.session, CATALOGUE)
        self.session.expunge_all()
        return results

    def _as_if_kept(self, result: Result) -> Result:
        number = result.control_number
        if result.outcome is not Outcome.ADDED or not number or self.on_duplicate is OnDuplicate.ADD:
            return result
        if number in self.would_be_known:
            known = Outcome.SKIPPED if self.on_duplicate is OnDuplicate.SKIP else Outcome.UPDATED
            return Result(result.position, known, number)
        self.would_be_known.add(number)
        return result


@catalogue.command("import")
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--on-duplicate",
    type=click.Choice([choice.value for choice in OnDuplicate]),
    default=OnDuplicate.SKIP.value,
    show_default=True,
    help="What to do with a record that the catalogue holds already.",
)
@click.option("--dry-run", is_flag=True, help="Write nothing, only say what would happen.")
def import_file(file: Path, on_duplicate: str, dry_run: bool) -> None:
    """Take the records of FILE (MARC 21 or MARCXML, also gzipped) into the catalogue.

    Every 200 records are committed together: an import that was stopped goes on where it was when it is run again,
    skipping what is there already. A dry run knows duplicates inside the file by their control numbers only.
    """
    started = time.perf_counter()
    with ready_session() as session, caught_signals() as received:
        run = Import(session, OnDuplicate(on_duplicate), dry_run, _show_fault)
        try:
            with _progress_bar(file) as progress:
                for batch in _batches(read_records(file, progress)):
                    run.take(batch)
                    if received:
                        break
        except (FormatError, OSError) as error:
            if run.position:
                _tell(run, started)
            raise click.ClickException(f"{file}: {_why(error)}") from error
        except OperationalError as error:
            _tell(run, started)
            raise click.ClickException(f"the database does not answer: {first_line(error)}. {_go_on(run)}") from error
    _tell(run, started)
    if received:
        click.echo(f"Interrupted. {_go_on(run)}", err=True)
        sys.exit(128 + received[0])
    if run.outcomes[Outcome.FAILED]:
        sys.exit(1)


def _batches(items: Iterable[Item]) -> Iterator[list[Item]]:
    """Batches of at most 200; what was read before the file turned out unreadable still comes as one."""
    batch: list[Item] = []
    try:
        for item in items:
            batch.append(item)
            if len(batch) == AT_ONCE:
                yield batch
                batch = []
    except (FormatError, OSError):
        if batch:
            yield batch
        raise
    if batch:
        yield batch


@contextmanager
def _progress_bar(file: Path) -> Iterator[Callable[[int], None]]:
    """A bar of the bytes read so far on standard error; nothing where that is no terminal."""
    if not sys.stderr.isatty():
        yield lambda count: None
        return
    with click.progressbar(length=os.stat(file).st_size, label=file.name, file=sys.stderr) as bar:
        yield bar.update


def _show_fault(line: str) -> None:
    # On a terminal the bar stands in this line: it is wiped here and drawn again below.
    click.echo(f"\r\x1b[K{line}" if sys.stderr.isatty() else line, err=True)


def _named(result: Result) -> str:
    number = f" ({result.control_number})" if result.control_number else ""
    return f"record {result.position}{number}: {result.reason}"


def _why(error: FormatError | OSError) -> str:
    return str(error.strerror or error) if isinstance(error, OSError) else str(error)


def _go_on(run: Import) -> str:
    """How far it came, and what running it again does."""
    if run.dry_run:
        return f"Looked at the records up to {run.position:,}."
    again = "add them a second time" if run.on_duplicate is OnDuplicate.ADD else "go on from there"
    return f"The records up to {run.position:,} are in; running it again would {again}."


def _tell(run: Import, started: float) -> None:
    total, seconds = run.outcomes.total(), time.perf_counter() - started
    counts = ", ".join(f"{outcome.value} {run.outcomes[outcome]:,}" for outcome in Outcome)
    speed = f"{total:,} records in {seconds:.1f} s, {total / max(seconds, 0.001):,.0f} a second"
    click.echo(f"{counts} ({speed})")
    if run.dry_run:
        click.echo("This was a dry run: nothing was written.")
