"""Idempotency keys: sent again, a call is answered again and done once; every changing POST honours them."""

import io
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from factories import START, Factories
from flask import g, request
from flask.views import MethodView
from hashing import hash_of_tables
from served import TWENTY
from sqlalchemy import func, select, update
from sqlalchemy.orm import Session
from test_house import operations

from library.api.branches import BranchSchema
from library.api.plumbing import idempotency
from library.api.plumbing.blueprint import Blueprint, Unkeyable
from library.database import make_session
from library.extensions import db
from library.models import Author, Branch, IdempotencyKey, Job, Loan, Role, User
from library.rules.idempotency import KEPT

KEY = {"Idempotency-Key": "a-key-of-mine"}
REPLAYED = "Idempotency-Replayed"
# What each answer has of its own, whatever it answers.
OWN = {"X-Request-ID", REPLAYED, "Content-Length", "Date", "X-RateLimit-Remaining", "X-RateLimit-Reset", "RateLimit"}
# Nobody is signed in, or nobody is any more, or a secret is answered; and previews change nothing.
UNKEYED = {
    "register",
    "log_in",
    "refresh",
    "log_out",
    "create_api_key",
    "request_password_reset",
    "redeem_password_reset",
    "verify_email",
}
Call = tuple[str, dict[str, Any]]


@pytest.fixture
def engine(app):
    with app.app_context():
        return db.engine


def headers_of(answer: Any) -> dict[str, str]:
    return {name: value for name, value in answer.headers.items() if name not in OWN}


def same(first: Any, second: Any) -> None:
    """The second answer is the first one's, and says so."""
    assert REPLAYED not in first.headers
    assert second.headers[REPLAYED] == "true"
    assert (second.status_code, second.data) == (first.status_code, first.data)
    assert headers_of(second) == headers_of(first)


def code(answer: Any) -> tuple[int, str]:
    return answer.status_code, answer.json["code"]


def count(session: Session, table: type) -> int:
    session.rollback()
    return session.scalar(select(func.count()).select_from(table)) or 0


class Cast:
    """A library in which every action can be done once, with a body that fits it."""

    def __init__(self, make: Any, client: Any, branch: Branch) -> None:
        self.make, self.client, self.branch = make, client, branch
        self.patron = make.user(home_branch=branch)

    def copy(self) -> Any:
        return self.make.copy(home_branch=self.branch, price_cents=900)

    def loan(self, **values: Any) -> Loan:
        return self.make.loan(self.copy(), self.patron, due_at=datetime.now(UTC) + timedelta(days=2), **values)

    def about(self, cents: int = 100) -> dict[str, Any]:
        return {"patron_id": self.patron.id, "amount_cents": cents}

    def owed(self) -> dict[str, Any]:
        return {"charge_id": self.make.charge(self.patron, 100).id}

    def held(self) -> dict[str, Any]:
        return {"patron_id": self.make.hold(patron=self.patron).patron_id}


def move_due_dates(cast: Cast) -> Call:
    loan = cast.loan()
    cast.make.exception(loan.due_on, is_open=False, reason="Heating")
    days = {"from_on": str(loan.due_on), "to_on": str(loan.due_on)}
    return "/loans/move-due-dates", {"branch_id": cast.branch.id, "reason": "Heating"} | days


def resolve_claim(cast: Cast) -> Call:
    loan = cast.loan()
    assert cast.client.post(f"/loans/{loan.id}/claim-returned", json={}).status_code == 200
    return f"/loans/{loan.id}/resolve-claim", {"outcome": "found"}


def refund(cast: Cast) -> Call:
    charge, money = cast.owed(), {"method": "cash", "amount_cents": 100}
    assert cast.client.post("/payments", json=cast.about() | money).status_code == 201
    return "/refunds", charge | money


