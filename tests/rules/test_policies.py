"""Policies: each kind resolves alone, the narrowest row holds, and every value has its form."""

import json
from datetime import date
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from library.models import Policy, PolicyKind
from library.rules import policies
from library.rules.policies import SHAPES, FineRate, Length, PolicyTable, Row, Unit, value_of

from .helping import refused_for

MAX_LOANS = PolicyKind.MAX_LOANS


def test_an_empty_table_lends_for_four_weeks_and_limits_nothing(session):
    rules = policies.load(session).at(1, 2, 3)
    assert rules[PolicyKind.LOAN_PERIOD] == Length(28, Unit.DAYS)
    assert rules[PolicyKind.SHELF_PERIOD] == Length(7, Unit.DAYS)
    assert rules[PolicyKind.MAX_HOLDS_PER_BOOK] == 1
    limits = [kind for kind in PolicyKind if kind.startswith("max_") and kind is not PolicyKind.MAX_HOLDS_PER_BOOK]
    assert {rules[kind] for kind in limits} == {None}
    assert {resolved.policy_id for resolved in rules} == {None}
    assert [resolved.kind for resolved in rules] == list(PolicyKind)


def test_every_kind_has_a_form_and_its_default_keeps_to_it():
    assert set(SHAPES) == set(PolicyKind)
    for kind, shape in SHAPES.items():
        assert shape.meaning.endswith("."), kind
        assert shape.default is None or value_of(kind, shape.default) is not None
        assert shape.default is not None or shape.may_be_null, kind


@pytest.mark.parametrize(
    ("kind", "word"),
    [
        ("renew_from", policies.RenewFrom.DUE_DATE),
        ("renew_overdue", policies.RenewOverdue.ALLOW),
        ("renew_when_held", policies.RenewWhenHeld.NEVER),
        ("due_on_closed_day", policies.ClosedDay.NEXT_OPEN),
        ("hours_loan_ends", policies.HoursEnd.LAST_CLOSING),
        ("lost_refund", policies.LostRefund.REFUND),
    ],
)
def test_choices_are_words(kind, word):
    assert PolicyTable({}).at(None, None, None)[PolicyKind(kind)] is word
    for other in type(word):
        assert value_of(PolicyKind(kind), other.value) is other
    with pytest.raises(ValueError, match=word.value):
        value_of(PolicyKind(kind), "sometimes")


# Which row holds.

parts = st.none() | st.integers(1, 3)
scopes = st.tuples(parts, parts, parts)


@given(st.dictionaries(scopes, st.none() | st.integers(0, 99), max_size=30), scopes)
def test_the_narrowest_row_that_fits_holds(values, asked):
    rows = [Row(number, scope, value) for number, (scope, value) in enumerate(values.items(), 1)]
    rules = PolicyTable({MAX_LOANS: rows}).at(*asked)
    branch, category, item_type = asked
    # From the narrowest to the widest, as the weights 4, 2, 1 order them.
    order = dict.fromkeys(product((branch, None), (category, None), (item_type, None)))
    expected = next((row for scope in order for row in rows if row.scope == scope), None)
    assert rules.resolve(MAX_LOANS).policy_id == (expected.id if expected else None)
    assert rules[MAX_LOANS] == (expected.value if expected else None)


def test_a_branch_beats_a_category_and_a_category_an_item_type(session, make):
    branch, category, item_type = make.branch(), make.category(), make.item_type()
    widest = make.policy("max_loans", 1)
    rows = [
        make.policy("max_loans", 2, item_type=item_type),
        make.policy("max_loans", 3, patron_category=category),
        make.policy("max_loans", 4, patron_category=category, item_type=item_type),
        make.policy("max_loans", 5, branch=branch),
    ]
    for row in reversed(rows):
        rules = policies.load(session).at(branch.id, category.id, item_type.id)
        assert (rules[MAX_LOANS], rules.resolve(MAX_LOANS).policy_id) == (row.value, row.id)
        session.delete(row)
        session.commit()
    elsewhere = policies.load(session).at(branch.id + 1, None, None)
    assert (elsewhere[MAX_LOANS], elsewhere.resolve(MAX_LOANS).policy_id) == (1, widest.id)


