"""Availability over HTTP: what anybody sees of books, and what a patron is told besides."""

import pytest

from library.models import CopyPlace, PolicyKind


@pytest.fixture
def branch(make):
    return make.branch()


@pytest.fixture
def mine(signed_in, make, branch):
    return signed_in(make.user(home_branch=branch))


@pytest.fixture
def copy(make, branch):
    return make.copy(home_branch=branch)


def test_staff_see_what_there_is(as_librarian, make, copy, branch):
    make.copy(book=copy.book, home_branch=branch, place=CopyPlace.IN_PROCESS)
    lent = make.loan()
    make.hold(lent.copy.book)
    answer = as_librarian.get(f"/books/availability?ids={lent.copy.book_id}&ids={copy.book_id}&ids={copy.book_id}")
    assert answer.status_code == 200, answer.text
    assert answer.json == [
        {
            "book_id": lent.copy.book_id,
            "copies": 1,
            "branches": [{"branch_id": lent.branch_id, "free": 0, "total": 1}],
            "queue_length": 1,
            "next_due_on": lent.due_on.isoformat(),
            "may_hold": None,
            "may_borrow": None,
        },
        {
            "book_id": copy.book_id,
            "copies": 2,
            "branches": [{"branch_id": branch.id, "free": 1, "total": 2}],
            "queue_length": 0,
            "next_due_on": None,
            "may_hold": None,
            "may_borrow": None,
        },
    ]


def test_patrons_are_told_what_they_may_do_and_if_not_why(mine, make, copy):
    make.policy(PolicyKind.MAX_HOLDS, 0)
    lent = make.loan()
    free, gone = mine.get(f"/books/availability?ids={copy.book_id}&ids={lent.copy.book_id}").json
    assert free["may_borrow"] == {"ok": True, "errors": []}
    assert free["may_hold"]["ok"] is False
    [error] = free["may_hold"]["errors"]
    assert (error["code"], error["params"]) == ("hold_limit", {"scope": "all", "count": 0, "limit": 0})
    assert "pointer" not in error
    assert (gone["may_borrow"]["ok"], gone["may_borrow"]["errors"][0]["code"]) == (False, "item_on_loan")


def test_a_patron_learns_nothing_of_the_others_who_wait(mine, make, copy):
    rival = make.user(username="rival", first_name="Ottilie")
    make.hold(copy.book, rival)
    answer = mine.get(f"/books/availability?ids={copy.book_id}")
    [error] = answer.json[0]["may_borrow"]["errors"]
    assert (error["code"], error["params"]) == ("wanted_by_others", {"waiting": 1, "free": 1})
    assert "rival" not in answer.text
    assert "Ottilie" not in answer.text


def test_books_are_named_and_are_there(mine, copy):
    for query, code in (
        ("", "required"),
        ("?ids=999", "book_not_found"),
        (f"?ids={copy.book_id}&ids=999", "book_not_found"),
        ("?ids=x", "invalid_type"),
        ("?" + "&".join(f"ids={key}" for key in range(1, 102)), "too_many"),
    ):
        answer = mine.get(f"/books/availability{query}")
        assert (answer.status_code, answer.json["errors"][0]["code"]) == (422, code), query
        assert answer.json["errors"][0]["parameter"] == "ids"


def test_strangers_see_it_where_the_catalogue_is_open(client, app, copy):
    path = f"/books/availability?ids={copy.book_id}"
    assert client.get(path).status_code == 401
    app.config["PUBLIC_CATALOGUE"] = True
    try:
        answer = client.get(path)
    finally:
        app.config["PUBLIC_CATALOGUE"] = False
    assert (answer.status_code, answer.json[0]["may_hold"]) == (200, None)
