"""`flask quickstart`: one command from nothing to a library one can log in to, and again without losing anything."""

import json
import os
import re
import signal
import socket
import sqlite3
import stat
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import flask_migrate
import pytest
from served import DEADLINE, Served, free_port
from sqlalchemy import select, update

from library.cli.logins import new_password
from library.database import make_session
from library.extensions import db
from library.models import AuditEvent, Book, Branch, User

from .conftest import count, runner

QUICK = ("quickstart", "--no-serve")
ROLES = ["admin", "librarian", "patron"]


def printed_logins(printed: str) -> dict[str, str]:
    """Username → what stands in the column of passwords."""
    return dict(re.findall(r"^  (?:admin|librarian|patron) +(\S+) +\S+@\S+ +(.+)$", printed, re.MULTILINE))


def may_log_in(app, username: str, password: str) -> bool:
    answer = app.test_client().post("/users/login", json={"username": username, "password": password})
    return answer.status_code == 200 and answer.json["user"]["role"] == username


def start(app, *options: str) -> dict[str, str]:
    result = runner(app)(*QUICK, *options)
    assert result.exit_code == 0, result.output
    return printed_logins(result.output)


def test_the_printed_logins_are_good_and_kept_for_the_owner_only(app_in, instance):
    logins = printed_logins((instance / "printed").read_text(encoding="utf-8"))
    app = app_in(instance)
    assert list(logins) == ROLES
    assert all(may_log_in(app, *login) for login in logins.items())
    assert stat.S_IMODE((instance / "quickstart.json").stat().st_mode) == 0o600
    assert json.loads((instance / "quickstart.json").read_text(encoding="utf-8")) == logins


def test_run_again_it_keeps_the_data_and_prints_the_same(app_in, instance):
    before = printed_logins((instance / "printed").read_text(encoding="utf-8"))
    app = app_in(instance)
    assert start(app) == before
    with app.app_context(), make_session(db.engine) as session:
        assert count(session, Book) == 521


def test_passwords_that_are_nowhere_any_more_are_made_anew(app_in, instance):
    before = printed_logins((instance / "printed").read_text(encoding="utf-8"))
    (instance / "quickstart.json").unlink()
    app = app_in(instance)
    after = start(app)
    assert list(after) == ROLES
    assert not set(after.values()) & set(before.values())
    assert all(may_log_in(app, *login) for login in after.items())
    assert not may_log_in(app, "admin", before["admin"])
    assert start(app) == after
    with app.app_context(), make_session(db.engine) as session:
        told = select(AuditEvent.object_kind, AuditEvent.object_id).where(AuditEvent.action == "quickstart")
        assert session.execute(told).all() == [(None, None), ("users", 1), ("users", 2), ("users", 3)]


def test_a_changed_password_is_not_printed_as_if_it_were_good(app_in, instance):
    kept = json.loads((instance / "quickstart.json").read_text(encoding="utf-8"))
    (instance / "quickstart.json").write_text(json.dumps(kept | {"patron": "no longer this"}), encoding="utf-8")
    assert start(app_in(instance)) == kept | {"patron": "(was changed)"}


def test_an_account_is_printed_as_it_is_called_now_as_long_as_its_password_is_good(app_in, instance):
    before = json.loads((instance / "quickstart.json").read_text(encoding="utf-8"))
    app = app_in(instance)
    changes = (
        {"email": "paul@example.net", "email_key": "paul@example.net", "last_name": "Morel"},  # As a roster says it.
        {"username": "Paul", "username_key": "paul"},
    )
    for values in changes:
        with app.app_context(), make_session(db.engine) as session:
            session.execute(update(User).where(User.card_barcode == "P0001").values(values))
            session.commit()
        after = start(app)
        assert list(after.values()) == list(before.values())
        name = list(after)[-1]
        assert (
            app.test_client().post("/users/login", json={"username": name, "password": after[name]}).status_code == 200
        )
    assert list(after) == ["admin", "librarian", "Paul"]


