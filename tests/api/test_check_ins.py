"""Taking back over HTTP: what the screen of the desk shows."""

from datetime import UTC, date, datetime, timedelta

import pytest

from library.models import Branch, CopyCondition, Loan, User

NOON = "2031-05-05T12:00:00Z"
THURSDAY = datetime(2031, 5, 1, 21, 59, 59, tzinfo=UTC)


def codes(answer) -> list[str]:
    return [error["code"] for error in answer.json["errors"]]


@pytest.fixture
def branch(session, as_librarian) -> Branch:
    """The librarian's branch."""
    return session.get_one(User, as_librarian.user_id).home_branch


@pytest.fixture
def copy(make, branch):
    return make.copy(home_branch=branch)


@pytest.fixture
def patron(make):
    return make.user()


@pytest.fixture
def loan(make, copy, patron) -> Loan:
    """A loan that was due on Thursday; today is Monday."""
    return make.loan(copy, patron, checked_out_at=THURSDAY - timedelta(days=20), due_at=THURSDAY)


@pytest.fixture
def scan(app, monkeypatch, as_librarian, copy):
    """Call it to scan the copy on Monday."""
    monkeypatch.setitem(app.config, "SANDBOX_CLOCK", True)

    def check_in(path="/check-ins", now=NOON, **more):
        body = {"copy_barcode": copy.barcode} | more
        return as_librarian.post(path, json=body, headers={"Sandbox-Now": now})

    return check_in


def test_check_in_ends_the_loan_and_says_where_the_copy_goes(scan, branch, copy, loan):
    answer = scan()
    assert answer.status_code == 200, answer.text
    assert answer.json["loan"]["id"] == loan.id
    assert (answer.json["loan"]["closed_as"], answer.json["loan"]["returned_branch_id"]) == ("returned", branch.id)
    assert answer.json["loan"]["closed_at"] == "2031-05-05T12:00:00.000000Z"
    assert [reason["code"] for reason in answer.json["loan"]["renewable"]["errors"]] == ["loan_closed"]
    assert answer.json["route"] == {"action": "shelve", "branch_id": branch.id, "reason": "home"}
    assert (answer.json["copy"]["id"], answer.json["copy"]["place"]) == (copy.id, "available")
    assert (answer.json["hold"], answer.json["charges"], answer.json["warnings"]) == (None, [], [])


def test_a_second_scan_answers_with_the_copy_and_no_loan(scan, copy, loan):
    scan()
    again = scan().json
    assert (again["loan"], again["copy"]["id"], again["route"]["action"]) == (None, copy.id, "shelve")


def test_the_fine_is_shown_with_its_steps(scan, make, patron, loan):
    make.policy("fine_rate", {"cents": 20, "per": "day"})
    assert scan("/check-ins/preview").json["result"]["charges"][0]["amount_cents"] == 80
    (charge,) = scan().json["charges"]
    assert (charge["patron_id"], charge["loan_id"], charge["reason"]) == (patron.id, loan.id, "overdue")
    assert (charge["amount_cents"], charge["open_cents"]) == (80, 80)
    assert [(step["step"], step["count"], step["amount_cents"]) for step in charge["steps"]] == [
        ("late", 4, 0),
        ("rate", 4, 80),
    ]


def test_a_copy_goes_to_who_waits_for_it(scan, make, branch, copy, loan):
    hold = make.hold(copy.book, pickup_branch=branch)
    answer = scan().json
    assert answer["route"] == {"action": "hold_shelf", "branch_id": branch.id, "reason": "hold"}
    assert (answer["hold"]["id"], answer["hold"]["state"]) == (hold.id, "ready")
    assert (answer["hold"]["shelf_until_on"], answer["hold"]["time_zone"]) == ("2031-05-12", "Europe/Berlin")
    assert (answer["hold"]["position"], answer["copy"]["place"]) == (None, "on_hold_shelf")


