"""Rows read again under lock, in one order everywhere: patron → book (its queue) → copies → holds → loan → ledger.

SQLite's writers already stand in line. On PostgreSQL the locks are FOR NO KEY UPDATE: rows that only refer to a locked
one (a charge to its patron) are written beside it.
"""

from collections.abc import Sequence
from typing import Any, TypeVar

from sqlalchemy import Select, select
from sqlalchemy.orm import Session

from library.models import Base, Book, Copy, Generation, Hold, Loan, Role, User

Row = TypeVar("Row", bound=Base)


def _locked(session: Session, statement: Select[Any]) -> Row | None:
    # What was loaded before the lock may have changed meanwhile: read it anew.
    return session.scalars(
        statement.with_for_update(key_share=True).execution_options(populate_existing=True)
    ).one_or_none()


def lock_patron(session: Session, card_barcode: str) -> User | None:
    """The patron with that card, locked until the transaction ends."""
    return _locked(session, select(User).where(User.card_barcode == card_barcode))


def lock_copy(session: Session, barcode: str) -> Copy | None:
    """The copy with that barcode, locked until the transaction ends."""
    return _locked(session, select(Copy).where(Copy.barcode == barcode))


def lock_found(statement: Select[Any], table: type[Base]) -> Select[Any]:
    """A statement that locks the rows of `table` it finds, and reads them anew."""
    return statement.with_for_update(of=table, key_share=True).execution_options(populate_existing=True)


def lock_catalogue(session: Session) -> None:
    """Let one write the catalogue at a time, from its first look on: books, headings and words change together."""
    session.execute(select(Generation.id).where(Generation.name == "catalogue").with_for_update())


def lock_admins(session: Session) -> Sequence[User]:
    """All active admins, in the order of their keys."""
    admins = select(User).where(User.role == Role.ADMIN, User.active).order_by(User.id)
    return session.scalars(lock_found(admins, User)).all()


def lock_patron_by_id(session: Session, key: int) -> User | None:
    """The patron with that key, locked until the transaction ends."""
    return _locked(session, select(User).where(User.id == key))


def lock_whole_patron(session: Session, key: int) -> User | None:
    """The patron with that key, locked against rows too that begin to refer to it; whoever writes one is waited for."""
    found = select(User).where(User.id == key).with_for_update().execution_options(populate_existing=True)
    return session.scalars(found).one_or_none()


def lock_queue(session: Session, book_id: int) -> None:
    """Let one act on the holds and copies of a book at a time, until the transaction ends."""
    session.execute(select(Book.id).where(Book.id == book_id).with_for_update(key_share=True))


def lock_copy_by_id(session: Session, key: int) -> Copy | None:
    """The copy with that key, locked until the transaction ends; lock the queue of its book first."""
    return _locked(session, select(Copy).where(Copy.id == key))


def lock_hold(session: Session, key: int) -> Hold | None:
    """The hold with that key, locked until the transaction ends; lock the queue of its book first."""
    return _locked(session, select(Hold).where(Hold.id == key))


def lock_loan(session: Session, key: int) -> Loan | None:
    """The loan with that key, locked until the transaction ends."""
    return _locked(session, select(Loan).where(Loan.id == key))


def lock_open_loan(session: Session, copy: Copy) -> Loan | None:
    """The open loan of a copy, locked until the transaction ends."""
    return _locked(session, select(Loan).where(Loan.copy_id == copy.id, Loan.closed_at.is_(None)))
