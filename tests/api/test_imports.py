"""Files sent over HTTP: taken as a job, worked by a worker, each record answered for; and the real records come out."""

import gzip
import io
from datetime import timedelta
from pathlib import Path

import pytest
from exchange.test_round_trip import differences, pymarc_records
from pymarc import Field, Indicators, Record, Subfield
from sqlalchemy import func, select
from werkzeug.datastructures import FileStorage
from werkzeug.test import encode_multipart

from library import importing
from library.api import imports
from library.api.imports import HEAD_BYTES
from library.cli.jobs import work_next
from library.database import make_session
from library.extensions import db
from library.models import Book, Job, JobResult, UploadPart, User
from library.rules import uploads

DATA = Path(__file__).parent.parent / "data"


def marc(number: int, title: str = "") -> bytes:
    record = Record(leader="00000nam a2200000 a 4500")
    record.add_field(Field("001", data=f"n{number}"))
    record.add_field(Field("245", Indicators("0", "0"), [Subfield("a", title or f"Book {number}")]))
    return record.as_marc()


def untitled() -> bytes:
    record = Record(leader="00000nam a2200000 a 4500")
    record.add_field(Field("001", data="untitled"))
    return record.as_marc()


def send(client, content: bytes, name: str = "books.mrc", headers=None, **parts: str):
    # The body is made here: of a large one the test client would leave a file open.
    file = FileStorage(io.BytesIO(content), name)
    boundary, body = encode_multipart({"file": file, **parts})
    return client.post("/imports", data=body, content_type=f"multipart/form-data; boundary={boundary}", headers=headers)


@pytest.fixture
def work(app):
    """Call it to let a worker do what waits."""

    def work() -> None:
        with app.app_context(), make_session(db.engine) as session:
            while work_next(session):
                pass

    return work


def counts(job: dict) -> dict[str, int]:
    return {name: job["import"][name] for name in ("added", "updated", "skipped", "failed")}


def test_a_file_becomes_a_job_and_the_job_books(as_librarian, work, session):
    content = marc(1) + untitled() + marc(3)
    answer = send(as_librarian, content)
    assert answer.status_code == 202, answer.text
    job = answer.json
    assert answer.headers["Location"] == f"/jobs/{job['id']}"
    assert (job["kind"], job["state"], job["created_by_id"]) == ("import_books", "queued", as_librarian.user_id)
    expected = {"file_name": "books.mrc", "format": "marc21", "on_duplicate": "skip", "dry_run": False}
    expected |= {"size": len(content), "bytes_read": 0, "progress_percent": 0, "position": 0}
    assert job["import"] == expected | dict.fromkeys(("added", "updated", "skipped", "failed"), 0)
    work()
    job = as_librarian.get(answer.headers["Location"]).json
    assert (job["state"], job["error"]) == ("done", None)
    assert (job["found"], job["done"], job["skipped"]) == (3, 2, 0)
    assert counts(job) == {"added": 2, "updated": 0, "skipped": 0, "failed": 1}
    assert (job["import"]["position"], job["import"]["progress_percent"]) == (3, 100)
    results = as_librarian.get(f"/jobs/{job['id']}/results").json
    assert [(row["position"], row["outcome"], row["reference"]) for row in results] == [
        (1, "added", "n1"),
        (2, "failed", "untitled"),
        (3, "added", "n3"),
    ]
    assert [as_librarian.get(f"/books/{row['book_id']}").json["title"] for row in results if row["book_id"]] == [
        "Book 1",
        "Book 3",
    ]
    (failed,) = as_librarian.get(f"/jobs/{job['id']}/results?outcome=failed").json
    assert "title" in failed["reason"]
    assert failed["book_id"] is None
    assert session.scalar(select(func.count()).select_from(UploadPart)) == 0, "the file is forgotten when its job ends"
    assert as_librarian.get("/jobs?kind=import_books").json == [job]


