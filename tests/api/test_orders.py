"""Orders as drafts."""


def test_a_draft_is_written_read_changed_and_deleted(as_librarian, make):
    first, second = make.book(), make.book()
    body = {"note": "for the\nnew branch", "lines": [{"book_id": first.id, "quantity": 2}]}
    created = as_librarian.post("/orders", json=body)
    assert created.status_code == 201, created.text
    assert (created.json["status"], created.json["user_id"]) == ("draft", as_librarian.user_id)
    path = created.headers["Location"]
    assert as_librarian.get(path).headers["ETag"] == created.headers["ETag"]
    lines = [{"book_id": second.id, "quantity": 1}, {"book_id": first.id, "quantity": 3}]
    changed = as_librarian.change(path, json={"lines": lines}, tag=created.headers["ETag"])
    assert [(line["book_id"], line["quantity"]) for line in changed.json["lines"]] == [(second.id, 1), (first.id, 3)]
    assert changed.json["lines"][1]["id"] == created.json["lines"][0]["id"]
    assert as_librarian.get(path).headers["ETag"] == changed.headers["ETag"]
    assert as_librarian.change(path, json={"note": "x"}, tag=created.headers["ETag"]).status_code == 412
    assert as_librarian.change(path, "DELETE").status_code == 204
    assert as_librarian.get("/orders").json == []


def test_bad_lines_name_their_place_and_store_nothing(as_librarian, make):
    book = make.book()
    body = {"lines": [{"book_id": book.id, "quantity": 1}, {"book_id": book.id, "quantity": 0}, {"book_id": 9}]}
    answer = as_librarian.post("/orders", json=body)
    assert {error["pointer"] for error in answer.json["errors"]} == {
        "/lines/1/quantity",
        "/lines/2/quantity",
        "/lines/2/book_id",
    }
    assert as_librarian.get("/orders").json == []


def test_the_orders_of_a_user(as_librarian, as_patron, make):
    book = make.book()
    other = make.order(None, book)
    mine = as_librarian.post("/orders", json={"lines": []}).json
    assert as_librarian.get("/orders").headers["X-Total-Count"] == "2"
    assert [row["id"] for row in as_librarian.get("/orders?mine=true").json] == [mine["id"]]
    assert [row["id"] for row in as_librarian.get(f"/users/{other.user_id}/orders").json] == [other.id]
    assert as_patron.get("/orders").json == []
    assert as_patron.get(f"/users/{as_patron.user_id}/orders").json == []
    assert as_patron.get(f"/users/{other.user_id}/orders").status_code == 404
    assert as_patron.get(f"/orders/{other.id}").status_code == 404
    assert as_patron.post("/orders", json={}).status_code == 403
