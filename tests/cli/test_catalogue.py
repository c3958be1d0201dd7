"""`flask catalogue import`: every record once, every fault named, and nothing lost by stopping half-way."""

import gzip
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from pymarc import Field, Indicators, Record, Subfield
from sqlalchemy import create_engine, func, select

from library.database import CATALOGUE, generation
from library.exchange.records import FormatError
from library.extensions import db
from library.importing import batches
from library.models import Book
from library.rules.outcomes import AT_ONCE

from .conftest import runner

DEADLINE = 60


def marc(number: int, title: str = "") -> bytes:
    record = Record(leader="00000nam a2200000 a 4500")
    record.add_field(Field("001", data=f"n{number}"))
    subfields = [Subfield("a", title or f"Book {number}")]
    record.add_field(Field("245", Indicators("0", "0"), subfields))
    return record.as_marc()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """450 records: three batches."""
    path = tmp_path / "books.mrc"
    path.write_bytes(b"".join(marc(number) for number in range(1, 451)))
    return path


def count(session) -> int:
    session.rollback()
    return session.scalar(select(func.count()).select_from(Book))


def take(run, file: Path, *options: str) -> str:
    result = run("catalogue", "import", file, *options)
    assert result.exit_code == 0, result.output
    return result.output


def test_records_become_books_and_kept_pages_stale(run, file, session):
    before = generation(session, CATALOGUE)
    printed = take(run, file)
    assert printed.startswith("added 450, updated 0, skipped 0, failed 0 (450 records in ")
    assert printed.count("\n") == 1, "a bar is for terminals"
    assert count(session) == 450
    assert generation(session, CATALOGUE) == before + 3, "once a batch"


def test_a_second_run_doubles_nothing_and_changes_nothing(run, file, session):
    take(run, file)
    before = generation(session, CATALOGUE)
    assert take(run, file).startswith("added 0, updated 0, skipped 450, failed 0")
    assert count(session) == 450
    assert generation(session, CATALOGUE) == before


def test_known_books_are_updated_or_added_again_when_asked(run, file, tmp_path, session):
    take(run, file)
    corrected = tmp_path / "corrected.mrc"
    corrected.write_bytes(marc(7, "Book seven"))
    before = generation(session, CATALOGUE)
    assert take(run, corrected, "--on-duplicate", "update").startswith("added 0, updated 1,")
    assert count(session) == 450
    assert session.scalar(select(Book.title).where(Book.control_number == "n7")) == "Book seven"
    assert generation(session, CATALOGUE) > before
    assert take(run, corrected, "--on-duplicate", "add").startswith("added 1, updated 0,")
    assert count(session) == 451


def test_every_fault_is_named_and_costs_only_its_record(run, tmp_path, session):
    untitled = Record(leader="00000nam a2200000 a 4500")
    untitled.add_field(Field("001", data="untitled"))
    path = tmp_path / "faulty.mrc"
    path.write_bytes(marc(1) + untitled.as_marc() + marc(3) + marc(4)[:-20])
    result = run("catalogue", "import", path)
    # A script must notice that something was left out.
    assert result.exit_code == 1
    printed = result.output.splitlines()
    assert len(printed) == 3
    assert printed[0].startswith("record 2 (untitled): ")
    assert printed[1].startswith("record 4")
    assert printed[2].startswith("added 2, updated 0, skipped 0, failed 2 (4 records")
    assert count(session) == 2


def test_compressed_files_and_marcxml_are_taken_as_well(run, file, tmp_path, session):
    packed = tmp_path / "books.mrc.gz"
    packed.write_bytes(gzip.compress(file.read_bytes()))
    assert take(run, packed).startswith("added 450,")
    twenty = Path(__file__).parents[1] / "data"
    assert take(run, twenty / "twenty.xml").startswith("added 20,")
    assert take(run, twenty / "twenty.mrc").startswith("added 0, updated 0, skipped 20,")


def test_a_dry_run_says_what_would_happen_and_writes_nothing(run, tmp_path, session):
    path = tmp_path / "doubles.mrc"
    # The second n1 comes in the batch after the first, which a dry run has taken back by then.
    path.write_bytes(b"".join(marc(number) for number in [*range(1, AT_ONCE + 2), 1]))
    before = generation(session, CATALOGUE)
    first, second = take(run, path, "--dry-run").splitlines()
    assert first.startswith(f"added {AT_ONCE + 1}, updated 0, skipped 1, failed 0")
    assert second == "This was a dry run: nothing was written."
    assert take(run, path, "--dry-run", "--on-duplicate", "update").startswith(f"added {AT_ONCE + 1}, updated 1,")
    assert take(run, path, "--dry-run", "--on-duplicate", "add").startswith(f"added {AT_ONCE + 2}, updated 0,")
    assert count(session) == 0
    assert generation(session, CATALOGUE) == before
    assert take(run, path).startswith(f"added {AT_ONCE + 1}, updated 0, skipped 1, failed 0")


