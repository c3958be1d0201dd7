"""`flask users`: accounts made by whoever holds the server: the first admin, and a roster of patrons."""

import re
import sys
import unicodedata
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
from flask import current_app
from flask.cli import AppGroup

from library.cli.common import operator, ready_session
from library.cli.progress import take_file
from library.database import transaction
from library.models import JobKind, OnDuplicate, Role
from library.rules import audit, changes, common_passwords
from library.rules import users as rules
from library.rules.errors import Refused

# A command line of the wrong encoding arrives with surrogates, which no database takes.
_USERNAME = re.compile(r"[^\s@\0\ud800-\udfff]{2,100}")
_EMAIL = re.compile(r"(?=.{3,254}\Z)[^\s@\0\ud800-\udfff]+@[^\s@.\0\ud800-\udfff]+(\.[^\s@.\0\ud800-\udfff]+)*")
_PASSWORD = re.compile(r"[^\0\ud800-\udfff]*")

users = AppGroup("users", help="Accounts.")


@users.command("create-admin")
@click.option("--username", prompt="Username", help="Name to log in with.")
@click.option("--email", prompt="E-mail", help="E-mail address.")
@click.option("--password", help="Password; others on this machine may see it here: better let it be asked for.")
@click.option("--password-stdin", is_flag=True, help="Read the password from the first line of the standard input.")
def create_admin(username: str, email: str, password: str | None, password_stdin: bool) -> None:
    """Make an account that may do everything.

    The password is asked for, without showing it, unless one of the options gives it.
    """
    username, email = (unicodedata.normalize("NFC", text).strip() for text in (username, email))
    _require(_USERNAME, username, "a username has 2 to 100 characters, without blanks and @")
    _require(_EMAIL, email, "this is not an e-mail address")
    if password_stdin:
        password = sys.stdin.readline().rstrip("\r\n")
    elif password is None:
        password = click.prompt("Password", hide_input=True, confirmation_prompt=True)
    _check_password(password, current_app.config, username, email)
    password_hash = rules.hash_password(password)
    values = {"username": username, "email": email, "role": Role.ADMIN, "password_hash": password_hash}
    with ready_session() as session:
        try:
            with transaction(session, write=True):
                user = rules.create_user(session, operator(), values, datetime.now(UTC))
                audit.write_done(session, "create_admin", audit.COMMAND, datetime.now(UTC), "users", user.id)
        except Refused as refused:
            raise click.ClickException(_kindly(refused)) from refused
    click.echo(f"{username} is an admin now: log in with POST /users/login.")


@users.command("import")
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--on-duplicate",
    type=click.Choice([OnDuplicate.SKIP.value, OnDuplicate.UPDATE.value]),
    default=OnDuplicate.SKIP.value,
    show_default=True,
    help="What to do with a person who has an account: the same card, username or e-mail address.",
)
@click.option("--dry-run", is_flag=True, help="Write nothing, only say what would happen.")
def import_roster(file: Path, on_duplicate: str, dry_run: bool) -> None:
    """Take the patrons of FILE, a roster in CSV, in.

    Every 200 lines are committed together; a line that is wrong costs itself only. Staff are never changed.
    """
    take_file(JobKind.IMPORT_USERS, file, OnDuplicate(on_duplicate), dry_run)


def _require(form: re.Pattern[str], text: str, complaint: str) -> None:
    if not form.fullmatch(text):
        raise click.ClickException(complaint)


def _check_password(password: str, settings: Mapping[str, Any], *names: str) -> None:
    shortest = settings["PASSWORD_MIN_LENGTH"]
    _require(_PASSWORD, password, "the password is not valid text")
    if not shortest <= len(password) <= rules.LONGEST_PASSWORD:
        raise click.ClickException(f"the password needs {shortest} to {rules.LONGEST_PASSWORD} characters")
    if settings["REFUSE_COMMON_PASSWORDS"] and common_passwords.is_common(password, [*names, settings["NAME"]]):
        raise click.ClickException("this password is among the first that are tried: choose another")


def _kindly(refused: Refused) -> str:
    """One line about what is in the way."""
    taken = [
        name for reason in refused.reasons if isinstance(reason, changes.AlreadyExists) for name in _members(reason)
    ]
    if taken:
        return f"there is an account with this {' and '.join(taken)} already"
    return " ".join(reason.sentence() for reason in refused.reasons)


def _members(reason: changes.AlreadyExists) -> list[str]:
    words = {"email": "e-mail address"}
    return [words.get(name, name) for name in reason.params["members"]]
