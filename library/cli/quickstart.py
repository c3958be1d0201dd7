"""`flask quickstart`: from nothing to a running library with books, people and log-ins, by one command."""

import os
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import click
import flask_migrate
from flask import current_app
from flask.cli import with_appcontext
from sqlalchemy import make_url

from library.cli import logins
from library.cli.common import database_errors_in_one_line, is_at_head, ready_session
from library.extensions import db

THREADS = 8
STOP_SECONDS = 5


@click.command("quickstart")
@click.option("--port", type=click.IntRange(1, 65535), default=5000, show_default=True, help="Port to listen at.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen at.")
@click.option("--fresh", is_flag=True, help="Delete the SQLite database of the instance folder first.")
@click.option("--serve/--no-serve", default=True, help="Serve when all is ready, or leave it at that.")
@with_appcontext
def quickstart(port: int, host: str, fresh: bool, serve: bool) -> None:
    """Make a library to try things out: tables, books, people, log-ins, a running server.

    Run again, it keeps what is there. For development only.
    """
    if current_app.config["ENVIRONMENT"] != "development":
        raise click.ClickException("quickstart is for development only: its log-ins stand in a file")
    if serve:
        _require_free_port(host, port)
    with database_errors_in_one_line():
        if fresh:
            _delete_database()
        if not is_at_head():
            flask_migrate.upgrade()
        with ready_session() as session:
            shown = logins.prepare(session, Path(current_app.instance_path), current_app.config["PASSWORD_MIN_LENGTH"])
    if serve:
        _show_address(host, port)
    _show_logins(shown)
    if serve:
        click.echo("Ctrl-C stops the server. `flask quickstart` goes on from here, with --fresh it starts over.")
        _serve(host, port)


def _require_free_port(host: str, port: int) -> None:
    """Refuse before anything is done: a server that cannot listen is of no use."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            if os.name == "posix":
                # Connections that ended a moment ago are no obstacle to a server, only one that listens is.
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        reason = f"{error.strerror or error} (choose others with --host and --port)"
        raise click.ClickException(f"cannot listen at {host} port {port}: {reason}") from error


def _delete_database() -> None:
    """Delete the SQLite database of the instance folder, and never another one."""
    url = make_url(current_app.config["DATABASE_URL"])
    path = Path(url.database or "")
    is_ours = path.suffix == ".sqlite3" and path.parent.resolve() == Path(current_app.instance_path).resolve()
    if url.get_backend_name() != "sqlite" or not is_ours:
        raise click.ClickException(
            "--fresh deletes only the SQLite database of the instance folder: this is another one"
        )
    db.engine.dispose()
    if path.exists():
        _require_unused(path)
    for suffix in ("", "-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)


def _require_unused(path: Path) -> None:
    """Refuse while another process has the database open: it would go on with a file that nobody else sees."""
    try:
        with closing(sqlite3.connect(path, timeout=1)) as connection:
            # Leaving the write-ahead log needs the database for oneself.
            connection.execute("PRAGMA journal_mode=DELETE").fetchone()
    except sqlite3.OperationalError as error:
        raise click.ClickException(f"{path.name} is in use, stop the other server first ({error})") from error
    except sqlite3.DatabaseError:
        pass  # Not even a database: all the more reason to start over.


def _show_address(host: str, port: int) -> None:
    name = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)
    click.echo(f"\n{current_app.config['NAME']} is served at\n")
    for path, use in (("", "the API"), ("/docs", "to try it"), ("/redoc", "to read about it")):
        click.echo(f"  {f'http://{name}:{port}{path}':36} {use}")


def _show_logins(shown: list[logins.Login]) -> None:
    if not shown:
        click.echo("\nThe database has data of its own and no demo accounts: log in with yours.")
        return
    click.echo("\nLog in with POST /users/login as\n")
    click.echo(f"  {'role':10} {'username':10} {'e-mail':22} password")
    for login in shown:
        click.echo(f"  {login.role:10} {login.username:10} {login.email:22} {login.password}")
    click.echo(f"\nThey are kept in {Path(current_app.instance_path, logins.FILE)}, for you alone.\n")


def _serve(host: str, port: int) -> None:
    """Serve until Ctrl-C or SIGTERM, with what this command has prepared; a worker beside it does the jobs."""
    from granian import Granian
    from granian.constants import Interfaces
    from granian.log import LogLevels

    # The worker is a process of its own; it must not inherit open connections, and builds its application itself.
    db.engine.dispose()
    os.environ["LIBRARY_ENV"] = "development"
    os.environ["LIBRARY_INSTANCE"] = current_app.instance_path
    os.environ["LIBRARY_DATABASE_URL"] = current_app.config["DATABASE_URL"]
    server = Granian(
        target="library:create_app",
        factory=True,
        address=str(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][4][0]),
        port=port,
        interface=Interfaces.WSGI,
        workers=1,
        blocking_threads=THREADS,
        log_level=LogLevels.error,
        # A worker told to stop before it was up would never hear it, and the server would wait for ever.
        workers_kill_timeout=STOP_SECONDS,
    )
    with _worker_beside():
        server.serve()


@contextmanager
def _worker_beside() -> Iterator[None]:
    """A worker for jobs as long as the block runs; in a session of its own, Ctrl-C comes to it through us only."""
    command = [sys.executable, "-m", "flask", "--app", "library", "jobs", "run", "--with-parent"]
    worker = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)
    try:
        yield
    finally:
        worker.terminate()
        try:
            worker.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            worker.kill()