@pytest.mark.parametrize("name", ["text", "empty", "folder", "absent"])
def test_what_is_no_file_of_records_is_one_line_and_exit_code_1(run, tmp_path, name):
    (tmp_path / "text").write_text("These are no records.")
    (tmp_path / "empty").touch()
    (tmp_path / "folder").mkdir()
    result = run("catalogue", "import", tmp_path / name)
    assert result.exit_code == 1
    assert result.output.startswith(f"Error: {tmp_path / name}: ")
    assert result.output.count("\n") == 1


def test_what_was_read_before_a_file_turned_out_unreadable_is_taken():
    def items():
        yield from ((position, None) for position in range(1, AT_ONCE + 2))
        raise FormatError("The rest is something else.")

    found = batches(items())
    assert [position for position, _ in next(found)] == list(range(1, AT_ONCE + 1))
    assert next(found) == [(AT_ONCE + 1, None)]
    with pytest.raises(FormatError):
        next(found)


def test_without_tables_the_command_names_the_remedy(app_in, tmp_path, file):
    result = runner(app_in(tmp_path))("catalogue", "import", file)
    assert result.exit_code == 1
    assert result.output == "Error: the database does not have today's tables, run: flask db upgrade\n"


def test_a_database_that_stays_locked_is_named_in_one_line(app_in, instance, file):
    app = app_in(instance, LOCK_TIMEOUT_SECONDS=0)
    with app.app_context(), db.engine.connect().execution_options(library_writes=True) as other, other.begin():
        result = runner(app)("catalogue", "import", file)
    assert result.exit_code == 1
    assert result.output.splitlines()[-1].startswith("Error: the database does not answer: database is locked. ")
    assert take(runner(app), file).startswith("added 450,")


def flask_import(instance: Path, file: Path, stderr: int) -> subprocess.Popen:
    """The command in a process of its own."""
    command = [sys.executable, "-m", "flask", "--app", "library", "catalogue", "import", str(file)]
    inherited = {key: value for key, value in os.environ.items() if not key.startswith(("LIBRARY_", "FLASK_"))}
    environment = inherited | {"LIBRARY_INSTANCE": str(instance), "DATABASE_URL": ""}
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=stderr, text=True)


@pytest.mark.skipif(not hasattr(os, "openpty"), reason="needs a pseudo-terminal")
def test_on_a_terminal_a_bar_shows_how_far_it_is(instance, file):
    file.write_bytes(file.read_bytes() + b"This is no record.")
    terminal, end = os.openpty()
    running = flask_import(instance, file, end)
    printed, _ = running.communicate(timeout=DEADLINE)
    os.close(end)
    shown = os.read(terminal, 100_000).decode()
    os.close(terminal)
    assert printed.startswith("added 450, updated 0, skipped 0, failed 1"), shown
    assert "100%" in shown
    assert "\x1b[Krecord 451: " in shown, "the bar is wiped before a fault is named"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_stopped_half_way_it_keeps_what_it_has_and_goes_on_later(app_in, instance, tmp_path, number):
    path, numbers = tmp_path / "long.mrc", range(1, 10_001)
    path.write_bytes(b"".join(marc(number) for number in numbers))
    running = flask_import(instance, path, subprocess.PIPE)
    taken = _wait_for_a_batch(instance / "library.sqlite3", running)
    running.send_signal(number)
    printed, complaints = running.communicate(timeout=DEADLINE)
    assert running.returncode == 128 + number, complaints
    added = int(printed.removeprefix("added ").partition(", updated")[0].replace(",", ""))
    assert taken <= added < len(numbers)
    assert added % AT_ONCE == 0
    sentence = f"The records up to {added:,} are in; running it again would go on from there."
    assert complaints == f"Interrupted. {sentence}\n"
    again = take(runner(app_in(instance)), path)
    assert again.startswith(f"added {len(numbers) - added:,}, updated 0, skipped {added:,}, failed 0")


def _wait_for_a_batch(database: Path, running: subprocess.Popen) -> int:
    """How many imported books there are, as soon as there are any."""
    engine, end = create_engine(f"sqlite:///{database}"), time.monotonic() + DEADLINE
    try:
        while time.monotonic() < end and running.poll() is None:
            with engine.connect() as connection:
                found = connection.scalar(select(func.count()).select_from(Book).where(Book.control_number.like("n%")))
            if found:
                return found
            time.sleep(0.02)
    finally:
        engine.dispose()
    running.kill()
    raise AssertionError(f"no batch was committed: {running.communicate()}")
