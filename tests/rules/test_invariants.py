"""Every invariant is seen to be missed: the constraints are taken away, the rows broken by hand, and it is told."""

import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.orm import Session

from library.database import WRITES
from library.models import ChargeReason, HoldState, PaymentMethod, Renewal, RenewalChannel
from library.rules import accounts, audit, ledger
from library.rules.desk import Desk
from library.rules.invariants import AUDIT, CHECKS, HOLDS, LEDGER, LOANS, check_invariants

NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)
DAY = timedelta(days=1)
TABLES = ("copies", "loans", "holds", "renewals", "due_changes", "account_entries", "allocations", "charge_loans")
TABLES += ("audit_events",)

# What is said of it, and what is done to the rows of `library` to hear it.
DAMAGES = {
    "copy {} has {} open loans": "UPDATE loans SET closed_at = NULL, closed_as = NULL WHERE id = {closed}",
    "loans {} and {} of copy {} overlap": """
        UPDATE loans SET closed_at = '2026-05-04 12:00:00.000001' WHERE id = {closed}""",
    "copy {} is on loan, and nobody has it": "UPDATE copies SET place = 'on_loan' WHERE id = {free}",
    "loan {} is open, and copy {} is {}": "UPDATE copies SET place = 'available' WHERE id = {lent}",
    "loan {} is open, says {} of copy {}, and that is {}": "UPDATE copies SET condition = 'lost' WHERE id = {lent}",
    "loan {} is open and has no patron": "UPDATE loans SET patron_id = NULL WHERE id = {open}",
    "loan {} was due before it began": "UPDATE loans SET due_at = checked_out_at WHERE id = {closed}",
    "loan {} ended before it began": "UPDATE loans SET closed_at = '2026-04-01 00:00:00.000000' WHERE id = {closed}",
    "loan {} ended, but not somehow": "UPDATE loans SET closed_as = NULL WHERE id = {closed}",
    "loan {} ended as {}, which it never was": "UPDATE loans SET closed_as = 'claim_found' WHERE id = {closed}",
    "loan {} counts {} renewals, and {} are written down": "UPDATE loans SET renewals = 2 WHERE id = {open}",
    "loan {} is due when no change of its due date says so": "UPDATE renewals SET due_at = was_due_at",
    "copy {} stands on the hold shelf for {} ready holds": """
        UPDATE copies SET place = 'on_hold_shelf' WHERE id = {free}""",
    "hold {} is ready at branch {}, and copy {} is {} at branch {}": """
        UPDATE copies SET current_branch_id = {elsewhere} WHERE id = {set_aside}""",
    "hold {} travels to branch {}, and copy {} is {} to {}": """
        UPDATE copies SET transit_to_branch_id = {here} WHERE id = {sent}""",
    "copy {} is {}, but travels to branch {}": "UPDATE copies SET transit_to_branch_id = {here} WHERE id = {free}",
    "hold {} of book {} is about copy {} of book {}": "UPDATE copies SET book_id = {other_book} WHERE id = {set_aside}",
    "hold {} wants copy {} and has copy {}": "UPDATE holds SET copy_id = {lent} WHERE id = {ready}",
    "copy {} is set aside for {} holds": """
        UPDATE holds SET state = 'ready', sort_key = NULL, assigned_copy_id = {set_aside} WHERE id = {first}""",
    "in the queue of book {}, {} holds stand in one place": """
        UPDATE holds SET sort_key = 7 WHERE id IN ({first}, {second})""",
    "hold {} is {}, and its place in the queue is {}": "UPDATE holds SET sort_key = NULL WHERE id = {first}",
    "hold {} is {}, and its copy is {}": "UPDATE holds SET assigned_copy_id = {free} WHERE id = {first}",
    "hold {} is ready for ever": "UPDATE holds SET shelf_until_at = NULL WHERE id = {ready}",
    "hold {} is {}, and ended at {} because it was {}": "UPDATE holds SET ended_why = NULL WHERE id = {ended}",
    "hold {} is open and has no patron": "UPDATE holds SET patron_id = NULL WHERE id = {first}",
    "account {} stands at {} cents, and its charges less its credits at {}": """
        UPDATE allocations SET amount_cents = 99 WHERE entry_id = {payment}""",
    "entry {} is a {} of {} cents": "UPDATE account_entries SET amount_cents = 0 WHERE id = {fine}",
    "entry {} is a {} of {} cents, of which {} are allotted": "DELETE FROM allocations WHERE entry_id = {payment}",
    "entry {} of account {} settles {} {} of account {}": """
        UPDATE account_entries SET patron_id = {other_patron} WHERE id = {payment}""",
    "charge {} of {} cents: received {}, waived {}, reversed {}, paid out {}": """
        UPDATE account_entries SET amount_cents = 50 WHERE id = {charge}""",
    "charge {} of account {} is for loan {} of patron {}": "UPDATE loans SET patron_id = NULL WHERE id = {closed}",
    "audit row {} is {}, and was answered with {}": "UPDATE audit_events SET status = 403",
    "audit row {} names one of the {}": "UPDATE audit_events SET object_kind = 'loans'",
    "audit row {} names the patron who acted on {}": """
        UPDATE audit_events SET object_kind = 'holds', object_id = NULL, actor_role = 'patron', actor_id = {patron}""",
    "API key {} was made, and {} rows of the audit say so": "UPDATE audit_events SET action = 'delete_api_key'",
    "user {} was erased, and {} rows of the audit say so": """
        UPDATE users SET erased_at = '2026-05-04 12:00:00.000000' WHERE id = {patron}""",
}


