"""Lists: pages and what they say of themselves, walks by cursor, orders, parameters, and records shown in full."""

import json
import re
import threading
import time
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

import pytest
from factories import START, Factories
from flask.testing import FlaskClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, func, insert, select, text
from test_house import populate, subclasses
from walking_lists import links_of, lists, operations, turned, walk, words_of

from library.api.plumbing import cursors, totals
from library.api.plumbing.expansion import Expanded
from library.api.plumbing.schemas import Schema
from library.database import make_session, transaction
from library.extensions import db
from library.models import Book, Job, JobKind, JobState, MaterialType, Role, Subject
from library.rules import access

ROWS = 10_000
DEADLINE = 60


@pytest.fixture
def quick(app, as_admin) -> FlaskClient:
    """The admin with a client that does not hold every answer against the document: for many calls."""
    client = FlaskClient(app, app.response_class)
    client.environ_base["HTTP_AUTHORIZATION"] = f"Bearer {as_admin.token}"
    return client


def pagination(answer: Any) -> dict[str, Any]:
    return json.loads(answer.headers["X-Pagination"])


def fault(answer: Any) -> tuple[int, str, str]:
    (error,) = answer.json["errors"]
    return answer.status_code, error["code"], error["parameter"]


# Pages


def test_pages_say_where_they_lie(as_patron, make):
    for _ in range(25):
        make.subject()
    answer = as_patron.get("/subjects?page=2&q=subject")
    assert answer.headers["X-Total-Count"] == "25"
    assert pagination(answer) == {
        "total": 25,
        "total_is": "exact",
        "page": 2,
        "total_pages": 3,
        "first_page": 1,
        "previous_page": 1,
        "next_page": 3,
        "last_page": 3,
    }
    assert links_of(answer) == {
        relation: f"/subjects?q=subject&page={page}&page_size=10"
        for relation, page in (("first", 1), ("prev", 1), ("next", 3), ("last", 3))
    }
    assert "X-Next-Cursor" not in answer.headers


def test_a_page_past_the_end_is_empty_and_leads_back(as_patron, make):
    for _ in range(3):
        make.subject()
    answer = as_patron.get("/subjects?page=9&page_size=2")
    assert (answer.status_code, answer.json) == (200, [])
    assert pagination(answer)["previous_page"] == 2
    assert links_of(answer) == {
        relation: f"/subjects?page={page}&page_size=2" for relation, page in (("first", 1), ("prev", 2), ("last", 2))
    }


def test_an_empty_list_leads_nowhere(as_patron):
    answer = as_patron.get("/subjects")
    assert answer.json == []
    assert pagination(answer) == {"total": 0, "total_is": "exact", "page": 1, "total_pages": 0}
    assert "Link" not in answer.headers


def test_rows_are_counted_as_far_as_pages_go(app, as_patron, make, monkeypatch):
    monkeypatch.setitem(app.config, "DEEPEST_ROW", 5)
    for _ in range(5):
        make.subject()
    answer = as_patron.get("/subjects?page_size=5")
    assert (answer.headers["X-Total-Count"], pagination(answer)["total_is"]) == ("5", "exact")
    for _ in range(4):
        make.subject()
    answer = as_patron.get("/subjects?page_size=2&page=2")
    assert "X-Total-Count" not in answer.headers
    # More than 5: how many more is not counted. No page beyond the fifth row is linked to, a walk goes on there.
    assert pagination(answer) == {
        "total": 6,
        "total_is": "at_least",
        "page": 2,
        "first_page": 1,
        "previous_page": 1,
    }
    assert set(links_of(answer)) == {"first", "prev", "next"}
    assert fault(as_patron.get("/subjects?page_size=2&page=3")) == (422, "page_too_deep", "page")
    assert len([row for rows in walk(as_patron, "/subjects", size=2) for row in rows]) == 9


