"""Renewals: of one loan, of several, and who renewed what when."""

from collections.abc import Sequence
from typing import Any

import marshmallow as ma
from flask import g
from flask.views import MethodView
from sqlalchemy import Select

from library.api.desk import ConsentSchema, desk
from library.api.ledger import AccountEntrySchema
from library.api.loans import LoanSchema
from library.api.plumbing.blueprint import Blueprint
from library.api.plumbing.errors import invalid, refusal_errors
from library.api.plumbing.fields import Fault, Flag, Id, ListOf, Nested
from library.api.plumbing.gate import actor
from library.api.plumbing.previews import Rendered
from library.api.plumbing.problem import ProblemErrorSchema
from library.api.plumbing.references import Ref
from library.api.plumbing.schemas import RequestSchema, Schema, shown
from library.extensions import db
from library.models import Loan, Renewal, User
from library.rules import loans, losses, renewals
from library.rules.access import is_staff

blp = Blueprint("renewals", "renewal", "Circulation")
MOST = 100


class RenewalSchema(Schema):
    """One renewal of a loan."""

    class Meta(Schema.Meta):
        model = Renewal

    shown_example = {"loan_id": 98, "actor_id": 2}
    id = shown()
    loan_id = Id(dump_only=True)
    renewed_at = shown()
    actor_id = Id(dump_only=True, allow_none=True, metadata={"description": "Null where it renewed itself."})
    channel = shown()
    was_due_at = shown()
    due_at = shown()


class RenewedSchema(RenewalSchema):
    """A renewal that was just done, with the loan as it stands now and what it wrote to the account."""

    shown_example: dict[str, Any] = {"loan_id": 98, "actor_id": 2, "charges": []}

    loan = Nested(LoanSchema, metadata={"description": "The loan as it stands now."})
    charges = ListOf(
        Nested(AccountEntrySchema), metadata={"description": "The fine that had run up, if there was one."}
    )


class RenewManySchema(RequestSchema):
    """Which loans are to be renewed: those named, or all of a patron's."""

    example: dict[str, Any] | None = {"loan_ids": [97, 98]}

    patron_id = Ref(User, metadata={"description": "Whose; oneself if absent."})
    loan_ids = ListOf(Id(), max_length=MOST, metadata={"description": "Which; all open ones if absent."})


class VerdictSchema(ma.Schema):
    """What became of one of many renewals."""

    shown_example = {"index": 0, "charges": []}

    index = ma.fields.Integer(metadata={"description": "Its number in the answer, from 0."})
    ok = Flag(metadata={"description": "Whether it was renewed."})
    loan = Rendered(LoanSchema)
    charges = Rendered(AccountEntrySchema, many=True, metadata={"description": "The fine that had run up, if any."})
    errors = ma.fields.List(ma.fields.Nested(ProblemErrorSchema), metadata={"description": "Every reason against it."})


class VerdictsSchema(ma.Schema):
    """A verdict for each loan."""

    results = ma.fields.List(ma.fields.Nested(VerdictSchema))


def told(verdicts: Sequence[renewals.Verdict]) -> dict[str, Any]:
    """The verdicts, all loans looked ahead at together."""
    found = LoanSchema(many=True).dump([verdict.loan for verdict in verdicts])
    return {
        "results": [
            {
                "index": verdict.index,
                "ok": verdict.ok,
                "loan": loan,
                "charges": AccountEntrySchema(many=True).dump(verdict.charges) if verdict.charges else [],
                "errors": refusal_errors(verdict.errors),
            }
            for verdict, loan in zip(verdicts, found, strict=True)
        ]
    }


@blp.route("/loans/<id:loan_id>/renewals", examples={"loan_id": 98})
class RenewalsOfLoan(MethodView):
    @blp.allow("loans.read")
    @blp.operation("list_renewals")
    @blp.finds(Loan, *loans.loan_parts())
    @blp.lists(RenewalSchema, loans.RENEWAL_SORTS)
    def get(self, loan: Loan) -> Select[Any]:
        """List the renewals of a loan: who, when, how."""
        return loans.find_renewals(loan)

    @blp.previewed
    @blp.allow("loans.renew")
    @blp.operation("renew")
    @blp.obeys(renewals.renew)
    @blp.finds(Loan, first=losses.lock_around)
    @blp.arguments(ConsentSchema)
    @blp.response(201, RenewedSchema, location="/loans/{0.loan_id}/renewals")
    def post(self, loan: Loan, values: dict[str, Any]) -> renewals.Renewed:
        """Renew a loan."""
        return renewals.renewed(db.session, renewals.renew(db.session, desk(values, anywhere=True), loan, g.now))


@blp.route("/renewals")
class Renewals(MethodView):
    @blp.previewed
    @blp.allow("loans.renew")
    @blp.operation("renew_many")
    @blp.arguments(RenewManySchema)
    @blp.response(200, VerdictsSchema)
    def post(self, values: dict[str, Any]) -> dict[str, Any]:
        """Renew several loans, or all of a patron's: a verdict for each."""
        named = values.get("loan_ids")
        patron = values.get("patron") or (None if named and is_staff(actor()) else actor())
        found = {loan.id: loan for loan in renewals.loans_to_renew(db.session, patron, named, MOST + 1)}
        if len(found) > MOST:
            raise invalid({"loan_ids": [Fault(f"More than {MOST} are open: name some of them.", "too_many")]}, "json")
        if named is None:
            return told(renewals.renew_many(db.session, desk({}, anywhere=True), list(found.values()), g.now))
        unknown = {
            str(at): [Fault("There is no such loan.", "loan_not_found")]
            for at, key in enumerate(named)
            if key not in found
        }
        if unknown:
            raise invalid({"loan_ids": unknown}, "json")
        chosen = [found[key] for key in dict.fromkeys(named)]
        return told(renewals.renew_many(db.session, desk({}, anywhere=True), chosen, g.now))
