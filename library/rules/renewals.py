"""Renewals: whether a loan may be renewed and if not why, and the renewal."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from library.models import AccountEntry, BlockScope, Loan, PolicyKind, Renewal, RenewalChannel, User
from library.rules import access, calendar, due_dates, ledger, losses, places, policies, queues, running, standing
from library.rules.borrowing import NotForLoan, stays_in_house
from library.rules.calendar import BranchCalendar
from library.rules.desk import OVERRIDING, Desk, record
from library.rules.errors import Refusal, Refused, Severity, refuses
from library.rules.losses import LoanClosed
from library.rules.places import Action
from library.rules.policies import PolicyTable, RenewFrom, RenewOverdue, RenewWhenHeld
from library.rules.queues import Demand
from library.rules.scanning import Scan
from library.rules.standing import OVERRIDE, Standing


class RenewalLimit(Refusal):
    """The loan was renewed as often as is allowed."""

    severity = Severity.OVERRIDE
    permission = OVERRIDE
    parameters = ("count", "max")


class TooSoon(Refusal):
    """It is too soon to renew the loan."""

    severity = Severity.OVERRIDE
    permission = OVERRIDE
    parameters = ("earliest",)


class Held(Refusal):
    """Others wait for it."""

    severity = Severity.OVERRIDE
    permission = "circulation.override_held"
    parameters = ("waiting",)


class Overdue(Refusal):
    """What is late is not renewed."""

    severity = Severity.OVERRIDE
    permission = OVERRIDE
    parameters = ("scope",)


class NotRenewable(Refusal):
    """The copy is lost or claimed to be back."""

    parameters = ("condition",)


class WouldNotExtend(Refusal):
    """A renewal would not move the due date later."""

    parameters = ("due_on",)


class LoanOfAnother(Refusal):
    """This is not your loan."""


@dataclass(frozen=True)
class Outlook:
    """All that renewals of some open loans depend on, loaded in a fixed number of statements."""

    table: PolicyTable
    standings: Mapping[int, Standing]
    demand: Mapping[int, Demand]
    days: Mapping[int, BranchCalendar]
    now: datetime

    @classmethod
    def load(cls, session: Session, loans: Sequence[Loan], now: datetime) -> "Outlook":
        """Load it for loans whose copy, patron and branch are loaded (`running.parts`)."""
        table = policies.load(session)
        patrons = {loan.patron for loan in loans if loan.patron is not None}
        return cls(
            table,
            standing.load(session, patrons, table, now),
            queues.demand(session, {loan.copy.book_id for loan in loans}, now),
            calendar.load(session, {loan.branch for loan in loans}),
            now,
        )

    @classmethod
    def after(cls, scan: Scan) -> "Outlook":
        """The same for a loan that was just made of what was scanned, and changed nothing but its copy."""
        assert scan.copy is not None and scan.standing is not None and scan.facts is not None
        before, book_id = scan.facts.demand[scan.copy.book_id], scan.copy.book_id
        demand = {book_id: Demand(before.waiting, before.free - {scan.copy.id})}
        return cls(scan.table, {scan.standing.patron.id: scan.standing}, demand, {scan.branch.id: scan.days}, scan.now)

    def due(self, loan: Loan, card_counts: bool = True) -> due_dates.Due:
        """The due date that a renewal would give."""
        rules = running.rules_of(self.table, loan)
        start = self.now if rules[PolicyKind.RENEW_FROM] is RenewFrom.TODAY else loan.due_at
        length = rules[PolicyKind.RENEWAL_PERIOD] or rules[PolicyKind.LOAN_PERIOD]
        card_ends_on = loan.patron.expires_on if loan.patron and card_counts else None
        return due_dates.due(start, length, rules, self.days[loan.branch_id], card_ends_on, self.now)

    def reasons(self, loan: Loan, card_counts: bool = True) -> list[Refusal]:
        """Every reason against a renewal, apart from who asks for it."""
        if loan.closed_at is not None or loan.patron is None:
            return [LoanClosed()]
        rules, known = running.rules_of(self.table, loan), self.standings[loan.patron.id]
        reasons = standing.against(
            known,
            BlockScope.RENEWALS,
            loan.branch,
            rules,
            self.now,
            debt_counts=not rules[PolicyKind.RENEW_WHEN_DEBT],
        )
        if stays_in_house(loan.copy):
            reasons.append(NotForLoan())
        if places.refused(Action.RENEW, loan.copy) is not None:
            reasons.append(NotRenewable(condition=loan.copy.condition.value))
        limit = rules[PolicyKind.MAX_RENEWALS]
        if limit is not None and loan.renewals >= limit:
            reasons.append(RenewalLimit(count=loan.renewals, max=limit))
        reasons += self._too_soon(loan) + self._held(loan) + self._overdue(loan, known)
        due = self.due(loan, card_counts)
        if due.at <= max(loan.due_at, self.now):
            reasons.append(WouldNotExtend(due_on=due.on.isoformat()))
        for reason in reasons:
            # The body of a renewal names neither the patron nor the copy.
            reason.pointer = None
        return reasons

    def _too_soon(self, loan: Loan) -> list[Refusal]:
        days = running.rules_of(self.table, loan)[PolicyKind.RENEW_TOO_SOON_DAYS]
        if days is None:
            return []
        earliest = loan.due_on - timedelta(days=days)
        early = calendar.local_day(self.now, loan.time_zone) < earliest
        return [TooSoon(earliest=earliest.isoformat())] if early else []

    def _held(self, loan: Loan) -> list[Refusal]:
        assert loan.patron is not None
        demand = self.demand[loan.copy.book_id].of_others(loan.patron.id)
        # Whoever waits for this very copy stops it, whatever other copies there are.
        waiting = demand.copy_holds.get(loan.copy_id, 0)
        titles = demand.title_holds
        suffices = running.rules_of(self.table, loan)[PolicyKind.RENEW_WHEN_HELD] is RenewWhenHeld.COPIES_SUFFICE
        if not (suffices and titles <= demand.free_for_titles):
            waiting += titles
        return [Held(waiting=waiting)] if waiting else []

    def _overdue(self, loan: Loan, known: Standing) -> list[Refusal]:
        policy = running.rules_of(self.table, loan)[PolicyKind.RENEW_OVERDUE]
        if policy is RenewOverdue.REFUSE_LOAN and loan.due_at < self.now:
            return [Overdue(scope="loan")]
        if policy is RenewOverdue.REFUSE_ALL and known.overdue:
            return [Overdue(scope="patron")]
        return []


@refuses(
    LoanClosed,
    LoanOfAnother,
    *standing.AGAINST_PATRONS,
    NotForLoan,
    NotRenewable,
    RenewalLimit,
    TooSoon,
    Held,
    Overdue,
    WouldNotExtend,
    *OVERRIDING,
)
def renew(session: Session, desk: Desk, loan: Loan, now: datetime, channel: RenewalChannel | None = None) -> Renewal:
    """Move the due date of a loan later, by the policies of the branch that lent it; a fine that runs is charged first.

    Without a `channel` it is the desk's or the patron's own, by who acts.
    """
    loan = losses.lock_whole(session, loan)
    desk = desk.serving(loan.patron_id)
    outlook = Outlook.load(session, [loan], now)
    reasons = outlook.reasons(loan)
    # A card whose end was let pass no longer shortens the loan.
    expired = [reason for reason in reasons if isinstance(reason, standing.PatronExpired)]
    card_counts = not any(desk.overrides_fully(reason) for reason in expired)
    if not card_counts:
        reasons = outlook.reasons(loan, card_counts)
    if not access.is_staff(desk.actor) and desk.actor_id not in (None, loan.patron_id):
        reasons.append(LoanOfAnother())
    overrides = desk.permit("renew", (loan.id,), reasons)
    _settle_lateness(session, desk, loan, outlook, now)
    due = outlook.due(loan, card_counts)
    renewal = Renewal(
        loan_id=loan.id,
        renewed_at=now,
        actor_id=desk.actor_id,
        channel=channel or (RenewalChannel.DESK if access.is_staff(desk.actor) else RenewalChannel.OWN),
        was_due_at=loan.due_at,
        due_at=due.at,
    )
    session.add(renewal)
    loan.renewals += 1
    loan.time_zone = loan.branch.time_zone
    loan.due_at, loan.due_on, loan.due_steps = due.at, due.on, due.steps
    session.flush()
    record(session, desk, overrides, now, loan_id=loan.id)
    return renewal


def _settle_lateness(session: Session, desk: Desk, loan: Loan, outlook: Outlook, now: datetime) -> None:
    """Charge what ran up, or forgive it; either way those days are never charged again."""
    if loan.due_at >= now:
        return
    rules = running.rules_of(outlook.table, loan)
    if rules[PolicyKind.FORGIVE_ON_RENEWAL]:
        loan.fined_until_at = now
    else:
        running.charge_fine(session, loan, rules, now, now, desk)


class Renewed:
    """A renewal that was just done, and what it wrote to the patron's account."""

    def __init__(self, renewal: Renewal, charges: Sequence[AccountEntry]) -> None:
        self.renewal, self.charges = renewal, charges

    def __getattr__(self, name: str) -> Any:
        return getattr(self.renewal, name)


