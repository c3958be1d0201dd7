"""Orders: drafts of lines, each its owner's."""

from datetime import timedelta

import pytest

from library.models import Order, OrderLine
from library.rules import orders


@pytest.fixture
def books(make):
    return [make.book() for _ in range(3)]


def test_a_draft_keeps_its_lines_in_order(session, make, books, now):
    user = make.librarian()
    values = {"user_id": user.id, "note": "soon", "lines": [(books[1], 2), (books[0], 1)]}
    order = orders.save_order(session, Order(), values, now)
    session.commit()
    session.expire_all()
    assert [(line.book_id, line.quantity, line.position) for line in order.lines] == [
        (books[1].id, 2, 1),
        (books[0].id, 1, 2),
    ]
    assert (order.note, order.created_at, order.updated_at, order.version) == ("soon", now, now, 1)


def test_a_line_for_the_same_book_keeps_its_id(session, make, books, now):
    order = make.order(None, books[0], books[1])
    made, kept = order.created_at, order.lines[1].id
    later = now + timedelta(days=1)
    orders.save_order(session, order, {"lines": [(books[2], 1), (books[1], 5)]}, later)
    session.commit()
    session.expire_all()
    assert [(line.book_id, line.quantity) for line in order.lines] == [(books[2].id, 1), (books[1].id, 5)]
    assert order.lines[1].id == kept
    assert (order.created_at, order.updated_at, order.version) == (made, later, 2)
    assert session.query(OrderLine).count() == 2


def test_the_same_book_on_two_lines_stays_two_lines(session, make, books, now):
    order = make.order(None, books[0])
    orders.save_order(session, order, {"lines": [(books[0], 1), (books[0], 2)]}, now)
    session.commit()
    session.expire_all()
    assert [line.quantity for line in order.lines] == [1, 2]


def test_lines_that_are_not_given_stay(session, make, books, now):
    order = make.order(None, *books)
    orders.save_order(session, order, {"note": "x"}, now)
    session.commit()
    assert len(order.lines) == 3
    orders.save_order(session, order, {"lines": []}, now)
    session.commit()
    assert session.query(OrderLine).count() == 0


def test_patrons_see_their_own_orders_with_lines_and_staff_all(session, make, books):
    patron, librarian = make.user(), make.librarian()
    mine, other = make.order(patron, books[0]), make.order(librarian)
    session.expunge_all()
    seen = session.scalars(orders.find_orders(patron)).all()
    assert [(order.id, len(order.lines)) for order in seen] == [(mine.id, 1)]
    assert {order.id for order in session.scalars(orders.find_orders(librarian))} == {mine.id, other.id}
    assert session.scalars(orders.find_orders(patron, user_id=librarian.id)).all() == []
