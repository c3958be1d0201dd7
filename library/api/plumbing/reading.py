"""Reads on the driver: statements compiled once, and run on connections of their own that only read.

Session, transaction and result of SQLAlchemy cost several times what such a statement costs the database. What is
read here is text and numbers, as the database has rendered them.
"""

from collections import deque, namedtuple
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

from sqlalchemy import Engine, Select, event

# More at once than a worker has threads are not kept.
MOST_IDLE = 16
# What such a connection to SQLite may hold of the file.
CACHE_KB = 8000


class Statement:
    """A statement as the driver takes it; its parameters are named."""

    def __init__(self, statement: Select[Any], engine: Engine) -> None:
        compiled: Any = statement.compile(dialect=engine.dialect)
        self._text: str = compiled.string
        written = {compiled.bind_names[parameter] for parameter in compiled.literal_execute_params}
        # PostgreSQL plans better for a number of rows that it knows.
        self._written = [(name, f"__[POSTCOMPILE_{name}]") for name in sorted(written)]
        self._order: list[str] | None = None
        if compiled.positional:
            self._order = [name for name in compiled.positiontup if name not in written]
        # Of each parameter its name in the text and in the statement, its value if it has one, and what it is made of.
        self._parameters = [
            (name, one.key, None if one.required else one.value, compiled._bind_processors.get(name))
            for one, name in compiled.bind_names.items()
        ]
        columns = compiled._result_columns
        self.row: Any = namedtuple("Row", [one.keyname for one in columns], rename=True)  # type: ignore[misc]
        # Whether the driver's values are the row's, and no parameter's value is found or spread out at the last moment.
        self.is_plain = (
            all(one.type.result_processor(engine.dialect, None) is None for one in columns)
            and not compiled.post_compile_params - compiled.literal_execute_params
            and not any(one.callable for one in compiled.bind_names)
        )

    def filled(self, values: Mapping[str, Any]) -> tuple[str, Any]:
        """Text and parameters, for the values of its named ones."""
        text, given = self._text, {}
        for name, key, value, process in self._parameters:
            value = values.get(key, value)
            given[name] = value if process is None else process(value)
        for name, place in self._written:
            text = text.replace(place, str(int(given.pop(name))))
        return text, given if self._order is None else [given[name] for name in self._order]


class Rows(list[Any]):
    """What was read."""

    def scalar(self) -> Any:
        """The first value of the first row, None where there is none."""
        return self[0][0] if self else None


class NotPlain(Exception):
    """A statement needs more than a driver: its values, or those of its rows, are made in Python."""


class Reader:
    """A connection of the driver to the database of an engine; one caller's at a time."""

    def __init__(self, connection: Any, engine: Engine) -> None:
        self.connection, self.engine = connection, engine

    def rows(self, statement: Statement, **values: Any) -> Rows:
        """The rows, whose values have their columns' names; raises NotPlain."""
        if not statement.is_plain:
            raise NotPlain
        return Rows(map(statement.row._make, self.connection.execute(*statement.filled(values)).fetchall()))

    def one(self, statement: Statement, **values: Any) -> Any:
        """The first row, None where there is none."""
        return self.connection.execute(*statement.filled(values)).fetchone()


class Readers:
    """The connections of one engine that only read.

    They are not asked whether they live before each call, as the pool's are: a call that fails is made again by
    another way, and all are opened anew then.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._idle: deque[Reader] = deque()
        self.failure: type[Exception] = engine.dialect.loaded_dbapi.Error
        event.listen(engine, "engine_disposed", lambda _: self.close())

    @contextmanager
    def reader(self) -> Iterator[Reader]:
        """A connection; each statement is a look of its own at the database."""
        reader = self._taken()
        try:
            yield reader
        except BaseException:
            reader.connection.close()
            self.close()
            raise
        if len(self._idle) < MOST_IDLE:
            self._idle.append(reader)
        else:
            reader.connection.close()

    def close(self) -> None:
        """Let go of what nobody reads on."""
        with suppress(IndexError):
            while True:
                self._idle.pop().connection.close()

    def _taken(self) -> Reader:
        try:
            return self._idle.pop()
        except IndexError:
            return self._opened()

    def _opened(self) -> Reader:
        pooled = self._engine.raw_connection()
        connection: Any = pooled.driver_connection
        pooled.detach()
        if self._engine.dialect.name == "sqlite":
            connection.execute("PRAGMA query_only=ON")
            # A page of a list looks at more of the file than SQLite holds in 2 MB.
            connection.execute(f"PRAGMA cache_size=-{CACHE_KB}")
        else:
            connection.autocommit = True
            connection.execute("SET default_transaction_read_only = on")
        return Reader(connection, self._engine)
