"""Commands run in this process on the application under test, or on one of its own in a folder of its own."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import Result
from flask import Flask

from library import create_app
from library.extensions import db

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