def test_kinds_resolve_apart_from_one_another(session, make):
    branch, category = make.branch(), make.category()
    ours = make.policy("max_loans", 5, branch=branch)
    theirs = make.policy("loan_period", {"number": 3, "unit": "hours"}, patron_category=category)
    rules = policies.load(session).at(branch.id, category.id, None)
    assert (rules[MAX_LOANS], rules.resolve(MAX_LOANS).policy_id) == (5, ours.id)
    assert rules[PolicyKind.LOAN_PERIOD] == Length(3, Unit.HOURS)
    assert rules.resolve(PolicyKind.LOAN_PERIOD).policy_id == theirs.id
    assert rules.resolve(PolicyKind.SHELF_PERIOD).policy_id is None


def test_null_lifts_a_wider_limit(session, make):
    branch = make.branch()
    make.policy("max_loans", 5)
    lifting = make.policy("max_loans", None, branch=branch)
    table = policies.load(session)
    assert table.at(branch.id, None, None)[MAX_LOANS] is None
    assert table.at(branch.id, None, None).resolve(MAX_LOANS).policy_id == lifting.id
    assert table.at(None, None, None)[MAX_LOANS] == 5


def test_a_table_knows_whether_any_row_speaks_of_a_kind(session, make):
    make.policy("max_loans", None, branch=make.branch())
    table = policies.load(session)
    assert [table.mentions(kind) for kind in (MAX_LOANS, PolicyKind.MAX_HOLDS)] == [True, False]


def test_all_policies_are_read_in_one_statement(session, make, statements):
    for number in range(5):
        make.policy("max_loans", number, branch=make.branch())
        make.policy("fine_rate", {"per": "day", "cents": number}, item_type=make.item_type())
    statements.clear()
    table = policies.load(session)
    asked = [table.at(branch_id, None, branch_id) for branch_id in range(6)]
    assert [rules[kind] for rules in asked for kind in PolicyKind]
    assert len(statements) == 1
    assert table.at(3, None, 3) is asked[3]


@pytest.mark.parametrize("scoped", [False, True])
def test_one_row_of_a_kind_for_each_scope(session, make, scoped):
    scope = {"branch": make.branch(), "item_type": make.item_type()} if scoped else {}
    make.policy("max_loans", 5, **scope)
    make.policy("max_holds", 5, **scope)
    with refused_for("already_exists") as refused:
        policies.save(session, Policy(kind=MAX_LOANS, value=6), scope)
    (reason,) = refused.value.reasons
    assert reason.params == {"members": ["kind", "branch_id", "patron_category_id", "item_type_id"]}
    assert reason.pointer == "/kind"


def test_what_holds_for_a_patron_and_a_copy_follows_where_the_copy_is(session, make):
    here, there = make.branch(), make.branch()
    copy, patron = make.copy(home_branch=there, current_branch_id=here.id), make.user()
    make.policy("max_loans", 1, branch=here)
    make.policy("max_loans", 2, branch=there)
    assert policies.effective(session, patron, copy, None)[MAX_LOANS] == 1
    assert policies.effective(session, patron, copy, there.id)[MAX_LOANS] == 2
    assert policies.effective(session, None, None, None)[MAX_LOANS] is None


# The forms of values.

