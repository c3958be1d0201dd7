"""What every action of the desk takes: the branch, and how a refusal may be let pass."""

import hashlib
import hmac
from typing import Any

import marshmallow as ma
from flask import current_app, g

from library.api.plumbing.errors import Problem
from library.api.plumbing.fields import Choice, Fault, Id, ListOf, Nested
from library.api.plumbing.gate import actor
from library.api.plumbing.references import Ref
from library.api.plumbing.schemas import RequestSchema
from library.api.plumbing.texts import Text
from library.config import secret_keys
from library.extensions import db
from library.models import Branch
from library.rules import rows
from library.rules.desk import Desk
from library.rules.errors import Refusal
from library.rules.routing import RouteAction


class RefusalCode(Text):
    """The code of a refusal that there is."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> str:
        code = super()._deserialize(value, attr, data, **kwargs)
        if code not in Refusal.catalogue:
            raise ma.ValidationError(Fault("There is no refusal with this code: see GET /refusals.", "unknown_value"))
        return code


class OverrideSchema(RequestSchema):
    """A refusal that staff let pass, and why."""

    example: dict[str, Any] | None = {"code": "limit_reached", "reason": "For a class, until Friday."}

    code = RefusalCode(50, required=True, metadata={"description": "Code of the refusal."})
    reason = Text(500, 0, required=True, metadata={"description": "Why it is let pass; it is recorded."})


class ConsentSchema(RequestSchema):
    """How an action that was refused may be done after all."""

    remarked = True

    overrides = ListOf(Nested(OverrideSchema), max_length=20, metadata={"description": "Refusals to let pass."})
    confirm_token = Text(200, metadata={"description": "The token of the answer that asked to be confirmed."})


class DeskInputSchema(ConsentSchema):
    """An action at a desk."""

    branch_id = Ref(Branch, metadata={"description": "The desk's branch; the actor's home branch if absent."})


class RouteSchema(ma.Schema):
    """What the desk does with the copy now."""

    example = {"action": "shelve", "branch_id": 1, "reason": "home"}

    action = Choice(RouteAction, metadata={"description": "In one word, to be shown large."})
    branch_id = Id(metadata={"description": "The branch where it belongs now."})
    reason = Text(50, metadata={"description": "Why: `hold`, `home`, or what is wrong with the copy."})


def desk(values: dict[str, Any], anywhere: bool = False) -> Desk:
    """Who stands at which desk: takes branch, overrides and token out of the values of a body.

    Who has no branch is told to name it (422), unless the action happens `anywhere`.
    """
    branch = values.pop("branch", None)
    home_id = actor().home_branch_id
    if branch is None and home_id is not None:
        branch = rows.refer(db.session, Branch, home_id)
    if branch is None and not anywhere:
        reason = {"code": "required", "detail": "Name the branch: your account has none.", "params": {}}
        raise Problem(422, "The body does not fit.", errors=[reason | {"pointer": "/branch_id"}])
    return Desk(
        actor(),
        branch,
        current_app.config["SELF_REGISTERED_MAY_BORROW"],
        overrides={override["code"]: override["reason"] for override in values.pop("overrides", [])},
        confirm_token=values.pop("confirm_token", None),
        signatures=_signatures,
        remarks=g.remarks,
        passed=g.attempt.passed,
    )


def _signatures(text: str) -> list[str]:
    keys = (hashlib.sha256(b"confirmations" + key.encode()).digest() for key in secret_keys(current_app.config))
    return [hmac.new(key, text.encode(), hashlib.sha256).hexdigest() for key in keys]
