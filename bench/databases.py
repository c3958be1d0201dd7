"""Where the tables are: a folder for SQLite, and a server of PostgreSQL; every measuring gets a copy of its own."""

import re
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import make_url, text

from bench import build
from bench.servers import command

# So many books, or the records of a file.
Books = int | Path


def of(books: Books) -> str:
    """What a database with these books is called."""
    return "bench_" + re.sub(r"\W", "_", books.stem.lower() if isinstance(books, Path) else str(books))


def make(url: str, books: Books, folder: Path) -> None:
    """Fill an empty database: with books that are made up, or with a file's, and whoever reads them."""
    if isinstance(books, int):
        return build.build(url, books)
    build.migrate(url)
    command(url, folder, ["-m", "flask", "--app", "library", "catalogue", "import", str(books)])
    build.fill(url, [*build.house(), *build.people(0)])


class SQLite:
    """Databases in a folder; what is there already is not made again."""

    name = "SQLite"

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __enter__(self) -> "SQLite":
        return self

    def __exit__(self, *_: object) -> None:
        """Its files stay, where a folder was named for them."""

    @contextmanager
    def empty(self) -> Iterator[str]:
        """The URL of an empty database, which goes afterwards."""
        with tempfile.TemporaryDirectory(dir=self.folder) as folder:
            yield f"sqlite:///{folder}/library.sqlite3"

    @contextmanager
    def filled(self, books: Books) -> Iterator[str]:
        """The URL of a database with these books, which goes afterwards."""
        kept = self.folder / f"{of(books)}.sqlite3"
        if not kept.exists():
            with self.empty() as url:
                make(url, books, self.folder)
                Path(url.removeprefix("sqlite:///")).rename(kept)
        with self.empty() as url:
            shutil.copyfile(kept, url.removeprefix("sqlite:///"))
            yield url

    def described(self) -> str:
        """Its version, and whether it waits for the disk."""
        return f"SQLite {sqlite3.sqlite_version}, `synchronous=FULL`"


class PostgreSQL:
    """Databases of a server; whoever leaves the block takes those along that copies are made of."""

    name = "PostgreSQL"

    def __init__(self, server: str, folder: Path) -> None:
        self.server, self.folder, self.kept = server, folder, set[str]()

    def __enter__(self) -> "PostgreSQL":
        return self

    def __exit__(self, *_: object) -> None:
        self._say(*(f"DROP DATABASE {name} WITH (FORCE)" for name in self.kept))

    @contextmanager
    def empty(self, template: str = "template0") -> Iterator[str]:
        """The URL of an empty database, or of a copy of another, which goes afterwards."""
        name = f"run_on_{template}"
        self._say(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)", f"CREATE DATABASE {name} TEMPLATE {template}")
        try:
            yield self._url(name)
        finally:
            self._say(f"DROP DATABASE {name} WITH (FORCE)")

    @contextmanager
    def filled(self, books: Books) -> Iterator[str]:
        """The URL of a database with these books, which goes afterwards."""
        if of(books) not in self.kept:
            self._say(f"DROP DATABASE IF EXISTS {of(books)} WITH (FORCE)", f"CREATE DATABASE {of(books)}")
            self.kept.add(of(books))
            make(self._url(of(books)), books, self.folder)
        with self.empty(template=of(books)) as url:
            yield url

    def _url(self, name: str) -> str:
        url = make_url(self.server).set(drivername="postgresql", database=name)
        return url.render_as_string(hide_password=False)

    def _say(self, *statements: str) -> list[str]:
        """What the server answers."""
        engine = build.engine_of(self.server)
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            answers = [connection.execute(text(statement)) for statement in statements]
            said = [str(answer.scalar()) for answer in answers if answer.returns_rows]
        engine.dispose()
        return said

    def described(self) -> str:
        """Its version, and whether it waits for the disk."""
        return "PostgreSQL {}, `fsync={}`".format(*self._say("SHOW server_version", "SHOW fsync"))
