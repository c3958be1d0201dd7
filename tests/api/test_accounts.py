"""Money over HTTP: the account, the ledger, and what the desk writes into it."""

from datetime import timedelta

import pytest

from library.models import AccountEntry, ChargeReason, LoanClosing, PolicyKind, User


@pytest.fixture
def patron(make):
    return make.user()


@pytest.fixture
def me(session, as_patron):
    return session.get_one(User, as_patron.user_id)


def codes(answer) -> list[str]:
    assert answer.status_code in (409, 422), answer.text
    return [error["code"] for error in answer.json["errors"]]


def written(answer) -> dict:
    """What a 201 says, which is what its Location says."""
    assert answer.status_code == 201, answer.text
    return answer.json


def pay(client, patron, cents, **more):
    body = {"patron_id": patron.id, "amount_cents": cents, "method": "cash"} | more
    return client.post("/payments", json=body)


def balance(client, patron) -> int:
    return client.get(f"/accounts/{patron.id}").json["balance_cents"]


# --- Writing ------------------------------------------------------------------------------------


def test_a_charge_by_hand(as_librarian, make, patron):
    loan = make.loan(patron=patron)
    body = {"patron_id": patron.id, "amount_cents": 250, "note": "New card\nwith a photo", "loan_id": loan.id}
    answer = as_librarian.post("/charges", json=body)
    branch = as_librarian.get("/users/me").json["home_branch_id"]
    entry = written(answer)
    assert entry == {
        "id": entry["id"],
        "patron_id": patron.id,
        "kind": "charge",
        "amount_cents": 250,
        "reason": "manual",
        "method": None,
        "reverses_id": None,
        "loan_id": loan.id,
        "branch_id": branch,
        "actor_id": as_librarian.user_id,
        "note": "New card\nwith a photo",
        "steps": None,
        "made_at": entry["made_at"],
        "open_cents": 250,
        "allocations": [],
    }
    assert answer.headers["Location"] == f"/account-entries/{entry['id']}"
    read = as_librarian.get(answer.headers["Location"])
    assert (read.json, read.headers["ETag"]) == (entry, answer.headers["ETag"])


def test_a_charge_for_the_loan_of_another_is_refused(as_librarian, make, patron):
    body = {"patron_id": patron.id, "amount_cents": 250, "loan_id": make.loan().id}
    answer = as_librarian.post("/charges", json=body)
    assert (codes(answer), answer.json["errors"][0]["pointer"]) == (["not_their_loan"], "/loan_id")


def test_a_payment_says_what_it_settles(as_librarian, make, patron):
    first, second = make.charge(patron, 300), make.charge(patron, 200)
    answer = pay(as_librarian, patron, 400, note="In coins")
    entry = written(answer)
    assert (entry["kind"], entry["amount_cents"], entry["method"], entry["note"]) == (
        "payment",
        -400,
        "cash",
        "In coins",
    )
    assert (entry["open_cents"], entry["reason"]) == (None, None)
    assert entry["allocations"] == [
        {"entry_id": entry["id"], "charge_id": first.id, "amount_cents": 300},
        {"entry_id": entry["id"], "charge_id": second.id, "amount_cents": 100},
    ]
    assert as_librarian.get(answer.headers["Location"]).headers["ETag"] == answer.headers["ETag"]
    charged = as_librarian.get(f"/account-entries/{second.id}").json
    assert (charged["open_cents"], charged["allocations"]) == (100, entry["allocations"][1:])


def test_named_charges_are_paid_and_no_more_than_is_open(as_librarian, make, patron):
    make.charge(patron, 300)
    named, others = make.charge(patron, 200), make.charge()
    refused = pay(as_librarian, patron, 201, charge_ids=[named.id])
    assert codes(refused) == ["exceeds_open_amount"]
    assert refused.json["errors"][0]["params"] == {"open_cents": 200, "amount_cents": 201}
    assert refused.json["errors"][0]["pointer"] == "/amount_cents"
    assert codes(pay(as_librarian, patron, 1, charge_ids=[others.id])) == ["charge_not_found", "exceeds_open_amount"]
    unknown = pay(as_librarian, patron, 1, charge_ids=[named.id, 999])
    assert (unknown.status_code, unknown.json["errors"][0]["pointer"]) == (422, "/charge_ids/1")
    paid = written(pay(as_librarian, patron, 200, charge_ids=[named.id]))
    assert [part["charge_id"] for part in paid["allocations"]] == [named.id]
    assert balance(as_librarian, patron) == 300


