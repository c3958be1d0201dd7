"""Lending over HTTP, loans as they are listed and shown, and other due dates."""

from datetime import UTC, date, datetime, timedelta

import pytest

from library.models import Branch, Copy, CopyCondition, CopyPlace, Loan, Override, User

TODAY = datetime.now(UTC).date()
DAY = timedelta(days=1)


def check_out(client, copy, patron, **more):
    body = {"copy_barcode": copy.barcode, "patron_barcode": patron.card_barcode} | more
    return client.post("/loans", json=body)


def codes(answer) -> list[str]:
    return [error["code"] for error in answer.json["errors"]]


@pytest.fixture
def branch(session, as_librarian) -> Branch:
    """The librarian's branch."""
    branch = session.get_one(User, as_librarian.user_id).home_branch
    # What is refused is written down: a snapshot from before could write no more.
    session.commit()
    return branch


@pytest.fixture
def copy(make, branch):
    return make.copy(home_branch=branch)


@pytest.fixture
def patron(make):
    return make.user()


# --- Lending ------------------------------------------------------------------------------------


def test_check_out_lends_until_the_end_of_a_local_day(as_librarian, branch, copy, patron, session):
    answer = check_out(as_librarian, copy, patron)
    assert answer.status_code == 201, answer.text
    loan = answer.json
    assert (loan["copy_id"], loan["book_id"], loan["patron_id"]) == (copy.id, copy.book_id, patron.id)
    assert (loan["branch_id"], loan["time_zone"], loan["renewals"]) == (branch.id, "Europe/Berlin", 0)
    out_at = datetime.fromisoformat(loan["checked_out_at"])
    assert date.fromisoformat(loan["due_on"]) - out_at.date() in (28 * DAY, 29 * DAY)
    assert loan["due_at"].endswith("59:59.000000Z")
    assert loan["due_steps"] == [{"step": "period", "due_at": loan["due_at"], "due_on": loan["due_on"]}]
    assert (loan["renewable"], loan["running_fine_cents"]) == ({"ok": True, "errors": []}, 0)
    assert "X-Remarks" not in answer.headers
    assert as_librarian.get(answer.headers["Location"]).headers["ETag"] == answer.headers["ETag"]
    session.expire_all()
    assert session.get(Copy, copy.id).place is CopyPlace.ON_LOAN


def test_a_second_check_out_is_refused_with_item_on_loan(as_librarian, make, copy, patron, session):
    loan = check_out(as_librarian, copy, patron).json
    answer = check_out(as_librarian, copy, make.user())
    assert (answer.status_code, answer.json["code"], codes(answer)) == (409, "refused", ["item_on_loan"])
    assert answer.json["errors"][0] | {"detail": ""} == {
        "code": "item_on_loan",
        "detail": "",
        "pointer": "/copy_barcode",
        "params": {},
        "severity": "block",
        "overridable": False,
    }
    assert check_out(as_librarian, copy, patron).json["errors"][0]["params"] == {"loan_id": loan["id"]}
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
        "other_branch",
    ]
    assert answer.json["errors"][3]["params"] == {"expires_on": "2020-01-01"}
    told = [(error["severity"], error["overridable"], error.get("permission")) for error in answer.json["errors"]]
    assert told[1:4] == [
        ("block", False, None),
        ("override", True, "circulation.override"),
        ("override", True, "circulation.override"),
    ]


def test_unknown_barcodes_are_reasons_like_the_others(as_librarian, make, branch):
    body = {"copy_barcode": "nope", "patron_barcode": "nobody"}
    assert codes(as_librarian.post("/loans", json=body)) == ["item_not_found", "patron_not_found"]
    body["copy_barcode"] = f" {make.copy(home_branch=branch, not_for_loan=True).barcode} "
    assert codes(as_librarian.post("/loans", json=body)) == ["patron_not_found", "not_for_loan"]


def test_a_copy_of_another_branch_is_lent_with_a_remark(as_librarian, make, patron):
    answer = check_out(as_librarian, make.copy(), patron)
    assert (answer.status_code, answer.headers["X-Remarks"]) == (201, "other_branch")


def test_staff_may_name_the_due_date(as_librarian, copy, patron):
    answer = check_out(as_librarian, copy, patron, due_at="2199-05-01T12:00:00+02:00")
    assert (answer.json["due_at"], answer.json["due_on"]) == ("2199-05-01T10:00:00.000000Z", "2199-05-01")


