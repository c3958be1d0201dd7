"""Lending and taking back over HTTP."""

from datetime import UTC, date, datetime, timedelta

import pytest

from library.models import Copy, CopyCondition, CopyPlace, Loan, User
from library.rules.policies import LOAN_DAYS


def check_out(client, copy, patron, **more):
    body = {"copy_barcode": copy.barcode, "patron_barcode": patron.card_barcode} | more
    return client.post("/loans", json=body)


def codes(answer) -> list[str]:
    return [error["code"] for error in answer.json["errors"]]


@pytest.fixture
def patron(make):
    return make.user()


def test_check_out_lends_until_the_end_of_a_local_day(as_librarian, make, patron, session):
    copy = make.copy()
    answer = check_out(as_librarian, copy, patron)
    assert answer.status_code == 201, answer.text
    assert (answer.json["copy_id"], answer.json["book_id"], answer.json["patron_id"]) == (
        copy.id,
        copy.book_id,
        patron.id,
    )
    due_at = datetime.fromisoformat(answer.json["due_at"])
    out_at = datetime.fromisoformat(answer.json["checked_out_at"])
    assert date.fromisoformat(answer.json["due_on"]) - out_at.date() in (timedelta(LOAN_DAYS), timedelta(LOAN_DAYS + 1))
    assert due_at.astimezone().strftime("%M:%S") == "59:59"
    assert answer.json["time_zone"] == "Europe/Berlin"
    assert as_librarian.get(answer.headers["Location"]).headers["ETag"] == answer.headers["ETag"]
    session.expire_all()
    assert session.get(Copy, copy.id).place is CopyPlace.ON_LOAN


def test_a_second_check_out_is_refused_with_item_on_loan(as_librarian, make, patron, session):
    copy = make.copy()
    check_out(as_librarian, copy, patron)
    answer = check_out(as_librarian, copy, make.user())
    assert (answer.status_code, answer.json["code"], codes(answer)) == (409, "refused", ["item_on_loan"])
    assert answer.json["errors"][0]["pointer"] == "/copy_barcode"
    assert session.query(Loan).count() == 1


def test_all_reasons_at_once_the_gravest_first(as_librarian, make):
    copy = make.copy(not_for_loan=True, condition=CopyCondition.DAMAGED)
    patron = make.user(active=False, confirmed=False, expires_on=date(2020, 1, 1))
    answer = check_out(as_librarian, copy, patron, due_at="2020-01-01T00:00:00Z")
    assert codes(answer) == [
        "patron_inactive",
        "due_in_the_past",
        "patron_unconfirmed",
        "patron_expired",
        "not_for_loan",
        "bad_condition",
    ]
    assert answer.json["errors"][3]["params"] == {"expires_on": "2020-01-01"}
    assert answer.json["errors"][0]["overridable"] is False


def test_unknown_barcodes_are_reasons_like_the_others(as_librarian, make):
    body = {"copy_barcode": "nope", "patron_barcode": "nobody"}
    assert codes(as_librarian.post("/loans", json=body)) == ["item_not_found", "patron_not_found"]
    copy = make.copy(not_for_loan=True)
    body["copy_barcode"] = f" {copy.barcode} "
    assert codes(as_librarian.post("/loans", json=body)) == ["patron_not_found", "not_for_loan"]


def test_a_reference_type_is_not_lent(as_librarian, make, patron):
    copy = make.copy(item_type_id=make.item_type(not_for_loan=True).id)
    assert codes(check_out(as_librarian, copy, patron)) == ["not_for_loan"]


def test_staff_may_name_the_due_date(as_librarian, make, patron):
    answer = check_out(as_librarian, make.copy(), patron, due_at="2199-05-01T12:00:00+02:00")
    assert (answer.json["due_at"], answer.json["due_on"]) == ("2199-05-01T10:00:00.000000Z", "2199-05-01")


def test_a_card_is_valid_through_its_last_local_day(as_librarian, make):
    branch = make.branch(time_zone="UTC")
    today = datetime.now(UTC).date()
    body = {"branch_id": branch.id}
    assert check_out(as_librarian, make.copy(), make.user(expires_on=today), **body).status_code == 201
    expired = check_out(as_librarian, make.copy(), make.user(expires_on=today - timedelta(1)), **body)
    assert codes(expired) == ["patron_expired"]


def test_a_scan_that_waited_happens_after_the_one_before(as_librarian, make, patron, session):
    later = datetime.now(UTC) + timedelta(seconds=5)
    copy = make.copy(last_seen_at=later)
    lent = check_out(as_librarian, copy, patron).json
    assert datetime.fromisoformat(lent["checked_out_at"]) == later
    back = as_librarian.post("/check-ins", json={"copy_barcode": copy.barcode})
    assert back.status_code == 200
    assert datetime.fromisoformat(back.json["loan"]["closed_at"]) >= later


