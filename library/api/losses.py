"""Losses: copies that are lost, and claims that they were brought back."""

from typing import Any

import marshmallow as ma
from flask import g
from flask.views import MethodView

from library.api.desk import RouteSchema, desk
from library.api.ledger import AccountEntrySchema
from library.api.loans import LoanSchema
from library.api.plumbing.blueprint import Blueprint
from library.api.plumbing.fields import Cents, Choice, ListOf, Nested
from library.api.plumbing.references import Ref
from library.api.plumbing.schemas import RequestSchema
from library.api.plumbing.texts import Text
from library.extensions import db
from library.models import Branch, Loan
from library.rules import losses, returns

blp = Blueprint("losses", "loss", "Circulation")


class LossSchema(RequestSchema):
    """A copy that is lost."""

    example: dict[str, Any] | None = {"replacement_cents": 2500}

    replacement_cents = Cents(metadata={"description": "What it costs, where neither the copy nor its type says."})
    branch_id = Ref(Branch, metadata={"description": "The desk's branch; the actor's home branch if absent."})


class LostSchema(ma.Schema):
    """A loan whose copy was declared lost, and what is to be paid for it."""

    loan = Nested(LoanSchema)
    charges = ListOf(
        Nested(AccountEntrySchema), metadata={"description": "Fine, price and fee, as far as there are any."}
    )


class ClaimSchema(RequestSchema):
    """What the patron says."""

    example: dict[str, Any] | None = {"note": "Put into the book drop on Sunday."}

    note = Text(500, metadata={"description": "When and where it was brought back."})


class ClaimOutcomeSchema(RequestSchema):
    """How a claim ends."""

    example: dict[str, Any] | None = {"outcome": "found"}

    outcome = Choice(losses.ClaimOutcome, required=True)
    branch_id = Ref(Branch, metadata={"description": "Where it was found; the actor's home branch if absent."})


class ResolutionSchema(ma.Schema):
    """What became of a claim."""

    loan = Nested(LoanSchema)
    route = Nested(RouteSchema, allow_none=True, metadata={"description": "Where the copy goes, if it was found."})


@blp.route("/loans/<id:loan_id>/declare-lost", examples={"loan_id": 98})
class DeclareLost(MethodView):
    @blp.previewed
    @blp.allow("loans.lost")
    @blp.operation("declare_lost")
    @blp.obeys(losses.declare_lost)
    @blp.finds(Loan, first=losses.lock_around)
    @blp.arguments(LossSchema)
    @blp.response(200, LostSchema)
    def post(self, loan: Loan, values: dict[str, Any]) -> dict[str, Any]:
        """Declare the copy of a loan lost: its price and the fee are charged, the loan stays open."""
        charges = losses.declare_lost(db.session, desk(values, anywhere=True), loan, g.now, **values)
        return {"loan": loan, "charges": charges}


@blp.route("/loans/<id:loan_id>/claim-returned", examples={"loan_id": 98})
class ClaimReturned(MethodView):
    @blp.previewed
    @blp.allow("loans.claim")
    @blp.operation("claim_returned")
    @blp.obeys(losses.claim_returned)
    @blp.finds(Loan, first=losses.lock_around)
    @blp.arguments(ClaimSchema)
    @blp.response(200, LoanSchema)
    def post(self, loan: Loan, values: dict[str, Any]) -> Loan:
        """Say that the copy was brought back: fines stop until it is resolved."""
        return losses.claim_returned(db.session, loan, g.now, **values)


@blp.route("/loans/<id:loan_id>/resolve-claim", examples={"loan_id": 105})
class ResolveClaim(MethodView):
    @blp.previewed
    @blp.allow("loans.lost")
    @blp.operation("resolve_claim")
    @blp.obeys(returns.resolve_claim)
    @blp.finds(Loan, first=losses.lock_around)
    @blp.arguments(ClaimOutcomeSchema)
    @blp.response(200, ResolutionSchema)
    def post(self, loan: Loan, values: dict[str, Any]) -> returns.Resolution:
        """Resolve a claim: the copy was found here, or it is still missing."""
        return returns.resolve_claim(db.session, desk(values), loan, now=g.now, **values)
