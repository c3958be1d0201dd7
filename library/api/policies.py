"""Policies: the rules of lending as rows, what comes out of them, and where copies may not travel."""

from typing import Any

import marshmallow as ma
from flask.views import MethodView
from marshmallow_sqlalchemy import auto_field
from sqlalchemy import Select

from library.api.plumbing.blueprint import Blueprint
from library.api.plumbing.fields import Choice, Coded, Fault, Id, QueryWhole
from library.api.plumbing.gate import actor
from library.api.plumbing.references import QueryRef, Ref
from library.api.plumbing.schemas import QuerySchema, Schema, input_of, shown
from library.extensions import db
from library.models import Branch, Copy, ItemType, PatronCategory, Policy, PolicyKind, TransferLimit, User
from library.rules import changes, policies, transfers
from library.rules.access import is_staff
from library.rules.policy_kinds import Unit

blp = Blueprint("policies", "policy", "Policies")
transfer_limits = Blueprint("transfer-limits", "transfer_limit", "Policies")
ANY = "null: any"


def _object(title: str, required: tuple[str, ...], **members: dict[str, Any]) -> dict[str, Any]:
    return {"title": title, "type": "object", "properties": members, "required": list(required)}


CENTS: dict[str, Any] = {"type": "integer", "minimum": 0, "description": "Cents for each day or hour."}
LENGTH = _object(
    "Length",
    ("number", "unit"),
    number={"type": "integer", "minimum": 0, "description": "So many."},
    unit={"type": "string", "enum": [unit.value for unit in Unit], "description": "What is counted."},
)
STEP = _object("Step", ("from", "cents"), cents=CENTS, **{"from": {"type": "integer", "minimum": 1}})
RATE = _object(
    "Rate",
    ("per",),
    per={"type": "string", "enum": ["day", "hour"], "description": "What is counted."},
    cents=CENTS,
    steps={"type": "array", "items": STEP, "description": "Instead of `cents`: from which day or hour on, what each."},
)


class PolicyValue(Coded, ma.fields.Raw):
    """What a policy lays down: a number, a length, a flag, a word, a day or a rate, as its kind wants it."""

    def __init__(self, description: str, **kwargs: Any) -> None:
        super().__init__(**kwargs, allow_none=True, metadata={"description": description})

    def document(self) -> dict[str, Any]:
        return {
            "anyOf": [*({"type": kind} for kind in ("integer", "boolean", "string")), LENGTH, RATE, {"type": "null"}]
        }


class PolicySchema(Schema):
    """One rule of one kind for a branch, a patron category and an item type; each may be any.

    Of the rows of a kind that fit, the narrowest holds: a branch counts more than a category, a category more than
    an item type. A value of null lifts a wider limit.
    """

    class Meta(Schema.Meta):
        model = Policy

    example = {"kind": "loan_period", "patron_category_id": 1, "value": {"number": 14, "unit": "days"}}
    id = shown()
    kind = auto_field()
    branch_id = Ref(Branch, allow_none=True, metadata={"description": f"The branch that lends; {ANY}."})
    patron_category_id = Ref(PatronCategory, allow_none=True, metadata={"description": f"Of the patron; {ANY}."})
    item_type_id = Ref(ItemType, allow_none=True, metadata={"description": f"Of the copy; {ANY}."})
    value = PolicyValue("What is laid down, in the form that `PolicyInput` says.", required=True)


class PolicyInputSchema(input_of(PolicySchema)):  # type: ignore[misc]
    """One rule of one kind; its value has the form that the kind wants."""

    value = PolicyValue(
        "By kind:\n"
        + "\n".join(
            f"* `{kind.value}`: {shape.meaning} Value: {shape.expected}. Without a row: `{shape.shown_default}`."
            for kind, shape in policies.SHAPES.items()
        ),
        required=True,
    )

    @ma.validates_schema
    def _fits_its_kind(self, data: dict[str, Any], **_: Any) -> None:
        try:
            policies.value_of(data["kind"], data["value"])
        except ValueError as error:
            fault = Fault(f"For {data['kind'].value} this must be {error}.", "bad_form")
            raise ma.ValidationError(fault, "value") from error


class PolicyQuerySchema(QuerySchema):
    """How policies are narrowed."""

    kind = Choice(PolicyKind, metadata={"description": "Policies of this kind."})
    branch_id = QueryWhole(1, metadata={"description": "Those of this branch alone."})
    patron_category_id = QueryWhole(1, metadata={"description": "Those of this patron category alone."})
    item_type_id = QueryWhole(1, metadata={"description": "Those of this item type alone."})


class EffectivePolicySchema(ma.Schema):
    """What holds of one kind, and where that is laid down."""

    shown_example = {"kind": "loan_period", "value": {"number": 28, "unit": "days"}}

    kind = Choice(PolicyKind)
    value = PolicyValue("What holds, in the form that `PolicyInput` says.")
    policy_id = Id(allow_none=True, metadata={"description": "The row it comes from; null: as shipped."})


class EffectiveQuerySchema(QuerySchema):
    """For whom, for what and where policies are asked."""

    patron_id = QueryRef(User, metadata={"description": "Absent: oneself; for staff any patron."})
    copy_id = QueryRef(Copy, metadata={"description": "The copy that is lent; absent: any."})
    branch_id = QueryRef(Branch, metadata={"description": "The branch that lends; absent: where the copy is now."})


