"""Money: what a patron owes, the entries of the ledger, and what the desk writes into it."""

from typing import Any

import marshmallow as ma
from flask import g
from flask.views import MethodView
from sqlalchemy import Select

from library.api.desk import desk
from library.api.plumbing.blueprint import Blueprint
from library.api.plumbing.fields import Cents, Choice, Id, ListOf, Nested, QueryFlag, Whole
from library.api.plumbing.gate import actor
from library.api.plumbing.references import QueryRef, Ref
from library.api.plumbing.schemas import QuerySchema, RequestSchema, Schema, shown
from library.api.plumbing.texts import Lines, Text
from library.extensions import db
from library.models import AccountEntry, Branch, EntryKind, Loan, PaymentMethod, User
from library.rules import accounts, ledger, losses, policies, running
from library.rules.policies import Unit

blp = Blueprint("account-entries", "account_entry", "Money")
ENTRY = "/account-entries/{0.id}"
# Sums of many entries: wider than one amount, and still exact for every client.
FURTHEST_SUM = 2**53 - 1


def total(description: str) -> Whole:
    """A sum of cents that is shown."""
    return Whole(-FURTHEST_SUM, FURTHEST_SUM, dump_only=True, metadata={"description": description})


class ChargeStepSchema(ma.Schema):
    """One line of how a fine was computed."""

    step = Text(30, metadata={"description": "`late`, `grace`, `charged_before`, `rate`, `fine_cap`, `price_cap` …"})
    per = Choice(Unit, allow_none=True)
    count = Whole(0, allow_none=True, metadata={"description": "So many days or hours."})
    cents = Cents(allow_none=True, metadata={"description": "Cents for each, or the limit that is applied."})
    amount_cents = total("What the fine stands at after this line.")


class AllocationSchema(ma.Schema):
    """How much of a charge an entry settles; below zero where it takes that back."""

    entry_id = Id()
    charge_id = Id()
    amount_cents = Whole()


class AccountEntrySchema(Schema):
    """A line of the ledger; it never changes, a mistake is reversed by another line."""

    class Meta(Schema.Meta):
        model = AccountEntry

    id = shown(attribute="entry.id")
    patron_id = Id(dump_only=True, attribute="entry.patron_id")
    kind = shown(attribute="entry.kind")
    amount_cents = shown(attribute="entry.amount_cents")
    reason = shown(attribute="entry.reason")
    method = shown(attribute="entry.method")
    reverses_id = Id(dump_only=True, allow_none=True, attribute="entry.reverses_id")
    loan_id = Id(dump_only=True, allow_none=True, metadata={"description": "The loan that led to a charge."})
    branch_id = Id(dump_only=True, allow_none=True, attribute="entry.branch_id")
    actor_id = Id(
        dump_only=True, allow_none=True, attribute="entry.actor_id", metadata={"description": "Who wrote it."}
    )
    note = shown(attribute="entry.note")
    steps = ListOf(Nested(ChargeStepSchema), dump_only=True, allow_none=True, attribute="entry.steps")
    made_at = shown(attribute="entry.made_at")
    open_cents = Cents(
        dump_only=True, allow_none=True, metadata={"description": "What is still owed of a charge; else null."}
    )
    allocations = ListOf(
        Nested(AllocationSchema),
        dump_only=True,
        metadata={"description": "What the entry settles, or what settles the charge."},
    )

    @ma.pre_dump(pass_collection=True)
    def _complete(self, data: Any, many: bool, **_: Any) -> Any:
        lines = ledger.lines_of(db.session, data if many else [data])
        return lines if many else lines[0]


class AccountSchema(ma.Schema):
    """What a patron owes, and what the library owes them."""

    patron_id = Id()
    balance_cents = total("What is owed; below zero where the library owes. Running fines are not in it.")
    credit_cents = total("What was paid beyond what is charged.")
    running_fines_cents = total("What the overdue loans would cost if they came back now.")
    open_charges = Nested(AccountEntrySchema, many=True)


