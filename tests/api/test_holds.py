"""Holds over HTTP: who may hold what for whom, queues, suspensions and the pick list."""

from datetime import UTC, datetime, timedelta

import pytest

from library.models import Hold, HoldState, PolicyKind, User

TODAY = datetime.now(UTC).date()
FAR = "2199-12-31"


def codes(answer) -> list[str]:
    return [error["code"] for error in answer.json["errors"]]


@pytest.fixture
def branch(make):
    return make.branch()


@pytest.fixture
def me(make, branch):
    return make.user(username="me", home_branch=branch)


@pytest.fixture
def mine(signed_in, me):
    """The patron who holds."""
    return signed_in(me)


@pytest.fixture
def book(make, branch):
    """A book whose one copy is lent."""
    book = make.book()
    make.loan(copy=make.copy(book=book, home_branch=branch))
    return book


@pytest.fixture
def hold(make, book, me):
    return make.hold(book, me)


# --- Placing ------------------------------------------------------------------------------------


def test_a_patron_places_a_hold_for_themselves(mine, me, book, branch, make):
    make.hold(book)
    answer = mine.post("/holds", json={"book_id": book.id})
    assert answer.status_code == 201, answer.text
    assert answer.json == {
        "id": answer.json["id"],
        "patron_id": me.id,
        "book_id": book.id,
        "copy_id": None,
        "assigned_copy_id": None,
        "pickup_branch_id": branch.id,
        "state": "queued",
        "position": 2,
        "queue_length": 2,
        "placed_at": answer.json["placed_at"],
        "not_needed_after": None,
        "suspended": False,
        "suspended_until": None,
        "ready_at": None,
        "shelf_until_at": None,
        "shelf_until_on": None,
        "time_zone": None,
        "ended_at": None,
        "ended_why": None,
        "end_reason": None,
    }
    assert answer.headers["Location"] == f"/holds/{answer.json['id']}"
    again = mine.get(answer.headers["Location"])
    assert (again.json, again.headers["ETag"]) == (answer.json, answer.headers["ETag"])


def test_staff_place_holds_for_patrons_and_name_them(as_admin, me, book, make):
    unnamed = as_admin.post("/holds", json={"book_id": book.id})
    assert (unnamed.status_code, codes(unnamed)) == (422, ["required"])
    assert unnamed.json["errors"][0]["pointer"] == "/patron_id"
    elsewhere, copy = make.branch(), make.loan(copy=make.copy(book=book)).copy
    body = {"patron_id": me.id, "copy_id": copy.id, "pickup_branch_id": elsewhere.id, "not_needed_after": FAR}
    answer = as_admin.post("/holds", json={"book_id": book.id} | body)
    assert answer.status_code == 201, answer.text
    assert {name: answer.json[name] for name in body} == body


def test_a_patron_holds_for_nobody_else(mine, make, book):
    theirs, nobodys = (
        mine.post("/holds", json={"book_id": book.id, "patron_id": key}) for key in (make.user().id, 999)
    )
    assert (theirs.status_code, nobodys.status_code) == (422, 422)
    assert {**theirs.json, "request_id": ""} == {**nobodys.json, "request_id": ""}


def test_unknown_books_and_copies_are_422_and_an_unknown_branch_a_reason(mine, book):
    answer = mine.post("/holds", json={"book_id": 999, "copy_id": 999})
    assert {error["pointer"]: error["code"] for error in answer.json["errors"]} == {
        "/book_id": "book_not_found",
        "/copy_id": "copy_not_found",
    }
    answer = mine.post("/holds", json={"book_id": book.id, "pickup_branch_id": 999, "not_needed_after": "2020-01-01"})
    assert (answer.status_code, codes(answer)) == (409, ["pickup_unknown", "not_needed_in_the_past"])


def test_a_preview_places_nothing(mine, book, session, make):
    answer = mine.post("/holds/preview", json={"book_id": book.id})
    assert answer.status_code == 200, answer.text
    assert (answer.json["ok"], answer.json["errors"], answer.json["result"]["position"]) == (True, [], 1)
    assert session.query(Hold).count() == 0
    answer = mine.post("/holds/preview", json={"book_id": make.book().id})
    assert (answer.json["ok"], codes(answer), answer.json["result"]) == (False, ["not_holdable"], None)
    assert answer.json["errors"][0]["params"] == {"why": "no_copies"}