@pytest.mark.parametrize("path", ["/subjects", "/authors", "/books"])
def test_a_kept_total_follows_every_change(app, as_librarian, monkeypatch, path):
    monkeypatch.setitem(app.config, "CACHE_SECONDS", 0)

    def total() -> str:
        return as_librarian.get(path).headers["X-Total-Count"]

    member = "title" if path == "/books" else "name"
    for number in range(1, 4):
        made = as_librarian.post(path, json={member: f"Number {number}"})
        assert (total(), total()) == (str(number), str(number))
    as_librarian.change(made.headers["Location"], "DELETE")
    assert total() == "2"
    refused = as_librarian.post("/subjects", json={"name": "x" * 5000})
    assert (refused.status_code, total()) == (422, "2")


def test_what_was_written_by_other_hands_is_counted_after_a_while(app, as_patron, make, session, monkeypatch):
    monkeypatch.setitem(app.config, "CACHE_SECONDS", 0)
    make.subject()
    assert as_patron.get("/subjects").headers["X-Total-Count"] == "1"
    with transaction(session, write=True):
        session.execute(insert(Subject), [{"name": "By hand", "name_key": "by hand", "version": 1}])
    assert as_patron.get("/subjects").headers["X-Total-Count"] == "1"
    later = time.monotonic() + totals.SECONDS + 1
    monkeypatch.setattr(totals.time, "monotonic", lambda: later)
    assert as_patron.get("/subjects").headers["X-Total-Count"] == "2"


@pytest.mark.parametrize("query", ["page_size=4", "page_size=4&sort=-name"])
def test_who_follows_the_links_comes_to_the_end_of_any_list(app, as_patron, make, monkeypatch, query):
    keys = {make.subject().id for _ in range(9)}
    monkeypatch.setitem(app.config, "DEEPEST_ROW", 10)
    answer = as_patron.get(f"/subjects?{query}&page=2")
    assert (answer.headers["X-Total-Count"], pagination(answer)["total_pages"]) == ("9", 3)
    assert "last_page" not in pagination(answer)
    assert set(links_of(answer)) == {"first", "prev", "next"}
    answer, seen = as_patron.get(f"/subjects?{query}"), []
    while True:
        seen += [row["id"] for row in answer.json]
        if "next" not in links_of(answer):
            break
        answer = as_patron.get(links_of(answer)["next"])
    assert len(seen) == 9
    assert set(seen) == keys


def test_the_order_of_repeated_values_tells_kept_pages_apart(app, as_patron, make):
    for title, year in (("B", 1900), ("A", 1950), ("A", 1900)):
        make.book(title=title, year=year)

    def rows(query):
        return [(row["title"], row["year"]) for row in as_patron.get(f"/books?{query}").json]

    assert rows("sort=title&sort=year") == [("A", 1900), ("A", 1950), ("B", 1900)]
    assert rows("sort=year&sort=title") == [("A", 1900), ("B", 1900), ("A", 1950)]


# Walks


def test_a_walk_goes_on_by_header_or_link(as_patron, make):
    keys = [make.subject().id for _ in range(5)]
    first = as_patron.get("/subjects?cursor=start&page_size=2&q=subject")
    assert [row["id"] for row in first.json] == keys[:2]
    assert set(links_of(first)) == {"next"}
    second = as_patron.get(links_of(first)["next"])
    onward = {"cursor": first.headers["X-Next-Cursor"], "q": "subject", "page_size": 3}
    assert [row["id"] for row in second.json] == keys[2:4]
    last = as_patron.get("/subjects", query_string=onward)
    assert [row["id"] for row in last.json] == keys[2:]
    assert "X-Next-Cursor" not in last.headers
    assert "Link" not in last.headers


def test_a_step_answers_304_with_its_headers(as_patron, make):
    for _ in range(3):
        make.subject()
    for _ in range(2):
        step = as_patron.get("/subjects?cursor=start&page_size=2")
        again = as_patron.get("/subjects?cursor=start&page_size=2", headers={"If-None-Match": step.headers["ETag"]})
        assert again.status_code == 304
        for name in ("ETag", "Link", "X-Next-Cursor"):
            assert again.headers[name] == step.headers[name]


def test_kept_steps_and_pages_do_not_mix(as_patron, make):
    for _ in range(3):
        make.subject()
    onward = as_patron.get("/subjects?cursor=start&page_size=2").headers["X-Next-Cursor"]
    for _ in range(2):
        assert len(as_patron.get("/subjects?page_size=2").json) == 2
        assert len(as_patron.get(f"/subjects?page_size=2&cursor={onward}").json) == 1
        assert "X-Total-Count" in as_patron.get("/subjects?page_size=2").headers


