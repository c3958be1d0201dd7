"""The desk: loans and check-ins."""

from typing import Any

import marshmallow as ma
from flask import current_app, g
from flask.views import MethodView
from sqlalchemy import Select

from library.api.copies import CopySchema
from library.api.plumbing.blueprint import Blueprint
from library.api.plumbing.errors import Problem
from library.api.plumbing.fields import Choice, Day, Id, MomentField, Nested, QueryWhole
from library.api.plumbing.gate import actor
from library.api.plumbing.references import QueryRef, Ref
from library.api.plumbing.schemas import QuerySchema, RequestSchema, Schema, shown
from library.api.plumbing.texts import Text
from library.extensions import db
from library.models import Branch, Loan, User
from library.rules import loans

blp = Blueprint("loans", "loan", "Circulation")
check_ins = Blueprint("check-ins", "check_in", "Circulation")


class LoanSchema(Schema):
    """One copy in one patron's hands."""

    class Meta(Schema.Meta):
        model = Loan

    id = shown()
    copy_id = Id(dump_only=True)
    book_id = Id(dump_only=True)
    patron_id = Id(dump_only=True, allow_none=True)
    branch_id = Id(dump_only=True, metadata={"description": "The branch that lent the copy."})
    checked_out_at = shown()
    due_at = shown()
    due_on = shown()
    time_zone = shown()
    closed_at = shown()
    closed_as = shown()
    returned_branch_id = Id(dump_only=True, allow_none=True)


class CheckOutSchema(RequestSchema):
    """What the desk scans to lend a copy."""

    example: dict[str, Any] | None = {"copy_barcode": "C000000001", "patron_barcode": "P000000001"}

    copy_barcode = Text(50, required=True)
    patron_barcode = Text(50, required=True)
    branch_id = Ref(Branch, metadata={"description": "The desk's branch; the actor's home branch if absent."})
    due_at = MomentField(metadata={"description": "Due date that staff name; by policy if absent."})


class CheckInInputSchema(RequestSchema):
    """What the desk scans to take a copy back."""

    example: dict[str, Any] | None = {"copy_barcode": "C000000001"}

    copy_barcode = Text(50, required=True)
    branch_id = Ref(Branch, metadata={"description": "The desk's branch; the actor's home branch if absent."})
    returned_at = MomentField(metadata={"description": "When it came back, if not just now."})


class RouteSchema(ma.Schema):
    """What the desk does with the copy now."""

    action = Choice(loans.RouteAction)
    branch_id = Id()
    reason = Text(50)


class CheckInSchema(ma.Schema):
    """What a check-in found and did."""

    copy = Nested(CopySchema)
    loan = Nested(LoanSchema, allow_none=True, metadata={"description": "The loan that ended; null if there was none."})
    route = Nested(RouteSchema)


class LoanQuerySchema(QuerySchema):
    """How loans are narrowed; a patron sees their own only."""

    status = Choice(loans.LoanStatus)
    patron_id = QueryRef(User)
    copy_id = QueryWhole(1)
    book_id = QueryWhole(1)
    branch_id = QueryWhole(1)
    due_on_min = Day()
    due_on_max = Day()


def desk(values: dict[str, Any]) -> loans.Desk:
    """Who stands at which desk: the branch that the body names, else the actor's own."""
    branch = values.pop("branch", None)
    if branch is None and actor().home_branch_id is not None:
        branch = db.session.get(Branch, actor().home_branch_id)
    if branch is None:
        reason = {"code": "required", "detail": "Name the branch: your account has none.", "params": {}}
        raise Problem(422, "The body does not fit.", errors=[reason | {"pointer": "/branch_id"}])
    return loans.Desk(actor(), branch, current_app.config["SELF_REGISTERED_MAY_BORROW"])


@blp.route("/loans")
class Loans(MethodView):
    @blp.allow("loans.read")
    @blp.arguments(LoanQuerySchema, location="query")
    @blp.lists(LoanSchema, loans.LOAN_SORTS)
    def get(self, filters: dict[str, Any]) -> Select[Any]:
        """List loans: one's own, or all at the desk."""
        return loans.find_loans(actor(), g.now, **filters)

    @blp.allow("loans.check_out")
    @blp.operation("check_out")
    @blp.obeys(loans.check_out)
    @blp.arguments(CheckOutSchema)
    @blp.response(201, LoanSchema)
    def post(self, values: dict[str, Any]) -> Loan:
        """Check a copy out to a patron."""
        return loans.check_out(db.session, desk(values), now=g.now, **values)


@blp.route("/loans/<id:loan_id>")
class LoanById(MethodView):
    @blp.allow("loans.read")
    @blp.finds(Loan, *loans.loan_parts())
    @blp.response(200, LoanSchema)
    def get(self, loan: Loan) -> Loan:
        """Read a loan."""
        return loan


@check_ins.route("/check-ins")
class CheckIns(MethodView):
    @check_ins.allow("loans.check_in")
    @check_ins.operation("check_in")
    @check_ins.obeys(loans.check_in)
    @check_ins.arguments(CheckInInputSchema)
    @check_ins.response(200, CheckInSchema)
    def post(self, values: dict[str, Any]) -> loans.CheckIn:
        """Check a copy in; it need not have been out."""
        return loans.check_in(db.session, desk(values), now=g.now, **values)
