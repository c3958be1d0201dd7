"""Copies: the physical items."""

from typing import Any

import marshmallow as ma
from flask import g
from flask.views import MethodView
from marshmallow_sqlalchemy import auto_field
from sqlalchemy import Boolean, ColumnElement, Select, bindparam, case

from library.api.books import BookSchema
from library.api.branches import BranchSchema, ItemTypeSchema
from library.api.desk import RouteSchema, desk
from library.api.plumbing.blueprint import Blueprint
from library.api.plumbing.expansion import Expanded
from library.api.plumbing.fields import Cents, Choice, Id, Nested, QueryWhole
from library.api.plumbing.references import Ref
from library.api.plumbing.schemas import QuerySchema, RequestSchema, Schema, patch_of, shown
from library.api.plumbing.texts import Text
from library.extensions import db
from library.models import Book, Branch, Copy, CopyCondition, CopyPlace, ItemType
from library.rules import catalogue, holdings, marking
from library.rules.access import is_staff

blp = Blueprint("copies", "copy", "Holdings")


class StaffText(Text):
    """A text that only staff see: whoever wrote it may have named a patron."""

    def _serialize(self, value: Any, attr: str | None, obj: Any, **kwargs: Any) -> Any:
        return super()._serialize(value, attr, obj, **kwargs) if is_staff(g.actor) else None

    def in_sql(self, column: ColumnElement[str]) -> ColumnElement[str]:
        return case((bindparam("for_staff", callable_=lambda: is_staff(g.actor), type_=Boolean()), column))


class CopySchema(Schema):
    """One physical item; its place and condition change at the desk."""

    class Meta(Schema.Meta):
        model = Copy

    shown_example = {"barcode": "B00006", "shelf_mark": "PS 2384 .M6", "price_cents": 1800, "not_for_loan": False}
    id = shown()
    barcode = auto_field()
    book_id = Id(dump_only=True)
    home_branch_id = Ref(Branch, metadata={"description": "Where it belongs."})
    current_branch_id = Id(dump_only=True, metadata={"description": "Where it is now, or was lent."})
    transit_to_branch_id = Id(
        dump_only=True, allow_none=True, metadata={"description": "Where it travels to; null where it does not."}
    )
    item_type_id = Ref(ItemType, allow_none=True)
    place = shown()
    condition = shown()
    condition_note = StaffText(
        500, dump_only=True, allow_none=True, metadata={"description": "Why it was marked so; null for patrons."}
    )
    shelf_mark = auto_field()
    price_cents = auto_field(field_class=Cents)
    not_for_loan = auto_field()
    check_note = auto_field(field_class=StaffText)
    last_seen_at = shown()
    last_seen_branch_id = Id(dump_only=True, allow_none=True, metadata={"description": "Where it was last scanned."})
    created_at = shown()
    book = Expanded(BookSchema, Book, catalogue.book_parts())
    home_branch = Expanded(BranchSchema, Branch)
    current_branch = Expanded(BranchSchema, Branch)
    item_type = Expanded(ItemTypeSchema, ItemType)


class CopyPatchSchema(patch_of(CopySchema)):  # type: ignore[misc]
    """What the office changes of a copy."""

    example: dict[str, Any] | None = {"shelf_mark": "PS 2384 .M6"}


class CopyInputSchema(CopyPatchSchema):
    """A new copy: the book and its home branch; a barcode is made where none is named."""

    example: dict[str, Any] | None = {"book_id": 1, "home_branch_id": 1, "shelf_mark": "PS 2384 .M6"}

    book_id = Ref(Book, required=True)
    home_branch_id = Ref(Branch, required=True, metadata={"description": "Where it belongs."})


class CopyQuerySchema(QuerySchema):
    """How copies are looked for."""

    barcode = Text(50, metadata={"description": "The copy with exactly this barcode."})
    book_id = QueryWhole(1, metadata={"description": "Copies of this book."})
    place = Choice(CopyPlace, metadata={"description": "Where the copy is."})
    condition = Choice(CopyCondition, metadata={"description": "In what state the copy is."})
    branch_id = QueryWhole(1, metadata={"description": "The branch where the copy is now."})
    home_branch_id = QueryWhole(1, metadata={"description": "The branch that the copy belongs to."})
    item_type_id = QueryWhole(1, metadata={"description": "Copies of this item type."})


@blp.route("/copies")
class Copies(MethodView):
    @blp.allow("catalogue.read")
    @blp.arguments(CopyQuerySchema, location="query")
    @blp.lists(CopySchema, holdings.COPY_SORTS)
    def get(self, filters: dict[str, Any]) -> Select[Any]:
        """List copies."""
        return holdings.find_copies(**filters)

    @blp.allow("copies.write")
    @blp.obeys(holdings.create_copy)
    @blp.arguments(CopyInputSchema)
    @blp.response(201, CopySchema)
    def post(self, values: dict[str, Any]) -> Copy:
        """Create a copy of a book."""
        return holdings.create_copy(db.session, values, g.now)


class MarkSchema(RequestSchema):
    """What condition a copy is in."""

    example: dict[str, Any] | None = {"as": "damaged", "reason": "Coffee on page 12."}

    as_ = Choice(marking.Mark, required=True, data_key="as", attribute="mark_as")
    reason = Text(500, required=True, metadata={"description": "Why; staff see it."})


class MarkedSchema(ma.Schema):
    """A marked copy, and where it goes now."""

    copy = Nested(CopySchema)
    route = Nested(RouteSchema, allow_none=True, metadata={"description": "Null where it stays as it stands."})


@blp.route("/copies/<id:copy_id>", examples={"copy_id": 8})
class CopyById(MethodView):
    @blp.allow("catalogue.read")
    @blp.finds(Copy)
    @blp.response(200, CopySchema, expands=True)
    def get(self, copy: Copy) -> Copy:
        """Read a copy."""
        return copy

    @blp.allow("copies.write")
    @blp.finds(Copy)
    @blp.obeys(holdings.change_copy)
    @blp.arguments(CopyPatchSchema)
    @blp.response(200, CopySchema)
    def patch(self, copy: Copy, values: dict[str, Any]) -> Copy:
        """Change a copy."""
        return holdings.change_copy(db.session, copy, values)

    @blp.allow("copies.write")
    @blp.finds(Copy)
    @blp.obeys(holdings.delete_copy)
    @blp.response(204)
    def delete(self, copy: Copy) -> None:
        """Delete a copy that was never lent."""
        holdings.delete_copy(db.session, copy)


@blp.route("/copies/<id:copy_id>/mark", examples={"copy_id": 8})
class MarkCopy(MethodView):
    @blp.previewed
    @blp.allow("copies.mark")
    @blp.operation("mark_copy")
    @blp.obeys(marking.mark)
    @blp.finds(Copy, first=marking.lock_around)
    @blp.arguments(MarkSchema)
    @blp.response(200, MarkedSchema)
    def post(self, copy: Copy, values: dict[str, Any]) -> marking.Marked:
        """Mark a copy as damaged, missing, withdrawn or usable again."""
        return marking.mark(db.session, desk({}, anywhere=True), copy, now=g.now, **values)
