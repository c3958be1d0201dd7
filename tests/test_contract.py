"""The document is complete and pleasant: names, words, examples, statuses; its stored copy; the linters of others."""

import json
import os
import re
import subprocess
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from documented import document_of
from flask import Flask
from flask.views import MethodView
from jsonschema import Draft202012Validator, FormatChecker
from openapi_spec_validator import validate
from referencing import Registry
from referencing.jsonschema import DRAFT202012
from sqlalchemy import select
from sqlalchemy.sql import Select

from library import create_app
from library.api.branches import BranchSchema
from library.api.plumbing.answers import STATUSES
from library.api.plumbing.blueprint import Blueprint
from library.api.plumbing.errors import Problem
from library.api.plumbing.examples import UNTOLD
from library.cli.openapi import derived, stored_form
from library.models import Branch
from library.rules.access import ANYONE

ROOT = Path(__file__).parent.parent
STORED = ROOT / "docs" / "openapi.json"
# The verbs with which operations of a method begin; a POST names what is done.
VERBS = {
    "get": "get_|list_|export_|health_",
    "put": "replace_|reorder_",
    "patch": "patch_|change_",
    "delete": "delete_|end_",
    "post": "",
}


@pytest.fixture(scope="module")
def document(shared_app: Flask) -> dict[str, Any]:
    return document_of(shared_app)


def operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """(path, method, operation) of all of it."""
    for path, methods in document["paths"].items():
        yield from ((path, method, operation) for method, operation in methods.items() if method != "parameters")


def resolved(document: dict[str, Any], part: Any) -> Any:
    while "$ref" in part:
        where, part = part["$ref"].removeprefix("#/").split("/"), document
        for key in where:
            part = part[key]
    return part


