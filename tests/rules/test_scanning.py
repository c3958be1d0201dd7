"""What is gathered at a scan is what each verb would look up by itself."""

from dataclasses import fields, replace
from datetime import UTC, date, datetime, timedelta

import pytest
from sqlalchemy import inspect

from library.models import BlockScope, CopyCondition, HoldState, PatronBlock
from library.rules import calendar, lending, policies, renewals, standing
from library.rules.borrowing import Facts
from library.rules.scanning import Scan

from .helping import refused_for

NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)
TODAY, DAY, HOUR = date(2026, 5, 4), timedelta(days=1), timedelta(hours=1)


@pytest.fixture
def now():
    return NOON


@pytest.fixture
def world(session, make, branch, copy, patron):
    """The copy and the patron, and something of everything that counts for them and for others."""
    other, kind, elsewhere = make.user(), make.item_type(not_for_loan=False), make.branch(time_zone="Pacific/Auckland")
    branch.hours = [{"weekday": day, "opens": "09:00", "closes": "19:00"} for day in range(1, 6)]
    copy.item_type_id, copy.check_note, copy.last_seen_at = kind.id, "2 CDs – “rot”", NOON - HOUR
    patron.birth_date, patron.expires_on = date(1990, 2, 28), date(2026, 5, 20)
    make.policy("loan_period", {"number": 14, "unit": "days"}, branch=branch)
    make.policy("max_loans", None, item_type=kind)
    make.policy("max_loans", 5)
    make.exception(date(2026, 5, 18), date(2026, 5, 19), branch_id=branch.id, reason="Büro zu")
    make.exception(date(2026, 5, 23), is_open=True, opens="10:00", closes="12:00")
    make.exception(date(2026, 5, 18), branch_id=elsewhere.id)
    for scope, until_on in ((BlockScope.LOANS, TODAY), (BlockScope.ALL, None)):
        make.row(PatronBlock(user_id=patron.id, scope=scope, until_on=until_on, reason="Noise.", created_at=NOON))
    make.row(PatronBlock(user_id=other.id, scope=BlockScope.ALL, reason="Theirs.", created_at=NOON))
    make.charge(patron, 250)
    make.charge(other, 999)
    make.loan(copy=make.copy(book=copy.book, home_branch=branch), patron=patron, due_at=NOON - HOUR)
    make.loan(copy=make.copy(home_branch=elsewhere, item_type=kind), patron=patron, due_at=NOON + DAY)
    claimed = make.loan(patron=patron, due_at=NOON - DAY, claimed_at=NOON)
    claimed.copy.condition = CopyCondition.CLAIMED_RETURNED
    make.loan(copy=make.copy(book=copy.book), patron=other)
    for at in range(2):
        make.copy(book=copy.book, home_branch=branch, not_for_loan=bool(at))
    make.hold(book=copy.book, patron=other, not_needed_after=TODAY)
    make.hold(book=copy.book, patron=patron, pickup_branch=elsewhere)
    make.hold(book=copy.book, copy=copy, pickup_branch=elsewhere, suspended=True, suspended_until=TODAY + DAY)
    session.commit()


def columns_of(row) -> dict:
    return {column.key: getattr(row, column.key) for column in inspect(type(row)).column_attrs}


def plain(known) -> dict:
    """A standing, its blocks by what is judged of them."""
    of_blocks = [(block.scope, block.until_on, block.reason) for block in known.blocks]
    return {field.name: getattr(known, field.name) for field in fields(known)} | {"blocks": of_blocks}


