"""Books over HTTP."""

import pytest
from factories import Factories

MOBY = {"title": "Moby-Dick", "subtitle": "or, The whale", "year": 1851, "language": "eng", "pages": 635}


@pytest.fixture
def melville(make: Factories):
    return make.author(name="Melville, Herman", dates="1819-1891")


def test_create_read_replace_patch_delete(as_librarian, make, melville):
    whales = make.subject(name="Whales -- Fiction")
    body = MOBY | {
        "contributors": [{"author_id": melville.id}, {"author_id": make.author().id, "role": "illustrator"}],
        "subject_ids": [whales.id],
        "identifiers": [{"scheme": "isbn", "value": "978-0-14-243724-7"}],
    }
    created = as_librarian.post("/books", json=body)
    assert created.status_code == 201, created.text
    path = created.headers["Location"]
    assert path == f"/books/{created.json['id']}"
    assert [row["role"] for row in created.json["contributors"]] == ["author", "illustrator"]
    assert created.json["identifiers"] == [{"scheme": "isbn", "value": "9780142437247"}]
    read = as_librarian.get(path)
    assert read.json == created.json
    assert read.headers["ETag"] == created.headers["ETag"]

    patched = as_librarian.change(path, json={"year": None, "contributors": [{"author_id": melville.id}]})
    assert (patched.json["year"], len(patched.json["contributors"])) == (None, 1)
    assert as_librarian.get(path).headers["ETag"] == patched.headers["ETag"]

    replaced = as_librarian.change(path, "PUT", json={"title": "The Whale"})
    assert (replaced.json["subtitle"], replaced.json["contributors"], replaced.json["subjects"]) == (None, [], [])
    assert as_librarian.change(path, "DELETE").status_code == 204
    assert as_librarian.get(path).status_code == 404


def test_order_of_lists_is_kept(as_librarian, make):
    first, second = make.author(), make.author()
    both = [{"author_id": second.id}, {"author_id": first.id}]
    path = as_librarian.post("/books", json=MOBY | {"contributors": both}).headers["Location"]
    turned = as_librarian.change(path, json={"contributors": both[::-1]})
    read = as_librarian.get(path)
    assert [row["author_id"] for row in read.json["contributors"]] == [first.id, second.id]
    assert read.headers["ETag"] == turned.headers["ETag"]


def test_change_wants_the_version_that_was_read(as_librarian, make):
    path = f"/books/{make.book().id}"
    tag = as_librarian.get(path).headers["ETag"]
    assert as_librarian.patch(path, json={"year": 2001}).status_code == 428
    assert as_librarian.change(path, json={"year": 2001}, tag=tag).status_code == 200
    stale = as_librarian.change(path, json={"year": 2002}, tag=tag)
    assert (stale.status_code, stale.json["code"]) == (412, "precondition_failed")
    assert as_librarian.get(path).json["year"] == 2001


def test_not_modified(as_patron, make):
    path = f"/books/{make.book().id}"
    tag = as_patron.get(path).headers["ETag"]
    again = as_patron.get(path, headers={"If-None-Match": f"W/{tag}"})
    assert (again.status_code, again.data, again.headers["ETag"]) == (304, b"", tag)


@pytest.mark.parametrize(
    ("body", "pointer", "code"),
    [
        ({}, "/title", "required"),
        ({"title": ""}, "/title", "too_short"),
        ({"title": "x" * 2001}, "/title", "too_long"),
        ({"title": "a\0b"}, "/title", "bad_characters"),
        ({"title": "x", "year": "1851"}, "/year", "invalid_type"),
        ({"title": "x", "year": 1.9}, "/year", "invalid_type"),
        ({"title": "x", "year": True}, "/year", "invalid_type"),
        ({"title": "x", "id": 7}, "/id", "unknown_member"),
        ({"title": "x", "language": "english"}, "/language", "too_long"),
        ({"title": "x", "contributors": [{"author_id": 99}]}, "/contributors/0/author_id", "author_not_found"),
        ({"title": "x", "identifiers": [{"scheme": "isbn", "value": "123"}]}, "/identifiers/0/value", "bad_form"),
        ({"title": "x", "identifiers": [{"scheme": "lccn", "value": "---"}]}, "/identifiers/0/value", "bad_form"),
        ({"title": "x", "identifiers": [{"scheme": "oclc", "value": "abc"}]}, "/identifiers/0/value", "bad_form"),
        ({"title": "x", "identifiers": [{"scheme": "lccn", "value": "ß" * 60}]}, "/identifiers/0/value", "bad_form"),
        ({"title": "x", "identifiers": [{"scheme": "issn", "value": "abc"}]}, "/identifiers/0/value", "bad_form"),
        ({"title": "x", "material_type": "brick"}, "/material_type", "unknown_value"),
        ([], "", "invalid_type"),
    ],
)
def test_bad_input_names_the_field_and_stores_nothing(as_librarian, body, pointer, code):
    answer = as_librarian.post("/books", json=body)
    assert answer.status_code == 422, answer.text
    assert (answer.json["errors"][0]["pointer"], answer.json["errors"][0]["code"]) == (pointer, code)
    assert as_librarian.get("/books").json == []


