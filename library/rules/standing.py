"""Where patrons stand: every reason that speaks against them, for lending, renewing and holding alike."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from library.models import BlockScope, Branch, Copy, CopyCondition, Loan, PatronBlock, PolicyKind, User
from library.rules import calendar, ledger, running
from library.rules.errors import Refusal, Severity
from library.rules.policies import Effective, PolicyTable

OVERRIDE = "circulation.override"


class PatronInactive(Refusal):
    """The patron's account is not active."""

    pointer = "/patron_barcode"


class PatronUnconfirmed(Refusal):
    """The patron registered themselves, and staff have not confirmed the account yet."""

    severity = Severity.OVERRIDE
    permission = OVERRIDE
    pointer = "/patron_barcode"


class PatronExpired(Refusal):
    """The patron's card has expired."""

    severity = Severity.OVERRIDE
    permission = OVERRIDE
    pointer = "/patron_barcode"
    parameters = ("expires_on",)


class PatronBlocked(Refusal):
    """The patron is blocked."""

    severity = Severity.OVERRIDE
    permission = OVERRIDE
    pointer = "/patron_barcode"
    parameters = ("until", "reason")


class DebtLimit(Refusal):
    """The patron owes more than the library allows."""

    severity = Severity.OVERRIDE
    permission = OVERRIDE
    pointer = "/patron_barcode"
    parameters = ("owed_cents", "limit_cents")


class OverdueLimit(Refusal):
    """The patron has too many copies that are late."""

    severity = Severity.OVERRIDE
    permission = OVERRIDE
    pointer = "/patron_barcode"
    parameters = ("count", "limit")


class AgeRestricted(Refusal):
    """The patron is too young for this, or their age is not known."""

    severity = Severity.OVERRIDE
    permission = OVERRIDE
    pointer = "/patron_barcode"
    parameters = ("minimum_age",)


AGAINST_PATRONS = (PatronInactive, PatronExpired, PatronBlocked, DebtLimit, OverdueLimit, AgeRestricted)


@dataclass
class Standing:
    """What is known of a patron: blocks, debt, and how many loans are open and late; claimed copies do not count."""

    patron: User
    blocks: list[Any] = field(default_factory=list)
    owed_cents: int = 0
    running_fines_cents: int = 0
    open_loans: int = 0
    overdue: int = 0
    loans_by_type: dict[int | None, int] = field(default_factory=dict)
    loans_by_owner: dict[int, int] = field(default_factory=dict)

    def count(self, loans: Any) -> None:
        """Count in so many open loans of one type and owner (`open_loans_of`)."""
        self.open_loans += loans.open
        self.overdue += loans.late
        self.loans_by_type[loans.item_type_id] = self.loans_by_type.get(loans.item_type_id, 0) + loans.open
        self.loans_by_owner[loans.home_branch_id] = self.loans_by_owner.get(loans.home_branch_id, 0) + loans.open


def load(session: Session, patrons: Iterable[User], table: PolicyTable, now: datetime) -> dict[int, Standing]:
    """The standing of patrons, by key, in three statements however many they are.

    Running fines take two more, and only where some policy lets them count.
    """
    found = {patron.id: Standing(patron) for patron in patrons}
    for block in session.scalars(select(PatronBlock).where(PatronBlock.user_id.in_(found)).order_by(PatronBlock.id)):
        found[block.user_id].blocks.append(block)
    for patron_id, cents in ledger.balances(session, found).items():
        found[patron_id].owed_cents = cents
    for row in session.execute(open_loans_of(Loan.patron_id.in_(found), now)):
        found[row.patron_id].count(row)
    _run_up(session, found, table, now)
    return found


def standing_of(session: Session, patron: User, gathered: Any, table: PolicyTable, now: datetime) -> Standing:
    """The standing of a patron whose `blocks`, `owed_cents` and `open_loans` were gathered."""
    standing = Standing(patron, gathered.blocks, gathered.owed_cents)
    for row in gathered.open_loans:
        standing.count(row)
    _run_up(session, {patron.id: standing}, table, now)
    return standing