def test_known_records_are_skipped_updated_or_added(as_librarian, work):
    send(as_librarian, marc(1) + marc(2))
    for policy, expected in (
        ("skip", {"added": 1, "updated": 0, "skipped": 1, "failed": 0}),
        ("update", {"added": 0, "updated": 2, "skipped": 0, "failed": 0}),
        ("add", {"added": 2, "updated": 0, "skipped": 0, "failed": 0}),
    ):
        sent = send(as_librarian, marc(1, "Book one") + marc(3), on_duplicate=policy).json
        work()
        job = as_librarian.get(f"/jobs/{sent['id']}").json
        assert (counts(job), job["import"]["on_duplicate"]) == (expected, policy)
        results = as_librarian.get(f"/jobs/{job['id']}/results").json
        assert all(row["book_id"] for row in results)
    assert len(as_librarian.get("/books?q=book").json) == 5


@pytest.mark.parametrize(
    ("name", "form"), [("twenty.mrc", "marc21"), ("twenty.xml", "marcxml"), ("twenty.mrc.gz", "marc21")]
)
def test_the_content_tells_the_format(as_librarian, work, name, form):
    content = (DATA / name.removesuffix(".gz")).read_bytes()
    sent = send(as_librarian, gzip.compress(content) if name.endswith(".gz") else content, name).json
    assert (sent["import"]["format"], sent["import"]["file_name"]) == (form, name)
    work()
    assert counts(as_librarian.get(f"/jobs/{sent['id']}").json)["added"] == 20


def test_a_table_of_books_is_taken(as_librarian, work):
    table = "title;contributors;isbn;year\r\nMoby-Dick;Melville, Herman;978-0-14-243724-7;1851\r\n;nobody;;\r\n"
    sent = send(as_librarian, table.encode(), "books.csv", format="csv").json
    work()
    job = as_librarian.get(f"/jobs/{sent['id']}").json
    assert (job["state"], counts(job)) == ("done", {"added": 1, "updated": 0, "skipped": 0, "failed": 1})
    (book,) = as_librarian.get("/books?isbn=9780142437247").json
    assert (book["title"], book["year"], book["contributors"][0]["name"]) == ("Moby-Dick", 1851, "Melville, Herman")


def test_without_a_number_a_book_is_referred_to_by_its_title(as_librarian, work):
    sent = send(as_librarian, f"title\nTypee\n{'Long ' * 30}\n".encode(), "books.csv").json
    work()
    first, second = as_librarian.get(f"/jobs/{sent['id']}/results").json
    assert first["reference"] == "Typee"
    assert len(second["reference"]) <= 100


def test_a_dry_run_writes_the_report_and_nothing_else(as_librarian, work, make, session):
    make.book(title="Known", control_number="n1")
    numbers = [*range(1, 211), 209, 210]
    sent = send(as_librarian, b"".join(map(marc, numbers)), dry_run="true").json
    work()
    job = as_librarian.get(f"/jobs/{sent['id']}").json
    assert (job["state"], counts(job)) == ("done", {"added": 209, "updated": 0, "skipped": 3, "failed": 0})
    rows = session.scalars(select(JobResult).order_by(JobResult.position)).all()
    assert [row.outcome for row in rows] == ["skipped", *["added"] * 209, "skipped", "skipped"]
    assert [row.book_id for row in rows] == [1, *[None] * 211]
    assert session.scalar(select(func.count()).select_from(Book)) == 1
    # Python's clients write True.
    assert send(as_librarian, marc(1), dry_run="True").json["import"]["dry_run"] is True


def test_a_dry_run_knows_nobody_by_a_line_that_would_be_skipped(as_librarian, work):
    lines = ["C1,a@example.org", *(f"X{number}," for number in range(49))]
    # The second batch: its first line is known by the card, and leaves no address behind by which the last were known.
    lines += ["C1,b@example.org", *(f"Y{number}," for number in range(49)), "C9,b@example.org"]
    content = ("card_barcode,email,last_name\n" + "\n".join(f"{line},Mael" for line in lines) + "\n").encode()
    found = []
    for dry_run in ("true", "false"):
        sent = send(as_librarian, content, "roster.csv", kind="patrons", dry_run=dry_run).json
        work()
        found.append(counts(as_librarian.get(f"/jobs/{sent['id']}").json))
    assert found[0] == found[1] == {"added": 100, "updated": 0, "skipped": 1, "failed": 0}


