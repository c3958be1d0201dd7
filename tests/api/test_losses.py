"""Lost copies and claims over HTTP."""

from datetime import UTC, datetime, timedelta

import pytest

from library.models import AccountEntry, Branch, Loan, LoanClosing, User


def codes(answer) -> list[str]:
    return [error["code"] for error in answer.json["errors"]]


@pytest.fixture
def branch(session, as_librarian) -> Branch:
    """The librarian's branch."""
    return session.get_one(User, as_librarian.user_id).home_branch


@pytest.fixture
def me(session, as_patron) -> User:
    return session.get_one(User, as_patron.user_id)


@pytest.fixture
def loan(make, branch, me) -> Loan:
    copy = make.copy(home_branch=branch, price_cents=2500)
    return make.loan(copy, me, due_at=datetime.now(UTC) + timedelta(days=5))


def test_a_lost_copy_is_charged_and_its_loan_stays_open(as_librarian, make, loan):
    make.policy("processing_fee_cents", 500)
    answer = as_librarian.post(f"/loans/{loan.id}/declare-lost", json={})
    assert answer.status_code == 200, answer.text
    lost = answer.json["loan"]
    assert lost["lost_at"] is not None
    assert lost["closed_at"] is None
    assert [reason["code"] for reason in lost["renewable"]["errors"]] == ["not_renewable"]
    told = [(charge["reason"], charge["amount_cents"], charge["open_cents"]) for charge in answer.json["charges"]]
    assert told == [("replacement", 2500, 2500), ("processing", 500, 500)]
    account = as_librarian.get(f"/accounts/{loan.patron_id}").json
    assert (account["balance_cents"], len(account["open_charges"])) == (3000, 2)
    copy = as_librarian.get(f"/copies/{loan.copy_id}").json
    assert (copy["place"], copy["condition"]) == ("on_loan", "lost")
    again = as_librarian.post(f"/loans/{loan.id}/declare-lost", json={})
    assert (again.status_code, codes(again)) == (409, ["already_lost"])


def test_a_loss_is_tried_before_it_is_declared(as_librarian, loan, session):
    shown = as_librarian.post(f"/loans/{loan.id}/declare-lost/preview", json={"replacement_cents": 900})
    assert (shown.status_code, shown.json["ok"]) == (200, True)
    assert shown.json["result"]["loan"]["lost_at"] is not None
    assert [charge["amount_cents"] for charge in shown.json["result"]["charges"]] == [900]
    assert session.query(AccountEntry).count() == 0
    assert as_librarian.get(f"/loans/{loan.id}").json["lost_at"] is None


def test_once_it_is_paid_for_the_loan_closes_and_the_copy_stays_lost(as_librarian, me, loan):
    as_librarian.post(f"/loans/{loan.id}/declare-lost", json={})
    body = {"patron_id": me.id, "amount_cents": 2500, "method": "card"}
    assert as_librarian.post("/payments", json=body).status_code == 201
    assert as_librarian.get(f"/loans/{loan.id}").json["closed_as"] == "lost_paid"
    copy = as_librarian.get(f"/copies/{loan.copy_id}").json
    assert (copy["place"], copy["condition"]) == ("available", "lost")
    closed = as_librarian.post(f"/loans/{loan.id}/declare-lost", json={})
    assert codes(closed) == ["loan_closed"]


def test_a_patron_claims_that_it_is_back(as_patron, as_librarian, loan):
    answer = as_patron.post(f"/loans/{loan.id}/claim-returned", json={"note": "Book drop, on Sunday."})
    assert answer.status_code == 200, answer.text
    assert answer.json["claimed_at"] is not None
    assert (answer.json["claim_note"], answer.json["closed_at"]) == ("Book drop, on Sunday.", None)
    assert as_librarian.get(f"/copies/{loan.copy_id}").json["condition"] == "claimed_returned"
    again = as_patron.post(f"/loans/{loan.id}/claim-returned", json={})
    assert (again.status_code, codes(again)) == (409, ["already_claimed"])


def test_a_claim_is_resolved_at_a_desk(as_patron, as_librarian, branch, loan):
    path = f"/loans/{loan.id}/resolve-claim"
    assert codes(as_librarian.post(path, json={"outcome": "found"})) == ["not_claimed"]
    as_patron.post(f"/loans/{loan.id}/claim-returned", json={})
    missing = as_librarian.post(path, json={"outcome": "missing"})
    assert (missing.json["loan"]["claimed_at"], missing.json["loan"]["closed_at"]) == (None, None)
    assert missing.json["route"] is None
    as_patron.post(f"/loans/{loan.id}/claim-returned", json={})
    found = as_librarian.post(path, json={"outcome": "found"})
    assert (found.status_code, found.json["loan"]["closed_as"]) == (200, "claim_found")
    assert found.json["route"] == {"action": "shelve", "branch_id": branch.id, "reason": "home"}


def test_a_claim_ends_in_one_of_two_ways(as_librarian, loan):
    answer = as_librarian.post(f"/loans/{loan.id}/resolve-claim", json={"outcome": "perhaps"})
    assert (answer.status_code, answer.json["errors"][0]["pointer"]) == (422, "/outcome")
    assert as_librarian.post(f"/loans/{loan.id}/resolve-claim", json={}).status_code == 422


def test_losses_are_for_the_desk_and_claims_for_whose_loan_it_is(as_patron, make, loan):
    assert as_patron.post(f"/loans/{loan.id}/declare-lost", json={}).status_code == 403
    assert as_patron.post(f"/loans/{loan.id}/resolve-claim", json={"outcome": "found"}).status_code == 403
    theirs, nobodys = (as_patron.post(f"/loans/{key}/claim-returned", json={}) for key in (make.loan().id, 999))
    assert (theirs.status_code, nobodys.status_code) == (404, 404)
    assert {**theirs.json, "request_id": ""} == {**nobodys.json, "request_id": ""}


def test_what_has_ended_is_neither_lost_nor_claimed(as_librarian, make):
    closed = make.loan(closed_at=datetime.now(UTC), closed_as=LoanClosing.RETURNED)
    for action in ("declare-lost", "claim-returned"):
        assert codes(as_librarian.post(f"/loans/{closed.id}/{action}", json={})) == ["loan_closed"]
