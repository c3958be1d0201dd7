"""Holds: who waits for what, until when, and where it is collected."""

from collections.abc import Sequence
from typing import Any

import marshmallow as ma
from flask import g
from flask.views import MethodView
from sqlalchemy import Select

from library.api.books import BookSchema
from library.api.branches import BranchSchema
from library.api.copies import CopySchema
from library.api.desk import ConsentSchema, RouteSchema, desk
from library.api.plumbing.blueprint import Blueprint
from library.api.plumbing.errors import invalid, refusal_errors
from library.api.plumbing.expansion import Expanded
from library.api.plumbing.fields import Choice, Day, Fault, Flag, Id, Nested, QueryWhole
from library.api.plumbing.gate import actor
from library.api.plumbing.previews import Rendered
from library.api.plumbing.problem import ProblemErrorSchema
from library.api.plumbing.references import QueryRef, Ref
from library.api.plumbing.schemas import QuerySchema, RequestSchema, Schema, shown
from library.api.plumbing.texts import Text
from library.api.users import UserSchema
from library.extensions import db
from library.models import Book, Branch, Copy, Hold, HoldState, User
from library.rules import catalogue, holds, queues
from library.rules.access import is_staff

blp = Blueprint("holds", "hold", "Holds")
LAST_DAY = {"description": "Last local day on which it is wanted."}
PICKUP = {"description": "The branch where it is collected; the patron's home branch if absent."}


class HoldSchema(Schema):
    """One patron's wish for a book, or for one copy of it."""

    class Meta(Schema.Meta):
        model = Hold

    shown_example = {"patron_id": 3, "position": 2, "queue_length": 5, "suspended": False, "time_zone": "Europe/Berlin"}
    id = shown()
    patron_id = Id(
        dump_only=True, allow_none=True, metadata={"description": "Who waits; null once the history has been cut."}
    )
    book_id = Id(dump_only=True)
    copy_id = Id(dump_only=True, allow_none=True, metadata={"description": "The copy asked for; null is any."})
    assigned_copy_id = Id(
        dump_only=True, allow_none=True, metadata={"description": "The copy that travels or is set aside for it."}
    )
    pickup_branch_id = Id(dump_only=True, metadata={"description": "Where it is collected."})
    state = shown()
    position = Id(
        dump_only=True, allow_none=True, metadata={"description": "Its place in the queue; null once it has left it."}
    )
    queue_length = Id(dump_only=True, allow_none=True, metadata={"description": "How many wait in that queue."})
    placed_at = shown()
    not_needed_after = shown()
    suspended = shown()
    suspended_until = shown()
    ready_at = shown()
    shelf_until_at = shown()
    shelf_until_on = shown()
    time_zone = shown()
    ended_at = shown()
    ended_why = shown()
    end_reason = shown()
    book = Expanded(BookSchema, Book, catalogue.book_parts())
    copy = Expanded(CopySchema, Copy)
    assigned_copy = Expanded(CopySchema, Copy)
    patron = Expanded(UserSchema, User)
    pickup_branch = Expanded(BranchSchema, Branch)

    @ma.pre_dump(pass_collection=True)
    def _count(self, rows: Any, many: bool, **_: Any) -> Any:
        """Look up all places at once: a page costs as many statements as one hold."""
        several = list(rows) if many else [rows]
        waiting = {hold.book_id for hold in several if hold.state is HoldState.QUEUED}
        places = queues.positions(db.session, waiting) if waiting else {}
        for hold in several:
            hold.position, hold.queue_length = places.get(hold.id, (None, None))
        return several if many else several[0]


class HoldInputSchema(ConsentSchema):
    """A new hold; a patron places it for themselves."""

    example: dict[str, Any] | None = {"book_id": 1, "patron_id": 3, "pickup_branch_id": 1}

    book_id = Ref(Book, required=True, metadata={"description": "The book that is wanted."})
    copy_id = Ref(Copy, metadata={"description": "Only this copy will do."})
    patron_id = Ref(User, metadata={"description": "Who waits; oneself if absent. Staff name somebody."})
    # A branch that is not there is one of the reasons of the refusal, told together with the others.
    pickup_branch_id = Id(metadata=PICKUP)
    not_needed_after = Day(metadata=LAST_DAY)


class HoldPatchSchema(RequestSchema):
    """What changes of a hold."""

    example: dict[str, Any] | None = {"suspended_until": "2035-01-31"}

    pickup_branch_id = Id(metadata={"description": "Not once it is ready."})
    not_needed_after = Day(allow_none=True, metadata=LAST_DAY)
    suspended = Flag(metadata={"description": "Keeps its place in the queue and is passed over."})
    suspended_until = Day(allow_none=True, metadata={"description": "Last local day of the suspension; suspends."})

    @ma.validates_schema
    def _one_will(self, data: dict[str, Any], **_: Any) -> None:
        if data.get("suspended") is False and data.get("suspended_until"):
            raise ma.ValidationError(Fault("What is resumed has no end of suspension.", "conflict"), "suspended_until")


class HoldQuerySchema(QuerySchema):
    """How holds are narrowed; a patron sees their own only."""

    state = Choice(HoldState, metadata={"description": "How far the hold has come."})
    patron_id = QueryRef(User, metadata={"description": "Who waits."})
    book_id = QueryWhole(1, metadata={"description": "Holds on this book."})
    pickup_branch_id = QueryWhole(1, metadata={"description": "Where it is to be collected."})


