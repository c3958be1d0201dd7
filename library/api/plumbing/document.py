"""The OpenAPI document: what flask-smorest derives, completed from the marks of the views."""

import inspect
from typing import Any

from apispec.ext.marshmallow import MarshmallowPlugin, OpenAPIConverter
from flask import Flask
from flask_smorest import Api as SmorestApi
from werkzeug.routing import IntegerConverter

from library.api.plumbing.errors import title
from library.api.plumbing.fields import Choice, Coded
from library.api.plumbing.problem import ProblemSchema
from library.api.plumbing.schemas import QuerySchema, RequestSchema
from library.models import HIGHEST_ID
from library.rules import access

PROBLEM = "application/problem+json"
TAGS = {
    "Signing in": "Register, log in and out, change the password.",
    "People": "Oneself, patrons and staff, and the categories of patrons.",
    "Catalogue": "Books, who made them, and what they are about.",
    "Holdings": "Branches, item types, and the copies on the shelves.",
    "Circulation": "Lending copies, renewing them, taking them back.",
    "Holds": "Who waits for what, and where it is collected.",
    "Money": "Charges, payments, and what is owed.",
    "Policies": "The rules of lending as data, calendars, and where copies may travel.",
    "Running the library": "Nightly work, and what patrons are told.",
    "Acquisitions": "What the library means to buy.",
    "The house": "What this library is, how it says no, whether it is well.",
}
_VERBS = {"POST": "create", "PUT": "replace", "PATCH": "patch", "DELETE": "delete", "GET": "get"}
_BEARER: list[dict[str, list[str]]] = [{"bearer": []}]


class Converter(OpenAPIConverter):
    """apispec's converter: an answer always has all its members, a field of ours describes itself."""

    def schema2jsonschema(self, schema: Any) -> dict[str, Any]:
        described = super().schema2jsonschema(schema)
        kind = type(schema)
        described["description"] = inspect.getdoc(kind) or ""
        if not issubclass(kind, RequestSchema | QuerySchema):
            # A later version may add members to an answer: clients must not refuse them.
            described.pop("additionalProperties", None)
            described["required"] = list(getattr(kind, "always", described["properties"]))
        example = getattr(kind, "example", None)
        if example is not None:
            described["examples"] = [example]
        return described


class Plugin(MarshmallowPlugin):
    """apispec's plugin with our converter."""

    Converter = Converter


class LargestId(IntegerConverter):
    """A key in a path: digits, at most the largest the database can hold; anything else is 404."""

    def __init__(self, url_map: Any) -> None:
        super().__init__(url_map, min=1, max=HIGHEST_ID)