@pytest.mark.parametrize(
    ("values", "remark"),
    [
        ({"active": False}, "(the account is inactive)"),
        (
            {"username_key": "paul", "email_key": "paul@example.net", "card_barcode": "P9999"},
            "(no such account any more)",
        ),
    ],
)
def test_an_account_that_nobody_can_log_in_to_is_shown_with_the_reason(app_in, instance, values, remark):
    before = json.loads((instance / "quickstart.json").read_text(encoding="utf-8"))
    app = app_in(instance)
    with app.app_context(), make_session(db.engine) as session:
        session.execute(update(User).where(User.card_barcode == "P0001").values(values))
        session.commit()
    assert start(app) == before | {"patron": remark}


def test_a_database_with_users_of_its_own_is_left_alone(app_in, tmp_path):
    app = app_in(tmp_path)
    with app.app_context():
        flask_migrate.upgrade()
    run = runner(app)
    run("users", "create-admin", "--username", "admin", "--email", "me@example.org", "--password", "correct horse")
    result = run(*QUICK)
    assert result.exit_code == 0
    assert "log in with yours" in result.output
    assert not (tmp_path / "quickstart.json").exists()
    assert may_log_in(app, "admin", "correct horse")
    with app.app_context(), make_session(db.engine) as session:
        assert count(session, Book) == 0


def test_fresh_starts_over(app_in, instance):
    before = json.loads((instance / "quickstart.json").read_text(encoding="utf-8"))
    app = app_in(instance)
    with app.app_context(), make_session(db.engine) as session:
        session.add(Branch(name="Opened since"))
        session.commit()
    after = start(app, "--fresh")
    assert not set(after.values()) & set(before.values())
    with app.app_context(), make_session(db.engine) as session:
        assert count(session, Branch) == 3
    assert all(may_log_in(app, *login) for login in after.items())


def test_fresh_gets_over_a_broken_file(app_in, tmp_path):
    (tmp_path / "library.sqlite3").write_bytes(b"This is no database. " * 100)
    result = runner(app_in(tmp_path))(*QUICK)
    assert result.exit_code == 1
    assert result.output == "Error: the database does not answer: file is not a database\n"
    assert list(start(app_in(tmp_path), "--fresh")) == ROLES


def test_fresh_refuses_a_database_in_use_and_any_other(app_in, instance, tmp_path):
    database = instance / "library.sqlite3"
    with closing(sqlite3.connect(database)) as other:
        other.execute("SELECT count(*) FROM books").fetchone()
        result = runner(app_in(instance))(*QUICK, "--fresh")
    assert result.exit_code == 1
    assert result.output.startswith("Error: library.sqlite3 is in use, stop the other server first")
    for url in (f"sqlite:///{database}", "sqlite://"):
        result = runner(app_in(tmp_path / "elsewhere", DATABASE_URL=url))(*QUICK, "--fresh")
        assert result.exit_code == 1
        assert result.output.startswith("Error: --fresh deletes only the SQLite database of the instance folder")
    assert list(start(app_in(instance))) == ROLES


@pytest.mark.parametrize("environment", ["testing", "production"])
def test_it_is_for_development_only(app_in, tmp_path, environment):
    key = "kD8sPq2vXw5zRt7yUb3nMc6jHf9gLa1e"
    app = app_in(tmp_path, environment, SECRET_KEY=key, DATABASE_URL=f"sqlite:///{tmp_path / 'library.sqlite3'}")
    result = runner(app)(*QUICK)
    assert result.exit_code == 1
    assert result.output == "Error: quickstart is for development only: its log-ins stand in a file\n"
    assert list(tmp_path.iterdir()) == []


