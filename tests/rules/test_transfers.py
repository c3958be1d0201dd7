"""Transfers: ways that copies do not travel."""

import pytest

from library.models import TransferLimit
from library.rules import transfers

from .helping import refused_for


def test_nothing_is_forbidden_at_first(session, make):
    assert transfers.load(session).allows(1, 2, None)
    assert transfers.load(session).allows(1, 2, 3)


def test_a_limit_forbids_one_direction_for_all_copies(session, make):
    here, there = make.branch(), make.branch()
    make.transfer_limit(here, there)
    limits = transfers.load(session)
    assert not limits.allows(here.id, there.id, None)
    assert not limits.allows(here.id, there.id, 7)
    assert limits.allows(there.id, here.id, None)
    assert limits.allows(here.id, there.id + 1, None)


def test_a_limit_for_one_item_type_leaves_the_others(session, make):
    here, there, films = make.branch(), make.branch(), make.item_type()
    make.transfer_limit(here, there, films)
    limits = transfers.load(session)
    assert not limits.allows(here.id, there.id, films.id)
    assert limits.allows(here.id, there.id, films.id + 1)
    assert limits.allows(here.id, there.id, None)


def test_within_a_branch_every_copy_may_travel():
    assert transfers.TransferLimits([(1, 1, None)]).allows(1, 1, None)


@pytest.mark.parametrize("typed", [False, True])
def test_each_way_is_forbidden_once(session, make, typed):
    here, there = make.branch(), make.branch()
    item_type = make.item_type() if typed else None
    make.transfer_limit(here, there, item_type)
    make.transfer_limit(there, here, item_type)
    with refused_for("already_exists") as refused:
        way = {"from_branch": here, "to_branch": there, "item_type": item_type}
        transfers.save(session, TransferLimit(), way)
    assert refused.value.reasons[0].params == {"members": ["from_branch_id", "to_branch_id", "item_type_id"]}


def test_all_limits_are_read_in_one_statement(session, make, statements):
    for _ in range(3):
        make.transfer_limit()
    statements.clear()
    assert len(transfers.load(session).forbidden) == 3
    assert len(statements) == 1
