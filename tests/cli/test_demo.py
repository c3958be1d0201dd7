"""What a newcomer finds in the demo library: something of everything that goes on at a desk."""

from datetime import UTC, datetime

import pytest
from sqlalchemy import func, select

from library.cli.demo_people import EXPIRED, INACTIVE, PATRON, UNCONFIRMED
from library.models import (
    AccountEntry,
    Author,
    AuthorKind,
    Book,
    Branch,
    ChargeReason,
    Copy,
    CopyCondition,
    CopyPlace,
    Hold,
    HoldState,
    Loan,
    Order,
    PatronBlock,
    PatronCategory,
    Policy,
    Role,
    User,
)
from library.rules import calendar, invariants, ledger, lending, queues
from library.rules.desk import Desk
from library.rules.errors import Refused
from library.rules.summaries import summary_of

from .conftest import count


def test_the_demo_library_has_something_of_everything(demo):
    assert count(demo, Book) == 521
    bodies = demo.scalars(select(Author.name).where(Author.kind == AuthorKind.BODY))
    assert "Unicode Consortium" in list(bodies)
    assert count(demo, Author, Author.name == "Hergé", Author.kind == AuthorKind.PERSON) == 1
    assert count(demo, Branch) == 3
    assert demo.scalars(select(PatronCategory.name).where(PatronCategory.self_registration)).all() == ["Adult"]
    copies = demo.execute(select(Copy.book_id, func.count()).group_by(Copy.book_id)).all()
    assert len(copies) == 521
    assert {number for _, number in copies} == {1, 2, 3}
    assert {place for (place,) in demo.execute(select(Copy.place).distinct())} == {
        CopyPlace.AVAILABLE,
        CopyPlace.ON_LOAN,
        CopyPlace.IN_TRANSIT,
        CopyPlace.ON_HOLD_SHELF,
    }
    assert count(demo, Copy, Copy.shelf_mark.is_(None)) == 0
    assert count(demo, Order) == 2


def test_the_desk_has_been_at_work(demo):
    now = datetime.now(UTC)
    for patron, (running, overdue, returned) in {None: (31, 10, 64), "patron": (2, 1, 4)}.items():
        whose = () if patron is None else (Loan.patron.has(User.username == patron),)
        assert count(demo, Loan, *whose, Loan.closed_at.is_(None), Loan.due_at >= now) == running
        assert count(demo, Loan, *whose, Loan.closed_at.is_(None), Loan.due_at < now) == overdue
        assert count(demo, Loan, *whose, Loan.closed_at.is_not(None)) == returned
    assert count(demo, Loan, Loan.closed_at > now) == 0


@pytest.mark.parametrize(
    ("card", "code"),
    [(EXPIRED, "patron_expired"), (UNCONFIRMED, "patron_unconfirmed"), (INACTIVE, "patron_inactive")],
)
def test_some_cards_are_there_to_be_refused(demo, card, code):
    librarian = demo.scalars(select(User).where(User.role == Role.LIBRARIAN)).one()
    assert librarian.home_branch.name == "Main Library"
    fit = (Copy.place == CopyPlace.AVAILABLE, Copy.condition == CopyCondition.USABLE)
    barcode = demo.scalar(select(Copy.barcode).where(*fit, ~Copy.item_type.has(not_for_loan=True)))
    with pytest.raises(Refused) as refused:
        lending.check_out(demo, Desk(librarian, librarian.home_branch), barcode, card, datetime.now(UTC))
    assert [reason.code for reason in refused.value.reasons] == [code]


def test_the_demo_library_keeps_every_invariant(demo):
    assert invariants.check_invariants(demo) == []


def test_the_demo_patron_has_something_of_everything(demo, now):
    patron = demo.scalars(select(User).where(User.card_barcode == PATRON.card)).one()
    page = summary_of(demo, patron, now)
    assert {hold.state for hold in page.holds} == {HoldState.READY, HoldState.QUEUED}
    waiting = next(hold for hold in page.holds if hold.state is HoldState.QUEUED)
    assert queues.positions(demo, [waiting.book_id])[waiting.id] == (2, 5)
    assert page.account.balance_cents == ledger.balance(demo, patron.id) > 0
    assert page.account.running_fines_cents > 0
    assert any(loan.due_at < now for loan in page.loans)
    assert page.against == []


def test_copies_are_in_every_condition_and_holds_in_every_state(demo):
    assert set(demo.scalars(select(Copy.condition).distinct())) == set(CopyCondition) - {CopyCondition.WITHDRAWN}
    assert set(demo.scalars(select(Hold.state).distinct())) == {HoldState.QUEUED, HoldState.READY, HoldState.IN_TRANSIT}
    assert count(demo, Hold, Hold.suspended) == 1


def test_there_is_something_to_fetch_from_the_shelves(demo, now):
    assert len(queues.pick_list(demo, now)) == 1


def test_money_is_owed_paid_and_lost(demo, now):
    reasons = set(demo.scalars(select(AccountEntry.reason).where(AccountEntry.reason.is_not(None)).distinct()))
    assert reasons == {ChargeReason.OVERDUE, ChargeReason.REPLACEMENT, ChargeReason.PROCESSING}
    assert count(demo, Loan, Loan.lost_at.is_not(None), Loan.closed_at.is_(None)) == 1
    assert count(demo, PatronBlock) == 1
    assert count(demo, Policy) > 8


def test_a_card_has_expired(demo, now):
    patron = demo.scalars(select(User).where(User.card_barcode == EXPIRED)).one()
    assert patron.expires_on < calendar.local_day(now, "UTC")
    assert [reason.code for reason in summary_of(demo, patron, now).against] == ["patron_expired"]
