"""Many rows at once, past the ORM: keys for rows to come, rows in one go, and look-ups of any number of values."""

import json
from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Any, cast

from sqlalchemy import ARRAY, ColumnElement, Connection, any_, bindparam, func, select, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from library.models import Base

_LAST_KEY = text("SELECT seq FROM sqlite_sequence WHERE name = :name")
_NEXT_KEYS = text("SELECT nextval(pg_get_serial_sequence(:name, 'id')) FROM generate_series(1, :count)")

Row = tuple[Any, ...]


def plan_afresh(session: Session) -> None:
    """Let every look-up of this transaction be planned for the tables as they are now.

    PostgreSQL keeps a plan that it made several times: one that was good for an empty table reads all of a full one.
    """
    if session.get_bind().dialect.name == "postgresql":
        session.connection().exec_driver_sql("SET LOCAL plan_cache_mode = force_custom_plan")


def new_keys(session: Session, noun: type[Base], count: int) -> Sequence[int]:
    """Ascending keys for so many new rows; they are theirs as soon as this write inserts them, and nobody else's."""
    if not count:
        return []
    connection, name = session.connection(), noun.__tablename__
    if connection.dialect.name == "postgresql":
        return connection.scalars(_NEXT_KEYS, {"name": name, "count": count}).all()
    # Nobody else writes meanwhile; a row that comes with its key moves the sequence on.
    last = connection.scalar(_LAST_KEY, {"name": name}) or 0
    return range(last + 1, last + count + 1)


def insert_rows(
    session: Session, noun: type[Base], names: Sequence[str], rows: Sequence[Row], indexed: bool = False
) -> None:
    """Insert rows of plain values in the order of the columns' names; the database alone judges them.

    Moments are to be given as `as_bound` makes them. `indexed` rows have a full text index: SQLite writes it out at
    the end of each statement, so that they had better be one. Raises DBAPIError, or ValueError for what is no text.
    """
    if not rows:
        return
    connection = session.connection()
    columns = f"{noun.__tablename__} ({', '.join(names)})"
    if connection.dialect.name == "postgresql":
        _copy(connection, f"COPY {columns} FROM STDIN", rows)
        return
    marks = f"({', '.join('?' * len(names))})"
    if indexed:
        statement = f"INSERT INTO {columns} VALUES {', '.join([marks] * len(rows))}"
        connection.exec_driver_sql(statement, tuple(chain.from_iterable(rows)))
    else:
        connection.exec_driver_sql(f"INSERT INTO {columns} VALUES {marks}", [*rows])


def _copy(connection: Connection, statement: str, rows: Iterable[Row]) -> None:
    """PostgreSQL's own road for many rows, and the fastest; SQLAlchemy does not know it."""
    driver, dialect = cast(Any, connection.connection), connection.dialect
    errors = cast(Any, dialect.loaded_dbapi).Error
    try:
        with driver.cursor() as cursor, cursor.copy(statement) as copy:
            for row in rows:
                copy.write_row(row)
    except errors as error:
        lost = dialect.is_disconnect(error, driver, None)
        if lost:
            connection.invalidate(error)
        told = {"hide_parameters": True, "connection_invalidated": lost, "dialect": dialect}
        raise cast(Any, DBAPIError).instance(statement, None, error, errors, **told) from error


def as_bound(session: Session, column: Any, value: Any) -> Any:
    """A value as the driver takes it for a column."""
    dialect = session.get_bind().dialect
    processor = column.type.dialect_impl(dialect).bind_processor(dialect)
    return value if processor is None else processor(value)


def is_among(session: Session, column: Any, values: Iterable[Any]) -> ColumnElement[bool]:
    """Whether a column has one of the values: one statement for any number of them, and one parameter."""
    wanted = [*values]
    if session.get_bind().dialect.name == "postgresql":
        return cast(ColumnElement[bool], column == any_(bindparam(None, wanted, ARRAY(column.type))))
    listed = func.json_each(json.dumps(wanted)).table_valued("value")
    return cast(ColumnElement[bool], column.in_(select(listed.c.value)))
