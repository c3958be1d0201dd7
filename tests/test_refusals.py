"""A refused call changes nothing: every operation is refused in every way, under a hash over all tables."""

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from documented import DocumentedClient, document_of
from flask import Flask
from flask.views import MethodView
from hashing import hash_of_tables
from test_house import operations, populate, views

from library.api.branches import BranchSchema
from library.api.plumbing.blueprint import Blueprint
from library.api.plumbing.errors import Problem
from library.extensions import db
from library.models import HIGHEST_ID, Branch, Role
from library.rules import access
from library.rules.access import ANYONE

SURPRISE = {"surprise": 1}
KEY = re.compile(r"\{(\w+)\}")
# Nothing that a client sends makes these go wrong: they have neither body nor key. What a file is refused for, the
# tests of imports tell.
IRREFUSABLE = {"log_out", "create_import"}

Operation = dict[str, Any]


@pytest.fixture
def engine(app):
    with app.app_context():
        return db.engine


@pytest.fixture
def crowd(make, app, signed_in) -> DocumentedClient:
    """An admin in a library that has some of everything."""
    admin = make.user(username="adam", role=Role.ADMIN, home_branch=make.branch())
    populate(make, admin)
    return signed_in(admin)


@pytest.fixture
def refuse(crowd, engine) -> Callable[..., None]:
    """Call it with a client, a call and the statuses it may be answered with: nothing has changed afterwards."""
    before = hash_of_tables(engine)

    def call(client: DocumentedClient, statuses: set[int], method: str, path: str, **options: Any) -> None:
        answer = client.open(path, method=method.upper(), **options)
        assert answer.status_code in statuses, f"{method} {path} answers {answer.status_code}: {answer.text[:300]}"
        assert hash_of_tables(engine) == before, f"{method} {path} answers {answer.status_code} and has changed rows"

    return call


def unsafe(app: Flask) -> Iterator[tuple[str, str, Operation]]:
    """Every operation that may change something."""
    return ((path, method, operation) for path, method, operation in operations(app) if method != "get")


def filled(path: str, key: int) -> str:
    return KEY.sub(str(key), path)


def existing(client: DocumentedClient, path: str) -> str | None:
    """The path with keys of records that are there, taken from the lists above them; None where there are none."""
    found = KEY.search(path)
    if found is None:
        return path
    answer = client.get(path[: found.start() - 1])
    rows = answer.json if answer.status_code == 200 and isinstance(answer.json, list) else []
    below = (existing(client, KEY.sub(str(row["id"]), path, count=1)) for row in reversed(rows))
    return next((place for place in below if place is not None), None)


def body_of(app: Flask, operation: Operation) -> dict[str, Any] | None:
    """The schema of an operation's JSON body."""
    content = operation.get("requestBody", {}).get("content", {}).get("application/json")
    if content is None:
        return None
    return document_of(app)["components"]["schemas"][content["schema"]["$ref"].rsplit("/", 1)[-1]]


def sends(app: Flask, operation: Operation) -> dict[str, Any]:
    return {} if body_of(app, operation) is None else {"json": SURPRISE}


def test_a_stranger_changes_nothing(app, refuse, client):
    for path, method, operation in unsafe(app):
        if operation["security"]:
            refuse(client, {401}, method, filled(path, 1), **sends(app, operation))
        else:
            refuse(client, {422}, method, path, **sends(app, operation))


def test_a_bad_token_changes_nothing(app, refuse, client):
    headers = {"Authorization": "Bearer x.y.z", "If-Match": "*"}
    for path, method, operation in unsafe(app):
        if operation["security"]:
            refuse(client, {401}, method, filled(path, 1), headers=headers, **sends(app, operation))