BODIES: dict[str, Callable[[Cast], Call]] = {
    "change_password": lambda cast: (
        "/users/me/password",
        {"old_password": "password123", "new_password": "password456"},
    ),
    "create_user": lambda cast: ("/users", {"first_name": "Jane", "password": "password123"}),
    "erase_user": lambda cast: (f"/users/{cast.patron.id}/erase", {}),
    "create_patron_category": lambda cast: ("/patron-categories", {"name": "Children"}),
    "create_block": lambda cast: (f"/users/{cast.patron.id}/blocks", {"reason": "Rude"}),
    "create_book": lambda cast: ("/books", {"title": "Moby-Dick"}),
    "create_author": lambda cast: ("/authors", {"name": "Melville, Herman"}),
    "create_subject": lambda cast: ("/subjects", {"name": "Whales"}),
    "create_branch": lambda cast: ("/branches", {"name": "Harbour"}),
    "create_item_type": lambda cast: ("/item-types", {"name": "DVD"}),
    "create_copy": lambda cast: ("/copies", {"book_id": cast.make.book().id, "home_branch_id": cast.branch.id}),
    "mark_copy": lambda cast: (f"/copies/{cast.copy().id}/mark", {"as": "damaged", "reason": "Wet"}),
    "create_policy": lambda cast: ("/policies", {"kind": "max_loans", "value": 3}),
    "create_transfer_limit": lambda cast: (
        "/transfer-limits",
        {"from_branch_id": cast.branch.id, "to_branch_id": cast.make.branch().id},
    ),
    "create_calendar_exception": lambda cast: (
        "/calendar-exceptions",
        {"from_on": "2027-01-01", "to_on": "2027-01-01", "is_open": False, "reason": "New Year"},
    ),
    "check_out": lambda cast: (
        "/loans",
        {"copy_barcode": cast.copy().barcode, "patron_barcode": cast.patron.card_barcode},
    ),
    "move_due_dates": move_due_dates,
    "check_in": lambda cast: ("/check-ins", {"copy_barcode": cast.loan().copy.barcode}),
    "renew": lambda cast: (f"/loans/{cast.loan().id}/renewals", {}),
    "renew_many": lambda cast: ("/renewals", {"loan_ids": [cast.loan().id, cast.loan().id]}),
    "declare_lost": lambda cast: (f"/loans/{cast.loan().id}/declare-lost", {}),
    "claim_returned": lambda cast: (f"/loans/{cast.loan().id}/claim-returned", {"note": "On Sunday"}),
    "resolve_claim": resolve_claim,
    "create_charge": lambda cast: ("/charges", cast.about()),
    "pay": lambda cast: cast.owed() and ("/payments", cast.about() | {"method": "cash"}),
    "waive": lambda cast: ("/waivers", cast.owed() | {"reason": "Poor"}),
    "refund": refund,
    "reverse": lambda cast: ("/reversals", {"entry_id": cast.make.charge(cast.patron).id, "reason": "A slip"}),
    "start_job": lambda cast: ("/jobs", {"kind": "nightly"}),
    "cancel_job": lambda cast: (f"/jobs/{cast.make.row(Job(kind='nightly', created_at=START)).id}/cancel", {}),
    "create_import": lambda cast: ("/imports", {"file": TWENTY.read_bytes(), "dry_run": "true"}),
    "place_hold": lambda cast: ("/holds", {"book_id": cast.copy().book_id, "patron_id": cast.patron.id}),
    "cancel_hold": lambda cast: (f"/holds/{cast.make.hold(patron=cast.patron).id}/cancel", {}),
    "suspend_holds": lambda cast: ("/holds/suspend", cast.held()),
    "resume_holds": lambda cast: ("/holds/resume", cast.held()),
    "create_order": lambda cast: ("/orders", {"lines": [{"book_id": cast.make.book().id, "quantity": 2}]}),
}


@pytest.fixture
def as_chief(signed_in, make) -> Any:
    """Somebody who may do everything, at a desk."""
    return signed_in(make.user(username="adam", role=Role.ADMIN, home_branch=make.branch(), password="password123"))


@pytest.fixture
def cast(make, session, as_chief) -> Cast:
    return Cast(make, as_chief, session.get_one(User, as_chief.user_id).home_branch)


def changing(app: Any) -> list[tuple[str, dict[str, Any]]]:
    """Path and operation of every POST that changes something."""
    posts = [(path, operation) for path, method, operation in operations(app) if method == "post"]
    return [(path, post) for path, post in posts if not path.endswith("/preview")]