def test_staff_override_with_a_reason_and_patrons_do_not(mine, as_librarian, me, book, make):
    make.policy(PolicyKind.MAX_HOLDS, 0)
    body = {"book_id": book.id, "patron_id": me.id, "overrides": [{"code": "hold_limit", "reason": "For the exam."}]}
    refused = mine.post("/holds", json=body)
    assert (refused.status_code, codes(refused)) == (409, ["override_not_permitted", "hold_limit"])
    assert as_librarian.post("/holds", json=body).status_code == 201


def test_a_reason_never_names_the_others_who_wait(mine, make, book, me):
    other = make.user(username="rival", first_name="Ottilie")
    make.hold(book, other)
    make.hold(book, me)
    answer = mine.post("/holds", json={"book_id": book.id})
    assert codes(answer) == ["already_held"]
    assert answer.json["errors"][0]["params"] == {"count": 1, "limit": 1}
    assert "rival" not in answer.text
    assert "Ottilie" not in answer.text


# --- Reading ------------------------------------------------------------------------------------


def test_patrons_see_their_own_holds_and_no_others(mine, as_librarian, make, hold, me):
    other = make.hold()
    assert [row["id"] for row in mine.get("/holds").json] == [hold.id]
    hidden, absent = mine.get(f"/holds/{other.id}"), mine.get("/holds/999")
    assert (hidden.status_code, absent.status_code) == (404, 404)
    assert {**hidden.json, "request_id": ""} == {**absent.json, "request_id": ""}
    for change in (
        lambda key: mine.change(f"/holds/{key}", json={"suspended": True}),
        lambda key: mine.post(f"/holds/{key}/cancel", json={}),
    ):
        assert (change(other.id).status_code, change(999).status_code) == (404, 404)
    assert mine.get(f"/holds?patron_id={me.id}").status_code == 200
    assert mine.get(f"/holds?patron_id={other.patron_id}").status_code == 422
    assert {row["id"] for row in as_librarian.get("/holds").json} == {hold.id, other.id}


def test_lists_are_narrowed_and_sorted(as_librarian, make, hold):
    ready = make.hold(assigned_copy=make.copy(), state=HoldState.READY)

    def ids(query: str) -> list[int]:
        return [row["id"] for row in as_librarian.get(f"/holds?{query}").json]

    assert ids("state=ready") == [ready.id]
    assert ids(f"patron_id={hold.patron_id}") == [hold.id]
    assert ids(f"book_id={ready.book_id}") == [ready.id]
    assert ids(f"pickup_branch_id={ready.pickup_branch_id}") == [ready.id]
    assert ids("sort=-shelf_until_at") == [ready.id, hold.id]


def test_what_lies_ready_has_no_place_and_says_until_when(as_librarian, make):
    ready = make.hold(assigned_copy=make.copy(), state=HoldState.READY)
    shown = as_librarian.get(f"/holds/{ready.id}").json
    assert (shown["position"], shown["queue_length"]) == (None, None)
    assert (shown["shelf_until_on"], shown["assigned_copy_id"]) == ("2026-03-09", ready.assigned_copy_id)


def test_a_page_of_holds_looks_up_all_places_at_once(as_librarian, make, book, statements):
    def count() -> int:
        statements.clear()
        assert all(row["position"] for row in as_librarian.get("/holds?page_size=100").json)
        return len(statements)

    make.hold(book)
    few = count()
    for _ in range(10):
        make.hold()
        make.hold(book)
    assert count() == few


# --- Changing -----------------------------------------------------------------------------------


def test_a_hold_is_changed_by_its_owner(mine, make, hold):
    there = make.branch()
    body = {"pickup_branch_id": there.id, "not_needed_after": FAR, "suspended_until": FAR}
    tag = mine.get(f"/holds/{hold.id}").headers["ETag"]
    answer = mine.change(f"/holds/{hold.id}", tag=tag, json=body)
    assert answer.status_code == 200, answer.text
    assert {name: answer.json[name] for name in body} == body
    assert (answer.json["suspended"], answer.json["position"]) == (True, 1)
    assert mine.get(f"/holds/{hold.id}").headers["ETag"] == answer.headers["ETag"]
    assert mine.change(f"/holds/{hold.id}", tag=tag, json=body).status_code == 412
    assert mine.patch(f"/holds/{hold.id}", json=body).status_code == 428
    resumed = mine.change(f"/holds/{hold.id}", json={"suspended": False, "not_needed_after": None}).json
    assert (resumed["suspended"], resumed["suspended_until"], resumed["not_needed_after"]) == (False, None, None)


