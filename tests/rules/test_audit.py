"""The audit's rows: what stands in them, what is kept out of them, and that nobody takes them back."""

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import func, select, text
from sqlalchemy.exc import DatabaseError

from library.database import transaction
from library.models import AuditEvent, AuditOutcome, Base, JobKind
from library.rules import audit
from library.rules.nightly import STEPS
from library.working import FORGETTING, work_step

from .nights import night, work

NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)
DAY = timedelta(days=1)


def rows(session) -> list[AuditEvent]:
    session.rollback()
    found = list(session.scalars(select(AuditEvent).order_by(AuditEvent.id)))
    session.expunge_all()
    session.rollback()
    return found


@pytest.fixture
def write(session):
    """Call it with what an event says beside its moment, for the row it becomes."""

    def one(**values) -> AuditEvent:
        event = {"at": NOON, "action": "patch_user", "actor_role": "librarian", **values}
        with transaction(session, write=True):
            audit.write(session, audit.Event(**event))
        return rows(session)[-1]

    return one


def test_a_row_says_who_did_what_to_what_and_when(write):
    row = write(actor_id=3, object_kind="users", object_id=7, members=["email"], status=200, request_id="r-1")
    assert (row.at, row.action, row.outcome) == (NOON, "patch_user", AuditOutcome.DONE)
    assert (row.actor_id, row.actor_role, row.object_kind, row.object_id) == (3, "librarian", "users", 7)
    assert (row.members, row.codes, row.status, row.request_id) == (["email"], [], 200, "r-1")


def test_a_row_goes_with_its_change(session):
    def change_and_fall() -> None:
        with transaction(session, write=True):
            audit.write_done(session, "create_admin", audit.COMMAND, NOON, "users", 1)
            raise LookupError

    with pytest.raises(LookupError):
        change_and_fall()
    assert rows(session) == []


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE audit_events SET actor_id = NULL",
        "UPDATE audit_events SET outcome = 'done'",
        "DELETE FROM audit_events",
        "DELETE FROM audit_events WHERE id = 1",
    ],
)
def test_what_is_written_stays_as_it_is(session, write, change):
    write(actor_id=3, outcome=AuditOutcome.REFUSED, status=403)
    with pytest.raises(DatabaseError, match="append-only"), transaction(session, write=True):
        session.execute(text(change))
    (row,) = rows(session)
    assert (row.actor_id, row.outcome) == (3, AuditOutcome.REFUSED)


def test_nor_is_it_written_over(session, write):
    write(actor_id=3)
    over = {
        "sqlite": "INSERT OR REPLACE INTO audit_events SELECT * FROM audit_events",
        "postgresql": "INSERT INTO audit_events SELECT * FROM audit_events ON CONFLICT (id) DO UPDATE SET actor_id = 4",
    }
    with pytest.raises(DatabaseError, match="append-only"), transaction(session, write=True):
        session.execute(text(over[session.get_bind().dialect.name]))
    assert [row.actor_id for row in rows(session)] == [3]


def test_no_row_holds_on_to_anything_or_is_held():
    table = AuditEvent.__table__
    assert not table.foreign_keys
    assert not [
        key for other in Base.metadata.tables.values() for key in other.foreign_keys if key.column.table is table
    ]


def test_of_what_is_borrowed_a_row_names_the_kind_only():
    event = audit.Event(NOON, "renew", "patron", 7, 2, "loans", 98, request_id="r-1")
    kept = event.withheld(chosen_id=False)
    assert (kept.object_kind, kept.object_id, kept.actor_role) == ("loans", None, "patron")
    assert (kept.actor_id, kept.api_key_id, kept.request_id) == (None, None, "r-1")
    assert event.withheld(chosen_id=True).request_id is None


def test_who_acts_at_the_desk_is_named_with_what_is_borrowed():
    event = audit.Event(NOON, "check_in", "librarian", 3, None, "loans", 98, request_id="r-1").withheld(chosen_id=True)
    assert (event.actor_id, event.object_id, event.request_id) == (3, None, "r-1")


@pytest.mark.parametrize(
    ("permission", "told"),
    [
        ("loans.renew", True),
        ("holds.write", True),
        ("copies.mark", True),
        ("copies.write", False),
        ("users.write", False),
    ],
)
def test_what_tells_of_reading(permission, told):
    assert audit.is_about_reading(permission) is told


def test_rows_are_found_by_what_they_hold(session, write):
    first = write(actor_id=3, object_kind="users", object_id=7, request_id="r-1")
    second = write(at=NOON + DAY, action="create_book", actor_id=4, outcome=AuditOutcome.REFUSED, status=403)

    def found(**filters) -> list[int]:
        return [row.id for row in session.scalars(audit.find_events(**filters).order_by(AuditEvent.id))]

    assert found() == [first.id, second.id]
    assert found(actor_id=3) == found(object_kind="users", object_id=7) == found(request_id="r-1") == [first.id]
    assert found(action="create_book") == found(outcome=AuditOutcome.REFUSED) == [second.id]
    assert found(at_min=NOON + DAY) == [second.id]
    assert found(at_max=NOON) == [first.id]
    assert found(at_min=NOON + timedelta(seconds=1), at_max=NOON + 2 * timedelta(seconds=1)) == []


def test_the_night_leaves_a_row_of_each_record_it_changed(session, make):
    ended = {"closed_at": NOON, "closed_as": "returned", "due_at": NOON + DAY}
    for _ in range(2):
        make.loan(checked_out_at=NOON - DAY, **ended)
    before = datetime.now(UTC)
    found, done, _ = work(session, "cut_history", NOON + DAY)
    assert (found, done) == (2, 2)
    told = rows(session)
    assert [(row.action, row.actor_role, row.object_kind, row.object_id) for row in told] == [
        ("cut_history", "job", "loans", None)
    ] * 2
    assert all(before <= row.at <= datetime.now(UTC) for row in told), "real time, whatever day the night takes for its"
    # What is done already is no change.
    assert work(session, "cut_history", NOON + DAY)[1] == 0
    assert len(rows(session)) == 2


def test_a_record_that_could_not_be_done_leaves_no_row(session, make):
    make.loan(checked_out_at=NOON - DAY, closed_at=NOON, closed_as="returned", due_at=NOON + DAY)

    def witness(_session, _found: int, done: int, _skipped: int) -> None:
        if done:
            raise LookupError("after the change")

    tally = work_step(session, JobKind.CUT_HISTORY, night(NOON + DAY), witness)
    assert (tally.found, tally.failed) == (1, 1)
    assert rows(session) == []


def test_the_step_that_only_forgets_leaves_none():
    assert set(FORGETTING) < set(STEPS)


def test_commands_at_night_are_told_from_jobs(session, make):
    make.loan(checked_out_at=NOON - DAY, closed_at=NOON, closed_as="returned", due_at=NOON + DAY)
    work_step(session, JobKind.CUT_HISTORY, night(NOON + DAY), role=audit.COMMAND)
    assert session.scalar(select(func.count()).where(AuditEvent.actor_role == "command")) == 1
