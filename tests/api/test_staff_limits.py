"""What staff may not do: grant themselves what a colleague must, or touch those above them; the last admin stays."""

from datetime import UTC, datetime, timedelta

import pytest

from library.models import Loan, PatronBlock, Role, User

NOW = datetime.now(UTC)
SOON, LATER = NOW + timedelta(days=7), (NOW + timedelta(days=300)).isoformat()


def reasons(answer) -> list[tuple[str, str | None]]:
    """Code and place of each reason of a refusal."""
    assert answer.status_code == 409, answer.text
    return [(reason["code"], reason.get("pointer")) for reason in answer.json["errors"]]


@pytest.fixture(params=[Role.LIBRARIAN, Role.ADMIN])
def worker(request, make) -> User:
    """Somebody of the staff, who is a patron as well."""
    return make.librarian(role=request.param, patron_category=make.category())


@pytest.fixture
def desk(signed_in, worker):
    return signed_in(worker)


@pytest.fixture
def colleague(signed_in, make, worker):
    return signed_in(make.user(role=Role.ADMIN, home_branch=worker.home_branch))


@pytest.fixture
def copy(make, worker):
    return make.copy(home_branch=worker.home_branch)


@pytest.fixture
def blocked(make, worker) -> PatronBlock:
    return make.row(PatronBlock(user_id=worker.id, reason="Lost three films.", created_at=NOW))


def test_nobody_lets_a_block_pass_for_themselves(desk, colleague, worker, copy, blocked):
    body = {"copy_barcode": copy.barcode, "patron_barcode": worker.card_barcode}
    passing = body | {"overrides": [{"code": "patron_blocked", "reason": "It is only me."}]}
    refused = desk.post("/loans", json=passing)
    assert reasons(refused) == [("not_for_oneself", "/overrides"), ("patron_blocked", "/patron_barcode")]
    assert refused.json["errors"][0]["params"] == {"override": "patron_blocked"}
    assert desk.post("/loans/preview", json=passing).json["ok"] is False
    assert colleague.post("/loans", json=passing).status_code == 201


def test_nobody_lets_a_limit_of_holds_or_renewals_pass_for_themselves(desk, colleague, worker, make, copy):
    make.policy("max_holds", 0)
    make.policy("max_renewals", 0)
    hold = {"book_id": copy.book_id, "patron_id": worker.id, "overrides": [{"code": "hold_limit", "reason": "Mine."}]}
    hold["overrides"].append({"code": "on_shelf", "reason": "Mine."})
    assert ("not_for_oneself", "/overrides") in reasons(desk.post("/holds", json=hold))
    assert colleague.post("/holds", json=hold).status_code == 201
    loan = make.loan(patron=worker, checked_out_at=NOW, due_at=SOON)
    more = {"overrides": [{"code": "renewal_limit", "reason": "Mine."}]}
    assert reasons(desk.post(f"/loans/{loan.id}/renewals", json=more)) == [
        ("not_for_oneself", "/overrides"),
        ("renewal_limit", None),
    ]
    # An expired card that was let pass would lengthen the loan.
    assert colleague.post(f"/loans/{loan.id}/renewals", json=more).status_code == 201


def test_nobody_lifts_or_changes_a_block_of_their_own(desk, colleague, worker, blocked):
    path = f"/users/{worker.id}/blocks/{blocked.id}"
    assert reasons(desk.change(path, json={"until_on": "2020-01-01"})) == [("not_for_oneself", None)]
    assert reasons(desk.change(path, "DELETE")) == [("not_for_oneself", None)]
    assert colleague.change(path, json={"until_on": "2020-01-01"}).status_code == 200
    assert colleague.change(path, "DELETE").status_code == 204