def test_a_card_is_valid_through_its_last_local_day(as_librarian, make):
    branch = make.branch(time_zone="UTC")

    def lend_to(expires_on: date):
        scan = make.copy(home_branch=branch), make.user(expires_on=expires_on)
        return check_out(as_librarian, *scan, branch_id=branch.id)

    today = datetime.now(UTC).date()
    assert lend_to(today + DAY).status_code == 201
    assert codes(lend_to(today - DAY)) == ["patron_expired"]


def test_a_scan_that_waited_happens_after_the_one_before(as_librarian, make, branch, patron):
    later = datetime.now(UTC) + timedelta(seconds=5)
    copy = make.copy(home_branch=branch, last_seen_at=later)
    lent = check_out(as_librarian, copy, patron).json
    assert datetime.fromisoformat(lent["checked_out_at"]) == later
    back = as_librarian.post("/check-ins", json={"copy_barcode": copy.barcode})
    assert back.status_code == 200
    assert datetime.fromisoformat(back.json["loan"]["closed_at"]) >= later


def test_a_desk_without_a_branch_is_named(as_admin, make, patron):
    answer = check_out(as_admin, make.copy(), patron)
    assert (answer.status_code, answer.json["errors"][0]["pointer"]) == (422, "/branch_id")
    assert check_out(as_admin, make.copy(), patron, branch_id=make.branch().id).status_code == 201


def test_who_registered_themselves_borrows_once_staff_have_seen_them(as_librarian, make, copy):
    patron = make.user(confirmed=False)
    assert codes(check_out(as_librarian, copy, patron)) == ["patron_unconfirmed"]
    as_librarian.change(f"/users/{patron.id}", json={"confirmed": True})
    assert check_out(as_librarian, copy, patron).status_code == 201


def test_a_refusal_is_let_pass_with_a_reason_that_is_kept(as_librarian, make, copy, session):
    patron = make.user(expires_on=date(2020, 1, 1))
    blank = check_out(as_librarian, copy, patron, overrides=[{"code": "patron_expired", "reason": " "}])
    assert codes(blank) == ["override_reason_missing", "patron_expired"]
    lenient = {"overrides": [{"code": "patron_expired", "reason": "Renews it tomorrow."}]}
    loan = check_out(as_librarian, copy, patron, **lenient)
    assert loan.status_code == 201, loan.text
    row = session.query(Override).one()
    assert (row.loan_id, row.actor_id) == (loan.json["id"], as_librarian.user_id)
    assert (row.code, row.reason) == ("patron_expired", "Renews it tomorrow.")


def test_a_question_is_answered_with_the_token_of_the_refusal(as_librarian, make, branch, patron):
    copy = make.copy(home_branch=branch, check_note="2 CDs")
    asked = check_out(as_librarian, copy, patron)
    assert (asked.status_code, codes(asked)) == (409, ["check_note"])
    token = asked.json["confirm_token"]
    assert codes(check_out(as_librarian, copy, make.user(), confirm_token=token)) == ["check_note"]
    assert check_out(as_librarian, copy, patron, confirm_token=token).status_code == 201


def test_a_refusal_that_is_more_than_a_question_has_no_token(as_librarian, make, branch):
    copy, expired = make.copy(home_branch=branch, check_note="2 CDs"), make.user(expires_on=date(2020, 1, 1))
    answer = check_out(as_librarian, copy, expired)
    assert (codes(answer), answer.json.get("confirm_token")) == (["patron_expired", "check_note"], None)


def test_lending_is_for_the_desk(as_patron, client):
    assert as_patron.post("/loans", json={}).status_code == 403
    assert client.post("/loans", json={}).status_code == 401


# --- Loans --------------------------------------------------------------------------------------


def test_patrons_see_their_own_loans_and_no_others(as_patron, make, session):
    me = session.get_one(User, as_patron.user_id)
    mine, other = make.loan(patron=me), make.loan()
    assert [row["id"] for row in as_patron.get("/loans").json] == [mine.id]
    assert as_patron.get(f"/loans/{mine.id}").status_code == 200
    hidden, absent = as_patron.get(f"/loans/{other.id}"), as_patron.get("/loans/999")
    assert (hidden.status_code, absent.status_code) == (404, 404)
    assert {**hidden.json, "request_id": ""} == {**absent.json, "request_id": ""}
    assert as_patron.get(f"/loans?patron_id={me.id}").status_code == 200
    theirs, nobodys = (as_patron.get(f"/loans?patron_id={key}") for key in (other.patron_id, 999))
    assert (theirs.status_code, nobodys.status_code) == (422, 422)
    assert {**theirs.json, "request_id": ""} == {**nobodys.json, "request_id": ""}


