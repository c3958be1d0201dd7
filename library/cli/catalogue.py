"""`flask catalogue`: takes a file of records into the catalogue, and writes the catalogue into a file."""

import os
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import click
from flask.cli import AppGroup
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from library.cli.common import caught_signals, ready_session
from library.cli.progress import progress_bar, take_file
from library.database import transaction
from library.exchange.writers import WRITERS
from library.exporting import walk
from library.models import Book, JobKind, OnDuplicate
from library.rules import exports

catalogue = AppGroup("catalogue", help="The catalogue.")
FORMATS = {writer.suffix.removeprefix("."): writer for writer in WRITERS.values()}


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
    """Take the records of FILE (MARC 21, MARCXML or CSV, also gzipped) into the catalogue.

    Every 200 records are committed together: an import that was stopped goes on where it was when it is run again,
    skipping what is there already.
    """
    take_file(JobKind.IMPORT_BOOKS, file, OnDuplicate(on_duplicate), dry_run)


@catalogue.command("export")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--format", "form", type=click.Choice(list(FORMATS)), help="Absent: the ending of FILE tells.")
def export_file(file: Path, form: str | None) -> None:
    """Write all books into FILE, in one of the formats of GET /books/export.

    The file appears when it is whole; one of this name that was there is replaced.
    """
    form = form or next((name for name in FORMATS if file.name.endswith(f".{name}")), None)
    if form is None:
        raise click.ClickException(f"{file.name} tells no format: choose one with --format")
    part = file.with_name(f"{file.name}.part")
    with ready_session() as session, caught_signals() as received:
        with transaction(session, write=False):
            count = session.scalar(select(func.count()).select_from(Book)) or 0
        try:
            with part.open("wb") as target, progress_bar(file, count) as progress:
                for block in FORMATS[form].write(_counted(session, progress, received)):
                    target.write(block)
            if not received:
                os.replace(part, file)
        except OSError as error:
            raise click.ClickException(f"{file}: {error.strerror or error}") from error
        finally:
            with suppress(OSError):
                part.unlink()
    if received:
        click.echo("Interrupted. Nothing was written.", err=True)
        sys.exit(128 + received[0])
    click.echo(f"{count:,} books in {file}")


def _counted(session: Session, progress: Any, received: list[int]) -> Iterator[Any]:
    for record in walk(session, {}, exports.records_of):
        if received:
            return
        progress(1)
        yield record
