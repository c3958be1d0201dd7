"""Books in the format a client asks for: the page, the one book, and what caches may keep of either."""

import csv
import io
import json

import pytest
from pymarc import MARCReader

from library.api.plumbing.negotiation import preferred
from library.exchange.writers import WRITERS
from library.models import IdentifierScheme

JSON = "application/json"
ENDINGS = {
    "application/marc": ".mrc",
    "application/marcxml+xml": ".xml",
    "application/marc-in-json": ".marc.json",
    "text/csv": ".csv",
    "application/x-bibtex": ".bib",
    "application/x-research-info-systems": ".ris",
    "application/vnd.citationstyles.csl+json": ".csl.json",
}


@pytest.fixture
def whale(make):
    author = make.author(name="Melville, Herman", dates="1819-1891")
    isbn = (IdentifierScheme.ISBN, "9780142437247")
    return make.book(author, title="Moby-Dick", subjects=[make.subject(name="Whales")], identifiers=[isbn])


def ask(client, path: str, accept: str | None, **headers: str):
    return client.get(path, headers=headers | ({"Accept": accept} if accept is not None else {}))


@pytest.mark.parametrize("accept", [None, "", "*/*", "application/*", "text/html,text/xml;q=0.9,*/*;q=0.8", JSON])
def test_json_is_what_one_gets_without_asking_for_anything_else(as_patron, whale, accept):
    for path in ("/books", f"/books/{whale.id}"):
        answer = ask(as_patron, path, accept)
        assert (answer.status_code, answer.mimetype) == (200, JSON)
        assert answer.vary.as_set() == {"accept", "authorization"}
        assert "Content-Disposition" not in answer.headers


@pytest.mark.parametrize("media_type", ENDINGS)
def test_a_book_and_a_page_of_books_come_in_every_format(as_patron, whale, make, media_type):
    make.book(title="Typee")
    page = ask(as_patron, "/books?page_size=1&sort=title", media_type)
    one = ask(as_patron, f"/books/{whale.id}", media_type)
    for answer in (page, one):
        assert (answer.status_code, answer.mimetype) == (200, media_type)
        assert b"Moby-Dick" in answer.data
        assert b"Typee" not in answer.data
        assert answer.headers["Cache-Control"] == "private, no-store"
        assert answer.vary.as_set() == {"accept", "authorization"}
    assert page.headers["Content-Disposition"] == f'attachment; filename="books{ENDINGS[media_type]}"'
    assert one.headers["Content-Disposition"] == f'attachment; filename="books-{whale.id}{ENDINGS[media_type]}"'
    in_json = ask(as_patron, "/books?page_size=1&sort=title", JSON)
    for name in ("X-Total-Count", "X-Pagination", "Link"):
        assert page.headers[name] == in_json.headers[name]
    assert ask(as_patron, "/books?q=nothing", media_type).status_code == 200


def test_the_formats_say_what_the_book_says(as_patron, whale):
    path = f"/books/{whale.id}"
    (record,) = MARCReader(ask(as_patron, "/books", "application/marc").data)
    assert record["245"]["a"].startswith("Moby-Dick")
    assert record["020"]["a"] == "9780142437247"
    (row,) = csv.DictReader(io.StringIO(ask(as_patron, "/books", "text/csv").data.decode("utf-8-sig")))
    assert (row["title"], row["isbn"], row["id"]) == ("Moby-Dick", "9780142437247", str(whale.id))
    in_json = ask(as_patron, path, "application/marc-in-json")
    assert json.loads(in_json.data)["fields"]
    assert isinstance(json.loads(ask(as_patron, "/books", "application/marc-in-json").data), list)
    csl = ask(as_patron, "/books", "application/vnd.citationstyles.csl+json")
    assert json.loads(csl.data)[0]["title"] == "Moby-Dick"
    assert b"TI  - Moby-Dick" in ask(as_patron, path, "application/x-research-info-systems").data


@pytest.mark.parametrize(
    "accept", ["application/pdf", "text/html", "application/json;q=0", "*/*;q=0", "text/*;q=0,text/csv;q=0", "nonsense"]
)
def test_what_is_not_offered_is_406_and_names_what_is(as_patron, whale, accept):
    for path in ("/books", f"/books/{whale.id}"):
        answer = ask(as_patron, path, accept)
        assert (answer.status_code, answer.mimetype) == (406, "application/problem+json")
        assert answer.json["code"] == "not_acceptable"
        assert all(media_type in answer.json["detail"] for media_type in (JSON, *WRITERS))


