"""The Flask extensions, unbound: database, migrations, tokens, cache, limiter."""

import hashlib
import time
from collections.abc import Callable
from datetime import timedelta
from logging import Logger
from pathlib import Path
from threading import Lock
from typing import Any, TypeVar

from flask import Flask
from flask_caching import Cache
from flask_jwt_extended import JWTManager
from flask_limiter import Limiter
from flask_limiter.util import get_remote_address
from flask_migrate import Migrate
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy.exc import ArgumentError
from sqlalchemy.orm import Session

from library import windows
from library.config import ConfigurationError
from library.database import engine_options
from library.models import Base, Moment

Answer = TypeVar("Answer")

# Kept by triggers and expressions that the models cannot name: autogenerate must leave them alone.
FULL_TEXT = ("book_search", "ix_books_words")


class Database(SQLAlchemy):
    """Flask-SQLAlchemy, whose scoped session speaks exactly like the session it stands for."""

    session: Session  # type: ignore[assignment]


db = Database(metadata=Base.metadata, session_options={"expire_on_commit": False})
jwt = JWTManager()
cache = Cache()
# It declares no limits of its own: the gate takes one look a request, with this storage and strategy.
limiter = Limiter(get_remote_address, headers_enabled=False)


def render_item(kind: str, item: Any, context: Any) -> str | bool:
    """How a generated migration writes a column type of ours."""
    if kind == "type" and isinstance(item, Moment):
        return "sa.DateTime(timezone=True)"
    return False


def include_name(name: str | None, kind: str, _parents: Any) -> bool:
    """Which names of the database autogenerate may look at."""
    return not (kind in ("table", "index") and name is not None and name.startswith(FULL_TEXT))


migrate = Migrate(render_item=render_item, include_name=include_name, render_as_batch=False, compare_type=True)


def migrations_folder() -> Path:
    """The migrations: the packaged folder where the package was installed, else the clone's."""
    packaged = Path(__file__).parent / "migrations"
    return packaged if packaged.is_dir() else Path(__file__).parent.parent / "migrations"


def init_app(app: Flask) -> None:
    """Translate the settings into each extension's own and bind them to the application."""
    settings = app.config
    url = settings["DATABASE_URL"]
    settings["SQLALCHEMY_DATABASE_URI"] = url
    settings["SQLALCHEMY_ENGINE_OPTIONS"] = engine_options(url, settings["LOCK_TIMEOUT_SECONDS"])
    settings["JWT_SECRET_KEY"] = settings["SECRET_KEY"]
    settings["JWT_ALGORITHM"] = "HS256"
    settings["JWT_ACCESS_TOKEN_EXPIRES"] = timedelta(seconds=settings["ACCESS_TOKEN_SECONDS"])
    settings["JWT_REFRESH_TOKEN_EXPIRES"] = timedelta(seconds=settings["REFRESH_TOKEN_SECONDS"])
    settings["JWT_ENCODE_ISSUER"] = settings["JWT_ENCODE_AUDIENCE"] = "library"
    _init_database(app)
    migrate.init_app(app, db, directory=str(migrations_folder()))
    jwt.init_app(app)
    _init_storage(app)


def _init_database(app: Flask) -> None:
    try:
        db.init_app(app)
    except ModuleNotFoundError as error:
        text = f"DATABASE_URL needs the package {error.name}: install it with pip install 'library-api[postgres]'"
        raise ConfigurationError(text) from error
    except ArgumentError as error:
        raise ConfigurationError("DATABASE_URL is not the URL of a database") from error


class Storage:
    """What limits and cache are kept in: asked while it answers, left alone for a while once it does not.

    Without this every request would wait for a Redis that hangs, several times.
    """

    PAUSE_SECONDS = 2

    def __init__(self, log: Logger) -> None:
        self._lock, self._log = Lock(), log
        self._ask_again_at: float | None = None

    @property
    def answers(self) -> bool:
        """Whether the last question was answered."""
        return self._ask_again_at is None

    def ask(self, question: Callable[[], Answer], otherwise: Callable[[], Answer]) -> Answer:
        """What the storage answers, or what `otherwise` gives while it does not."""
        lost = self._ask_again_at is not None
        if lost and not self._may_try():
            return otherwise()
        try:
            answer = question()
        except Exception as error:  # whatever the storage's client raises
            self._lose(error)
            return otherwise()
        if lost:
            self._find()
        return answer

    def _may_try(self) -> bool:
        with self._lock:
            if self._ask_again_at is None:
                return True
            if time.monotonic() < self._ask_again_at:
                return False
            # This request tries; the others go on without.
            self._ask_again_at = time.monotonic() + self.PAUSE_SECONDS
            return True

    def _lose(self, error: Exception) -> None:
        with self._lock:
            known, self._ask_again_at = self._ask_again_at, time.monotonic() + self.PAUSE_SECONDS
        if known is None:
            text = "storage: no answer (%s): limits count in this worker's memory, pages are made anew"
            self._log.warning(text, type(error).__name__)

    def _find(self) -> None:
        with self._lock:
            known, self._ask_again_at = self._ask_again_at, None
        if known is not None:
            self._log.warning("storage: answers again")


class AsIs:
    """The cache keeps the bytes it is given: the default, pickle, would run whatever others write to Redis."""

    dumps = loads = staticmethod(lambda value: value)


def storage(app: Flask) -> Storage:
    """The storage of an application."""
    return app.extensions["library_storage"]


def _init_storage(app: Flask) -> None:
    """Bind cache and limiter to Redis, or to this process's memory."""
    settings, url = app.config, app.config["REDIS_URL"]
    # Several libraries may share one Redis; one may have the other's database URL, on another host.
    key = hashlib.blake2b(settings["SECRET_KEY"].encode()).digest()
    space = hashlib.blake2b(settings["DATABASE_URL"].encode(), key=key, digest_size=8).hexdigest()
    settings["CACHE_DEFAULT_TIMEOUT"] = settings["CACHE_SECONDS"]
    settings["CACHE_KEY_PREFIX"] = f"library:{space}:page:"
    if url:
        # In the URL, where every version of both extensions finds them; what it says already comes first and wins.
        # The clients never try again by themselves. In version 3 of the protocol a server may stretch time-outs.
        url += ("&" if "?" in url else "?") + "socket_timeout=0.2&socket_connect_timeout=0.1&protocol=2"
        settings |= {"CACHE_TYPE": "RedisCache", "CACHE_REDIS_URL": url}
        settings["RATELIMIT_STORAGE_URI"] = f"redis+{url}" if url.startswith("unix:") else url
        settings["RATELIMIT_STORAGE_OPTIONS"] = {"key_prefix": f"library:{space}:limit"}
    else:
        settings |= {"CACHE_TYPE": "SimpleCache", "CACHE_THRESHOLD": 2000, "RATELIMIT_STORAGE_URI": windows.URI}
    try:
        cache.init_app(app)
        # Who stands here already looks at no request by itself: nothing is limited but by the gate.
        app.extensions["limiter"] = {limiter}
        limiter.init_app(app)
    except (RuntimeError, ValueError) as error:  # the client is not installed; no such scheme or port
        raise ConfigurationError(f"REDIS_URL cannot be used: {error}") from error
    app.extensions["cache"][cache].serializer = AsIs()
    app.extensions["library_storage"] = Storage(app.logger)
