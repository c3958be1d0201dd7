"""Previews: the same function, shown and undone. A toy action stands for all of them; the desk's own come after."""

from typing import Any

import pytest
from documented import document_of
from flask import g
from flask.views import MethodView
from hashing import hash_of_tables
from sqlalchemy import func, select, text
from sqlalchemy.orm import Session

from library.api.branches import BranchSchema
from library.api.desk import DeskInputSchema, desk
from library.api.plumbing.blueprint import Blueprint
from library.api.plumbing.fields import Whole
from library.api.plumbing.previews import Unpreviewable
from library.api.plumbing.texts import Text
from library.extensions import db
from library.models import Branch
from library.rules.desk import OVERRIDING, Desk
from library.rules.errors import Refusal, Severity, refuses

blp = Blueprint("annexes", "annex", "Holdings")
NOTHING = {"confirm_token": None, "result": None}


class TooTall(Refusal):
    """No annex is that tall."""

    pointer = "/floors"


class BeyondThePlan(Refusal):
    """The plan of the town wants fewer floors."""

    severity, permission = Severity.OVERRIDE, "circulation.override"
    pointer = "/floors"
    parameters = ("floors",)


class Windy(Refusal):
    """Up there it is windy."""

    severity = Severity.CONFIRM
    parameters = ("floors",)


class Shady(Refusal):
    """The annex takes the sun from its neighbour."""

    severity = Severity.WARN


TOYS = (TooTall, BeyondThePlan, Windy, Shady)
for toy in TOYS:
    # They are no refusals of the library: only these tests know them.
    del Refusal.catalogue[toy.code]


@refuses(*TOYS, *OVERRIDING)
def build(session: Session, desk: Desk, branch: Branch, name: str, floors: int) -> Branch:
    """Build an annex."""
    reasons: list[Refusal] = [Shady()] if floors > 1 else []
    reasons += [Windy(floors=floors)] if floors > 3 else []
    reasons += [BeyondThePlan(floors=floors)] if floors > 6 else []
    reasons += [TooTall()] if floors > 9 else []
    # A rule may write before it refuses.
    branch.address = f"next to {name}"
    annex = Branch(name=name, time_zone=branch.time_zone)
    session.add(annex)
    session.flush()
    desk.permit("build", (branch.id,), reasons)
    return annex


class AnnexSchema(DeskInputSchema):
    """What shall be built."""

    name = Text(50, required=True)
    floors = Whole(1, 20, required=True)


@blp.route("/branches/<id:to_branch_id>/annexes")
class Annexes(MethodView):
    @blp.previewed
    @blp.allow("loans.check_out")
    @blp.operation("build_annex")
    @blp.finds(Branch)
    @blp.obeys(build)
    @blp.arguments(AnnexSchema)
    @blp.response(201, BranchSchema, location="/branches/{0.id}")
    def post(self, branch: Branch, values: dict[str, Any]) -> Branch:
        """Build an annex."""
        return build(db.session, desk(values), branch, **values)


tries: list[int] = []


@blp.route("/weak-annexes")
class WeakAnnexes(MethodView):
    @blp.allow("loans.check_out")
    @blp.operation("build_weakly")
    @blp.response(200, BranchSchema)
    @blp.previewed
    def post(self) -> Branch:
        """Build an annex that PostgreSQL tears down the first time."""
        assert g.remarks == []
        g.remarks.append(Shady())
        annex = Branch(name="Weak annex", time_zone="UTC")
        db.session.add(annex)
        db.session.flush()
        tries.append(annex.id)
        if len(tries) == 1:
            db.session.execute(text("DO $$ BEGIN RAISE EXCEPTION 'torn' USING ERRCODE = '40001'; END $$"))
        return annex


@pytest.fixture(scope="module")
def toy_app(migrated):
    app = migrated()
    app.extensions["flask-smorest"]["apis"][""]["ext_obj"].register_blueprint(blp)
    return app


@pytest.fixture
def shared_app(toy_app, monkeypatch):
    """The tests of this module run on an application that has the toy action."""
    for toy in TOYS:
        monkeypatch.setitem(Refusal.catalogue, toy.code, toy)
    return toy_app


@pytest.fixture
def engine(app):
    with app.app_context():
        return db.engine


@pytest.fixture
def path(as_librarian):
    return f"/branches/{as_librarian.get('/branches').json[0]['id']}/annexes"


def body(floors: int, **more: Any) -> dict[str, Any]:
    return {"name": "Annex", "floors": floors} | more


def codes(answer) -> list[str]:
    return [error["code"] for error in answer.json["errors"]]


def test_a_preview_answers_what_would_happen_and_changes_nothing(as_librarian, path, engine):
    before = hash_of_tables(engine)
    shown = as_librarian.post(f"{path}/preview", json=body(1))
    assert shown.status_code == 200, shown.text
    assert (shown.json["ok"], shown.json["errors"], shown.json["confirm_token"]) == (True, [], None)
    assert hash_of_tables(engine) == before
    done = as_librarian.post(path, json=body(1))
    assert done.status_code == 201
    assert {**shown.json["result"], "id": 0} == {**done.json, "id": 0}
    assert hash_of_tables(engine) != before


