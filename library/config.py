"""Every setting: its name, type and default; the README's table gives the reasons.

A setting is read, the later winning, from its default here, from `settings.cfg` in the instance folder
(Python syntax), and from the environment: `LIBRARY_<NAME>`, or a file named by `LIBRARY_<NAME>_FILE`.
"""

import os
import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Any, get_type_hints

from limits import parse as parse_limit
from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError

from library.postmen import postman_of
from library.sources import ConfigurationError, from_environment, from_file, kept_key, tell_of_ignored

VERSION = "0.1.0"
SHORTEST_SECRET = 32
NEVER_ZERO = (
    "ACCESS_TOKEN_SECONDS",
    "REFRESH_TOKEN_SECONDS",
    "PASSWORD_MIN_LENGTH",
    "DEEPEST_ROW",
    "LARGEST_BODY",
    "LARGEST_UPLOAD",
)
# As browsers send it: a scheme, a host and maybe a port, without a path.
_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://([a-z0-9.-]+|\[[0-9a-f:]+\])(:\d{1,5})?")
# An address, or a name before it in angle brackets.
_SENDER = re.compile(r"[^\s@<>]+@[^\s@<>]+|[^<>\r\n]*<[^\s@<>]+@[^\s@<>]+>")
_PUBLIC_URL = re.compile(r"https?://[^\s/?#]+(/[^\s?#]*)?")
# How a setting is written that was not understood.
FORMS = {
    "TRUSTED_NETWORKS": "10.0.0.0/8, 192.168.1.17",
    "CORS_ORIGINS": "https://desk.example.org, without a path",
    "DATABASE_URL": "postgresql://library@localhost/library or sqlite:////srv/library.sqlite3",
    "REDIS_URL": "redis://localhost:6379/0",
    "MAIL_URL": "smtp://user:password@host:port, smtps://… or file:///folder",
    "MAIL_FROM": "Town Library <library@example.org>",
    "PUBLIC_URL": "https://library.example.org",
}
UNSAFE_SECRETS = ("change", "secret", "default", "example", "password")


class Default:
    """What holds in every environment unless it says otherwise."""

    DATABASE_URL: str = ""
    SECRET_KEY: str = ""
    SECRET_KEY_PREVIOUS: str = ""
    REDIS_URL: str = ""
    NAME: str = "Library"
    CURRENCY: str = "EUR"
    PUBLIC_CATALOGUE: bool = False
    SELF_REGISTRATION: bool = True
    SELF_REGISTERED_MAY_BORROW: bool = False
    REQUIRE_EMAIL_VERIFICATION: bool = False
    SELF_CHECKOUT: bool = False
    PASSWORD_MIN_LENGTH: int = 8
    REFUSE_COMMON_PASSWORDS: bool = False
    ACCESS_TOKEN_SECONDS: int = 3600
    REFRESH_TOKEN_SECONDS: int = 30 * 24 * 3600
    API_KEY_DAYS: int = 365
    LIMITS_ENABLED: bool = True
    LIMIT_ANONYMOUS: str = "200 per day"
    LIMIT_PATRON: str = "3000 per hour"
    LIMIT_STAFF: str = "60000 per hour"
    LIMIT_LOGIN_PAIR: str = "5 per 10 minutes"
    LIMIT_LOGIN_ADDRESS: str = "50 per 10 minutes"
    LIMIT_REGISTRATION: str = "20 per hour"
    LIMIT_REFRESH: str = "600 per hour"
    LIMIT_MAIL_PAIR: str = "3 per hour"
    LIMIT_MAIL_ADDRESS: str = "20 per hour"
    TRUSTED_NETWORKS: str = ""
    TRUSTED_PROXIES: int = 0
    CORS_ORIGINS: str = ""
    MAIL_URL: str = "console:"
    MAIL_FROM: str = "library@localhost"
    PUBLIC_URL: str = ""
    CACHE_SECONDS: int = 60
    DEEPEST_ROW: int = 100_000
    LARGEST_BODY: int = 256 * 1024
    LARGEST_UPLOAD: int = 100 * 1024 * 1024
    LOCK_TIMEOUT_SECONDS: int = 5
    HISTORY_DAYS: int = 30
    DUE_SOON_DAYS: int = 3
    JOB_RESULTS_DAYS: int = 90
    SANDBOX_CLOCK: bool = False
    LOG_REQUESTS: bool = True
    DEBUG: bool = False
    TESTING: bool = False


