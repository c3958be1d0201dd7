"""Policies and transfer limits over HTTP, and what comes out for a patron, a copy and a branch."""

import pytest

from library.models import Role
from library.rules.policies import SHAPES


def effective(client, query=""):
    answer = client.get(f"/policies/effective{query}")
    assert answer.status_code == 200, answer.text
    return {row["kind"]: (row["value"], row["policy_id"]) for row in answer.json}


def test_a_policy_from_making_to_deleting(as_admin, make):
    branch, category = make.branch(), make.category()
    body = {"kind": "loan_period", "branch_id": branch.id, "value": {"number": 14, "unit": "days"}}
    created = as_admin.post("/policies", json=body)
    assert created.status_code == 201, created.text
    assert created.json == body | {"id": created.json["id"], "patron_category_id": None, "item_type_id": None}
    path = created.headers["Location"]
    read = as_admin.get(path)
    assert (read.json, read.headers["ETag"]) == (created.json, created.headers["ETag"])
    other = {"kind": "max_loans", "patron_category_id": category.id, "value": 5}
    replaced = as_admin.change(path, "PUT", tag=created.headers["ETag"], json=other)
    assert replaced.json == other | {"id": created.json["id"], "branch_id": None, "item_type_id": None}
    assert as_admin.get(path).headers["ETag"] == replaced.headers["ETag"]
    stale = as_admin.change(path, "PUT", tag=created.headers["ETag"], json=other)
    assert stale.status_code == 412
    assert as_admin.change(path, "DELETE").status_code == 204
    assert as_admin.get(path).status_code == 404


def test_a_change_of_a_policy_wants_its_version(as_admin, make):
    path = f"/policies/{make.policy('max_loans', 5).id}"
    assert as_admin.put(path, json={"kind": "max_loans", "value": 6}).status_code == 428
    assert as_admin.patch(path, json={"value": 6}).status_code == 405


def test_policies_are_the_admins_and_read_by_librarians(as_patron, as_librarian, make):
    policy = make.policy("max_loans", 5)
    body = {"kind": "max_holds", "value": 5}
    assert as_librarian.get("/policies").json[0]["id"] == policy.id
    assert as_librarian.get(f"/policies/{policy.id}").json["value"] == 5
    assert as_librarian.post("/policies", json=body).status_code == 403
    assert as_librarian.change(f"/policies/{policy.id}", "PUT", json=body).status_code == 403
    assert as_librarian.change(f"/policies/{policy.id}", "DELETE").status_code == 403
    assert as_patron.get("/policies").status_code == 403
    assert as_patron.get(f"/policies/{policy.id}").status_code == 403


def test_policies_are_narrowed_and_sorted(as_librarian, make):
    branch, category, item_type = make.branch(), make.category(), make.item_type()
    rows = [
        make.policy("max_loans", 1, branch=branch),
        make.policy("max_loans", 2, patron_category=category),
        make.policy("auto_renew", True, item_type=item_type),
    ]

    def found(query):
        return [row["id"] for row in as_librarian.get(f"/policies{query}").json]

    assert found("") == [rows[2].id, rows[0].id, rows[1].id]
    assert found("?sort=-kind") == [rows[1].id, rows[0].id, rows[2].id]
    assert found("?kind=max_loans") == [rows[0].id, rows[1].id]
    assert found(f"?branch_id={branch.id}") == [rows[0].id]
    assert found(f"?patron_category_id={category.id}") == [rows[1].id]
    assert found(f"?item_type_id={item_type.id}") == [rows[2].id]


