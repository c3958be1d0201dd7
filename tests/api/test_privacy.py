"""The export of one's data and being forgotten: whose, by whom, and what the answers say."""

import json
from datetime import UTC, datetime, timedelta
from itertools import count

import pytest
from canaries import ties_with
from factories import START
from flask.testing import FlaskClient
from sqlalchemy import select

from library.api.dossiers import DossierSchema
from library.api.plumbing.streaming import INCOMPLETE
from library.models import (
    HIGHEST_ID,
    AccountEntry,
    ApiKey,
    AuditEvent,
    AuditOutcome,
    Base,
    DueChange,
    IdempotencyKey,
    Job,
    JobKind,
    JobResult,
    Loan,
    Mail,
    MailKind,
    Notice,
    NoticeKind,
    OneTimeToken,
    Outcome,
    Override,
    PatronBlock,
    PaymentMethod,
    Renewal,
    RenewalChannel,
    Role,
    TokenPurpose,
    User,
)
from library.rules import accounts, dossiers, ledger
from library.rules.desk import Desk
from library.rules.invariants import check_invariants

PASSWORD = "correct horse battery"
# Rows that point at a person and are not theirs: what staff did for others; the audit says that they did it.
AS_STAFF = {
    "account_entries.actor_id",
    "due_changes.actor_id",
    "holds.ended_by_id",
    "holds.placed_by_id",
    "jobs.created_by_id",
    "loans.checked_out_by_id",
    "loans.closed_by_id",
    "overrides.actor_id",
    "patron_blocks.created_by_id",
    "renewals.actor_id",
    "users.guarantor_id",
}


@pytest.fixture
def reader(make, signed_in):
    """A patron with a password, signed in."""
    user = make.user(username="jane", first_name="Jane", password=PASSWORD)
    return signed_in(user)


def erase(client, user_id: int, *, preview: bool = False, **body):
    return client.post(f"/users/{user_id}/erase{'/preview' if preview else ''}", json=body)


def problem(answer) -> tuple[int, list[tuple[str, str]]]:
    return answer.status_code, [(error["code"], error.get("pointer", "")) for error in answer.json["errors"]]


# --- The export ---------------------------------------------------------------------------------


@pytest.fixture
def everything(make, session):
    """Call it for what each part of a person's dossier must show, after it has made that."""

    def fill(user_id: int) -> None:
        person = session.get_one(User, user_id)
        clerk = make.librarian(first_name="Somebodyelse")
        book = make.book(title="Moby-Dick")
        loan, hold = make.loan(make.copy(book=book, barcode="B42"), person), make.hold(make.book(title="Typee"), person)
        make.charge(loan=loan)
        make.order(person, book)
        times = {"was_due_at": START, "due_at": START}
        override = {"action": "renew", "code": "held", "actor_id": clerk.id, "made_at": START}
        token = {"purpose": TokenPurpose.PASSWORD_RESET, "nonce": "hidden", "token_hash": "hidden"}
        key = {"call": "POST /holds", "key": "k1", "fingerprint": "hidden", "status": 201, "body": b'"hidden"'}
        event = {"at": START, "outcome": AuditOutcome.DONE, "codes": [], "members": ["phone"], "actor_id": person.id}
        for row in (
            Renewal(loan_id=loan.id, renewed_at=START, channel=RenewalChannel.OWN, **times),
            DueChange(loan_id=loan.id, changed_at=START, actor_id=clerk.id, reason="Hospital", **times),
            Override(loan_id=loan.id, reason="For a class", **override),
            Override(hold_id=hold.id, reason="For the other class", **override),
            PatronBlock(user_id=person.id, reason="Torn pages", created_at=START, created_by_id=clerk.id),
            Notice(patron_id=person.id, kind=NoticeKind.OVERDUE, occasion="x", loan_id=loan.id, created_at=START),
            ApiKey(
                user_id=person.id, name="Screen", prefix="lib_x", key_hash="hidden", scopes=["a.b"], created_at=START
            ),
            OneTimeToken(user_id=person.id, created_at=START, expires_at=START, **token),
            Mail(kind=MailKind.PASSWORD_RESET, user_id=person.id, token_id=1, created_at=START),
            IdempotencyKey(user_id=person.id, created_at=START, **key),
            Job(kind=JobKind.IMPORT_USERS, created_at=START),
            JobResult(job_id=1, position=3, outcome=Outcome.ADDED, reference="P1", user_id=person.id),
            JobResult(job_id=1, position=4, outcome=Outcome.FAILED, reference=person.card_barcode, reason="No branch"),
            JobResult(job_id=1, position=5, outcome=Outcome.FAILED, reference="hidden", reason="hidden"),
            AuditEvent(action="patch_me", **event),
            AuditEvent(
                **event | {"action": "patch_user", "actor_id": clerk.id}, object_kind="users", object_id=user_id
            ),
            AuditEvent(**event | {"action": "patch_user", "actor_id": clerk.id}, object_kind="users", object_id=9999),
        ):
            make.row(row)
        person.staff_note = "Shouts"
        session.commit()
        accounts.pay(session, Desk(clerk), person, 100, PaymentMethod.CASH, START)
        session.commit()

    return fill


