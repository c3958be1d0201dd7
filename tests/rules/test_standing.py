"""What speaks against a patron, whatever they want to do: loaded for many in a fixed number of statements."""

from datetime import UTC, date, datetime, timedelta

import pytest

from library.models import BlockScope, CopyCondition, LoanClosing, PatronBlock
from library.rules import policies, standing
from library.rules.standing import years_between

NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)
DAY = timedelta(days=1)


@pytest.fixture
def load(session):
    """Call it for the standing of patrons, by key."""
    return lambda *patrons: standing.load(session, patrons, policies.load(session), NOON)


@pytest.fixture
def against(session, branch, load):
    """Call it for the codes against a patron at the branch."""

    def codes(patron, scope=BlockScope.LOANS, **how) -> list[str]:
        rules = policies.load(session).at(branch.id, patron.patron_category_id, None)
        known = load(patron)[patron.id]
        return [reason.code for reason in standing.against(known, scope, branch, rules, NOON, **how)]

    return codes


def test_a_patron_of_whom_nothing_is_known_stands_well(patron, load, against):
    known = load(patron)[patron.id]
    assert (known.blocks, known.owed_cents, known.running_fines_cents) == ([], 0, 0)
    assert (known.open_loans, known.overdue, known.loans_by_type, known.loans_by_owner) == (0, 0, {}, {})
    assert against(patron) == []


def test_open_loans_are_counted_by_type_and_owner_and_claimed_ones_are_not(session, make, branch, patron, load):
    film, elsewhere = make.item_type(), make.branch()
    make.loan(make.copy(home_branch=branch, item_type_id=film.id), patron, due_at=NOON + DAY)
    make.loan(make.copy(home_branch=branch), patron, due_at=NOON - DAY)
    make.loan(make.copy(home_branch=elsewhere), patron, due_at=NOON)
    make.loan(patron=patron, closed_at=NOON, closed_as=LoanClosing.RETURNED)
    claimed = make.loan(make.copy(home_branch=branch), patron, due_at=NOON - DAY, claimed_at=NOON)
    claimed.copy.condition = CopyCondition.CLAIMED_RETURNED
    session.commit()
    known = load(patron)[patron.id]
    assert (known.open_loans, known.overdue) == (3, 1)
    assert known.loans_by_type == {film.id: 1, None: 2}
    assert known.loans_by_owner == {branch.id: 2, elsewhere.id: 1}


def test_many_are_known_in_as_many_statements_as_one_and_nobody_for_another(make, patron, load, statements):
    other = make.user()
    make.charge(patron, 300)
    make.charge(patron, 200)
    make.loan(patron=other)
    make.row(PatronBlock(user_id=other.id, scope=BlockScope.ALL, reason="Noise.", created_at=NOON))
    load(patron)
    statements.clear()
    assert load(patron)[patron.id].owed_cents == 500
    one = len(statements)
    statements.clear()
    known = load(patron, other, make.user())
    assert len([ran for ran in statements if ran.startswith("SELECT")]) == one
    assert (known[patron.id].owed_cents, known[patron.id].open_loans, known[patron.id].blocks) == (500, 0, [])
    assert (known[other.id].owed_cents, known[other.id].open_loans) == (0, 1)
    assert [block.reason for block in known[other.id].blocks] == ["Noise."]


def test_nobody_is_known_of_nobody(load):
    assert load() == {}


def test_running_fines_are_known_only_where_some_policy_asks_for_them(make, branch, patron, load):
    make.policy("fine_rate", {"cents": 20, "per": "day"})
    make.loan(make.copy(home_branch=branch), patron, due_at=datetime(2026, 5, 1, 21, 59, 59, tzinfo=UTC))
    make.loan(make.copy(home_branch=branch), patron, due_at=datetime(2026, 5, 2, 21, 59, 59, tzinfo=UTC))
    assert load(patron)[patron.id].running_fines_cents == 0
    make.policy("running_fines_count_as_debt", True)
    assert load(patron)[patron.id].running_fines_cents == 100


def test_a_patron_in_credit_owes_less(make, branch, patron, against):
    make.policy("max_debt_cents", 0)
    make.policy("fine_rate", {"cents": 20, "per": "day"})
    make.policy("running_fines_count_as_debt", True)
    make.loan(make.copy(home_branch=branch), patron, due_at=datetime(2026, 5, 2, 21, 59, 59, tzinfo=UTC))
    assert against(patron) == ["debt_limit"]
    assert against(patron, debt_counts=False) == []


def test_the_card_may_be_left_out_of_it(make, against):
    expired = make.user(expires_on=date(2026, 5, 3))
    assert against(expired) == ["patron_expired"]
    assert against(expired, card_counts=False) == []
    assert against(make.user(expires_on=date(2026, 5, 4))) == []


@pytest.mark.parametrize("scope", [BlockScope.LOANS, BlockScope.HOLDS, BlockScope.RENEWALS])
def test_a_block_is_about_one_thing_or_about_all(make, patron, against, scope):
    make.row(PatronBlock(user_id=patron.id, scope=scope, reason="Noise.", created_at=NOON))
    barred = {asked for asked in BlockScope if asked is not BlockScope.ALL and against(patron, asked)}
    assert barred == {scope}
    make.row(PatronBlock(user_id=patron.id, scope=BlockScope.ALL, reason="Noise.", created_at=NOON))
    assert {len(against(patron, asked)) for asked in BlockScope if asked is not BlockScope.ALL} == {1, 2}


def test_every_reason_points_to_where_the_patron_was_named(session, make, branch, load):
    patron = make.user(active=False, expires_on=date(2020, 1, 1))
    rules = policies.load(session).at(branch.id, None, None)
    for pointer in ("/patron_barcode", "/patron_id", None):
        told = standing.against(load(patron)[patron.id], BlockScope.HOLDS, branch, rules, NOON, pointer=pointer)
        assert {reason.pointer for reason in told} == {pointer}
    default = standing.against(load(patron)[patron.id], BlockScope.LOANS, branch, rules, NOON)
    assert {reason.pointer for reason in default} == {"/patron_barcode"}


@pytest.mark.parametrize(
    ("born", "today", "years"),
    [
        (date(2008, 5, 4), date(2026, 5, 3), 17),
        (date(2008, 5, 4), date(2026, 5, 4), 18),
        (date(2008, 2, 29), date(2026, 2, 28), 17),
        (date(2008, 2, 29), date(2026, 3, 1), 18),
        (date(2026, 5, 4), date(2026, 5, 4), 0),
    ],
)
def test_how_old_somebody_is(born, today, years):
    assert years_between(born, today) == years
