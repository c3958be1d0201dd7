"""The canary walk: whoever is erased is found nowhere: not in the database, its file, Redis, a log, a kept answer."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from canaries import dump_of, file_bytes, found_in, unsaid, write_log_back
from canary_walk import Cast, Walker, texts_of
from documented import document_of
from served import Served
from sqlalchemy import create_engine, select
from test_redis import OwnRedis, own_redis

from library.config import database_url
from library.models import User

PASSWORD = "correct horse battery"


@pytest.fixture(params=["memory", pytest.param("redis", marks=pytest.mark.services)])
def redis(request, tmp_path: Path) -> Iterator[OwnRedis | None]:
    """What limits are counted and pages are kept in: the memory of the server, or a Redis."""
    running = own_redis(tmp_path) if request.param == "redis" else None
    yield running
    if running:
        running.end()


@pytest.fixture
def library(new_database, tmp_path: Path, redis: OwnRedis | None) -> Iterator[tuple[Served, Any]]:
    """A server that writes down every request, on a database of its own, and that database."""
    folder = tmp_path / "instance"
    folder.mkdir()
    settings = {"LIBRARY_LOG_REQUESTS": "true", "LIBRARY_MAIL_URL": f"file://{tmp_path / 'mails'}"}
    settings |= {"LIBRARY_LIMIT_ANONYMOUS": "1000 per day"}
    if redis:
        settings["LIBRARY_REDIS_URL"] = redis.url
    url = new_database()
    served, engine = Served(folder, url, **settings), create_engine(database_url(url, Path()))
    yield served, engine
    engine.dispose()
    served.stop()


def everything_in(redis: OwnRedis) -> bytes:
    """Names and values of all that a Redis holds."""

    def read(client: Any) -> list[bytes]:
        names = client.keys("*")
        assert {client.type(name) for name in names} <= {b"string"}
        return [part for name in names for part in (name, client.get(name) or b"")]

    return b"\n".join(redis.ask(read))


def test_every_column_that_tells_is_said_to_be_personal_or_not():
    assert unsaid() == []


def test_the_search_finds_what_is_there_in_every_form(app, session, make, new_database):
    make.user(first_name="kanari9999vogel")
    assert found_in(dump_of(session.get_bind()), ["kanari9999vogel", "kanari9998vogel"]) == {"kanari9999vogel"}
    assert found_in(b"KANARI9999VOGEL", ["kanari9999vogel"])
    assert found_in(b"kanari9999vogel".hex().encode(), ["kanari9999vogel"])


def test_the_walk_knows_what_takes_words(shared_app):
    texts = set(texts_of(document_of(shared_app)))
    assert {("patch_me", "/phone"), ("renew", "/overrides/*/reason"), ("list_users", "?q")} <= texts
    assert ("create_book", "/year") not in texts


def test_nothing_of_who_was_erased_is_found_anywhere(library, redis, tmp_path: Path):
    served, engine = library
    walker = Walker(served, served.admin(PASSWORD))
    cast = Cast(walker, tmp_path / "mails")

    cast.live()

    there = found_in(dump_of(engine), walker.words)
    last = {word for person in (cast.reader, cast.worker) for word in person.values() if word in walker.words}
    assert there >= last - {cast.reader["password"], cast.worker["password"]}
    assert len(there) > 50
    if engine.dialect.name == "sqlite":
        write_log_back(engine)
        assert found_in(file_bytes(engine), walker.words) >= there

    cast.are_forgotten()
    walker.flask("mail", "send")

    assert walker.missed() == []
    assert found_in(dump_of(engine), walker.words) == set()
    if engine.dialect.name == "sqlite":
        write_log_back(engine)
        assert found_in(file_bytes(engine), walker.words) == set()
    if redis:
        kept = everything_in(redis)
        assert b":limit" in kept
        assert b":page:" in kept
        assert found_in(kept, walker.words) == set()
    served.stop()
    shutil.rmtree(tmp_path / "mails")
    logged = served_log(tmp_path)
    assert b'"route": "/users/<id:user_id>/erase"' in logged or b"/users/<id:user_id>/erase" in logged
    assert found_in(logged + "\n".join(walker.printed).encode(), walker.words) == set()

    with engine.connect() as connection:
        left = connection.execute(select(User.id, User.erased_at).where(User.erased_at.is_not(None))).all()
    assert {row.id for row in left} == {cast.reader_id, cast.worker_id, cast.listed_id}


def served_log(folder: Path) -> bytes:
    """What the server has written anywhere in its folder, the database's own files left out."""
    files = [path for path in (folder / "instance").rglob("*") if path.is_file() and ".sqlite3" not in path.name]
    assert files
    return b"\n".join(path.read_bytes() for path in files)