class TransferLimitSchema(Schema):
    """A way that copies do not travel: none of them, or none of one item type."""

    class Meta(Schema.Meta):
        model = TransferLimit

    example = {"from_branch_id": 1, "to_branch_id": 2}
    id = shown()
    from_branch_id = Ref(Branch, required=True, metadata={"description": "From this branch."})
    to_branch_id = Ref(Branch, required=True, metadata={"description": "To this one."})
    item_type_id = Ref(ItemType, allow_none=True, metadata={"description": ANY})


class TransferLimitInputSchema(input_of(TransferLimitSchema)):  # type: ignore[misc]
    """A way from one branch to another."""

    @ma.validates_schema
    def _leads_somewhere(self, data: dict[str, Any], **_: Any) -> None:
        if data["from_branch"] is data["to_branch"]:
            raise ma.ValidationError(
                Fault("Name another branch: within one, copies travel.", "conflict"), "to_branch_id"
            )


class TransferLimitQuerySchema(QuerySchema):
    """How transfer limits are narrowed."""

    from_branch_id = QueryWhole(1, metadata={"description": "Ways that begin at this branch."})
    to_branch_id = QueryWhole(1, metadata={"description": "Ways that lead to this branch."})
    item_type_id = QueryWhole(1, metadata={"description": "Those of this item type alone."})


@blp.route("/policies")
class Policies(MethodView):
    @blp.allow("policies.read")
    @blp.arguments(PolicyQuerySchema, location="query")
    @blp.lists(PolicySchema, policies.POLICY_SORTS, usual="kind")
    def get(self, filters: dict[str, Any]) -> Select[Any]:
        """List policies."""
        return policies.find_policies(**filters)

    @blp.allow("policies.write")
    @blp.obeys(policies.save)
    @blp.arguments(PolicyInputSchema)
    @blp.response(201, PolicySchema)
    def post(self, values: dict[str, Any]) -> Policy:
        """Lay down a policy."""
        return policies.save(db.session, Policy(), values)


@blp.route("/policies/<id:policy_id>")
class PolicyById(MethodView):
    @blp.allow("policies.read")
    @blp.finds(Policy)
    @blp.response(200, PolicySchema)
    def get(self, policy: Policy) -> Policy:
        """Read a policy."""
        return policy

    @blp.allow("policies.write")
    @blp.finds(Policy)
    @blp.obeys(policies.save)
    @blp.arguments(PolicyInputSchema)
    @blp.response(200, PolicySchema)
    def put(self, policy: Policy, values: dict[str, Any]) -> Policy:
        """Replace a policy."""
        return policies.save(db.session, policy, values)

    @blp.allow("policies.write")
    @blp.finds(Policy)
    @blp.obeys(changes.delete)
    @blp.response(204)
    def delete(self, policy: Policy) -> None:
        """Delete a policy."""
        changes.delete(db.session, policy)


@blp.route("/policies/effective")
class EffectivePolicies(MethodView):
    @blp.allow("policies.effective")
    @blp.operation("get_effective_policies")
    @blp.arguments(EffectiveQuerySchema, location="query")
    @blp.response(200, EffectivePolicySchema(many=True))
    def get(self, asked: dict[str, Any]) -> policies.Effective:
        """What holds for a patron, a copy and a branch, of every kind, with the row it comes from."""
        myself = None if is_staff(actor()) else actor()
        patron = db.session.get(User, asked["patron_id"]) if "patron_id" in asked else myself
        copy = db.session.get(Copy, asked["copy_id"]) if "copy_id" in asked else None
        return policies.effective(db.session, patron, copy, asked.get("branch_id"))


@transfer_limits.route("/transfer-limits")
class TransferLimits(MethodView):
    @transfer_limits.allow("policies.read")
    @transfer_limits.arguments(TransferLimitQuerySchema, location="query")
    @transfer_limits.lists(TransferLimitSchema, {})
    def get(self, filters: dict[str, Any]) -> Select[Any]:
        """List transfer limits."""
        return transfers.find_limits(**filters)

    @transfer_limits.allow("policies.write")
    @transfer_limits.obeys(transfers.save)
    @transfer_limits.arguments(TransferLimitInputSchema)
    @transfer_limits.response(201, TransferLimitSchema)
    def post(self, values: dict[str, Any]) -> TransferLimit:
        """Forbid copies to travel from one branch to another."""
        return transfers.save(db.session, TransferLimit(), values)


@transfer_limits.route("/transfer-limits/<id:transfer_limit_id>")
class TransferLimitById(MethodView):
    @transfer_limits.allow("policies.read")
    @transfer_limits.finds(TransferLimit)
    @transfer_limits.response(200, TransferLimitSchema)
    def get(self, limit: TransferLimit) -> TransferLimit:
        """Read a transfer limit."""
        return limit

    @transfer_limits.allow("policies.write")
    @transfer_limits.finds(TransferLimit)
    @transfer_limits.obeys(changes.delete)
    @transfer_limits.response(204)
    def delete(self, limit: TransferLimit) -> None:
        """Delete a transfer limit: copies may travel that way again."""
        changes.delete(db.session, limit)
