"""Rows read again under lock, in one order everywhere: patron → copy → loan. SQLite's writers already stand in line."""

from collections.abc import Sequence
from typing import Any, TypeVar

from sqlalchemy import Select, select
from sqlalchemy.orm import Session

from library.models import Base, Copy, Generation, Loan, Role, User

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


def lock_found(statement: Select[Any], table: type[Base]) -> Select[Any]:
    """A statement that locks the rows of `table` it finds, and reads them anew."""
    return statement.with_for_update(of=table).execution_options(populate_existing=True)


def lock_catalogue(session: Session) -> None:
    """Let one write the catalogue at a time, from its first look on: books, headings and words change together."""
    session.execute(select(Generation.id).where(Generation.name == "catalogue").with_for_update())


def lock_admins(session: Session) -> Sequence[User]:
    """All active admins, in the order of their keys."""
    admins = select(User).where(User.role == Role.ADMIN, User.active).order_by(User.id)
    return session.scalars(lock_found(admins, User)).all()


def lock_open_loan(session: Session, copy: Copy) -> Loan | None:
    """The open loan of a copy, locked until the transaction ends."""
    return _locked(session, select(Loan).where(Loan.copy_id == copy.id, Loan.closed_at.is_(None)))
