"""The ledger: how a line of it is written, who owes how much, what each charge stands at, which lines may be seen."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Select, func, or_, select
from sqlalchemy.orm import Session, aliased, raiseload

from library.models import AccountEntry, Allocation, ChargeLoan, ChargeReason, EntryKind, User
from library.rules import access
from library.rules.desk import Desk

ENTRY_SORTS = {"made_at": AccountEntry.made_at, "amount_cents": AccountEntry.amount_cents}
# Cents of a charge that are settled. SQL, not a column: the ledger has no figure that could go stale.
_SETTLED = (
    select(func.coalesce(func.sum(Allocation.amount_cents), 0))
    .where(Allocation.charge_id == AccountEntry.id)
    .correlate(AccountEntry)
    .scalar_subquery()
)
_IS_CHARGE = AccountEntry.kind == EntryKind.CHARGE


@dataclass(frozen=True)
class Figures:
    """What a charge stands at, in cents; what was reversed of a payment, a waiver or a refund is taken off."""

    amount: int
    received: int = 0
    waived: int = 0
    reversed: int = 0
    refunded: int = 0

    @property
    def settled(self) -> int:
        """How much of the charge is settled; more than its amount where it was reversed after it was paid."""
        return self.received + self.waived + self.reversed - self.refunded

    @property
    def open(self) -> int:
        """What is still owed."""
        return max(0, self.amount - self.settled)

    @property
    def credit(self) -> int:
        """What the library owes the patron."""
        return max(0, self.settled - self.amount)

    @property
    def refundable(self) -> int:
        """Money received and not yet paid out; what was waived never is."""
        return self.received - self.refunded

    @property
    def reversible(self) -> int:
        """How much of the charge can still be taken back."""
        return self.amount - self.waived - self.reversed


@dataclass(frozen=True)
class Account:
    """What a patron owes and is owed; fines that still run are not written yet and stand beside the balance."""

    patron_id: int
    balance_cents: int
    credit_cents: int
    running_fines_cents: int
    open_charges: list[AccountEntry]


@dataclass
class Line:
    """An entry with what belongs to it: its loan, what is open of it, and which entry settles how much of what."""

    entry: AccountEntry
    loan_id: int | None = None
    open_cents: int | None = None
    allocations: list[Allocation] = field(default_factory=list)


def charge(
    session: Session,
    patron_id: int,
    amount_cents: int,
    reason: ChargeReason,
    now: datetime,
    *,
    branch_id: int | None = None,
    actor_id: int | None = None,
    note: str | None = None,
    steps: list[dict[str, Any]] | None = None,
    loan_id: int | None = None,
) -> AccountEntry:
    """Write a charge of more than 0 cents; `steps` say how it was computed, `loan_id` which loan it came from."""
    entry = AccountEntry(
        patron_id=patron_id,
        kind=EntryKind.CHARGE,
        amount_cents=amount_cents,
        reason=reason,
        branch_id=branch_id,
        actor_id=actor_id,
        note=note,
        steps=steps,
        made_at=now,
    )
    if loan_id is not None:
        entry.loan_link = ChargeLoan(loan_id=loan_id)
    session.add(entry)
    session.flush()
    return entry


def settle(
    session: Session,
    desk: Desk,
    patron_id: int,
    kind: EntryKind,
    shares: Mapping[int, int],
    now: datetime,
    **values: Any,
) -> AccountEntry:
    """An entry that settles these cents of these charges; what it settles it takes off the debt."""
    entry = AccountEntry(
        patron_id=patron_id,
        kind=kind,
        amount_cents=-sum(shares.values()),
        branch_id=desk.branch.id if desk.branch else None,
        actor_id=desk.actor_id,
        made_at=now,
        **values,
    )
    parts = [Allocation(entry=entry, charge_id=key, amount_cents=cents) for key, cents in shares.items()]
    session.add_all([entry, *parts])
    session.flush()
    return entry


def balance(session: Session, patron_id: int) -> int:
    """What a patron owes, in cents; below zero where the library owes them."""
    return balances(session, [patron_id])[patron_id]


def balances(session: Session, patron_ids: Iterable[int]) -> dict[int, int]:
    """What each of some patrons owes, in cents, in one statement; 0 for who has no entry."""
    keys = list(patron_ids)
    summed = (
        select(AccountEntry.patron_id, func.sum(AccountEntry.amount_cents))
        .where(AccountEntry.patron_id.in_(keys))
        .group_by(AccountEntry.patron_id)
    )
    return dict.fromkeys(keys, 0) | {patron_id: int(cents) for patron_id, cents in session.execute(summed)}


def balance_of(patron_id: Any) -> Any:
    """What a patron owes, in cents, as a value of a statement in which the patron is looked up."""
    summed = select(func.coalesce(func.sum(AccountEntry.amount_cents), 0)).where(AccountEntry.patron_id == patron_id)
    return summed.scalar_subquery()


def open_cents_of(session: Session, charge_ids: Iterable[int]) -> dict[int, int]:
    """What is still owed of each of some charges, in cents, in one statement; other entries are left out."""
    statement = select(AccountEntry.id, AccountEntry.amount_cents - _SETTLED)
    found = session.execute(statement.where(_IS_CHARGE, AccountEntry.id.in_(list(charge_ids))))
    return {key: max(0, cents) for key, cents in found}


def charges_of_loan(session: Session, loan_id: int) -> Sequence[AccountEntry]:
    """The charges a loan has led to, the oldest first; none once its history is cut."""
    statement = select(AccountEntry).join(ChargeLoan, ChargeLoan.entry_id == AccountEntry.id)
    return session.scalars(statement.where(ChargeLoan.loan_id == loan_id).order_by(AccountEntry.id)).all()


def open_cents_of_loan(session: Session, loan_id: int, reasons: Iterable[ChargeReason]) -> int:
    """What is still owed for a loan by charges for these reasons, in cents."""
    wanted = set(reasons)
    charges = [charge.id for charge in charges_of_loan(session, loan_id) if charge.reason in wanted]
    return sum(open_cents_of(session, charges).values())


def unsettled(session: Session, patron_id: int) -> list[tuple[AccountEntry, int]]:
    """The charges of a patron that are not settled exactly, the oldest first, each with its open cents.

    Below zero is what was settled beyond the charge: a credit.
    """
    statement = select(AccountEntry, AccountEntry.amount_cents - _SETTLED)
    statement = statement.where(AccountEntry.patron_id == patron_id, _IS_CHARGE, AccountEntry.amount_cents != _SETTLED)
    found = session.execute(statement.order_by(AccountEntry.made_at, AccountEntry.id))
    return [(charge, cents) for charge, cents in found]


def figures_of(session: Session, charge_ids: Iterable[int]) -> dict[int, Figures]:
    """What each of some charges stands at, in one statement."""
    keys = list(charge_ids)
    charge, undone = aliased(AccountEntry), aliased(AccountEntry)
    # A reversal counts under what it takes back.
    kind = func.coalesce(undone.kind, AccountEntry.kind)
    statement = (
        select(charge.id, charge.amount_cents, kind, func.sum(Allocation.amount_cents))
        .select_from(charge)
        .outerjoin(Allocation, Allocation.charge_id == charge.id)
        .outerjoin(AccountEntry, AccountEntry.id == Allocation.entry_id)
        .outerjoin(undone, undone.id == AccountEntry.reverses_id)
        .where(charge.id.in_(keys))
        .group_by(charge.id, charge.amount_cents, kind)
    )
    amounts: dict[int, int] = {}
    sums: dict[int, dict[str, int]] = defaultdict(dict)
    for key, amount, settling, cents in session.execute(statement):
        amounts[key] = amount
        if settling is not None:
            name, sign = _FIGURES[settling]
            sums[key][name] = sign * cents
    return {key: Figures(amount, **sums[key]) for key, amount in amounts.items()}


_FIGURES = {
    EntryKind.PAYMENT: ("received", 1),
    EntryKind.WAIVER: ("waived", 1),
    EntryKind.CHARGE: ("reversed", 1),
    EntryKind.REFUND: ("refunded", -1),
}


def account_of(session: Session, patron_id: int, running_fines_cents: int = 0) -> Account:
    """A patron's account in two statements; who calls knows which fines still run."""
    charges = unsettled(session, patron_id)
    return Account(
        patron_id,
        balance(session, patron_id),
        sum(-cents for _, cents in charges if cents < 0),
        running_fines_cents,
        [charge for charge, cents in charges if cents > 0],
    )