def test_a_scan_gathers_what_each_verb_would_look_up(session, another, world, branch, copy, patron):
    other = another()
    scan = Scan.of(other, copy.barcode, patron.card_barcode, branch, NOON)
    assert columns_of(scan.copy) == columns_of(copy)
    assert columns_of(scan.copy.item_type) == columns_of(copy.item_type)
    assert columns_of(scan.patron) == columns_of(patron)
    assert scan.table.rows == policies.load(session).rows
    known = standing.load(session, [patron], scan.table, NOON)[patron.id]
    assert plain(replace(scan.standing, patron=patron)) == plain(known)
    assert (known.overdue, known.open_loans, known.owed_cents, len(known.blocks)) == (1, 2, 250, 2)
    facts = Facts.load(session, patron, [copy], NOON)
    assert (scan.facts.served, list(scan.facts.own_loans)) == (facts.served, list(facts.own_loans))
    assert [hold.id for hold in scan.facts.own_holds] == [hold.id for hold in facts.own_holds] != []
    assert (scan.facts.demand, scan.facts.ahead) == (facts.demand, facts.ahead)
    assert facts.demand[copy.book_id].waiting
    assert facts.demand[copy.book_id].free
    days = calendar.load(session, [branch])[branch.id]
    assert (scan.days.weekly, scan.days.out) == (days.weekly, days.out)


def test_what_is_set_aside_is_gathered(session, make, branch, copy, patron):
    make.hold(book=copy.book, state=HoldState.READY, assigned_copy_id=copy.id, sort_key=None, shelf_until_at=NOON + DAY)
    scan = Scan.of(session, copy.barcode, patron.card_barcode, branch, NOON)
    assert scan.facts.served == Facts.load(session, patron, [copy], NOON).served != {}


def test_of_what_is_not_known_nothing_is_gathered(session, branch, copy, patron):
    neither = Scan.of(session, "nope", "nope", branch, NOON)
    assert (neither.copy, neither.patron, neither.facts, neither.standing, neither.case) == (None,) * 5
    only_copy = Scan.of(session, copy.barcode, None, branch, NOON)
    assert (only_copy.copy, only_copy.patron, only_copy.case) == (copy, None, None)
    assert (only_copy.facts.own_loans, only_copy.facts.own_holds) == ([], [])
    only_patron = Scan.of(session, None, patron.card_barcode, branch, NOON)
    assert (only_patron.copy, only_patron.patron, only_patron.case) == (None, patron, None)


def test_a_scan_that_waited_is_judged_at_the_moment_it_happened(session, make, branch, patron):
    late = make.copy(home_branch=branch, last_seen_at=NOON + HOUR)
    make.loan(patron=patron, due_at=NOON + HOUR / 2)
    scan = Scan.of(session, late.barcode, patron.card_barcode, branch, NOON)
    assert (scan.now, scan.standing.overdue) == (NOON + HOUR, 1)


def test_closed_days_of_the_past_are_not_looked_at_but_those_that_reach_into_today(session, make, branch, copy, patron):
    make.exception(date(2026, 4, 1), date(2026, 5, 1), branch_id=branch.id)
    make.exception(date(2026, 5, 1), TODAY + 20 * DAY, branch_id=branch.id)
    scan = Scan.of(session, copy.barcode, patron.card_barcode, branch, NOON)
    assert [one.first for one in scan.days.out] == [date(2026, 5, 1)]


def test_a_loan_just_made_has_the_outlook_that_it_would_be_looked_up(session, world, make, branch, lend):
    waited_for, somebody = make.copy(home_branch=branch), make.user(expires_on=date(2026, 5, 20))
    make.copy(book=waited_for.book, home_branch=branch)
    make.hold(book=waited_for.book)
    make.row(PatronBlock(user_id=somebody.id, scope=BlockScope.RENEWALS, reason="Noise.", created_at=NOON))
    loan = lend(copy=waited_for, patron=somebody)
    after, loaded = renewals.Outlook.after(loan.scan), renewals.Outlook.load(session, [loan], NOON)
    assert after.demand == loaded.demand
    told, looked_up = ([(one.code, one.params) for one in outlook.reasons(loan)] for outlook in (after, loaded))
    assert told == looked_up
    assert {code for code, _ in told} == {"patron_blocked", "held", "would_not_extend"}


def test_a_loan_that_changed_more_than_its_copy_is_looked_up_anew(make, branch, patron, copy, lend):
    make.hold(book=copy.book, patron=patron)
    assert lend().scan is None
    assert lend(copy=make.copy(home_branch=branch)).scan is not None


def test_the_barcode_of_a_copy_that_goes_is_not_found(session, make, desk, patron):
    with refused_for("item_not_found"):
        lending.check_out(session, desk, "nope", patron.card_barcode, NOON)
