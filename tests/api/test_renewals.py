"""Renewing over HTTP: one loan, several, and who renewed what."""

from datetime import UTC, datetime, timedelta

import pytest

from library.models import LoanClosing, Renewal, User

DAY = timedelta(days=1)


def codes(answer) -> list[str]:
    return [error["code"] for error in answer.json["errors"]]


@pytest.fixture
def me(session, as_patron) -> User:
    return session.get_one(User, as_patron.user_id)


@pytest.fixture
def lent(make):
    """Call it for a loan that is due in so many days."""

    def loan(patron=None, days: int = 5, **values):
        return make.loan(patron=patron, due_at=datetime.now(UTC) + days * DAY, **values)

    return loan


def test_a_patron_renews_their_own_loan(as_patron, me, lent):
    loan = lent(me)
    before = as_patron.get(f"/loans/{loan.id}").json
    answer = as_patron.post(f"/loans/{loan.id}/renewals", json={})
    assert answer.status_code == 201, answer.text
    assert (answer.json["loan_id"], answer.json["actor_id"], answer.json["channel"]) == (loan.id, me.id, "own")
    assert answer.json["was_due_at"] == before["due_at"] < answer.json["due_at"]
    after = as_patron.get(f"/loans/{loan.id}").json
    assert (after["due_at"], after["renewals"], after["id"]) == (answer.json["due_at"], 1, before["id"])
    renewal = answer.json
    assert (renewal.pop("loan"), renewal.pop("charges")) == (after, [])
    assert as_patron.get(f"/loans/{loan.id}/renewals").json == [renewal]


def test_the_fine_that_had_run_up_is_shown(as_patron, me, make):
    make.policy("fine_rate", {"cents": 20, "per": "day"})
    make.policy("fine_on_closed_days", True)
    loan = make.loan(patron=me, due_at=datetime.now(UTC) - 3 * DAY)
    (charge,) = as_patron.post(f"/loans/{loan.id}/renewals", json={}).json["charges"]
    assert (charge["reason"], charge["amount_cents"], charge["loan_id"]) == ("overdue", 60, loan.id)
    assert as_patron.get(f"/accounts/{me.id}").json["balance_cents"] == 60


def test_staff_renew_for_them(as_librarian, lent):
    answer = as_librarian.post(f"/loans/{lent().id}/renewals", json={})
    assert (answer.status_code, answer.json["channel"]) == (201, "desk")


def test_a_renewal_is_tried_before_it_is_done(as_patron, me, lent, session):
    loan = lent(me)
    shown = as_patron.post(f"/loans/{loan.id}/renewals/preview", json={})
    assert (shown.status_code, shown.json["ok"]) == (200, True)
    assert session.query(Renewal).count() == 0
    done = as_patron.post(f"/loans/{loan.id}/renewals", json={})
    assert shown.json["result"]["due_at"] == done.json["due_at"]


def test_every_reason_against_it_is_what_the_loan_says_too(as_patron, me, make, lent):
    make.policy("max_renewals", 0)
    loan = lent(me)
    make.hold(loan.copy.book)
    answer = as_patron.post(f"/loans/{loan.id}/renewals", json={})
    assert (answer.status_code, codes(answer)) == (409, ["renewal_limit", "held"])
    assert answer.json["errors"][1]["permission"] == "circulation.override_held"
    assert as_patron.get(f"/loans/{loan.id}").json["renewable"] == {"ok": False, "errors": answer.json["errors"]}


def test_a_patron_lets_nothing_pass(as_patron, as_librarian, as_admin, me, make, lent):
    make.policy("max_renewals", 0)
    loan = lent(me)
    make.hold(loan.copy.book)
    overrides = [{"code": code, "reason": "On the last page."} for code in ("renewal_limit", "held")]
    body = {"overrides": overrides}
    path = f"/loans/{loan.id}/renewals"
    refused = as_patron.post(path, json=body)
    assert codes(refused) == ["override_not_permitted"] * 2 + ["renewal_limit", "held"]
    assert codes(as_librarian.post(path, json=body)) == ["override_not_permitted", "held"]
    admin = as_admin.post(path, json=body)
    assert admin.status_code == 201, admin.text


