"""Accounts: what the desk writes into the ledger; each entry says of which charge it settles how much."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from sqlalchemy import select
from sqlalchemy.orm import Session

from library.models import AccountEntry, Allocation, ChargeReason, EntryKind, Loan, PaymentMethod, User
from library.rules import ledger, locks
from library.rules.access import NotForOneself, PatronErased
from library.rules.desk import Desk
from library.rules.errors import Refusal, refuse_if_any, refuses
from library.rules.ledger import charge


class PayoutMethod(StrEnum):
    """How money leaves the till."""

    CASH = "cash"
    CARD = "card"
    TRANSFER = "transfer"
    ONLINE = "online"


class HandReason(StrEnum):
    """What the desk charges for by hand; fines for lateness it reckons by itself."""

    MANUAL = "manual"
    REPLACEMENT = "replacement"
    PROCESSING = "processing"


class ChargeNotFound(Refusal):
    """This account has no such charge."""

    pointer = "/charge_id"


class NotTheirLoan(Refusal):
    """This loan is not one of this patron's."""

    pointer = "/loan_id"


class OwnAccount(Refusal):
    """Nobody waives, refunds or reverses on their own account: ask a colleague."""


class ExceedsOpenAmount(Refusal):
    """This is more than what is still open."""

    pointer = "/amount_cents"
    parameters = ("open_cents", "amount_cents")


class ExceedsRefundable(Refusal):
    """This is more than the money that was received and can be given back."""

    pointer = "/amount_cents"
    parameters = ("refundable_cents", "amount_cents")


class AlreadyReversed(Refusal):
    """Nothing of this entry is left to be reversed."""

    pointer = "/entry_id"


class NotReversible(Refusal):
    """Refunds, reversals and payments out of a credit are not reversed."""

    pointer = "/entry_id"
    parameters = ("kind",)


@dataclass(frozen=True)
class Settlement:
    """What a change of the ledger wrote: the entry that was asked for, one it brought along, the charges it touched."""

    entry: AccountEntry
    charge_ids: tuple[int, ...]
    along: AccountEntry | None = None


@refuses(PatronErased, NotTheirLoan, NotForOneself)
def create_charge(
    session: Session,
    desk: Desk,
    patron: User,
    amount_cents: int,
    now: datetime,
    note: str | None = None,
    loan: Loan | None = None,
    reason: HandReason = HandReason.MANUAL,
) -> AccountEntry:
    """Charge a patron by hand, for one of their loans if it is named.

    The replacement of a lost copy whose price was not known when it was lost settles its loan like any other; nobody
    names the price of what they lost themselves.
    """
    locks.lock_patron_by_id(session, patron.id)
    # Read again under lock: the night may just have forgotten whose it was.
    loan = locks.lock_loan(session, loan.id) if loan is not None else None
    names_price = reason is not HandReason.MANUAL and desk.serving(patron.id).serves_oneself
    refuse_if_any(
        ([PatronErased("/patron_id")] if patron.erased_at is not None else [])
        + ([NotTheirLoan()] if loan is not None and loan.patron_id != patron.id else [])
        + ([NotForOneself("/reason")] if names_price else [])
    )
    return charge(
        session,
        patron.id,
        amount_cents,
        ChargeReason(reason.value),
        now,
        branch_id=desk.branch.id if desk.branch else None,
        actor_id=desk.actor_id,
        note=note,
        loan_id=loan.id if loan else None,
    )


@refuses(ChargeNotFound, ExceedsOpenAmount, ExceedsRefundable)
def pay(
    session: Session,
    desk: Desk,
    patron: User,
    amount_cents: int,
    method: PaymentMethod,
    now: datetime,
    charges: Sequence[AccountEntry] | None = None,
    note: str | None = None,
) -> Settlement:
    """Take a payment: of the named charges in their order, else of all that are open, the oldest first.

    A payment is never more than what is open. The method `credit` moves what the library owes the patron: it is paid
    out of the overpaid charges and paid in again, and the balance stands.
    """
    locks.lock_patron_by_id(session, patron.id)
    found = {entry.id: cents for entry, cents in ledger.unsettled(session, patron.id)}
    opened = {key: cents for key, cents in found.items() if cents > 0}
    credits = {key: -cents for key, cents in found.items() if cents < 0}
    reasons: list[Refusal] = []
    if charges is not None:
        if any(named.kind is not EntryKind.CHARGE or named.patron_id != patron.id for named in charges):
            reasons.append(ChargeNotFound("/charge_ids"))
        opened = {named.id: opened[named.id] for named in charges if named.id in opened}
    reasons += _beyond(ExceedsOpenAmount, "open_cents", sum(opened.values()), amount_cents)
    if method is PaymentMethod.CREDIT:
        reasons += _beyond(ExceedsRefundable, "refundable_cents", sum(credits.values()), amount_cents)
    refuse_if_any(reasons)
    said = {"method": method, "note": note}
    along = None
    if method is PaymentMethod.CREDIT:
        taken = {key: -cents for key, cents in _spread(credits, amount_cents).items()}
        along = ledger.settle(session, desk, patron.id, EntryKind.REFUND, taken, now, **said)
    shares = _spread(opened, amount_cents)
    entry = ledger.settle(session, desk, patron.id, EntryKind.PAYMENT, shares, now, **said)
    return Settlement(entry, tuple(shares), along)