def renewed(session: Session, renewal: Renewal) -> Renewed:
    """A renewal with the fine that was charged by it."""
    charges = ledger.charges_of_loan(session, renewal.loan_id)
    return Renewed(renewal, [charge for charge in charges if charge.made_at == renewal.renewed_at])


@dataclass(frozen=True)
class Verdict:
    """What became of one of many renewals."""

    index: int
    loan: Loan
    errors: Sequence[Refusal]
    charges: Sequence[AccountEntry] = ()

    @property
    def ok(self) -> bool:
        """Whether it was renewed."""
        return not self.errors


def renew_many(session: Session, desk: Desk, loans: Sequence[Loan], now: datetime) -> list[Verdict]:
    """Renew each of some loans by itself: one that is refused leaves the others untouched. A verdict each, in order."""
    verdicts = {}
    losses.lock_all(session, loans)
    for index, loan in enumerate(loans):
        try:
            with session.begin_nested():
                done = renewed(session, renew(session, desk, loan, now))
            verdicts[index] = Verdict(index, loan, (), done.charges)
        except Refused as refused:
            verdicts[index] = Verdict(index, loan, refused.reasons)
    return [verdicts[index] for index in range(len(loans))]


def loans_to_renew(session: Session, patron: User | None, loan_ids: Sequence[int] | None, most: int) -> Sequence[Loan]:
    """The loans named, of a patron or of anybody (None); without names the open ones, the first due first."""
    statement = select(Loan).options(*running.parts())
    if patron is not None:
        statement = statement.where(Loan.patron_id == patron.id)
    statement = statement.where(Loan.closed_at.is_(None) if loan_ids is None else Loan.id.in_(loan_ids))
    return session.scalars(statement.order_by(Loan.due_at, Loan.id).limit(most)).all()
