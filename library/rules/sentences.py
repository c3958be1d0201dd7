"""Sentences: statements made once and run on the driver; what SQLAlchemy does for each run costs more than most."""

from typing import Any

from sqlalchemy import Connection, Dialect
from sqlalchemy.orm import Session

# What `transaction` leaves in the session while it lasts.
CONNECTION = "library_connection"


class Sentence:
    """A statement as the driver takes it, made once for each kind of database."""

    def __init__(self, statement: Any) -> None:
        self._statement = statement
        self._made: dict[str, Any] = {}

    def scalar(self, connection: Connection, values: dict[str, Any]) -> Any:
        """The first value of the first row, None where there is none."""
        row = self.row(connection, values)
        return None if row is None else row[0]

    def row(self, connection: Connection, values: dict[str, Any]) -> Any:
        """The first row, None where there is none."""
        cursor = self.run(connection, values)
        row = cursor.fetchone()
        cursor.close()
        return row

    def run(self, connection: Connection, values: dict[str, Any]) -> Any:
        """Run it with the values of its named parameters, in the transaction at hand: the driver's cursor.

        What the driver raises is raised as SQLAlchemy has it; where somebody listens to the connection, SQLAlchemy runs
        it. Rows must be read to their end: see `row`.
        """
        made = self._made.get(connection.dialect.name)
        if made is None:
            made = self._made[connection.dialect.name] = self._make(connection.dialect)
        sql, constants, wanted, order = made
        given = constants.copy()
        for name, process in wanted:
            value = values[name]
            given[name] = process(value) if process is not None else value
        parameters: Any = given if order is None else tuple(map(given.__getitem__, order))
        if connection.dispatch.before_cursor_execute or connection.dispatch.after_cursor_execute:
            return connection.exec_driver_sql(sql, parameters)
        cursor = connection.connection.cursor()
        try:
            cursor.execute(sql, parameters)
        except connection.dialect.loaded_dbapi.Error as error:
            connection._handle_dbapi_exception(error, sql, parameters, cursor, None)
        return cursor

    def _make(self, dialect: Dialect) -> Any:
        made: Any = self._statement.compile(dialect=dialect)
        assert not made.post_compile_params, "each run would be another statement"
        constants, wanted = {}, []
        for name, parameter in made.binds.items():
            process = parameter.type.dialect_impl(dialect).bind_processor(dialect)
            if parameter.required:
                wanted.append((name, process))
            else:
                value = parameter.effective_value
                constants[name] = process(value) if process is not None else value
        return made.string, constants, wanted, made.positiontup


def connection_of(session: Session) -> Connection:
    """The connection of the transaction at hand: to ask the session for it costs as much as some statements.

    SQLAlchemy begins a savepoint with the first statement it is given itself: before that, none of ours belongs to it.
    """
    return session.info.get(CONNECTION) or session.connection()
