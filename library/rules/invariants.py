"""Invariants: what holds after every commit, looked for in the rows themselves; used by tests and by `flask check`.

That no check-in leaves a copy on the shelf while an eligible hold waits cannot be read from rows, as whoever waits now
may have been suspended or blocked then, and a hold may be placed on a copy that stands on the shelf: the state machine
of the tests watches that, and the limits, which staff may override.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from sqlalchemy import func, select, text, union_all
from sqlalchemy.orm import Session

from library.models import AccountEntry, ChargeLoan, ChargeReason, Copy, DueChange, Hold, HoldState, Loan, Renewal
from library.rules.calendar import local_day
from library.rules.places import TABLE

HOUR = timedelta(hours=1)
_DUE = select(Loan.id, Loan.due_at, Loan.due_on, Loan.time_zone)
_READY: Any = select(Hold.id, Hold.shelf_until_at, Hold.shelf_until_on, Hold.time_zone).where(
    Hold.state == HoldState.READY, Hold.shelf_until_at.is_not(None), Hold.time_zone.is_not(None)
)
_FINES = (
    select(ChargeLoan.loan_id, AccountEntry.id, AccountEntry.made_at, AccountEntry.amount_cents, AccountEntry.steps)
    .join(AccountEntry, AccountEntry.id == ChargeLoan.entry_id)
    .where(AccountEntry.reason == ChargeReason.OVERDUE)
    .order_by(ChargeLoan.loan_id, AccountEntry.id)
)
CAPS = ("fine_cap", "price_cap", "largest_amount")

# What is said of each row that a statement finds; its columns fill the gaps.
LOANS = {
    "copy {} has {} open loans": """
        SELECT copy_id, count(*) FROM loans WHERE closed_at IS NULL GROUP BY copy_id HAVING count(*) > 1""",
    "loans {} and {} of copy {} overlap": """
        SELECT earlier_id, id, copy_id FROM (
            SELECT id, copy_id, checked_out_at, lag(id) OVER loans_of_copy AS earlier_id,
                lag(closed_at) OVER loans_of_copy AS earlier_closed_at
            FROM loans WINDOW loans_of_copy AS (PARTITION BY copy_id ORDER BY checked_out_at, id)
        ) AS ordered
        WHERE earlier_id IS NOT NULL AND (earlier_closed_at IS NULL OR earlier_closed_at > checked_out_at)""",
    "copy {} is on loan, and nobody has it": """
        SELECT copies.id FROM copies LEFT JOIN loans ON loans.copy_id = copies.id AND loans.closed_at IS NULL
        WHERE copies.place = 'on_loan' AND loans.id IS NULL""",
    "loan {} is open, and copy {} is {}": """
        SELECT loans.id, copies.id, copies.place FROM loans JOIN copies ON copies.id = loans.copy_id
        WHERE loans.closed_at IS NULL AND copies.place <> 'on_loan'""",
    "loan {} is open, says {} of copy {}, and that is {}": """
        SELECT id, said, copy_id, condition FROM (
            SELECT loans.id, copies.id AS copy_id, copies.condition,
                CASE WHEN lost_at IS NOT NULL THEN 'lost' WHEN claimed_at IS NOT NULL THEN 'claimed_returned'
                ELSE 'usable' END AS said
            FROM loans JOIN copies ON copies.id = loans.copy_id WHERE loans.closed_at IS NULL
        ) AS told WHERE said <> condition""",
    "loan {} is open and has no patron": "SELECT id FROM loans WHERE closed_at IS NULL AND patron_id IS NULL",
    "loan {} was due before it began": "SELECT id FROM loans WHERE due_at <= checked_out_at",
    "loan {} ended before it began": "SELECT id FROM loans WHERE closed_at < checked_out_at",
    "loan {} ended, but not somehow": "SELECT id FROM loans WHERE (closed_at IS NULL) <> (closed_as IS NULL)",
    "loan {} ended as {}, which it never was": """
        SELECT id, closed_as FROM loans
        WHERE (closed_as = 'lost_paid' AND lost_at IS NULL) OR (closed_as = 'claim_found' AND claimed_at IS NULL)""",
    "loan {} counts {} renewals, and {} are written down": """
        SELECT loans.id, loans.renewals, count(renewals.id)
        FROM loans LEFT JOIN renewals ON renewals.loan_id = loans.id
        GROUP BY loans.id, loans.renewals HAVING loans.renewals <> count(renewals.id)""",
    "loan {} is due when no change of its due date says so": """
        SELECT loans.id FROM loans JOIN (
            SELECT loan_id, due_at FROM renewals UNION ALL SELECT loan_id, due_at FROM due_changes
        ) AS moves ON moves.loan_id = loans.id
        GROUP BY loans.id HAVING sum(CASE WHEN moves.due_at = loans.due_at THEN 1 ELSE 0 END) = 0""",
}

HOLDS = {
    "copy {} stands on the hold shelf for {} ready holds": """
        SELECT copies.id, count(holds.id) FROM copies
        LEFT JOIN holds ON holds.assigned_copy_id = copies.id AND holds.state = 'ready'
        WHERE copies.place = 'on_hold_shelf' GROUP BY copies.id HAVING count(holds.id) <> 1""",
    "hold {} is ready at branch {}, and copy {} is {} at branch {}": """
        SELECT holds.id, pickup_branch_id, copies.id, place, current_branch_id
        FROM holds JOIN copies ON copies.id = holds.assigned_copy_id
        WHERE state = 'ready' AND (place <> 'on_hold_shelf' OR current_branch_id <> pickup_branch_id)""",
    "hold {} travels to branch {}, and copy {} is {} to {}": """
        SELECT holds.id, pickup_branch_id, copies.id, place, transit_to_branch_id
        FROM holds JOIN copies ON copies.id = holds.assigned_copy_id
        WHERE state = 'in_transit' AND (place <> 'in_transit' OR transit_to_branch_id <> pickup_branch_id)""",
    "copy {} is {}, but travels to branch {}": """
        SELECT id, place, transit_to_branch_id FROM copies
        WHERE (place = 'in_transit') <> (transit_to_branch_id IS NOT NULL)""",
    "hold {} of book {} is about copy {} of book {}": """
        SELECT holds.id, holds.book_id, copies.id, copies.book_id
        FROM holds JOIN copies ON copies.id IN (holds.copy_id, holds.assigned_copy_id)
        WHERE holds.ended_at IS NULL AND copies.book_id <> holds.book_id""",
    "hold {} wants copy {} and has copy {}": """
        SELECT id, copy_id, assigned_copy_id FROM holds WHERE assigned_copy_id <> copy_id""",
    "copy {} is set aside for {} holds": """
        SELECT assigned_copy_id, count(*) FROM holds WHERE ended_at IS NULL AND assigned_copy_id IS NOT NULL
        GROUP BY assigned_copy_id HAVING count(*) > 1""",
    "in the queue of book {}, {} holds stand in one place": """
        SELECT book_id, count(*) FROM holds WHERE sort_key IS NOT NULL
        GROUP BY book_id, sort_key HAVING count(*) > 1""",
    "hold {} is {}, and its place in the queue is {}": """
        SELECT id, state, sort_key FROM holds WHERE (state = 'queued') <> (sort_key IS NOT NULL)""",
    "hold {} is {}, and its copy is {}": """
        SELECT id, state, assigned_copy_id FROM holds
        WHERE (state IN ('ready', 'in_transit')) <> (assigned_copy_id IS NOT NULL)""",
    "hold {} is ready for ever": """
        SELECT id FROM holds WHERE state = 'ready' AND (shelf_until_at IS NULL OR shelf_until_on IS NULL)""",
    "hold {} is {}, and ended at {} because it was {}": """
        SELECT id, state, ended_at, ended_why FROM holds
        WHERE (state IN ('fulfilled', 'cancelled', 'expired')) <> (ended_at IS NOT NULL)
            OR (ended_at IS NULL) <> (ended_why IS NULL)""",
    "hold {} is open and has no patron": "SELECT id FROM holds WHERE ended_at IS NULL AND patron_id IS NULL",
}

LEDGER = {
    "account {} stands at {} cents, and its charges less its credits at {}": """
        SELECT accounts.patron_id, accounts.cents, coalesce(opened.cents, 0)
        FROM (SELECT patron_id, sum(amount_cents) AS cents FROM account_entries GROUP BY patron_id) AS accounts
        LEFT JOIN (
            SELECT patron_id, sum(amount_cents - coalesce(settled.cents, 0)) AS cents FROM account_entries
            LEFT JOIN (SELECT charge_id, sum(amount_cents) AS cents FROM allocations GROUP BY charge_id) AS settled
                ON settled.charge_id = account_entries.id
            WHERE kind = 'charge' GROUP BY patron_id
        ) AS opened ON opened.patron_id = accounts.patron_id
        WHERE accounts.cents <> coalesce(opened.cents, 0)""",
    "entry {} is a {} of {} cents": """
        SELECT id, kind, amount_cents FROM account_entries
        WHERE amount_cents = 0 OR (kind IN ('charge', 'refund') AND amount_cents < 0)
            OR (kind IN ('payment', 'waiver') AND amount_cents > 0)""",
    "entry {} is a {} of {} cents, of which {} are allotted": """
        SELECT account_entries.id, kind, account_entries.amount_cents, coalesce(sum(allocations.amount_cents), 0)
        FROM account_entries LEFT JOIN allocations ON allocations.entry_id = account_entries.id
        GROUP BY account_entries.id, kind, account_entries.amount_cents
        HAVING coalesce(sum(allocations.amount_cents), 0)
            <> CASE WHEN kind = 'charge' THEN 0 ELSE -account_entries.amount_cents END""",
    "entry {} of account {} settles {} {} of account {}": """
        SELECT settling.id, settling.patron_id, settled.kind, settled.id, settled.patron_id FROM allocations
        JOIN account_entries AS settling ON settling.id = allocations.entry_id
        JOIN account_entries AS settled ON settled.id = allocations.charge_id
        WHERE settled.kind <> 'charge' OR settling.patron_id <> settled.patron_id""",
    # A credit comes of reversing a charge that was paid, never of paying or waiving too much.
    "charge {} of {} cents: received {}, waived {}, reversed {}, paid out {}": """
        SELECT id, amount, received, waived, reversed, refunded FROM (
            SELECT charge.id, charge.amount_cents AS amount,
                sum(CASE WHEN coalesce(undone.kind, entry.kind) = 'payment' THEN part.amount_cents ELSE 0 END)
                    AS received,
                sum(CASE WHEN coalesce(undone.kind, entry.kind) = 'waiver' THEN part.amount_cents ELSE 0 END)
                    AS waived,
                sum(CASE WHEN coalesce(undone.kind, entry.kind) = 'charge' THEN part.amount_cents ELSE 0 END)
                    AS reversed,
                sum(CASE WHEN coalesce(undone.kind, entry.kind) = 'refund' THEN -part.amount_cents ELSE 0 END)
                    AS refunded
            FROM allocations AS part
            JOIN account_entries AS charge ON charge.id = part.charge_id
            JOIN account_entries AS entry ON entry.id = part.entry_id
            LEFT JOIN account_entries AS undone ON undone.id = entry.reverses_id
            GROUP BY charge.id, charge.amount_cents
        ) AS figures
        WHERE received < refunded OR refunded < 0 OR waived < 0 OR reversed < 0
            OR received + waived > amount OR waived + reversed > amount OR refunded > reversed""",
    "charge {} of account {} is for loan {} of patron {}": """
        SELECT account_entries.id, account_entries.patron_id, loans.id, loans.patron_id FROM charge_loans
        JOIN account_entries ON account_entries.id = charge_loans.entry_id
        JOIN loans ON loans.id = charge_loans.loan_id
        WHERE loans.patron_id IS NULL OR loans.patron_id <> account_entries.patron_id""",
}

# That every change has its row is the gate's to see to; told here is what rows alone can tell.
AUDIT = {
    "audit row {} is {}, and was answered with {}": """
        SELECT id, outcome, status FROM audit_events
        WHERE (outcome = 'refused') <> (coalesce(status, 200) >= 400)""",
    "audit row {} names one of the {}": """
        SELECT id, object_kind FROM audit_events
        WHERE object_kind IN ('loans', 'holds', 'renewals') AND object_id IS NOT NULL""",
    "audit row {} names the patron who acted on {}": """
        SELECT id, object_kind FROM audit_events
        WHERE object_kind IN ('loans', 'holds', 'renewals') AND actor_role = 'patron' AND actor_id IS NOT NULL""",
    "API key {} was made, and {} rows of the audit say so": """
        SELECT api_keys.id, count(audit_events.id) FROM api_keys
        LEFT JOIN audit_events ON object_kind = 'api_keys' AND object_id = api_keys.id
            AND action = 'create_api_key' AND outcome = 'done'
        GROUP BY api_keys.id HAVING count(audit_events.id) <> 1""",
    "user {} was erased, and {} rows of the audit say so": """
        SELECT users.id, count(audit_events.id) FROM users
        LEFT JOIN audit_events ON object_kind = 'users' AND object_id = users.id
            AND action = 'erase_user' AND outcome = 'done'
        WHERE users.erased_at IS NOT NULL GROUP BY users.id HAVING count(audit_events.id) <> 1""",
}


def check_invariants(session: Session) -> list[str]:
    """What is wrong, a sentence each, with keys; nothing where all is well. Let it read one snapshot."""
    return [violation for check in CHECKS for violation in check(session)]


def _rows(session: Session, statement: Any) -> Any:
    # Past the session: nothing here is a mapped row, and the state machine asks all of it after every step.
    return session.connection().execute(statement)


def _found(sentence: str, statement: str, session: Session) -> Iterator[str]:
    for row in session.connection().exec_driver_sql(statement):
        yield sentence.format(*row)


def _cells(session: Session) -> Iterator[str]:
    for place, condition in _rows(session, select(Copy.place, Copy.condition).distinct()):
        if (place, condition) not in TABLE:
            yield f"copies are {place} and {condition}, which does not occur"


def _local_days(session: Session) -> Iterator[str]:
    for key, at, on, time_zone in _rows(session, _DUE):
        if local_day(at, time_zone) != on:
            yield f"loan {key} is due on {on}, but at a moment of {local_day(at, time_zone)}"
    for key, at, on, time_zone in _rows(session, _READY):
        if local_day(at, time_zone) != on:
            yield f"hold {key} is ready until {on}, but until a moment of {local_day(at, time_zone)}"


def _fines(session: Session) -> Iterator[str]:
    """One fine a loan and day, and no more than its cap: a fine counts no days on which an earlier one was written."""
    fines = _rows(session, _FINES).all()
    since = _first_due(session) if fines else {}
    summed: dict[int, int] = {}
    for loan_id, key, made_at, cents, steps in fines:
        time_zone, began = since[loan_id]
        before = summed.get(loan_id, 0)
        yield from _faults(f"fine {key} of loan {loan_id}", cents, steps or [], before, began, made_at, time_zone)
        summed[loan_id], since[loan_id] = before + cents, (time_zone, made_at)


def _first_due(session: Session) -> dict[int, tuple[str, datetime]]:
    """The zone of each loan that was fined, and the first moment at which it was ever due."""
    moves = union_all(*(select(table.loan_id, table.was_due_at) for table in (Renewal, DueChange))).subquery()
    earliest = select(moves.c.loan_id, func.min(moves.c.was_due_at).label("moment")).group_by(moves.c.loan_id)
    first = {row.loan_id: row.moment for row in _rows(session, earliest)}
    fined = select(Loan.id, Loan.time_zone, Loan.due_at).where(Loan.id.in_(select(ChargeLoan.loan_id)))
    return {key: (zone, min(due_at, first.get(key, due_at))) for key, zone, due_at in _rows(session, fined)}


def _faults(
    fine: str,
    cents: int,
    steps: Sequence[dict[str, Any]],
    before: int,
    since: datetime,
    until: datetime,
    time_zone: str,
) -> Iterator[str]:
    if not steps or steps[-1]["amount_cents"] != cents:
        yield f"{fine} is {cents} cents, which its steps do not come to"
    days = (local_day(until, time_zone) - local_day(since, time_zone)).days
    for per, most in {"days": days, "hours": (until - since) // HOUR + 1}.items():
        counted = sum(step["count"] for step in steps if step["step"] == "rate" and step["per"] == per)
        if counted > max(0, most):
            yield f"{fine} counts {counted} {per}, and {max(0, most)} were left to be charged"
    for step in steps:
        if step["step"] in CAPS and before + cents > max(before, step["cents"]):
            yield f"{fine} makes it {before + cents} cents, and the cap is {step['cents']}"


def _foreign_keys(session: Session) -> Iterator[str]:
    # PostgreSQL does not let them be broken.
    if session.get_bind().dialect.name == "sqlite":
        for table, key, parent, _ in _rows(session, text("PRAGMA foreign_key_check")):
            yield f"row {key} of {table} points at a row of {parent} that is not there"


CHECKS: tuple[Callable[[Session], Iterable[str]], ...] = (
    *(partial(_found, sentence, statement) for sentence, statement in {**LOANS, **HOLDS, **LEDGER, **AUDIT}.items()),
    _cells,
    _local_days,
    _fines,
    _foreign_keys,
)
