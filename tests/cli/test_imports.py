"""A worker takes a file in: killed, stopped or overtaken anywhere, every record is taken once and answered for once."""

import signal
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import event, func, select, update

from library import importing
from library.database import CATALOGUE, generation
from library.models import (
    AuditEvent,
    Book,
    ImportFormat,
    Job,
    JobKind,
    JobResult,
    JobState,
    OnDuplicate,
    Role,
    UploadPart,
    User,
)
from library.rules import uploads
from library.rules.outcomes import AT_ONCE

from .test_catalogue import marc

RECORDS = 700
ROSTER = "card_barcode,last_name\n" + "".join(f"C{number},Name {number}\n" for number in range(1, 451))


@pytest.fixture
def send(commands):
    """Call it to send a file; the key of the job."""

    def send(content: bytes, kind: JobKind = JobKind.IMPORT_BOOKS, on_duplicate="add", dry_run: bool = False) -> int:
        form = ImportFormat.MARC21 if kind is JobKind.IMPORT_BOOKS else ImportFormat.CSV
        values = {
            "file_name": "x",
            "format": form,
            "on_duplicate": OnDuplicate(on_duplicate),
            "dry_run": dry_run,
            "size": len(content),
        }
        pieces = [content[at : at + 100_000] for at in range(0, len(content), 100_000)]
        with commands.session() as session:
            actor = User(role=Role.LIBRARIAN)
            key = uploads.start_import(session, actor, kind, values, pieces, datetime.now(UTC)).id
            session.commit()
        return key

    return send


@pytest.fixture
def finished(commands):
    """Call it to kill worker after worker until the job is done; how many had to die."""

    def kill(numbers) -> int:
        killed = 0
        for number in numbers:
            status = commands.strike("SIGKILL", ("before", "after")[number % 2], number, "jobs", "run", "--once")
            if status == 0:
                return killed
            assert status == -signal.SIGKILL
            killed += 1
            with commands.session() as session:
                session.execute(update(Job).values(heartbeat_at=datetime.now(UTC) - timedelta(minutes=11)))
                session.commit()
        commands.run("jobs", "run", "--once")
        return killed

    return kill


def positions(session) -> list[int]:
    return list(session.scalars(select(JobResult.position).order_by(JobResult.position)))


