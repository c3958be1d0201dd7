"""Single rows, known to the session without being loaded and written without its unit of work.

They are rows of the session all the same: what was not read is loaded when it is looked at.
"""

from functools import cache
from typing import Any, TypeVar

from sqlalchemy import bindparam, insert, inspect, update
from sqlalchemy.orm import Session, attributes, make_transient_to_detached, scoped_session
from sqlalchemy.orm.exc import StaleDataError

from library.models import Base
from library.rules.sentences import Sentence, connection_of

Noun = TypeVar("Noun", bound=Base)


def refer(session: Session, table: type[Noun], key: int) -> Noun:
    """The row with that key, which is there: nothing of it is read before it is looked at."""
    row: Any = session.identity_map.get(_identity(table, key))
    return known(session, table, {"id": key}) if row is None else row


def known(session: Session, table: type[Noun], values: dict[str, Any]) -> Noun:
    """The row of the session with that `id`, these columns as they were read just now; others are read when asked."""
    session = _own(session)
    row: Any = session.identity_map.get(_identity(table, values["id"]))
    if row is None:
        row = _mapper(table).class_manager.new_instance()
        row.__dict__.update(values)
        return _persistent(session, row)
    related = [relation.key for relation in _mapper(table).relationships if relation.key in row.__dict__]
    if related:
        session.expire(row, related)
    for name, value in values.items():
        attributes.set_committed_value(row, name, value)
    return row


@cache
def _mapper(table: type[Base]) -> Any:
    return inspect(table)


def _identity(table: type[Base], key: int) -> Any:
    return _mapper(table).identity_key_from_primary_key((key,))


@cache
def _columns(table: type[Base]) -> frozenset[str]:
    return frozenset(column.key for column in inspect(table).column_attrs)


def _own(session: Session) -> Session:
    """The session itself, where it is handed on as this thread's."""
    return session() if isinstance(session, scoped_session) else session


def _persistent(session: Session, row: Any) -> Any:
    """Make the session know a row that is in the database, as the loader of SQLAlchemy does."""
    state: Any = attributes.instance_state(row)
    if row.__dict__.keys() >= _columns(state.class_):
        state.key = _identity(state.class_, row.id)
    else:
        # What is missing is read when it is looked at.
        make_transient_to_detached(row)
    state.session_id = session.hash_key
    session.identity_map.add(state)
    return row


@cache
def _writing(table: Any) -> tuple[Sentence, Sentence, list[tuple[str, Any]]]:
    """The statement that writes a row, the same that tells its key, and what stands in columns that are not named."""
    columns = [column for column in table.__table__.columns if not column.primary_key]
    named = insert(table.__table__).values({column.key: bindparam(column.key, type_=column.type) for column in columns})
    defaults = [(column.key, column.default) for column in columns]
    return Sentence(named), Sentence(named.returning(table.__table__.c.id)), defaults


def insert_row(session: Session, table: type[Noun], **values: Any) -> Noun:
    """Write a new row; it is one of the session's afterwards."""
    session = _own(session)
    write, write_and_tell, defaults = _writing(table)
    for name, default in defaults:
        if name not in values:
            values[name] = None if default is None else default.arg(None) if default.is_callable else default.arg
    connection = connection_of(session)
    is_told = connection.dialect.name == "sqlite"
    key: Any = write.run(connection, values).lastrowid if is_told else write_and_tell.scalar(connection, values)
    row: Any = _mapper(table).class_manager.new_instance()
    row.__dict__.update(values, id=key)
    # As after a flush: a roll-back takes it out of the session.
    made: Any = session.get_nested_transaction() or session.get_transaction()
    made._new[attributes.instance_state(row)] = True
    return _persistent(session, row)


@cache
def _changing(table: Any, names: frozenset[str]) -> Sentence:
    columns = table.__table__.c
    changed = {name: bindparam(name, type_=columns[name].type) for name in sorted(names)}
    there = (columns.id == bindparam("_key"), columns.version == bindparam("_version"))
    return Sentence(update(table.__table__).where(*there).values(changed | {"version": columns.version + 1}))


def update_row(session: Session, row: Any) -> None:
    """Write what was changed in columns of one row, as a flush would, and nothing of its relationships.

    StaleDataError where another changed it meanwhile.
    """
    session = _own(session)
    state: Any = inspect(row)
    columns = _columns(state.class_)
    was = state.committed_state
    changed = {name: state.dict[name] for name, old in was.items() if name in columns and old != state.dict[name]}
    if changed:
        there = {"_key": row.id, "_version": row.version}
        sentence = _changing(state.class_, frozenset(changed))
        if sentence.run(connection_of(session), changed | there).rowcount != 1:
            raise StaleDataError(f"a row of {state.class_.__tablename__} has changed meanwhile")
        attributes.set_committed_value(row, "version", row.version + 1)
    state._commit_all(state.dict, session.identity_map)
    # As after a flush: a savepoint that is rolled back takes the values with it.
    made: Any = session.get_nested_transaction() or session.get_transaction()
    made._dirty[state] = True