def responses(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for _, _, operation in operations(document):
        for status, answer in operation["responses"].items():
            yield operation["operationId"], status, resolved(document, answer)


def test_names_of_operations_keep_to_the_grammar(document):
    names = [operation["operationId"] for _, _, operation in operations(document)]
    assert len(names) == len(set(names))
    for path, method, operation in operations(document):
        name = operation["operationId"]
        assert re.fullmatch(r"[a-z]+(_[a-z]+)*", name), name
        assert re.match(VERBS[method], name), f"{method} {path} is called {name}"
        assert name.startswith("preview_") == path.endswith("/preview"), name


def test_every_operation_says_what_it_is(document):
    tags = [tag["name"] for tag in document["tags"]]
    assert all(tag["description"].endswith(".") for tag in document["tags"])
    for path, method, operation in operations(document):
        assert operation["summary"].endswith("."), (path, method)
        assert re.search(r"For(:| anyone)", operation["description"]), (path, method)
        assert operation["tags"][0] in tags, (path, method)
        assert isinstance(operation["security"], list), (path, method)
    assert set(tags) == {operation["tags"][0] for _, _, operation in operations(document)}


def members(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """(place, schema) of each member of each schema that has a name."""
    for name, schema in document["components"]["schemas"].items():
        for member, described in schema.get("properties", {}).items():
            yield f"{name}.{member}", described


def test_every_schema_and_member_is_described(document):
    for name, schema in document["components"]["schemas"].items():
        assert schema.get("description"), name
    assert [place for place, described in members(document) if not described.get("description")] == []


def test_every_parameter_and_header_is_described(document):
    for path, methods in document["paths"].items():
        for operation in methods.values():
            listed = operation if isinstance(operation, list) else operation.get("parameters", [])
            for parameter in listed:
                assert resolved(document, parameter).get("description"), (path, parameter)
    for name, status, answer in responses(document):
        assert answer["description"], (name, status)
        for header, described in answer.get("headers", {}).items():
            assert resolved(document, described).get("description"), (name, status, header)


def test_every_answer_may_be_traced_and_every_error_is_a_problem(document):
    for name, status, answer in responses(document):
        assert "X-Request-ID" in answer["headers"], (name, status)
        if status[0] in "45" or status == "default":
            assert list(answer["content"]) == ["application/problem+json"], (name, status)
        if status in ("429", "503"):
            assert "Retry-After" in answer["headers"]
        if status == "401":
            assert "WWW-Authenticate" in answer["headers"]
        if status == "default":
            assert "Allow" in answer["headers"]


def test_every_operation_names_the_statuses_that_follow_from_what_it_is(document):
    for path, method, operation in operations(document):
        named = {int(status) for status in operation["responses"] if status != "default"}
        expected = {400, 422, 503}
        expected |= {401, 403} if operation["security"] else set()
        expected |= {404} if "{" in path else set()
        expected |= {413} if method != "get" else set()
        expected |= {415} if "requestBody" in operation else set()
        asked = {one["name"]: one.get("required") for one in operation.get("parameters", []) if "name" in one}
        expected |= {412} if "If-Match" in asked else set()
        expected |= {428} if asked.get("If-Match") else set()
        expected |= {304} if "If-None-Match" in asked else set()
        assert expected <= named, (path, method, expected - named)
        assert any(200 <= status < 300 for status in named), (path, method)
        assert {status for status in named if status >= 400} <= set(STATUSES), (path, method)


def test_every_json_body_has_an_example(document):
    for path, method, operation in operations(document):
        bodies = [operation.get("requestBody", {}), *(resolved(document, a) for a in operation["responses"].values())]
        for body in bodies:
            for media_type in {"application/json", "application/problem+json"} & body.get("content", {}).keys():
                content = body["content"][media_type]
                assert content.keys() & {"example", "examples"}, (path, method, media_type)


def examples(part: Any, place: str = "") -> Iterator[tuple[str, Any]]:
    """(pointer to a schema, an example of it) of everything in the document that has one."""
    if isinstance(part, list):
        for index, inner in enumerate(part):
            yield from examples(inner, f"{place}/{index}")
    if not isinstance(part, dict):
        return
    if "schema" in part:
        yield from ((f"{place}/schema", part["example"]) for _ in [0] if "example" in part)
        yield from ((f"{place}/schema", shown["value"]) for shown in part.get("examples", {}).values())
    elif isinstance(part.get("examples"), list):
        yield from ((place, example) for example in part["examples"])
    for key, inner in part.items():
        if key not in ("example", "examples"):
            escaped = key.replace("~", "~0").replace("/", "~1").replace("{", "%7B").replace("}", "%7D")
            yield from examples(inner, f"{place}/{escaped}")


def test_every_example_is_valid_under_its_own_schema(document):
    registry = Registry().with_resource("urn:library", DRAFT202012.create_resource(document))
    checked = 0
    for place, example in examples(document):
        schema = {"$ref": f"urn:library#{place}"}
        validator = Draft202012Validator(schema, registry=registry, format_checker=FormatChecker())
        assert [error.message for error in validator.iter_errors(example)] == [], place
        assert f'"{UNTOLD}"' not in json.dumps(example, ensure_ascii=False), f"{place}: a text has no example"
        checked += 1
    assert checked > 300


def test_a_value_that_may_be_null_says_so_as_openapi_31_does(document):
    text = json.dumps(document)
    assert '"nullable"' not in text
    assert "date-time" in text
    assert {"type": "null"} in document["components"]["schemas"]["Loan"]["properties"]["closed_as"]["anyOf"]
    assert document["components"]["schemas"]["Loan"]["properties"]["closed_at"]["type"] == ["string", "null"]


def test_the_stored_copy_is_what_the_code_says(app):
    with app.app_context():
        text = stored_form(derived())
    assert STORED.read_text(encoding="utf-8") == text, (
        "The document has changed. Write it anew with `flask --app library openapi write docs/openapi.json`, see with "
        "`flask --app library openapi check --against <the copy before>` whether that breaks clients, and commit it."
    )


def test_the_stored_copy_holds_in_development_too_and_names_no_machine():
    app = create_app("development", SECRET_KEY="x" * 32, DATABASE_URL="sqlite://")
    with app.app_context():
        assert stored_form(derived()) == STORED.read_text(encoding="utf-8")
    document = json.loads(STORED.read_text(encoding="utf-8"))
    assert document["servers"] == [{"url": "/"}]
    validate(document)


def test_the_document_is_made_when_somebody_asks(monkeypatch):
    made = []
    monkeypatch.setattr(Blueprint, "register_views_in_doc", lambda self, *_, **__: made.append(self.name))
    app = create_app("testing", DATABASE_URL="sqlite://")
    assert made == []
    assert app.test_client().get("/openapi.json").status_code == 200
    assert "books" in made
    assert len(made) == len(set(made))


# --- Deprecation ---------------------------------------------------------------------------------------------------

things = Blueprint("things", "thing", "The house")


@things.route("/things/<id:thing_id>")
class ThingById(MethodView):
    @things.allow(ANYONE, own_transaction=True)
    @things.operation("get_thing")
    @things.response(204)
    def get(self, thing_id: int) -> None:
        """Read a thing."""


@things.route("/old-things/<id:thing_id>")
class OldThingById(MethodView):
    @things.deprecated(date(2025, 1, 1), sunset=date(2025, 7, 1), instead="get_thing")
    @things.allow(ANYONE, own_transaction=True)
    @things.operation("get_old_thing")
    @things.fails(404)
    @things.response(204)
    def get(self, thing_id: int) -> None:
        """Read a thing as it was read of old."""
        if thing_id > 1:
            raise Problem(404)

    @things.deprecated(date(2025, 1, 1))
    @things.allow("profile.own", own_transaction=True)
    @things.operation("delete_old_thing")
    @things.response(204)
    def delete(self, thing_id: int) -> None:
        """Delete a thing."""


@things.route("/old-branches")
class OldBranches(MethodView):
    @things.deprecated(date(2025, 1, 1), instead="list_branches")
    @things.allow("catalogue.read")
    @things.operation("list_old_branches")
    @things.lists(BranchSchema, {})
    def get(self) -> Select[tuple[Branch]]:
        """List branches as they were listed of old."""
        return select(Branch)


@pytest.fixture(scope="module")
def with_things() -> Flask:
    app = create_app("testing", DATABASE_URL="sqlite://")
    app.extensions["flask-smorest"]["apis"][""]["ext_obj"].register_blueprint(things)
    return app


def test_a_deprecated_operation_says_so_in_the_document(with_things):
    old = document_of(with_things)["paths"]["/old-things/{thing_id}"]
    assert old["get"]["deprecated"] is True
    sentence = "Deprecated since 2025-01-01; it may be gone after 2025-07-01 (UTC); use `get_thing` instead."
    assert old["get"]["description"].startswith(sentence)
    headers = old["get"]["responses"]["204"]["headers"]
    assert {"Deprecation", "Sunset"} <= headers.keys()
    assert "successor" in resolved(document_of(with_things), headers["Link"])["description"]
    assert "page" not in resolved(document_of(with_things), headers["Link"])["description"]
    assert "Sunset" not in old["delete"]["responses"]["204"]["headers"]
    assert old["delete"]["description"].startswith("Deprecated since 2025-01-01.")
    assert "deprecated" not in document_of(with_things)["paths"]["/things/{thing_id}"]["get"]
    validate(document_of(with_things))


@pytest.mark.parametrize(("thing_id", "status"), [(1, 204), (2, 404)])
def test_a_deprecated_operation_says_so_on_every_answer_and_goes_on_after_its_day(with_things, thing_id, status):
    answer = with_things.test_client().get(f"/old-things/{thing_id}")
    assert answer.status_code == status
    assert answer.headers["Deprecation"] == "@1735689600"
    # The first moment after the day up to which the document promises it.
    assert answer.headers["Sunset"] == "Wed, 02 Jul 2025 00:00:00 GMT"
    assert answer.headers.getlist("Link") == [
        '</redoc>; rel="deprecation"; type="text/html"',
        f'</things/{thing_id}>; rel="successor-version"',
    ]


def test_who_is_not_let_in_reads_it_too(with_things):
    answer = with_things.test_client().delete("/old-things/1")
    assert answer.status_code == 401
    assert answer.headers["Deprecation"] == "@1735689600"
    assert "Sunset" not in answer.headers
    assert answer.headers.getlist("Link") == ['</redoc>; rel="deprecation"; type="text/html"']


@pytest.mark.parametrize(
    ("method", "query", "sent", "status"),
    [
        ("HEAD", "", {}, 204),
        ("GET", "", {"headers": {"Sandbox-Now": "yesterday"}}, 400),
        ("GET", "?q=%ff", {}, 400),
        ("GET", "?q=1", {}, 422),
        ("DELETE", "", {"data": b"x" * 2_000_000}, 413),
    ],
)
def test_who_comes_no_further_than_the_edge_reads_it_too(with_things, method, query, sent, status):
    answer = with_things.test_client().open(f"/old-things/1{query}", method=method, **sent)
    assert answer.status_code == status
    assert answer.headers["Deprecation"] == "@1735689600"
    assert len([link for link in answer.headers.getlist("Link") if 'rel="deprecation"' in link]) == 1


@pytest.mark.parametrize(("method", "status"), [("OPTIONS", 204), ("POST", 405)])
def test_the_address_of_what_is_deprecated_is_not(with_things, method, status):
    answer = with_things.test_client().open("/old-things/1", method=method)
    assert answer.status_code == status
    assert "Deprecation" not in answer.headers


def test_a_deprecated_list_has_links_of_both_kinds(with_things):
    old = document_of(with_things)["paths"]["/old-branches"]["get"]
    described = resolved(document_of(with_things), old["responses"]["200"]["headers"]["Link"])["description"]
    assert "next" in described
    assert "successor" in described
    branches = document_of(with_things)["paths"]["/branches"]["get"]
    described = resolved(document_of(with_things), branches["responses"]["200"]["headers"]["Link"])["description"]
    assert "successor" not in described


def test_what_is_not_deprecated_says_nothing_of_it(with_things):
    answer = with_things.test_client().get("/things/1")
    assert answer.status_code == 204
    assert not {"Deprecation", "Sunset", "Link"} & set(answer.headers.keys())


def test_what_is_called_instead_exists(document):
    names = {operation["operationId"] for _, _, operation in operations(document)}
    for _, _, operation in operations(document):
        for instead in re.findall(r"^Deprecated .*use `(\w+)` instead", operation["description"]):
            assert instead in names


# --- The linters of others ------------------------------------------------------------------------------------------


@pytest.fixture
def findings(tmp_path: Path) -> Callable[[str, Path], list[str]]:
    """Call it with a linter and a document for what offends the rules that its makers recommend."""
    ruleset = tmp_path / "ruleset.json"
    ruleset.write_text('{"extends": ["spectral:oas"]}')
    arguments = {
        "redocly": ("--extends=recommended", "--format=json"),
        "spectral": (f"--ruleset={ruleset}", "--format=json", "--fail-severity=hint"),
    }
    # No linter may call home.
    quiet = {"REDOCLY_TELEMETRY": "off", "REDOCLY_SUPPRESS_UPDATE_NOTICE": "true", "NO_COLOR": "1"}

    def run(tool: str, document: Path) -> list[str]:
        command = [str(Path(os.environ["LIBRARY_TEST_NODE"], ".bin", tool)), "lint", *arguments[tool], str(document)]
        # From an empty folder: no configuration is found there that switches a rule off.
        ran = subprocess.run(command, cwd=tmp_path, env=os.environ | quiet, capture_output=True, text=True, timeout=300)
        if tool == "spectral":
            text = ran.stdout[: ran.stdout.rindex("]") + 1]
            return [f"{found['code']} at {'/'.join(map(str, found['path']))}" for found in json.loads(text)]
        text = ran.stdout[ran.stdout.index("{") : ran.stdout.rindex("}") + 1]
        return [f"{found['ruleId']}: {found['message']} {found['location']}" for found in json.loads(text)["problems"]]

    return run


@pytest.mark.services
@pytest.mark.parametrize("tool", ["redocly", "spectral"])
def test_linters_find_nothing(findings, tool):
    assert findings(tool, STORED) == []


@pytest.mark.services
@pytest.mark.parametrize(("tool", "rule"), [("redocly", "info-license"), ("spectral", "info-contact")])
def test_linters_would_find_even_what_they_only_warn_of(findings, tmp_path, tool, rule):
    document = json.loads(STORED.read_text(encoding="utf-8"))
    del document["info"]["license"], document["info"]["contact"]
    path = tmp_path / "openapi.json"
    # The rest is of no matter here, and takes the linters seconds.
    path.write_text(json.dumps(document | {"paths": {}, "components": {}, "tags": []}))
    assert any(found.startswith(rule) for found in findings(tool, path))
