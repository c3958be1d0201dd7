"""A test client that holds every answer against the document, and remembers which operations it saw succeed.

No refused call may have changed anything: what is answered with an error has committed nothing.
"""

import json
from collections import defaultdict
from functools import cache
from typing import Any

from flask import Flask
from flask.testing import FlaskClient
from hashing import AUDIT, commits_of
from jsonschema import Draft202012Validator, FormatChecker
from referencing import Registry
from referencing.jsonschema import DRAFT202012
from werkzeug.test import TestResponse

from library.api.plumbing.rendering import tag_of
from library.api.plumbing.tokens import token_pair

# operationId → statuses that some test has seen.
seen: dict[str, set[int]] = defaultdict(set)
# A refresh token that was stolen ends its session, and the answer is a refusal all the same.
REFUSED_AND_KEPT = {"/users/refresh"}


def document_of(app: Flask) -> dict[str, Any]:
    """The OpenAPI document of an application."""
    return _document(app)


@cache
def _document(app: Flask) -> dict[str, Any]:
    document = json.loads(json.dumps(app.extensions["flask-smorest"]["apis"][""]["ext_obj"].spec.to_dict()))
    return document


@cache
def _registry(app: Flask) -> Registry:
    return Registry().with_resource("urn:library", DRAFT202012.create_resource(_document(app)))


class DocumentedClient(FlaskClient):
    """Speaks for one actor; an answer that the document does not describe is an assertion."""

    token: str | None = None
    user_id: int | None = None

    def sign_in(self, user: Any, session: Any) -> None:
        """Send the user's token from now on."""
        with self.application.test_request_context():
            self.token = token_pair(user, session.id, session.refresh_jti)["access_token"]
        self.user_id = user.id

    def open(self, *args: Any, **kwargs: Any) -> TestResponse:
        headers = dict(kwargs.pop("headers", None) or {})
        if self.token:
            headers.setdefault("Authorization", f"Bearer {self.token}")
        kept = commits_of(self.application).kept
        before = len(kept)
        response = super().open(*args, headers=headers, **kwargs)
        if response.status_code >= 400 and response.request.path not in REFUSED_AND_KEPT:
            changed = [statement for statement in kept[before:] if f" {AUDIT} " not in statement]
            assert not changed, f"{response.request.path} answers {response.status_code} and has changed rows"
        operation = check(self.application, response)
        written = sum(f"INSERT INTO {AUDIT} " in statement for statement in kept[before:])
        assert written == audited(operation, response), f"{operation}: {response.status_code}, {written} audit rows"
        return response

    def change(self, path: str, method: str = "PATCH", tag: str = "*", **kwargs: Any) -> TestResponse:
        """PATCH, PUT or DELETE with `If-Match`."""
        return self.open(path, method=method, headers={"If-Match": tag}, **kwargs)


def audited(operation: dict[str, Any] | None, response: TestResponse) -> int:
    """How many rows the audit must have of a call: one of each change, and of each refusal that it keeps."""
    if operation is None or operation["operationId"].startswith("preview_"):
        return 0
    if "Idempotency-Replayed" in response.headers:
        return 0
    status, changes = response.status_code, response.request.method not in ("GET", "HEAD", "OPTIONS")
    if status < 400:
        return int(changes)
    open_to_all = not operation["security"]
    if status == 422:
        secrets = ("wrong_password", "invalid_token")
        return int(changes and any(error["code"] in secrets for error in response.json["errors"]))
    if status == 401:
        return int(changes and open_to_all)
    return int(status == 403 or (status in (409, 412) and changes and not open_to_all))


def check(app: Flask, response: TestResponse) -> dict[str, Any] | None:
    """Hold an answer against the document; the operation that gave it, None where there is none."""
    request = response.request
    if request.method == "OPTIONS" and response.status_code == 204:
        # About an address, not about an operation.
        assert "OPTIONS" in response.headers["Allow"]
        return None
    adapter = app.url_map.bind("localhost")
    try:
        rule, _ = adapter.match(request.path, method=request.method, return_rule=True)
    except Exception:  # no route: 404 and 405 stand in no operation, but have the one error form
        assert response.status_code in (400, 404, 405, 413, 308), response.status_code
        if request.method != "HEAD":
            _check_body(app, response, ["components", "schemas", "Problem"])
        return None
    path = app.extensions["flask-smorest"]["apis"][""]["ext_obj"].flask_plugin.flaskpath2openapi(rule.rule)
    operations = _document(app)["paths"].get(path)
    if operations is None:
        return None
    # HEAD is GET without the body.
    method = request.method.lower().replace("head", "get")
    operation = operations[method]
    status = str(response.status_code)
    assert status in operation["responses"], f"{method} {path} answers {status}, which its document does not know"
    seen[operation["operationId"]].add(response.status_code)
    assert response.headers["X-Request-ID"]
    if not response.data:
        return operation
    answer = operation["responses"][status]
    where = ["paths", path, method, "responses", status]
    if "$ref" in answer:
        where = answer["$ref"].removeprefix("#/").split("/")
        answer = _document(app)["components"]["responses"][where[-1]]
    assert response.mimetype in answer["content"], f"{method} {path} answers {response.mimetype}"
    if response.mimetype.endswith("json"):
        _check_body(app, response, [*where, "content", response.mimetype, "schema"])
    if response.mimetype == "application/json" and "ETag" in response.headers:
        version = response.headers["ETag"].strip('"').split("-")[0]
        assert response.headers["ETag"] == f'"{tag_of(response.data, int(version))}"'
    return operation


def _check_body(app: Flask, response: TestResponse, where: list[str]) -> None:
    pointer = "/".join(
        part.replace("~", "~0").replace("/", "~1").replace("{", "%7B").replace("}", "%7D") for part in where
    )
    schema = {"$ref": f"urn:library#/{pointer}"}
    validator = Draft202012Validator(schema, registry=_registry(app), format_checker=FormatChecker())
    validator.validate(response.get_json(force=True))