def find_entries(
    actor: User, patron_id: int | None = None, kind: EntryKind | None = None, is_open: bool | None = None
) -> Select[Any]:
    """Entries the actor may see, narrowed by patron and kind, or to charges that are (not) settled."""
    statement = access.visible(select(AccountEntry), AccountEntry, actor).options(raiseload("*"))
    if patron_id is not None:
        statement = statement.where(AccountEntry.patron_id == patron_id)
    if kind is not None:
        statement = statement.where(AccountEntry.kind == kind)
    if is_open is not None:
        settled = AccountEntry.amount_cents <= _SETTLED
        statement = statement.where(_IS_CHARGE, ~settled if is_open else settled)
    return statement


def lines_of(session: Session, entries: Iterable[AccountEntry]) -> list[Line]:
    """Entries with all that is shown with them, in two statements however many there are."""
    lines = {entry.id: Line(entry) for entry in entries}
    if not lines:
        return []
    links = select(ChargeLoan.entry_id, ChargeLoan.loan_id).where(ChargeLoan.entry_id.in_(lines))
    for key, loan_id in session.execute(links):
        lines[key].loan_id = loan_id
    touching = or_(Allocation.entry_id.in_(lines), Allocation.charge_id.in_(lines))
    for allocation in session.scalars(select(Allocation).where(touching).order_by(Allocation.id)):
        for key in (allocation.entry_id, allocation.charge_id):
            if key in lines:
                lines[key].allocations.append(allocation)
    for line in lines.values():
        if line.entry.kind is EntryKind.CHARGE:
            settled = sum(allocation.amount_cents for allocation in line.allocations)
            line.open_cents = max(0, line.entry.amount_cents - settled)
    return list(lines.values())
