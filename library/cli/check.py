"""`flask check`: whether everything in the database fits together."""

import click
from flask.cli import with_appcontext
from sqlalchemy import text
from sqlalchemy.orm import Session

from library.cli.common import ready_session
from library.database import transaction
from library.rules.invariants import CHECKS, check_invariants


@click.command("check")
@with_appcontext
def check() -> None:
    """Look for records that contradict one another.

    It changes nothing and may run while desks work. Prints a line for each fault, and ends with status 1 if there are
    any, or if the database does not have today's tables.
    """
    with ready_session() as session, transaction(session, write=False):
        _read_one_snapshot(session)
        violations = check_invariants(session)
    for violation in violations:
        click.echo(violation)
    if violations:
        raise click.ClickException(f"{len(violations)} found by {len(CHECKS)} checks")
    click.echo(f"well: {len(CHECKS)} checks")


def _read_one_snapshot(session: Session) -> None:
    """See all tables as of one moment, which a reader of SQLite always does: desks may be at work meanwhile."""
    if session.get_bind().dialect.name == "postgresql":
        session.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"))
