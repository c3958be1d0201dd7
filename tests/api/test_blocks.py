"""Blocks over HTTP: below the patron they bar."""

import pytest


@pytest.fixture
def patron(make):
    return make.user()


@pytest.fixture
def path(patron) -> str:
    return f"/users/{patron.id}/blocks"


def test_a_block_is_laid_read_changed_and_lifted(as_librarian, patron, path):
    body = {"scope": "loans", "until_on": "2026-12-31", "reason": "Damaged three films."}
    laid = as_librarian.post(path, json=body)
    assert laid.status_code == 201, laid.text
    assert {name: laid.json[name] for name in body} == body
    assert (laid.json["user_id"], laid.json["created_by_id"]) == (patron.id, as_librarian.user_id)
    where = laid.headers["Location"]
    assert where == f"{path}/{laid.json['id']}"
    read = as_librarian.get(where)
    assert (read.json, read.headers["ETag"]) == (laid.json, laid.headers["ETag"])

    changed = as_librarian.change(where, json={"until_on": "2026-01-31"}, tag=laid.headers["ETag"])
    assert changed.status_code == 200, changed.text
    assert changed.json == laid.json | {"until_on": "2026-01-31"}
    assert as_librarian.get(path).json == [changed.json]
    assert as_librarian.change(where, json={"reason": "x"}, tag=laid.headers["ETag"]).status_code == 412
    assert as_librarian.patch(where, json={"reason": "x"}).status_code == 428

    assert as_librarian.change(where, "DELETE", tag=changed.headers["ETag"]).status_code == 204
    assert as_librarian.get(path).json == []
    assert as_librarian.get(where).status_code == 404


def test_a_block_needs_a_reason_and_nothing_else(as_librarian, path):
    laid = as_librarian.post(path, json={"reason": "x"})
    assert (laid.json["scope"], laid.json["until_on"]) == ("all", None)
    for body, pointer, code in (
        ({}, "/reason", "required"),
        ({"reason": " "}, "/reason", "too_short"),
        ({"reason": "x", "scope": "everything"}, "/scope", "unknown_value"),
        ({"reason": "x", "user_id": 1}, "/user_id", "unknown_member"),
    ):
        answer = as_librarian.post(path, json=body)
        assert answer.status_code == 422
        assert [(error["pointer"], error["code"]) for error in answer.json["errors"]] == [(pointer, code)]


def test_a_block_stands_below_its_own_patron_only(as_librarian, path, make):
    block = as_librarian.post(path, json={"reason": "x"}).json
    elsewhere = f"/users/{make.user().id}/blocks/{block['id']}"
    assert as_librarian.get(elsewhere).status_code == 404
    assert as_librarian.change(elsewhere, json={"reason": "y"}).status_code == 404
    assert as_librarian.change(elsewhere, "DELETE").status_code == 404
    for nobody in ("/users/1000000/blocks", f"/users/1000000/blocks/{block['id']}", f"{path}/1000000"):
        assert as_librarian.get(nobody).status_code == 404
    assert as_librarian.post("/users/1000000/blocks", json={"reason": "x"}).status_code == 404
    assert [row["reason"] for row in as_librarian.get(path).json] == ["x"]


def test_blocks_go_with_the_account(as_librarian, path, patron):
    as_librarian.post(path, json={"reason": "x"})
    assert as_librarian.change(f"/users/{patron.id}", "DELETE").status_code == 204
    assert as_librarian.get(path).status_code == 404


def test_blocks_are_for_staff(as_patron, client):
    path = f"/users/{as_patron.user_id}/blocks"
    assert as_patron.get(path).status_code == 403
    assert as_patron.post(path, json={"reason": "x"}).status_code == 403
    assert client.get(path).status_code == 401
