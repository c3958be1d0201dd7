"""The Flask extensions, unbound: database, migrations, tokens, cache, limiter."""

import hashlib
from datetime import timedelta
from pathlib import Path
from typing import Any

from flask import Flask
from flask_caching import Cache
from flask_jwt_extended import JWTManager
from flask_limiter import Limiter
from flask_limiter.util import get_remote_address
from flask_migrate import Migrate
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy.orm import Session

from library.database import engine_options
from library.models import Base, Moment

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
    settings["JWT_ENCODE_ISSUER"] = settings["JWT_DECODE_ISSUER"] = "library"
    settings["JWT_ENCODE_AUDIENCE"] = settings["JWT_DECODE_AUDIENCE"] = "library"
    settings["RATELIMIT_STORAGE_URI"] = settings["REDIS_URL"] or "memory://"
    settings["RATELIMIT_IN_MEMORY_FALLBACK_ENABLED"] = bool(settings["REDIS_URL"])
    # Two libraries may share one Redis.
    settings["CACHE_SPACE"] = hashlib.blake2b(url.encode(), digest_size=8).hexdigest()
    settings["CACHE_DEFAULT_TIMEOUT"] = settings["CACHE_SECONDS"]
    if settings["REDIS_URL"]:
        settings |= {
            "CACHE_TYPE": "RedisCache",
            "CACHE_REDIS_URL": settings["REDIS_URL"],
            "CACHE_KEY_PREFIX": "library:",
        }
        settings["CACHE_OPTIONS"] = {"socket_timeout": 0.1, "socket_connect_timeout": 0.1}
        settings["RATELIMIT_STORAGE_OPTIONS"] = {"socket_timeout": 0.1, "socket_connect_timeout": 0.1}
    else:
        settings |= {"CACHE_TYPE": "SimpleCache", "CACHE_THRESHOLD": 2000}
    db.init_app(app)
    migrate.init_app(app, db, directory=str(migrations_folder()))
    jwt.init_app(app)
    cache.init_app(app)
    limiter.init_app(app)
