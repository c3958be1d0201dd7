"""What every change of a plain record shares: saving with kind words for a clash, deleting with what is in the way."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import UniqueConstraint, func, or_, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from library.models import Base
from library.rules.errors import Refusal, Refused, refuses


class AlreadyExists(Refusal):
    """Another record already has this value."""

    parameters = ("members",)


class StillInUse(Refusal):
    """Other records still need this one; `by` counts them by kind."""

    parameters = ("by",)


def _clash(error: IntegrityError) -> AlreadyExists | None:
    """Which unique constraint an error is about, named as PostgreSQL does or by columns as SQLite does."""
    message = str(error.orig)
    for table in Base.metadata.tables.values():
        for constraint in table.constraints:
            if not isinstance(constraint, UniqueConstraint):
                continue
            columns = ", ".join(f"{table.name}.{column.name}" for column in constraint.columns)
            if f'"{constraint.name}"' in message or message.endswith(f"UNIQUE constraint failed: {columns}"):
                columns_named = [column.name.removesuffix("_key") for column in constraint.columns]
                members = constraint.info.get("members", columns_named)
                return AlreadyExists(f"/{members[0]}", members=members)
    return None


@refuses(AlreadyExists)
def save(session: Session, row: Base, values: Mapping[str, Any]) -> None:
    """Give a row its values and write it; new rows are added. The constraints of the database have the last word."""
    for name, value in values.items():
        setattr(row, name, value)
    session.add(row)
    try:
        session.flush()
    except IntegrityError as error:
        clash = _clash(error)
        if clash is None:
            raise
        raise Refused([clash]) from error


@refuses(StillInUse)
def delete(session: Session, row: Base) -> None:
    """Delete a row, unless other rows need it: then all of them are counted in the refusal."""
    by = in_the_way(session, row)
    if by:
        raise Refused([StillInUse(by=by)])
    try:
        with session.begin_nested():
            session.delete(row)
    except IntegrityError as error:
        # Somebody else's row came in between the look and the deletion.
        raise Refused([StillInUse(by=in_the_way(session, row))]) from error


def in_the_way(session: Session, row: Base) -> dict[str, int]:
    """How many rows of which tables point at this one and would be orphaned: table name → count."""
    found: dict[str, int] = {}
    for table in Base.metadata.sorted_tables:
        keys = [key for key in table.foreign_keys if key.column.table is row.__table__ and key.ondelete == "RESTRICT"]
        if keys:
            pointing = or_(*(key.parent == row.id for key in keys))
            count = session.scalar(select(func.count()).select_from(table).where(pointing))
            found |= {table.name: count} if count else {}
    return found