def test_a_payment_is_previewed(as_librarian, make, patron, session):
    make.charge(patron, 300)
    body = {"patron_id": patron.id, "amount_cents": 100, "method": "card"}
    good = as_librarian.post("/payments/preview", json=body)
    assert (good.status_code, good.json["ok"], good.json["errors"]) == (200, True, [])
    assert good.json["result"]["amount_cents"] == -100
    bad = as_librarian.post("/payments/preview", json=body | {"amount_cents": 301}).json
    assert (bad["ok"], bad["result"], [error["code"] for error in bad["errors"]]) == (
        False,
        None,
        ["exceeds_open_amount"],
    )
    assert balance(as_librarian, patron) == 300
    assert session.query(AccountEntry).count() == 1


def test_a_credit_pays_another_charge(as_librarian, make, patron):
    mistaken, owed = make.charge(patron, 300), make.charge(patron, 200)
    pay(as_librarian, patron, 300, charge_ids=[mistaken.id])
    reversal = written(as_librarian.post("/reversals", json={"entry_id": mistaken.id, "reason": "Not theirs"}))
    assert (reversal["kind"], reversal["amount_cents"], reversal["reverses_id"]) == ("reversal", -300, mistaken.id)
    account = as_librarian.get(f"/accounts/{patron.id}").json
    assert (account["balance_cents"], account["credit_cents"]) == (-100, 300)
    assert codes(pay(as_librarian, patron, 201, method="credit")) == ["exceeds_open_amount"]
    entry = written(pay(as_librarian, patron, 200, method="credit"))
    assert (entry["method"], entry["allocations"][0]["charge_id"]) == ("credit", owed.id)
    account = as_librarian.get(f"/accounts/{patron.id}").json
    assert (account["balance_cents"], account["credit_cents"], account["open_charges"]) == (-100, 100, [])


def test_a_waiver_needs_a_reason_and_takes_what_is_open(as_librarian, make, patron):
    charge = make.charge(patron, 300)
    silent = as_librarian.post("/waivers", json={"charge_id": charge.id})
    assert (silent.status_code, silent.json["errors"][0]["pointer"]) == (422, "/reason")
    part = as_librarian.post("/waivers", json={"charge_id": charge.id, "amount_cents": 100, "reason": "Flood"})
    assert (written(part)["amount_cents"], part.json["note"]) == (-100, "Flood")
    rest = as_librarian.post("/waivers", json={"charge_id": charge.id, "reason": "Flood"})
    assert written(rest)["amount_cents"] == -200
    more = as_librarian.post("/waivers", json={"charge_id": charge.id, "reason": "Flood"})
    assert codes(more) == ["exceeds_open_amount"]
    assert codes(as_librarian.post("/waivers", json={"charge_id": rest.json["id"], "reason": "Flood"})) == [
        "charge_not_found",
        "exceeds_open_amount",
    ]


def test_a_refund_gives_back_what_was_received(as_librarian, make, patron):
    charge = make.charge(patron, 300)
    pay(as_librarian, patron, 200)
    body = {"charge_id": charge.id, "amount_cents": 201, "method": "cash"}
    refused = as_librarian.post("/refunds", json=body)
    assert (codes(refused), refused.json["errors"][0]["params"]) == (
        ["exceeds_refundable"],
        {"refundable_cents": 200, "amount_cents": 201},
    )
    entry = written(as_librarian.post("/refunds", json=body | {"amount_cents": 200}))
    assert (entry["kind"], entry["amount_cents"], entry["method"]) == ("refund", 200, "cash")
    assert balance(as_librarian, patron) == 100
    kept = as_librarian.post("/refunds", json=body | {"method": "credit"})
    assert (kept.status_code, kept.json["errors"][0]["pointer"]) == (422, "/method")


def test_mistakes_are_reversed_once(as_librarian, make, patron):
    make.charge(patron, 300)
    payment = written(pay(as_librarian, patron, 300))
    body = {"entry_id": payment["id"], "reason": "Bounced"}
    reversal = written(as_librarian.post("/reversals", json=body))
    assert (reversal["amount_cents"], reversal["note"]) == (300, "Bounced")
    assert codes(as_librarian.post("/reversals", json=body)) == ["already_reversed"]
    again = as_librarian.post("/reversals", json=body | {"entry_id": reversal["id"]})
    assert (codes(again), again.json["errors"][0]["params"]) == (["not_reversible"], {"kind": "reversal"})
    assert balance(as_librarian, patron) == 300