def test_every_changing_post_honours_keys_and_nothing_else_does(app):
    honours = set()
    for _, _, operation in operations(app):
        parameters = [parameter.get("name") for parameter in operation.get("parameters", [])]
        if "Idempotency-Key" in parameters:
            honours.add(operation["operationId"])
            (answer,) = (answer for status, answer in operation["responses"].items() if status.startswith("2"))
            assert REPLAYED in answer["headers"]
            assert {"409", "422"} <= operation["responses"].keys()
    assert honours == {operation["operationId"] for _, operation in changing(app)} - UNKEYED
    assert honours == set(BODIES), "write a body for it here"


def sent(client: Any, path: str, body: dict[str, Any]) -> Any:
    """The answer to a body under the key; one with a file goes in parts."""
    if "file" not in body:
        return client.post(path, json=body, headers=KEY)
    parts = body | {"file": (io.BytesIO(body["file"]), "books.mrc")}
    return client.post(path, data=parts, content_type="multipart/form-data", headers=KEY)


@pytest.mark.parametrize("operation", BODIES)
def test_sent_again_it_is_answered_again_and_done_once(app, cast, as_chief, engine, operation):
    path, body = BODIES[operation](cast)
    first = sent(as_chief, path, body)
    assert 200 <= first.status_code < 300, first.text
    after = hash_of_tables(engine, "idempotency_keys")
    again = sent(as_chief, path, dict(reversed(body.items())))
    same(first, again)
    assert hash_of_tables(engine, "idempotency_keys") == after
    # A call of its own needs a key of its own, or none.
    reused = sent(as_chief, path, body | {"surprise": "1"})
    assert code(reused) == (422, "idempotency_key_reused")


def test_batches_are_kept_with_their_results(as_chief, cast):
    path, body = BODIES["renew_many"](cast)
    first = as_chief.post(path, json=body, headers=KEY)
    assert [result["ok"] for result in first.json["results"]] == [True, True]
    same(first, as_chief.post(path, json=body, headers=KEY))


def test_remarks_are_told_again(as_librarian, make):
    scan = {"copy_barcode": make.copy().barcode, "patron_barcode": make.user().card_barcode}
    first, again = (as_librarian.post("/loans", json=scan, headers=KEY) for _ in range(2))
    assert first.headers["X-Remarks"] == "other_branch"
    same(first, again)


def test_without_a_key_a_call_is_made_each_time(as_librarian, session):
    for _ in range(2):
        assert as_librarian.post("/books", json={"title": "Twice"}).status_code == 201
    assert count(session, IdempotencyKey) == 0
    assert as_librarian.get("/books").headers["X-Total-Count"] == "2"


def test_a_key_costs_two_statements_and_none_costs_nothing(as_librarian, statements):
    def cost(**options: Any) -> int:
        statements.clear()
        assert as_librarian.post("/books", json={"title": "A book"}, **options).status_code == 201
        return len(statements)

    plain = cost()
    assert cost(headers=KEY) == plain + 2
    # The actor, the key, the answer.
    assert cost(headers=KEY) == 3


@pytest.mark.parametrize("key", ["", "x" * 256, "two words", "naïve", "tab\there"])
def test_a_key_is_visible_ascii(as_librarian, session, key):
    answer = as_librarian.post("/authors", json={"name": "A"}, headers={"Idempotency-Key": key})
    assert code(answer) == (400, "bad_request")
    assert answer.json["errors"][0]["header"] == "Idempotency-Key"
    assert count(session, Author) == 0


@pytest.mark.parametrize("key", ["x", "!~" * 127 + "x", '"quoted"', "a,b;c"])
def test_any_visible_ascii_is_a_key(as_librarian, key):
    first, again = (
        as_librarian.post("/authors", json={"name": "A"}, headers={"Idempotency-Key": key}) for _ in range(2)
    )
    same(first, again)