def test_who_may_not_ask_is_told_that_first(client, as_patron, whale):
    assert ask(client, "/books", "application/pdf").status_code == 401
    assert ask(as_patron, "/books/export", "application/pdf").status_code == 403
    assert ask(as_patron, "/books/999", "text/csv").status_code == 404


@pytest.mark.parametrize(
    ("accept", "wanted"),
    [
        ("text/csv", "text/csv"),
        ("TEXT/CSV; Charset=utf-8", "text/csv"),
        ("text/csv, */*", "text/csv"),
        ("text/*", "text/csv"),
        ("text/csv;q=0.5, application/marc;q=0.8", "application/marc"),
        ("text/csv;q=0.5, */*;q=0.1", "text/csv"),
        ("application/json;q=0.2, application/marc;q=0.3", "application/marc"),
        ("application/*;q=0.9, application/json;q=0", "application/marc"),
        ("*/*;q=0.5, application/json;q=0.1", "application/marc"),
        ("application/marc, application/json", JSON),
        ("text/csv;q=high", "text/csv"),
        ("text/csv;q=0, */*", JSON),
        (",", None),
        ("image/*", None),
    ],
)
def test_weights_and_precision_decide(accept, wanted):
    assert preferred(accept, [JSON, *WRITERS]) == wanted


def test_each_format_has_its_own_tag_and_any_of_them_serves_for_a_change(as_patron, as_librarian, whale):
    path = f"/books/{whale.id}"
    tags = {media_type: ask(as_patron, path, media_type).headers["ETag"] for media_type in (JSON, *WRITERS)}
    assert len(set(tags.values())) == len(tags)
    for media_type, tag in tags.items():
        again = ask(as_patron, path, media_type, **{"If-None-Match": tag})
        assert (again.status_code, again.headers["ETag"], again.data) == (304, tag, b"")
        assert again.vary.as_set() == {"accept", "authorization"}
    assert ask(as_patron, path, JSON, **{"If-None-Match": tags["text/csv"]}).status_code == 200
    changed = as_librarian.change(path, tag=tags["application/marc"], json={"year": 1851})
    assert changed.status_code == 200
    assert ask(as_patron, path, "text/csv", **{"If-None-Match": tags["text/csv"]}).status_code == 200
    assert as_librarian.change(path, tag=tags["application/marc"], json={"year": 1852}).status_code == 412


def test_kept_pages_are_kept_by_format(app, as_patron, as_librarian, whale, monkeypatch, statements):
    monkeypatch.setitem(app.config, "CACHE_SECONDS", 60)
    first = {media_type: ask(as_patron, "/books", media_type) for media_type in (JSON, *WRITERS)}
    statements.clear()
    for media_type, answer in first.items():
        again = ask(as_patron, "/books", media_type)
        assert again.data == answer.data
        for name in ("Content-Type", "Content-Disposition", "ETag", "Vary", "X-Total-Count"):
            assert again.headers.get(name) == answer.headers.get(name)
    assert not any("FROM books" in statement for statement in statements)
    as_librarian.change(f"/books/{whale.id}", json={"title": "The Whale"})
    assert all(b"The Whale" in ask(as_patron, "/books", media_type).data for media_type in first)


def test_a_page_in_another_format_takes_a_few_statements_more(app, as_patron, make, statements, monkeypatch):
    monkeypatch.setitem(app.config, "CACHE_SECONDS", 0)
    counts: dict[str, set[int]] = {}
    for number in (3, 30):
        while len(as_patron.get("/books?page_size=100").json) < number:
            make.book(make.author(), subjects=[make.subject()])
        for media_type in (JSON, "application/marc", "text/csv"):
            statements.clear()
            assert ask(as_patron, "/books?page_size=100", media_type).status_code == 200
            counts.setdefault(media_type, set()).add(len(statements))
    (plain,), (marc,), (table,) = counts.values()
    # The books are counted and loaded then: their three lists, and what they came from.
    assert (marc, table) == (plain + 5, plain + 5)


def test_other_resources_answer_json_whatever_is_accepted(as_patron):
    answer = ask(as_patron, "/users/me", "text/csv")
    assert (answer.status_code, answer.mimetype) == (200, JSON)
    assert answer.headers["Vary"] == "Authorization"