@pytest.mark.parametrize("method", ["POST", "PUT"])
@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("loan_period", 14),
        ("loan_period", None),
        ("loan_period", {"number": 14, "unit": "weeks"}),
        ("max_loans", -1),
        ("max_loans", 5.0),
        ("auto_renew", "yes"),
        ("hard_due_on", "30.6.2026"),
        ("renew_from", "yesterday"),
        ("fine_rate", {"per": "day", "steps": [{"from": 8, "cents": 1}, {"from": 1, "cents": 2}]}),
    ],
)
def test_a_value_that_its_kind_does_not_take_says_what_is_expected(as_admin, make, method, kind, value):
    path = "/policies" if method == "POST" else f"/policies/{make.policy('max_holds', 5).id}"
    answer = as_admin.change(path, method, json={"kind": kind, "value": value})
    (error,) = answer.json["errors"]
    assert (answer.status_code, error["pointer"], error["code"]) == (422, "/value", "bad_form")
    assert SHAPES[kind].expected in error["detail"]


def test_the_document_tells_the_form_of_every_kind(client):
    described = client.get("/openapi.json").json["components"]["schemas"]["PolicyInput"]["properties"]["value"]
    for kind, shape in SHAPES.items():
        assert f"`{kind.value}`: {shape.meaning}" in described["description"]


def test_bad_members_are_named_together(as_admin):
    answer = as_admin.post("/policies", json={"kind": "max_fun", "branch_id": 77, "scope_key": "0-0-0"})
    assert {(error["pointer"], error["code"]) for error in answer.json["errors"]} == {
        ("/kind", "unknown_value"),
        ("/branch_id", "branch_not_found"),
        ("/value", "required"),
        ("/scope_key", "unknown_member"),
    }


def test_a_second_row_of_one_scope_is_refused(as_admin, make):
    category = make.category()
    body = {"kind": "max_loans", "patron_category_id": category.id, "value": 5}
    first = as_admin.post("/policies", json=body)
    twin = as_admin.post("/policies", json=body | {"value": 6})
    (error,) = twin.json["errors"]
    assert (twin.status_code, error["code"], error["pointer"]) == (409, "already_exists", "/kind")
    assert error["params"] == {"members": ["kind", "branch_id", "patron_category_id", "item_type_id"]}
    wide = as_admin.post("/policies", json={"kind": "max_loans", "value": 9})
    moved = as_admin.change(wide.headers["Location"], "PUT", json=body)
    assert moved.json["errors"][0]["code"] == "already_exists"
    same = as_admin.change(first.headers["Location"], "PUT", json=body | {"value": 7})
    assert (same.status_code, same.json["value"]) == (200, 7)


def test_what_policies_speak_of_stays(as_admin, make):
    category = make.category()
    make.policy("max_loans", 5, patron_category=category)
    answer = as_admin.change(f"/patron-categories/{category.id}", "DELETE")
    assert answer.json["errors"][0]["params"] == {"by": {"policies": 1}}


# What comes out.


def test_without_rows_the_shipped_defaults_hold(as_patron):
    assert effective(as_patron) == {kind.value: (shape.default, None) for kind, shape in SHAPES.items()}


def test_every_kind_comes_with_the_row_it_is_from(signed_in, make):
    branch, category, item_type = make.branch(), make.category(), make.item_type()
    patron = make.user(patron_category=category)
    copy = make.copy(home_branch=branch, item_type=item_type)
    at_branch = make.policy("max_loans", 3, branch=branch)
    of_category = make.policy("max_loans", 2, patron_category=category, item_type=item_type)
    of_type = make.policy("fine_rate", {"per": "day", "cents": 20}, item_type=item_type)
    lifted = make.policy("max_holds", None, patron_category=category)
    make.policy("max_holds", 4)
    rate = ({"per": "day", "cents": 20}, of_type.id)
    client = signed_in(patron)
    mine = effective(client, f"?copy_id={copy.id}")
    assert (mine["max_loans"], mine["fine_rate"], mine["max_holds"]) == ((3, at_branch.id), rate, (None, lifted.id))
    elsewhere = effective(client, f"?copy_id={copy.id}&branch_id={make.branch().id}&patron_id={patron.id}")
    assert (elsewhere["max_loans"], elsewhere["fine_rate"]) == ((2, of_category.id), rate)
    assert effective(client)["max_loans"] == (None, None)


