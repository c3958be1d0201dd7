"""Full text: the same hits on every database, and no input an error."""

import json

import pytest
from factories import Factories
from sqlalchemy import literal_column
from walking_lists import walk

from library.models import IdentifierScheme
from library.rules import catalogue

HOSTILE = [
    "a\tb",
    "a\nb",
    "\x85",
    "\x7f",
    "\0",
    "x" * 5000,
    '"',
    "-x",
    "c++",
    "C#",
    "'",
    "''",
    "\\",
    "%",
    "_",
    "*",
    "(",
    ")",
    "a AND",
    "OR",
    "NOT",
    "NEAR(",
    "a:b",
    ":*",
    "&",
    "|",
    "!",
    "<->",
    "^",
    "{}",
    "[]",
    ";--",
    "/*",
    "$1",
    ":q",
    "?",
    "\u00a0",
    "\u200b",
    "e\u0301",
    "ß",
    "ﬁ",
    "½",
    "١٢",
    "日本",
    "a" * 500,
    " ".join("w" * 1 + str(n) for n in range(120)),
    "col:",
    "title: x",
    "book_search MATCH",
    "🐳",
    "ǅ",
]


@pytest.fixture
def shelf(make: Factories) -> dict[str, int]:
    """Books by a short name."""
    camus = make.author(name="Camus, Albert")
    isbn = [(IdentifierScheme.ISBN, "978-0-14-243724-7")]
    books = {
        "whale": make.book(title="The whale", subtitle="a natural history", identifiers=isbn),
        "whales": make.book(title="Whales and dolphins", subjects=[make.subject(name="Cetacea")]),
        "peste": make.book(camus, title="La Peste"),
        "oeuvre": make.book(title="Œuvres complètes"),
        "strasse": make.book(title="Die Straße"),
        "cpp": make.book(title="The C++ programming language"),
        "c": make.book(title="The C programming language"),
        "pi": make.book(title="3.14: a history"),
        "mail": make.book(title="info@example.org, a memoir"),
        "japanese": make.book(title="こゝろ"),
        "russian": make.book(title="Преступление и наказание"),
        "arabic": make.book(title="أَلْف لَيْلَة"),
        "history": make.book(title="A history of the whale"),
    }
    return {name: book.id for name, book in books.items()}


@pytest.mark.parametrize(
    ("q", "names"),
    [
        ("whale", {"whale", "whales", "history"}),
        ("WHALE natural", {"whale"}),
        ("wha", {"whale", "whales", "history"}),
        ("wha natural", set()),
        ("natural wha", {"whale"}),
        ("cetacea", {"whales"}),
        ("camus peste", {"peste"}),
        ("Œuvres completes", {"oeuvre"}),
        ("oeuvres", {"oeuvre"}),
        ("strasse", {"strasse"}),
        ("STRASSE", {"strasse"}),
        ("straße", {"strasse"}),
        ("c++", {"cpp"}),
        ("c programming", {"c"}),
        ("3.14", {"pi"}),
        ("info@example.org", {"mail"}),
        ("example", {"mail"}),
        ("978-0-14-243724-7", {"whale"}),
        ("9780142437247", {"whale"}),
        ("978014", {"whale"}),
        ("こゝろ", {"japanese"}),
        ("преступление", {"russian"}),
        ("ألف", {"arabic"}),
        ("history", {"whale", "pi", "history"}),
        ('"whale', {"whale", "whales", "history"}),
        ("-whale", {"whale", "whales", "history"}),
        ("whale OR peste", set()),
        ("!!!", set()),
    ],
)
def test_hits(as_patron, shelf, q, names):
    answer = as_patron.get("/books", query_string={"q": q, "page_size": 100})
    assert {row["id"] for row in answer.json} == {shelf[name] for name in names}
    assert answer.headers["X-Total-Count"] == str(len(names))


def test_the_title_itself_comes_first(as_patron, shelf):
    found = [row["id"] for row in as_patron.get("/books?q=the whale").json]
    assert found == [shelf["whale"], shelf["history"]]


def in_order(client, q: str) -> list[int]:
    return [row["id"] for row in client.get("/books", query_string={"q": q}).json]


def test_titles_come_before_contributors_before_subjects_before_the_rest(as_patron, make):
    rest = make.book(title="A", publisher="Whale Press").id
    subject = make.book(title="B", subjects=[make.subject(name="Whale hunting")]).id
    contributor = make.book(make.author(name="Whale, James"), title="C").id
    within = make.book(title="The white whale").id
    begins = make.book(title="Whale songs").id
    itself = make.book(title="Whale").id
    assert in_order(as_patron, "whale") == [itself, begins, within, contributor, subject, rest]


def test_whole_words_come_before_beginnings(as_patron, make):
    beginnings = [
        make.book(title="A", publisher="Whaler Press").id,
        make.book(title="B", subjects=[make.subject(name="Whalers")]).id,
        make.book(make.author(name="Whaley, James"), title="C").id,
        make.book(title="The white whales").id,
        make.book(title="Whaling").id,
    ]
    whole = make.book(title="The white whal").id
    assert in_order(as_patron, "whal") == [beginnings[4], whole, *beginnings[3::-1]]
    accented = make.book(title="Whäl").id
    assert in_order(as_patron, "WHÄL")[:2] == [accented, beginnings[4]]