def test_no_key_is_given_out_on_sqlite(as_librarian, path, engine):
    shown = [as_librarian.post(f"{path}/preview", json=body(1)).json["result"]["id"] for _ in range(2)]
    done = as_librarian.post(path, json=body(1)).json["id"]
    if engine.dialect.name == "sqlite":
        assert shown == [done, done]
    else:
        # PostgreSQL gives a number once, whatever becomes of it.
        assert len({*shown, done}) == 3


def test_a_refusal_is_a_verdict_with_the_same_reasons(as_librarian, path, engine):
    before = hash_of_tables(engine)
    shown, refused = (as_librarian.post(f"{path}{tail}", json=body(12)) for tail in ("/preview", ""))
    assert (shown.status_code, refused.status_code) == (200, 409)
    assert codes(shown) == ["too_tall", "beyond_the_plan", "windy", "shady"]
    assert shown.json == {"ok": False, "errors": refused.json["errors"]} | NOTHING
    assert "confirm_token" not in refused.json
    assert hash_of_tables(engine) == before


def test_what_may_be_let_pass_names_its_permission(as_librarian, path):
    tall, beyond, windy, _ = as_librarian.post(path, json=body(12)).json["errors"]
    assert (beyond["overridable"], beyond["permission"]) == (True, "circulation.override")
    for reason in (tall, windy):
        assert reason["overridable"] is False
        assert "permission" not in reason


def test_try_ask_try_again(as_librarian, path, engine):
    asked = as_librarian.post(path, json=body(5))
    assert (asked.status_code, codes(asked)) == (409, ["windy", "shady"])
    shown = as_librarian.post(f"{path}/preview", json=body(5))
    assert shown.json["confirm_token"] == asked.json["confirm_token"]
    again = body(5, confirm_token=asked.json["confirm_token"])
    assert as_librarian.post(f"{path}/preview", json=again).json["ok"] is True
    done = as_librarian.post(path, json=again)
    assert (done.status_code, done.headers["X-Remarks"]) == (201, "shady")


def test_a_token_fits_only_what_it_was_given_for(as_librarian, path):
    token = as_librarian.post(path, json=body(5)).json["confirm_token"]
    other = as_librarian.post(path, json=body(6, confirm_token=token))
    assert (other.status_code, codes(other)) == (409, ["windy", "shady"])
    assert other.json["confirm_token"] != token


def test_what_is_let_pass_needs_a_reason_and_a_permission_that_there_is(as_librarian, path):
    def tried(floors: int, **overrides: str) -> Any:
        asked = [{"code": code, "reason": reason} for code, reason in overrides.items()]
        return as_librarian.post(f"{path}/preview", json=body(floors, overrides=asked))

    assert codes(tried(7, beyond_the_plan=" ")) == ["override_reason_missing", "beyond_the_plan", "windy", "shady"]
    assert "override_not_possible" in codes(tried(7, windy="I like it"))
    passed = tried(7, beyond_the_plan="The mayor agrees.")
    assert codes(passed) == ["windy", "shady"]
    assert passed.json["confirm_token"]


def test_remarks_stand_in_the_preview_and_in_a_header_of_the_action(as_librarian, path):
    shown = as_librarian.post(f"{path}/preview", json=body(2))
    assert (shown.json["ok"], codes(shown)) == (True, ["shady"])
    assert shown.json["errors"][0]["severity"] == "warn"
    assert "X-Remarks" not in shown.headers
    assert as_librarian.post(path, json=body(2)).headers["X-Remarks"] == "shady"
    assert "X-Remarks" not in as_librarian.post(path, json=body(1, name="Hut")).headers


def test_what_is_wrong_before_the_judgement_is_answered_as_for_the_action(
    as_librarian, as_patron, client, path, engine
):
    before = hash_of_tables(engine)
    for tail in ("", "/preview"):
        malformed = as_librarian.post(f"{path}{tail}", json={"floors": 0, "surprise": 1})
        assert malformed.status_code == 422
        assert {error["pointer"] for error in malformed.json["errors"]} == {"/name", "/floors", "/surprise"}
        assert as_librarian.post(f"{path}{tail}", data="{", content_type="application/json").status_code == 400
        assert as_librarian.post(f"/branches/999/annexes{tail}", json=body(1)).status_code == 404
        assert as_patron.post(f"{path}{tail}", json=body(1)).status_code == 403
        assert client.post(f"{path}{tail}", json=body(1)).status_code == 401
        assert as_librarian.post(f"{path}{tail}?verbose=1", json=body(1)).status_code == 422
    assert as_librarian.get(f"{path}/preview").status_code == 405
    assert hash_of_tables(engine) == before


def test_a_clash_that_only_the_database_sees_is_told_alike(as_librarian, make, path, engine):
    make.branch(name="Annex")
    before = hash_of_tables(engine)
    for tail in ("", "/preview"):
        answer = as_librarian.post(f"{path}{tail}", json=body(1))
        assert (answer.status_code, answer.json["code"]) == (409, "conflict")
    assert hash_of_tables(engine) == before