def test_a_key_counts_for_one_body_and_query(as_librarian, session):
    first = as_librarian.post("/authors", json={"name": "A", "dates": "1900"}, headers=KEY)
    for raw in ('{"name":"A","dates":"1900"}', ' {"dates" : "1900",\n"name": "\\u0041"}'):
        same(first, as_librarian.post("/authors", data=raw, content_type="application/json", headers=KEY))
    for body in ({"name": "B", "dates": "1900"}, {"name": "A"}, {"name": "A", "dates": None}, ["A"], {}):
        reused = as_librarian.post("/authors", json=body, headers=KEY)
        assert code(reused) == (422, "idempotency_key_reused")
        assert reused.json["errors"][0]["header"] == "Idempotency-Key"
    for raw, kind in (("{", "application/json"), ('{"name": "A", "dates": "1900"}', "text/plain"), ("", "text/plain")):
        reused = as_librarian.post("/authors", data=raw, content_type=kind, headers=KEY)
        assert code(reused) == (422, "idempotency_key_reused")
    # An unknown parameter is found first, as without a key.
    unknown = as_librarian.post("/authors?x=1", json={"name": "A", "dates": "1900"}, headers=KEY)
    assert unknown.json["errors"][0]["code"] == "unknown_parameter"
    assert count(session, Author) == 1


@pytest.mark.parametrize(("one", "other"), [(1, 1.0), (1, True), (0, False), ("1", 1), (None, "null")])
def test_values_that_python_takes_for_equal_are_two_bodies(as_librarian, one, other):
    first = as_librarian.post("/authors", json={"name": "A", "dates": "1900"}, headers=KEY)
    assert first.status_code == 201
    with as_librarian.application.test_request_context("/authors", method="POST"):
        prints = set()
        for value in (one, other):
            g.body = type("Body", (), {"problem": None, "value": {"x": value}})
            request.headers = KEY  # type: ignore[misc]
            idempotency.read(uploads=False)
            prints.add(g.fingerprints[0])
        assert len(prints) == 2


def test_a_key_counts_for_one_path(as_librarian, session):
    for path in ("/authors", "/subjects"):
        answer = as_librarian.post(path, json={"name": "A"}, headers=KEY)
        assert (answer.status_code, REPLAYED in answer.headers) == (201, False)
    assert count(session, IdempotencyKey) == 2


def test_a_key_counts_for_one_record(as_librarian, make, session):
    loans = [make.loan(due_at=datetime.now(UTC) + timedelta(days=2)) for _ in range(2)]
    first, second = (as_librarian.post(f"/loans/{loan.id}/claim-returned", json={}, headers=KEY) for loan in loans)
    assert (first.json["id"], second.json["id"]) == (loans[0].id, loans[1].id)
    assert REPLAYED not in second.headers


def test_a_key_counts_for_one_account(as_librarian, as_admin, session):
    first, other = (client.post("/books", json={"title": "A"}, headers=KEY) for client in (as_librarian, as_admin))
    assert (first.status_code, other.status_code, REPLAYED in other.headers) == (201, 201, False)
    assert first.json["id"] != other.json["id"]
    assert count(session, IdempotencyKey) == 2


def test_another_session_of_the_account_may_repeat(as_librarian, signed_in, session):
    first = as_librarian.post("/authors", json={"name": "A"}, headers=KEY)
    elsewhere = signed_in(session.get_one(User, as_librarian.user_id))
    same(first, elsewhere.post("/authors", json={"name": "A"}, headers=KEY))


def test_a_refusal_gives_the_key_back(as_librarian, make, session):
    copy, patron = make.copy(), make.user()
    scan = {"copy_barcode": copy.barcode, "patron_barcode": patron.card_barcode}
    loan = make.loan(copy)
    for _ in range(2):
        refused = as_librarian.post("/loans", json=scan, headers=KEY)
        assert (refused.status_code, REPLAYED in refused.headers) == (409, False)
    assert as_librarian.post("/loans", json={}, headers=KEY).status_code == 422
    assert as_librarian.post("/loans", data="{", content_type="application/json", headers=KEY).status_code == 400
    assert count(session, IdempotencyKey) == 0
    assert as_librarian.post("/check-ins", json={"copy_barcode": copy.barcode}).status_code == 200
    done = as_librarian.post("/loans", json=scan, headers=KEY)
    assert (done.status_code, REPLAYED in done.headers) == (201, False)
    assert done.json["id"] != loan.id
    same(done, as_librarian.post("/loans", json=scan, headers=KEY))