def test_a_patron_changes_nothing_that_is_not_theirs(app, refuse, make, signed_in, crowd, engine):
    patron = signed_in(make.user())
    before = hash_of_tables(engine)
    permissions = {doc["library"]["operation"]: doc["library"]["permission"] for _, doc in views()}
    forbidden = set()
    for path, method, operation in unsafe(app):
        if permissions[operation["operationId"]] in access.PERMISSIONS[Role.PATRON]:
            continue
        place = existing(crowd, path) or filled(path, 1)
        answer = patron.open(place, method=method.upper(), headers={"If-Match": "*"}, **sends(app, operation))
        assert answer.status_code == 403, f"{method} {path} answers {answer.status_code}"
        forbidden.add(operation["operationId"])
    assert hash_of_tables(engine) == before
    assert {"create_book", "delete_user", "check_out"} <= forbidden


def test_bad_bodies_change_nothing(app, refuse, crowd):
    tried, left = set(), set()
    for path, method, operation in unsafe(app):
        schema = body_of(app, operation)
        if schema is None:
            continue
        place, if_match = existing(crowd, path), {"headers": {"If-Match": "*"}}
        if place is None:
            left.add(operation["operationId"])
            continue
        refuse(crowd, {422}, method, place, json=SURPRISE, **if_match)
        refuse(crowd, {422}, method, place, json=[], **if_match)
        refuse(crowd, {400}, method, place, **if_match)
        refuse(crowd, {415}, method, place, data="x=1", content_type="text/plain", **if_match)
        if schema.get("required"):
            refuse(crowd, {422}, method, place, json={}, **if_match)
        tried.add(operation["operationId"])
    assert {"create_book", "patch_copy", "check_out"} <= tried
    assert not left, f"populate() of test_house makes no rows for {left}"


def test_unknown_keys_change_nothing(app, refuse, crowd):
    for path, method, operation in unsafe(app):
        if KEY.search(path):
            refuse(crowd, {404}, method, filled(path, HIGHEST_ID), headers={"If-Match": "*"}, **sends(app, operation))


def test_stale_and_missing_tags_change_nothing(app, refuse, crowd):
    tried, left = set(), set()
    for path, method, operation in unsafe(app):
        tag = next((one for one in operation.get("parameters", []) if one["name"] == "If-Match"), None)
        if tag is None:
            continue
        place = existing(crowd, path)
        if place is None:
            left.add(operation["operationId"])
            continue
        if tag["required"]:
            # An action may be held to a version, and so may a change of what has none; any other change must be.
            refuse(crowd, {428}, method, place, **sends(app, operation))
        refuse(crowd, {412}, method, place, headers={"If-Match": '"999999-stale"'}, **sends(app, operation))
        tried.add(operation["operationId"])
    assert {"patch_book", "delete_copy", "patch_me"} <= tried
    assert not left, f"populate() of test_house makes no rows for {left}"


def test_every_operation_can_be_refused(app):
    easy = {
        operation["operationId"]
        for path, _, operation in unsafe(app)
        if body_of(app, operation) is None and not KEY.search(path)
    }
    assert easy <= IRREFUSABLE


@pytest.fixture
def careless(migrated):
    """A client of an application with a view that keeps what it refuses."""
    app = migrated()
    blp = Blueprint("careless", "careless", "Holdings")

    class Careless(MethodView):
        @blp.allow(ANYONE, own_transaction=True)
        @blp.operation("be_careless")
        @blp.response(200, BranchSchema)
        def post(self) -> None:
            """Refuse and keep."""
            db.session.add(Branch(name="Kept", time_zone="UTC"))
            db.session.commit()
            raise Problem(422)

    blp.route("/careless")(Careless)
    app.extensions["flask-smorest"]["apis"][""]["ext_obj"].register_blueprint(blp)
    return app.test_client()


def test_a_refused_call_that_kept_something_is_seen_by_every_test(careless):
    with pytest.raises(AssertionError, match="/careless answers 422 and has changed rows"):
        careless.post("/careless")


def test_the_hash_sees_every_change(engine, make, session):
    seen = [hash_of_tables(engine)]
    branch = make.branch()
    seen.append(hash_of_tables(engine))
    branch.address = "elsewhere"
    session.commit()
    seen.append(hash_of_tables(engine))
    session.delete(branch)
    session.commit()
    if engine.dialect.name == "sqlite":
        # The key was given out: it shows that there was somebody.
        seen.append(hash_of_tables(engine))
    assert len(set(seen)) == len(seen)
