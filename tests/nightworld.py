"""A small library in the evening, with something for every step of the night; and what there is to be seen of it."""

import random
from datetime import UTC, datetime, timedelta
from typing import Any

from factories import Factories
from sqlalchemy import func, select
from sqlalchemy.orm import Session, aliased

from library.models import (
    AccountEntry,
    Allocation,
    AuditEvent,
    Branch,
    ChargeLoan,
    Copy,
    CopyCondition,
    HistoryMode,
    Hold,
    HoldState,
    IdempotencyKey,
    Loan,
    LoanClosing,
    Notice,
    PaymentMethod,
    Renewal,
    User,
)
from library.rules import accounts
from library.rules.calendar import end_of_day, local_day
from library.rules.desk import Desk

# A Monday, half past midnight in Berlin: in New York it is still Sunday, in Tokyo the day has begun.
NIGHT = datetime(2026, 5, 31, 22, 30, tzinfo=UTC)
DAY = timedelta(days=1)
EVERYWHERE: dict[str, Any] = {
    "fine_rate": {"cents": 20, "per": "day"},
    "fine_cap_cents": 1000,
    "lost_after": {"number": 30, "unit": "days"},
    "processing_fee_cents": 300,
    "max_debt_cents": 2500,
    "max_renewals": 2,
}


class Unhurried(Factories):
    """Factories that leave it to their user to commit."""

    def _kept(self, row: Any) -> Any:
        self.session.add(row)
        self.session.flush()
        return row


def build(session: Session, seed: int) -> None:
    """Fill an empty database; the same seed gives the same rows."""
    _build(Unhurried(session), seed)
    session.commit()


def _build(make: Factories, seed: int) -> None:
    chance = random.Random(seed)
    branches = [
        make.branch(time_zone="Europe/Berlin"),
        make.branch(time_zone="Asia/Tokyo"),
        make.branch(time_zone="America/New_York", hours=[{"weekday": 1, "opens": "09:00", "closes": "18:00"}]),
    ]
    types = [make.item_type(default_price_cents=1500), make.item_type(default_price_cents=2500)]
    for kind, value in EVERYWHERE.items():
        make.policy(kind, value)
    make.policy("auto_renew", True, item_type=types[0])
    make.policy("expire_ready_when_not_needed", True, branch=branches[1])
    make.policy("expire_on_closed_days", False, branch=branches[2])
    make.policy("renew_overdue", "refuse_all", branch=branches[2])
    patrons = [
        make.user(home_branch=chance.choice(branches), history=chance.choice(list(HistoryMode))) for _ in range(14)
    ]
    for patron in chance.sample(patrons, 4):
        make.charge(patron, chance.randrange(100, 900))
    for _ in range(16):
        book = make.book()
        waiting = chance.sample(patrons, 10)
        for _ in range(6):
            home = chance.choice(branches)
            copy = make.copy(book=book, home_branch=home, item_type_id=chance.choice(types).id)
            chance.choice((_leave, _lend, _lend, _lend, _end, _end, _set_aside))(
                make, chance, copy, chance.choice(patrons), waiting
            )
        for patron in waiting[: chance.choice((0, 0, 3, 4))]:
            _wait(make, chance, patron, book=book)
    for number, patron in enumerate(patrons):
        # Expired long ago by any clock, or not yet by any.
        made = {
            "created_at": datetime(2100 if number % 3 else 2020, 1, 1, tzinfo=UTC),
            "fingerprint": "f",
            "status": 204,
        }
        make.row(IdempotencyKey(user_id=patron.id, call="POST /loans", key=f"k{number}", **made))


def _leave(make: Factories, chance: random.Random, copy: Copy, patron: User, waiting: list[User]) -> None:
    """It stands on its shelf."""


def _lend(make: Factories, chance: random.Random, copy: Copy, patron: User, waiting: list[User]) -> None:
    zone, days = copy.home_branch.time_zone, chance.choice((-45, -31, -30, -14, -9, -7, -1, 0, 0, 0, 0, 1, 2, 9))
    day = local_day(NIGHT, zone) + DAY * days
    due_at = end_of_day(day, zone)
    loan = make.loan(copy=copy, patron=patron, checked_out_at=due_at - 28 * DAY, due_at=due_at)
    loan.time_zone, loan.due_on = zone, day
    if chance.random() < 0.2:
        loan.claimed_at, copy.condition = due_at - DAY, CopyCondition.CLAIMED_RETURNED