class EntryQuerySchema(QuerySchema):
    """How entries are narrowed; a patron sees their own only."""

    patron_id = QueryRef(User)
    kind = Choice(EntryKind)
    is_open = QueryFlag(data_key="open", metadata={"description": "Only charges that are not settled yet, or are."})


class TillSchema(RequestSchema):
    """Money changes hands at a desk."""

    branch_id = Ref(Branch, metadata={"description": "The desk's branch; the actor's home branch if absent."})


class ChargeInputSchema(TillSchema):
    """What a patron is charged by hand."""

    example: dict[str, Any] | None = {"patron_id": 7, "amount_cents": 250, "note": "New card"}

    patron_id = Ref(User, required=True)
    amount_cents = Cents(1, required=True)
    loan_id = Ref(Loan, metadata={"description": "The loan of theirs that it is for."})
    reason = Choice(
        accounts.HandReason, metadata={"description": "`manual` if absent; `replacement` settles a lost copy's loan."}
    )
    note = Lines(500)


class PaymentInputSchema(TillSchema):
    """Money that comes in."""

    example: dict[str, Any] | None = {"patron_id": 7, "amount_cents": 250, "method": "cash"}

    patron_id = Ref(User, required=True)
    amount_cents = Cents(1, required=True)
    method = Choice(
        PaymentMethod, required=True, metadata={"description": "`credit` pays out of what the library owes the patron."}
    )
    charge_ids = ListOf(
        Ref(AccountEntry),
        max_length=50,
        metadata={"description": "The charges that are paid, in this order; else all, the oldest first."},
    )
    note = Lines(500)


class WaiverInputSchema(TillSchema):
    """A charge that a patron is let off."""

    example: dict[str, Any] | None = {"charge_id": 12, "reason": "The branch was closed by flood."}

    charge_id = Ref(AccountEntry, required=True)
    amount_cents = Cents(1, metadata={"description": "All that is open if absent."})
    reason = Lines(500, required=True)


class RefundInputSchema(TillSchema):
    """Money that goes out."""

    example: dict[str, Any] | None = {"charge_id": 12, "amount_cents": 250, "method": "cash"}

    charge_id = Ref(AccountEntry, required=True)
    amount_cents = Cents(1, required=True)
    method = Choice(accounts.PayoutMethod, required=True)
    note = Lines(500)


class ReversalInputSchema(TillSchema):
    """A mistaken entry."""

    example: dict[str, Any] | None = {"entry_id": 12, "reason": "Charged to the wrong patron."}

    entry_id = Ref(AccountEntry, required=True)
    reason = Lines(500, required=True)


def settled(settlement: accounts.Settlement) -> AccountEntry:
    """The entry that was written; a lost copy whose charges are settled by it ends its loan."""
    losses.close_settled(db.session, settlement.charge_ids, g.now)
    return settlement.entry


@blp.route("/accounts/<id:user_id>")
class AccountById(MethodView):
    @blp.allow("accounts.read")
    @blp.operation("get_account")
    @blp.finds(User)
    @blp.response(200, AccountSchema)
    def get(self, user: User) -> ledger.Account:
        """Read what a patron owes."""
        late = db.session.scalars(running.overdue_loans(g.now).where(Loan.patron_id == user.id)).all()
        fines = running.fines_of(db.session, late, policies.load(db.session), g.now)
        return ledger.account_of(db.session, user.id, sum(fine.cents for fine in fines.values()))


@blp.route("/account-entries")
class AccountEntries(MethodView):
    @blp.allow("accounts.read")
    @blp.arguments(EntryQuerySchema, location="query")
    @blp.lists(AccountEntrySchema, ledger.ENTRY_SORTS)
    def get(self, filters: dict[str, Any]) -> Select[Any]:
        """List the entries of the ledger."""
        return ledger.find_entries(actor(), **filters)


@blp.route("/account-entries/<id:entry_id>")
class AccountEntryById(MethodView):
    @blp.allow("accounts.read")
    @blp.finds(AccountEntry)
    @blp.response(200, AccountEntrySchema)
    def get(self, entry: AccountEntry) -> AccountEntry:
        """Read an entry of the ledger."""
        return entry


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