class CancellationSchema(RequestSchema):
    """Why a hold is no longer wanted."""

    example: dict[str, Any] | None = {"reason": "Bought it."}

    reason = Text(200, metadata={"description": "Why, for whoever asks later."})


class CancelledHoldSchema(ma.Schema):
    """A hold that was cancelled, and where its copy goes now."""

    hold = Nested(HoldSchema)
    route = Nested(RouteSchema, allow_none=True, metadata={"description": "Null where no copy was set aside."})


class ResumptionSchema(RequestSchema):
    """Whose holds."""

    example: dict[str, Any] | None = {"patron_id": 3}

    patron_id = Ref(User, metadata={"description": "Whose; oneself if absent. Staff name somebody."})


class SuspensionSchema(ResumptionSchema):
    """Whose holds are passed over, and until when."""

    example: dict[str, Any] | None = {"patron_id": 3, "until_on": "2035-01-31"}

    until_on = Day(allow_none=True, metadata={"description": "Last local day of it; without end if absent."})


class HoldVerdictSchema(ma.Schema):
    """What became of one of several holds."""

    shown_example = {"index": 0}

    index = ma.fields.Integer(metadata={"description": "Its number in the answer, from 0."})
    ok = Flag(metadata={"description": "Whether it was changed."})
    hold = Rendered(HoldSchema)
    errors = ma.fields.List(ma.fields.Nested(ProblemErrorSchema), metadata={"description": "Every reason against it."})


class HoldVerdictsSchema(ma.Schema):
    """A verdict for each hold."""

    results = ma.fields.List(ma.fields.Nested(HoldVerdictSchema))


def whose(values: dict[str, Any]) -> User:
    """The patron that a body names; patrons mean themselves, staff must name somebody (422)."""
    patron = values.pop("patron", None)
    if patron is None and is_staff(actor()):
        raise invalid({"patron_id": [Fault("Name the patron.", "required")]}, "json")
    return patron or actor()


def _told(verdicts: Sequence[holds.Verdict]) -> dict[str, Any]:
    shown_holds = HoldSchema(many=True).dump([verdict.hold for verdict in verdicts])
    rows = enumerate(zip(verdicts, shown_holds, strict=True))
    return {
        "results": [
            {"index": index, "ok": not verdict.reasons, "hold": hold, "errors": refusal_errors(verdict.reasons)}
            for index, (verdict, hold) in rows
        ]
    }


@blp.route("/holds")
class Holds(MethodView):
    @blp.allow("holds.read")
    @blp.arguments(HoldQuerySchema, location="query")
    @blp.lists(HoldSchema, queues.HOLD_SORTS)
    def get(self, filters: dict[str, Any]) -> Select[Any]:
        """List holds: one's own, or all at the desk."""
        return queues.find_holds(actor(), **filters)

    @blp.previewed
    @blp.allow("holds.write")
    @blp.operation("place_hold")
    @blp.obeys(holds.place_hold)
    @blp.arguments(HoldInputSchema)
    @blp.response(201, HoldSchema)
    def post(self, values: dict[str, Any]) -> Hold:
        """Place a hold on a book, or on one copy of it."""
        return holds.place_hold(db.session, desk(values, anywhere=True), whose(values), now=g.now, **values)


@blp.route("/holds/<id:hold_id>")
class HoldById(MethodView):
    @blp.allow("holds.read")
    @blp.finds(Hold)
    @blp.response(200, HoldSchema, expands=True)
    def get(self, hold: Hold) -> Hold:
        """Read a hold."""
        return hold

    @blp.allow("holds.write")
    @blp.finds(Hold, first=holds.lock_queue_of)
    @blp.obeys(holds.change_hold)
    @blp.arguments(HoldPatchSchema)
    @blp.response(200, HoldSchema)
    def patch(self, hold: Hold, values: dict[str, Any]) -> Hold:
        """Change where and until when a hold is wanted; suspend or resume it."""
        return holds.change_hold(db.session, hold, values, g.now)


@blp.route("/holds/<id:hold_id>/cancel")
class CancelHold(MethodView):
    @blp.previewed
    @blp.allow("holds.write")
    @blp.operation("cancel_hold")
    @blp.finds(Hold, first=holds.lock_queue_of)
    @blp.obeys(holds.cancel_hold)
    @blp.arguments(CancellationSchema)
    @blp.response(200, CancelledHoldSchema)
    def post(self, hold: Hold, values: dict[str, Any]) -> holds.Cancelled:
        """Cancel a hold: the copy set aside for it goes to the next in line, or home."""
        return holds.cancel_hold(db.session, desk({}, anywhere=True), hold, g.now, **values)


@blp.route("/holds/suspend")
class SuspendHolds(MethodView):
    @blp.previewed
    @blp.allow("holds.write")
    @blp.operation("suspend_holds")
    @blp.arguments(SuspensionSchema)
    @blp.response(200, HoldVerdictsSchema)
    def post(self, values: dict[str, Any]) -> dict[str, Any]:
        """Suspend all holds of a patron that wait: a verdict for each open hold."""
        return _told(holds.suspend_all(db.session, whose(values), g.now, values.get("until_on")))


@blp.route("/holds/resume")
class ResumeHolds(MethodView):
    @blp.previewed
    @blp.allow("holds.write")
    @blp.operation("resume_holds")
    @blp.arguments(ResumptionSchema)
    @blp.response(200, HoldVerdictsSchema)
    def post(self, values: dict[str, Any]) -> dict[str, Any]:
        """Resume all suspended holds of a patron: a verdict for each."""
        return _told(holds.resume_all(db.session, whose(values)))