def test_the_document_tells_the_preview(app):
    paths = document_of(app)["paths"]
    action = paths["/branches/{to_branch_id}/annexes"]["post"]
    shown = paths["/branches/{to_branch_id}/annexes/preview"]["post"]
    assert (shown["operationId"], shown["summary"]) == ("preview_build_annex", "Preview: Build an annex.")
    for name in ("requestBody", "security", "tags"):
        assert shown[name] == action[name]
    assert action["responses"].keys() - shown["responses"].keys() == {"201"}
    assert shown["responses"]["200"]["content"]["application/json"]["schema"]["$ref"].endswith("/BuildAnnexPreview")
    assert "`beyond_the_plan`" in shown["responses"]["200"]["description"]
    assert shown["responses"]["409"]["$ref"].endswith("/Problem409")
    assert "X-Remarks" in action["responses"]["201"]["headers"]
    assert "X-Remarks" not in shown["responses"]["200"]["headers"]
    schema = document_of(app)["components"]["schemas"]["BuildAnnexPreview"]
    assert schema["required"] == ["ok", "errors", "confirm_token", "result"]
    assert "confirm_token" not in document_of(app)["components"]["schemas"]["Problem"]["required"]


@pytest.mark.parametrize("tail", ["", "/preview"])
def test_a_try_that_postgres_undid_starts_anew(as_librarian, session, engine, tail):
    if engine.dialect.name != "postgresql":
        pytest.skip("SQLite's writers stand in line: none is undone")
    tries.clear()
    answer = as_librarian.post(f"/weak-annexes{tail}")
    assert answer.status_code == 200, answer.text
    assert len(tries) == 2
    assert codes(answer) == ["shady"] if tail else answer.headers["X-Remarks"] == "shady"
    built = session.scalar(select(func.count()).where(Branch.name == "Weak annex"))
    assert built == (0 if tail else 1)


def test_what_cannot_be_previewed_stops_the_start():
    def route(decorate: Any) -> None:
        own = Blueprint("things", "thing", "Holdings")

        class Things(MethodView):
            @decorate(own)
            def post(self) -> None:
                """Do a thing."""

        own.route("/things")(Things)

    def without_answer(own: Blueprint) -> Any:
        return lambda view: own.previewed(own.allow("loans.read")(own.response(204)(view)))

    def with_own_transaction(own: Blueprint) -> Any:
        answered = own.response(200, BranchSchema)
        return lambda view: own.previewed(own.allow("loans.read", own_transaction=True, keyed=False)(answered(view)))

    for decorate in (without_answer, with_own_transaction):
        with pytest.raises(Unpreviewable, match="POST /things"):
            route(decorate)


def scanned(copy, patron, **more: Any) -> dict[str, Any]:
    return {"copy_barcode": copy.barcode, "patron_barcode": patron.card_barcode} | more


def test_a_check_out_is_tried_before_it_is_done(as_librarian, make, engine):
    scan = scanned(make.copy(), make.user())
    before = hash_of_tables(engine)
    shown = as_librarian.post("/loans/preview", json=scan)
    assert (shown.status_code, shown.json["ok"]) == (200, True)
    assert codes(shown) == ["other_branch"]
    assert hash_of_tables(engine) == before
    done = as_librarian.post("/loans", json=scan)
    assert (done.status_code, done.headers["X-Remarks"]) == (201, "other_branch")
    for member in ("copy_id", "patron_id", "due_at", "due_on", "time_zone"):
        assert shown.json["result"][member] == done.json[member]


def test_a_check_out_that_wants_to_be_confirmed(as_librarian, make, engine):
    scan = scanned(make.copy(check_note="2 CDs"), make.user())
    before = hash_of_tables(engine)
    shown = as_librarian.post("/loans/preview", json=scan).json
    assert (shown["ok"], shown["errors"][0]["code"]) == (False, "check_note")
    assert shown["errors"][0]["params"] == {"note": "2 CDs"}
    assert hash_of_tables(engine) == before
    scan["confirm_token"] = shown["confirm_token"]
    assert as_librarian.post("/loans", json=scan).status_code == 201


def test_unknown_barcodes_are_a_verdict_too(as_librarian, engine):
    before = hash_of_tables(engine)
    shown = as_librarian.post("/loans/preview", json={"copy_barcode": "nope", "patron_barcode": "nobody"})
    assert (shown.status_code, codes(shown)) == (200, ["item_not_found", "patron_not_found"])
    assert hash_of_tables(engine) == before


def test_every_preview_of_the_house_has_an_answer_of_its_own(app):
    named = {}
    for path, methods in document_of(app)["paths"].items():
        if path.endswith("/preview"):
            assert methods.keys() <= {"post", "parameters"}
            shown, action = methods["post"], document_of(app)["paths"][path.removesuffix("/preview")]["post"]
            assert shown["operationId"] == f"preview_{action['operationId']}"
            schema = shown["responses"]["200"]["content"]["application/json"]["schema"]["$ref"]
            named[shown["operationId"]] = schema.rsplit("/", 1)[-1]
    assert named["preview_check_out"] == "CheckOutPreview"
    assert len(set(named.values())) == len(named)
