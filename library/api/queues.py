"""Queues: the order in which holds are served, and what to fetch from the shelves."""

from collections.abc import Callable
from functools import wraps
from typing import Any

import marshmallow as ma
from flask import g
from flask.views import MethodView

from library.api.holds import HoldSchema
from library.api.plumbing.blueprint import Blueprint
from library.api.plumbing.fields import Id, ListOf, Nested
from library.api.plumbing.finding import find
from library.api.plumbing.marks import mark
from library.api.plumbing.references import QueryRef
from library.api.plumbing.rendering import require_match
from library.api.plumbing.schemas import QuerySchema, RequestSchema
from library.api.plumbing.texts import Text
from library.extensions import db
from library.models import Book, Branch
from library.rules import locks, queues

blp = Blueprint("queues", "queue", "Holds")
LONGEST_QUEUE = 10_000


class QueueSchema(ma.Schema):
    """The holds that wait for a book, the first to be served first."""

    book_id = Id()
    holds = Nested(HoldSchema, many=True, metadata={"description": "Who waits, in the order of the queue."})


class QueueInputSchema(RequestSchema):
    """The new order of a queue: exactly the holds that wait in it."""

    example: dict[str, Any] | None = {"hold_ids": [2, 1, 3, 4, 5]}

    hold_ids = ListOf(
        Id(),
        required=True,
        max_length=LONGEST_QUEUE,
        metadata={"description": "Keys of all holds of the queue, the first to be served first."},
    )


class PickListQuerySchema(QuerySchema):
    """Where somebody walks along the shelves."""

    branch_id = QueryRef(Branch, metadata={"description": "The branch whose shelves are meant; all if absent."})


class PickSchema(ma.Schema):
    """A copy to fetch from its shelf, and the hold it is for."""

    example = {"barcode": "B00006", "shelf_mark": "PS 2384 .M6", "title": "Moby-Dick"}

    copy_id = Id(attribute="copy.id")
    barcode = Text(50, attribute="copy.barcode", metadata={"description": "Barcode on the copy."})
    shelf_mark = Text(
        100, attribute="copy.shelf_mark", allow_none=True, metadata={"description": "Where on the shelves."}
    )
    branch_id = Id(attribute="copy.current_branch_id", metadata={"description": "Where it stands."})
    book_id = Id(attribute="copy.book_id")
    title = Text(2000, attribute="copy.book.title", metadata={"description": "Title of the book."})
    hold_id = Id(attribute="hold.id")
    patron_id = Id(attribute="hold.patron_id")
    pickup_branch_id = Id(attribute="hold.pickup_branch_id", metadata={"description": "Where it is wanted."})


def _finds_queue(view: Callable[..., Any]) -> Callable[..., Any]:
    """Hand the view the book in the path; `If-Match` is held to the version of its queue, which is locked."""

    @wraps(view)
    def found(self: Any, *args: Any, **kwargs: Any) -> Any:
        book = find(Book, id=kwargs.pop("book_id"))
        locks.lock_queue(db.session, book.id)
        # Not the book's own version: who came or left meanwhile would be misplaced.
        require_match(queues.read_queue(db.session, book.id).version)
        return view(self, book, *args, **kwargs)

    return mark(finds=Book, versioned=True)(found)


@blp.route("/books/<id:book_id>/queue", examples={"book_id": 520})
class QueueOfBook(MethodView):
    @blp.allow("holds.queue")
    @blp.operation("get_queue")
    @blp.finds(Book)
    @blp.response(200, QueueSchema)
    def get(self, book: Book) -> queues.Queue:
        """Read the queue of a book: who waits, in which order."""
        return queues.read_queue(db.session, book.id)

    @blp.allow("holds.queue")
    @blp.operation("reorder_queue")
    @_finds_queue
    @blp.obeys(queues.reorder_queue)
    @blp.arguments(QueueInputSchema)
    @blp.response(200, QueueSchema)
    def put(self, book: Book, values: dict[str, Any]) -> queues.Queue:
        """Put the queue of a book in another order, by naming all holds that wait."""
        return queues.reorder_queue(db.session, book, values["hold_ids"])


@blp.route("/reports/pick-list")
class PickList(MethodView):
    @blp.allow("holds.queue")
    @blp.operation("list_pick_list")
    @blp.arguments(PickListQuerySchema, location="query")
    @blp.response(200, PickSchema(many=True))
    def get(self, filters: dict[str, Any]) -> list[queues.Pick]:
        """List the copies to fetch from the shelves, each with the hold it is for."""
        return queues.pick_list(db.session, g.now, filters.get("branch_id"))
