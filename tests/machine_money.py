"""The ledger once more in plain Python: charges, and what was done to each of them."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any


class No(Exception):
    """An action is refused, for these reasons."""

    def __init__(self, codes: set[str]) -> None:
        super().__init__(", ".join(sorted(codes)))
        self.codes = codes


@dataclass(eq=False)
class Debt:
    """A charge, and what became of it."""

    patron: int
    amount: int
    reason: str
    made_at: datetime
    loan: Any = None
    id: int = 0
    received: int = 0
    waived: int = 0
    reversed: int = 0
    refunded: int = 0
    touched_at: datetime | None = None

    @property
    def settled(self) -> int:
        return self.received + self.waived + self.reversed - self.refunded

    @property
    def open(self) -> int:
        return max(0, self.amount - self.settled)

    @property
    def credit(self) -> int:
        return max(0, self.settled - self.amount)


@dataclass(eq=False)
class Act:
    """An entry that settles charges; `shares` says how much of each."""

    kind: str
    patron: int
    shares: dict[Debt, int]
    made_at: datetime
    method: str | None = None
    id: int = 0
    undone: bool = False

    @property
    def amount(self) -> int:
        return -sum(self.shares.values())


@dataclass
class Money:
    """All accounts; whatever is written is also listed in `entries`."""

    entries: list[Debt | Act] = field(default_factory=list)

    @property
    def debts(self) -> list[Debt]:
        return [entry for entry in self.entries if isinstance(entry, Debt)]

    def debts_of(self, patron: int) -> list[Debt]:
        return [debt for debt in self.debts if debt.patron == patron]

    def balance(self, patron: int) -> int:
        return sum(entry.amount for entry in self.entries if entry.patron == patron)

    def of_loan(self, loan: Any, *reasons: str) -> list[Debt]:
        return [debt for debt in self.debts if debt.loan is loan and debt.reason in reasons]

    def charge(self, patron: int, amount: int, reason: str, now: datetime, loan: Any = None) -> Debt:
        debt = Debt(patron, amount, reason, now, loan)
        self.entries.append(debt)
        return debt

    def _write(self, kind: str, patron: int, shares: dict[Debt, int], now: datetime, method: str | None = None) -> None:
        self.entries.append(Act(kind, patron, shares, now, method))
        for debt in shares:
            debt.touched_at = now

    def pay(self, patron: int, cents: int, method: str, named: list[Debt] | None, now: datetime) -> list[Debt]:
        opened = [debt for debt in self.debts if debt.patron == patron and debt.open]
        credits = [debt for debt in self.debts if debt.patron == patron and debt.credit]
        codes = set()
        if named is not None:
            if any(debt.patron != patron for debt in named):
                codes.add("charge_not_found")
            opened = [debt for debt in named if debt in opened]
        if cents > sum(debt.open for debt in opened):
            codes.add("exceeds_open_amount")
        if method == "credit" and cents > sum(debt.credit for debt in credits):
            codes.add("exceeds_refundable")
        if codes:
            raise No(codes)
        if method == "credit":
            taken = _spread([(debt, debt.credit) for debt in credits], cents)
            for debt, share in taken.items():
                debt.refunded += share
            self._write("refund", patron, {debt: -share for debt, share in taken.items()}, now, method)
        paid = _spread([(debt, debt.open) for debt in opened], cents)
        for debt, share in paid.items():
            debt.received += share
        self._write("payment", patron, paid, now, method)
        return list(paid)

    def waive(self, actor: int, debt: Debt, cents: int | None, now: datetime) -> list[Debt]:
        codes = {"own_account"} if actor == debt.patron else set()
        cents = debt.open if cents is None else cents
        if not cents or cents > debt.open:
            codes.add("exceeds_open_amount")
        if codes:
            raise No(codes)
        debt.waived += cents
        self._write("waiver", debt.patron, {debt: cents}, now)
        return [debt]

    def refund(self, actor: int, debt: Debt, cents: int, now: datetime) -> list[Debt]:
        """A refund reverses as much of the charge as it pays out, unless it pays out a credit."""
        codes = {"own_account"} if actor == debt.patron else set()
        if cents > debt.received - debt.refunded:
            codes.add("exceeds_refundable")
        if codes:
            raise No(codes)
        beyond = cents - min(debt.credit, cents)
        debt.refunded += cents
        self._write("refund", debt.patron, {debt: -cents}, now, "cash")
        if beyond:
            debt.reversed += beyond
            self._write("reversal", debt.patron, {debt: beyond}, now)
        return [debt]

    def reverse(self, actor: int, entry: Debt | Act, now: datetime) -> list[Debt]:
        codes = {"own_account"} if actor == entry.patron else set()
        if isinstance(entry, Debt):
            left = entry.amount - entry.waived - entry.reversed
            if codes or not left:
                raise No(codes | ({"already_reversed"} if not left else set()))
            entry.reversed += left
            self._write("reversal", entry.patron, {entry: left}, now)
            return [entry]
        if entry.kind in ("refund", "reversal") or entry.method == "credit":
            raise No(codes | {"not_reversible"})
        if entry.undone:
            raise No(codes | {"already_reversed"})
        if entry.kind == "payment" and any(
            share > debt.received - debt.refunded for debt, share in entry.shares.items()
        ):
            codes.add("exceeds_refundable")
        if codes:
            raise No(codes)
        for debt, share in entry.shares.items():
            if entry.kind == "payment":
                debt.received -= share
            else:
                debt.waived -= share
        entry.undone = True
        self._write("reversal", entry.patron, {debt: -share for debt, share in entry.shares.items()}, now)
        return list(entry.shares)

    def lift(self, debt: Debt, unpaid_only: bool, now: datetime) -> None:
        cents = debt.open if unpaid_only else debt.amount - debt.waived - debt.reversed
        if cents:
            debt.reversed += cents
            self._write("reversal", debt.patron, {debt: cents}, now)


def _spread(amounts: list[tuple[Debt, int]], cents: int) -> dict[Debt, int]:
    shares = {}
    for debt, amount in amounts:
        if cents:
            shares[debt] = min(amount, cents)
            cents -= shares[debt]
    return shares
