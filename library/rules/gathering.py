"""Gathering: all that a decision looks at, by one statement; the parts of it come as JSON.

Each verb says what its own part is (`policies.ROWS`, `standing.blocks_of` …) and what is made of it.
"""

import json
from collections import namedtuple
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime
from typing import Any, Protocol

from sqlalchemy import (
    JSON,
    Boolean,
    Date,
    Enum,
    Select,
    Text,
    cast,
    func,
    inspect,
    literal_column,
    select,
)
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.orm import Session
from sqlalchemy.sql.functions import FunctionElement

from library.models import Moment
from library.rules import rows
from library.rules.sentences import Sentence, connection_of


class _JsonRow(FunctionElement[str]):
    """Values as a JSON list."""

    name = "json_row_of"
    type = Text()
    inherit_cache = True


@compiles(_JsonRow, "sqlite")
def _row_on_sqlite(element: Any, compiler: Any, **options: Any) -> str:
    texts = [compiler.process(clause, **options) for clause in element.clauses]
    kinds = [clause.type for clause in element.clauses]
    values = (f"json({text})" if isinstance(kind, JSON) else text for text, kind in zip(texts, kinds, strict=True))
    return f"json_array({', '.join(values)})"


@compiles(_JsonRow, "postgresql")
def _row_on_postgresql(element: Any, compiler: Any, **options: Any) -> str:
    return f"json_build_array({', '.join(compiler.process(clause, **options) for clause in element.clauses)})"


class _JsonRows(FunctionElement[str]):
    """JSON lists, a row's each, as one; null where there are none."""

    name = "json_rows_of"
    type = Text()
    inherit_cache = True


@compiles(_JsonRows, "sqlite")
def _rows_on_sqlite(element: Any, compiler: Any, **options: Any) -> str:
    return f"json_group_array({compiler.process(element.clauses, **options)})"


@compiles(_JsonRows, "postgresql")
def _rows_on_postgresql(element: Any, compiler: Any, **options: Any) -> str:
    return f"json_agg({compiler.process(element.clauses, **options)})"


class Part(Protocol):
    """Something that is gathered: as JSON, and what is made of that."""

    json: Any

    def read(self, session: Session, found: Any) -> Any:
        """What the JSON says."""


class _Reader:
    """Makes of the values of columns in JSON what the columns give."""

    def __init__(self, columns: Sequence[Any]) -> None:
        readers = [_reader(column.type) for column in columns]
        self._readers = [(at, read) for at, read in enumerate(readers) if read is not None]

    def read(self, values: list[Any]) -> list[Any]:
        for at, read in self._readers:
            if values[at] is not None:
                values[at] = read(values[at])
        return values


def _reader(kind: Any) -> Callable[[Any], Any] | None:
    if isinstance(kind, Moment):
        return _moment
    if isinstance(kind, Date):
        return date.fromisoformat
    if isinstance(kind, Boolean):
        return bool
    return kind.enum_class if isinstance(kind, Enum) else None


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


class Value:
    """One value."""

    def __init__(self, column: Any) -> None:
        self.json, self._reader = _JsonRow(column), _Reader([column])

    def read(self, session: Session, found: Any) -> Any:
        """The value."""
        return self._reader.read(found)[0]


class Entity:
    """A row of the session, or None; of its columns those named, or all."""

    def __init__(self, table: Any, *names: str) -> None:
        mapper = inspect(table).mapper
        self._table = mapper.class_
        self._names = names or tuple(column.key for column in mapper.column_attrs)
        columns = [getattr(table, name) for name in self._names]
        self.json, self._reader = _JsonRow(*columns), _Reader(columns)

    def read(self, session: Session, found: Any) -> Any:
        """The row as it was read just now."""
        values = dict(zip(self._names, self._reader.read(found), strict=True))
        return None if values["id"] is None else rows.known(session, self._table, values)


class Rows:
    """The rows of a statement that looks at what is gathered `beside` it: named tuples, in its order."""

    def __init__(self, found: Select[Any], *beside: Any) -> None:
        inner = found.correlate(*beside).subquery()
        self.json = select(_JsonRows(_JsonRow(*inner.c))).scalar_subquery()
        self._row: Any = namedtuple("_row", [column.key for column in inner.c])  # type: ignore[misc]
        self._reader = _Reader([*inner.c])

    def read(self, session: Session, found: Any) -> list[Any]:
        """The rows."""
        return [self._row._make(self._reader.read(values)) for values in found]


class Gathering:
    """Several parts of one decision, by one statement over one row."""

    def __init__(self, statement: Select[Any], **parts: Part) -> None:
        between = literal_column("','", Text)
        text: Any = literal_column("'['", Text)
        for at, part in enumerate(parts.values()):
            listed = func.coalesce(cast(part.json, Text), literal_column("'[]'"))
            text = (text.concat(between) if at else text).concat(listed)
        text = text.concat(literal_column("']'", Text))
        self._sentence = Sentence(statement.with_only_columns(text, maintain_column_froms=True))
        self._parts = list(parts.values())
        self._found: Any = namedtuple("_found", parts)  # type: ignore[misc]

    def of(self, session: Session, **values: Any) -> Any:
        """What there is, each part under its name; None where the one row is not there."""
        session.flush()
        text = self._sentence.scalar(connection_of(session), values)
        if text is None:
            return None
        found = zip(self._parts, json.loads(text), strict=True)
        return self._found._make([part.read(session, values) for part, values in found])