ROSTER = """card_barcode,last_name,first_name,email,category,branch,expires_on
C1,Ishmael,,ishmael@example.org,Pupils,Main,2030-07-31
C2,Queequeg,,not an address,Pupils,Main,
C3,Starbuck,,,Whalers,,
,Nobody,,,,,
"""


def test_a_roster_makes_patrons(as_librarian, work, make, session):
    category = make.category(name="Pupils")
    sent = send(as_librarian, ROSTER.encode(), "roster.csv", kind="patrons")
    assert sent.status_code == 202, sent.text
    assert (sent.json["kind"], sent.json["import"]["format"]) == ("import_users", "csv")
    work()
    job = as_librarian.get(f"/jobs/{sent.json['id']}").json
    assert (job["state"], counts(job)) == ("done", {"added": 1, "updated": 0, "skipped": 0, "failed": 3})
    results = as_librarian.get(f"/jobs/{job['id']}/results").json
    assert [row["reference"] for row in results] == ["C1", "C2", "C3", ""]
    assert all(row["reason"] for row in results[1:])
    user = as_librarian.get(f"/users/{results[0]['user_id']}").json
    assert (user["last_name"], user["email"], user["card_barcode"]) == ("Ishmael", "ishmael@example.org", "C1")
    assert (user["role"], user["patron_category_id"], user["expires_on"]) == ("patron", category.id, "2030-07-31")
    assert user["home_branch_id"] is not None
    assert session.scalar(select(User.password_hash).where(User.card_barcode == "C1")) is None


def test_each_account_that_a_roster_changes_has_its_row_in_the_audit(as_librarian, as_admin, work, make):
    make.category(name="Pupils")
    known = [make.user() for _ in range(2)]
    lines = ["card_barcode,last_name,email"]
    lines += [f"{user.card_barcode},Doe,new{user.id}@example.org" for user in known]
    sent = send(as_librarian, "\n".join(lines).encode(), kind="patrons", on_duplicate="update")
    work()
    assert counts(as_librarian.get(f"/jobs/{sent.json['id']}").json)["updated"] == 2
    for user in known:
        (row,) = as_admin.get(f"/audit-events?object_kind=users&object_id={user.id}").json
        assert (row["action"], row["actor_role"], row["outcome"]) == ("import_users", "job", "done")


@pytest.mark.parametrize(
    ("content", "parts", "member", "code"),
    [
        (b"", {}, "/file", "empty_file"),
        (b"These are no records.", {}, "/file", "unknown_format"),
        (b"%PDF-1.7 and so on", {}, "/file", "unknown_format"),
        (b"title\nM\xf6rder\n", {}, "/file", "unknown_format"),
        (marc(1), {"format": "marcxml"}, "/file", "unknown_format"),
        (marc(1), {"kind": "patrons"}, "/file", "unknown_format"),
        (b"colour,shape\nred,round\n", {"kind": "patrons"}, "/file", "unknown_format"),
        (marc(1), {"format": "docx"}, "/format", "unknown_value"),
        (marc(1), {"kind": "cats"}, "/kind", "unknown_value"),
        (marc(1), {"on_duplicate": "merge"}, "/on_duplicate", "unknown_value"),
        (marc(1), {"dry_run": "maybe"}, "/dry_run", "invalid_type"),
        (marc(1), {"colour": "red"}, "/colour", "unknown_member"),
        (ROSTER.encode(), {"kind": "patrons", "on_duplicate": "add"}, "/on_duplicate", "unsupported_value"),
        (ROSTER.encode(), {"kind": "patrons", "format": "marc21"}, "/format", "unsupported_value"),
    ],
)
def test_what_cannot_be_taken_is_said_before_there_is_a_job(as_librarian, session, content, parts, member, code):
    answer = send(as_librarian, content, **parts)
    assert (answer.status_code, answer.json["errors"][0]["code"]) == (422, code)
    assert answer.json["errors"][0]["pointer"] == member
    assert session.scalar(select(func.count()).select_from(Job)) == 0