def test_the_export_holds_every_part_and_nothing_of_others(reader, make, everything):
    everything(reader.user_id)
    neighbour = make.user(first_name="Neighbour")
    make.loan(make.copy(barcode="B43"), neighbour)
    make.row(PatronBlock(user_id=neighbour.id, reason="Neighbourly", created_at=START))

    answer = reader.get(f"/users/{reader.user_id}/export")

    assert answer.status_code == 200, answer.text
    told = answer.json
    assert set(told) == {"exported_at", *dossiers.parts_of(1)}
    assert [name for name, rows in told.items() if not rows] == []
    assert told["account"]["staff_note"] == "Shouts"
    assert [(loan["title"], loan["copy_barcode"]) for loan in told["loans"]] == [("Moby-Dick", "B42")]
    assert [hold["title"] for hold in told["holds"]] == ["Typee"]
    assert {row["reason"] for row in told["overrides"]} == {"For a class", "For the other class"}
    assert [(line["position"], line["reason"]) for line in told["roster_lines"]] == [(3, ""), (4, "No branch")]
    assert {row["action"] for row in told["audit_events"]} == {"patch_me", "patch_user"}
    assert len(told["audit_events"]) == 2
    for secret in ("hidden", "Neighbour", "B43", "Somebodyelse", "argon2", '"actor_id"', '"created_by_id"'):
        assert secret not in answer.text, secret


def test_the_export_is_a_file_that_nobody_keeps_on_the_way(reader):
    answer = reader.get(f"/users/{reader.user_id}/export")
    assert answer.headers["Cache-Control"] == "private, no-store"
    assert answer.headers["Content-Disposition"] == f'attachment; filename="user-{reader.user_id}.json"'
    assert "ETag" not in answer.headers


def test_every_column_that_points_at_a_person_is_told_or_is_of_their_work_for_others():
    pointing = {
        f"{table.name}.{key.parent.name}"
        for table in Base.metadata.sorted_tables
        for key in table.foreign_keys
        if key.column.table is User.__table__
    }
    told = {
        f"{part.table.__tablename__}.{column}"
        for part in dossiers.parts_of(1).values()
        for column in dict(part.table.__table__.columns)
        if f"{part.table.__tablename__}.{column} = " in str(part.mine)
    }
    assert pointing - told == AS_STAFF
    assert told - pointing <= {
        "users.id",
        "audit_events.actor_id",
        "audit_events.object_kind",
        "audit_events.object_id",
        "job_results.reference",
    }


def test_no_column_is_left_out_but_secrets_and_what_others_did():
    left = {
        f"{part.table.__tablename__}.{column}"
        for part in dossiers.parts_of(1).values()
        for column in dict(part.table.__table__.columns)
        if column not in part.columns
    }
    assert left == {
        *(f"users.{name}" for name in ("username_key", "email_key", "password_hash", "words", "version")),
        *("users.token_version", "users.erased_at", "user_sessions.refresh_jti", "api_keys.key_hash"),
        *("one_time_tokens.nonce", "one_time_tokens.token_hash", "mails.token_id", "patron_blocks.version"),
        *(
            f"loans.{name}"
            for name in ("checked_out_by_id", "closed_by_id", "lent_condition", "fine_pauses", "version")
        ),
        *("patron_blocks.created_by_id", "renewals.actor_id", "due_changes.actor_id", "overrides.actor_id"),
        *("holds.placed_by_id", "holds.ended_by_id", "holds.sort_key", "holds.version", "account_entries.actor_id"),
        *("notices.occasion", "orders.version", "order_lines.position", "job_results.book_id", "audit_events.actor_id"),
        *(f"idempotency_keys.{name}" for name in ("fingerprint", "status", "headers", "body")),
    }


def test_a_long_dossier_comes_in_batches(reader, make, session, monkeypatch, statements):
    monkeypatch.setattr(dossiers, "AT_ONCE", 4)
    for number in range(10):
        make.row(PatronBlock(user_id=reader.user_id, reason=f"Reason {number}", created_at=START))
    statements.clear()
    told = reader.get(f"/users/{reader.user_id}/export").json
    assert [row["reason"] for row in told["blocks"]] == [f"Reason {number}" for number in range(10)]
    assert len([line for line in statements if "FROM patron_blocks" in line]) == 4