@refuses(ChargeNotFound, OwnAccount, ExceedsOpenAmount)
def waive(
    session: Session, desk: Desk, charge: AccountEntry, reason: str, now: datetime, amount_cents: int | None = None
) -> Settlement:
    """Let a patron off what is open of a charge, or `amount_cents` of it; `reason` is kept with the entry."""
    locks.lock_patron_by_id(session, charge.patron_id)
    reasons = _against(desk, charge)
    open_cents = ledger.open_cents_of(session, [charge.id]).get(charge.id, 0)
    cents = open_cents if amount_cents is None else amount_cents
    if cents > open_cents or not cents:
        reasons.append(ExceedsOpenAmount(open_cents=open_cents, amount_cents=amount_cents))
    refuse_if_any(reasons)
    entry = ledger.settle(session, desk, charge.patron_id, EntryKind.WAIVER, {charge.id: cents}, now, note=reason)
    return Settlement(entry, (charge.id,))


@refuses(ChargeNotFound, OwnAccount, ExceedsRefundable)
def refund(
    session: Session,
    desk: Desk,
    charge: AccountEntry,
    amount_cents: int,
    method: PayoutMethod,
    now: datetime,
    note: str | None = None,
) -> Settlement:
    """Pay money out that was received for a charge.

    A credit on the charge goes first; as much of the charge as is paid out beyond it is reversed, so that nothing is
    owed anew.
    """
    locks.lock_patron_by_id(session, charge.patron_id)
    reasons = _against(desk, charge)
    figures = ledger.figures_of(session, [charge.id])[charge.id]
    if charge.kind is EntryKind.CHARGE:
        reasons += _beyond(ExceedsRefundable, "refundable_cents", figures.refundable, amount_cents)
    refuse_if_any(reasons)
    paid_out = {charge.id: -amount_cents}
    way = PaymentMethod(method)
    entry = ledger.settle(session, desk, charge.patron_id, EntryKind.REFUND, paid_out, now, method=way, note=note)
    beyond = amount_cents - min(figures.credit, amount_cents)
    along = _take_back(session, desk, charge, {charge.id: beyond}, now, note) if beyond else None
    return Settlement(entry, (charge.id,), along)


@refuses(OwnAccount, NotReversible, AlreadyReversed, ExceedsRefundable)
def reverse(session: Session, desk: Desk, entry: AccountEntry, reason: str, now: datetime) -> Settlement:
    """Take a mistaken charge, payment or waiver back, as far as that has not been done.

    Of a charge that was paid a credit is left. A payment stays where its money was paid out again.
    """
    locks.lock_patron_by_id(session, entry.patron_id)
    reasons: list[Refusal] = [OwnAccount("/entry_id")] if desk.actor_id == entry.patron_id else []
    if entry.kind in (EntryKind.REFUND, EntryKind.REVERSAL) or entry.method is PaymentMethod.CREDIT:
        refuse_if_any([*reasons, NotReversible(kind=entry.kind.value)])
    shares = _left_of(session, entry)
    if not shares:
        reasons.append(AlreadyReversed())
    elif entry.kind is EntryKind.PAYMENT:
        figures = ledger.figures_of(session, shares)
        for key, cents in shares.items():
            reasons += _beyond(ExceedsRefundable, "refundable_cents", figures[key].refundable, -cents, "/entry_id")
    refuse_if_any(reasons)
    return Settlement(_take_back(session, desk, entry, shares, now, reason), tuple(shares))


def lift(
    session: Session,
    desk: Desk,
    charge: AccountEntry,
    now: datetime,
    note: str | None = None,
    unpaid_only: bool = False,
) -> AccountEntry | None:
    """Take a charge back by rule, not by hand: all that is left of it, or what is still open; None if that is nothing.

    Where more is taken back than is open, the rest becomes a credit.
    """
    locks.lock_patron_by_id(session, charge.patron_id)
    figures = ledger.figures_of(session, [charge.id])[charge.id]
    cents = figures.open if unpaid_only else figures.reversible
    return _take_back(session, desk, charge, {charge.id: cents}, now, note) if cents else None


def _against(desk: Desk, charge: AccountEntry) -> list[Refusal]:
    reasons: list[Refusal] = []
    if charge.kind is not EntryKind.CHARGE:
        reasons.append(ChargeNotFound())
    if desk.actor_id == charge.patron_id:
        reasons.append(OwnAccount("/charge_id"))
    return reasons


def _beyond(refusal: type[Refusal], name: str, most: int, cents: int, pointer: str | None = None) -> list[Refusal]:
    """A refusal where an amount is more than the most there is."""
    return [refusal(pointer, **{name: most, "amount_cents": cents})] if cents > most else []


def _spread(amounts: Mapping[int, int], cents: int) -> dict[int, int]:
    """Part cents among charges, each up to its amount, in their order."""
    shares = {}
    for key, amount in amounts.items():
        if cents:
            shares[key] = min(amount, cents)
            cents -= shares[key]
    return shares


def _left_of(session: Session, entry: AccountEntry) -> dict[int, int]:
    """What a reversal of an entry would do to which charge: what the entry did and nobody has taken back."""
    if entry.kind is EntryKind.CHARGE:
        cents = ledger.figures_of(session, [entry.id])[entry.id].reversible
        return {entry.id: cents} if cents else {}
    undone = select(AccountEntry.id).where(AccountEntry.reverses_id == entry.id).exists()
    done = select(Allocation.charge_id, Allocation.amount_cents).where(Allocation.entry_id == entry.id, ~undone)
    return {key: -cents for key, cents in session.execute(done.order_by(Allocation.id))}


def _take_back(
    session: Session, desk: Desk, entry: AccountEntry, shares: Mapping[int, int], now: datetime, note: str | None
) -> AccountEntry:
    return ledger.settle(
        session, desk, entry.patron_id, EntryKind.REVERSAL, shares, now, reverses_id=entry.id, note=note
    )