def _end(make: Factories, chance: random.Random, copy: Copy, patron: User, waiting: list[User]) -> None:
    zone, closed_at = copy.home_branch.time_zone, NIGHT - DAY * chance.choice((0.01, 0.5, 1, 10, 40))
    due_at = end_of_day(local_day(closed_at, zone) - 22 * DAY, zone)
    begun, ended = {"checked_out_at": due_at - 28 * DAY, "due_at": due_at}, {"closed_at": closed_at}
    loan = make.loan(copy=copy, patron=patron, closed_as=LoanClosing.RETURNED, **begun, **ended)
    loan.time_zone, loan.due_on = zone, local_day(due_at, zone)
    if chance.random() < 0.6:
        charge = make.charge(loan=loan, cents=440)
        if chance.random() < 0.5:
            desk = Desk(None, make.session.get(Branch, copy.home_branch_id))
            cents = chance.choice((440, 100))
            accounts.pay(make.session, desk, loan.patron, cents, PaymentMethod.CASH, closed_at, charges=[charge])
            make.row(
                Notice(
                    patron_id=patron.id, kind="overdue", occasion=f"x{loan.id}", loan_id=loan.id, created_at=closed_at
                )
            )


def _set_aside(make: Factories, chance: random.Random, copy: Copy, patron: User, waiting: list[User]) -> None:
    state = chance.choice((HoldState.READY, HoldState.READY, HoldState.IN_TRANSIT))
    values: dict[str, Any] = {"state": state, "assigned_copy": copy, "pickup_branch": copy.home_branch}
    if state is HoldState.READY:
        zone = copy.home_branch.time_zone
        day = local_day(NIGHT, zone) - DAY * chance.choice((3, 1, 0, -1, -3))
        values |= {"shelf_until_at": end_of_day(day, zone), "shelf_until_on": day, "time_zone": zone}
        values["ready_at"] = values["shelf_until_at"] - 7 * DAY
    _wait(make, chance, waiting.pop(), **values)


def _wait(make: Factories, chance: random.Random, patron: User, **values: Any) -> None:
    if chance.random() < 0.3:
        values["not_needed_after"] = (NIGHT - DAY * chance.choice((5, 1, 0, -5))).date()
    if chance.random() < 0.3 and "state" not in values:
        values |= {"suspended": True, "suspended_until": (NIGHT - DAY * chance.choice((5, 1, 0, -5))).date()}
    make.hold(patron=patron, **values)


def picture(session: Session) -> dict[str, list[tuple[Any, ...]]]:
    """Everything the night may change, without the keys that only say in which order it was written."""
    link, charge, entry = aliased(ChargeLoan), aliased(AccountEntry), aliased(AccountEntry)
    loan = [column for column in Loan.__table__.columns if column.name not in ("version", "due_steps", "fine_pauses")]
    hold = [column for column in Hold.__table__.columns if column.name != "version"]
    seen = {
        "loans": select(*loan),
        "holds": select(*hold),
        "copies": select(Copy.id, Copy.place, Copy.condition, Copy.current_branch_id, Copy.transit_to_branch_id),
        "ledger": select(
            charge.patron_id, charge.kind, charge.reason, charge.amount_cents, charge.made_at, link.loan_id
        ).outerjoin(link, link.entry_id == charge.id),
        "settled": select(entry.patron_id, charge.reason, func.sum(Allocation.amount_cents))
        .join(entry, entry.id == Allocation.entry_id)
        .join(charge, charge.id == Allocation.charge_id)
        .group_by(entry.patron_id, charge.reason),
        "renewals": select(Renewal.loan_id, Renewal.channel, Renewal.was_due_at, Renewal.due_at, Renewal.actor_id),
        "keys": select(IdempotencyKey.key),
        "audit": select(AuditEvent.action, AuditEvent.object_kind, AuditEvent.object_id, func.count()).group_by(
            AuditEvent.action, AuditEvent.object_kind, AuditEvent.object_id
        ),
        "notices": select(Notice.occasion, Notice.patron_id, Notice.kind, Notice.loan_id, Notice.hold_id),
    }
    return {name: sorted((tuple(row) for row in session.execute(rows)), key=repr) for name, rows in seen.items()}