def test_check_in_says_where_the_copy_goes(as_librarian, make, patron, session):
    home = as_librarian.get("/branches").json[0]["id"]
    copy = make.copy()
    loan = check_out(as_librarian, copy, patron).json
    answer = as_librarian.post("/check-ins", json={"copy_barcode": copy.barcode})
    assert answer.status_code == 200, answer.text
    assert answer.json["loan"]["id"] == loan["id"]
    assert (answer.json["loan"]["closed_as"], answer.json["loan"]["returned_branch_id"]) == ("returned", home)
    assert answer.json["route"] == {"action": "send", "branch_id": copy.home_branch_id, "reason": "home"}
    assert (answer.json["copy"]["place"], answer.json["copy"]["transit_to_branch_id"]) == (
        "in_transit",
        copy.home_branch_id,
    )
    at_home = as_librarian.post("/check-ins", json={"copy_barcode": copy.barcode, "branch_id": copy.home_branch_id})
    assert at_home.json["loan"] is None
    assert (at_home.json["route"]["action"], at_home.json["copy"]["place"]) == ("shelve", "available")


def test_a_damaged_copy_is_set_aside(as_librarian, make):
    copy = make.copy(condition=CopyCondition.DAMAGED)
    answer = as_librarian.post("/check-ins", json={"copy_barcode": copy.barcode, "branch_id": copy.home_branch_id})
    assert answer.json["route"] == {"action": "set_aside", "branch_id": copy.home_branch_id, "reason": "damaged"}


def test_check_in_refuses_the_impossible(as_librarian, make):
    assert codes(as_librarian.post("/check-ins", json={"copy_barcode": "nope"})) == ["item_not_found"]
    loan = make.loan()
    barcode = as_librarian.get(f"/copies/{loan.copy_id}").json["barcode"]
    body = {"copy_barcode": barcode, "returned_at": "2026-03-01T00:00:00Z"}
    assert codes(as_librarian.post("/check-ins", json=body)) == ["returned_before_loan"]


def test_a_return_in_the_future_counts_as_now(as_librarian, make, patron):
    copy = make.copy()
    check_out(as_librarian, copy, patron)
    body = {"copy_barcode": copy.barcode, "returned_at": "2199-01-01T00:00:00Z"}
    closed_at = as_librarian.post("/check-ins", json=body).json["loan"]["closed_at"]
    assert datetime.fromisoformat(closed_at) <= datetime.now(UTC)


def test_a_desk_without_a_branch_is_named(as_admin, make, patron):
    answer = check_out(as_admin, make.copy(), patron)
    assert (answer.status_code, answer.json["errors"][0]["pointer"]) == (422, "/branch_id")


def test_patrons_see_their_own_loans_and_no_others(as_patron, as_librarian, make, session):
    me = as_librarian.get("/users?q=pat").json[0]
    mine = make.loan(patron=session.get(User, me["id"]))
    other = make.loan()
    assert [row["id"] for row in as_patron.get("/loans").json] == [mine.id]
    assert as_patron.get(f"/loans/{mine.id}").status_code == 200
    hidden, absent = as_patron.get(f"/loans/{other.id}"), as_patron.get("/loans/999")
    assert (hidden.status_code, absent.status_code) == (404, 404)
    assert {**hidden.json, "request_id": ""} == {**absent.json, "request_id": ""}
    assert as_patron.get(f"/loans?patron_id={me['id']}").status_code == 200
    theirs, nobodys = (as_patron.get(f"/loans?patron_id={key}") for key in (other.patron_id, 999))
    assert (theirs.status_code, nobodys.status_code) == (422, 422)
    assert {**theirs.json, "request_id": ""} == {**nobodys.json, "request_id": ""}
    assert as_patron.post("/loans", json={}).status_code == 403
    assert as_patron.post("/check-ins", json={}).status_code == 403


def test_lists_are_narrowed(as_librarian, make):
    overdue = make.loan()
    later = datetime.now(UTC) + timedelta(days=5)
    current = make.loan(due_at=later)
    closed = make.loan(closed_at=overdue.checked_out_at + timedelta(days=1), closed_as="returned")

    def ids(query: str) -> set[int]:
        return {row["id"] for row in as_librarian.get(f"/loans?{query}").json}

    assert ids("status=open") == {overdue.id, current.id}
    assert ids("status=overdue") == {overdue.id}
    assert ids("status=closed") == {closed.id}
    assert ids(f"patron_id={current.patron_id}") == {current.id}
    assert ids(f"copy_id={closed.copy_id}") == {closed.id}
    assert ids(f"due_on_min={later.date()}") == {current.id}
    assert [row["id"] for row in as_librarian.get("/loans?sort=-due_at&status=open").json] == [current.id, overdue.id]


def test_who_registered_themselves_borrows_once_staff_have_seen_them(as_librarian, make):
    patron, copy = make.user(confirmed=False), make.copy()
    assert codes(check_out(as_librarian, copy, patron)) == ["patron_unconfirmed"]
    as_librarian.change(f"/users/{patron.id}", json={"confirmed": True})
    assert check_out(as_librarian, copy, patron).status_code == 201