def test_cursor_and_page_exclude_each_other(as_patron):
    assert fault(as_patron.get("/subjects?cursor=start&page=1")) == (422, "conflict", "cursor")


def test_a_cursor_goes_with_its_list_its_filters_and_its_order(as_librarian, make):
    for _ in range(3):
        make.book(year=2000)
    start = "/books?cursor=start&page_size=1&year_min=1999&sort=title,-year"
    cursor = as_librarian.get(start).headers["X-Next-Cursor"]
    same = [
        f"/books?cursor={cursor}&year_min=1999&sort=title,-year",
        f"/books?sort=title&sort=-year&page_size=2&year_min=1999&cursor={cursor}",
    ]
    for path in same:
        assert as_librarian.get(path).status_code == 200
    others = [
        f"/books?cursor={cursor}",
        f"/books?cursor={cursor}&year_min=1999",
        f"/books?cursor={cursor}&year_min=1999&sort=title",
        f"/books?cursor={cursor}&year_min=1999&sort=title,year",
        f"/books?cursor={cursor}&year_min=1998&sort=title,-year",
        f"/books?cursor={cursor}&year_min=1999&year_max=2001&sort=title,-year",
        f"/subjects?cursor={cursor}",
        f"/loans?cursor={cursor}",
    ]
    for path in others:
        assert fault(as_librarian.get(path)) == (422, "cursor_not_valid", "cursor"), path


def test_a_cursor_that_was_tampered_with_is_refused(as_librarian, make):
    for _ in range(3):
        make.subject()
    cursor = as_librarian.get("/subjects?cursor=start&page_size=1&sort=name").headers["X-Next-Cursor"]
    body, signature = cursor.rsplit(".", 1)
    other = "A" if body[5] != "A" else "B"
    spoilt = [f"{body[:5]}{other}{body[6:]}.{signature}", f"{body}.", body, f"{cursor}x", "Start", "1", ".", "é", "[]"]
    for cursor in spoilt:
        answer = as_librarian.get("/subjects", query_string={"cursor": cursor, "sort": "name"})
        assert fault(answer) == (422, "cursor_not_valid", "cursor"), cursor


def test_a_cursor_of_another_library_is_refused(migrated, as_librarian, make):
    for _ in range(3):
        make.subject()
    cursor = as_librarian.get("/subjects?cursor=start&page_size=1").headers["X-Next-Cursor"]
    other = migrated(PUBLIC_CATALOGUE=True, SECRET_KEY="of another library, and as long as a key should be")
    assert fault(other.test_client().get(f"/subjects?cursor={cursor}")) == (422, "cursor_not_valid", "cursor")


def test_a_patron_walks_their_own_rows_only(signed_in, make):
    pat, other = make.user(), make.user()
    mine = [make.hold(patron=pat).id for _ in range(3)]
    for _ in range(3):
        make.hold(patron=other)
    client = signed_in(pat)
    assert [row["id"] for rows in walk(client, "/holds", size=1) for row in rows] == mine
    # What staff were given leads a patron through their own rows all the same.
    onward = signed_in(make.librarian()).get("/holds?cursor=start&page_size=1").headers["X-Next-Cursor"]
    assert {row["patron_id"] for row in client.get(f"/holds?cursor={onward}").json} == {pat.id}