def test_after_a_day_the_key_is_new(as_librarian, session):
    body = {"name": "A"}
    first = as_librarian.post("/authors", json=body, headers=KEY)

    def age(by: timedelta) -> None:
        session.execute(update(IdempotencyKey).values(created_at=datetime.now(UTC) - by))
        session.commit()

    age(KEPT - timedelta(minutes=1))
    same(first, as_librarian.post("/authors", json=body, headers=KEY))
    age(KEPT)
    # With another body even: it is as if the key had never been used.
    anew = as_librarian.post("/authors", json={"name": "B"}, headers=KEY)
    assert (anew.status_code, anew.json["name"], REPLAYED in anew.headers) == (201, "B", False)
    same(anew, as_librarian.post("/authors", json={"name": "B"}, headers=KEY))
    assert (count(session, IdempotencyKey), count(session, Author)) == (1, 2)


def test_a_refusal_of_an_expired_key_leaves_it_as_it_was(as_librarian, session):
    as_librarian.post("/authors", json={"name": "A"}, headers=KEY)
    session.execute(update(IdempotencyKey).values(created_at=datetime.now(UTC) - KEPT))
    session.commit()
    before = session.execute(select(IdempotencyKey.__table__)).one()
    assert as_librarian.post("/authors", json={"name": ""}, headers=KEY).status_code == 422
    session.rollback()
    assert session.execute(select(IdempotencyKey.__table__)).one() == before


def test_a_replay_passes_token_permission_and_limit(app, as_librarian, signed_in, client, session, make):
    first = as_librarian.post("/authors", json={"name": "A"}, headers=KEY)
    assert client.post("/authors", json={"name": "A"}, headers=KEY).status_code == 401
    user = session.get_one(User, as_librarian.user_id)
    user.role = Role.PATRON
    session.commit()
    assert as_librarian.post("/authors", json={"name": "A"}, headers=KEY).status_code == 403
    user.role = Role.LIBRARIAN
    session.commit()
    same(first, as_librarian.post("/authors", json={"name": "A"}, headers=KEY))
    assert as_librarian.post("/users/logout").status_code == 204
    assert as_librarian.post("/authors", json={"name": "A"}, headers=KEY).status_code == 401


def test_a_replay_counts_against_the_limit(migrated):
    app = migrated(LIMITS_ENABLED=True, LIMIT_STAFF="2 per hour")
    with app.app_context():
        make = Factories(make_session(db.engine))
    client = app.test_client()
    librarian = make.librarian()
    client.sign_in(librarian, make.session_of(librarian))
    statuses = [client.post("/authors", json={"name": "A"}, headers=KEY).status_code for _ in range(3)]
    make.session.close()
    assert statuses == [201, 201, 429]


def test_who_may_not_ask_leaves_no_key(as_patron, session):
    assert as_patron.post("/books", json={"title": "A"}, headers=KEY).status_code == 403
    assert count(session, IdempotencyKey) == 0


def test_no_secret_is_kept(app, client, as_patron, session, make):
    """Registration, log-in, refresh and log-out do not look at the header."""
    body = {"username": "jdoe", "email": "jdoe@example.com", "password": "password123"}
    bad = {"Idempotency-Key": "not a key"}
    assert client.post("/users/register", json=body, headers=bad).status_code == 201
    signs = [client.post("/users/login", json={"email": "jdoe", "password": "password123"}, headers=KEY) for _ in "ab"]
    assert signs[0].json["access_token"] != signs[1].json["access_token"]
    refresh = {"refresh_token": signs[0].json["refresh_token"]}
    assert client.post("/users/refresh", json=refresh, headers=KEY).status_code == 200
    assert as_patron.post("/users/logout", headers=KEY).status_code == 204
    assert count(session, IdempotencyKey) == 0


def test_what_was_sent_is_kept_as_a_keyed_hash_only(as_chief, session, app):
    body = {"old_password": "password123", "new_password": "password456"}
    assert as_chief.post("/users/me/password", json=body, headers=KEY).status_code == 204
    row = session.scalars(select(IdempotencyKey)).one()
    assert (row.status, row.body, len(row.fingerprint)) == (204, b"", 64)
    assert "password" not in repr([row.fingerprint, row.headers, row.key])


