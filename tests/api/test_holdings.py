"""Branches, item types, headings and copies."""

import pytest


@pytest.mark.parametrize(
    ("path", "body", "change"),
    [
        ("/branches", {"name": "Harbour", "time_zone": "Europe/Berlin"}, {"pickup_point": False}),
        ("/item-types", {"name": "Film", "default_price_cents": 2500}, {"not_for_loan": True}),
        ("/authors", {"name": "Austen, Jane", "dates": "1775-1817"}, {"kind": "body"}),
        ("/subjects", {"name": "Whales -- Fiction"}, {"name": "Whales"}),
        ("/patron-categories", {"name": "Adults"}, {"self_registration": True}),
    ],
)
def test_plain_nouns(as_admin, path, body, change):
    created = as_admin.post(path, json=body)
    assert created.status_code == 201, created.text
    one = created.headers["Location"]
    assert as_admin.get(one).headers["ETag"] == created.headers["ETag"]
    patched = as_admin.change(one, json=change, tag=created.headers["ETag"])
    assert {name: patched.json[name] for name in change} == change
    assert as_admin.get(path).json == [patched.json]
    twin = as_admin.post(path, json=body | change)
    assert (twin.status_code, twin.json["errors"][0]["code"]) == (409, "already_exists")
    replaced = as_admin.change(one, "PUT", json=body)
    assert replaced.json == created.json
    assert as_admin.change(one, "DELETE").status_code == 204
    assert as_admin.get(path).json == []


def test_hours_of_a_branch(as_admin):
    hours = [{"weekday": 1, "opens": "09:00", "closes": "18:00"}]
    created = as_admin.post("/branches", json={"name": "Main", "hours": hours})
    assert (created.json["hours"], created.json["time_zone"]) == (hours, "UTC")
    upside_down = [{"weekday": 1, "opens": "18:00", "closes": "09:00"}]
    bad = as_admin.post("/branches", json={"name": "Other", "hours": upside_down})
    assert bad.json["errors"][0]["pointer"] == "/hours/0/closes"
    bad = as_admin.post("/branches", json={"name": "Other", "time_zone": "Mars/Olympus"})
    assert bad.json["errors"][0]["pointer"] == "/time_zone"


def test_branches_are_the_admins(as_librarian):
    assert as_librarian.post("/branches", json={"name": "Mine"}).status_code == 403


def test_a_renamed_author_is_found_by_the_new_name_at_once(as_librarian, make):
    author = make.author(name="Clemens, Samuel")
    book = make.book(author, title="Roughing it")
    assert as_librarian.get("/books?q=clemens").json[0]["id"] == book.id
    as_librarian.change(f"/authors/{author.id}", json={"name": "Twain, Mark"})
    assert as_librarian.get("/books?q=clemens").json == []
    found = as_librarian.get("/books?q=twain").json
    assert found[0]["contributors"][0]["name"] == "Twain, Mark"


def test_an_author_of_books_stays(as_librarian, make):
    author = make.author()
    make.book(author)
    answer = as_librarian.change(f"/authors/{author.id}", "DELETE")
    assert answer.json["errors"][0]["params"] == {"by": {"contributions": 1}}


def test_headings_are_searched_without_accents(as_patron, make):
    make.author(name="Gödel, Kurt")
    make.author(name="Goethe, Johann Wolfgang von")
    assert [row["name"] for row in as_patron.get("/authors?q=godel").json] == ["Gödel, Kurt"]


def test_copies(as_librarian, make):
    book, branch = make.book(), make.branch()
    created = as_librarian.post("/copies", json={"book_id": book.id, "home_branch_id": branch.id, "barcode": " X1 "})
    assert created.status_code == 201, created.text
    assert (created.json["barcode"], created.json["place"], created.json["condition"]) == ("X1", "available", "usable")
    assert created.json["current_branch_id"] == branch.id
    path = created.headers["Location"]
    assert as_librarian.get(path).headers["ETag"] == created.headers["ETag"]
    changed = as_librarian.change(path, json={"shelf_mark": "QA 76", "price_cents": 1999})
    assert (changed.json["shelf_mark"], changed.json["price_cents"]) == ("QA 76", 1999)
    assert as_librarian.get(path).headers["ETag"] == changed.headers["ETag"]
    named = as_librarian.post("/copies", json={"book_id": book.id, "home_branch_id": branch.id})
    assert named.json["barcode"].startswith("C")
    assert as_librarian.get(f"/copies?book_id={book.id}").headers["X-Total-Count"] == "2"
    assert as_librarian.change(path, "DELETE").status_code == 204


def test_the_place_of_a_copy_is_not_written(as_librarian, make):
    copy = make.copy()
    for body in ({"place": "on_loan"}, {"condition": "lost"}, {"book_id": 1}):
        answer = as_librarian.change(f"/copies/{copy.id}", json=body)
        assert (answer.status_code, answer.json["errors"][0]["code"]) == (422, "unknown_member")


def test_a_copy_that_is_out_or_was_lent_stays(as_librarian, make):
    loan = make.loan()
    answer = as_librarian.change(f"/copies/{loan.copy_id}", "DELETE")
    assert answer.json["errors"][0]["code"] == "copy_is_out"


def test_bad_references_name_their_field(as_librarian, make):
    answer = as_librarian.post("/copies", json={"book_id": 77, "home_branch_id": 2**31})
    assert answer.status_code == 422
    assert {(error["pointer"], error["code"]) for error in answer.json["errors"]} == {
        ("/book_id", "book_not_found"),
        ("/home_branch_id", "out_of_range"),
    }
