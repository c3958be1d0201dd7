"""The ledger: what a patron owes, and the entries it is made of."""

from typing import Any

import marshmallow as ma
from flask import g
from flask.views import MethodView
from sqlalchemy import Select

from library.api.branches import BranchSchema
from library.api.loans import LoanSchema
from library.api.plumbing.blueprint import Blueprint
from library.api.plumbing.expansion import Expanded
from library.api.plumbing.fields import Cents, Choice, Id, ListOf, Nested, QueryFlag, Whole
from library.api.plumbing.gate import actor
from library.api.plumbing.references import QueryRef
from library.api.plumbing.schemas import QuerySchema, Schema, lines, shown
from library.api.plumbing.texts import Text
from library.api.users import UserSchema
from library.extensions import db
from library.models import AccountEntry, Branch, EntryKind, Loan, User
from library.rules import ledger, loans, policies, running
from library.rules.policies import Unit

blp = Blueprint("account-entries", "account_entry", "Money")
# Sums of many entries: wider than one amount, and still exact for every client.
FURTHEST_SUM = 2**53 - 1


def total(description: str) -> Whole:
    """A sum of cents that is shown."""
    return Whole(-FURTHEST_SUM, FURTHEST_SUM, dump_only=True, metadata={"description": description})


class ChargeStepSchema(ma.Schema):
    """One line of how a fine was computed."""

    example = {"step": "rate", "per": "days", "count": 6, "cents": 20, "amount_cents": 120}

    step = Text(30, metadata={"description": "`late`, `grace`, `charged_before`, `rate`, `fine_cap`, `price_cap` …"})
    per = Choice(Unit, allow_none=True)
    count = Whole(0, allow_none=True, metadata={"description": "So many days or hours."})
    cents = Cents(allow_none=True, metadata={"description": "Cents for each, or the limit that is applied."})
    amount_cents = total("What the fine stands at after this line.")


class AllocationSchema(ma.Schema):
    """How much of a charge an entry settles; below zero where it takes that back."""

    example = {"entry_id": 4, "charge_id": 1, "amount_cents": 120}

    entry_id = Id(metadata={"description": "Key of the entry that settles."})
    charge_id = Id(metadata={"description": "Key of the charge that is settled."})
    amount_cents = Whole(metadata={"description": "So many cents of the charge."})


class AccountEntrySchema(Schema):
    """A line of the ledger; it never changes, a mistake is reversed by another line."""

    class Meta(Schema.Meta):
        model = AccountEntry

    shown_example = {"amount_cents": 120, "reason": "overdue", "loan_id": 102, "branch_id": 1, "open_cents": 0}
    id = shown(attribute="entry.id")
    patron_id = Id(dump_only=True, attribute="entry.patron_id")
    kind = shown(attribute="entry.kind")
    amount_cents = shown(attribute="entry.amount_cents")
    reason = shown(attribute="entry.reason")
    method = shown(attribute="entry.method")
    reverses_id = Id(
        dump_only=True,
        allow_none=True,
        attribute="entry.reverses_id",
        metadata={"description": "Key of the entry that it takes back."},
    )
    loan_id = Id(dump_only=True, allow_none=True, metadata={"description": "The loan that led to a charge."})
    branch_id = Id(
        dump_only=True, allow_none=True, attribute="entry.branch_id", metadata={"description": "Where it was written."}
    )
    actor_id = Id(
        dump_only=True, allow_none=True, attribute="entry.actor_id", metadata={"description": "Who wrote it."}
    )
    note = lines(dump_only=True, attribute="entry.note")
    steps = ListOf(
        Nested(ChargeStepSchema),
        dump_only=True,
        allow_none=True,
        attribute="entry.steps",
        metadata={"description": "How a fine came about, line by line; null where nothing was computed."},
    )
    made_at = shown(attribute="entry.made_at")
    open_cents = Cents(
        dump_only=True, allow_none=True, metadata={"description": "What is still owed of a charge; else null."}
    )
    allocations = ListOf(
        Nested(AllocationSchema),
        dump_only=True,
        metadata={"description": "What the entry settles, or what settles the charge."},
    )
    patron = Expanded(UserSchema, User)
    loan = Expanded(LoanSchema, Loan, loans.loan_parts())
    branch = Expanded(BranchSchema, Branch)

    @ma.pre_dump(pass_collection=True)
    def _complete(self, data: Any, many: bool, **_: Any) -> Any:
        lines = ledger.lines_of(db.session, data if many else [data])
        return lines if many else lines[0]


class AccountSchema(ma.Schema):
    """What a patron owes, and what the library owes them."""

    shown_example = {"balance_cents": 120, "credit_cents": 0, "running_fines_cents": 460}

    patron_id = Id()
    balance_cents = total("What is owed; below zero where the library owes. Running fines are not in it.")
    credit_cents = total("What was paid beyond what is charged.")
    running_fines_cents = total("What the overdue loans would cost if they came back now.")
    open_charges = Nested(
        AccountEntrySchema, many=True, metadata={"description": "The charges that are not settled yet."}
    )


class EntryQuerySchema(QuerySchema):
    """How entries are narrowed; a patron sees their own only."""

    patron_id = QueryRef(User, metadata={"description": "Whose account."})
    kind = Choice(EntryKind, metadata={"description": "Entries of this kind."})
    is_open = QueryFlag(data_key="open", metadata={"description": "Only charges that are not settled yet, or are."})


@blp.route("/accounts/<id:user_id>", examples={"user_id": 3})
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
    @blp.response(200, AccountEntrySchema, expands=True)
    def get(self, entry: AccountEntry) -> AccountEntry:
        """Read an entry of the ledger."""
        return entry