def test_a_change_is_refused_for_all_reasons(mine, hold, as_librarian, make):
    body = {"pickup_branch_id": 999, "not_needed_after": "2020-01-01", "suspended_until": "2020-01-01"}
    answer = mine.change(f"/holds/{hold.id}", json=body)
    assert (answer.status_code, codes(answer)) == (
        409,
        ["pickup_unknown", "not_needed_in_the_past", "suspended_in_the_past"],
    )
    ready = make.hold(assigned_copy=make.copy(), state=HoldState.READY)
    body = {"pickup_branch_id": make.branch().id, "suspended": True}
    assert codes(as_librarian.change(f"/holds/{ready.id}", json=body)) == ["pickup_fixed", "not_suspendable"]
    body = {"suspended": False, "suspended_until": FAR}
    conflict = mine.change(f"/holds/{hold.id}", json=body)
    assert (conflict.status_code, codes(conflict)) == (422, ["conflict"])


# --- Cancelling ---------------------------------------------------------------------------------


def test_a_patron_cancels_their_hold(mine, hold, session, me):
    answer = mine.post(f"/holds/{hold.id}/cancel", json={"reason": "Bought it."})
    assert answer.status_code == 200, answer.text
    assert answer.json["route"] is None
    shown = answer.json["hold"]
    assert (shown["state"], shown["ended_why"], shown["end_reason"], shown["position"]) == (
        "cancelled",
        "cancelled_by_patron",
        "Bought it.",
        None,
    )
    assert codes(mine.post(f"/holds/{hold.id}/cancel", json={})) == ["hold_ended"]
    assert codes(mine.change(f"/holds/{hold.id}", json={"suspended": True})) == ["hold_ended"]
    session.expire_all()
    assert session.get(Hold, hold.id).ended_by_id == me.id


def test_a_cancelled_hold_says_where_its_copy_goes(as_admin, make):
    copy = make.copy()
    ready = make.hold(assigned_copy=copy, state=HoldState.READY, pickup_branch=copy.home_branch)
    answer = as_admin.post(f"/holds/{ready.id}/cancel", json={})
    assert answer.status_code == 200, answer.text
    assert answer.json["route"] == {"action": "shelve", "branch_id": copy.home_branch_id, "reason": "home"}
    assert answer.json["hold"]["ended_why"] == "cancelled_by_staff"


# --- Suspending ---------------------------------------------------------------------------------


def test_all_holds_are_suspended_and_resumed_with_a_verdict_each(mine, as_librarian, make, me, hold):
    ready = make.hold(patron=me, assigned_copy=make.copy(), state=HoldState.READY)
    answer = mine.post("/holds/suspend", json={"until_on": FAR})
    assert answer.status_code == 200, answer.text
    first, second = answer.json["results"]
    assert (first["index"], first["ok"], first["hold"]["id"], first["errors"]) == (0, True, hold.id, [])
    assert (first["hold"]["suspended_until"], first["hold"]["position"]) == (FAR, 1)
    assert (second["index"], second["ok"], second["hold"]["id"]) == (1, False, ready.id)
    assert (second["errors"][0]["code"], second["errors"][0]["params"]) == ("not_suspendable", {"state": "ready"})
    resumed = as_librarian.post("/holds/resume", json={"patron_id": me.id})
    assert [(row["ok"], row["hold"]["suspended"]) for row in resumed.json["results"]] == [(True, False)]
    assert mine.post("/holds/resume", json={}).json == {"results": []}


def test_staff_say_whose_holds_are_meant_and_patrons_mean_their_own(as_librarian, mine, make):
    for path in ("/holds/suspend", "/holds/resume"):
        assert as_librarian.post(path, json={}).json["errors"][0]["pointer"] == "/patron_id"
        assert mine.post(path, json={"patron_id": make.user().id}).status_code == 422


# --- Queues -------------------------------------------------------------------------------------


@pytest.fixture
def three(make, book):
    return [make.hold(book).id for _ in range(3)]


