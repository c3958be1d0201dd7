"""Rows read again under lock, in one order everywhere: patron → copy → loan. SQLite's writers already stand in line."""

from collections.abc import Iterable
from typing import Any, TypeVar

from sqlalchemy import Select, select
from sqlalchemy.orm import Session

from library.models import Base, Copy, Loan, User

Row = TypeVar("Row", bound=Base)


def _locked(session: Session, statement: Select[Any]) -> Row | None:
    # What was loaded before the lock may have changed meanwhile: read it anew.
    return session.scalars(statement.with_for_update().execution_options(populate_existing=True)).one_or_none()


def lock_patron(session: Session, card_barcode: str) -> User | None:
    """The patron with that card, locked until the transaction ends."""
    return _locked(session, select(User).where(User.card_barcode == card_barcode))


def lock_copy(session: Session, barcode: str) -> Copy | None:
    """The copy with that barcode, locked until the transaction ends."""
    return _locked(session, select(Copy).where(Copy.barcode == barcode))


def lock_row(session: Session, row: Row) -> Row | None:
    """A row already at hand, locked and read again; None where it went meanwhile."""
    return _locked(session, select(type(row)).where(type(row).id == row.id))


def hold_still(session: Session, rows: Iterable[Row]) -> None:
    """Rows of one table read again and kept from being changed until the transaction ends; others may do the same."""
    by_id = {row.id: row for row in rows}
    if by_id:
        table = type(next(iter(by_id.values())))
        statement = select(table).where(table.id.in_(by_id)).order_by(table.id).with_for_update(read=True)
        session.scalars(statement.execution_options(populate_existing=True)).all()


def lock_open_loan(session: Session, copy: Copy) -> Loan | None:
    """The open loan of a copy, locked until the transaction ends."""
    return _locked(session, select(Loan).where(Loan.copy_id == copy.id, Loan.closed_at.is_(None)))