def _run_up(session: Session, found: dict[int, Standing], table: PolicyTable, now: datetime) -> None:
    if table.mentions(PolicyKind.RUNNING_FINES_COUNT_AS_DEBT):
        late = session.scalars(running.overdue_loans(now).where(Loan.patron_id.in_(found))).all()
        for loan, fine in running.fines_of(session, late, table, now).items():
            found[loan.patron_id or 0].running_fines_cents += fine.cents


def blocks_of(patron_id: Any) -> Any:
    """The blocks of a patron, in their order."""
    columns = (PatronBlock.scope, PatronBlock.until_on, PatronBlock.reason)
    return select(*columns).where(PatronBlock.user_id == patron_id).order_by(PatronBlock.id)


def open_loans_of(whose: Any, now: Any) -> Any:
    """How many copies of which type and owner patrons have, and how many of them are late; claimed ones left out."""
    late = func.count().filter(Loan.due_at < now)
    return (
        select(Loan.patron_id, Copy.item_type_id, Copy.home_branch_id, func.count().label("open"), late.label("late"))
        .join(Loan.copy)
        .where(
            whose,
            Loan.closed_at.is_(None),
            Copy.condition != CopyCondition.CLAIMED_RETURNED,
        )
        .group_by(Loan.patron_id, Copy.item_type_id, Copy.home_branch_id)
    )


def against(
    standing: Standing,
    scope: BlockScope,
    branch: Branch,
    rules: Effective,
    now: datetime,
    card_counts: bool = True,
    debt_counts: bool = True,
    pointer: str | None = "/patron_barcode",
) -> list[Refusal]:
    """Every reason against a patron at a branch, whose local day counts; `scope` is what they want to do.

    `pointer` names the member of the body that names the patron, None where none does.
    """
    patron, today = standing.patron, calendar.local_day(now, branch.time_zone)
    reasons: list[Refusal] = []
    if not patron.active:
        reasons.append(PatronInactive())
    if card_counts and patron.expires_on is not None and patron.expires_on < today:
        reasons.append(PatronExpired(expires_on=patron.expires_on.isoformat()))
    for block in standing.blocks:
        if _holds(block, scope, today):
            until = block.until_on.isoformat() if block.until_on else None
            reasons.append(PatronBlocked(until=until, reason=block.reason))
    if debt_counts:
        reasons += _debt(standing, rules)
    limit = rules[PolicyKind.MAX_OVERDUE]
    if limit is not None and standing.overdue > limit:
        reasons.append(OverdueLimit(count=standing.overdue, limit=limit))
    age = rules[PolicyKind.MINIMUM_AGE]
    if age is not None and (patron.birth_date is None or years_between(patron.birth_date, today) < age):
        reasons.append(AgeRestricted(minimum_age=age))
    for reason in reasons:
        reason.pointer = pointer
    return reasons


def years_between(birth_date: date, today: date) -> int:
    """How old somebody is who was born that day."""
    had_birthday = (today.month, today.day) >= (birth_date.month, birth_date.day)
    return today.year - birth_date.year - (0 if had_birthday else 1)


def _holds(block: PatronBlock, scope: BlockScope, today: date) -> bool:
    return block.scope in (BlockScope.ALL, scope) and (block.until_on is None or today <= block.until_on)


def _debt(standing: Standing, rules: Effective) -> list[Refusal]:
    owed, limit = standing.owed_cents, rules[PolicyKind.MAX_DEBT_CENTS]
    if rules[PolicyKind.RUNNING_FINES_COUNT_AS_DEBT]:
        owed += standing.running_fines_cents
    return [DebtLimit(owed_cents=owed, limit_cents=limit)] if limit is not None and owed > limit else []
