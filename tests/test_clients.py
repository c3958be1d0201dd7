"""Clients that others would generate from the document, walking through a served library in their own languages."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nodetools
import pytest
from served import ROOT, Served

pytestmark = pytest.mark.services

CLIENTS = ROOT / "tests" / "clients"
GUIDE = ROOT / "docs" / "clients.md"
ADMIN, PASSWORD = "root", "correct horse battery"
TSC = ("--strict", "--noUncheckedIndexedAccess", "--module", "nodenext", "--target", "es2022", "--lib", "es2022,dom")


@pytest.fixture(scope="module")
def library(new_database, tmp_path_factory) -> Iterator[Served]:
    """A served library with an admin, a librarian and a book."""
    running = Served(tmp_path_factory.mktemp("library"), new_database())
    token = running.admin(PASSWORD)
    staff = {"username": "librarian", "password": PASSWORD, "role": "librarian"}
    assert running.call("POST", "/users", staff, token).status == 201
    assert running.call("POST", "/books", {"title": "The whale", "year": 1851}, token).status == 201
    yield running
    running.stop()


@pytest.fixture(scope="module")
def document(library: Served, tmp_path_factory) -> Path:
    """The derived document, as the command writes it."""
    path = tmp_path_factory.mktemp("document") / "openapi.json"
    library.flask("openapi", "write", str(path))
    return path


def operations(document: Path) -> set[str]:
    return set(re.findall(r'"operationId": "(\w+)"', document.read_text(encoding="utf-8")))


def address(library: Served) -> str:
    return f"http://127.0.0.1:{library.port}"


def blocks(language: str) -> list[str]:
    """The guide's pieces of code in a language."""
    return re.findall(rf"^```{language}\n(.*?)```", GUIDE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


def example(language: str, walk: str, library: Served) -> str:
    """The guide's example in a language, with its walk through all books, for the library that is served here."""
    [code], [further] = blocks(language), blocks(walk)
    lines = [line for line in code.splitlines() if line.strip()]
    assert len(lines) <= 20, f"the {language} example has grown to {len(lines)} lines"
    assert "http://localhost:5000" in code
    assert "page_size" in further
    return code.replace("http://localhost:5000", address(library)) + further


def ran(*command: str, **environment: str) -> str:
    """What a program printed, which the guide's password and nothing of ours was told."""
    told = os.environ | {"LIBRARY_PASSWORD": PASSWORD} | environment
    done = subprocess.run(command, env=told, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    return done.stdout


def retitled(library: Served) -> str:
    """Take back what an example changed, and say what it must print."""
    token = library.log_in(ADMIN, PASSWORD)
    [book] = library.call("GET", "/books?q=whale", token=token).json
    headers = {"If-Match": "*"}
    assert library.call("PATCH", f"/books/{book['id']}", {"subtitle": None}, token, headers).status == 200
    total = library.call("GET", "/books", token=token).headers["X-Total-Count"]
    return f"{book['id']} The whale 1851\nA narrative\nprecondition_failed\n{total}\n"


# --- Python -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def python_client(document: Path, tmp_path_factory) -> Path:
    """The folder of the generated package; the generator may not have a word to say against the document."""
    folder = tmp_path_factory.mktemp("python") / "library-client"
    # It formats what it writes with the ruff that came with it.
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    generate = ["generate", "--path", str(document), "--output-path", str(folder), "--fail-on-warning"]
    printed = ran(sys.executable, "-m", "openapi_python_client", *generate, PATH=path)
    assert printed == f"Generating {folder}\n"
    return folder


def test_the_python_client_has_every_operation_and_names_without_numbers(python_client: Path, document: Path):
    package = python_client / "library_client"
    modules = {path.stem for path in package.glob("api/*/*.py")} - {"__init__"}
    assert modules == operations(document)
    # `Book1`, `LoanTypeType1`: two schemas of one name, or one without.
    assert [path.stem for path in package.glob("models/*.py") if re.search(r"\d", path.stem)] == []
    for path in package.glob("api/*/*.py"):
        code = path.read_text(encoding="utf-8")
        assert path.stem == "__init__" or "from ...models.problem import Problem" in code, path.stem


def test_the_day_in_python(python_client: Path, library: Served):
    # Its clients live as long as the process.
    warned = ("-W", "error", "-W", "ignore::ResourceWarning")
    walk = (str(CLIENTS / "story.py"), address(library), ADMIN, PASSWORD)
    assert ran(sys.executable, *warned, *walk, PYTHONPATH=str(python_client)) == "The day is done.\n"


def test_the_python_of_the_guide(python_client: Path, library: Served, tmp_path: Path):
    script = tmp_path / "first.py"
    script.write_text(example("python", "py", library), encoding="utf-8")
    expected = retitled(library)
    assert ran(sys.executable, str(script), PYTHONPATH=str(python_client)) == expected


# --- TypeScript ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def typescript(document: Path, library: Served, tmp_path_factory) -> Path:
    """The folder of the story, typechecked against the generated types and compiled."""
    folder = tmp_path_factory.mktemp("typescript")
    (folder / "node_modules").symlink_to(nodetools.installed())
    (folder / "package.json").write_text('{"type": "module"}')
    (folder / "story.ts").write_text((CLIENTS / "story.ts").read_text(encoding="utf-8"))
    nodetools.run("openapi-typescript", str(document), "--output", "library.ts", cwd=folder)
    nodetools.run("tsc", *TSC, "--skipLibCheck", "--types", "node", "story.ts", cwd=folder)
    return folder


def test_the_day_in_typescript(typescript: Path, library: Served):
    assert ran("node", str(typescript / "story.js"), address(library), ADMIN, PASSWORD) == "The day is done.\n"


def recipe(library: Served) -> list[list[str]]:
    """The commands by which the guide makes, compiles and runs its TypeScript."""
    lines = [line for block in blocks("sh") for line in block.splitlines() if re.search(r"\b(npm|npx|node) ", line)]
    commands = [command for line in lines for command in line.split(" && ")]
    return [command.replace("http://localhost:5000", address(library)).split() for command in commands]


def test_the_typescript_of_the_guide(library: Served, tmp_path: Path):
    known = json.loads((CLIENTS / "package.json").read_text(encoding="utf-8"))["devDependencies"]
    (tmp_path / "first.ts").write_text(example("typescript", "ts", library), encoding="utf-8")
    expected, made = retitled(library), []
    for program, *arguments in recipe(library):
        if program == "npx":
            nodetools.run(*arguments, cwd=tmp_path)
        elif arguments[0] == "install":
            # What it would install is installed already; only that, so that nothing else helps the compiler.
            for package in [word.removesuffix("@5") for word in arguments[1:] if not word.startswith("--")]:
                assert package in known
                link = tmp_path / "node_modules" / package
                link.parent.mkdir(parents=True, exist_ok=True)
                link.symlink_to(nodetools.installed() / package)
        elif program == "npm":
            subprocess.run([program, *arguments], cwd=tmp_path, check=True, capture_output=True, timeout=120)
        else:
            made.append([program, *arguments])
    assert made == [["LIBRARY_PASSWORD=…", "node", "first.js"]]
    assert ran("node", str(tmp_path / "first.js")) == expected


# --- Postman ------------------------------------------------------------------------------------


def requests(item: dict[str, Any]) -> list[dict[str, Any]]:
    """The requests in a folder of a collection, and in its folders."""
    inner = [request for part in item.get("item", ()) for request in requests(part)]
    return [*inner, item["request"]] if "request" in item else inner


def test_postman_takes_the_document(document: Path, tmp_path: Path):
    collection = tmp_path / "collection.json"
    printed = nodetools.run("openapi2postmanv2", "-s", str(document), "-o", str(collection), cwd=tmp_path)
    assert "Conversion successful" in printed
    converted = json.loads(collection.read_text(encoding="utf-8"))
    made = requests(converted)
    assert len(made) == len(operations(document))
    # The variables that the guide names.
    assert [variable["key"] for variable in converted["variable"]] == ["baseUrl"]
    tokens = {part["value"] for request in made for part in (request.get("auth") or {}).get("bearer", ())}
    assert tokens == {"{{bearerToken}}"}
    assert all(word in GUIDE.read_text(encoding="utf-8") for word in ("`baseUrl`", "`bearerToken`"))
