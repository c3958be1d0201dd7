"""Availability: what is free of the books on a screen, and whether the reader may have it."""

from typing import Any

import marshmallow as ma
from flask import current_app, g
from flask.views import MethodView

from library.api.plumbing.blueprint import Blueprint
from library.api.plumbing.errors import invalid, refusal_errors
from library.api.plumbing.fields import Day, Fault, Flag, Id, Nested, QueryList, QueryWhole
from library.api.plumbing.problem import ProblemErrorSchema
from library.api.plumbing.schemas import QuerySchema
from library.extensions import db
from library.rules import availability
from library.rules.access import is_staff
from library.rules.errors import Refusal, Refused

blp = Blueprint("availability", "availability", "Holds")


class AvailabilityQuerySchema(QuerySchema):
    """Which books."""

    ids = QueryList(
        QueryWhole(1),
        required=True,
        max_length=availability.MOST_BOOKS,
        metadata={"description": "Keys of books, the parameter repeated for each.", "example": [1, 2]},
    )


class ShelfSchema(ma.Schema):
    """The copies of a book at one branch."""

    shown_example = {"free": 1, "total": 2}

    branch_id = Id()
    free = ma.fields.Integer(metadata={"description": "How many can be borrowed now."})
    total = ma.fields.Integer(metadata={"description": "How many are there, or were lent there."})


class MaySchema(ma.Schema):
    """Whether something may be done, and if not why."""

    ok = Flag(metadata={"description": "Whether nothing speaks against it now."})
    errors = ma.fields.List(ma.fields.Nested(ProblemErrorSchema), metadata={"description": "Every reason against it."})


class AvailabilitySchema(ma.Schema):
    """What there is of a book."""

    shown_example = {"copies": 2, "queue_length": 0}

    book_id = Id()
    copies = ma.fields.Integer(metadata={"description": "How many copies the library has."})
    branches = Nested(ShelfSchema, many=True, metadata={"description": "Where they are."})
    queue_length = ma.fields.Integer(metadata={"description": "How many wait for it."})
    next_due_on = Day(allow_none=True, metadata={"description": "When the next lent copy is due back."})
    may_hold = Nested(
        MaySchema, allow_none=True, metadata={"description": "For the patron who asks; null for everybody else."}
    )
    may_borrow = Nested(
        MaySchema, allow_none=True, metadata={"description": "For the patron who asks; null for everybody else."}
    )

    @ma.pre_dump
    def _tell(self, found: availability.Availability, **_: Any) -> dict[str, Any]:
        return {
            "book_id": found.book_id,
            "copies": found.copies,
            "branches": found.shelves,
            "queue_length": found.queue_length,
            "next_due_on": found.next_due_on,
            "may_hold": _may(found.against_hold),
            "may_borrow": _may(found.against_loan),
        }


def _may(reasons: list[Refusal] | None) -> dict[str, Any] | None:
    if reasons is None:
        return None
    for reason in reasons:
        # There is no body that they could point into.
        reason.pointer = None
    return {"ok": not reasons, "errors": refusal_errors(Refused(reasons).reasons)}


@blp.route("/books/availability")
class BooksAvailability(MethodView):
    @blp.allow("catalogue.read")
    @blp.operation("get_availability")
    @blp.arguments(AvailabilityQuerySchema, location="query")
    @blp.response(200, AvailabilitySchema(many=True))
    def get(self, asked: dict[str, Any]) -> list[availability.Availability]:
        """Read what is free of up to 100 books, who waits, and what a patron may do."""
        book_ids = list(dict.fromkeys(asked["ids"]))
        if not availability.all_there(db.session, book_ids):
            raise invalid({"ids": [Fault("There is no such book.", "book_not_found")]}, "query")
        patron = g.actor if g.actor is not None and not is_staff(g.actor) else None
        may_borrow = current_app.config["SELF_REGISTERED_MAY_BORROW"]
        return availability.of_books(db.session, book_ids, g.now, patron, may_borrow)
