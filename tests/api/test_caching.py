"""Kept pages: right under query strings, identity and writes."""

import pytest


def asks_for_books(statements: list[str]) -> bool:
    return any("FROM books" in statement for statement in statements)


def test_a_warm_page_does_not_ask_for_books(as_patron, make, statements):
    make.book(title="One")
    cold = as_patron.get("/books?page_size=5&sort=title")
    statements.clear()
    warm = as_patron.get("/books?sort=title&page_size=5")
    assert not asks_for_books(statements)
    assert (warm.data, warm.headers["ETag"]) == (cold.data, cold.headers["ETag"])
    assert warm.headers["X-Total-Count"] == "1"
    again = as_patron.get("/books?sort=title&page_size=5", headers={"If-None-Match": cold.headers["ETag"]})
    assert again.status_code == 304


def test_query_strings_do_not_mix(as_patron, make):
    make.book(title="One", year=2001)
    make.book(title="Two", year=2002)
    assert [row["title"] for row in as_patron.get("/books?year_min=2002").json] == ["Two"]
    assert [row["title"] for row in as_patron.get("/books?year_max=2001").json] == ["One"]
    assert len(as_patron.get("/books").json) == 2


def test_queries_in_raw_bytes_do_not_mix(as_patron, make):
    make.book(title="ж")
    make.book(title="щ")

    def titles(q: str) -> list[str]:
        raw = f"q={q}".encode().decode("latin-1")
        return [row["title"] for row in as_patron.get("/books", environ_overrides={"QUERY_STRING": raw}).json]

    assert [titles("ж"), titles("щ")] == [["ж"], ["щ"]]


@pytest.mark.parametrize("kind", ["post", "patch", "put", "delete", "author", "subject"])
def test_a_write_is_never_followed_by_a_stale_read(as_librarian, as_patron, make, kind):
    author, subject = make.author(), make.subject()
    book = make.book(author, subjects=[subject])
    before = as_patron.get("/books").data
    path = f"/books/{book.id}"
    answer = {
        "post": lambda: as_librarian.post("/books", json={"title": "New"}),
        "patch": lambda: as_librarian.change(path, json={"title": "New"}),
        "put": lambda: as_librarian.change(path, "PUT", json={"title": "New"}),
        "delete": lambda: as_librarian.change(path, "DELETE"),
        "author": lambda: as_librarian.change(f"/authors/{author.id}", json={"name": "New"}),
        "subject": lambda: as_librarian.change(f"/subjects/{subject.id}", json={"name": "New"}),
    }[kind]()
    assert answer.status_code < 300, answer.text
    assert as_patron.get("/books").data != before


def test_a_refused_write_leaves_the_kept_page(as_librarian, as_patron, make, statements):
    make.book()
    as_patron.get("/books")
    as_librarian.post("/books", json={})
    statements.clear()
    as_patron.get("/books")
    assert not asks_for_books(statements)


def test_live_counts_are_never_kept(as_librarian, make):
    copy, patron = make.copy(), make.user()
    assert len(as_librarian.get("/books?available=true").json) == 1
    body = {"copy_barcode": copy.barcode, "patron_barcode": patron.card_barcode}
    assert as_librarian.post("/loans", json=body).status_code == 201
    assert as_librarian.get("/books?available=true").json == []


def test_personal_data_is_not_for_caches_on_the_way(as_patron, make):
    make.book()
    for path in ("/users/me", "/loans", "/books"):
        for _ in range(2):
            answer = as_patron.get(path)
            assert answer.headers["Cache-Control"] == "private, no-store"
            assert "Authorization" in answer.headers["Vary"].split(", ")


def test_a_stranger_gets_no_kept_page(as_patron, client, make):
    make.book()
    as_patron.get("/books")
    assert client.get("/books").status_code == 401


def test_an_open_catalogue_is_read_without_a_token(migrated):
    app = migrated(PUBLIC_CATALOGUE=True)
    client = app.test_client()
    assert client.get("/books").status_code == 200
    assert client.get("/loans").status_code == 401
    assert client.post("/books", json={"title": "x"}).status_code == 401
    assert client.get("/books", headers={"Authorization": "Bearer x"}).status_code == 401