class Development(Default):
    """One person at one machine; the key is made once and kept in the instance folder."""


class Testing(Default):
    """The tests: no limits unless a test asks for them, a key of their own."""

    TESTING = True
    SECRET_KEY = "only for tests: never signs anything that matters"
    LIMITS_ENABLED = False
    LOG_REQUESTS = False


class Production(Default):
    """A library's server: refuses to start unsafely."""

    PASSWORD_MIN_LENGTH = 15
    REFUSE_COMMON_PASSWORDS = True
    MAIL_URL = ""


ENVIRONMENTS: Mapping[str, type[Default]] = {
    "development": Development,
    "testing": Testing,
    "production": Production,
}


def instance_folder() -> Path:
    """The folder of the embedded database and local settings: `LIBRARY_INSTANCE`, the clone's, or `./instance`."""
    named = os.environ.get("LIBRARY_INSTANCE")
    if named:
        return Path(named).absolute()
    clone = Path(__file__).parent.parent
    return (clone if (clone / "wsgi.py").exists() else Path.cwd()) / "instance"


def environment(name: str | None) -> type[Default]:
    """The environment of that name; raises ConfigurationError where there is none."""
    name = name or os.environ.get("LIBRARY_ENV") or "development"
    found = ENVIRONMENTS.get(name.removesuffix("Config").lower())
    if found is None:
        raise ConfigurationError(f"there is no environment {name!r}: choose one of {', '.join(ENVIRONMENTS)}")
    return found


def settings_of(default: type[Default]) -> dict[str, Any]:
    """Name → default of every setting of an environment."""
    return {name: getattr(default, name) for name in get_type_hints(Default)}


def configure(target: dict[str, Any], name: str | None, instance: Path, overrides: Mapping[str, Any]) -> None:
    """Fill `target`, an application's configuration, for the environment `name`."""
    default = environment(name)
    settings = settings_of(default)
    settings |= from_file(instance / "settings.cfg", settings)
    settings |= from_environment(settings)
    tell_of_ignored(settings)
    settings |= {key: value for key, value in overrides.items() if key in settings}
    _refuse_unusable(settings)
    if default is Production:
        _refuse_unsafe(settings)
    if not settings["SECRET_KEY"]:
        settings["SECRET_KEY"] = kept_key(instance / "secret_key")
    settings["DATABASE_URL"] = database_url(settings["DATABASE_URL"], instance)
    target.update(settings)
    target.update(overrides)
    target["ENVIRONMENT"] = default.__name__.lower()


def database_url(url: str, instance: Path) -> str:
    """The URL as SQLAlchemy wants it: SQLite in the instance folder where none is set, psycopg 3 for PostgreSQL."""
    if not url:
        instance.mkdir(parents=True, exist_ok=True)
        return f"sqlite:///{instance / 'library.sqlite3'}"
    for prefix in ("postgres://", "postgresql://"):
        if url.startswith(prefix):
            return "postgresql+psycopg://" + url.removeprefix(prefix)
    return url


