"""The patron's page: profile, what stands against them, loans, holds and money in one call."""

from typing import Any

import marshmallow as ma
from flask import current_app, g
from flask.views import MethodView

from library.api.blocks import BlockSchema
from library.api.holds import HoldSchema
from library.api.ledger import AccountSchema
from library.api.loans import LoanSchema
from library.api.plumbing.blueprint import Blueprint
from library.api.plumbing.errors import Problem, refusal_errors
from library.api.plumbing.fields import Nested
from library.api.plumbing.gate import actor
from library.api.plumbing.problem import ProblemErrorSchema
from library.api.plumbing.schemas import QuerySchema
from library.api.plumbing.texts import Text
from library.api.users import UserSchema
from library.extensions import db
from library.models import User
from library.rules import summaries, users

blp = Blueprint("summaries", "summary", "People")


class SummaryLoanSchema(LoanSchema):
    """A loan with what a screen wants to show of it."""

    shown_example = {**LoanSchema.shown_example, "title": "Moby-Dick", "copy_barcode": "B00006"}

    title = Text(2000, dump_only=True, attribute="copy.book.title", metadata={"description": "Title of the book."})
    copy_barcode = Text(50, dump_only=True, attribute="copy.barcode", metadata={"description": "Barcode of the copy."})


class SummaryHoldSchema(HoldSchema):
    """A hold with what a screen wants to show of it."""

    shown_example = {**HoldSchema.shown_example, "title": "Moby-Dick", "pickup_branch": "Main Library"}

    title = Text(2000, dump_only=True, attribute="book.title", metadata={"description": "Title of the book."})
    pickup_branch = Text(  # type: ignore[assignment]
        100, dump_only=True, attribute="pickup_branch.name", metadata={"description": "Where it is collected."}
    )


class SummarySchema(ma.Schema):
    """The patron's page."""

    user = Nested(UserSchema)
    blocks = ma.fields.List(ma.fields.Nested(BlockSchema), metadata={"description": "What staff bar the patron from."})
    against = ma.fields.List(
        ma.fields.Nested(ProblemErrorSchema),
        metadata={"description": "What stops loans, renewals or holds now: blocks, debts, limits that are reached."},
    )
    loans = Nested(SummaryLoanSchema, many=True, metadata={"description": "Open loans, the first due first."})
    holds = Nested(SummaryHoldSchema, many=True, metadata={"description": "Open holds, the first placed first."})
    account = Nested(AccountSchema)


class CardQuerySchema(QuerySchema):
    """The card that was scanned."""

    card_barcode = Text(50, required=True, metadata={"description": "The card that was scanned.", "example": "P0001"})


def page_of(user: User) -> dict[str, Any]:
    """The page of a patron, as the schema shows it."""
    may_borrow = current_app.config["SELF_REGISTERED_MAY_BORROW"]
    summary = summaries.summary_of(db.session, user, g.now, may_borrow)
    return vars(summary) | {"against": refusal_errors(summary.against)}


@blp.route("/users/me/summary")
class MySummary(MethodView):
    @blp.allow("summary.own")
    @blp.operation("get_my_summary")
    @blp.response(200, SummarySchema)
    def get(self) -> dict[str, Any]:
        """Read one's own page: loans, holds, money, and what stands against one."""
        return page_of(actor())


@blp.route("/users/summary")
class SummaryByCard(MethodView):
    @blp.allow("summary.read")
    @blp.operation("get_summary_by_card")
    @blp.fails(404)
    @blp.arguments(CardQuerySchema, location="query")
    @blp.response(200, SummarySchema)
    def get(self, query: dict[str, Any]) -> dict[str, Any]:
        """Read the page of the patron whose card was scanned."""
        user = db.session.scalars(users.find_users(actor(), card_barcode=query["card_barcode"])).one_or_none()
        if user is None:
            raise Problem(404, "There is no patron with this card barcode.")
        return page_of(user)
