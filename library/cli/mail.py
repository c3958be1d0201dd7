"""`flask mail send`: sends what waits in the outbox; the worker of `flask jobs run` does the same beside its jobs."""

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, Thread

import click
from flask import Flask, current_app
from flask.cli import AppGroup
from sqlalchemy.exc import DBAPIError

from library.cli.common import caught_signals, ready_session
from library.database import make_session
from library.extensions import db
from library.mailing import Office, Tally, send_due

PAUSE_SECONDS = 1
# Where the post takes nothing, or the database is away, there is no hurry.
LONG_PAUSE_SECONDS = 30
END_SECONDS = 3
logger = logging.getLogger(__name__)

mail = AppGroup("mail", help="The outbox.")


@mail.command("send")
def send() -> None:
    """Send the mails that are due, and say how many; status 1 where one must be tried again."""
    office = Office.of(current_app.config)
    if office is None:
        raise click.ClickException("this library sends no mail: the setting MAIL_URL is empty")
    with ready_session() as session, caught_signals() as received:
        tally = send_due(session, office, received)
    click.echo(str(tally))
    sys.exit(1 if tally.failed or received else 0)


@contextmanager
def post_beside() -> Iterator[None]:
    """Send mails in a thread while the block runs: who waits for a token does not wait for an import."""
    app, ended = current_app._get_current_object(), Event()  # type: ignore[attr-defined]
    # As a daemon it ends with the process: a mail that was being sent then is sent once more.
    thread = Thread(target=_send_on, args=(app, ended), name="post", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join(END_SECONDS)


def _send_on(app: Flask, ended: Event) -> None:
    pause = 0
    with app.app_context():
        while not ended.wait(pause):
            pause = LONG_PAUSE_SECONDS if send_once().failed else PAUSE_SECONDS


def send_once() -> Tally:
    """Send what is due, whatever happens: that mails wait is no reason to do no work."""
    office = Office.of(current_app.config)
    try:
        with make_session(db.engine) as session:
            return send_due(session, office) if office else Tally()
    except DBAPIError as error:
        # The worker itself says so.
        logger.info("no mails are sent: %s", type(error).__name__)
    except Exception:
        logger.exception("mails could not be sent")
    return Tally(failed=1)
