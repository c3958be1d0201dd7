"""Where settings are read from: a file of the instance folder, the environment, files that it names, a key kept."""

import logging
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from click import ClickException

BARE_NAMES = ("DATABASE_URL", "SECRET_KEY", "SECRET_KEY_PREVIOUS", "REDIS_URL")
# Read elsewhere: where the library lives, and as what; services for the tests.
NO_SETTINGS = ("LIBRARY_ENV", "LIBRARY_INSTANCE", "LIBRARY_TEST_")

log = logging.getLogger("library")


class ConfigurationError(ClickException):
    """A setting is missing, unsafe or unreadable; the text is one line for the person who starts the server."""


def kept_key(path: Path) -> str:
    """The instance's own key, made on first use and readable by its owner only."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with open(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w", encoding="ascii") as file:
            file.write(secrets.token_urlsafe(48))
    except FileExistsError:
        pass
    return path.read_text(encoding="ascii").strip()


def from_file(path: Path, known: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a file of Python lines, none where there is no file; raises ConfigurationError."""
    if not path.exists():
        return {}
    found: dict[str, Any] = {}
    try:
        exec(compile(path.read_text(encoding="utf-8"), str(path), "exec"), {}, found)
    except Exception as error:  # whatever a line of Python may raise
        raise ConfigurationError(f"settings.cfg cannot be read: {error}") from error
    unknown = sorted(name for name in found if name.isupper() and name not in known)
    if unknown:
        raise ConfigurationError(f"settings.cfg names unknown settings: {', '.join(unknown)}")
    return {name: value for name, value in found.items() if name in known}


def from_environment(known: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that the environment holds, each of the kind of its default; raises ConfigurationError."""
    found = {}
    for name, default in known.items():
        text = _environment_text(f"LIBRARY_{name}")
        if text is None and name in BARE_NAMES:
            text = _environment_text(name)
        if text is not None:
            found[name] = _parsed(name, text, type(default))
    return found


def tell_of_ignored(known: Mapping[str, Any]) -> None:
    """Warn of what stands in the environment as if it were a setting, and is none.

    It is no error: where servers run, others put names of theirs there too, `LIBRARY_PORT` say.
    """
    for name in sorted(os.environ):
        setting = name.removeprefix("LIBRARY_").removesuffix("_FILE")
        if name.startswith("LIBRARY_") and setting not in known and not name.startswith(NO_SETTINGS):
            log.warning("%s is ignored: there is no such setting", name)
        elif name in known and "_" in name and name not in BARE_NAMES and f"LIBRARY_{name}" not in os.environ:
            log.warning("%s is ignored: a setting is read from LIBRARY_%s", name, name)


def _environment_text(name: str) -> str | None:
    path = os.environ.get(f"{name}_FILE")
    if path:
        try:
            return Path(path).read_text(encoding="utf-8").strip()
        except OSError as error:
            raise ConfigurationError(f"{name}_FILE cannot be read: {error.strerror}") from error
    return os.environ.get(name)


def _parsed(name: str, text: str, kind: type) -> Any:
    if kind is bool:
        words = {
            "1": True,
            "true": True,
            "yes": True,
            "on": True,
            "0": False,
            "false": False,
            "no": False,
            "off": False,
        }
        if text.lower() not in words:
            raise ConfigurationError(f"LIBRARY_{name} is {text!r}: write true or false")
        return words[text.lower()]
    if kind is int:
        try:
            return int(text)
        except ValueError:
            raise ConfigurationError(f"LIBRARY_{name} is {text!r}: write a whole number") from None
    return text
