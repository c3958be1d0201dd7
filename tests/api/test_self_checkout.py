"""Self-checks: where the setting SELF_CHECKOUT is on, patrons lend to themselves, and only to themselves."""

from datetime import UTC, datetime, timedelta

import pytest

from library.models import Branch, Loan, PatronBlock, User

NOW = datetime.now(UTC)


@pytest.fixture
def self_checks(app, monkeypatch):
    monkeypatch.setitem(app.config, "SELF_CHECKOUT", True)


@pytest.fixture
def me(session, as_patron) -> User:
    return session.get_one(User, as_patron.user_id)


@pytest.fixture
def branch(make) -> Branch:
    return make.branch()


@pytest.fixture
def lend(as_patron, me, branch, make):
    """Call it to check a copy out at a self-check of the branch."""

    def lend(copy=None, path: str = "/loans", **more):
        copy = copy or make.copy(home_branch=branch)
        body = {"copy_barcode": copy.barcode, "patron_barcode": me.card_barcode, "branch_id": branch.id}
        return as_patron.post(path, json=body | more)

    return lend


def reasons(answer) -> list[tuple[str, str | None]]:
    assert answer.status_code == 409, answer.text
    return [(reason["code"], reason.get("pointer")) for reason in answer.json["errors"]]


def test_without_self_checks_patrons_lend_nothing(lend, client):
    assert lend().status_code == 403
    assert lend(path="/loans/preview").status_code == 403
    assert client.get("/library").json["self_checkout"] is False


@pytest.mark.usefixtures("self_checks")
def test_a_patron_lends_to_themselves(lend, me, branch, client, session):
    assert client.get("/library").json["self_checkout"] is True
    assert lend(path="/loans/preview").json["ok"] is True
    answer = lend()
    assert answer.status_code == 201
    loan = session.get_one(Loan, answer.json["id"])
    assert (loan.patron_id, loan.checked_out_by_id, loan.branch_id) == (me.id, me.id, branch.id)


@pytest.mark.usefixtures("self_checks")
def test_anothers_card_is_one_that_nobody_has(lend, make, branch, session):
    copy, other = make.copy(home_branch=branch), make.user(active=False)
    answers = [lend(copy, patron_barcode=card) for card in (other.card_barcode, "NOBODY")]
    assert reasons(answers[0]) == [("patron_not_found", "/patron_barcode")]
    told = [{**answer.json, "request_id": ""} for answer in answers]
    assert told[0] == told[1]
    assert session.query(Loan).count() == 0


@pytest.mark.usefixtures("self_checks")
def test_a_patron_names_no_due_date_and_lets_nothing_pass(lend, me, make):
    assert reasons(lend(due_at=(NOW + timedelta(days=300)).isoformat())) == [("not_for_oneself", "/due_at")]
    make.row(PatronBlock(user_id=me.id, reason="Lost three films.", created_at=NOW))
    passing = {"overrides": [{"code": "patron_blocked", "reason": "Please."}]}
    assert reasons(lend(**passing)) == [("override_not_permitted", "/overrides"), ("patron_blocked", "/patron_barcode")]


@pytest.mark.usefixtures("self_checks")
def test_what_wants_to_be_confirmed_goes_to_the_desk(lend, make, branch):
    copy = make.copy(home_branch=branch, check_note="2 CDs")
    answer = lend(copy)
    assert reasons(answer) == [("check_note", "/copy_barcode")]
    assert "confirm_token" not in answer.json
    assert reasons(lend(copy, confirm_token="0" * 64)) == [("check_note", "/copy_barcode")]


@pytest.mark.usefixtures("self_checks")
def test_a_self_check_names_its_branch_unless_the_patron_has_one(lend, make, me, session, as_patron):
    body = {"copy_barcode": make.copy().barcode, "patron_barcode": me.card_barcode}
    answer = as_patron.post("/loans", json=body)
    assert (answer.status_code, answer.json["errors"][0]["pointer"]) == (422, "/branch_id")
    me.home_branch = make.branch()
    session.commit()
    assert as_patron.post("/loans", json=body).json["branch_id"] == me.home_branch_id


@pytest.mark.usefixtures("self_checks")
def test_self_checks_open_nothing_else(as_patron, lend, client):
    loan = lend().json
    assert as_patron.post("/check-ins", json={"copy_barcode": "C1"}).status_code == 403
    assert as_patron.change(f"/loans/{loan['id']}", json={}).status_code == 403
    assert client.post("/loans", json={}).status_code == 401
