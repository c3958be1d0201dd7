"""Rows read again under lock: what was loaded before may have changed meanwhile."""

from library.database import transaction
from library.models import CopyPlace
from library.rules import locks


def test_rows_are_locked_by_the_barcodes_that_are_scanned(session, make):
    loan = make.loan()
    assert locks.lock_copy(session, loan.copy.barcode) is loan.copy
    assert locks.lock_patron(session, loan.patron.card_barcode) is loan.patron
    assert locks.lock_open_loan(session, loan.copy) is loan


def test_what_is_not_there_is_none(session, make):
    copy = make.copy()
    assert locks.lock_copy(session, "nope") is None
    assert locks.lock_patron(session, "nope") is None
    assert locks.lock_open_loan(session, copy) is None


def test_a_closed_loan_is_not_open(session, make, now):
    loan = make.loan(closed_at=now, closed_as="returned")
    assert locks.lock_open_loan(session, loan.copy) is None


def test_a_lock_reads_what_another_wrote_meanwhile(session, another, make):
    copy = make.copy()
    other = another()
    with transaction(other, write=True):
        locks.lock_copy(other, copy.barcode).place = CopyPlace.IN_PROCESS
    assert copy.place is CopyPlace.AVAILABLE
    with transaction(session, write=True):
        assert locks.lock_copy(session, copy.barcode).place is CopyPlace.IN_PROCESS
        assert copy.place is CopyPlace.IN_PROCESS
