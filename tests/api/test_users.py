"""Accounts at the desk, and oneself."""

import pytest
from factories import Factories

from library.models import Role


def test_staff_create_people_without_address_or_password(as_librarian):
    answer = as_librarian.post("/users", json={"first_name": "Ada", "last_name": "Lovelace"})
    assert answer.status_code == 201, answer.text
    assert answer.json["card_barcode"] == answer.json["username"]
    assert (answer.json["email"], answer.json["confirmed"], answer.json["active"]) == (None, True, True)
    assert as_librarian.get(answer.headers["Location"]).headers["ETag"] == answer.headers["ETag"]


def test_a_password_given_by_staff_logs_in(as_librarian, client):
    body = {"username": "ada", "password": "password123", "card_barcode": " P42 "}
    created = as_librarian.post("/users", json=body)
    assert (created.status_code, created.json["card_barcode"]) == (201, "P42")
    assert client.post("/users/login", json={"email": "P42", "password": "password123"}).status_code == 200
    as_librarian.change(created.headers["Location"], json={"password": "password456"})
    assert client.post("/users/login", json={"email": "ada", "password": "password456"}).status_code == 200


def test_search_by_beginnings_of_names_and_by_card(as_librarian, make: Factories):
    jose = make.user(first_name="José", last_name="Ørsted-Nielsen", card_barcode="P900")
    make.user(first_name="Joan")
    assert [row["id"] for row in as_librarian.get("/users?q=jose niel").json] == [jose.id]
    assert [row["id"] for row in as_librarian.get("/users?card_barcode=P900").json] == [jose.id]
    assert as_librarian.get("/users?q=%25").json != []
    assert as_librarian.get("/users?role=librarian").headers["X-Total-Count"] == "1"


def test_change_deactivate_and_expire(as_librarian, make, client):
    user = make.user(username="jdoe", password="password123")
    branch, category = make.branch(), make.category()
    body = {"expires_on": "2027-01-31", "home_branch_id": branch.id, "patron_category_id": category.id, "active": False}
    answer = as_librarian.change(f"/users/{user.id}", json=body)
    assert answer.status_code == 200, answer.text
    assert {name: answer.json[name] for name in body} == body
    assert as_librarian.get(f"/users/{user.id}").headers["ETag"] == answer.headers["ETag"]
    assert client.post("/users/login", json={"email": "jdoe", "password": "password123"}).status_code == 401


def test_replace_keeps_what_makes_an_account(as_librarian, make):
    user = make.user(first_name="Ada", card_barcode="P1")
    answer = as_librarian.change(f"/users/{user.id}", "PUT", json={"last_name": "Byron"})
    assert answer.status_code == 200, answer.text
    assert (answer.json["first_name"], answer.json["last_name"]) == (None, "Byron")
    assert (answer.json["username"], answer.json["card_barcode"]) == (user.username, "P1")


@pytest.mark.parametrize("member", ["username", "email", "card_barcode"])
def test_what_is_taken_is_named_to_staff(as_librarian, make, member):
    user = make.user()
    answer = as_librarian.post("/users", json={member: getattr(user, member)})
    assert answer.status_code == 409
    assert (answer.json["errors"][0]["code"], answer.json["errors"][0]["pointer"]) == ("already_exists", f"/{member}")


def test_a_librarian_gives_no_role_and_touches_no_other_staff(as_librarian, as_admin, make):
    patron, colleague = make.user(), make.librarian()
    assert as_librarian.change(f"/users/{patron.id}", json={"role": "librarian"}).status_code == 403
    assert as_librarian.change(f"/users/{as_librarian.user_id}", json={"role": "admin"}).status_code == 403
    assert as_librarian.change(f"/users/{colleague.id}", json={"password": "password123"}).status_code == 403
    assert as_librarian.change(f"/users/{colleague.id}", "DELETE").status_code == 403
    assert as_librarian.post("/users", json={"role": "admin"}).status_code == 403
    assert as_admin.change(f"/users/{patron.id}", json={"role": "librarian"}).json["role"] == "librarian"