@pytest.mark.parametrize(
    ("member", "value"),
    [("expires_on", None), ("confirmed", True), ("patron_category_id", None), ("birth_date", "1960-01-01")],
)
def test_nobody_says_what_they_may_borrow_themselves(desk, colleague, worker, session, member, value):
    worker.expires_on, worker.confirmed = SOON.date(), False
    session.commit()
    path = f"/users/{worker.id}"
    assert reasons(desk.change(path, json={member: value})) == [("not_for_oneself", f"/{member}")]
    whole = {"role": worker.role.value, "email": worker.email, member: value}
    assert ("not_for_oneself", f"/{member}") in reasons(desk.change(path, "PUT", json=whole))
    # What stays as it is may be named.
    known = {name: desk.get(path).json[name] for name in ("expires_on", "confirmed", "patron_category_id")}
    assert desk.change(path, json=known | {"phone": "1"}).status_code == 200
    assert colleague.change(path, json={member: value}).json[member] == value


def test_nobody_gives_themselves_time(desk, colleague, worker, make, copy):
    body = {"copy_barcode": copy.barcode, "patron_barcode": worker.card_barcode}
    assert reasons(desk.post("/loans", json=body | {"due_at": LATER})) == [("not_for_oneself", "/due_at")]
    loan = desk.post("/loans", json=body).json
    longer = {"due_at": LATER, "reason": "A thick one."}
    assert reasons(desk.change(f"/loans/{loan['id']}", json=longer)) == [("not_for_oneself", "/due_at")]
    assert colleague.change(f"/loans/{loan['id']}", json=longer).status_code == 200


def test_nobody_dates_their_own_return_back(desk, colleague, worker, make, copy, session):
    loan = make.loan(copy, worker, checked_out_at=NOW - timedelta(days=30), due_at=NOW - timedelta(days=3))
    back = {"copy_barcode": copy.barcode, "returned_at": (NOW - timedelta(days=5)).isoformat()}
    assert reasons(desk.post("/check-ins", json=back)) == [("not_for_oneself", "/returned_at")]
    assert session.get_one(Loan, loan.id).closed_at is None
    assert colleague.post("/check-ins", json=back).status_code == 200
    again = make.loan(make.copy(), worker, checked_out_at=NOW - timedelta(days=9), due_at=SOON)
    # A moment to come counts as now.
    now = {"copy_barcode": again.copy.barcode, "returned_at": LATER}
    assert desk.post("/check-ins", json=now).json["loan"]["id"] == again.id


@pytest.mark.parametrize("outcome", ["found", "missing"])
def test_nobody_judges_their_own_claim(desk, colleague, worker, make, session, outcome):
    """The days of a claim are not fined."""
    loan = make.loan(make.copy(home_branch=worker.home_branch), worker, checked_out_at=NOW, due_at=SOON)
    assert desk.post(f"/loans/{loan.id}/claim-returned", json={}).status_code == 200
    path, body = f"/loans/{loan.id}/resolve-claim", {"outcome": outcome}
    assert reasons(desk.post(path, json=body)) == [("not_for_oneself", None)]
    assert desk.post(f"{path}/preview", json=body).json["ok"] is False
    scan = {"copy_barcode": loan.copy.barcode}
    assert reasons(desk.post("/check-ins", json=scan)) == [("not_for_oneself", "/copy_barcode")]
    session.expire_all()
    assert session.get_one(Loan, loan.id).claimed_at is not None
    assert colleague.post(path, json=body).status_code == 200
    if outcome == "missing":
        assert desk.post("/check-ins", json=scan).status_code == 200


def test_a_token_alone_does_not_give_its_account_another_address(desk, colleague, worker):
    path, before = f"/users/{worker.id}", worker.email
    whole = {"role": worker.role.value, "confirmed": True, "first_name": "Me"}
    for method, body in (("PATCH", {"email": "mine@example.org"}), ("PATCH", {"email": None}), ("PUT", whole)):
        answer = desk.change(path, method, json=body)
        assert answer.status_code == 403, (method, body)
        assert answer.json["errors"][0]["params"] == {"permission": "users.write"}
    assert desk.change(path, json={"email": before, "phone": "1"}).json["email"] == before
    assert colleague.change(path, json={"email": "mine@example.org"}).json["email"] == "mine@example.org"


