"""Plans: whatever a catalogue grows to, each hot statement asks an index, and sorts no more than a page of rows."""

import json
import re
from typing import Any

import pytest
from factories import START
from sqlalchemy import event, insert, text

from library.database import make_session, transaction
from library.extensions import db
from library.models import Author, Book, BookSubject, Contribution, Identifier, IdentifierScheme, MaterialType, Subject
from library.rules import catalogue

BOOKS, HEADINGS = 10_000, 4_000
GROWING = {"books", "contributions", "book_subjects", "identifiers", "authors", "subjects"}
# What finds the rows of a page or step; the key's own index has another name on each database.
BY_KEY = {"sqlite": "SCAN books", "postgresql": "pk_books"}
IN_KEY = {"sqlite": "PRIMARY KEY (rowid>?)", "postgresql": "pk_books"}
BY_WORD = {"sqlite": "SCAN book_search VIRTUAL TABLE", "postgresql": "ix_books_words"}


def rows_of(number: int) -> dict[Any, dict[str, Any]]:
    """A book, its headings and its links; every hundredth is about whales, every other of the land."""
    title = f"{(number * 7919) % BOOKS:05d} {'whale' if number % 100 == 0 else 'book'}"
    link = {"book_id": number, "position": 1}
    book = {
        "id": number,
        "title": title,
        "title_key": title,
        "year": None if number % 50 == 0 else 1500 + number % 500,
        "language": "eng" if number % 30 else "ger",
        "material_type": MaterialType.BOOK,
        "words": f"{title} {'sea' if number % 2 else 'land'} of somebody who writes {number}",
        "description": "Long enough for a page of the table to hold no more than a few of them. " * 4,
        "created_at": START,
        "updated_at": START,
        "version": 1,
    }
    rows = {
        Book: book,
        Contribution: link | {"author_id": number % HEADINGS + 1},
        BookSubject: link | {"subject_id": number % HEADINGS + 1},
        Identifier: link | {"scheme": IdentifierScheme.OTHER, "value": f"{number:09d}"},
    }
    if number <= HEADINGS:
        heading = {"id": number, "name": f"Heading {number}", "name_key": f"heading {number}", "version": 1}
        rows = {Author: heading | {"dates": ""}, Subject: heading} | rows
    return rows


@pytest.fixture
def grown(app, monkeypatch):
    """A catalogue of so many books, of which the planner has heard."""
    monkeypatch.setitem(app.config, "CACHE_SECONDS", 0)
    # The same statements, where the engine tells of them.
    monkeypatch.setattr(app.extensions["library_fast_path"], "enabled", False)
    with app.app_context():
        engine = db.engine
    session = make_session(engine)
    made = [rows_of(number) for number in range(1, BOOKS + 1)]
    with transaction(session, write=True):
        for table in made[0]:
            session.execute(insert(table), [rows[table] for rows in made if table in rows])
        if engine.dialect.name == "postgresql":
            session.execute(text("ANALYZE"))
    session.close()
    return engine


@pytest.fixture
def plans(grown, as_patron):
    """Call it with an address for the plans of the statements over books that it runs."""

    def explained(path: str) -> list["Plan"]:
        ran: list[tuple[str, Any]] = []
        as_patron.get(path)

        def note(_connection, _cursor, statement: str, parameters: Any, *_) -> None:
            if " books" in statement:
                ran.append((statement, parameters))

        event.listen(grown, "before_cursor_execute", note)
        answer = as_patron.get(path)
        event.remove(grown, "before_cursor_execute", note)
        assert answer.status_code == 200, answer.text
        assert answer.json
        kind = SqlitePlan if grown.dialect.name == "sqlite" else PostgresPlan
        with grown.connect() as connection:
            return [kind(connection, *one) for one in ran]

    return explained


class Plan:
    """The nodes of a plan as texts, which tables it looks through whole, and which of its sorts grow."""

    nodes: list[str]
    scanned: list[str]
    growing_sorts: list[str]


