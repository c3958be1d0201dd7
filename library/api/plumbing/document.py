"""The OpenAPI document: what flask-smorest derives, completed from the marks of the views."""

import inspect
import re
from collections.abc import Mapping
from threading import RLock
from typing import Any

import marshmallow as ma
from apispec.ext.marshmallow import MarshmallowPlugin, OpenAPIConverter
from flask import Flask
from flask_smorest import Api as SmorestApi
from werkzeug.routing import IntegerConverter

from library.api.plumbing import answers
from library.api.plumbing.descriptions import described_as
from library.api.plumbing.enumerations import named
from library.api.plumbing.examples import example_of_kind
from library.api.plumbing.fields import Choice, Coded
from library.api.plumbing.problem import ProblemSchema
from library.api.plumbing.schemas import QuerySchema, RequestSchema
from library.models import HIGHEST_ID

# In the order in which the pages show them: as one comes to know a library.
TAGS = {
    "Signing in": "Register, log in and out, change the password. All else wants the token of a log-in, or a key.",
    "Catalogue": "Books, who made them, and what they are about: search, read, write, import, export.",
    "Holdings": "Branches, item types, and the copies on the shelves.",
    "Circulation": "The desk: lend copies, renew them, take them back.",
    "Holds": "Who waits for what, and where it is collected.",
    "Money": "Charges, payments, and what is owed.",
    "People": "Oneself, patrons and staff, what bars a patron, and the categories of patrons.",
    "Policies": "The rules of lending as data, calendars, and where copies may travel.",
    "Running the library": "Jobs and nightly work, imports, and what patrons are told.",
    "Acquisitions": "What the library means to buy.",
    "The house": "What this library is, how it says no, whether it is well.",
}
_VERBS = {"POST": "create", "PUT": "replace", "PATCH": "patch", "DELETE": "delete", "GET": "get"}
BEARER = "The `access_token` that `POST /users/login` answers, or an API key that `POST /api-keys` has made."


class Converter(OpenAPIConverter):
    """apispec's converter: an answer always has all its members, a field of ours describes itself."""

    def field2property(self, field: Any) -> dict[str, Any]:
        described = super().field2property(field)
        described |= named(self.spec, field, described)
        if isinstance(field.parent, ma.Schema) and (description := described_as(field, described.get("description"))):
            described["description"] = description
        return described

    def _field2parameter(self, field: Any, *, name: str, location: str) -> dict[str, Any]:
        described = super()._field2parameter(field, name=name, location=location)
        if location == "query" and not field.required and "example" in described["schema"]:
            # Swagger UI fills in an `example`, and a list that is narrowed by all of them is empty.
            described["schema"]["examples"] = [described["schema"].pop("example")]
        return described

    def schema2jsonschema(self, schema: Any) -> dict[str, Any]:
        described = super().schema2jsonschema(schema)
        kind: Any = type(schema)
        described["description"] = inspect.getdoc(kind) or ""
        if not issubclass(kind, RequestSchema | QuerySchema):
            # A later version may add members to an answer: clients must not refuse them.
            described.pop("additionalProperties", None)
            described["required"] = list(getattr(kind, "always", described["properties"]))
        if getattr(kind, "members", None):
            described["minProperties"], described["maxProperties"] = kind.members
        if not issubclass(kind, QuerySchema):
            described["examples"] = [example_of_kind(kind)]
        return described


class Plugin(MarshmallowPlugin):
    """apispec's plugin with our converter."""

    Converter = Converter


class LargestId(IntegerConverter):
    """A key in a path: digits, at most the largest the database can hold; anything else is 404.

    It has one spelling: `/books/01` would be another address of the same book to caches and idempotency keys.
    """

    regex = "[1-9][0-9]{0,9}"

    def __init__(self, url_map: Any) -> None:
        super().__init__(url_map, min=1, max=HIGHEST_ID)


class Api(SmorestApi):
    """flask-smorest's API: our one error schema, our pages, no error handler but ours.

    The document is made when somebody first asks for it: most processes start without.
    """

    ERROR_SCHEMA = ProblemSchema

    def __init__(self, app: Flask, **kwargs: Any) -> None:
        app.url_map.converters["id"] = LargestId
        self._lock, self._untold = RLock(), list[Any]()
        super().__init__(app, spec_kwargs={"marshmallow_plugin": Plugin(), **kwargs})

        def describe(_converter: Any, field: Any, **_: Any) -> dict[str, Any]:
            # Some limits are settings.
            with app.app_context():
                return field.document() if isinstance(field, Coded) else {}

        self.ma_plugin.converter.add_attribute_function(describe)
        self.ma_plugin.map_to_openapi_type(Choice, "string", None)
        scheme = {"type": "http", "scheme": "bearer", "bearerFormat": "JWT", "description": BEARER}
        self.spec.components.security_scheme("bearer", scheme)

    @property
    def spec(self) -> Any:
        """The document, with all resources in it."""
        with self._lock:
            untold, self._untold = self._untold, []
            for blp in untold:
                blp.register_views_in_doc(self, self._app, self._spec, name=blp.name, parameters=None)
            used = {blp.tag for blp in untold}
            for tag, description in TAGS.items():
                if tag in used:
                    self._spec.tag({"name": tag, "description": description})
            return self._spec

    @spec.setter
    def spec(self, spec: Any) -> None:
        self._spec = spec

    def register_blueprint(self, blp: Any, **options: Any) -> None:
        """Register a resource; several may stand under one tag, which is told once."""
        self._app.register_blueprint(blp, **options)
        self._untold.append(blp)

    def _register_pagination_header(self) -> None:
        """The header is described where the lists are: flask-smorest says an object, and sends a string."""

    def _register_error_handlers(self) -> None:
        """Errors are answered by library/api/plumbing/errors.py alone."""

    def _register_responses(self) -> None:
        answers.register(self.spec)


def operation_id(plural: str, singular: str, rule: str, method: str) -> str:
    """The name of an operation of a plain collection: list_books, create_book, get_book …"""
    of_one = rule.endswith(">")
    if method == "GET" and not of_one:
        return f"list_{plural.replace('-', '_')}"
    return f"{_VERBS[method]}_{singular}"


def path_parameters(rule: str, examples: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What the document says of the keys in a path: whose they are, and one to try."""
    return [
        {
            "in": "path",
            "name": name,
            "description": f"Key of the {name.removesuffix('_id').replace('_', ' ')}.",
            "example": examples.get(name, 1),
        }
        for name in re.findall(r"<id:(\w+)>", rule)
    ]