class Api(SmorestApi):
    """flask-smorest's API: our one error schema, our pages, no error handler but ours."""

    ERROR_SCHEMA = ProblemSchema

    def __init__(self, app: Flask, **kwargs: Any) -> None:
        app.url_map.converters["id"] = LargestId
        self.tags: list[str] = []
        super().__init__(app, spec_kwargs={"marshmallow_plugin": Plugin(), **kwargs})

        def describe(_converter: Any, field: Any, **_: Any) -> dict[str, Any]:
            # Some limits are settings.
            with app.app_context():
                return field.document() if isinstance(field, Coded) else {}

        self.ma_plugin.converter.add_attribute_function(describe)
        self.ma_plugin.map_to_openapi_type(Choice, "string", None)
        self.spec.components.security_scheme("bearer", {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"})

    def register_blueprint(self, blp: Any, **options: Any) -> None:
        """Register a resource; several may stand under one tag, which is told once."""
        tag, self.spec.tag = self.spec.tag, lambda _: None  # type: ignore[method-assign]
        try:
            super().register_blueprint(blp, **options)
        finally:
            self.spec.tag = tag  # type: ignore[method-assign]
        if blp.tag not in self.tags:
            self.tags.append(blp.tag)
            self.spec.tag({"name": blp.tag, "description": TAGS[blp.tag]})

    def _register_pagination_header(self) -> None:
        """The header is described where the lists are: flask-smorest says an object, and sends a string."""

    def _register_error_handlers(self) -> None:
        """Errors are answered by library/api/plumbing/errors.py alone."""

    def _register_responses(self) -> None:
        for status in (400, 401, 403, 404, 409, 412, 413, 415, 422, 428, 429, 500, 503):
            answer: dict[str, Any] = {"description": title(status), "content": {PROBLEM: {"schema": ProblemSchema}}}
            if status in _ERROR_HEADERS:
                answer["headers"] = _ERROR_HEADERS[status]
            self.spec.components.response(f"Problem{status}", answer, lazy=True)
        answer = {"description": "Any other error", "content": {PROBLEM: {"schema": ProblemSchema}}}
        self.spec.components.response("DEFAULT_ERROR", answer, lazy=True)


def operation_id(plural: str, singular: str, rule: str, method: str) -> str:
    """The name of an operation of a plain collection: list_books, create_book, get_book …"""
    of_one = rule.endswith(">")
    if method == "GET" and not of_one:
        return f"list_{plural.replace('-', '_')}"
    return f"{_VERBS[method]}_{singular}"


def complete(doc: dict[str, Any], info: dict[str, Any], *, method: str, **_: Any) -> dict[str, Any]:
    """Add to an operation what the marks say: its name, who may call it, how it may fail, its conditions."""
    marks = info.get("library", {})
    doc["operationId"] = marks["operation"]
    doc["description"] = "\n\n".join(filter(None, [doc.get("description"), _who_may(marks["permission"])]))
    responses = doc.setdefault("responses", {})
    for status in [code for code, answer in responses.items() if isinstance(answer, str) and code != "default"]:
        del responses[status]
    failures = {400, 422, 503, *marks.get("failures", ()), *((429,) if marks["limited"] else ())}
    parameters = doc.setdefault("parameters", [])
    if marks["permission"] != access.ANYONE:
        failures |= {401, 403}
        open_too: list[dict[str, list[str]]] = [{}] if marks["permission"] in access.OPEN_CATALOGUE else []
        doc["security"] = [*_BEARER, *open_too]
    else:
        doc["security"] = []
    if marks.get("finds") is not None:
        failures.add(404)
    if method != "get":
        failures.add(413)
        # A clash that only the database saw.
        failures |= {409} if marks["permission"] != access.ANYONE else set()
    if "requestBody" in doc:
        failures.add(415)
        if method == "patch":
            content = doc["requestBody"]["content"]
            content["application/merge-patch+json"] = content["application/json"]
    if marks.get("versioned") and method in ("put", "patch", "delete"):
        failures |= {412, 428}
        parameters.append(_IF_MATCH)
    if method == "get":
        parameters.append(_IF_NONE_MATCH)
        responses["304"] = {"description": "Not modified"}
    for status in sorted(failures):
        responses[str(status)] = f"Problem{status}"
    if marks.get("refusals"):
        responses["409"] = _refused(marks["refusals"])
    _describe_answers(responses, marks.get("remarked", False))
    if not parameters:
        del doc["parameters"]
    return doc


def _who_may(permission: str) -> str:
    """Who may call an operation, in a sentence: the document derives it from the page of permissions."""
    if permission == access.ANYONE:
        return "For anyone."
    roles = [role for role, held in access.PERMISSIONS.items() if role is not None and permission in held]
    named = (
        "everybody signed in" if len(roles) == len(access.PERMISSIONS) - 1 else ", ".join(sorted(roles, reverse=True))
    )
    return f"For: {named} (permission `{permission}`)."


_RETRY_AFTER = {"description": "Seconds to wait before the next try.", "schema": {"type": "integer"}}
_CHALLENGE = {"description": "How to sign in (RFC 6750).", "schema": {"type": "string"}}
_ERROR_HEADERS = {
    401: {"WWW-Authenticate": _CHALLENGE},
    429: {"Retry-After": _RETRY_AFTER},
    503: {"Retry-After": _RETRY_AFTER},
}
_IF_MATCH = {
    "in": "header",
    "name": "If-Match",
    "required": False,
    "description": "The ETag of the version that was read, or *. Without it the answer is 428.",
    "schema": {"type": "string"},
}
_IF_NONE_MATCH = {
    "in": "header",
    "name": "If-None-Match",
    "description": "An ETag: the answer is 304 where it still fits.",
    "schema": {"type": "string"},
}
_ETAG = {"description": "Version and hash of the answer.", "schema": {"type": "string"}}
_LOCATION = {"description": "Where the new thing stands.", "schema": {"type": "string"}}
_REMARKS = {
    "description": "Codes of what was remarked though the action was done, parted by commas; absent without remarks.",
    "schema": {"type": "string"},
}


def _describe_answers(responses: dict[Any, Any], remarked: bool) -> None:
    for status, answer in responses.items():
        if not isinstance(answer, dict) or not str(status).startswith("2"):
            continue
        if answer.get("content"):
            answer.setdefault("headers", {})["ETag"] = _ETAG
        if str(status) in ("201", "202"):
            answer.setdefault("headers", {})["Location"] = _LOCATION
        if remarked:
            answer.setdefault("headers", {})["X-Remarks"] = _REMARKS


def _refused(refusals: Any) -> dict[str, Any]:
    """A 409 that names the codes this operation may be refused with."""
    codes = {"type": "string", "enum": [refusal.code for refusal in refusals]}
    narrowed = {"type": "object", "properties": {"errors": {"items": {"properties": {"code": codes}}}}}
    sentences = "\n".join(f"* `{refusal.code}`: {refusal.sentence()}" for refusal in refusals)
    return {
        "description": f"Refused, and nothing changed:\n{sentences}",
        "content": {PROBLEM: {"schema": {"allOf": [ProblemSchema, narrowed]}}},
    }