class SqlitePlan(Plan):
    def __init__(self, connection: Any, statement: str, parameters: Any) -> None:
        rows = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters).all()
        texts = {row[0]: row[3] for row in rows}
        self.nodes = [*texts.values()]
        # Along an index, or along the key itself where that is the order, a limit ends the scan.
        self.scanned = [
            line
            for line in self.nodes
            if (found := re.match(r"SCAN (\w+?)(_\d+)?$", line)) and found[1] in GROWING and line != BY_KEY["sqlite"]
        ]
        # At the top the rows of the page are sorted once more, which were looked up; within, rows come from the table.
        self.growing_sorts = [
            line
            for _, parent, _, line in rows
            if line.startswith("USE TEMP B-TREE FOR")
            and any(
                re.match("SCAN books" if parent == 0 else "(SCAN|SEARCH) books", other)
                for _, beside, _, other in rows
                if beside == parent
            )
        ]


class PostgresPlan(Plan):
    def __init__(self, connection: Any, statement: str, parameters: Any) -> None:
        found = connection.exec_driver_sql(f"EXPLAIN (FORMAT JSON) {statement}", parameters).scalar()
        (top,) = found if isinstance(found, list) else json.loads(found)
        self.nodes, self.scanned, self.growing_sorts = [], [], []
        self._see(top["Plan"])

    def _see(self, node: dict[str, Any]) -> None:
        line = " ".join(str(node.get(name, "")) for name in ("Node Type", "Relation Name", "Index Name", "Plan Rows"))
        self.nodes.append(line)
        if node["Node Type"] == "Seq Scan" and node["Relation Name"] in GROWING:
            self.scanned.append(line)
        if "Sort" in node["Node Type"] and node["Plan Rows"] > 2 * catalogue.MOST_RANKED:
            self.growing_sorts.append(line)
        for inner in node.get("Plans", ()):
            self._see(inner)


def index(name: str) -> dict[str, str]:
    return {"sqlite": name, "postgresql": name}


PAGES = {
    "": BY_KEY,
    "&page=400": BY_KEY,
    "&sort=title": index("ix_books_title_key"),
    "&sort=-title&page=20": index("ix_books_title_key"),
    "&sort=year": index("ix_books_year"),
    "&sort=-year": index("ix_books_year"),
    "&sort=created_at": index("ix_books_created_at"),
    "&sort=-updated_at": index("ix_books_updated_at"),
    "&language=ger": index("ix_books_language"),
    "&q=whale": BY_WORD,
    "&q=whale land somebody": BY_WORD,
    "&q=whale&cursor=start": BY_WORD,
    "&q=land somebody": BY_WORD,
}


def test_pages_are_found_by_an_index(plans, grown):
    for query, found_by in PAGES.items():
        (plan,) = plans(f"/books?page_size=20{query}")
        assert any(found_by[grown.dialect.name] in line for line in plan.nodes), (query, plan.nodes)
        assert (plan.scanned, plan.growing_sorts) == ([], []), (query, plan.nodes)


def test_one_book_is_found_by_its_key(plans, grown):
    (plan,) = plans("/books/77")
    key = {"sqlite": "SEARCH books USING INTEGER PRIMARY KEY", "postgresql": "pk_books"}[grown.dialect.name]
    assert any(key in line for line in plan.nodes), plan.nodes
    assert (plan.scanned, plan.growing_sorts) == ([], []), plan.nodes
    # What belongs to it comes out of the index in its order; PostgreSQL rather sorts two or three rows.
    for table in ("contributions", "book_subjects", "identifiers"):
        assert any(f"ix_{table}_book_id_position" in line for line in plan.nodes), plan.nodes


STEPS = {
    "": IN_KEY,
    "&sort=title": index("ix_books_title_key"),
    "&sort=-title": index("ix_books_title_key"),
    "&sort=year": index("ix_books_year"),
    "&sort=-year": index("ix_books_year"),
    "&sort=-created_at": index("ix_books_created_at"),
    "&sort=updated_at": index("ix_books_updated_at"),
}


def test_a_step_of_a_walk_begins_where_the_last_one_ended(plans, grown, as_patron):
    for query, found_by in STEPS.items():
        start = f"/books?page_size=50{query}&cursor="
        (plan,) = plans(f"{start}start")
        assert (plan.scanned, plan.growing_sorts) == ([], []), (query, plan.nodes)
        (plan,) = plans(start + as_patron.get(f"{start}start").headers["X-Next-Cursor"])
        assert any(found_by[grown.dialect.name] in line for line in plan.nodes), (query, plan.nodes)
        assert (plan.scanned, plan.growing_sorts) == ([], []), (query, plan.nodes)
