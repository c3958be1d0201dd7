"""Whether a call changed anything: a hash over the rows of all tables, and what an application has committed."""

import hashlib
import threading
from functools import cache

from flask import Flask
from sqlalchemy import Connection, Engine, event, select, text

from library.extensions import db
from library.models import AuditEvent, Base

AUDIT = AuditEvent.__tablename__


def hash_of_tables(engine: Engine, *without: str) -> str:
    """A hash over every row of every table `without` some, and on SQLite over the keys given out so far.

    The audit is left out: what it keeps of a refused call, DocumentedClient counts.
    """
    without = (*without, AUDIT)
    found = hashlib.blake2b()
    with engine.connect() as connection:
        for table in Base.metadata.sorted_tables:
            if table.name not in without:
                found.update(f"\n{table.name}\n".encode())
                for row in connection.execute(select(table).order_by(*table.primary_key)):
                    found.update(repr(tuple(row)).encode())
        if engine.dialect.name == "sqlite":
            for row in connection.execute(text("SELECT name, seq FROM sqlite_sequence ORDER BY name")):
                found.update(repr(tuple(row)).encode() if row.name not in without else b"")
    return found.hexdigest()


class Commits:
    """The writing statements that an engine has committed for this thread, as they come."""

    WRITING = ("INSERT", "UPDATE", "DELETE", "WITH", "TRUNCATE")

    def __init__(self, engine: Engine) -> None:
        self._local = threading.local()
        event.listen(engine, "before_cursor_execute", self._note)
        event.listen(engine, "commit", self._keep)
        event.listen(engine, "rollback", self._drop)

    @property
    def kept(self) -> list[str]:
        """What was committed so far."""
        return self._lists()[1]

    def _lists(self) -> tuple[list[str], list[str]]:
        if not hasattr(self._local, "lists"):
            self._local.lists = [], []
        return self._local.lists

    def _note(self, _connection: Connection, _cursor: object, statement: str, *_: object) -> None:
        if statement.lstrip().upper().startswith(self.WRITING):
            self._lists()[0].append(statement)

    def _keep(self, _connection: Connection) -> None:
        written, kept = self._lists()
        kept.extend(written)
        written.clear()

    def _drop(self, _connection: Connection) -> None:
        self._lists()[0].clear()


@cache
def commits_of(app: Flask) -> Commits:
    """The watch over an application's database; there is one."""
    with app.app_context():
        return Commits(db.engine)
