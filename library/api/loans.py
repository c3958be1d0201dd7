"""Loans: lending, and loans as they are listed, shown and given other due dates."""

from typing import Any

import marshmallow as ma
from flask import g
from flask.views import MethodView
from sqlalchemy import Select

from library.api.books import BookSchema
from library.api.branches import BranchSchema
from library.api.copies import CopySchema
from library.api.desk import DeskInputSchema, desk
from library.api.plumbing.blueprint import Blueprint
from library.api.plumbing.errors import refusal_errors
from library.api.plumbing.expansion import Expanded
from library.api.plumbing.fields import Cents, Choice, Day, Fault, Flag, Id, ListOf, MomentField, Nested, QueryWhole
from library.api.plumbing.gate import actor
from library.api.plumbing.previews import Rendered
from library.api.plumbing.problem import ProblemErrorSchema
from library.api.plumbing.references import QueryRef, Ref
from library.api.plumbing.schemas import QuerySchema, RequestSchema, Schema, shown
from library.api.plumbing.texts import Text
from library.api.users import UserSchema
from library.extensions import db
from library.models import Book, Branch, Copy, Loan, Override, User
from library.rules import catalogue, lending, loans
from library.rules.due_dates import DueStep

blp = Blueprint("loans", "loan", "Circulation")
LONGEST_SPAN = 366


class DueStepSchema(ma.Schema):
    """One step on the way to a due date."""

    example = {"step": "period", "due_at": "2026-06-01T21:59:59.000000Z", "due_on": "2026-06-01"}

    step = Choice(DueStep, metadata={"description": "What moved the date."})
    due_at = ma.fields.String(metadata={"format": "date-time", "description": "Where it stood after the step."})
    due_on = ma.fields.String(metadata={"format": "date", "description": "The local day of it."})


class RenewableSchema(ma.Schema):
    """Whether a loan may be renewed, and if not why."""

    ok = Flag(metadata={"description": "Whether it may be renewed now."})
    errors = ma.fields.List(ma.fields.Nested(ProblemErrorSchema), metadata={"description": "Every reason against it."})


class LoanSchema(Schema):
    """One copy in one patron's hands."""

    class Meta(Schema.Meta):
        model = Loan

    shown_example = {
        "id": 98,
        "patron_id": 3,
        "due_at": "2026-06-01T21:59:59.000000Z",
        "due_on": "2026-06-01",
        "time_zone": "Europe/Berlin",
        "renewals": 0,
        "running_fine_cents": 0,
    }
    id = shown()
    copy_id = Id(dump_only=True)
    book_id = Id(dump_only=True)
    patron_id = Id(
        dump_only=True, allow_none=True, metadata={"description": "Null once the reading history has been cut."}
    )
    branch_id = Id(dump_only=True, metadata={"description": "The branch that lent the copy."})
    checked_out_at = shown()
    due_at = shown()
    due_on = shown()
    time_zone = shown()
    due_steps = ListOf(Nested(DueStepSchema), dump_only=True, metadata={"description": "How the due date came about."})
    closed_at = shown()
    closed_as = shown()
    returned_branch_id = Id(dump_only=True, allow_none=True, metadata={"description": "Where the copy was given back."})
    renewals = shown()
    renewable = Nested(RenewableSchema, dump_only=True, metadata={"description": "Whether it may be renewed now."})
    running_fine_cents = Cents(dump_only=True, metadata={"description": "Fine that has run up and is not charged yet."})
    lost_at = shown()
    claimed_at = shown()
    claim_note = shown()
    copy = Expanded(CopySchema, Copy)
    book = Expanded(BookSchema, Book, catalogue.book_parts())
    patron = Expanded(UserSchema, User)
    branch = Expanded(BranchSchema, Branch)

    @ma.pre_dump(pass_collection=True)
    def _look_ahead(self, rows: Any, many: bool, **_: Any) -> Any:
        """Judge all loans at once: a page costs as many statements as one of them."""
        several = list(rows) if many else [rows]
        prospects = loans.prospects(db.session, several, g.now)
        for loan in several:
            prospect = prospects[loan.id]
            loan.running_fine_cents = prospect.running_fine_cents
            loan.renewable = {
                "ok": not prospect.against_renewal,
                "errors": refusal_errors(prospect.against_renewal),
            }
        return several if many else several[0]


class CheckOutSchema(DeskInputSchema):
    """What the desk scans to lend a copy; a patron at a self-check, their own card."""

    example: dict[str, Any] | None = {"copy_barcode": "B00006", "patron_barcode": "P0001"}

    copy_barcode = Text(50, required=True, metadata={"description": "Barcode on the copy."})
    patron_barcode = Text(50, required=True, metadata={"description": "Barcode of the library card."})
    due_at = MomentField(metadata={"description": "Due date that staff name; by policy if absent."})


class LoanPatchSchema(RequestSchema):
    """Another due date, and why."""

    example: dict[str, Any] | None = {"due_at": "2035-01-31T22:59:59Z", "reason": "The patron is in hospital."}

    due_at = MomentField(required=True, metadata={"description": "Last moment at which the copy is not late."})
    reason = Text(500, required=True, metadata={"description": "Why; it is recorded."})