def test_killed_again_and_again_an_import_takes_each_record_once(commands, send, finished):
    # Were a batch taken twice, its books would be there twice: nothing is known again here.
    key = send(b"".join(map(marc, range(1, RECORDS + 1))))
    assert finished((2, 3, 4)) == 3
    with commands.session() as session:
        job = session.get_one(Job, key)
        assert (job.state, job.found, job.done, job.intake.added) == (JobState.DONE, RECORDS, RECORDS, RECORDS)
        assert (job.intake.position, job.intake.progress_percent) == (RECORDS, 100)
        assert positions(session) == list(range(1, RECORDS + 1))
        numbers = session.scalars(select(Book.control_number)).all()
        assert sorted(numbers) == sorted(f"n{number}" for number in range(1, RECORDS + 1))
        linked = select(JobResult.reference, Book.control_number).join(Book, Book.id == JobResult.book_id)
        assert all(one == other for one, other in session.execute(linked))
        assert session.scalar(select(func.count()).select_from(UploadPart)) == 0
        told = session.scalars(select(AuditEvent)).all()
        batches = -(-RECORDS // AT_ONCE)
        assert [(row.action, row.actor_role, row.object_kind, row.object_id) for row in told] == [
            ("import_books", "job", "jobs", key)
        ] * batches


def test_a_killed_dry_run_looks_again_from_the_start(commands, send, finished):
    content = b"".join(map(marc, [*range(1, 500), *range(1, 100)]))
    key = send(content, on_duplicate="skip", dry_run=True)
    assert finished((4, 6)) == 2
    with commands.session() as session:
        job = session.get_one(Job, key)
        counted = (job.state, job.found, job.intake.added, job.intake.skipped)
        assert counted == (JobState.DONE, 598, 499, 99)
        assert positions(session) == list(range(1, 599))
        assert session.scalar(select(func.count()).select_from(Book)) == 0
        assert session.scalar(select(func.count()).select_from(AuditEvent)) == 0


def test_a_killed_roster_makes_nobody_twice(commands, send, finished, tmp_path):
    key = send(ROSTER.encode(), JobKind.IMPORT_USERS, "skip")
    folder = tmp_path / "temporary"
    folder.mkdir()
    commands.environment["TMPDIR"] = str(folder)
    assert finished((3,)) == 1
    assert not list(folder.iterdir()), "the names of people do not lie about"
    with commands.session() as session:
        job = session.get_one(Job, key)
        assert (job.state, job.intake.added, job.intake.skipped, job.intake.failed) == (JobState.DONE, 450, 0, 0)
        assert session.scalar(select(func.count()).select_from(User)) == 450


def test_a_stopped_worker_gives_the_import_back_where_it_was(commands, send):
    key = send(b"".join(map(marc, range(1, RECORDS + 1))))
    assert commands.strike("SIGTERM", "after", 4, "jobs", "run") == 0
    with commands.session() as session:
        job = session.get_one(Job, key)
        assert job.state is JobState.QUEUED
        assert 0 < job.intake.position < RECORDS
    assert commands.run("jobs", "run", "--once") == ""
    with commands.session() as session:
        assert session.get_one(Job, key).intake.added == RECORDS
        assert session.scalar(select(func.count()).select_from(Book)) == RECORDS


def test_several_workers_share_several_files(commands, send):
    keys = [send(b"".join(map(marc, range(start, start + 300)))) for start in (1, 301, 601)]
    assert commands.run_at_once(3, "jobs", "run", "--once") == [""] * 3
    with commands.session() as session:
        assert [session.get_one(Job, key).intake.added for key in keys] == [300] * 3
        assert session.scalar(select(func.count()).select_from(Book)) == 900


def test_an_import_is_not_failed_by_a_connection_that_is_lost(run, commands, send, session):
    if session.get_bind().dialect.name != "postgresql":
        pytest.skip("SQLite has no connection to lose")
    key = send(b"".join(map(marc, range(1, 301))))
    struck: list[int] = []

    def strike(connection, _cursor, statement, *_) -> None:
        if "nextval" in statement and not struck:
            struck.append(connection.connection.dbapi_connection.info.backend_pid)
            with commands.session() as other:
                other.execute(select(func.pg_terminate_backend(struck[0])))

    event.listen(commands.engine, "before_cursor_execute", strike)
    try:
        result = run("jobs", "run", "--once")
    finally:
        event.remove(commands.engine, "before_cursor_execute", strike)
    assert struck
    assert (result.exit_code, result.output.count("\n")) == (1, 1)
    assert result.output.startswith("the database does not answer: ")
    job = session.get_one(Job, key)
    assert (job.state, job.intake.failed) == (JobState.RUNNING, 0)
    session.execute(update(Job).values(heartbeat_at=datetime.now(UTC) - timedelta(minutes=11)))
    session.commit()
    assert run("jobs", "run", "--once").exit_code == 0
    session.expire_all()
    assert (job.state, job.intake.added, job.intake.failed) == (JobState.DONE, 300, 0)


def test_patrons_are_taken_few_at_once_and_a_worker_rests_between(run, commands, send, monkeypatch):
    send(ROSTER.encode(), JobKind.IMPORT_USERS, "skip")
    rests: list[float] = []
    monkeypatch.setattr(importing.time, "sleep", rests.append)
    sizes: list[int] = []
    taken = importing.Intake.take
    monkeypatch.setattr(importing.Intake, "take", lambda self, batch: sizes.append(len(batch)) or taken(self, batch))
    assert run("jobs", "run", "--once").exit_code == 0
    assert sizes == [50] * 9
    assert len(rests) == 9
    assert all(0.05 <= rest <= 2 for rest in rests)


@pytest.fixture
def roster(tmp_path):
    path = tmp_path / "roster.csv"
    path.write_text(
        "card_barcode;last_name;branch\nC1;Ahab;Main\nC2;Ishmael;Nantucket\nC1;Again;\n", encoding="utf-8-sig"
    )
    return path


def test_a_roster_is_taken_from_the_command_line(run, roster, make, session):
    make.branch(name="Main")
    dry = run("users", "import", roster, "--dry-run")
    assert dry.exit_code == 1
    fault, told, nothing = dry.output.splitlines()
    assert fault == "record 2 (C2): branch: there is none of the name 'Nantucket' (there are 'Main')"
    assert told.startswith("added 1, updated 0, skipped 1, failed 1 (3 records")
    assert nothing == "This was a dry run: nothing was written."
    assert session.scalar(select(func.count()).select_from(User)) == 0
    session.rollback()
    before = generation(session, CATALOGUE)
    assert run("users", "import", roster).output.splitlines()[1].startswith("added 1, updated 0, skipped 1, failed 1")
    again = run("users", "import", roster, "--on-duplicate", "update").output
    assert again.splitlines()[1].startswith("added 0, updated 2, skipped 0, failed 1")
    session.rollback()
    assert session.scalar(select(User.last_name)) == "Again"
    assert generation(session, CATALOGUE) == before, "patrons leave the kept pages alone"


def test_nobody_becomes_two_patrons_and_no_table_is_one_line(run, roster, tmp_path):
    assert run("users", "import", roster, "--on-duplicate", "add").exit_code == 2
    (tmp_path / "other.csv").write_text("colour\nred\n")
    result = run("users", "import", tmp_path / "other.csv")
    assert (result.exit_code, result.output.count("\n")) == (1, 1)
    assert result.output.startswith(f"Error: {tmp_path / 'other.csv'}: ")


def test_a_table_of_books_is_taken_and_all_books_go_out_again(run, tmp_path, session):
    table = tmp_path / "books.csv"
    table.write_text("title,isbn\nMoby-Dick,9780142437247\nTypee,\n,9780142437247\n")
    result = run("catalogue", "import", table)
    assert result.exit_code == 1
    assert result.output.splitlines()[1].startswith("added 2, updated 0, skipped 0, failed 1")
    out = tmp_path / "out.mrc"
    result = run("catalogue", "export", out)
    assert (result.exit_code, result.output) == (0, f"2 books in {out}\n")
    assert run("catalogue", "import", out).output.startswith("added 0, updated 0, skipped 2, failed 0")
    for name, begins in (("all.csv", b"id,title"), ("all.marc.json", b"["), ("all.xml", b"<?xml"), ("all.bib", b"@")):
        assert run("catalogue", "export", tmp_path / name).exit_code == 0
        assert (tmp_path / name).read_bytes().removeprefix(b"\xef\xbb\xbf").startswith(begins)
    assert run("catalogue", "export", tmp_path / "any", "--format", "ris").exit_code == 0
    assert b"TI  - Typee" in (tmp_path / "any").read_bytes()
    assert not list(tmp_path.glob("*.part"))


def test_what_cannot_be_exported_to_is_one_line(run, tmp_path):
    unnamed = run("catalogue", "export", tmp_path / "books")
    assert (unnamed.exit_code, unnamed.output) == (1, "Error: books tells no format: choose one with --format\n")
    absent = run("catalogue", "export", tmp_path / "nowhere" / "books.mrc")
    assert (absent.exit_code, absent.output.count("\n")) == (1, 1)
