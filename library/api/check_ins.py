"""Check-ins: copies that come back, and what the desk does with them."""

from typing import Any

import marshmallow as ma
from flask import g
from flask.views import MethodView

from library.api.copies import CopySchema
from library.api.desk import RouteSchema, desk
from library.api.holds import HoldSchema
from library.api.ledger import AccountEntrySchema
from library.api.loans import LoanSchema
from library.api.plumbing.blueprint import Blueprint
from library.api.plumbing.errors import refusal_errors
from library.api.plumbing.fields import ListOf, MomentField, Nested
from library.api.plumbing.problem import ProblemErrorSchema
from library.api.plumbing.references import Ref
from library.api.plumbing.schemas import RequestSchema
from library.api.plumbing.texts import Text
from library.extensions import db
from library.models import Branch
from library.rules import returns

blp = Blueprint("check-ins", "check_in", "Circulation")


class CheckInInputSchema(RequestSchema):
    """What the desk scans to take a copy back."""

    example: dict[str, Any] | None = {"copy_barcode": "B00006"}

    copy_barcode = Text(50, required=True, metadata={"description": "Barcode on the copy."})
    branch_id = Ref(Branch, metadata={"description": "The desk's branch; the actor's home branch if absent."})
    returned_at = MomentField(metadata={"description": "When it came back, if not just now."})


class CheckInSchema(ma.Schema):
    """What a check-in found and did."""

    copy = Nested(CopySchema, metadata={"description": "The copy as it stands now."})
    loan = Nested(LoanSchema, allow_none=True, metadata={"description": "The loan that ended; null if there was none."})
    hold = Nested(HoldSchema, allow_none=True, metadata={"description": "The hold that the copy serves now."})
    route = Nested(RouteSchema, metadata={"description": "What the desk does with it now."})
    charges = ListOf(Nested(AccountEntrySchema), metadata={"description": "What it wrote to the patron's account."})
    warnings = ma.fields.List(
        ma.fields.Nested(ProblemErrorSchema), metadata={"description": "What the desk should see."}
    )

    @ma.pre_dump
    def _tell(self, check_in: returns.CheckIn, **_: Any) -> dict[str, Any]:
        return {
            "copy": check_in.copy,
            "loan": check_in.loan,
            "hold": check_in.hold,
            "route": check_in.route,
            "charges": check_in.charges,
            "warnings": refusal_errors(check_in.warnings),
        }


@blp.route("/check-ins")
class CheckIns(MethodView):
    @blp.previewed
    @blp.allow("loans.check_in")
    @blp.operation("check_in")
    @blp.obeys(returns.check_in)
    @blp.arguments(CheckInInputSchema)
    @blp.response(200, CheckInSchema)
    def post(self, values: dict[str, Any]) -> returns.CheckIn:
        """Check a copy in; it need not have been out."""
        return returns.check_in(db.session, desk(values), now=g.now, **values)
