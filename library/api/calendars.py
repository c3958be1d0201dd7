"""Calendars: exceptions to opening hours, and a branch's days as they come out."""

from collections.abc import Iterator, Mapping
from datetime import date, timedelta
from typing import Any

import marshmallow as ma
from flask import g
from flask.views import MethodView
from marshmallow_sqlalchemy import auto_field
from sqlalchemy import Select

from library.api.branches import CLOCK
from library.api.plumbing.blueprint import Blueprint
from library.api.plumbing.errors import invalid
from library.api.plumbing.fields import Choice, Day, Fault, Flag, ListOf, Nested, QueryFlag, QueryWhole
from library.api.plumbing.references import Ref
from library.api.plumbing.schemas import QuerySchema, Schema, input_of, patch_of, shown
from library.api.plumbing.texts import Text
from library.extensions import db
from library.models import Branch, CalendarException
from library.rules import calendar, changes

blp = Blueprint("calendar-exceptions", "calendar_exception", "Policies")
MOST_DAYS, USUAL_DAYS = 366, timedelta(days=30)


def _clock(**kwargs: Any) -> Any:
    return auto_field(field_class=Text, min_length=5, pattern=CLOCK, **kwargs)


class CalendarExceptionSchema(Schema):
    """Days on which a branch is closed, or open, out of its usual order; an opening beats every closure."""

    class Meta(Schema.Meta):
        model = CalendarException

    example = {"branch_id": 1, "from_on": "2026-12-24", "to_on": "2027-01-01", "reason": "Between the years"}
    shown_example = {"is_open": False}
    id = shown()
    branch_id = Ref(Branch, allow_none=True, metadata={"description": "null: all branches."})
    from_on = auto_field()
    to_on = auto_field()
    is_open = auto_field()
    opens = _clock()
    closes = _clock()
    reason = auto_field()


def _faults(values: Mapping[str, Any]) -> Iterator[tuple[str, Fault]]:
    """What is wrong with an exception as a whole, by member."""
    opens, closes = values.get("opens"), values.get("closes")
    if values["to_on"] < values["from_on"]:
        yield "to_on", Fault("The last day does not lie before the first.", "out_of_range")
    if (opens is None) != (closes is None):
        yield "opens" if opens is None else "closes", Fault("Name both hours, or neither.", "required")
    elif opens is not None and opens >= closes:
        yield "closes", Fault("A branch closes after it opens.", "out_of_range")
    if opens is not None and not values.get("is_open"):
        yield "opens", Fault("Days that are closed have no hours.", "conflict")


class CalendarExceptionInputSchema(input_of(CalendarExceptionSchema)):  # type: ignore[misc]
    """Days that are closed, or open with hours of their own."""

    @ma.validates_schema
    def _makes_sense(self, data: dict[str, Any], **_: Any) -> None:
        faults = {name: [fault] for name, fault in _faults(data)}
        if faults:
            raise ma.ValidationError(faults)


class CalendarExceptionPatchSchema(patch_of(CalendarExceptionSchema)):  # type: ignore[misc]
    """What changes of an exception."""

    example: dict[str, Any] | None = {"to_on": "2027-01-03"}


class CalendarExceptionQuerySchema(QuerySchema):
    """How exceptions are narrowed."""

    branch_id = QueryWhole(1, metadata={"description": "Those of this branch alone."})
    is_open = QueryFlag(metadata={"description": "Only days that are open, or only days that are closed."})
    from_on = Day(metadata={"description": "Those that reach to this day or beyond."})
    to_on = Day(metadata={"description": "Those that begin by this day."})


class HoursSchema(ma.Schema):
    """One span of opening, in the branch's local time."""

    opens = Text(5, metadata={"description": "From then on.", "example": "09:00"})
    closes = Text(5, metadata={"description": "24:00 is the end of the day.", "example": "18:00"})