def test_staff_read_a_queue_and_put_it_in_another_order(as_librarian, book, three):
    path = f"/books/{book.id}/queue"
    queue = as_librarian.get(path)
    assert [(row["id"], row["position"], row["queue_length"]) for row in queue.json["holds"]] == [
        (key, at, 3) for at, key in enumerate(three, 1)
    ]
    put = as_librarian.change(path, "PUT", queue.headers["ETag"], json={"hold_ids": three[::-1]})
    assert put.status_code == 200, put.text
    assert [row["id"] for row in put.json["holds"]] == three[::-1]
    again = as_librarian.get(path)
    assert (again.json, again.headers["ETag"]) == (put.json, put.headers["ETag"])
    stale = as_librarian.change(path, "PUT", queue.headers["ETag"], json={"hold_ids": three})
    assert stale.status_code == 412
    assert as_librarian.put(path, json={"hold_ids": three}).status_code == 428


def test_a_queue_that_changed_is_not_reordered_behind_the_newcomers_back(as_librarian, make, book, three):
    path = f"/books/{book.id}/queue"
    tag = as_librarian.get(path).headers["ETag"]
    newcomer = make.hold(book).id
    assert as_librarian.change(path, "PUT", tag, json={"hold_ids": three}).status_code == 412
    refused = as_librarian.change(path, "PUT", json={"hold_ids": [*three[:2], 999]})
    assert (refused.status_code, codes(refused)) == (409, ["queue_changed"])
    assert refused.json["errors"][0]["params"] == {"missing": [three[2], newcomer], "unknown": [999]}


def test_queues_are_for_staff_and_books_that_are_there(as_librarian, mine, book):
    assert as_librarian.get("/books/999/queue").status_code == 404
    assert as_librarian.change("/books/999/queue", "PUT", json={"hold_ids": []}).status_code == 404
    assert as_librarian.get(f"/books/{book.id}/queue").json == {"book_id": book.id, "holds": []}
    for path in (f"/books/{book.id}/queue", "/reports/pick-list"):
        assert mine.get(path).status_code == 403


def test_a_long_queue_is_read_in_few_statements(as_librarian, make, book, three, statements):
    def count() -> int:
        statements.clear()
        as_librarian.get(f"/books/{book.id}/queue")
        return len(statements)

    few = count()
    for _ in range(10):
        make.hold(book)
    assert count() == few


# --- The pick list ------------------------------------------------------------------------------


def test_the_pick_list_says_what_to_fetch_for_whom(as_librarian, make, book, branch, hold):
    assert as_librarian.get("/reports/pick-list").json == []
    copy = make.copy(book=book, home_branch=branch, shelf_mark="PS 1")
    expected = {
        "copy_id": copy.id,
        "barcode": copy.barcode,
        "shelf_mark": "PS 1",
        "branch_id": branch.id,
        "book_id": book.id,
        "title": book.title,
        "hold_id": hold.id,
        "patron_id": hold.patron_id,
        "pickup_branch_id": branch.id,
    }
    assert as_librarian.get("/reports/pick-list").json == [expected]
    assert as_librarian.get(f"/reports/pick-list?branch_id={branch.id}").json == [expected]
    assert as_librarian.get(f"/reports/pick-list?branch_id={make.branch().id}").json == []
    assert as_librarian.get("/reports/pick-list?branch_id=999").status_code == 422


# --- Into the library and out -------------------------------------------------------------------


def test_a_hold_goes_its_way(mine, as_librarian, make, me, session):
    """Held, trapped at the desk, lent to its holder."""
    home = session.get(User, as_librarian.user_id).home_branch
    copy = make.copy(home_branch=home)
    placed = mine.post("/holds", json={"book_id": copy.book_id, "pickup_branch_id": home.id}).json
    back = as_librarian.post("/check-ins", json={"copy_barcode": copy.barcode}).json
    assert (back["route"]["action"], back["hold"]["id"], back["hold"]["state"]) == ("hold_shelf", placed["id"], "ready")
    ready = mine.get(f"/holds/{placed['id']}").json
    assert (ready["assigned_copy_id"], ready["position"], ready["time_zone"]) == (copy.id, None, "Europe/Berlin")
    assert TODAY < datetime.fromisoformat(ready["shelf_until_at"]).date() <= TODAY + timedelta(days=9)
    lent = as_librarian.post("/loans", json={"copy_barcode": copy.barcode, "patron_barcode": me.card_barcode})
    assert lent.status_code == 201, lent.text
    ended = mine.get(f"/holds/{placed['id']}").json
    assert (ended["state"], ended["ended_why"], ended["assigned_copy_id"]) == ("fulfilled", "borrowed", None)
    assert codes(mine.post("/holds", json={"book_id": copy.book_id})) == ["already_borrowed"]
