"""Every cell of place and condition × every action, done by the real rules and held against the table."""

from datetime import UTC, datetime, timedelta
from itertools import product

import pytest
from sqlalchemy.exc import IntegrityError

from library.models import (
    Book,
    ChargeReason,
    Copy,
    CopyCondition,
    CopyPlace,
    HoldState,
    Loan,
    LoanClosing,
    PaymentMethod,
)
from library.rules import accounts, holds, lending, losses, marking, places, renewals, returns
from library.rules.errors import Refusal, Refused
from library.rules.losses import ClaimOutcome
from library.rules.marking import Mark
from library.rules.places import TABLE, Action

NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)
DAY = timedelta(days=1)
# Every code in the table and more: all that the rules might say of a copy's place or condition.
ABOUT_COPIES = {outcome for row in TABLE.values() for outcome in row.values() if isinstance(outcome, str)}
IMPOSSIBLE = sorted(set(product(CopyPlace, CopyCondition)) - TABLE.keys())


@pytest.fixture
def now():
    return NOON


@pytest.fixture
def copy_in(session, make, branch):
    """Call it for a copy in a cell, with the loan or the hold that put it there; nobody else waits for it."""

    def make_one(place: CopyPlace, condition: CopyCondition) -> tuple[Copy, Loan]:
        goal = branch.id if place is CopyPlace.IN_TRANSIT else None
        copy = make.copy(home_branch=branch)
        if place is CopyPlace.ON_LOAN:
            loan = make.loan(
                copy,
                checked_out_at=NOON - DAY,
                due_at=NOON + 20 * DAY,
                lost_at=NOON - DAY if condition is CopyCondition.LOST else None,
                claimed_at=NOON - DAY if condition is CopyCondition.CLAIMED_RETURNED else None,
            )
        else:
            ended = {"closed_at": NOON - DAY, "closed_as": LoanClosing.RETURNED}
            loan = make.loan(copy, checked_out_at=NOON - 9 * DAY, due_at=NOON, **ended)
        if place is CopyPlace.ON_HOLD_SHELF:
            make.hold(assigned_copy=copy, state=HoldState.READY, pickup_branch=branch)
        copy.place, copy.condition, copy.transit_to_branch_id = place, condition, goal
        make.charge(loan=loan, reason=ChargeReason.REPLACEMENT)
        session.commit()
        return copy, loan

    return make_one


@pytest.fixture
def act(session, make, desk, branch):
    """Call it to do an action with a copy and its loan."""

    def pay(loan: Loan) -> None:
        settled = accounts.pay(session, desk, loan.patron, 500, PaymentMethod.CASH, NOON)
        losses.close_settled(session, settled.charge_ids, NOON)

    def hold(copy: Copy) -> None:
        patron = make.user(home_branch=branch)
        holds.place_hold(session, desk, patron, session.get_one(Book, copy.book_id), NOON, copy=copy)

    doing = {
        Action.CHECK_OUT: lambda copy, _: lending.check_out(
            session, desk, copy.barcode, make.user().card_barcode, NOON
        ),
        Action.CHECK_IN: lambda copy, _: returns.check_in(session, desk, copy.barcode, NOON),
        Action.RENEW: lambda _, loan: renewals.renew(session, desk, loan, NOON),
        Action.PLACE_HOLD: lambda copy, _: hold(copy),
        Action.DECLARE_LOST: lambda _, loan: losses.declare_lost(session, desk, loan, NOON),
        Action.CLAIM_RETURNED: lambda _, loan: losses.claim_returned(session, loan, NOON),
        Action.CLAIM_FOUND: lambda _, loan: returns.resolve_claim(session, desk, loan, ClaimOutcome.FOUND, NOON),
        Action.CLAIM_MISSING: lambda _, loan: returns.resolve_claim(session, desk, loan, ClaimOutcome.MISSING, NOON),
        Action.SETTLE_LOSS: lambda _, loan: pay(loan),
    }
    doing |= {
        Action(f"mark_{mark}"): lambda copy, _, mark=mark: marking.mark(session, desk, copy, mark, "Seen.", NOON)
        for mark in Mark
    }
    return lambda action, copy, loan: doing[action](copy, loan)


@pytest.mark.parametrize("cell", TABLE, ids="-".join)
def test_every_cell_times_every_action_is_as_the_table_says(session, copy_in, act, cell):
    for action in Action:
        copy, loan = copy_in(*cell)
        told: set[str] = set()
        try:
            act(action, copy, loan)
        except Refused as refused:
            told = {reason.code for reason in refused.reasons}
        session.commit()
        session.expire_all()
        came_out, expected = (copy.place, copy.condition), TABLE[cell][action]
        if isinstance(expected, str):
            assert expected in told, f"{action} on {cell} is told {told}"
            assert came_out == cell, f"{action} on {cell} was refused and led to {came_out}"
        else:
            assert not told, f"{action} on {cell} is refused for {told}"
            assert came_out == expected, f"{action} on {cell} led to {came_out}"
        assert (copy.transit_to_branch_id is None) is (copy.place is not CopyPlace.IN_TRANSIT), f"{action} on {cell}"


def test_the_table_names_every_action_in_every_cell_and_refusals_that_exist():
    assert all(set(row) == set(Action) for row in TABLE.values())
    assert Refusal.catalogue.keys() >= ABOUT_COPIES


@pytest.mark.parametrize("cell", IMPOSSIBLE, ids="-".join)
def test_what_is_not_in_the_table_cannot_be_written(session, make, branch, cell):
    copy = make.copy(home_branch=branch)
    copy.place, copy.condition = cell
    copy.transit_to_branch_id = branch.id if copy.place is CopyPlace.IN_TRANSIT else None
    with pytest.raises(IntegrityError):
        session.flush()


def test_the_cells_of_the_table_and_the_impossible_ones_are_all_there_are():
    assert len(TABLE) + len(IMPOSSIBLE) == len(CopyPlace) * len(CopyCondition) == 36


def test_only_what_travels_is_on_its_way_somewhere(session, make, branch):
    travelling = make.copy(home_branch=branch)
    travelling.place = CopyPlace.IN_TRANSIT
    with pytest.raises(IntegrityError):
        session.flush()
    session.rollback()
    standing = make.copy(home_branch=branch)
    standing.transit_to_branch_id = branch.id
    with pytest.raises(IntegrityError):
        session.flush()


def test_a_refusal_that_was_let_pass_leads_where_a_fit_copy_goes():
    copy = Copy(place=CopyPlace.ON_ORDER, condition=CopyCondition.DAMAGED)
    assert places.refused(Action.CHECK_OUT, copy) == "bad_condition"
    places.move(Action.CHECK_OUT, copy)
    assert (copy.place, copy.condition) == (CopyPlace.ON_LOAN, CopyCondition.USABLE)
