"""The bench does not rot: all its peers still answer what the library answers, on the tables as they are now."""

import importlib
import json
import re
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import jwt
import pytest
from served import ROOT, Answer
from werkzeug.test import Client

from library import create_app

for package in ("asyncpg", "fastapi", "orjson"):
    pytest.importorskip(package, reason="the extra `bench` is not installed")
testclient = pytest.importorskip("starlette.testclient", reason="the extra `bench` is not installed")

sys.path.insert(0, str(ROOT))

from bench import __main__ as bench  # noqa: E402
from bench import build, check, layers, load, parts, servers, tables  # noqa: E402

BOOKS = 400


class InProcess:
    """An application that is called like a server."""

    def __init__(self, kind: servers.Kind, client: Any) -> None:
        self.kind, self.client = kind, client

    def call(self, method: str, path: str, body: Any = None, token: str = "") -> Answer:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        if isinstance(self.client, Client):
            found = self.client.open(path, method=method, headers=headers, json=body)
            return Answer(found.status_code, found.headers, found.data)
        found = self.client.request(method, path, headers=headers, json=body)
        return Answer(found.status_code, found.headers, found.content)

    def logged(self) -> str:
        return ""


class Liar(InProcess):
    """One that answers otherwise: `lie` is what is said instead of a text."""

    lie = (b"", b"")

    def call(self, *asked: Any) -> Answer:
        told = super().call(*asked)
        return Answer(told.status, told.headers, told.data.replace(*self.lie))


@pytest.fixture(scope="module")
def url(new_database: Any) -> str:
    """A small library of the bench's own."""
    url = new_database()
    build.build(url, BOOKS)
    return url.replace("postgresql+psycopg://", "postgresql://")


@pytest.fixture(scope="module")
def everybody(url: str) -> Iterator[list[InProcess]]:
    """The library and its peers, on that database."""
    with pytest.MonkeyPatch.context() as patch, ExitStack() as stack:
        patch.setenv("BENCH_DATABASE_URL", url)
        patch.setenv("BENCH_SECRET", build.SECRET)
        settings = {"PUBLIC_CATALOGUE": True, "CACHE_SECONDS": 0}
        ours = create_app("testing", DATABASE_URL=url, SECRET_KEY=build.SECRET, **settings)
        apps = [InProcess(servers.OURS, Client(ours))]
        for kind in servers.kinds(url)[2:]:
            app = importlib.import_module(kind.target.partition(":")[0]).app
            client = Client(app) if kind.interface == "wsgi" else stack.enter_context(testclient.TestClient(app))
            apps.append(InProcess(kind, client))
        yield apps
        importlib.import_module("bench.floor").close()
        for app in (ours, apps[-1].client.application):
            with app.app_context():
                app.extensions["sqlalchemy"].engine.dispose()


def test_the_peers_answer_what_the_library_answers(everybody: list[InProcess], url: str) -> None:
    assert check.answers_alike(everybody, BOOKS, url) > 200  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("told", "instead", "call"),
    [
        (b" Press", b" Verlag", "GET /books"),
        (b'"shelve"', b'"send"', "check-in"),
    ],
)
def test_a_difference_ends_the_run(
    everybody: list[InProcess], url: str, told: bytes, instead: bytes, call: str
) -> None:
    lying = Liar(everybody[1].kind, everybody[1].client)
    lying.lie = (told, instead)
    with pytest.raises(check.Different, match=f"floor answers {call}"):
        check.answers_alike([everybody[0], lying], BOOKS, url)  # type: ignore[list-item]


def test_rows_that_differ_end_the_run(everybody: list[InProcess], url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    statements = importlib.import_module("bench.raw").STATEMENTS
    careless = [re.sub("returned_branch_id = [^,]*,", "", statement) for statement in statements.take_back]
    monkeypatch.setattr(statements, "take_back", careless)
    with pytest.raises(check.Different, match="floor answers rows of the loan otherwise"):
        check.answers_alike(everybody[:2], BOOKS, url)  # type: ignore[arg-type]


def test_what_is_asked_for_one_by_one_is_answered(everybody: list[InProcess], url: str) -> None:
    ours = everybody[0]
    for task in parts._alone(BOOKS, url):
        for _, method, path, token, _ in task.lines[:2]:
            assert ours.call(method, path, None, token).status == 200, path
    (cursor,) = parts._cursors(url, [200])
    assert json.loads(ours.call("GET", f"/books?cursor={cursor}&page_size=1").data)[0]["id"] == 201


def test_the_layers_make_up_the_whole(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layers, "WARMING", 2)
    monkeypatch.setattr(layers, "PROFILED", 2)
    desk = layers.layers(url, load.desk(1).lines, 2)
    whole = desk.pop("the whole")
    assert sum(desk.values()) == pytest.approx(whole)
    assert desk["driver and database"] > 0


def test_the_library_is_the_same_every_time() -> None:
    def books() -> str:
        return json.dumps([list(rows) for table, rows in build.tables(BOOKS) if table.__tablename__ == "books"])

    assert books() == books()


def test_what_is_asked_for_is_drawn_and_the_same_every_time() -> None:
    def asked() -> dict[str, list[Any]]:
        return {task.name: [(path, said(token)) for _, _, path, token, _ in task.lines] for task in load.reads(100_000)}

    def said(token: str) -> str:
        return jwt.decode(token, options={"verify_signature": False})["sub"] if token else ""

    assert asked() == asked()
    assert [name for name, lines in asked().items() if len(set(lines)) < 100] == []


def test_each_desk_lends_its_own_copies_to_its_own_patrons() -> None:
    seen: dict[str, set[int]] = {}
    for desk, _, _, token, body in load.desk(build.DESKS).lines:
        for thing in (token, *json.loads(body).values()):
            seen.setdefault(thing, set()).add(desk)
    assert {len(desks) for desks in seen.values()} == {1}
    assert set.union(*seen.values()) == {*range(1, build.DESKS + 1)}


def test_a_table_takes_the_place_of_the_one_before(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("Said before.\n")
    for name, lines in (("a", ["1"]), ("b", ["2"]), ("a", ["3", "4"])):
        bench.put(name, lines, page)
    marked = ("<!-- a: begin -->\n3\n4\n<!-- a: end -->\n", "<!-- b: begin -->\n2\n<!-- b: end -->\n")
    assert page.read_text() == "Said before.\n\n" + "\n".join(marked)


def test_a_tenth_of_a_file_ends_with_a_record(tmp_path: Path) -> None:
    record = b"00030" + b"x" * 24 + b"\x1d"
    whole = tmp_path / "whole.mrc"
    whole.write_bytes(record * 100)
    assert parts._tenth(whole, tmp_path).read_bytes() == record * 10


def test_more_than_one_is_better_than_the_others() -> None:
    def figures(per_second: float, processor: float) -> load.Figures:
        return load.Figures(per_second, 1, 2, processor, 0)

    measured = {"list": {"library, bare": figures(300, 10), "FastAPI": figures(100, 40)}}
    assert "| times FastAPI | 3.00 |" in tables.ratios("", measured, lambda one: one.per_second)
    assert "| times FastAPI | 4.00 |" in tables.ratios("", measured, lambda one: 1 / one.processor)