@pytest.fixture
def library(make, session: Session) -> dict[str, int]:
    """A library where all is well, with something of everything; keys by what they are."""
    here, elsewhere, patron, desk = make.branch(), make.branch(), make.user(), Desk(make.librarian())
    book, other_book = make.book(), make.book()
    lent, set_aside, sent, free = (make.copy(book=book, home_branch=here) for _ in range(4))
    # The second loan begins as the first ends.
    closed = make.loan(
        lent, patron, checked_out_at=NOON - 9 * DAY, due_at=NOON - 2 * DAY, closed_at=NOON, closed_as="returned"
    )
    open_ = make.loan(lent, patron, checked_out_at=NOON, due_at=NOON + 14 * DAY, renewals=1)
    was_due_at = NOON + 7 * DAY
    make.row(
        Renewal(
            loan_id=open_.id,
            renewed_at=NOON + DAY,
            channel=RenewalChannel.DESK,
            was_due_at=was_due_at,
            due_at=open_.due_at,
        )
    )
    ready = make.hold(assigned_copy=set_aside, state=HoldState.READY, pickup_branch=here)
    make.hold(assigned_copy=sent, state=HoldState.IN_TRANSIT, pickup_branch=elsewhere)
    first, second = make.hold(book), make.hold(book)
    ended = make.hold(book, state=HoldState.CANCELLED, ended_at=NOON, ended_why="cancelled_by_staff")
    charge = make.charge(patron, 100)
    payment = accounts.pay(session, desk, patron, 100, PaymentMethod.CASH, NOON).entry
    accounts.refund(session, desk, charge, 30, accounts.PayoutMethod.CASH, NOON)
    waived = ledger.charge(session, patron.id, 60, ChargeReason.MANUAL, NOON)
    accounts.waive(session, desk, waived, "Out of kindness.", NOON, 20)
    fine = ledger.charge(session, patron.id, 40, ChargeReason.OVERDUE, NOON, steps=steps(2, 40), loan_id=closed.id)
    key = make.api_key(patron)
    audit.write_done(session, "create_api_key", "patron", NOON, "api_keys", key.id)
    session.commit()
    rows = {
        "patron": patron,
        "here": here,
        "elsewhere": elsewhere,
        "other_patron": desk.actor,
        "other_book": other_book,
        "lent": lent,
        "set_aside": set_aside,
        "free": free,
        "sent": sent,
        "closed": closed,
        "open": open_,
        "ready": ready,
        "first": first,
        "second": second,
        "ended": ended,
        "charge": charge,
        "payment": payment,
        "fine": fine,
    }
    return {name: row.id for name, row in rows.items()}


