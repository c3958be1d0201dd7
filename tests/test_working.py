"""The runner of nightly work: what stands in its way for a while is tried again, what stays there is left."""

from collections.abc import Iterator
from datetime import timedelta

import pytest
from factories import START
from sqlalchemy import create_engine, select
from sqlalchemy.orm import Session

from library.database import WRITES, engine_options, make_session, transaction
from library.models import JobKind, Loan, LoanClosing, User
from library.rules.nightly import Night
from library.working import Tally, patiently, work_step

NIGHT = Night(START + timedelta(days=9), START + timedelta(days=9), 30, 3)


@pytest.fixture
def hasty(app) -> Iterator[Session]:
    """A session that does not wait long for others."""
    url = app.config["DATABASE_URL"]
    # On PostgreSQL 0 would be for ever.
    engine = create_engine(url, **engine_options(url, lock_timeout=0 if url.startswith("sqlite") else 1))
    with make_session(engine) as session:
        yield session
    engine.dispose()


@pytest.fixture
def read(make) -> Loan:
    return make.loan(closed_at=START, closed_as=LoanClosing.RETURNED, checked_out_at=START - timedelta(days=9))


def cut(session: Session, **options) -> Tally:
    return work_step(session, JobKind.CUT_HISTORY, NIGHT, **options)


def test_what_another_holds_on_to_is_left_to_the_next_run(session, make, read, hasty):
    # On SQLite nobody else writes meanwhile, on PostgreSQL nobody else has this patron.
    with transaction(session, write=True):
        session.scalars(select(User).where(User.id == read.patron_id).with_for_update()).one()
        assert cut(hasty) == Tally(found=1, skipped=1)
    assert cut(hasty) == Tally(found=1, done=1)


def test_what_fails_for_anothers_sake_is_tried_again(session, read, hasty):
    tried = []
    locked = select(User).where(User.id == read.patron_id).with_for_update()

    def work() -> int:
        tried.append(1)
        if len(tried) == 2:
            # The other is done now.
            session.rollback()
        return hasty.scalars(locked).one().id

    session.rollback()
    session.connection(execution_options={WRITES: hasty.get_bind().dialect.name == "sqlite"})
    session.scalars(locked).one()
    if hasty.get_bind().dialect.name == "sqlite":
        # Here no other transaction that writes begins: the work is not even reached.
        assert patiently(hasty, work) is None
        assert tried == []
        session.rollback()
    assert patiently(hasty, work) == read.patron_id


def test_a_run_that_is_told_to_stop_does_no_more(read, hasty):
    assert cut(hasty, stop=[15]) == Tally()
    assert cut(hasty) == Tally(found=1, done=1)


def test_a_witness_sees_each_record_in_its_transaction(session, make, read, hasty):
    make.loan(closed_at=START, closed_as=LoanClosing.RETURNED, checked_out_at=START - timedelta(days=9))
    seen = []

    def witness(own: Session, found: int, done: int, skipped: int) -> None:
        own.flush()
        seen.append((found, done, skipped, own.scalars(select(Loan.patron_id).order_by(Loan.id)).all().count(None)))

    assert str(cut(hasty, witness=witness)) == "found 2, done 2, skipped 0"
    assert seen == [(1, 1, 0, 1), (1, 1, 0, 2)]
