"""What the document says of a value is what the API takes: what schemathesis found wrong, kept right."""

import re

import pytest
from documented import document_of


@pytest.fixture
def schemas(app):
    return document_of(app)["components"]["schemas"]


@pytest.mark.parametrize(("sent", "taken"), [(1851, True), (1851.0, True), (1851.5, False), (2.0**53 * 4, False)])
def test_a_number_without_a_fraction_is_a_whole_one(as_librarian, sent, taken) -> None:
    """JSON Schema knows no difference between 1851 and 1851.0."""
    answer = as_librarian.post("/books", json={"title": "Moby-Dick", "year": sent})

    assert answer.status_code == (201 if taken else 422)
    assert not taken or answer.json["year"] == 1851


TITLES = ["Moby-Dick", " Moby-Dick ", "é", "", " ", "\t", "\u00a0", "Moby\nDick", "Moby\x1bDick", "\x9f"]


@pytest.mark.parametrize("title", TITLES)
def test_a_text_is_taken_where_it_has_the_pattern_of_the_document(as_librarian, schemas, title) -> None:
    told = schemas["BookInput"]["properties"]["title"]

    answer = as_librarian.post("/books", json={"title": title})

    fits = bool(re.search(told["pattern"], title)) and told["minLength"] <= len(title)
    assert answer.status_code == (201 if fits else 422)


@pytest.mark.parametrize("address", ["1 Quay\nHarbour", "1 Quay\tHarbour", "1 Quay\rHarbour", "\n"])
def test_so_is_one_of_several_lines(as_admin, schemas, address) -> None:
    pattern = schemas["BranchInput"]["properties"]["address"]["pattern"]

    answer = as_admin.post("/branches", json={"name": "Harbour", "address": address})

    assert answer.status_code == (201 if re.search(pattern, address) else 422)


@pytest.mark.parametrize("username", ["jane.doe", "jane doe", "jane@doe", "jane\x1b", "jane\x9f"])
def test_so_is_a_username(as_librarian, schemas, username) -> None:
    pattern = schemas["UserInput"]["properties"]["username"]["pattern"]

    answer = as_librarian.post("/users", json={"username": username})

    assert answer.status_code == (201 if re.search(pattern, username) else 422)


@pytest.mark.parametrize("day", ["1899-12-31", "1900-01-01", "2026-02-03", "2200-12-31", "2201-01-01", "0259-08-08"])
def test_so_is_a_day(as_librarian, schemas, day) -> None:
    pattern = schemas["UserInput"]["properties"]["expires_on"]["pattern"]

    answer = as_librarian.post("/users", json={"expires_on": day})

    assert answer.status_code == (201 if re.search(pattern, day) else 422)


@pytest.mark.parametrize("names", [{}, {"email": "jane"}, {"username": "jane"}, {"email": "jane", "username": "jane"}])
def test_who_logs_in_gives_as_many_members_as_the_document_says(client, schemas, names) -> None:
    told, body = schemas["LogIn"], {"password": "correct horse battery", **names}

    answer = client.post("/users/login", json=body)

    fits = told["minProperties"] <= len(body) <= told["maxProperties"]
    assert answer.status_code == (401 if fits else 422)


def test_a_header_without_which_a_call_is_refused_is_documented_as_required(app, as_librarian, make) -> None:
    path = "/books/{book_id}"
    headers = [told for told in document_of(app)["paths"][path]["patch"]["parameters"] if told["in"] == "header"]

    answer = as_librarian.patch(f"/books/{make.book().id}", json={"year": 1851})

    assert answer.status_code == 428
    assert next(told for told in headers if told["name"] == "If-Match")["required"]


@pytest.mark.parametrize("query", ["sort=", "expand=", "sort=&expand="])
def test_a_parameter_that_names_nothing_is_none_of_the_documents_names(as_librarian, query) -> None:
    assert as_librarian.get(f"/users?{query}").status_code == 422