@pytest.mark.parametrize(
    ("content", "parts", "sentence"),
    [
        (ROSTER.encode(), {}, "for patrons send kind=patrons"),
        (b"PK\x03\x04 and so on", {}, "save the table as CSV (UTF-8)"),
        (b"PK\x03\x04 and so on", {"kind": "patrons"}, "save the table as CSV (UTF-8)"),
    ],
)
def test_what_to_do_instead_is_said(as_librarian, content, parts, sentence):
    answer = send(as_librarian, content, "patrons.xlsx", **parts)
    assert (answer.status_code, answer.json["errors"][0]["code"]) == (422, "unknown_format")
    assert sentence in answer.json["errors"][0]["detail"]


@pytest.mark.parametrize("shift", range(3))
def test_a_large_table_may_have_any_letter_anywhere(as_librarian, shift):
    # The look at its beginning ends somewhere in a letter of several bytes.
    content = "last_name\n" + "x" * shift + "\nMörder€\n" * 40_000
    assert len(content.encode()) > HEAD_BYTES
    assert send(as_librarian, content.encode(), "roster.csv", kind="patrons").status_code == 202


def test_no_transaction_is_open_while_a_file_is_looked_at(as_librarian, monkeypatch):
    def look(*arguments) -> None:
        looked.append(db.session().in_transaction())
        checked(*arguments)

    looked: list[bool] = []
    checked = imports.check_table
    monkeypatch.setattr(imports, "check_table", look)
    assert send(as_librarian, ROSTER.encode(), "roster.csv", kind="patrons").status_code == 202
    assert looked == [False]


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ("C:\\Users\\me\\books.mrc", "books.mrc"),
        ("../../etc/books.mrc", "books.mrc"),
        ("a\tb\x01c\u200d.mrc", "a bc\u200d.mrc"),
        ("folder/", "upload"),
        ("x" * 300, "x" * 200),
    ],
)
def test_the_name_of_a_file_is_made_clean(sent, kept):
    assert imports.name_of(FileStorage(io.BytesIO(), sent)) == kept


def test_hours_of_empty_lines_can_be_cancelled(as_librarian, work, monkeypatch):
    content = gzip.compress(b"last_name\n" + b"\n" * 3_000_000)
    sent = send(as_librarian, content, "roster.csv.gz", kind="patrons").json
    monkeypatch.setattr(importing, "HEARTBEAT_SECONDS", 0)

    def read(*arguments):
        # The worker has begun when somebody asks it to stop; there is no record before which it could.
        as_librarian.post(f"/jobs/{sent['id']}/cancel")
        return began(*arguments)

    began = importing.read_file
    monkeypatch.setattr(importing, "read_file", read)
    work()
    assert as_librarian.get(f"/jobs/{sent['id']}").json["state"] == "cancelled"


def test_a_body_without_a_file_or_of_another_kind_is_refused(as_librarian):
    empty = as_librarian.post("/imports", data={"kind": "books"}, content_type="multipart/form-data")
    assert (empty.status_code, empty.json["errors"][0]["pointer"]) == (422, "/file")
    text = as_librarian.post("/imports", data={"file": "no file", "kind": "books"}, content_type="multipart/form-data")
    assert (text.status_code, text.json["errors"][0]["code"]) == (422, "invalid_type")
    twice = {"file": [(io.BytesIO(marc(1)), "a.mrc"), (io.BytesIO(marc(2)), "b.mrc")]}
    answer = as_librarian.post("/imports", data=twice, content_type="multipart/form-data")
    assert (answer.status_code, answer.json["errors"][0]["code"]) == (422, "duplicate_member")
    assert as_librarian.post("/imports", json={"file": "x"}).status_code == 415
    assert as_librarian.post("/imports", data=marc(1), content_type="application/marc").status_code == 415
    # Elsewhere a body of parts is as foreign as ever.
    assert as_librarian.post("/books", data={"title": "X"}, content_type="multipart/form-data").status_code == 415