def test_a_book_with_copies_stays(as_librarian, make):
    copy = make.copy()
    answer = as_librarian.change(f"/books/{copy.book_id}", "DELETE")
    assert (answer.status_code, answer.json["errors"][0]["code"]) == (409, "still_in_use")
    assert answer.json["errors"][0]["params"] == {"by": {"copies": 1}}


def test_patrons_read_and_do_not_write(as_patron, make):
    book = make.book()
    assert as_patron.get("/books").status_code == 200
    assert as_patron.post("/books", json={"not": "even valid"}).status_code == 403
    assert as_patron.change(f"/books/{book.id}", "DELETE").status_code == 403


def test_strangers_get_401_before_anything_is_parsed(client):
    assert client.post("/books", data="{", content_type="application/json").status_code == 401
    assert client.get("/books?what=ever").status_code == 401


def test_filters_and_sort(as_patron, make, melville):
    moby = make.book(melville, title="Moby-Dick", year=1851, language="eng")
    omoo = make.book(melville, title="Omoo", year=1847, language="eng")
    faust = make.book(title="Faust", year=1808, language="ger")
    copy = make.copy(book=faust)

    def ids(query: str) -> list[int]:
        return [row["id"] for row in as_patron.get(f"/books?{query}").json]

    assert ids(f"author_id={melville.id}&sort=year") == [omoo.id, moby.id]
    assert ids("year_min=1848") == [moby.id]
    assert ids("language=ger") == [faust.id]
    assert ids("sort=title") == [faust.id, moby.id, omoo.id]
    assert ids("sort=-year,title") == [moby.id, omoo.id, faust.id]
    assert ids(f"ids={moby.id}&ids={faust.id}&sort=title") == [faust.id, moby.id]
    assert ids("available=true") == [faust.id]
    assert as_patron.get(f"/copies?barcode={copy.barcode}").json[0]["book_id"] == faust.id


@pytest.mark.parametrize(
    "query",
    [
        "page=0",
        "page=x",
        "page_size=101",
        "page_size=5&per_page=5",
        "sort=colour",
        "sort=year,-year",
        "what=1",
        "page=1&page=2",
        "page=2000&page_size=100",
    ],
)
def test_bad_parameters_are_named(as_patron, query):
    answer = as_patron.get(f"/books?{query}")
    assert answer.status_code == 422, answer.text
    assert answer.json["errors"][0]["parameter"] in ("page", "page_size", "per_page", "sort", "what")


def test_pages_are_walked_by_link(as_patron, make):
    titles = [make.book(title=f"Volume {number:02}").title for number in range(23)]
    seen, path = [], "/books?sort=title&page_size=10"
    while path:
        answer = as_patron.get(path)
        assert answer.headers["X-Total-Count"] == "23"
        seen += [row["title"] for row in answer.json]
        links = {part.split("; ")[1]: part.split(">")[0].lstrip("<") for part in answer.headers["Link"].split(", ")}
        path = links.get('rel="next"')
    assert seen == titles
    beyond = as_patron.get("/books?page=9")
    assert (beyond.status_code, beyond.json) == (200, [])


def test_what_has_no_value_sorts_last_both_ways(as_patron, make):
    old, none, new = make.book(year=1999), make.book(year=None), make.book(year=2005)
    for sort, order in (("year", [old, new, none]), ("-year", [new, old, none])):
        assert [row["id"] for row in as_patron.get(f"/books?sort={sort}").json] == [book.id for book in order]