def test_words_of_several_parts_count_for_none_of_them(as_patron, make):
    melville = make.author(name="Melville, Herman")
    split = make.book(melville, title="A", subjects=[make.subject(name="Ships")]).id
    one = make.book(title="B", subjects=[make.subject(name="Melville and ships")]).id
    assert in_order(as_patron, "melville ships") == [one, split]


@pytest.mark.parametrize("sort", ["", "title", "-title"])
def test_a_search_is_walked_by_key_or_as_it_is_sorted(as_patron, shelf, sort):
    query = {"q": "whale", **({"sort": sort} if sort else {})}
    hits = [row for step in walk(as_patron, "/books", size=1, **query) for row in step]
    if sort:
        assert hits == as_patron.get("/books", query_string=query).json
    else:
        assert [row["id"] for row in hits] == sorted(shelf[name] for name in ("whale", "whales", "history"))


def test_an_empty_query_is_no_query(as_patron, shelf):
    assert as_patron.get("/books?q=&page_size=100").headers["X-Total-Count"] == str(len(shelf))


@pytest.mark.parametrize("q", HOSTILE)
def test_no_input_is_an_error(as_patron, shelf, q):
    answer = as_patron.get("/books", query_string={"q": q})
    assert answer.status_code == 200, answer.text


def test_changes_are_found_at_once(as_librarian, make):
    path = f"/books/{make.book(title='Before').id}"
    as_librarian.change(path, json={"title": "After"})
    assert as_librarian.get("/books?q=before").json == []
    assert len(as_librarian.get("/books?q=after").json) == 1
    as_librarian.change(path, "DELETE")
    assert as_librarian.get("/books?q=after").json == []


@pytest.fixture
def three_ranked(monkeypatch):
    """No more than three hits of a search are ranked."""
    monkeypatch.setattr(catalogue, "MOST_RANKED", 3)
    monkeypatch.setattr(catalogue, "_MOST_HITS", literal_column("4"))
    catalogue._books_with.cache_clear()
    yield
    catalogue._books_with.cache_clear()


def test_of_very_many_hits_some_are_ranked_and_the_total_says_so(as_patron, make, three_ranked):
    begins = make.book(title="Whale songs").id
    rest = [make.book(title=f"{name} of the whale", year=1851).id for name in "abcde"]
    itself = make.book(title="Whale").id
    answer = as_patron.get("/books?q=whale&page_size=3")
    # Titles that begin so come first wherever they stand in the catalogue.
    assert [row["id"] for row in answer.json] == [itself, begins, rest[0]]
    assert "X-Total-Count" not in answer.headers
    found = json.loads(answer.headers["X-Pagination"])
    assert found == {"total": 4, "total_is": "at_least", "page": 1, "first_page": 1}
    assert as_patron.get("/books?q=whale&page_size=3&page=2").json["errors"][0]["code"] == "page_too_deep"
    # A filter narrows the candidates too; a sort, a walk and facets see every hit.
    assert {row["id"] for row in as_patron.get("/books?q=whale&page_size=3&year_min=1851").json} <= {*rest}
    for query in ("sort=title", "year_max=1900&sort=-title"):
        hits = 7 if query == "sort=title" else 5
        assert as_patron.get(f"/books?q=whale&{query}").headers["X-Total-Count"] == str(hits)
    assert len([row for step in walk(as_patron, "/books", size=2, q="whale") for row in step]) == 7
    assert as_patron.get("/books/facets?q=whale").json["total"] == 7


def test_so_many_hits_are_all_ranked_and_counted(as_patron, make, three_ranked):
    books = [make.book(title=title).id for title in ("The whale", "Whale songs", "Whale")]
    answer = as_patron.get("/books?q=whale&page_size=3")
    assert [row["id"] for row in answer.json] == books[::-1]
    assert answer.headers["X-Total-Count"] == "3"


def test_a_search_in_another_order_is_counted_to_its_end(app, as_patron, make, three_ranked, monkeypatch):
    monkeypatch.setitem(app.config, "CACHE_SECONDS", 0)
    for _ in range(6):
        make.book(title="Whale")
    # Both totals are asked for by themselves: behind the last row.
    assert as_patron.get("/books?q=ship&page=2&page_size=1").json == []
    assert as_patron.get("/books?q=whale&sort=title&page=9&page_size=6").headers["X-Total-Count"] == "6"


@pytest.mark.parametrize("media_type", ["application/json", "text/csv"])
def test_a_page_of_a_search_is_the_same_in_every_format(as_patron, make, three_ranked, media_type):
    titles = ["Whale", "Whale songs", "The whale", "A whale", "My whale"]
    for title in reversed(titles):
        make.book(title=title)
    answer = as_patron.get("/books?q=whale&page_size=2", headers={"Accept": media_type})
    itself = {"application/json": 'Whale"', "text/csv": "Whale,"}[media_type]
    assert answer.text.index(itself) < answer.text.index("Whale songs")
    assert "The whale" not in answer.text
