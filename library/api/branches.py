"""Branches and item types: where copies live and of what kind they are."""

from typing import Any

import marshmallow as ma
from marshmallow_sqlalchemy import auto_field

from library.api.plumbing.blueprint import Blueprint
from library.api.plumbing.fields import Cents, Fault, ListOf, Nested, Whole
from library.api.plumbing.nouns import plain_noun
from library.api.plumbing.schemas import RequestSchema, Schema, lines, shown
from library.api.plumbing.texts import Text, TimeZone
from library.models import Branch, ItemType
from library.rules import holdings

branches = Blueprint("branches", "branch", "Holdings")
item_types = Blueprint("item-types", "item_type", "Holdings")
HOURS = "Opening hours by weekday; where none are recorded it is open every day."
CLOCK = r"([01]\d|2[0-3]):[0-5]\d"


class OpeningHoursSchema(RequestSchema):
    """One span of opening on one weekday, in the branch's local time."""

    weekday = Whole(1, 7, required=True, metadata={"description": "1 is Monday, 7 is Sunday (ISO 8601)."})
    opens = Text(5, 5, pattern=CLOCK, required=True, metadata={"description": "From then on.", "example": "09:00"})
    closes = Text(5, 5, pattern=CLOCK, required=True, metadata={"description": "Until then.", "example": "18:00"})

    @ma.validates_schema
    def _in_order(self, data: dict[str, Any], **_: Any) -> None:
        if data["opens"] >= data["closes"]:
            raise ma.ValidationError(Fault("A branch closes after it opens.", "out_of_range"), "closes")


class BranchSchema(Schema):
    """A place of the library."""

    class Meta(Schema.Meta):
        model = Branch

    example = {
        "name": "Castle Branch",
        "time_zone": "Europe/Berlin",
        "hours": [{"weekday": 1, "opens": "09:00", "closes": "18:00"}],
    }
    id = shown()
    name = auto_field()
    time_zone = auto_field(field_class=TimeZone)
    hours = ListOf(
        Nested(OpeningHoursSchema),
        max_length=50,
        metadata={"description": "Opening hours by weekday; where none are recorded it is open every day."},
    )
    pickup_point = auto_field()
    address = lines()


class ItemTypeSchema(Schema):
    """A group of copies for which the same policies hold."""

    class Meta(Schema.Meta):
        model = ItemType

    example = {"name": "Board game", "default_price_cents": 2500}
    shown_example = {"not_for_loan": False}
    id = shown()
    name = auto_field()
    default_price_cents = auto_field(field_class=Cents)
    not_for_loan = auto_field()
    holdable = auto_field()


plain_noun(
    branches,
    Branch,
    BranchSchema,
    read="catalogue.read",
    write="branches.write",
    sorts=holdings.BRANCH_SORTS,
    cached=True,
)
plain_noun(
    item_types,
    ItemType,
    ItemTypeSchema,
    read="catalogue.read",
    write="item_types.write",
    sorts=holdings.ITEM_TYPE_SORTS,
    cached=True,
)