def test_staff_pay_but_do_not_forgive_their_own_debts(as_librarian, make, session):
    librarian = session.get_one(User, as_librarian.user_id)
    charge = make.charge(librarian, 300)
    waiver = {"charge_id": charge.id, "reason": "It was me"}
    assert codes(as_librarian.post("/waivers", json=waiver)) == ["own_account"]
    assert codes(as_librarian.post("/reversals", json={"entry_id": charge.id, "reason": "Me"})) == ["own_account"]
    written(pay(as_librarian, librarian, 300))
    refund = {"charge_id": charge.id, "amount_cents": 300, "method": "cash"}
    assert codes(as_librarian.post("/refunds", json=refund)) == ["own_account"]


def test_money_changes_hands_at_a_branch(as_admin, as_librarian, make, patron):
    charge, branch = make.charge(patron, 300), make.branch()
    bodies = {
        "/charges": {"patron_id": patron.id, "amount_cents": 5},
        "/payments": {"patron_id": patron.id, "amount_cents": 5, "method": "cash"},
        "/waivers": {"charge_id": charge.id, "reason": "Flood", "amount_cents": 5},
        "/refunds": {"charge_id": charge.id, "amount_cents": 5, "method": "cash"},
        "/reversals": {"entry_id": charge.id, "reason": "A mistake"},
    }
    for path, body in bodies.items():
        nowhere = as_admin.post(path, json=body)
        assert (nowhere.status_code, nowhere.json["errors"][0]["pointer"]) == (422, "/branch_id"), path
        assert written(as_admin.post(path, json=body | {"branch_id": branch.id}))["branch_id"] == branch.id


@pytest.mark.parametrize("cents", [0, -1, 1.5, "5", True, None, 2**31])
def test_an_amount_is_a_whole_number_of_cents_above_zero(as_librarian, make, patron, cents):
    charge = make.charge(patron, 300)
    bodies = {
        "/charges": {"patron_id": patron.id},
        "/payments": {"patron_id": patron.id, "method": "cash"},
        "/waivers": {"charge_id": charge.id, "reason": "Flood"},
        "/refunds": {"charge_id": charge.id, "method": "cash"},
    }
    for path, body in bodies.items():
        answer = as_librarian.post(path, json=body | {"amount_cents": cents})
        assert (answer.status_code, answer.json["errors"][0]["pointer"]) == (422, "/amount_cents"), path


def test_a_lost_copy_that_is_paid_for_ends_its_loan(as_librarian, make, patron, session, now):
    loan = make.loan(patron=patron, lost_at=now)
    loan.copy.condition = "lost"
    session.commit()
    price = make.charge(cents=2000, reason=ChargeReason.REPLACEMENT, loan=loan)
    fee = make.charge(cents=300, reason=ChargeReason.PROCESSING, loan=loan)
    pay(as_librarian, patron, 2000, charge_ids=[price.id])
    assert as_librarian.get(f"/loans/{loan.id}").json["closed_as"] is None
    written(as_librarian.post("/waivers", json={"charge_id": fee.id, "reason": "Kindness"}))
    session.expire_all()
    assert (loan.closed_as, loan.copy.condition) == (LoanClosing.LOST_PAID, "lost")


# --- Reading ------------------------------------------------------------------------------------


def test_an_account_tells_all_that_is_owed(as_librarian, make, patron, session, now):
    assert as_librarian.get(f"/accounts/{patron.id}").json == {
        "patron_id": patron.id,
        "balance_cents": 0,
        "credit_cents": 0,
        "running_fines_cents": 0,
        "open_charges": [],
    }
    settled, part = make.charge(patron, 300), make.charge(patron, 200)
    pay(as_librarian, patron, 350)
    account = as_librarian.get(f"/accounts/{patron.id}").json
    assert (account["balance_cents"], account["credit_cents"]) == (150, 0)
    assert account["open_charges"] == [as_librarian.get(f"/account-entries/{part.id}").json]
    assert as_librarian.get(f"/account-entries/{settled.id}").json["open_cents"] == 0


