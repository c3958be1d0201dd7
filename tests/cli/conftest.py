"""Commands run in this process on the application under test, or on one of its own in a folder of its own."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from flask import Flask
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from library import create_app
from library.database import make_session
from library.extensions import db
from library.models import Base

from .commands import Commands

Run = Callable[..., Result]


def runner(app: Flask) -> Run:
    """Call it with the words of a command for its result; whatever is not a way to exit is raised."""

    def run(*words: object, **options: object) -> Result:
        result = app.test_cli_runner().invoke(args=[str(word) for word in words], **options)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    return run


@pytest.fixture
def run(app: Flask) -> Run:
    """Commands on the migrated database under test."""
    return runner(app)


@pytest.fixture
def commands(app: Flask, tmp_path: Path) -> Commands:
    """Commands in processes of their own, on the database under test."""
    return Commands(app, tmp_path)


@pytest.fixture
def sandbox(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    """The clock of the application under test may be set."""
    monkeypatch.setitem(app.config, "SANDBOX_CLOCK", True)


@pytest.fixture
def app_in(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Flask]]:
    """Call it with an instance folder for an application that lives there."""
    apps: list[Flask] = []
    for name in ("DATABASE_URL", "LIBRARY_DATABASE_URL", "LIBRARY_ENV"):
        monkeypatch.delenv(name, raising=False)

    def make(folder: Path, config_name: str = "development", **settings: object) -> Flask:
        monkeypatch.setenv("LIBRARY_INSTANCE", str(folder))
        apps.append(create_app(config_name, LOG_REQUESTS=False, **settings))
        return apps[-1]

    yield make
    for app in apps:
        with app.app_context():
            db.engine.dispose()


@pytest.fixture(scope="session")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An instance folder that quickstart has filled once; tests work on copies of it."""
    folder = tmp_path_factory.mktemp("filled")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LIBRARY_INSTANCE", str(folder))
        patch.delenv("DATABASE_URL", raising=False)
        app = create_app("development", LOG_REQUESTS=False)
        result = runner(app)("quickstart", "--no-serve")
        with app.app_context():
            db.engine.dispose()
    assert result.exit_code == 0, result.output
    (folder / "printed").write_text(result.output, encoding="utf-8")
    return folder


@pytest.fixture
def instance(filled: Path, tmp_path: Path) -> Path:
    """A filled instance folder of this test's own."""
    return shutil.copytree(filled, tmp_path / "instance")


@pytest.fixture
def demo(app_in, instance):
    """A session on the demo library."""
    with app_in(instance).app_context(), make_session(db.engine) as session:
        yield session


def count(session: Session, noun: type[Base], *conditions: Any) -> int:
    """How many rows there are of a table, or of those that meet the conditions."""
    return session.scalar(select(func.count()).select_from(noun).where(*conditions)) or 0
