"""Orders: drafts of what to buy."""

from typing import Any

import marshmallow as ma
from flask import g
from flask.views import MethodView
from marshmallow_sqlalchemy import auto_field
from sqlalchemy import Select

from library.api.books import BookSchema
from library.api.plumbing.blueprint import Blueprint
from library.api.plumbing.expansion import Expanded
from library.api.plumbing.fields import Choice, Id, ListOf, Nested, QueryFlag, Whole
from library.api.plumbing.gate import actor
from library.api.plumbing.references import QueryRef, Ref
from library.api.plumbing.schemas import QuerySchema, RequestSchema, Schema, shown
from library.api.plumbing.texts import Lines
from library.api.users import UserSchema
from library.extensions import db
from library.models import Book, Order, OrderLine, OrderStatus, User
from library.rules import catalogue, changes, orders

blp = Blueprint("orders", "order", "Acquisitions")
MOST_COPIES = 10_000


class OrderLineSchema(Schema):
    """So many copies of one book."""

    class Meta(Schema.Meta):
        model = OrderLine

    example = {"book_id": 1, "quantity": 2}
    id = shown()
    book_id = Id()
    quantity = auto_field()
    book = Expanded(BookSchema, Book, catalogue.book_parts())


class OrderSchema(Schema):
    """A draft of wanted books."""

    class Meta(Schema.Meta):
        model = Order

    id = shown()
    user_id = Id(metadata={"description": "Who wrote the order."})
    status = auto_field()
    note = auto_field(field_class=Lines)
    lines = ListOf(Nested(OrderLineSchema), metadata={"description": "What is wanted, and how many of it."})
    created_at = shown()
    updated_at = shown()
    user = Expanded(UserSchema, User)


class OrderLineInputSchema(RequestSchema):
    """A wanted book and how many copies of it."""

    book_id = Ref(Book, required=True)
    quantity = Whole(1, MOST_COPIES, required=True, metadata={"description": "How many copies."})

    @ma.post_load
    def _pair(self, data: dict[str, Any], **_: Any) -> tuple[Book, int]:
        return data["book"], data["quantity"]


class OrderPatchSchema(RequestSchema):
    """What changes of a draft; lines that are named replace all."""

    example: dict[str, Any] | None = {"note": "For the new branch.", "lines": [{"book_id": 1, "quantity": 2}]}

    note = Lines(2000, allow_none=True, metadata={"description": "What whoever buys should know."})
    lines = ListOf(Nested(OrderLineInputSchema), metadata={"description": "All that is wanted; no book twice."})


class OrderInputSchema(OrderPatchSchema):
    """A draft; lines may come with it."""


class OrderQuerySchema(QuerySchema):
    """How orders are narrowed; a patron sees their own only."""

    mine = QueryFlag(metadata={"description": "Only the actor's own."})
    user_id = QueryRef(User, metadata={"description": "Orders that this user wrote."})
    status = Choice(OrderStatus, metadata={"description": "How far the order has come."})


@blp.route("/orders")
class Orders(MethodView):
    @blp.allow("orders.read")
    @blp.arguments(OrderQuerySchema, location="query")
    @blp.lists(OrderSchema, orders.ORDER_SORTS)
    def get(self, filters: dict[str, Any]) -> Select[Any]:
        """List orders."""
        if filters.pop("mine", False):
            return orders.find_orders(actor(), **filters).where(Order.user_id == actor().id)
        return orders.find_orders(actor(), **filters)

    @blp.allow("orders.write")
    @blp.arguments(OrderInputSchema)
    @blp.response(201, OrderSchema)
    def post(self, values: dict[str, Any]) -> Order:
        """Write a draft of an order."""
        return orders.save_order(db.session, Order(user_id=actor().id), {"lines": []} | values, g.now)


@blp.route("/users/<id:user_id>/orders", examples={"user_id": 2})
class OrdersOfUser(MethodView):
    @blp.allow("orders.read")
    @blp.operation("list_orders_of_user")
    @blp.finds(User)
    @blp.lists(OrderSchema, orders.ORDER_SORTS)
    def get(self, user: User) -> Select[Any]:
        """List the orders of one user."""
        return orders.find_orders(actor(), user_id=user.id)


@blp.route("/orders/<id:order_id>")
class OrderById(MethodView):
    @blp.allow("orders.read")
    @blp.finds(Order)
    @blp.response(200, OrderSchema, expands=True)
    def get(self, order: Order) -> Order:
        """Read an order."""
        return order

    @blp.allow("orders.write")
    @blp.finds(Order)
    @blp.arguments(OrderPatchSchema)
    @blp.response(200, OrderSchema)
    def patch(self, order: Order, values: dict[str, Any]) -> Order:
        """Change a draft."""
        return orders.save_order(db.session, order, values, g.now)

    @blp.allow("orders.write")
    @blp.finds(Order)
    @blp.obeys(changes.delete)
    @blp.response(204)
    def delete(self, order: Order) -> None:
        """Delete a draft."""
        changes.delete(db.session, order)
