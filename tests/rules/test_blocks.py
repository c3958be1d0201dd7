"""Blocks without HTTP: laid with author and moment, found by patron."""

from datetime import date

from library.models import BlockScope
from library.rules import blocks


def test_a_block_says_who_laid_it_and_when(session, make, now):
    staff, patron = make.librarian(), make.user()
    values = {"scope": BlockScope.HOLDS, "until_on": date(2026, 12, 31), "reason": "Never collects."}
    block = blocks.create(session, staff, patron, values, now)
    session.commit()
    session.expire_all()
    assert (block.user_id, block.created_by_id, block.created_at) == (patron.id, staff.id, now)
    assert (block.scope, block.until_on, block.reason) == tuple(values.values())


def test_a_block_bars_from_everything_and_for_ever_by_default(session, make, now):
    block = blocks.create(session, make.librarian(), make.user(), {"reason": "x"}, now)
    assert (block.scope, block.until_on) == (BlockScope.ALL, None)


def test_the_blocks_of_one_patron_are_found(session, make, now):
    staff, patron, other = make.librarian(), make.user(), make.user()
    first = blocks.create(session, staff, patron, {"reason": "a"}, now)
    blocks.create(session, staff, other, {"reason": "b"}, now)
    ended = blocks.create(session, staff, patron, {"reason": "c", "until_on": date(2020, 1, 1)}, now)
    assert session.scalars(blocks.find_blocks(patron)).all() == [first, ended]
