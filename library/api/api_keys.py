"""API keys: how programs get in, with as little as they need, and until they no longer shall."""

from datetime import timedelta
from enum import StrEnum
from typing import Any

import marshmallow as ma
from flask import current_app, g
from flask.views import MethodView
from sqlalchemy import Select

from library.api import proofs
from library.api.plumbing import auditing
from library.api.plumbing.blueprint import Blueprint
from library.api.plumbing.fields import Choice, Id, ListOf, Messages, MomentField, Nested
from library.api.plumbing.gate import actor
from library.api.plumbing.references import QueryRef
from library.api.plumbing.schemas import QuerySchema, RequestSchema, Schema, shown
from library.api.plumbing.texts import Password, Text
from library.extensions import db
from library.models import ApiKey, User
from library.rules import api_keys, users
from library.rules.access import SCOPES

blp = Blueprint("api-keys", "api_key", "Signing in")
A_KEY = "lib_q0Zk3xJ8mT1vB6nR4yW9sD2fH7gL5cP0aE3uI8oXyZ4"
ApiKeyScope = StrEnum("ApiKeyScope", [(name, name) for name in sorted(SCOPES)])  # type: ignore[misc]
ApiKeyScope.__doc__ = "A permission that an API key may have."


class Scopes(ListOf):
    """The permissions that a key is given, at least one."""

    default_error_messages: Messages = {"too_few": "Name at least one scope."}

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(Choice(ApiKeyScope), len(ApiKeyScope), **kwargs)

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> list[Any]:
        chosen = super()._deserialize(value, attr, data, **kwargs)
        if not chosen:
            raise self.make_error("too_few")
        return [scope.value for scope in chosen]

    def document(self) -> dict[str, Any]:
        return super().document() | {"minItems": 1}


class ApiKeySchema(Schema):
    """A key that a program has; what lets it in was shown once, when the key was made."""

    class Meta(Schema.Meta):
        model = ApiKey

    shown_example = {
        "name": "Web site",
        "prefix": A_KEY[: api_keys.SHOWN],
        "scopes": ["catalogue.read", "holds.write"],
        "expires_at": "2035-12-31T00:00:00.000000Z",
    }
    id = shown()
    user_id = Id(dump_only=True, metadata={"description": "Whose it is: it acts for this account."})
    name = shown()
    prefix = shown()
    scopes = ListOf(Text(60), dump_only=True, metadata={"description": ApiKey.scopes.property.columns[0].doc})
    created_at = shown()
    expires_at = shown()
    last_used_at = shown()
    ended_at = shown()


class ApiKeyInputSchema(RequestSchema):
    """A key to be made: what for, what it may do, until when, and the password of who makes it."""

    noun = ApiKey
    example = {"name": "Web site", "scopes": ["catalogue.read", "holds.write"], "password": "password123"}

    name = Text(100, required=True)
    scopes = Scopes(required=True)
    expires_at = MomentField(
        metadata={"description": "When it shall end by itself; if absent, as late as this library allows."}
    )
    password = Password(
        users.LONGEST_PASSWORD,
        required=True,
        metadata={"description": "Your password: a token alone makes no key that outlives it."},
    )


class MadeApiKeySchema(ma.Schema):
    """A key just made, and the text that lets in: keep it, it is never shown again."""

    example = {"key": A_KEY}

    key = Text(60, metadata={"description": "Goes into `Authorization: Bearer …`. Shown this once."})
    api_key = Nested(ApiKeySchema, metadata={"description": "What is kept of it."})


class ApiKeyQuerySchema(QuerySchema):
    """How keys are narrowed."""

    user_id = QueryRef(User, metadata={"description": "Keys of this account."})


def check_before() -> None:
    """Check the password before the transaction begins; the view tells what came of it."""
    g.proof = proofs.prove(g.body.value.get("password") if isinstance(g.body.value, dict) else None)


@blp.route("/api-keys")
class ApiKeys(MethodView):
    @blp.allow("credentials.own")
    @blp.arguments(ApiKeyQuerySchema, location="query")
    @blp.lists(ApiKeySchema, api_keys.KEY_SORTS)
    def get(self, filters: dict[str, Any]) -> Select[Any]:
        """List API keys: one's own, or everybody's for an admin."""
        return api_keys.find_keys(actor(), **filters)

    # The answer is a secret: none is kept.
    @blp.allow("credentials.own", prepare=check_before, keyed=False)
    @blp.obeys(api_keys.create)
    @blp.arguments(ApiKeyInputSchema)
    @blp.response(201, MadeApiKeySchema, location="/api-keys/{0.api_key.id}")
    def post(self, values: dict[str, Any]) -> api_keys.MadeKey:
        """Make an API key for oneself, which is shown this once."""
        values.pop("password")
        proofs.require(g.proof)
        days = current_app.config["API_KEY_DAYS"]
        made = api_keys.create(db.session, actor(), values, g.real_now, timedelta(days=days) if days else None)
        auditing.made(made.api_key)
        return made


@blp.route("/api-keys/<id:api_key_id>")
class ApiKeyById(MethodView):
    @blp.allow("credentials.own")
    @blp.finds(ApiKey)
    @blp.response(200, ApiKeySchema)
    def get(self, key: ApiKey) -> ApiKey:
        """Read what is kept of an API key."""
        return key

    @blp.allow("credentials.own")
    @blp.finds(ApiKey)
    @blp.response(204)
    def delete(self, key: ApiKey) -> None:
        """End an API key; it stays in the list."""
        api_keys.end(db.session, key, g.real_now)
