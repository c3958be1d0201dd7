"""`flask check`: it counts what it looked for, or tells what is wrong and ends with status 1."""

from sqlalchemy import text

from library.rules.invariants import CHECKS


def test_it_says_that_all_is_well(run, make):
    make.loan()
    result = run("check")
    assert (result.exit_code, result.output) == (0, f"well: {len(CHECKS)} checks\n")


def test_it_tells_what_is_wrong(run, make, session):
    copy = make.loan().copy
    session.execute(text(f"UPDATE copies SET place = 'available' WHERE id = {copy.id}"))
    session.commit()
    result = run("check")
    assert result.exit_code == 1
    assert result.output == f"loan 1 is open, and copy {copy.id} is available\nError: 1 found by {len(CHECKS)} checks\n"


def test_it_wants_todays_tables(run, session):
    head = session.scalar(text("SELECT version_num FROM alembic_version"))
    session.execute(text("UPDATE alembic_version SET version_num = 'earlier'"))
    session.commit()
    try:
        result = run("check")
    finally:
        session.execute(text("UPDATE alembic_version SET version_num = :head"), {"head": head})
        session.commit()
    assert result.exit_code == 1
    assert "run: flask db upgrade" in result.output
