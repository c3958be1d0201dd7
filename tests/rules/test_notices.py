"""Notices without HTTP: an occasion is told once, whoever tells it first."""

import pytest
from sqlalchemy import func, select

from library.database import transaction
from library.models import Notice, NoticeKind
from library.rules import notices

from .helping import at_once


@pytest.fixture
def loan(make):
    return make.loan()


def write(session, loan, occasion, now) -> bool:
    return notices.write(session, loan.patron_id, NoticeKind.OVERDUE, occasion, now, loan_id=loan.id)


def test_a_notice_waits_with_what_it_is_about(session, loan, now):
    assert write(session, loan, "overdue:1", now) is True
    notice = session.scalars(select(Notice)).one()
    assert (notice.patron_id, notice.kind, notice.loan_id) == (loan.patron_id, NoticeKind.OVERDUE, loan.id)
    assert (notice.hold_id, notice.created_at, notice.sent_at) == (None, now, None)


def test_an_occasion_is_told_once(session, loan, now):
    assert [write(session, loan, occasion, now) for occasion in ("a", "b", "a")] == [True, True, False]
    assert session.scalar(select(func.count()).select_from(Notice)) == 2


def test_the_second_telling_spoils_nothing_of_its_transaction(session, another, loan, now):
    with transaction(session, write=True):
        write(session, loan, "a", now)
    with transaction(session, write=True):
        write(session, loan, "a", now)
        loan.renewals = 7
    assert another().get(type(loan), loan.id).renewals == 7


def test_of_many_tellers_one_tells(another, session, loan, now):
    def tell() -> bool:
        own = another()
        with transaction(own, write=True):
            return write(own, loan, "a", now)

    assert sorted(at_once([tell] * 6)) == [False] * 5 + [True]
    assert session.scalar(select(func.count()).select_from(Notice)) == 1