def steps(days: int, cents: int, **cap: int) -> list[dict]:
    """How a fine was computed."""
    found = [
        {"step": "late", "per": "days", "count": days, "cents": None, "amount_cents": 0},
        {"step": "rate", "per": "days", "count": days, "cents": cents // days, "amount_cents": cents},
    ]
    return found + [
        {"step": name, "per": None, "count": None, "cents": most, "amount_cents": cents} for name, most in cap.items()
    ]


@pytest.fixture
def broken(session: Session, library: dict[str, int]) -> Iterator[Callable[[str], list[str]]]:
    """Call it with what is done to tables without constraints, and hear what the checks say; all is put back."""
    session.rollback()
    engine = session.get_bind()
    assert isinstance(engine, Engine)
    on_sqlite = engine.dialect.name == "sqlite"
    with engine.connect().execution_options(**{WRITES: True}) as connection:
        if on_sqlite:
            connection.connection.driver_connection.execute("PRAGMA foreign_keys=OFF")
        for table in TABLES:
            connection.execute(text(f"CREATE TABLE loose AS SELECT * FROM {table}"))
            connection.execute(text(f"DROP TABLE {table}{'' if on_sqlite else ' CASCADE'}"))
            connection.execute(text(f"ALTER TABLE loose RENAME TO {table}"))
            connection.execute(text(f"CREATE UNIQUE INDEX loose_{table} ON {table} (id)"))
        with Session(bind=connection) as loose:

            def break_and_look(statement: str) -> list[str]:
                with loose.begin_nested() as damage:
                    loose.execute(text(statement.format(**library)))
                    found = check_invariants(loose)
                    damage.rollback()
                return found

            yield break_and_look
        connection.rollback()
        if on_sqlite:
            connection.connection.driver_connection.execute("PRAGMA foreign_keys=ON")


def test_all_is_well_where_it_is(session, library):
    assert check_invariants(session) == []


def test_there_is_a_damage_for_every_statement():
    assert set(DAMAGES) == {*LOANS, *HOLDS, *LEDGER, *AUDIT}
    # And beside them the four below that are no single statement.
    assert len(CHECKS) == len(DAMAGES) + 4


def told(sentence: str) -> re.Pattern[str]:
    """What a sentence with gaps looks like when they are filled."""
    return re.compile(re.escape(sentence).replace(r"\{\}", ".+"))


def test_every_broken_row_is_told(broken):
    heard = {sentence: broken(statement) for sentence, statement in DAMAGES.items()}
    assert [sentence for sentence, found in heard.items() if not any(map(told(sentence).fullmatch, found))] == []


def test_a_cell_that_does_not_occur_is_told(broken):
    found = broken("UPDATE copies SET place = 'on_hold_shelf', condition = 'damaged' WHERE id = {set_aside}")
    assert found == ["copies are on_hold_shelf and damaged, which does not occur"]


def test_a_day_of_another_moment_is_told(broken, library):
    (of_loan,) = broken("UPDATE loans SET due_on = '2026-05-17' WHERE id = {open}")
    assert of_loan == f"loan {library['open']} is due on 2026-05-17, but at a moment of 2026-05-18"
    (of_hold,) = broken("UPDATE holds SET time_zone = 'UTC', shelf_until_on = '2026-01-01' WHERE id = {ready}")
    assert of_hold == f"hold {library['ready']} is ready until 2026-01-01, but until a moment of 2026-03-09"


@pytest.mark.parametrize(
    ("computed", "told"),
    [
        (steps(2, 40), []),
        (steps(2, 40, fine_cap=40), []),
        (steps(3, 40), ["counts 3 days, and 2 were left to be charged"]),
        (steps(2, 50), ["is 40 cents, which its steps do not come to"]),
        (steps(2, 40, price_cap=39), ["makes it 40 cents, and the cap is 39"]),
        ([], ["is 40 cents, which its steps do not come to"]),
    ],
)
def test_a_fine_beyond_its_days_or_its_cap_is_told(session, make, computed, told):
    loan = make.loan(due_at=NOON - 2 * DAY, closed_at=NOON, closed_as="returned")
    fine = ledger.charge(session, loan.patron_id, 40, ChargeReason.OVERDUE, NOON, steps=computed, loan_id=loan.id)
    assert check_invariants(session) == [f"fine {fine.id} of loan {loan.id} {what}" for what in told]


def test_no_day_is_fined_twice(session, make):
    loan = make.loan(due_at=NOON - 2 * DAY)
    about = {"loan_id": loan.id, "steps": steps(2, 40)}
    ledger.charge(session, loan.patron_id, 40, ChargeReason.OVERDUE, NOON, **about)
    again = ledger.charge(session, loan.patron_id, 40, ChargeReason.OVERDUE, NOON + DAY, **about)
    assert check_invariants(session) == [
        f"fine {again.id} of loan {loan.id} counts 2 days, and 1 were left to be charged"
    ]


def test_a_fine_by_the_hour_counts_hours_begun(session, make):
    loan = make.loan(due_at=NOON - timedelta(minutes=90))
    hours = [{"step": "rate", "per": "hours", "count": 2, "cents": 20, "amount_cents": 40}]
    ledger.charge(session, loan.patron_id, 40, ChargeReason.OVERDUE, NOON, loan_id=loan.id, steps=hours)
    assert check_invariants(session) == []
    hours = [{"step": "rate", "per": "hours", "count": 2, "cents": 20, "amount_cents": 40}]
    later = NOON + timedelta(minutes=5)
    again = ledger.charge(session, loan.patron_id, 40, ChargeReason.OVERDUE, later, loan_id=loan.id, steps=hours)
    assert check_invariants(session) == [
        f"fine {again.id} of loan {loan.id} counts 2 hours, and 1 were left to be charged"
    ]


def test_a_loan_that_was_renewed_is_fined_from_its_first_due_date_on(session, make):
    loan = make.loan(due_at=NOON + DAY, renewals=1)
    moved = {"was_due_at": NOON - 2 * DAY, "due_at": NOON + DAY}
    make.row(Renewal(loan_id=loan.id, renewed_at=NOON, channel=RenewalChannel.DESK, **moved))
    ledger.charge(session, loan.patron_id, 40, ChargeReason.OVERDUE, NOON, loan_id=loan.id, steps=steps(2, 40))
    assert check_invariants(session) == []


def test_a_key_that_leads_nowhere_is_told(session, on_postgres, broken):
    if on_postgres:
        pytest.skip("PostgreSQL lets no key lead nowhere")
    (violation,) = broken(
        "INSERT INTO patron_blocks (id, user_id, scope, reason, created_at, version)"
        " VALUES (1, 999, 'all', 'Loud.', '2026-05-04 12:00:00.000000', 1)"
    )
    assert violation == "row 1 of patron_blocks points at a row of users that is not there"
