"""What open loans would cost if they ended now, and what they are charged when they do."""

from datetime import UTC, datetime, timedelta

import pytest

from library.models import AccountEntry, ChargeReason, LoanClosing
from library.rules import policies, running
from library.rules.desk import Desk

NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)
DAY = timedelta(days=1)
THURSDAY = datetime(2026, 4, 30, 21, 59, 59, tzinfo=UTC)


@pytest.fixture
def rate(make):
    make.policy("fine_rate", {"cents": 20, "per": "day"})


@pytest.fixture
def late(make, copy, patron, rate):
    """A loan that was due on Thursday; today is Monday."""
    return make.loan(copy, patron, checked_out_at=THURSDAY - 9 * DAY, due_at=THURSDAY)


@pytest.fixture
def fines_of(session):
    """Call it for the cents that loans have run up by a moment."""

    def cents(*loans, now=NOON) -> list[int | None]:
        found = running.fines_of(session, loans, policies.load(session), now)
        return [found[loan].cents if loan in found else None for loan in loans]

    return cents


@pytest.fixture
def charge(session, desk, late):
    """Call it to charge what the late loan has run up."""

    def charge_fine(until=NOON, desk=desk, **more) -> AccountEntry | None:
        rules = running.rules_of(policies.load(session), late)
        return running.charge_fine(session, late, rules, until, NOON, desk, **more)

    return charge_fine


def test_only_what_is_late_and_open_runs(make, late, fines_of):
    current = make.loan(due_at=NOON)
    back = make.loan(due_at=THURSDAY, closed_at=NOON, closed_as=LoanClosing.RETURNED)
    assert fines_of(late, current, back) == [80, None, None]
    assert fines_of() == []


def test_in_its_very_last_moment_a_loan_is_not_late(session, make, late):
    make.loan(due_at=NOON)
    assert session.scalars(running.overdue_loans(NOON)).all() == [late]


def test_it_runs_on_day_by_day_and_stops_with_a_claim_or_a_loss(late, fines_of):
    assert fines_of(late, now=NOON + DAY) == [100]
    late.claimed_at = NOON + 2 * DAY
    assert fines_of(late, now=NOON + 9 * DAY) == [120]
    late.lost_at = NOON
    assert fines_of(late, now=NOON + 9 * DAY) == [80]


def test_many_run_in_as_many_statements_as_one(session, make, late, statements):
    def statements_for(loans) -> int:
        table = policies.load(session)
        session.expire_all()
        loaded = session.scalars(running.overdue_loans(NOON)).all()
        assert len(loaded) == loans
        statements.clear()
        running.fines_of(session, loaded, table, NOON)
        return len(statements)

    one = statements_for(1)
    for _ in range(5):
        make.loan(due_at=THURSDAY)
    assert statements_for(6) == one == 2


def test_the_policies_are_those_of_the_branch_category_and_type(make, branch, rate, fines_of):
    children, film = make.category(), make.item_type()
    copy = make.copy(home_branch=branch, item_type_id=film.id)
    loan = make.loan(copy, make.user(patron_category_id=children.id), due_at=THURSDAY)
    assert fines_of(loan) == [80]
    make.policy("fine_rate", {"cents": 30, "per": "day"}, item_type=film)
    assert fines_of(loan) == [120]
    make.policy("fine_rate", {"cents": 5, "per": "day"}, patron_category=children)
    assert fines_of(loan) == [20]
    make.policy("fine_rate", None, branch=branch)
    assert fines_of(loan) == [0]


@pytest.mark.parametrize(
    ("own", "of_type", "price"), [(500, 900, 500), (0, 900, 900), (None, 900, 900), (None, None, None), (0, 0, None)]
)
def test_a_copy_costs_its_own_price_else_its_types(make, own, of_type, price):
    copy = make.copy(price_cents=own, item_type_id=make.item_type(default_price_cents=of_type).id)
    assert running.price_of(copy) == price


def test_a_copy_without_a_type_costs_its_own_price_or_nobody_knows(make):
    assert [running.price_of(make.copy(price_cents=cents)) for cents in (500, 0, None)] == [500, None, None]


def test_what_was_charged_is_summed_by_loan_and_only_for_lateness(session, make):
    first, second, third = make.loan(), make.loan(), make.loan()
    for loan, cents in ((first, 60), (first, 40), (second, 20)):
        make.charge(loan=loan, cents=cents, reason=ChargeReason.OVERDUE)
    make.charge(loan=first, cents=2500, reason=ChargeReason.REPLACEMENT)
    assert running.charged_cents(session, [first.id, second.id, third.id]) == {first.id: 100, second.id: 20}


def test_what_was_charged_is_not_charged_again(session, late, charge, fines_of):
    entry = charge()
    session.commit()
    assert (entry.amount_cents, entry.loan_link.loan_id, late.fined_until_at) == (80, late.id, NOON)
    assert (charge(), fines_of(late), fines_of(late, now=NOON + DAY)) == (None, [0], [20])


def test_a_fine_that_is_charged_for_an_earlier_day_moves_nothing_back(late, charge):
    charge()
    assert charge(until=NOON - 2 * DAY) is None
    assert late.fined_until_at == NOON


def test_nothing_to_charge_leaves_no_trace(session, make, late, charge):
    make.policy("grace", {"number": 9, "unit": "days"})
    assert charge() is None
    assert (session.query(AccountEntry).count(), late.fined_until_at) == (0, None)


def test_a_charge_names_the_desk_else_the_branch_that_lent(make, branch, desk, late, charge):
    elsewhere = Desk(desk.actor, make.branch())
    assert charge(desk=elsewhere).branch_id == elsewhere.branch.id
    later = charge(desk=Desk(None), until=NOON + DAY)
    assert (later.branch_id, later.actor_id) == (branch.id, None)