def test_how_large_a_file_may_be_is_a_setting_of_its_own(app, as_librarian, monkeypatch):
    monkeypatch.setitem(app.config, "LARGEST_UPLOAD", 300_000)
    large = b"".join(marc(number, "Long " * 300) for number in range(1, 180))
    assert app.config["LARGEST_BODY"] < len(large) < 300_000
    assert send(as_librarian, large).status_code == 202
    answer = send(as_librarian, large + large[:150_000])
    assert (answer.status_code, answer.json["code"]) == (413, "content_too_large")


def test_who_may_not_import_is_told_so_whatever_they_send(as_patron, client):
    assert send(as_patron, b"").status_code == 403
    assert send(client, b"").status_code == 401


def test_a_large_file_is_kept_in_pieces(as_librarian, work, session, monkeypatch):
    monkeypatch.setattr(uploads, "PART_BYTES", 5000)
    content = b"".join(map(marc, range(1, 251)))
    sent = send(as_librarian, content).json
    parts = session.scalars(select(UploadPart.content).order_by(UploadPart.number)).all()
    assert len(parts) > 3
    assert b"".join(parts) == content
    session.rollback()
    work()
    assert counts(as_librarian.get(f"/jobs/{sent['id']}").json)["added"] == 250


def test_an_import_that_waits_is_cancelled_at_once(as_librarian, work, session):
    sent = send(as_librarian, marc(1)).json
    answer = as_librarian.post(f"/jobs/{sent['id']}/cancel")
    assert (answer.status_code, answer.json["state"]) == (200, "cancelled")
    assert answer.json["ended_at"] == answer.json["cancel_asked_at"] is not None
    assert answer.json["import"]["position"] == 0
    assert session.scalar(select(func.count()).select_from(UploadPart)) == 0
    work()
    assert as_librarian.get("/books").json == []
    again = as_librarian.post(f"/jobs/{sent['id']}/cancel")
    assert (again.status_code, again.json["errors"][0]["code"]) == (409, "job_ended")
    assert as_librarian.post("/jobs/99/cancel").status_code == 404


def test_an_import_at_work_stops_after_its_batch_and_keeps_what_is_in(as_librarian, work, session, monkeypatch):
    sent = send(as_librarian, b"".join(map(marc, range(1, 601)))).json
    asked: list[dict] = []

    def take(intake: importing.Intake, batch) -> list:
        results = taken(intake, batch)
        # The worker has taken one batch in when somebody asks it to stop.
        asked.append(as_librarian.post(f"/jobs/{sent['id']}/cancel").json)
        return results

    taken = importing.Intake.take
    monkeypatch.setattr(importing.Intake, "take", take)
    work()
    (answer,) = asked
    assert (answer["state"], answer["import"]["position"]) == ("running", 200)
    job = as_librarian.get(f"/jobs/{sent['id']}").json
    assert (job["state"], counts(job)["added"], job["found"]) == ("cancelled", 200, 200)
    assert len(as_librarian.get(f"/jobs/{sent['id']}/results?page_size=100&page=2").json) == 100
    assert session.scalar(select(func.count()).select_from(Book)) == 200
    assert session.scalar(select(func.count()).select_from(UploadPart)) == 0


def test_librarians_cancel_imports_and_admins_nightly_work_too(as_librarian, as_admin, as_patron):
    key = as_admin.post("/jobs", json={"kind": "nightly"}).json["id"]
    assert as_patron.post(f"/jobs/{key}/cancel").status_code == 403
    refused = as_librarian.post(f"/jobs/{key}/cancel")
    assert (refused.status_code, refused.json["errors"][0]["params"]) == (403, {"permission": "jobs.start"})
    assert as_admin.post(f"/jobs/{key}/cancel").json["state"] == "cancelled"
    assert as_patron.get(f"/jobs/{key}/results").status_code == 403
    assert as_librarian.get(f"/jobs/{key}/results").json == []