def test_a_port_in_use_is_one_line_before_anything_is_done(app_in, tmp_path):
    app = app_in(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        result = runner(app)("quickstart", "--port", port, "--fresh")
    assert result.exit_code == 1
    assert result.output.startswith(f"Error: cannot listen at 127.0.0.1 port {port}: ")
    assert result.output.count("\n") == 1
    result = runner(app)("quickstart", "--host", "nowhere.invalid")
    assert result.exit_code == 1
    assert result.output.startswith("Error: cannot listen at nowhere.invalid port 5000: ")
    assert not (tmp_path / "library.sqlite3").exists()


@pytest.mark.parametrize("shortest", [8, 15, 40])
def test_passwords_are_long_enough_and_all_different(shortest):
    made = {new_password(shortest) for _ in range(100)}
    assert len(made) == 100
    assert all(len(password) >= max(shortest, 12) for password in made)


class Quickstart(Served):
    """The command in a process of its own, far from the source; its server answers when this is made."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.folder, self.port = folder, free_port()
        self.environment = clean_environment(folder)
        self.log = (folder / "stderr").open("w")
        command = quickstart_command("--port", str(self.port), *options)
        with (folder / "stdout").open("w") as output:
            self.process = subprocess.Popen(command, cwd=folder, env=self.environment, stdout=output, stderr=self.log)
        self._wait()
        self.logins = printed_logins((folder / "stdout").read_text(encoding="utf-8"))

    def end(self, number: signal.Signals) -> str:
        """Send a signal, expect a clean end, and return what stands on standard error."""
        self.process.send_signal(number)
        assert self.process.wait(DEADLINE) == 0
        self.log.close()
        return (self.folder / "stderr").read_text(encoding="utf-8")


def clean_environment(folder: Path) -> dict[str, str]:
    inherited = {key: value for key, value in os.environ.items() if not key.startswith(("LIBRARY_", "FLASK_"))}
    inherited.pop("DATABASE_URL", None)
    return inherited | {"LIBRARY_INSTANCE": str(folder / "instance"), "LIBRARY_LOG_REQUESTS": "false"}


def quickstart_command(*options: str) -> list[str]:
    return [sys.executable, "-m", "flask", "--app", "library", "quickstart", *options]


@pytest.fixture
def quickstart(tmp_path):
    """Call it with options for a running quickstart in this test's folder."""
    started: list[Quickstart] = []

    def begin(*options: str) -> Quickstart:
        started.append(Quickstart(tmp_path, *options))
        return started[-1]

    yield begin
    for one in started:
        if one.process.poll() is None:
            one.stop()


def lend(server: Quickstart) -> None:
    token = server.log_in("librarian", server.logins["librarian"])
    copies = server.call("GET", "/copies?place=available&page_size=1", token=token).json
    body = {"copy_barcode": copies[0]["barcode"], "patron_barcode": "P0002"}
    answer = server.call("POST", "/loans", body, token)
    assert answer.status == 201, answer.data


def open_loans(server: Quickstart) -> int:
    token = server.log_in("librarian", server.logins["librarian"])
    return int(server.call("GET", "/loans?status=open", token=token).headers["X-Total-Count"])


def test_end_to_end(quickstart, tmp_path):
    first = quickstart()
    assert list(first.logins) == ROLES
    before = open_loans(first)
    lend(first)
    assert open_loans(first) == before + 1
    # A second one beside it, at the same port or over the same files, is told so and does no harm.
    for options, complaint in (
        (("--port", str(first.port)), "cannot listen"),
        (("--fresh", "--no-serve"), "is in use"),
    ):
        command = quickstart_command(*options)
        second = subprocess.run(
            command, cwd=tmp_path, env=first.environment, capture_output=True, text=True, timeout=DEADLINE
        )
        assert second.returncode == 1
        assert complaint in second.stderr
        assert second.stderr.count("\n") == 1
    assert first.end(signal.SIGINT) == ""

    again = quickstart()
    assert again.logins == first.logins
    assert open_loans(again) == before + 1
    assert again.end(signal.SIGTERM) == ""

    fresh = quickstart("--fresh")
    assert not set(fresh.logins.values()) & set(first.logins.values())
    assert open_loans(fresh) == before
    assert fresh.end(signal.SIGINT) == ""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_worker_beside_the_server_does_the_jobs_and_ends_with_it(quickstart, number):
    server = quickstart()
    token = server.log_in("admin", server.logins["admin"])
    asked = server.call("POST", "/jobs", {"kind": "nightly"}, token)
    assert asked.status == 202, asked.data
    end = time.monotonic() + DEADLINE
    while (job := server.call("GET", asked.headers["Location"], token=token).json)["state"] in ("queued", "running"):
        assert time.monotonic() < end
        time.sleep(0.05)
    assert (job["state"], job["error"]) == ("done", None)
    assert job["found"] == job["done"] + job["skipped"]
    processes = Path(f"/proc/{server.process.pid}/task/{server.process.pid}/children")
    children = processes.read_text(encoding="ascii").split() if processes.exists() else []
    assert server.end(number) == ""
    assert not [child for child in children if Path("/proc", child).exists()]