def test_a_loan_of_another_is_answered_like_none(as_patron, lent):
    theirs, nobodys = lent().id, 999
    for path in ("/loans/{}/renewals", "/loans/{}/renewals/preview"):
        answers = [as_patron.post(path.format(key), json={}) for key in (theirs, nobodys)]
        assert [answer.status_code for answer in answers] == [404, 404]
        assert {**answers[0].json, "request_id": ""} == {**answers[1].json, "request_id": ""}
    assert as_patron.get(f"/loans/{theirs}/renewals").status_code == 404


def test_all_of_ones_loans_are_renewed_with_a_verdict_for_each(as_patron, me, make, lent):
    held, free = lent(me, 3), lent(me, 4)
    lent()
    lent(me, closed_at=datetime.now(UTC), closed_as=LoanClosing.RETURNED)
    make.hold(held.copy.book)
    answer = as_patron.post("/renewals", json={})
    assert answer.status_code == 200, answer.text
    verdicts = answer.json["results"]
    assert [(one["index"], one["ok"], one["loan"]["id"]) for one in verdicts] == [
        (0, False, held.id),
        (1, True, free.id),
    ]
    assert [codes_of(one) for one in verdicts] == [["held"], []]
    assert [one["loan"]["renewals"] for one in verdicts] == [0, 1]


def codes_of(verdict) -> list[str]:
    return [error["code"] for error in verdict["errors"]]


def test_named_loans_are_renewed_in_the_order_in_which_they_are_named(as_patron, me, lent):
    first, second, third = lent(me), lent(me), lent(me)
    answer = as_patron.post("/renewals", json={"loan_ids": [third.id, first.id]})
    assert [one["loan"]["id"] for one in answer.json["results"]] == [third.id, first.id]
    assert as_patron.get(f"/loans/{second.id}").json["renewals"] == 0


def test_a_closed_loan_that_is_named_has_its_verdict(as_patron, me, lent):
    closed = lent(me, closed_at=datetime.now(UTC), closed_as=LoanClosing.RETURNED)
    (verdict,) = as_patron.post("/renewals", json={"loan_ids": [closed.id]}).json["results"]
    assert (verdict["ok"], codes_of(verdict)) == (False, ["loan_closed"])


def test_an_unknown_loan_and_anothers_are_pointed_at_alike(as_patron, me, lent, session):
    mine, theirs = lent(me).id, lent().id
    told = [as_patron.post("/renewals", json={"loan_ids": [mine, key]}) for key in (theirs, 999)]
    for answer in told:
        assert (answer.status_code, codes(answer)) == (422, ["loan_not_found"])
        assert answer.json["errors"][0]["pointer"] == "/loan_ids/1"
    assert {**told[0].json, "request_id": ""} == {**told[1].json, "request_id": ""}
    assert session.query(Renewal).count() == 0


def test_staff_renew_all_of_a_patrons_or_any_that_they_name(as_librarian, make, lent):
    patron = make.user()
    mine, other = lent(patron), lent()
    (verdict,) = as_librarian.post("/renewals", json={"patron_id": patron.id}).json["results"]
    assert (verdict["ok"], verdict["loan"]["id"]) == (True, mine.id)
    answer = as_librarian.post("/renewals", json={"loan_ids": [mine.id, other.id]})
    assert [one["ok"] for one in answer.json["results"]] == [True, True]
    both = as_librarian.post("/renewals", json={"patron_id": patron.id, "loan_ids": [other.id]})
    assert (both.status_code, both.json["errors"][0]["pointer"]) == (422, "/loan_ids/0")


def test_a_patron_names_nobody_else(as_patron, make, lent):
    patron = make.user()
    lent(patron)
    theirs, nobodys = (as_patron.post("/renewals", json={"patron_id": key}) for key in (patron.id, 999))
    assert (theirs.status_code, nobodys.status_code) == (422, 422)
    assert {**theirs.json, "request_id": ""} == {**nobodys.json, "request_id": ""}


def test_at_most_a_hundred_are_named(as_patron, client):
    assert as_patron.post("/renewals", json={"loan_ids": list(range(1, 102))}).status_code == 422
    assert client.post("/renewals", json={}).status_code == 401