def test_sent_again_under_its_key_a_file_is_one_job(as_librarian, session):
    key = {"Idempotency-Key": "roster-of-monday"}
    first = send(as_librarian, marc(1), headers=key)
    again = send(as_librarian, marc(1), headers=key)
    assert (first.status_code, again.status_code, again.json) == (202, 202, first.json)
    assert again.headers["Idempotency-Replayed"] == "true"
    assert send(as_librarian, marc(2), headers=key).status_code == 422
    assert session.scalar(select(func.count()).select_from(Job)) == 1
    assert session.scalar(select(func.count()).select_from(UploadPart)) == 1


def test_xml_that_turns_out_to_be_no_marc_fails_the_job(as_librarian, work):
    sent = send(as_librarian, b"<?xml version='1.0'?><html><body>no records</body></html>", "page.xml").json
    work()
    job = as_librarian.get(f"/jobs/{sent['id']}").json
    assert (job["state"], counts(job)["added"]) == ("failed", 0)
    assert job["error"]


def test_reports_are_forgotten_in_time(as_librarian, as_admin, work, session, now):
    sent = send(as_librarian, marc(1)).json
    work()
    other = as_admin.post("/jobs", json={"kind": "purge"}).json["id"]
    work()
    assert as_librarian.get(f"/jobs/{sent['id']}").status_code == 200
    job = session.get_one(Job, sent["id"])
    job.ended_at = now - timedelta(days=91)
    session.commit()
    purge = as_admin.post("/jobs", json={"kind": "purge"}).json["id"]
    work()
    assert as_librarian.get(f"/jobs/{purge}").json["done"] == 1
    assert as_librarian.get(f"/jobs/{sent['id']}").status_code == 404
    assert as_librarian.get(f"/jobs/{other}").json["state"] == "done"
    assert session.scalar(select(func.count()).select_from(JobResult)) == 0
    assert len(as_librarian.get("/books").json) == 1


def _taken_in(client, work, path: Path, **parts: str) -> dict:
    sent = send(client, path.read_bytes(), path.name, **parts)
    assert sent.status_code == 202, sent.text
    work()
    return client.get(sent.headers["Location"]).json


def _exported(client) -> list[Record]:
    return pymarc_records(client.get("/books/export", headers={"Accept": "application/marc"}).data)


def test_a_thousand_real_records_come_out_as_they_went_in(as_librarian, work, real_data, tmp_path):
    content = (real_data / "lc_1k.mrc").read_bytes()
    (tmp_path / "lc_1k.mrc.gz").write_bytes(gzip.compress(content))
    job = _taken_in(as_librarian, work, tmp_path / "lc_1k.mrc.gz", on_duplicate="add")
    assert (job["state"], counts(job)) == ("done", {"added": 1000, "updated": 0, "skipped": 0, "failed": 0})
    before, after = pymarc_records(content), _exported(as_librarian)
    assert differences(before, after) == {}
    # A book that is changed here is exported as changed, and its other fields as they came.
    (book,) = as_librarian.get(f"/books?control_number={before[7]['001'].data.strip()}").json
    as_librarian.change(f"/books/{book['id']}", json={"title": "Another title"})
    changed = _exported(as_librarian)
    assert changed[7]["245"]["a"].startswith("Another title")
    assert set(differences(before[7:8], changed[7:8])) <= {
        *("245", "005", "leader/05", "order or number of fields"),
        *(f"leader/{at:02}" for at in (*range(5), *range(12, 17))),
    }
    assert differences(before[:7] + before[8:], changed[:7] + changed[8:]) == {}


@pytest.mark.services
def test_ten_thousand_real_records_come_out_to_the_last_byte(as_librarian, work, real_data):
    path = real_data / "lc_10k.mrc.gz"
    job = _taken_in(as_librarian, work, path, on_duplicate="add")
    assert (job["state"], counts(job)) == ("done", {"added": 10_000, "updated": 0, "skipped": 0, "failed": 0})
    exported = as_librarian.get("/books/export", headers={"Accept": "application/marc"}).data
    assert exported == gzip.decompress(path.read_bytes())
