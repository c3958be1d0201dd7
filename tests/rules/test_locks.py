"""Rows read again under lock: what was loaded before may have changed meanwhile."""

import pytest
from sqlalchemy.exc import OperationalError

from library.database import transaction
from library.models import CopyPlace
from library.rules import locks

from .helping import impatience


def test_what_is_not_there_is_none(session):
    for lock in (locks.lock_patron_by_id, locks.lock_copy_by_id, locks.lock_hold, locks.lock_loan):
        assert lock(session, 99) is None


def test_a_lock_reads_what_another_wrote_meanwhile(session, another, make):
    copy = make.copy()
    other = another()
    with transaction(other, write=True):
        locks.lock_copy_by_id(other, copy.id).place = CopyPlace.IN_PROCESS
    assert copy.place is CopyPlace.AVAILABLE
    with transaction(session, write=True):
        assert locks.lock_copy_by_id(session, copy.id).place is CopyPlace.IN_PROCESS
        assert copy.place is CopyPlace.IN_PROCESS


@pytest.fixture
def waits(session, another, on_postgres):
    """Call it with a lock: whether it is waited for while the session holds what it has locked."""

    def is_held(lock) -> bool:
        other = another()
        with impatience(other):
            try:
                lock(other)
            except OperationalError:
                return True
            finally:
                other.rollback()
        return False

    if not on_postgres:
        pytest.skip("writers stand in line on SQLite")
    return is_held


def test_what_is_lent_is_locked(session, make, waits):
    copy, patron, loan = make.copy(), make.user(), make.loan()
    assert locks.lock_lending(session, copy.barcode, patron.card_barcode) == (copy.barcode, patron.card_barcode)
    assert waits(lambda other: locks.lock_patron_by_id(other, patron.id))
    assert waits(lambda other: locks.lock_queue(other, copy.book_id))
    assert waits(lambda other: locks.lock_copy_by_id(other, copy.id))
    assert not waits(lambda other: locks.lock_patron_by_id(other, loan.patron_id))
    assert not waits(lambda other: locks.lock_queue(other, loan.copy.book_id))


def test_what_is_brought_back_is_locked(session, make, now, waits):
    loan, before = make.loan(lost_at=now), make.user()
    make.loan(copy=loan.copy, patron=before, lost_at=now, closed_at=now, closed_as="lost_paid")
    assert locks.lock_return(session, loan.copy.barcode) == loan.copy.barcode
    for patron_id in (loan.patron_id, before.id):
        assert waits(lambda other, key=patron_id: locks.lock_patron_by_id(other, key))
    assert waits(lambda other: locks.lock_queue(other, loan.copy.book_id))
    assert waits(lambda other: locks.lock_copy_by_id(other, loan.copy_id))
    assert waits(lambda other: locks.lock_loan(other, loan.id))


def test_who_brings_back_what_was_not_lost_is_not_locked(session, make, waits):
    loan = make.loan()
    locks.lock_return(session, loan.copy.barcode)
    assert not waits(lambda other: locks.lock_patron_by_id(other, loan.patron_id))


@pytest.mark.parametrize("held", ["patron", "queue"])
def test_who_waits_for_the_first_lock_has_not_taken_the_next(session, another, make, waits, held):
    copy, patron = make.copy(), make.user()
    first, other = another(), another()
    if held == "patron":
        locks.lock_patron_by_id(first, patron.id)
    else:
        locks.lock_queue(first, copy.book_id)
    with impatience(other), pytest.raises(OperationalError):
        locks.lock_lending(other, copy.barcode, patron.card_barcode)
    # The lock that was not waited for is the first session's to take: whoever held it already would be waited for.
    assert not waits(lambda third: locks.lock_copy_by_id(third, copy.id))


def test_what_is_not_there_is_not_looked_for_after_the_lock(session, make, on_postgres):
    copy, patron = make.copy(), make.user()
    nothing = (None, None) if on_postgres else ("nope", "nope")
    assert locks.lock_lending(session, "nope", "nope") == nothing
    assert locks.lock_lending(session, copy.barcode, "nope") == (copy.barcode, nothing[1])
    assert locks.lock_lending(session, "nope", patron.card_barcode) == (nothing[0], patron.card_barcode)
    assert locks.lock_return(session, "nope") == nothing[0]