def test_nobody_names_the_price_of_what_they_lost(desk, colleague, worker, make):
    loan = make.loan(patron=worker, checked_out_at=NOW, due_at=SOON)
    path, cheap = f"/loans/{loan.id}/declare-lost", {"replacement_cents": 1}
    assert reasons(desk.post(path, json=cheap)) == [("not_for_oneself", "/replacement_cents")]
    charge = {"patron_id": worker.id, "amount_cents": 1, "loan_id": loan.id, "reason": "replacement"}
    assert reasons(desk.post("/charges", json=charge)) == [("not_for_oneself", "/reason")]
    assert desk.post("/charges", json=charge | {"reason": "manual"}).status_code == 201
    assert colleague.post("/charges", json=charge).status_code == 201
    assert colleague.post(path, json=cheap).status_code == 200


def test_nobody_waives_refunds_or_reverses_on_their_own_account(desk, colleague, worker, make):
    charge = make.charge(worker, 300)
    assert (
        desk.post("/payments", json={"patron_id": worker.id, "amount_cents": 100, "method": "cash"}).status_code == 201
    )
    calls = {
        "/waivers": {"charge_id": charge.id, "amount_cents": 50, "reason": "Mine."},
        "/refunds": {"charge_id": charge.id, "amount_cents": 50, "method": "cash"},
        "/reversals": {"entry_id": charge.id, "reason": "Mine."},
    }
    for path, body in calls.items():
        pointer = "/entry_id" if path == "/reversals" else "/charge_id"
        assert reasons(desk.post(path, json=body)) == [("own_account", pointer)]
        assert desk.post(f"{path}/preview", json=body).json["ok"] is False
        assert colleague.post(path, json=body).status_code == 201


@pytest.mark.parametrize("above", [Role.LIBRARIAN, Role.ADMIN])
def test_a_librarian_touches_no_account_of_staff(as_librarian, make, session, above):
    boss = make.user(role=above, email="boss@example.org")
    path, before = f"/users/{boss.id}", dict(vars(boss))
    for method, body in (
        ("PATCH", {"email": "mine@example.org"}),
        ("PATCH", {"password": "correct horse battery"}),
        ("PATCH", {"active": False}),
        ("PUT", {"role": "patron"}),
        ("PUT", {}),
        ("DELETE", None),
    ):
        answer = as_librarian.open(path, method=method, headers={"If-Match": "*"}, json=body)
        assert answer.status_code == 403, (method, body)
        assert answer.json["errors"][0]["params"] == {"permission": "users.roles"}
    session.expire_all()
    assert boss.role is above
    assert {name: getattr(boss, name) for name in before if not name.startswith("_")} == {
        name: value for name, value in before.items() if not name.startswith("_")
    }


@pytest.mark.parametrize("role", ["librarian", "admin"])
def test_a_librarian_raises_neither_themselves_nor_anybody(as_librarian, make, role):
    for path in (f"/users/{as_librarian.user_id}", f"/users/{make.user().id}"):
        for method in ("PATCH", "PUT"):
            if not (role == "librarian" and path.endswith(f"/{as_librarian.user_id}")):
                assert as_librarian.change(path, method, json={"role": role}).status_code == 403
    assert as_librarian.post("/users", json={"role": role}).status_code == 403
    assert as_librarian.change("/users/me", json={"role": role}).status_code == 422


def test_a_patron_raises_nobody(as_patron):
    for body in ({"role": "admin"}, {"confirmed": True}, {"expires_on": None}, {"active": True}):
        assert as_patron.change("/users/me", json=body).status_code == 422
        assert as_patron.change(f"/users/{as_patron.user_id}", json=body).status_code == 403