def test_lists_are_narrowed(as_librarian, make):
    overdue = make.loan()
    later = datetime.now(UTC) + 5 * DAY
    current = make.loan(due_at=later)
    closed = make.loan(closed_at=overdue.checked_out_at + DAY, closed_as="returned")

    def ids(query: str) -> set[int]:
        return {row["id"] for row in as_librarian.get(f"/loans?{query}").json}

    assert ids("status=open") == {overdue.id, current.id}
    assert ids("status=overdue") == {overdue.id}
    assert ids("status=closed") == {closed.id}
    assert ids(f"patron_id={current.patron_id}") == {current.id}
    assert ids(f"copy_id={closed.copy_id}") == {closed.id}
    assert ids(f"due_on_min={later.date()}") == {current.id}
    assert [row["id"] for row in as_librarian.get("/loans?sort=-due_at&status=open").json] == [current.id, overdue.id]


def test_a_loan_says_why_it_may_not_be_renewed_and_what_it_costs_by_now(as_patron, make, session):
    make.policy("fine_rate", {"cents": 20, "per": "day"})
    make.policy("fine_on_closed_days", True)
    make.policy("max_renewals", 0)
    me = session.get_one(User, as_patron.user_id)
    due_at = datetime.combine(TODAY - 3 * DAY, datetime.min.time(), UTC)
    loan = as_patron.get(f"/loans/{make.loan(patron=me, due_at=due_at).id}").json
    assert loan["renewable"]["ok"] is False
    (reason,) = loan["renewable"]["errors"]
    assert (reason["code"], reason["params"]) == ("renewal_limit", {"count": 0, "max": 0})
    assert loan["running_fine_cents"] in (60, 80)


# --- Other due dates ----------------------------------------------------------------------------


def test_staff_give_a_loan_another_due_date(as_librarian, copy, patron):
    loan = check_out(as_librarian, copy, patron).json
    body = {"due_at": "2199-05-01T10:00:00Z", "reason": "She is in hospital."}
    assert as_librarian.patch(f"/loans/{loan['id']}", json=body).status_code == 428
    answer = as_librarian.change(f"/loans/{loan['id']}", json=body)
    assert (answer.status_code, answer.json["due_on"]) == (200, "2199-05-01")
    assert [step["step"] for step in answer.json["due_steps"]] == ["named"]
    early = as_librarian.change(f"/loans/{loan['id']}", json=body | {"due_at": loan["checked_out_at"]})
    assert (early.status_code, codes(early)) == (409, ["due_in_the_past"])


def test_a_reason_is_wanted_and_only_from_staff(as_librarian, as_patron, make, session):
    loan = make.loan(patron=session.get_one(User, as_patron.user_id))
    body = {"due_at": "2199-05-01T10:00:00Z"}
    assert as_librarian.change(f"/loans/{loan.id}", json=body).json["errors"][0]["pointer"] == "/reason"
    assert as_patron.change(f"/loans/{loan.id}", json=body | {"reason": "Please."}).status_code == 403


def test_due_dates_move_off_newly_closed_days(as_librarian, make, branch):
    closed = make.loan(make.copy(home_branch=branch), due_at=datetime(2199, 5, 1, 10, tzinfo=UTC))
    make.loan(make.copy(home_branch=branch), due_at=datetime(2199, 5, 3, 10, tzinfo=UTC))
    make.exception(date(2199, 5, 1), date(2199, 5, 2), branch_id=branch.id)
    body = {"branch_id": branch.id, "from_on": "2199-05-01", "to_on": "2199-05-07", "reason": "Heating"}
    (moved,) = as_librarian.post("/loans/move-due-dates", json=body).json["results"]
    assert (moved["index"], moved["ok"], moved["loan"]["id"]) == (0, True, closed.id)
    assert moved["loan"]["due_on"] == "2199-05-03"
    assert as_librarian.post("/loans/move-due-dates", json=body).json["results"] == []


@pytest.mark.parametrize("to_on", ["2199-04-30", "2200-05-02"])
def test_the_span_of_days_is_at_most_a_year(as_librarian, branch, to_on):
    body = {"branch_id": branch.id, "from_on": "2199-05-01", "to_on": to_on, "reason": "Heating"}
    answer = as_librarian.post("/loans/move-due-dates", json=body)
    assert (answer.status_code, answer.json["errors"][0]["pointer"]) == (422, "/to_on")
