"""Rows read again under lock, in one order everywhere: patron → book (its queue) → copies → holds → loan → ledger.

SQLite's writers already stand in line. On PostgreSQL the locks are FOR NO KEY UPDATE: rows that only refer to a locked
one (a charge to its patron) are written beside it.
"""

from collections.abc import Sequence
from typing import Any, TypeVar

from sqlalchemy import CTE, Select, String, bindparam, func, select
from sqlalchemy.orm import Session

from library.models import Base, Book, Copy, Generation, Hold, Loan, Role, User
from library.rules.sentences import Sentence, connection_of

Row = TypeVar("Row", bound=Base)


def _locked(session: Session, statement: Select[Any]) -> Row | None:
    # What was loaded before the lock may have changed meanwhile: read it anew.
    return session.scalars(
        statement.with_for_update(key_share=True).execution_options(populate_existing=True)
    ).one_or_none()


_CARD = User.card_barcode == bindparam("card", type_=String())
_BARCODE = Copy.barcode == bindparam("barcode", type_=String())


def _held(key: Any, *scanned: Any, after: CTE | None = None) -> Select[Any]:
    """The rows found by what was scanned, locked; `after` others are, for those are counted first."""
    held = select(key).where(*scanned).order_by(key).with_for_update(of=key.class_, key_share=True)
    return held if after is None else held.where(select(func.count()).select_from(after).scalar_subquery() >= 0)


def _held_copy(after: CTE) -> Select[Any]:
    """The copy that was scanned, locked behind others and the queue of its book."""
    queue = _held(Book.id, Copy.book_id == Book.id, _BARCODE, after=after)
    return _held(Copy.id, _BARCODE, after=queue.cte())


def _lending() -> Sentence:
    """The patron and the copy that were scanned, locked one after the other."""
    patron = _held(User.id, _CARD).cte()
    return Sentence(select(select(patron.c.id).scalar_subquery(), _held_copy(after=patron).scalar_subquery()))


_LOST = select(Loan.patron_id).join(Copy, Copy.id == Loan.copy_id).where(_BARCODE, Loan.lost_at.is_not(None))
_LENDING = _lending()
_BROUGHT = Sentence(_held_copy(after=_held(User.id, User.id.in_(_LOST)).cte()))
_LOAN = Sentence(_held(Loan.id, Loan.copy_id == Copy.id, Loan.closed_at.is_(None), _BARCODE))


def lock_lending(session: Session, barcode: str, card_barcode: str | None) -> tuple[str | None, str | None]:
    """Lock the patron, the queue of the copy's book and the copy, and look at them afterwards; None for what is not."""
    if stand_in_line(session):
        return barcode, card_barcode
    patron, copy = _LENDING.row(connection_of(session), {"card": card_barcode, "barcode": barcode})
    return barcode if copy else None, card_barcode if patron else None


def lock_return(session: Session, barcode: str) -> str | None:
    """Lock who paid for the copy while it was lost, the queue of its book, the copy and its open loan."""
    if stand_in_line(session):
        return barcode
    copy = _BROUGHT.scalar(connection_of(session), {"barcode": barcode})
    # A statement of its own: while the others were waited for, the copy may have been lent.
    _LOAN.run(connection_of(session), {"barcode": barcode})
    return barcode if copy else None


def stand_in_line(session: Session) -> bool:
    """Whether those who write wait for one another as it is, so that no row needs a lock."""
    return connection_of(session).dialect.name == "sqlite"


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