def test_the_last_admin_stays(as_admin, make):
    path = f"/users/{as_admin.user_id}"
    for body in ({"role": "patron"}, {"active": False}):
        answer = as_admin.change(path, json=body)
        assert (answer.status_code, answer.json["errors"][0]["code"]) == (409, "last_admin")
    assert as_admin.change(path, "DELETE").json["errors"][0]["code"] == "last_admin"
    make.user(role=Role.ADMIN)
    assert as_admin.change(path, json={"role": "patron"}).status_code == 200


def test_delete_lists_what_is_in_the_way(as_librarian, make):
    user = make.user()
    make.loan(patron=user)
    answer = as_librarian.change(f"/users/{user.id}", "DELETE")
    assert answer.json["errors"][0]["params"] == {"by": {"loans": 1}}
    free = make.user()
    make.session_of(free)
    assert as_librarian.change(f"/users/{free.id}", "DELETE").status_code == 204
    assert as_librarian.get(f"/users/{free.id}").status_code == 404


def test_oneself_and_nobody_else(as_patron, make):
    other = make.user()
    me = as_patron.get("/users/me")
    assert me.json["id"] == as_patron.user_id
    changed = as_patron.change("/users/me", json={"first_name": "Pat", "language": "de-AT"}, tag=me.headers["ETag"])
    assert (changed.status_code, changed.json["first_name"]) == (200, "Pat")
    assert as_patron.get("/users/me").headers["ETag"] == changed.headers["ETag"]
    assert as_patron.change("/users/me", json={"role": "admin"}).status_code == 422
    assert as_patron.patch("/users/me", json={}).status_code == 428
    assert as_patron.get(f"/users/{other.id}").status_code == 403
    assert as_patron.get("/users").status_code == 403


def test_patron_categories_are_the_admins(as_admin, as_librarian, as_patron):
    created = as_admin.post("/patron-categories", json={"name": "Children"})
    assert (created.status_code, created.json["self_registration"]) == (201, False)
    assert as_librarian.post("/patron-categories", json={"name": "Staff"}).status_code == 403
    assert as_patron.get("/patron-categories").json == [created.json]
    again = as_admin.post("/patron-categories", json={"name": "Children"})
    assert (again.status_code, again.json["errors"][0]["pointer"]) == (409, "/name")


def test_self_registration_takes_its_category(as_admin, client):
    category = as_admin.post("/patron-categories", json={"name": "Public", "self_registration": True}).json
    body = {"username": "jdoe", "email": "jdoe@example.com", "password": "password123"}
    assert client.post("/users/register", json=body).json["patron_category_id"] == category["id"]


def test_names_that_grow_when_folded_are_stored(client, as_librarian):
    body = {"username": "\u0390" * 100, "email": "\u0390" * 200 + "@b.cc", "password": "password123"}
    assert client.post("/users/register", json=body).status_code == 201
    assert as_librarian.post("/users", json={"password": "abc\ud800defgh"}).status_code == 422


def test_nobodys_username_is_anothers_card(as_librarian, client, make):
    make.user(username="jdoe", password="password123")
    answer = as_librarian.post("/users", json={"card_barcode": "jdoe"})
    assert (answer.status_code, answer.json["errors"][0]["pointer"]) == (409, "/card_barcode")
    assert as_librarian.post("/users", json={"card_barcode": "P 1 2@x"}).status_code == 422
    assert client.post("/users/login", json={"email": "jdoe", "password": "password123"}).status_code == 200


def test_people_choose_how_long_what_they_read_is_remembered(as_patron, as_librarian):
    assert as_patron.get("/users/me").json["history"] == "cut"
    assert as_patron.change("/users/me", json={"history": "kept"}).json["history"] == "kept"
    path = f"/users/{as_patron.user_id}"
    assert as_librarian.get(path).json["history"] == "kept"
    assert as_librarian.change(path, json={"history": "delayed"}).json["history"] == "delayed"
    for answer in (as_patron.change("/users/me", json={"history": word}) for word in ("for ever", None)):
        assert (answer.status_code, answer.json["errors"][0]["pointer"]) == (422, "/history")
    assert as_patron.get("/users/me").json["history"] == "delayed"
