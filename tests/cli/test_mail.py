"""`flask mail send`, and the worker that sends mails beside its jobs."""

import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from served import DEADLINE
from sqlalchemy import select, update

from library.models import Job, JobKind, JobState, Mail
from library.rules import jobs, password_resets


@pytest.fixture
def waiting(app, session, make) -> None:
    """A mail with a token waits."""
    make.user(email="jane@example.org")
    password_resets.request(session, app.config["SECRET_KEY"], "jane@example.org", datetime.now(UTC))
    session.commit()


@pytest.fixture
def mute() -> Iterator[socket.socket]:
    """A mail server that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(DEADLINE)
        yield listener


@pytest.fixture
def worker(app, commands) -> Iterator[Callable]:
    """Call it with a MAIL_URL for a worker that runs until the test ends."""
    running = []

    def start(url: str):
        commands.environment |= {"LIBRARY_MAIL_URL": url, "SECRET_KEY": app.config["SECRET_KEY"]}
        running.append(commands.start("jobs", "run"))
        return running[-1]

    yield start
    for process in running:
        process.kill()
        process.communicate()


def awaited(look: Callable[[], object]) -> object:
    end = time.monotonic() + DEADLINE
    while not (found := look()) and time.monotonic() < end:
        time.sleep(0.05)
    return found


def the_mail(commands) -> Mail:
    with commands.session() as session:
        return session.scalars(select(Mail)).one()


def test_what_is_due_is_sent_and_counted(app, run, waiting, tmp_path, monkeypatch):
    monkeypatch.setitem(app.config, "MAIL_URL", f"file://{tmp_path}/out")
    result = run("mail", "send")
    assert (result.exit_code, result.output) == (0, "sent 1, to be tried again 0, given up 0\n")
    [path] = (tmp_path / "out").iterdir()
    assert "jane@example.org" in path.read_text()
    assert run("mail", "send").output == "sent 0, to be tried again 0, given up 0\n"


def test_what_must_be_tried_again_is_status_1(app, run, waiting, tmp_path, monkeypatch):
    (tmp_path / "out").write_text("no folder")
    monkeypatch.setitem(app.config, "MAIL_URL", f"file://{tmp_path}/out")
    result = run("mail", "send")
    assert (result.exit_code, result.output) == (1, "sent 0, to be tried again 1, given up 0\n")


def test_a_library_that_sends_no_mail_says_so(app, run, monkeypatch):
    monkeypatch.setitem(app.config, "MAIL_URL", "")
    result = run("mail", "send")
    assert (result.exit_code, result.output) == (
        1,
        "Error: this library sends no mail: the setting MAIL_URL is empty\n",
    )


def test_a_worker_that_ends_when_no_job_waits_sends_first(app, run, waiting, tmp_path, monkeypatch):
    monkeypatch.setitem(app.config, "MAIL_URL", f"file://{tmp_path}/out")
    assert run("jobs", "run", "--once").exit_code == 0
    assert len(list((tmp_path / "out").iterdir())) == 1


def test_a_worker_without_mail_works_all_the_same(app, run, waiting, session, monkeypatch):
    monkeypatch.setitem(app.config, "MAIL_URL", "")
    assert run("jobs", "run", "--once").exit_code == 0
    assert session.scalars(select(Mail.tries)).all() == [0]


def test_a_worker_sends_what_comes_while_it_waits(worker, waiting, tmp_path):
    folder = tmp_path / "out"
    worker(f"file://{folder}")
    assert awaited(lambda: folder.exists() and list(folder.glob("*.eml")))


def test_a_mail_server_that_hangs_holds_up_no_job(commands, worker, waiting, mute):
    worker(f"smtp://127.0.0.1:{mute.getsockname()[1]}")
    connection, _ = mute.accept()
    with connection:
        with commands.session() as session:
            key = jobs.start(session, None, JobKind.PURGE, datetime.now(UTC), datetime.now(UTC)).id
            session.commit()

        def is_done() -> bool:
            with commands.session() as session:
                return session.get_one(Job, key).state is JobState.DONE

        assert awaited(is_done)
        assert the_mail(commands).sent_at is None


def test_a_worker_that_is_killed_while_it_sends_loses_no_mail(
    app, commands, worker, waiting, mute, run, tmp_path: Path, monkeypatch
):
    process = worker(f"smtp://127.0.0.1:{mute.getsockname()[1]}")
    connection, _ = mute.accept()
    os.kill(process.pid, signal.SIGKILL)
    process.wait(DEADLINE)
    connection.close()
    mail = the_mail(commands)
    assert (mail.tries, mail.sent_at, mail.next_try_at > datetime.now(UTC)) == (1, None, True)
    with commands.session() as session:
        session.execute(update(Mail).values(next_try_at=datetime.now(UTC)))
        session.commit()
    monkeypatch.setitem(app.config, "MAIL_URL", f"file://{tmp_path}/out")
    assert run("mail", "send").output.startswith("sent 1,")


def test_the_first_admin_has_no_common_password_where_those_are_refused(app, run, monkeypatch):
    monkeypatch.setitem(app.config, "REFUSE_COMMON_PASSWORDS", True)
    root = ("users", "create-admin", "--username", "root-user", "--email", "root@example.org", "--password")
    for password in ("password123", "ROOT-user2026", "root@example.org"):
        result = run(*root, password)
        assert (result.exit_code, result.output.startswith("Error: this password is among the first")) == (1, True)
    assert run(*root, "wide river under ice").exit_code == 0