def test_a_walk_equals_the_pages_of_every_list(app, quick, make):
    librarian = make.librarian()
    populate(make, librarian)
    several = 0
    for path, operation in lists(app, librarian.id).items():
        for order in [{}, *({"sort": word} for word in words_of(operation, "sort") if word.startswith("-"))]:
            pages = turned(quick, path, **order)
            size = max(5, len(pages) // 3)
            steps = list(walk(quick, path, size=size, **order))
            assert [row for rows in steps for row in rows] == pages, (path, order)
            assert all(len(rows) == size for rows in steps[:-1])
            several += len(steps) > 1
    assert several > 30


MOMENTS = st.none() | st.integers(0, 3).map(lambda hours: START + timedelta(hours=hours))
SORTS = ("created_at", "started_at", "ended_at")
ORDERS = st.lists(st.tuples(st.sampled_from(SORTS), st.booleans()), max_size=3, unique_by=lambda one: one[0])


def in_plain_python(rows: list[dict[str, Any]], order: list[tuple[str, bool]]) -> list[int]:
    """The keys in that order, what has no value last, equals by key, which goes the way of the last column."""
    rows = sorted(rows, key=lambda row: row["id"], reverse=bool(order and order[-1][1]))
    for name, down in reversed(order):
        valued = [row for row in rows if row[name] is not None]
        valued.sort(key=lambda row: row[name], reverse=down)
        rows = valued + [row for row in rows if row[name] is None]
    return [row["id"] for row in rows]


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(
    moments=st.lists(st.tuples(MOMENTS.filter(bool), MOMENTS, MOMENTS), max_size=25),
    order=ORDERS,
    size=st.integers(1, 9),
)
def test_a_walk_is_a_plain_sort(quick, session, moments, order, size):
    with transaction(session, write=True):
        session.execute(delete(Job))
        fixed = {"kind": JobKind.NIGHTLY, "state": JobState.DONE}
        if moments:
            session.execute(insert(Job), [fixed | dict(zip(SORTS, row, strict=True)) for row in moments])
        rows = [dict(row._mapping) for row in session.execute(select(Job.id, *(getattr(Job, name) for name in SORTS)))]
    sort = {"sort": ",".join(f"-{name}" if down else name for name, down in order)} if order else {}
    steps = list(walk(quick, "/jobs", size=size, **sort))
    assert [row["id"] for step in steps for row in step] == in_plain_python(rows, order)
    assert len(steps) == max(1, -(-len(rows) // size))


def book_row(number: int) -> dict[str, Any]:
    """A book as a row: titles in a mixed order, many years twice, every fifth without one."""
    title = f"{(number * 7919) % ROWS:05d} book"
    return {
        "title": title,
        "title_key": title[:3],
        "year": None if number % 5 == 0 else 1500 + number % 500,
        "material_type": MaterialType.BOOK,
        "words": title,
        "created_at": START + timedelta(seconds=number % 1000),
        "updated_at": START,
        "version": 1,
    }


@pytest.fixture
def ten_thousand(session) -> set[int]:
    """Keys of as many books; those of them that stand until the end, for every tenth will be deleted."""
    with transaction(session, write=True):
        session.execute(insert(Book), [book_row(number) for number in range(ROWS)])
    keys = session.scalars(select(Book.id)).all()
    # The test takes longer than a transaction may stand idle.
    session.rollback()
    return {key for key in keys if key % 10}


class Unrest(threading.Thread):
    """Somebody else at a connection of their own, who inserts books and deletes others until they are stopped."""

    def __init__(self, engine: Any, first: int) -> None:
        super().__init__(daemon=True)
        self.engine, self.number, self.rounds = engine, first, 0
        self.stopped, self.failure = threading.Event(), None

    def run(self) -> None:
        session = make_session(self.engine)
        try:
            while not self.stopped.is_set():
                with transaction(session, write=True):
                    session.execute(insert(Book), [book_row(self.number + at * 631) for at in range(3)])
                    doomed = session.scalars(select(Book.id).where(Book.id % 10 == 0).order_by(func.random()).limit(2))
                    session.execute(delete(Book).where(Book.id.in_(doomed.all())))
                self.number += 1
                self.rounds += 1
                self.stopped.wait(0.05)
        except Exception as error:
            self.failure = error
        finally:
            session.close()

    def comes_round(self) -> None:
        """Wait until something has been written once more."""
        seen, end = self.rounds, time.monotonic() + DEADLINE
        while self.rounds == seen and self.failure is None and time.monotonic() < end:
            time.sleep(0.001)
        assert self.failure is None, self.failure
        assert self.rounds > seen, "nothing is written any more"


def test_ten_thousand_are_walked_while_others_write(app, quick, ten_thousand):
    with app.app_context():
        engine = db.engine
    others = [Unrest(engine, 20_000), Unrest(engine, 50_000)]
    for other in others:
        other.start()
    try:
        for order in ({}, {"sort": "-year"}):
            seen: list[int] = []
            for number, rows in enumerate(walk(quick, "/books", **order)):
                seen += [row["id"] for row in rows]
                if number % 10 == 0:
                    for other in others:
                        other.comes_round()
            assert len(seen) == len(set(seen)), f"something came twice: {order}"
            assert ten_thousand <= set(seen), f"something that stood throughout was missed: {order}"
    finally:
        for other in others:
            other.stopped.set()
            other.join(DEADLINE)


# Parameters


def test_every_parameter_is_described_and_bounded(app):
    for path, operation in operations(app):
        for parameter in operation.get("parameters", []):
            if parameter.get("in") != "query" or parameter["name"] == "q":
                # Whatever is typed into a search box is taken.
                continue
            schema, where = parameter["schema"], f"{path}?{parameter['name']}"
            assert parameter["description"].endswith("."), where
            one = schema.get("items", schema)
            assert {"enum", "$ref", "format", "maximum", "maxLength"} & set(one) or one["type"] == "boolean", where


def test_words_in_lists_of_words_are_documented(app):
    books = dict(operations(app))["/books"]
    sort = next(one for one in books["parameters"] if one["name"] == "sort")
    assert (sort["style"], sort["explode"]) == ("form", False)
    assert words_of(books, "sort")[:4] == ["title", "-title", "year", "-year"]


def test_unknown_parameters_are_refused_by_every_get(app, signed_in, make):
    admin = make.user(role=Role.ADMIN)
    populate(make, admin)
    client = signed_in(admin)
    asked = 0
    for path, _ in operations(app):
        answer = client.get(re.sub(r"{\w+}", "1", path), query_string={"colour": "red"})
        assert answer.status_code == 422, path
        assert ("unknown_parameter", "colour") in [
            (error["code"], error["parameter"]) for error in answer.json["errors"]
        ], path
        asked += 1
    assert asked > 40


def test_several_words_may_be_parted_or_repeated(as_patron, make):
    rows = [make.book(title=title, year=year) for title, year in (("B", 2001), ("A", 2002), ("A", 2003))]
    for query in ("sort=title,-year", "sort=title&sort=-year"):
        assert [row["id"] for row in as_patron.get(f"/books?{query}").json] == [rows[at].id for at in (2, 1, 0)]
    for query in ("sort=title,title", "sort=title&sort=-title", "sort=colour", "sort=,"):
        assert fault(as_patron.get(f"/books?{query}"))[1:] == ("unknown_value", "sort"), query


def test_keys_parted_by_commas_are_told_how_to_be_written(as_patron, make):
    for path in ("/books", "/books/availability"):
        answer = as_patron.get(f"{path}?ids=1,2")
        assert fault(answer)[1] == "in_one"
        assert "ids=1&ids=2" in answer.json["errors"][0]["detail"]


# Records in full


@pytest.fixture
def shelf(make):
    """A patron with a loan, a hold, a charge for the loan and their branch."""
    branch, category = make.branch(name="Home"), make.category(name="Adults")
    pat = make.user(username="reader", home_branch=branch, patron_category=category)
    book = make.book(make.author(name="Melville, Herman"), title="Moby-Dick", subjects=[make.subject(name="Whales")])
    copy = make.copy(book=book, home_branch=branch, item_type_id=make.item_type(name="Books").id)
    loan = make.loan(copy=copy, patron=pat)
    return {
        "pat": pat,
        "book": book,
        "copy": copy,
        "loan": loan,
        "hold": make.hold(make.book(), pat),
        "charge": make.charge(loan=loan),
        "order": make.order(make.librarian(), book),
    }


def expandable(app) -> dict[str, list[str]]:
    return {path: words for path, operation in operations(app) if (words := words_of(operation, "expand"))}


def test_every_list_and_its_single_record_show_the_same_in_full(app, signed_in, shelf, make):
    client = signed_in(make.user(role=Role.ADMIN, home_branch_id=shelf["pat"].home_branch_id))
    keys = {"user_id": shelf["pat"].id, "copy_id": shelf["copy"].id, "loan_id": shelf["loan"].id}
    keys |= {"entry_id": shelf["charge"].id, "hold_id": shelf["hold"].id, "order_id": shelf["order"].id}
    found = expandable(app)
    assert set(found) >= {"/users", "/copies", "/loans", "/holds", "/orders", "/account-entries"}
    for path, words in found.items():
        plain = client.get(path.format(**keys)).json
        for word in words:
            answer = client.get(f"{path.format(**keys)}?expand={word}")
            rows = answer.json if isinstance(answer.json, list) else [answer.json]
            bare = plain if isinstance(plain, list) else [plain]
            if path in ("/orders", "/orders/{order_id}", "/users/{user_id}/orders") and word == "book":
                rows = [line for row in rows for line in row["lines"]]
                bare = [line for row in bare for line in row["lines"]]
            for row, unexpanded in zip(rows, bare, strict=True):
                member = row.pop(word)
                # Beside the number, never in its place.
                assert row == unexpanded
                assert (member is None) == (row[f"{word}_id"] is None), (path, word)
                assert member is None or member["id"] == row[f"{word}_id"]
                assert not set(words) & set(member or {}), "one level deep"


def test_every_number_that_can_be_shown_in_full_stands_beside_it_and_has_a_permission():
    schemas = [schema for schema in subclasses(Schema) if not schema.__name__.startswith("Summary")]
    found = {
        (schema.__name__, name): field
        for schema in schemas
        for name, field in schema._declared_fields.items()
        if isinstance(field, Expanded)
    }
    assert len(found) > 15
    for (schema, name), field in found.items():
        members = next(one for one in schemas if one.__name__ == schema)._declared_fields
        assert f"{name}_id" in members, (schema, name)
        assert field.table in access.SEEN_WITH, (schema, name)


def test_what_is_shown_in_full_is_what_its_own_address_shows(as_librarian, shelf):
    loan = as_librarian.get(f"/loans/{shelf['loan'].id}?expand=book,copy,patron&expand=branch").json
    assert loan["book"] == as_librarian.get(f"/books/{shelf['book'].id}").json
    assert loan["copy"] == as_librarian.get(f"/copies/{shelf['copy'].id}").json
    assert loan["patron"] == as_librarian.get(f"/users/{shelf['pat'].id}").json
    assert loan["branch"] == as_librarian.get(f"/branches/{loan['branch_id']}").json
    entry = as_librarian.get(f"/account-entries/{shelf['charge'].id}?expand=loan").json
    assert entry["loan"] == as_librarian.get(f"/loans/{shelf['loan'].id}").json


def test_a_patron_sees_in_full_what_they_may_see(app, signed_in, shelf, make):
    client = signed_in(shelf["pat"])
    (loan,) = client.get("/loans?expand=patron,book,copy,branch").json
    assert loan["patron"] == client.get("/users/me").json
    assert (loan["book"]["title"], loan["branch"]["name"]) == ("Moby-Dick", "Home")
    me = client.get("/users/me?expand=home_branch,patron_category").json
    assert (me["home_branch"]["name"], me["patron_category"]["name"]) == ("Home", "Adults")
    # An order that somebody else wrote, shown to its owner, names nobody else; another's row is no row.
    mine = make.order(shelf["pat"], shelf["book"])
    assert client.get(f"/orders/{mine.id}?expand=user,book").json["user"]["id"] == shelf["pat"].id
    assert client.get(f"/orders/{shelf['order'].id}?expand=user").status_code == 404


def test_a_stranger_sees_of_an_open_catalogue_what_is_open(migrated):
    app = migrated(PUBLIC_CATALOGUE=True)
    with app.app_context():
        session = make_session(db.engine)
    make = Factories(session)
    make.copy(book=make.book(title="Open"))
    session.close()
    (copy,) = app.test_client().get("/copies?expand=book,home_branch,item_type").json
    assert (copy["book"]["title"], copy["item_type"]) == ("Open", None)


def test_tags_know_what_is_shown_in_full_and_any_of_them_serves(as_librarian, shelf):
    path = f"/copies/{shelf['copy'].id}"
    plain, full = as_librarian.get(path), as_librarian.get(f"{path}?expand=book")
    assert plain.headers["ETag"] != full.headers["ETag"]
    version = {answer.headers["ETag"].strip('"').split("-")[0] for answer in (plain, full)}
    assert version == {str(shelf["copy"].version)}
    again = as_librarian.get(f"{path}?expand=book", headers={"If-None-Match": full.headers["ETag"]})
    assert again.status_code == 304
    assert as_librarian.get(path, headers={"If-None-Match": full.headers["ETag"]}).status_code == 200
    # A change of the book changes the answer, not the copy's version.
    as_librarian.change(f"/books/{shelf['book'].id}", json={"title": "Omoo"})
    later = as_librarian.get(f"{path}?expand=book", headers={"If-None-Match": full.headers["ETag"]})
    assert (later.status_code, later.json["book"]["title"]) == (200, "Omoo")
    changed = as_librarian.change(path, tag=full.headers["ETag"], json={"shelf_mark": "PS 2384"})
    assert (changed.status_code, "book" in changed.json) == (200, False)


def test_only_documented_words_are_shown_in_full(as_librarian, shelf):
    path = f"/loans/{shelf['loan'].id}"
    for query in ("expand=renewals", "expand=book,book", "expand=book&expand=book", "expand=,"):
        assert fault(as_librarian.get(f"{path}?{query}")) == (422, "unknown_value", "expand"), query
    assert fault(as_librarian.get(f"/books/{shelf['book'].id}?expand=copies"))[1] == "unknown_parameter"
    body = {"book_id": shelf["book"].id, "home_branch_id": shelf["copy"].home_branch_id}
    assert fault(as_librarian.post("/copies?expand=book", json=body))[1] == "unknown_parameter"


def test_a_walk_shows_in_full_what_is_asked_at_each_step(as_librarian, shelf, make):
    make.loan()
    first = as_librarian.get("/loans?cursor=start&page_size=1")
    assert "book" not in first.json[0]
    onward = first.headers["X-Next-Cursor"]
    second = as_librarian.get(f"/loans?cursor={onward}&expand=book")
    assert second.json[0]["book"]["id"] == second.json[0]["book_id"]
    linked = as_librarian.get("/loans?cursor=start&page_size=1&expand=book")
    assert "expand=book" in urlsplit(links_of(linked)["next"]).query


def test_moments_in_cursors_keep_their_microseconds(as_librarian, make):
    base = datetime(2026, 3, 2, 10, tzinfo=UTC)
    loans = [make.loan(due_at=base + timedelta(days=1, microseconds=at)) for at in (3, 1, 2)]
    seen = [row["id"] for rows in walk(as_librarian, "/loans", size=1, sort="due_at") for row in rows]
    assert seen == [loans[at].id for at in (1, 2, 0)]


@pytest.mark.parametrize(
    ("order", "position"),
    [
        ([], (5,)),
        ([(Book.title_key, False)], ("moby dick", 5)),
        ([(Book.title_key, True)], ("moby dick", 5)),
        ([(Book.year, False)], (1851, 5)),
        ([(Book.year, True)], (1851, 5)),
        ([(Book.year, True)], (None, 5)),
    ],
)
def test_a_step_begins_in_the_index_where_the_last_one_ended(session, order, position):
    session.execute(insert(Book), [book_row(number) for number in range(1_000)])
    statement = cursors.rows_after(select(Book.id), Book, order, position, 11)
    sql = str(statement.compile(session.get_bind(), compile_kwargs={"literal_binds": True}))
    if session.get_bind().dialect.name == "sqlite":
        plan = [row.detail for row in session.execute(text(f"EXPLAIN QUERY PLAN {sql}"))]
        assert not [line for line in plan if line.startswith("SCAN books")], plan
    else:
        # The plan must not hang on what the planner has heard of the rows of another test.
        session.execute(text("ANALYZE books"))
        plan = [row[0] for row in session.execute(text(f"EXPLAIN {sql}"))]
        assert sum("Index Cond" in line for line in plan) >= len(order) + 1, plan
        assert not [line for line in plan if "Filter" in line and "id >" in line], plan
    session.rollback()