def test_an_export_that_breaks_off_says_so(reader, make, app):
    make.row(ApiKey(user_id=reader.user_id, name="x", prefix="x", key_hash="x", scopes=7, created_at=START))
    # The client of the tests would not take it for an answer.
    headers = {"Authorization": f"Bearer {reader.token}"}
    answer = FlaskClient(app, app.response_class).get(f"/users/{reader.user_id}/export", headers=headers)
    assert answer.data.endswith(INCOMPLETE)
    with pytest.raises(json.JSONDecodeError):
        json.loads(answer.data)


def test_the_document_names_every_part(reader):
    schemas = reader.get("/openapi.json").json["components"]["schemas"]
    assert set(schemas["Dossier"]["properties"]) == set(DossierSchema().fields)


# --- Whose --------------------------------------------------------------------------------------


@pytest.mark.parametrize("call", ["export", "erase", "erase/preview"])
def test_anothers_answers_as_nobodys(reader, make, call):
    other = make.user().id

    def ask(user_id: int) -> bytes:
        sent = reader.get if call == "export" else reader.post
        answer = sent(f"/users/{user_id}/{call}", **({} if call == "export" else {"json": {}}))
        assert answer.status_code == 404
        return answer.data.replace(answer.headers["X-Request-ID"].encode(), b"")

    assert ask(other) == ask(HIGHEST_ID)


def test_librarians_neither_export_nor_erase_others(as_librarian, make):
    other = make.user().id
    for answer in (as_librarian.get(f"/users/{other}/export"), erase(as_librarian, other)):
        assert answer.status_code == 403


def test_admins_export_and_erase_others(as_admin, make, session):
    other = make.user(first_name="Jane")
    assert as_admin.get(f"/users/{other.id}/export").json["account"]["first_name"] == "Jane"
    answer = erase(as_admin, other.id)
    assert (answer.status_code, answer.json["user_id"]) == (200, other.id)
    for path in (f"/users/{other.id}", f"/users/{other.id}/export", f"/users/{other.id}/blocks"):
        assert as_admin.get(path).status_code == 404, path
    assert other.id not in [row["id"] for row in as_admin.get("/users").json]
    charged = as_admin.post("/charges", json={"patron_id": other.id, "amount_cents": 100})
    assert problem(charged) == (422, [("user_not_found", "/patron_id")])
    assert erase(as_admin, other.id).status_code == 404, "nobody is forgotten twice"


# --- Being forgotten ----------------------------------------------------------------------------


@pytest.mark.parametrize("body", [{}, {"password": "wrong horse battery"}, {"password": PASSWORD.upper()}])
def test_who_erases_themselves_proves_it(reader, session, body):
    assert problem(erase(reader, reader.user_id, **body)) == (422, [("wrong_password", "/password")])
    assert session.get_one(User, reader.user_id).erased_at is None


def test_who_is_erased_is_signed_out_everywhere(reader, make, signed_in, client, session):
    elsewhere = signed_in(session.get_one(User, reader.user_id))
    answer = erase(reader, reader.user_id, password=PASSWORD)
    assert (answer.status_code, answer.json["account_entries"]) == (200, 0)
    for one in (reader, elsewhere):
        assert one.get("/users/me").status_code == 401
    assert client.post("/users/login", json={"email": "jane", "password": PASSWORD}).status_code == 401
    session.expire_all()
    assert session.get_one(User, reader.user_id).first_name is None


def test_the_preview_says_what_would_go_and_forgets_nobody(reader, make, session):
    make.charge(session.get_one(User, reader.user_id), 300)
    refused = erase(reader, reader.user_id, preview=True, password=PASSWORD).json
    assert (refused["ok"], [error["code"] for error in refused["errors"]]) == (False, ["open_account"])
    assert problem(erase(reader, reader.user_id, password=PASSWORD)) == (409, [("open_account", "")])


def test_a_preview_of_what_may_be_done(as_admin, make, session):
    other = make.user(first_name="Jane")
    make.loan(patron=other, closed_at=START, closed_as="returned", checked_out_at=START)
    shown = erase(as_admin, other.id, preview=True).json
    assert (shown["ok"], shown["result"]["loans"]) == (True, 1)
    session.expire_all()
    assert (other.first_name, session.scalar(select(Loan.patron_id))) == ("Jane", other.id)


def test_guesses_of_the_password_count_like_those_of_a_log_in(migrated, new_database):
    app = migrated(LIMITS_ENABLED=True, LIMIT_LOGIN_PAIR="2 per hour")
    client = app.test_client()
    body = {"username": "jane", "email": "jane@example.org", "password": PASSWORD}
    user_id = client.post("/users/register", json=body).json["id"]
    client.token = client.post("/users/login", json={"email": "jane", "password": PASSWORD}).json["access_token"]
    answers = [erase(client, user_id, password="wrong horse battery").status_code for _ in range(3)]
    assert answers == [422, 422, 429]
    # A call without one guesses nothing.
    assert erase(client, user_id).status_code == 422