def test_a_wrong_password_gives_the_key_back(as_chief, session):
    body = {"old_password": "password999", "new_password": "password456"}
    assert as_chief.post("/users/me/password", json=body, headers=KEY).status_code == 422
    assert (
        as_chief.post("/users/me/password", json=body | {"old_password": "password123"}, headers=KEY).status_code == 204
    )


def test_previews_ignore_keys(as_librarian, make, session):
    scan = {"copy_barcode": make.copy().barcode, "patron_barcode": make.user().card_barcode}
    for key in ("k", "not a key"):
        shown = as_librarian.post("/loans/preview", json=scan, headers={"Idempotency-Key": key})
        assert (shown.status_code, shown.json["ok"], REPLAYED in shown.headers) == (200, True, False)
    assert (count(session, IdempotencyKey), count(session, Loan)) == (0, 0)


def test_changes_with_a_tag_ignore_keys(as_librarian, make):
    path = f"/books/{make.book().id}"
    for title in ("One", "Two"):
        answer = as_librarian.patch(path, json={"title": title}, headers={"If-Match": "*"} | KEY)
        assert (answer.json["title"], REPLAYED in answer.headers) == (title, False)


def test_an_action_held_to_a_version_is_repeated_all_the_same(as_librarian, make):
    """The version has moved on by the action itself."""
    hold = make.hold()
    tag = as_librarian.get(f"/holds/{hold.id}").headers["ETag"]
    first, again = (
        as_librarian.post(f"/holds/{hold.id}/cancel", json={}, headers=KEY | {"If-Match": tag}) for _ in range(2)
    )
    assert first.status_code == 200
    same(first, again)
    stale = as_librarian.post(f"/holds/{hold.id}/cancel", json={}, headers={"If-Match": tag})
    assert stale.status_code == 412


def test_keys_go_with_their_account(as_admin, signed_in, make, session):
    librarian = make.librarian()
    signed_in(librarian).post("/authors", json={"name": "A"}, headers=KEY)
    assert count(session, IdempotencyKey) == 1
    assert as_admin.change(f"/users/{librarian.id}", "DELETE").status_code == 204
    assert count(session, IdempotencyKey) == 0


uploads = Blueprint("uploads", "upload", "Holdings")


@uploads.route("/uploads")
class Uploads(MethodView):
    @uploads.allow("copies.write", prepare=lambda: None)
    @uploads.response(201, BranchSchema, location="/branches/{0.id}")
    def post(self) -> Branch:
        """Make a branch of what was sent."""
        name = f"{request.form['name']} {request.files['file'].stream.read().decode()}"
        branch = Branch(name=name, time_zone="UTC", hours=[])
        db.session.add(branch)
        db.session.flush()
        return branch


def test_of_an_upload_the_parts_count(migrated, session):
    app = migrated()
    app.extensions["flask-smorest"]["apis"][""]["ext_obj"].register_blueprint(uploads)
    with app.app_context():
        make = Factories(make_session(db.engine))
    librarian = make.librarian()
    client = app.test_client()
    client.sign_in(librarian, make.session_of(librarian))

    def upload(boundary: str, name: str = "North", text: str = "Wing", file: str = "a.txt") -> Any:
        parts = [
            f'--{boundary}\r\nContent-Disposition: form-data; name="name"\r\n\r\n{name}\r\n',
            f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="{file}"\r\n'
            f"Content-Type: text/plain\r\n\r\n{text}\r\n--{boundary}--\r\n",
        ]
        kind = f"multipart/form-data; boundary={boundary}"
        return client.post("/uploads", data="".join(parts), content_type=kind, headers=KEY)

    first = upload("one")
    assert (first.status_code, first.json["name"]) == (201, "North Wing")
    same(first, upload("another"))
    for other in ({"name": "South"}, {"text": "Tower"}, {"file": "b.txt"}):
        assert code(upload("one", **other)) == (422, "idempotency_key_reused")
    make.session.close()


def test_a_view_that_begins_by_itself_cannot_keep_its_answer():
    blp = Blueprint("things", "thing", "Holdings")

    class Things(MethodView):
        @blp.allow("copies.write", own_transaction=True)
        @blp.response(204)
        def post(self) -> None:
            """Do a thing."""

    with pytest.raises(Unkeyable, match="POST /things"):
        blp.route("/things")(Things)