class OpenDaySchema(ma.Schema):
    """One day of a branch as it comes out."""

    on = Day(metadata={"description": "The local day."})
    is_open = Flag(metadata={"description": "Whether the branch is open on it at all."})
    hours = ListOf(Nested(HoursSchema), metadata={"description": "In order; none where it is closed."})
    why = Choice(calendar.DayReason, metadata={"description": "Usual hours, a weekday without any, or an exception."})
    reason = Text(200, allow_none=True, metadata={"description": "What is written of the exception."})


class OpenDaysQuerySchema(QuerySchema):
    """Which days are asked."""

    from_on = Day(metadata={"description": "First day; today at the branch if absent."})
    to_on = Day(metadata={"description": f"Last day, of {MOST_DAYS} at most; 30 days after the first if absent."})


@blp.route("/calendar-exceptions")
class CalendarExceptions(MethodView):
    @blp.allow("catalogue.read")
    @blp.arguments(CalendarExceptionQuerySchema, location="query")
    @blp.lists(CalendarExceptionSchema, calendar.EXCEPTION_SORTS, usual="from_on")
    def get(self, filters: dict[str, Any]) -> Select[Any]:
        """List exceptions to opening hours."""
        return calendar.find_exceptions(**filters)

    @blp.allow("calendar.write")
    @blp.obeys(changes.save)
    @blp.arguments(CalendarExceptionInputSchema)
    @blp.response(201, CalendarExceptionSchema)
    def post(self, values: dict[str, Any]) -> CalendarException:
        """Close branches for some days, or open them out of their usual order."""
        exception = CalendarException()
        changes.save(db.session, exception, values)
        return exception


@blp.route("/calendar-exceptions/<id:calendar_exception_id>")
class CalendarExceptionById(MethodView):
    @blp.allow("catalogue.read")
    @blp.finds(CalendarException)
    @blp.response(200, CalendarExceptionSchema)
    def get(self, exception: CalendarException) -> CalendarException:
        """Read an exception."""
        return exception

    @blp.allow("calendar.write")
    @blp.finds(CalendarException)
    @blp.obeys(changes.save)
    @blp.arguments(CalendarExceptionPatchSchema)
    @blp.response(200, CalendarExceptionSchema)
    def patch(self, exception: CalendarException, values: dict[str, Any]) -> CalendarException:
        """Change an exception."""
        members = ("from_on", "to_on", "is_open", "opens", "closes")
        merged = {name: getattr(exception, name) for name in members} | values
        faults = {name: [fault] for name, fault in _faults(merged)}
        if faults:
            raise invalid(faults, "json")
        changes.save(db.session, exception, values)
        return exception

    @blp.allow("calendar.write")
    @blp.finds(CalendarException)
    @blp.obeys(changes.delete)
    @blp.response(204)
    def delete(self, exception: CalendarException) -> None:
        """Delete an exception."""
        changes.delete(db.session, exception)


@blp.route("/branches/<id:branch_id>/days")
class DaysOfBranch(MethodView):
    @blp.allow("catalogue.read")
    @blp.operation("list_open_days")
    @blp.finds(Branch)
    @blp.arguments(OpenDaysQuerySchema, location="query")
    @blp.response(200, OpenDaySchema(many=True))
    def get(self, branch: Branch, asked: dict[str, date]) -> list[calendar.OpenDay]:
        """The days of a branch as they come out: open or closed, hours, why."""
        first = asked.get("from_on", calendar.local_day(g.now, branch.time_zone))
        last = asked.get("to_on", first + USUAL_DAYS)
        if not 0 <= (last - first).days < MOST_DAYS:
            fault = Fault(f"Ask for 1 to {MOST_DAYS} days from {first.isoformat()} on.", "out_of_range")
            raise invalid({"to_on": [fault]}, "query")
        days = calendar.load(db.session, [branch])[branch.id]
        return [days.on(first + timedelta(days=number)) for number in range((last - first).days + 1)]