def test_or_is_sent_to_them_or_home(scan, make, copy, loan):
    elsewhere, hold = make.branch(), make.hold(copy.book)
    sent = scan().json
    assert sent["route"] == {"action": "send", "branch_id": hold.pickup_branch_id, "reason": "hold"}
    assert (sent["copy"]["place"], sent["copy"]["transit_to_branch_id"]) == ("in_transit", hold.pickup_branch_id)
    far = make.copy(home_branch=elsewhere)
    home = scan(copy_barcode=far.barcode).json
    assert home["route"] == {"action": "send", "branch_id": elsewhere.id, "reason": "home"}
    there = scan(copy_barcode=far.barcode, branch_id=elsewhere.id).json
    assert (there["route"]["action"], there["copy"]["place"]) == ("shelve", "available")


def test_what_the_desk_should_see_is_said(scan, make, branch):
    bad = make.copy(home_branch=branch, condition=CopyCondition.DAMAGED, check_note="2 CDs")
    answer = scan(copy_barcode=bad.barcode).json
    assert answer["route"] == {"action": "set_aside", "branch_id": branch.id, "reason": "damaged"}
    assert [(said["code"], said["params"]) for said in answer["warnings"]] == [
        ("not_fit", {"condition": "damaged"}),
        ("check_note", {"note": "2 CDs"}),
    ]


def test_what_was_paid_for_a_lost_copy_is_given_back(scan, as_librarian, patron, loan):
    now = {"Sandbox-Now": NOON}
    as_librarian.post(f"/loans/{loan.id}/declare-lost", json={"replacement_cents": 2500}, headers=now)
    pay = {"patron_id": patron.id, "amount_cents": 2500, "method": "cash"}
    assert as_librarian.post("/payments", json=pay, headers=now).status_code == 201
    assert as_librarian.get(f"/loans/{loan.id}").json["closed_as"] == "lost_paid"
    answer = scan(now="2031-06-05T12:00:00Z").json
    assert (answer["loan"], [said["code"] for said in answer["warnings"]]) == (None, ["was_missing"])
    assert [(entry["kind"], entry["amount_cents"]) for entry in answer["charges"]] == [("reversal", -2500)]
    account = as_librarian.get(f"/accounts/{patron.id}").json
    assert (account["balance_cents"], account["credit_cents"]) == (-2500, 2500)


def test_check_in_refuses_the_impossible(scan, loan):
    assert codes(scan(copy_barcode="nope")) == ["item_not_found"]
    answer = scan(returned_at="2031-03-01T00:00:00Z")
    assert (codes(answer), answer.json["errors"][0]["pointer"]) == (["returned_before_loan"], "/returned_at")


@pytest.mark.parametrize(
    ("returned_at", "closed_on"), [("2199-01-01T00:00:00Z", "2031-05-05"), ("2031-05-03T08:00:00+02:00", "2031-05-03")]
)
def test_a_return_is_dated_back_but_not_ahead(scan, loan, returned_at, closed_on):
    closed_at = scan(returned_at=returned_at).json["loan"]["closed_at"]
    assert datetime.fromisoformat(closed_at).date() == date.fromisoformat(closed_on)


def test_taking_back_is_for_the_desk_and_at_a_branch(as_patron, as_admin, client, make):
    body = {"copy_barcode": make.copy().barcode}
    assert client.post("/check-ins", json=body).status_code == 401
    assert as_patron.post("/check-ins", json=body).status_code == 403
    nowhere = as_admin.post("/check-ins", json=body)
    assert (nowhere.status_code, nowhere.json["errors"][0]["pointer"]) == (422, "/branch_id")
    unknown = as_admin.post("/check-ins", json=body | {"branch_id": 999})
    assert (unknown.status_code, unknown.json["errors"][0]["pointer"]) == (422, "/branch_id")


def test_a_loan_and_its_return_cost_a_pinned_number_of_statements(request, as_librarian, copy, patron, statements):
    def cost(path: str, **body: str) -> int:
        statements.clear()
        assert as_librarian.post(path, json=body).status_code in (200, 201)
        # Who acts is looked up before.
        return sum("user_sessions" not in statement for statement in statements)

    lent = cost("/loans", copy_barcode=copy.barcode, patron_barcode=patron.card_barcode)
    returned = cost("/check-ins", copy_barcode=copy.barcode)
    # All that decides in one, then the loan, the copy and the audit's row; on PostgreSQL the locks are taken before.
    locks = (1, 2) if request.config.getoption("database") == "postgres" else (0, 0)
    assert (lent, returned) == (4 + locks[0], 4 + locks[1])