GOOD = [
    ("max_loans", 0, 0),
    ("max_debt_cents", 2**31 - 1, 2**31 - 1),
    ("minimum_age", 18, 18),
    ("loan_period", {"unit": "hours", "number": 4}, Length(4, Unit.HOURS)),
    ("renewal_period", None, None),
    ("lost_after", {"number": 45, "unit": "days"}, Length(45, Unit.DAYS)),
    ("auto_renew", True, True),
    ("hard_due_on", "2028-02-29", date(2028, 2, 29)),
    ("hard_due_on", None, None),
    ("lost_refund", "unpaid_part", policies.LostRefund.UNPAID_PART),
    ("fine_rate", {"cents": 20, "per": "day"}, FineRate(Unit.DAYS, ((1, 20),))),
    (
        "fine_rate",
        {"per": "hour", "steps": [{"from": 1, "cents": 10}, {"from": 8, "cents": 50}]},
        FineRate(Unit.HOURS, ((1, 10), (8, 50))),
    ),
]
BAD = [
    ("max_loans", -1),
    ("max_loans", 2**31),
    ("max_loans", 1.0),
    ("max_loans", True),
    ("max_loans", "5"),
    ("max_loans", {"number": 5, "unit": "days"}),
    ("processing_fee_cents", None),
    ("loan_period", None),
    ("loan_period", 28),
    ("loan_period", {"number": 28}),
    ("loan_period", {"number": 28, "unit": "weeks"}),
    ("loan_period", {"number": 28, "unit": ["days"]}),
    ("loan_period", {"number": 28, "unit": "days", "more": 1}),
    ("loan_period", {"number": -1, "unit": "days"}),
    ("loan_period", {"number": 36_501, "unit": "days"}),
    ("auto_renew", 1),
    ("auto_renew", None),
    ("hard_due_on", "2026-02-29"),
    ("hard_due_on", "2201-01-01"),
    ("hard_due_on", "2026-W09-1"),
    ("hard_due_on", 20260630),
    ("renew_from", ["today"]),
    ("renew_from", None),
    ("fine_rate", 20),
    ("fine_rate", {"cents": 20}),
    ("fine_rate", {"cents": 20, "per": "week"}),
    ("fine_rate", {"cents": 20, "per": ["day"]}),
    ("fine_rate", {"cents": 20, "per": "day", "steps": [{"from": 1, "cents": 10}]}),
    ("fine_rate", {"per": "day", "steps": []}),
    ("fine_rate", {"per": "day", "steps": {"from": 1, "cents": 10}}),
    ("fine_rate", {"per": "day", "steps": [{"from": 0, "cents": 10}]}),
    ("fine_rate", {"per": "day", "steps": [{"from": 5, "cents": 10}, {"from": 5, "cents": 20}]}),
    ("fine_rate", {"per": "day", "steps": [{"from": 1, "cents": 10}] * 21}),
    ("fine_rate", {"per": "day", "steps": [[1, 10]]}),
]


@pytest.mark.parametrize(("kind", "stored", "value"), GOOD)
def test_values_that_have_their_form(kind, stored, value):
    assert value_of(PolicyKind(kind), stored) == value


@pytest.mark.parametrize(("kind", "stored"), BAD)
def test_values_that_have_not_are_told_what_is_expected(kind, stored):
    with pytest.raises(ValueError) as caught:
        value_of(PolicyKind(kind), stored)
    assert str(caught.value) == SHAPES[PolicyKind(kind)].expected


words = st.sampled_from(["number", "unit", "per", "cents", "steps", "from"]) | st.text(max_size=3)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=9),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["number", "unit", "per", "cents", "steps", "from"]) | st.text(max_size=3), inner
        )
    ),
    max_leaves=8,
)


def read(kind, stored):
    """The value, or the words with which it is refused."""
    try:
        return value_of(kind, stored), None
    except ValueError as error:
        return None, str(error)


@given(st.sampled_from(PolicyKind), json_values)
def test_any_json_is_a_value_or_is_refused_with_words(kind, stored):
    value, words = read(kind, json.loads(json.dumps(stored)))
    if words is None:
        assert (value is None) == (stored is None)
    else:
        assert words == SHAPES[kind].expected