def test_staff_ask_for_any_patron_or_for_none(as_librarian, make):
    category = make.category()
    patron = make.user(patron_category=category)
    policy = make.policy("max_loans", 2, patron_category=category)
    assert effective(as_librarian, f"?patron_id={patron.id}")["max_loans"] == (2, policy.id)
    assert effective(as_librarian)["max_loans"] == (None, None)


def test_a_librarian_who_borrows_is_not_meant_without_being_named(signed_in, make):
    category = make.category()
    make.policy("max_loans", 2, patron_category=category)
    librarian = make.librarian(patron_category=category)
    client = signed_in(librarian)
    assert effective(client)["max_loans"] == (None, None)
    assert effective(client, f"?patron_id={librarian.id}")["max_loans"][0] == 2


def test_unknown_and_invisible_are_alike(as_patron, make):
    another = make.user(role=Role.PATRON)
    for query, code in [
        (f"patron_id={another.id}", "user_not_found"),
        ("patron_id=9999", "user_not_found"),
        ("copy_id=9999", "copy_not_found"),
        ("branch_id=9999", "branch_not_found"),
    ]:
        answer = as_patron.get(f"/policies/effective?{query}")
        (error,) = answer.json["errors"]
        found = (answer.status_code, error["parameter"], error["code"])
        assert found == (422, query.split("=")[0], code)


def test_effective_policies_want_a_token(client):
    assert client.get("/policies/effective").status_code == 401


def test_effective_policies_cost_few_statements(signed_in, make, statements):
    client, copy, patron = signed_in(make.librarian()), make.copy(), make.user()
    for _ in range(5):
        make.policy("max_loans", 2, branch=make.branch())
    statements.clear()
    effective(client, f"?patron_id={patron.id}&copy_id={copy.id}")
    assert len(statements) == 6


# Transfer limits.


def test_a_transfer_limit_from_making_to_deleting(as_admin, make):
    here, there = make.branch(), make.branch()
    body = {"from_branch_id": here.id, "to_branch_id": there.id}
    created = as_admin.post("/transfer-limits", json=body)
    assert created.status_code == 201, created.text
    assert created.json == body | {"id": created.json["id"], "item_type_id": None}
    path = created.headers["Location"]
    read = as_admin.get(path)
    assert (read.json, read.headers["ETag"]) == (created.json, created.headers["ETag"])
    twin = as_admin.post("/transfer-limits", json=body)
    (error,) = twin.json["errors"]
    assert (twin.status_code, error["code"]) == (409, "already_exists")
    assert error["params"] == {"members": ["from_branch_id", "to_branch_id", "item_type_id"]}
    assert as_admin.delete(path).status_code == 204
    assert as_admin.get(path).status_code == 404


def test_a_transfer_limit_leads_somewhere(as_admin, make):
    here = make.branch()
    answer = as_admin.post("/transfer-limits", json={"from_branch_id": here.id, "to_branch_id": here.id})
    (error,) = answer.json["errors"]
    assert (answer.status_code, error["pointer"], error["code"]) == (422, "/to_branch_id", "conflict")


def test_transfer_limits_are_narrowed(as_librarian, make):
    item_type = make.item_type()
    plain, typed = make.transfer_limit(), make.transfer_limit(item_type=item_type)

    def found(query):
        return [row["id"] for row in as_librarian.get(f"/transfer-limits?{query}").json]

    assert found("") == [plain.id, typed.id]
    assert found(f"from_branch_id={plain.from_branch_id}") == [plain.id]
    assert found(f"to_branch_id={typed.to_branch_id}") == [typed.id]
    assert found(f"item_type_id={item_type.id}") == [typed.id]


def test_transfer_limits_are_the_admins(as_patron, as_librarian, make):
    limit = make.transfer_limit()
    body = {"from_branch_id": limit.to_branch_id, "to_branch_id": limit.from_branch_id}
    assert as_librarian.post("/transfer-limits", json=body).status_code == 403
    assert as_librarian.delete(f"/transfer-limits/{limit.id}").status_code == 403
    assert as_patron.get("/transfer-limits").status_code == 403
