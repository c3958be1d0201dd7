"""Orders as drafts: lists of books the library means to buy."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import Select, select
from sqlalchemy.orm import Session, raiseload, selectinload

from library.models import Book, Order, OrderLine, User
from library.rules import access, changes

ORDER_SORTS = {"created_at": Order.created_at, "updated_at": Order.updated_at}


def save_order(session: Session, order: Order, values: Mapping[str, Any], now: datetime) -> Order:
    """Write a draft, new or known; `lines` [(Book, quantity)] is the whole list that is to stand afterwards."""
    values = dict(values)
    lines = values.pop("lines", None)
    order.updated_at = now
    if order.id is None:
        order.created_at = now
    if lines is not None:
        order.lines = _lines(order, lines)
    changes.save(session, order, values)
    return order


def _lines(order: Order, wanted: Iterable[tuple[Book, int]]) -> list[OrderLine]:
    """The wanted lines; one that stands for the same book already keeps its id."""
    known = {line.book_id: line for line in order.lines}
    lines = []
    for position, (book, quantity) in enumerate(wanted, 1):
        line = known.pop(book.id, None) or OrderLine(book_id=book.id)
        line.quantity, line.position = quantity, position
        lines.append(line)
    return lines


def find_orders(actor: User, **filters: Any) -> Select[Any]:
    """Orders the actor may see, with their lines."""
    statement = select(Order).options(selectinload(Order.lines), raiseload("*")).filter_by(**filters)
    return access.visible(statement, Order, actor)
