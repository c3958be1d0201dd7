"""Money: what the desk writes into the ledger."""

from typing import Any

from flask import g
from flask.views import MethodView

from library.api.desk import desk
from library.api.ledger import AccountEntrySchema
from library.api.plumbing.blueprint import Blueprint
from library.api.plumbing.fields import Cents, Choice, ListOf
from library.api.plumbing.references import Ref
from library.api.plumbing.schemas import RequestSchema
from library.api.plumbing.texts import Lines
from library.extensions import db
from library.models import AccountEntry, Branch, Loan, PaymentMethod, User
from library.rules import accounts, losses

blp = Blueprint("accounts", "account", "Money")
ENTRY = "/account-entries/{0.id}"
AMOUNT = "So many cents of the library's currency."
NOTE = "What the desk wants to remember of it."
WHY = "Why; it stands in the ledger, and the patron can read it."


class TillSchema(RequestSchema):
    """Money changes hands at a desk."""

    branch_id = Ref(Branch, metadata={"description": "The desk's branch; the actor's home branch if absent."})


class ChargeInputSchema(TillSchema):
    """What a patron is charged by hand."""

    example: dict[str, Any] | None = {"patron_id": 3, "amount_cents": 250, "note": "New card"}

    patron_id = Ref(User, required=True, metadata={"description": "Who is charged."})
    amount_cents = Cents(1, required=True, metadata={"description": AMOUNT})
    loan_id = Ref(Loan, metadata={"description": "The loan of theirs that it is for."})
    reason = Choice(
        accounts.HandReason, metadata={"description": "`manual` if absent; `replacement` settles a lost copy's loan."}
    )
    note = Lines(500, metadata={"description": NOTE})


class PaymentInputSchema(TillSchema):
    """Money that comes in."""

    example: dict[str, Any] | None = {"patron_id": 3, "amount_cents": 20, "method": "cash"}

    patron_id = Ref(User, required=True, metadata={"description": "Whose account it is paid into."})
    amount_cents = Cents(1, required=True, metadata={"description": AMOUNT})
    method = Choice(
        PaymentMethod, required=True, metadata={"description": "`credit` pays out of what the library owes the patron."}
    )
    charge_ids = ListOf(
        Ref(AccountEntry),
        max_length=50,
        metadata={"description": "The charges that are paid, in this order; else all, the oldest first."},
    )
    note = Lines(500, metadata={"description": NOTE})


class WaiverInputSchema(TillSchema):
    """A charge that a patron is let off."""

    example: dict[str, Any] | None = {"charge_id": 1, "reason": "The branch was closed by flood."}

    charge_id = Ref(AccountEntry, required=True, metadata={"description": "The charge that is let go."})
    amount_cents = Cents(1, metadata={"description": "All that is open if absent."})
    reason = Lines(500, required=True, metadata={"description": WHY})


class RefundInputSchema(TillSchema):
    """Money that goes out."""

    example: dict[str, Any] | None = {"charge_id": 2, "amount_cents": 20, "method": "cash"}

    charge_id = Ref(
        AccountEntry, required=True, metadata={"description": "The charge for which the money was received."}
    )
    amount_cents = Cents(1, required=True, metadata={"description": AMOUNT})
    method = Choice(accounts.PayoutMethod, required=True)
    note = Lines(500, metadata={"description": NOTE})


class ReversalInputSchema(TillSchema):
    """A mistaken entry."""

    example: dict[str, Any] | None = {"entry_id": 1, "reason": "Charged to the wrong patron."}

    entry_id = Ref(AccountEntry, required=True, metadata={"description": "The entry that is taken back."})
    reason = Lines(500, required=True, metadata={"description": WHY})


def settled(settlement: accounts.Settlement) -> AccountEntry:
    """The entry that was written; a lost copy whose charges are settled by it ends its loan."""
    losses.close_settled(db.session, settlement.charge_ids, g.now)
    return settlement.entry


@blp.route("/charges")
class Charges(MethodView):
    @blp.previewed
    @blp.allow("accounts.write")
    @blp.operation("create_charge")
    @blp.obeys(accounts.create_charge)
    @blp.arguments(ChargeInputSchema)
    @blp.response(201, AccountEntrySchema, location=ENTRY)
    def post(self, values: dict[str, Any]) -> AccountEntry:
        """Charge a patron by hand."""
        return accounts.create_charge(db.session, desk(values), now=g.now, **values)


@blp.route("/payments")
class Payments(MethodView):
    @blp.previewed
    @blp.allow("accounts.write")
    @blp.operation("pay")
    @blp.obeys(accounts.pay)
    @blp.arguments(PaymentInputSchema)
    @blp.response(201, AccountEntrySchema, location=ENTRY)
    def post(self, values: dict[str, Any]) -> AccountEntry:
        """Take a payment, never more than is open."""
        charges = values.pop("charge_ids", None)
        return settled(accounts.pay(db.session, desk(values), now=g.now, charges=charges, **values))


@blp.route("/waivers")
class Waivers(MethodView):
    @blp.previewed
    @blp.allow("accounts.write")
    @blp.operation("waive")
    @blp.obeys(accounts.waive)
    @blp.arguments(WaiverInputSchema)
    @blp.response(201, AccountEntrySchema, location=ENTRY)
    def post(self, values: dict[str, Any]) -> AccountEntry:
        """Let a patron off a charge or a part of it."""
        return settled(accounts.waive(db.session, desk(values), now=g.now, **values))


@blp.route("/refunds")
class Refunds(MethodView):
    @blp.previewed
    @blp.allow("accounts.write")
    @blp.operation("refund")
    @blp.obeys(accounts.refund)
    @blp.arguments(RefundInputSchema)
    @blp.response(201, AccountEntrySchema, location=ENTRY)
    def post(self, values: dict[str, Any]) -> AccountEntry:
        """Give money back that was received for a charge."""
        return settled(accounts.refund(db.session, desk(values), now=g.now, **values))


@blp.route("/reversals")
class Reversals(MethodView):
    @blp.previewed
    @blp.allow("accounts.write")
    @blp.operation("reverse")
    @blp.obeys(accounts.reverse)
    @blp.arguments(ReversalInputSchema)
    @blp.response(201, AccountEntrySchema, location=ENTRY)
    def post(self, values: dict[str, Any]) -> AccountEntry:
        """Take a mistaken charge, payment or waiver back."""
        return settled(accounts.reverse(db.session, desk(values), now=g.now, **values))