def _refuse_unusable(settings: Mapping[str, Any]) -> None:
    """A setting that would fail every request later fails the start now."""
    kinds = get_type_hints(Default)
    for name, value in settings.items():
        if type(value) is not kinds[name]:
            raise ConfigurationError(f"{name} is {value!r}: it must be of the kind {kinds[name].__name__}")
        if kinds[name] is int and value < (1 if name in NEVER_ZERO else 0):
            raise ConfigurationError(f"{name} is {value}: it is too small")
    checks: dict[str, Callable[[str], object]] = {name: parse_limit for name in settings if name.startswith("LIMIT_")}
    checks |= {
        "TRUSTED_NETWORKS": networks,
        "CORS_ORIGINS": origins,
        "DATABASE_URL": _check_database,
        "REDIS_URL": _check_redis,
        "MAIL_URL": lambda url: url and postman_of(url),
        "MAIL_FROM": _check_sender,
        "PUBLIC_URL": _check_public_url,
    }
    for name, check in checks.items():
        try:
            check(settings[name])
        except (ValueError, ArgumentError):
            # A URL may hold a password.
            shown = "" if name.endswith("_URL") else f" is {settings[name]!r}: it"
            form = f" (write it like {FORMS[name]})" if name in FORMS else ""
            raise ConfigurationError(f"{name}{shown} cannot be understood{form}") from None


@lru_cache(maxsize=8)
def networks(text: str) -> tuple[IPv4Network | IPv6Network, ...]:
    """The networks that a text names, parted by commas; raises ValueError."""
    return tuple(ip_network(part.strip()) for part in text.split(",") if part.strip())


@lru_cache(maxsize=8)
def origins(text: str) -> frozenset[str]:
    """The origins that a text names, parted by commas, or `*` for any; raises ValueError."""
    named = frozenset(part.strip().lower() for part in text.split(",") if part.strip())
    if named != {"*"} and not all(_ORIGIN.fullmatch(origin) for origin in named):
        raise ValueError(text)
    return named


def _check_database(url: str) -> None:
    if url and make_url(database_url(url, Path())).get_backend_name() not in ("sqlite", "postgresql"):
        raise ValueError(url)


def _check_redis(url: str) -> None:
    if url and not url.startswith(("redis://", "rediss://", "unix://")):
        raise ValueError(url)


def _check_sender(text: str) -> None:
    if not _SENDER.fullmatch(text):
        raise ValueError(text)


def _check_public_url(url: str) -> None:
    if url and not _PUBLIC_URL.fullmatch(url):
        raise ValueError(url)


def secret_keys(settings: Mapping[str, Any]) -> tuple[str, ...]:
    """The key that signs, and behind it the one before, under which what was signed is still believed."""
    keys = settings["SECRET_KEY"], settings["SECRET_KEY_PREVIOUS"]
    return tuple(key for key in keys if key)


def _refuse_unsafe(settings: Mapping[str, Any]) -> None:
    if not settings["SECRET_KEY"]:
        raise ConfigurationError("production needs SECRET_KEY: at least 32 random characters")
    for name in ("SECRET_KEY", "SECRET_KEY_PREVIOUS"):
        if settings[name] and not _is_safe(settings[name]):
            raise ConfigurationError(
                f"{name} is not safe: production needs at least {SHORTEST_SECRET} random characters"
            )
    if not settings["DATABASE_URL"]:
        raise ConfigurationError("production needs DATABASE_URL, for example postgresql://library@localhost/library")
    if settings["DEBUG"] or settings["TESTING"]:
        raise ConfigurationError("production does not run with DEBUG or TESTING on")
    if settings["SANDBOX_CLOCK"]:
        raise ConfigurationError("production keeps real time: it does not run with SANDBOX_CLOCK on")
    if settings["MAIL_URL"] == "console:":
        raise ConfigurationError(
            "production does not print mails, which hold tokens: MAIL_URL needs smtp:// or file:///"
        )
    if settings["REQUIRE_EMAIL_VERIFICATION"] and not settings["MAIL_URL"]:
        raise ConfigurationError("REQUIRE_EMAIL_VERIFICATION needs MAIL_URL: without mail nobody could log in")


def _is_safe(key: str) -> bool:
    guessable = any(word in key.lower() for word in UNSAFE_SECRETS)
    return len(key) >= SHORTEST_SECRET and len(set(key)) >= 10 and not guessable