def test_fines_that_run_are_shown_beside_the_balance(as_librarian, make, patron, now):
    make.policy(PolicyKind.FINE_RATE, {"per": "day", "cents": 20})
    make.policy(PolicyKind.FINE_CAP_CENTS, 70)
    due_at = now - timedelta(days=9)
    for borrower in (patron, patron, make.user()):
        make.loan(patron=borrower, due_at=due_at, checked_out_at=due_at - timedelta(days=9))
    make.charge(patron, 5)
    account = as_librarian.get(f"/accounts/{patron.id}").json
    assert (account["balance_cents"], account["running_fines_cents"]) == (5, 140)


def test_the_steps_of_a_fine_are_told(as_librarian, session, patron, now):
    steps = [{"step": "late", "per": "days", "count": 3, "cents": None, "amount_cents": 0}]
    capped = {"step": "fine_cap", "per": None, "count": None, "cents": 50, "amount_cents": 50}
    fine = AccountEntry(
        patron_id=patron.id,
        kind="charge",
        reason=ChargeReason.OVERDUE,
        amount_cents=50,
        made_at=now,
        steps=[*steps, capped],
    )
    session.add(fine)
    session.commit()
    entry = as_librarian.get(f"/account-entries/{fine.id}").json
    assert (entry["reason"], entry["steps"]) == ("overdue", [*steps, capped])


def test_the_ledger_is_narrowed_and_ordered(as_librarian, make, patron):
    settled, owed, other = make.charge(patron, 300), make.charge(patron, 200), make.charge(cents=250)
    payment = written(pay(as_librarian, patron, 300))

    def ids(query: str) -> list[int]:
        return [row["id"] for row in as_librarian.get(f"/account-entries?{query}").json]

    assert ids("") == [settled.id, owed.id, other.id, payment["id"]]
    assert ids(f"patron_id={patron.id}") == [settled.id, owed.id, payment["id"]]
    assert ids("kind=payment") == [payment["id"]]
    assert ids("open=true") == [owed.id, other.id]
    assert ids("open=false") == [settled.id]
    assert ids("sort=-amount_cents") == [settled.id, other.id, owed.id, payment["id"]]
    assert ids("sort=-made_at")[0] == payment["id"]
    assert ids("kind=refund") == []
    assert as_librarian.get("/account-entries?open=yes").status_code == 422
    assert as_librarian.get("/account-entries?is_open=true").status_code == 422


def test_patrons_see_their_own_money_only(as_patron, as_librarian, me, make):
    mine, others = make.charge(me, 300), make.charge(cents=70)
    assert as_patron.get(f"/accounts/{me.id}").json["balance_cents"] == 300
    assert [row["id"] for row in as_patron.get("/account-entries").json] == [mine.id]
    assert as_patron.get(f"/account-entries/{mine.id}").json["open_cents"] == 300
    for path in ("/accounts/{}", "/account-entries/{}"):
        key = others.patron_id if path.startswith("/accounts") else others.id
        hidden, absent = as_patron.get(path.format(key)), as_patron.get(path.format(999))
        assert (hidden.status_code, absent.status_code) == (404, 404)
        assert {**hidden.json, "request_id": ""} == {**absent.json, "request_id": ""}
    theirs, nobodys = (as_patron.get(f"/account-entries?patron_id={key}") for key in (others.patron_id, 999))
    assert (theirs.status_code, nobodys.status_code) == (422, 422)


def test_patrons_write_nothing_into_the_ledger(as_patron, client, me, make):
    charge = make.charge(me, 300)
    for path in ("/charges", "/payments", "/payments/preview", "/waivers", "/refunds", "/reversals"):
        assert as_patron.post(path, json={}).status_code == 403
        assert client.post(path, json={}).status_code == 401
    assert client.get(f"/account-entries/{charge.id}").status_code == 401


def test_the_account_is_read_in_a_fixed_number_of_statements(as_librarian, make, patron, statements):
    def asked() -> int:
        statements.clear()
        assert as_librarian.get(f"/accounts/{patron.id}").status_code == 200
        return len(statements)

    make.charge(patron, 5)
    few = asked()
    for _ in range(9):
        make.charge(patron, 5)
        pay(as_librarian, patron, 6)
    assert asked() == few