class OverrideMadeSchema(Schema):
    """A refusal that was let pass."""

    class Meta(Schema.Meta):
        model = Override

    shown_example = {"loan_id": 98, "action": "check_out", "code": "limit_reached", "reason": "For a class."}
    id = shown()
    loan_id = Id(dump_only=True, allow_none=True)
    action = shown()
    code = shown()
    reason = shown(min_length=0)
    actor_id = Id(dump_only=True, allow_none=True, metadata={"description": "Who let it pass."})
    made_at = shown()


class ClosedDaysSchema(RequestSchema):
    """A span of days of a branch whose due dates on closed days are to move."""

    example: dict[str, Any] | None = {
        "branch_id": 1,
        "from_on": "2026-12-24",
        "to_on": "2026-12-31",
        "reason": "Heating",
    }

    branch_id = Ref(Branch, required=True, metadata={"description": "The branch that is closed."})
    from_on = Day(required=True, metadata={"description": "First local day."})
    to_on = Day(required=True, metadata={"description": "Last local day."})
    reason = Text(500, required=True, metadata={"description": "Why; it is recorded with each loan."})

    @ma.validates_schema
    def _span(self, data: dict[str, Any], **_: Any) -> None:
        if not 0 <= (data["to_on"] - data["from_on"]).days < LONGEST_SPAN:
            raise ma.ValidationError(Fault(f"Name a span of at most {LONGEST_SPAN} days.", "out_of_range"), "to_on")


class MovedSchema(ma.Schema):
    """One loan whose due date was moved."""

    shown_example = {"index": 0}

    index = ma.fields.Integer(metadata={"description": "Its number in the answer, from 0."})
    ok = Flag(metadata={"description": "Always true: what did not move is not listed."})
    loan = Rendered(LoanSchema)


class MovesSchema(ma.Schema):
    """The loans whose due dates were moved, at most 100: call again until there are none."""

    results = ListOf(Nested(MovedSchema), metadata={"description": "In the order of their keys."})


class LoanQuerySchema(QuerySchema):
    """How loans are narrowed; a patron sees their own only."""

    status = Choice(loans.LoanStatus, metadata={"description": "Whether it still runs; all if absent."})
    patron_id = QueryRef(User, metadata={"description": "Who borrowed."})
    copy_id = QueryWhole(1, metadata={"description": "Loans of this copy."})
    book_id = QueryWhole(1, metadata={"description": "Loans of any copy of this book."})
    branch_id = QueryWhole(1, metadata={"description": "The branch that lent the copy."})
    due_on_min = Day(metadata={"description": "Due on this local day or later."})
    due_on_max = Day(metadata={"description": "Due on this local day or earlier."})


@blp.route("/loans")
class Loans(MethodView):
    @blp.allow("loans.read")
    @blp.arguments(LoanQuerySchema, location="query")
    @blp.lists(LoanSchema, loans.LOAN_SORTS)
    def get(self, filters: dict[str, Any]) -> Select[Any]:
        """List loans: one's own, or all at the desk."""
        return loans.find_loans(actor(), g.now, **filters)

    @blp.previewed
    @blp.allow("loans.check_out")
    @blp.operation("check_out")
    @blp.obeys(lending.check_out)
    @blp.arguments(CheckOutSchema)
    @blp.response(201, LoanSchema)
    def post(self, values: dict[str, Any]) -> Loan:
        """Check a copy out to a patron."""
        return lending.check_out(db.session, desk(values), now=g.now, **values)


@blp.route("/loans/<id:loan_id>", examples={"loan_id": 98})
class LoanById(MethodView):
    @blp.allow("loans.read")
    @blp.finds(Loan, *loans.loan_parts())
    @blp.response(200, LoanSchema, expands=True)
    def get(self, loan: Loan) -> Loan:
        """Read a loan."""
        return loan

    @blp.allow("loans.change")
    @blp.operation("change_due_date")
    @blp.finds(Loan)
    @blp.obeys(loans.change_due_date)
    @blp.arguments(LoanPatchSchema)
    @blp.response(200, LoanSchema)
    def patch(self, loan: Loan, values: dict[str, Any]) -> Loan:
        """Change the due date of a loan."""
        return loans.change_due_date(db.session, desk({}, anywhere=True), loan, now=g.now, **values)


@blp.route("/loans/<id:loan_id>/overrides", examples={"loan_id": 98})
class OverridesOfLoan(MethodView):
    @blp.allow("circulation.override")
    @blp.operation("list_overrides")
    @blp.finds(Loan)
    @blp.lists(OverrideMadeSchema, loans.OVERRIDE_SORTS)
    def get(self, loan: Loan) -> Select[Any]:
        """List what was let pass for a loan, by whom and why."""
        return loans.find_overrides(loan)


@blp.route("/loans/move-due-dates")
class MoveDueDates(MethodView):
    @blp.previewed
    @blp.allow("loans.change")
    @blp.operation("move_due_dates")
    @blp.arguments(ClosedDaysSchema)
    @blp.response(200, MovesSchema)
    def post(self, values: dict[str, Any]) -> dict[str, Any]:
        """Move due dates off newly closed days, to the next open day."""
        moved = loans.move_off_closed_days(db.session, desk({}, anywhere=True), now=g.now, **values)
        told = LoanSchema(many=True).dump(moved)
        return {"results": [{"index": index, "ok": True, "loan": loan} for index, loan in enumerate(told)]}