def test_a_person_is_forgotten_once_under_one_key(as_admin, make):
    other = make.user().id
    calls = [
        as_admin.post(f"/users/{other}/erase", json={}, headers={"Idempotency-Key": "forget-them"}) for _ in range(2)
    ]
    assert [call.status_code for call in calls] == [200, 200]
    assert calls[1].headers["Idempotency-Replayed"] == "true"


def test_erasing_oneself_under_a_key_leaves_no_key(reader, session):
    body = {"password": PASSWORD}
    answer = reader.post(f"/users/{reader.user_id}/erase", json=body, headers={"Idempotency-Key": "forget-me"})
    assert answer.status_code == 200
    assert session.scalars(select(IdempotencyKey)).all() == []


def test_the_audit_keeps_who_erased_whom_by_number_and_by_the_role_they_had(make, signed_in, session):
    make.user(role=Role.ADMIN)
    leaving = signed_in(make.user(role=Role.ADMIN, username="leaving", password=PASSWORD))
    assert erase(leaving, leaving.user_id, password=PASSWORD).status_code == 200
    (row,) = session.scalars(select(AuditEvent)).all()
    assert (row.action, row.actor_id, row.actor_role) == ("erase_user", leaving.user_id, "admin")
    assert (row.object_kind, row.object_id, row.members) == ("users", leaving.user_id, ["password"])


def test_no_moment_of_the_ledger_stands_anywhere_else_after_an_erasure(session, make, as_librarian, as_admin):
    """A day at the desk, each call under a key: late with somebody waiting here and elsewhere, lost and found."""
    make.policy("fine_rate", {"cents": 100, "per": "day"})
    make.policy("processing_fee_cents", 300)
    here, there = session.get_one(User, as_librarian.user_id).home_branch, make.branch()
    person, now = make.user(home_branch=here), datetime.now(UTC)
    numbers = count()

    def post(path, **body):
        answer = as_librarian.post(path, json=body, headers={"Idempotency-Key": f"k{next(numbers)}"})
        assert answer.status_code < 300, (path, answer.text)

    def late(pickup=here):
        copy = make.copy(home_branch=here, price_cents=2000)
        due = {"checked_out_at": now - timedelta(days=40), "due_at": now - timedelta(days=5)}
        next_one = make.user(home_branch=pickup)
        return copy, make.loan(copy, person, **due), next_one

    def lost():
        copy, loan, next_one = late()
        post(f"/loans/{loan.id}/declare-lost")
        account = as_librarian.get(f"/accounts/{person.id}").json
        owed = account["balance_cents"] + account["credit_cents"]
        post("/payments", patron_id=person.id, amount_cents=owed, method="cash")
        make.hold(copy.book, next_one)
        return copy, next_one

    for pickup in (here, there):
        copy, _, next_one = late(pickup)
        make.hold(copy.book, next_one)
        post("/check-ins", copy_barcode=copy.barcode)
    copy, _ = lost()
    post("/check-ins", copy_barcode=copy.barcode)
    copy, _ = lost()
    post(f"/copies/{copy.id}/mark", **{"as": "usable", "reason": "On the wrong shelf"})
    copy, next_one = lost()
    overrides = [{"code": "bad_condition", "reason": "It is here"}]
    post("/loans", copy_barcode=copy.barcode, patron_barcode=next_one.card_barcode, overrides=overrides)
    copy, loan, _ = late()
    post(f"/loans/{loan.id}/renewals")
    post("/check-ins", copy_barcode=copy.barcode)
    _, loan, _ = late()
    post(f"/loans/{loan.id}/claim-returned")
    post(f"/loans/{loan.id}/resolve-claim", outcome="found")
    for entry, cents in ledger.unsettled(session, person.id):
        if cents > 0:
            post("/waivers", charge_id=entry.id, reason="So")
        else:
            post("/refunds", charge_id=entry.id, amount_cents=-cents, method="cash")
    session.commit()
    moments = set(session.scalars(select(AccountEntry.made_at).where(AccountEntry.patron_id == person.id)))
    assert ties_with(session, moments) == {
        "copies.last_seen_at",
        *("holds.ready_at", "holds.ended_at", "notices.created_at", "idempotency_keys.created_at"),
        *("loans.checked_out_at", "loans.fined_until_at", "loans.lost_at", "loans.closed_at"),
        *("renewals.renewed_at", "overrides.made_at"),
    }
    session.commit()

    assert erase(as_admin, person.id).status_code == 200

    assert ties_with(session, moments) == set()
    assert check_invariants(session) == []
