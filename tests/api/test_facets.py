"""Facets: how found books divide, under the same parameters as their list."""

import pytest
from factories import Factories

from library.models import MaterialType
from library.rules import facets


@pytest.fixture
def shelf(make: Factories) -> dict[str, int]:
    """Six books of several kinds, languages, decades, authors and subjects; keys of authors and subjects."""
    melville, austen = make.author(name="Melville, Herman"), make.author(name="Austen, Jane")
    whales, manners = make.subject(name="Whales"), make.subject(name="Manners")
    make.book(melville, subjects=[whales], title="Moby-Dick", year=1851, language="eng")
    make.book(melville, subjects=[whales], title="The whale", year=1859, language="ger")
    make.book(melville, title="Omoo", year=1847, language="eng", material_type=MaterialType.SOUND)
    make.book(austen, subjects=[manners, whales], title="Emma", year=1815, language="eng")
    make.book(melville, austen, title="Letters", language=None)
    make.book(title="Of old", year=-5)
    return {"melville": melville.id, "austen": austen.id, "whales": whales.id, "manners": manners.id}


def told(answer, name: str) -> list[tuple[str, str, int]]:
    return [(row["value"], row["label"], row["count"]) for row in answer.json[name]]


def test_all_books_divide(as_patron, shelf):
    answer = as_patron.get("/books/facets")
    assert (answer.json["total"], answer.json["total_is"]) == (6, "exact")
    assert told(answer, "material_types") == [("book", "book", 5), ("sound", "sound", 1)]
    assert told(answer, "languages") == [("eng", "eng", 3), ("ger", "ger", 1)]
    # The year 5 before our count lies in the ten years that begin with -10.
    assert told(answer, "decades") == [("1850", "1850", 2), ("-10", "-10", 1), ("1810", "1810", 1), ("1840", "1840", 1)]
    melville, austen = str(shelf["melville"]), str(shelf["austen"])
    assert told(answer, "authors") == [(melville, "Melville, Herman", 4), (austen, "Austen, Jane", 2)]
    whales, manners = str(shelf["whales"]), str(shelf["manners"])
    assert told(answer, "subjects") == [(whales, "Whales", 3), (manners, "Manners", 1)]


@pytest.mark.parametrize(
    "query",
    [
        "q=whal",
        "q=whale&language=eng",
        "language=eng",
        "year_min=1847&year_max=1851",
        "material_type=sound",
        "author_id=1",
        "subject_id=2",
        "available=true",
        "ids=1&ids=2&ids=5",
        "q=nothing at all",
        "q=!!!",
    ],
)
def test_facets_count_what_the_list_lists(as_patron, shelf, make, query):
    make.copy(book=make.book(title="Lent out never", language="fre", year=2001))
    books = as_patron.get(f"/books?{query}&page_size=100").json
    answer = as_patron.get(f"/books/facets?{query}")
    assert answer.json["total"] == len(books)
    counted: dict[str, int] = {}
    for book in books:
        for author_id in {link["author_id"] for link in book["contributors"]}:
            counted[str(author_id)] = counted.get(str(author_id), 0) + 1
    assert {value: count for value, _, count in told(answer, "authors")} == counted
    assert sum(count for _, _, count in told(answer, "languages")) == sum(bool(book["language"]) for book in books)


def test_a_value_narrows_the_list_to_its_count(as_patron, shelf):
    filters = {"languages": "language", "material_types": "material_type", "authors": "author_id"}
    filters |= {"subjects": "subject_id"}
    answer = as_patron.get("/books/facets?year_min=1800")
    for name, parameter in filters.items():
        for value, _, count in told(answer, name):
            found = as_patron.get(f"/books?year_min=1800&{parameter}={value}")
            assert found.headers["X-Total-Count"] == str(count), (name, value)


def test_a_facet_tells_the_commonest_values(as_patron, make):
    for number in range(facets.MOST_VALUES + 5):
        subject = make.subject(name=f"Topic {number:02d}")
        for _ in range(2 if number == 7 else 1):
            make.book(subjects=[subject])
    rows = told(as_patron.get("/books/facets"), "subjects")
    assert len(rows) == facets.MOST_VALUES
    assert rows[0][1:] == ("Topic 07", 2)
    assert {count for _, _, count in rows[1:]} == {1}


def test_of_very_many_books_the_first_are_looked_at(as_patron, shelf, monkeypatch):
    monkeypatch.setattr(facets, "MOST_BOOKS", 2)
    for query in ("year_min=-10", "q=e"):
        answer = as_patron.get(f"/books/facets?{query}")
        assert answer.json["total_is"] == ("at_least" if query != "q=e" else "exact")
    answer = as_patron.get("/books/facets")
    assert (answer.json["total"], answer.json["total_is"]) == (3, "at_least")
    assert told(answer, "authors") == [(str(shelf["melville"]), "Melville, Herman", 3)]


def test_facets_cost_one_statement_and_are_kept(as_patron, shelf, statements, make):
    as_patron.get("/books/facets?q=whale")
    cold = [statement for statement in statements if "FROM books" in statement]
    assert len(cold) == 1
    statements.clear()
    warm = as_patron.get("/books/facets?q=whale")
    assert not [statement for statement in statements if "FROM books" in statement]
    again = as_patron.get("/books/facets?q=whale", headers={"If-None-Match": warm.headers["ETag"]})
    assert again.status_code == 304
    make.book(title="Another whale")
    assert as_patron.get("/books/facets?q=whale").json["total"] == warm.json["total"] + 1


def test_facets_want_a_token_and_know_their_parameters(client, as_patron):
    assert client.get("/books/facets").status_code == 401
    for query in ("page=1", "sort=title", "cursor=start", "colour=red"):
        answer = as_patron.get(f"/books/facets?{query}")
        assert (answer.status_code, answer.json["errors"][0]["code"]) == (422, "unknown_parameter")
