"""The package as a stranger gets it: built, installed without the clone, upgraded and served from another folder."""

import os
import subprocess
import sys
import tarfile
import time
import zipfile
from collections.abc import Iterator
from email.parser import BytesHeaderParser
from pathlib import Path
from urllib.request import urlopen

import pytest
from served import DEADLINE, ROOT, free_port

from library.config import VERSION

pytestmark = pytest.mark.services

# Of tests, linters and the building of packages: nothing a library needs to run.
TOOLS = {
    "aiosmtpd",
    "build",
    "coverage",
    "grimp",
    "hypothesis",
    "import-linter",
    "jsonschema",
    "mypy",
    "openapi-spec-validator",
    "pip-audit",
    "playwright",
    "pytest",
    "pytest-cov",
    "pytest-xdist",
    "redis",
    "ruff",
    "schemathesis",
    "tox",
    "trustme",
}


def ran(*command: object, **options) -> str:
    """Run a command to its good end; what it printed."""
    words = [str(word) for word in command]
    result = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=300, **options)
    assert result.returncode == 0, result.stdout
    return result.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Path:
    """The folder with the source distribution, and with the wheel that was built out of it."""
    folder = tmp_path_factory.mktemp("dist")
    ran(sys.executable, "-m", "build", "--outdir", folder, ROOT)
    return folder


@pytest.fixture(scope="module")
def wheel(built) -> Path:
    (found,) = built.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory) -> Path:
    """The folder of the programs of an environment that has the wheel, and what it needs, and nothing else."""
    folder = tmp_path_factory.mktemp("stranger")
    ran(sys.executable, "-m", "venv", folder)
    ran(folder / "bin" / "python", "-m", "pip", "install", "-q", wheel)
    return folder / "bin"


@pytest.fixture
def elsewhere(tmp_path, monkeypatch) -> Path:
    """An empty working folder, in an environment without anybody's settings."""
    for name in [*os.environ]:
        if name.startswith(("LIBRARY_", "FLASK_", "PYTHON", "DATABASE_URL", "SECRET_KEY", "REDIS_URL")):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def names_in(path: Path) -> set[str]:
    if path.suffix == ".whl":
        return set(zipfile.ZipFile(path).namelist())
    with tarfile.open(path) as file:
        return {name.partition("/")[2] for name in file.getnames()}


def files_of(folder: str) -> set[str]:
    """The files of a folder of the clone."""
    found = (path.relative_to(ROOT) for path in (ROOT / folder).rglob("*") if path.is_file())
    return {path.as_posix() for path in found if "__pycache__" not in path.parts}


def test_the_wheel_has_all_that_the_clone_has_and_no_more(wheel):
    inside = {name for name in names_in(wheel) if ".dist-info/" not in name}
    assert inside == files_of("library") | {f"library/{name}" for name in files_of("migrations")}


def test_the_source_distribution_has_what_the_wheel_is_made_of(built):
    (source,) = built.glob("*.tar.gz")
    assert files_of("library") | files_of("migrations") <= names_in(source)
    assert {"README.md", "LICENSE", "setup.cfg", "pyproject.toml"} <= names_in(source)


def test_the_metadata_name_one_version_and_no_host(wheel):
    with zipfile.ZipFile(wheel) as file:
        (name,) = [name for name in file.namelist() if name.endswith(".dist-info/METADATA")]
        metadata = BytesHeaderParser().parsebytes(file.read(name))
    assert (metadata["Name"], metadata["Version"]) == ("library-api", VERSION)
    assert metadata["Requires-Python"] == ">=3.11"
    assert metadata["License"] or metadata["License-Expression"]
    assert metadata.get_all("Project-URL") is None
    assert metadata["Home-page"] is None


def test_a_stranger_gets_no_tool_of_ours(installed):
    frozen = ran(installed / "python", "-m", "pip", "list", "--format=freeze").lower()
    names = {line.partition("==")[0].replace("_", "-") for line in frozen.splitlines()}
    assert {"library-api", "flask", "flask-smorest", "sqlalchemy", "granian"} <= names
    assert names & TOOLS == set()
    assert not any(name.startswith("pytest") for name in names)


def wait_for(port: int, server: subprocess.Popen, log: Path) -> None:
    """Return once the server is ready; tell the log of one that does not come up."""
    end = time.monotonic() + DEADLINE
    while time.monotonic() < end and server.poll() is None:
        try:
            with urlopen(f"http://127.0.0.1:{port}/health/ready", timeout=DEADLINE):
                return
        except OSError:
            time.sleep(0.05)
    raise AssertionError(log.read_text())


@pytest.fixture
def running(installed, elsewhere) -> Iterator[int]:
    """The port of the server of the installed package, in a folder with an upgraded database."""
    ran(installed / "flask", "--app", "library", "db", "upgrade")
    assert (elsewhere / "instance" / "library.sqlite3").exists()
    port = free_port()
    options = ["--interface", "wsgi", "--factory", "--port", str(port), "library.serving:load"]
    with (elsewhere / "log").open("w") as log:
        server = subprocess.Popen([installed / "granian", *options], stdout=log, stderr=log)
        try:
            wait_for(port, server, elsewhere / "log")
            yield port
        finally:
            server.terminate()
            server.wait(DEADLINE)


def test_it_upgrades_its_database_and_serves_from_another_folder(running):
    for path, piece in (
        ("/health/ready", b"ok"),
        ("/library", b'"version":"' + VERSION.encode()),
        ("/openapi.json", b'"openapi"'),
        ("/docs", b"<html"),
        ("/docs/assets/swagger_bundle.js", b"swagger"),
    ):
        with urlopen(f"http://127.0.0.1:{running}{path}", timeout=DEADLINE) as answer:
            assert piece in answer.read().lower(), path


def test_the_demo_comes_along_and_stays_in_its_instance(installed, elsewhere):
    place = elsewhere / "a place of its own"
    environment = dict(os.environ, LIBRARY_INSTANCE=str(place))
    ran(installed / "flask", "--app", "library", "quickstart", "--no-serve", env=environment)
    assert {"library.sqlite3", "quickstart.json"} <= {path.name for path in place.iterdir()}
    assert [path.name for path in elsewhere.iterdir()] == [place.name]


def test_it_is_typed_for_those_who_import_it(installed, elsewhere):
    code = "import library, pathlib; print(pathlib.Path(library.__file__).with_name('py.typed').exists())"
    assert ran(installed / "python", "-c", code).strip() == "True"


def test_every_requirement_has_a_floor(tmp_path):
    ran(sys.executable, ROOT / ".ci" / "floors", tmp_path / "floors")
    floors = (tmp_path / "floors").read_text().splitlines()
    assert len(floors) == len({floor.partition("==")[0] for floor in floors})
