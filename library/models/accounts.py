"""Accounts: an append-only ledger in integer cents, and which entry settles which charge."""

from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from sqlalchemy import JSON, CheckConstraint, ForeignKey, Index, String
from sqlalchemy.orm import Mapped, mapped_column, relationship

from library.models.base import Base, enumerated

if TYPE_CHECKING:
    from library.models.loans import Loan


class EntryKind(StrEnum):
    """What moved the balance.

    * `charge`: something is to be paid
    * `payment`: money came in
    * `waiver`: the patron was let off
    * `refund`: money went out
    * `reversal`: a mistaken entry was taken back
    """

    CHARGE = "charge"
    PAYMENT = "payment"
    WAIVER = "waiver"
    REFUND = "refund"
    REVERSAL = "reversal"


class ChargeReason(StrEnum):
    """What a charge is for.

    * `overdue`: lateness
    * `replacement`: the price of a lost copy
    * `processing`: the fee for replacing it
    * `manual`: what the desk wrote
    """

    OVERDUE = "overdue"
    REPLACEMENT = "replacement"
    PROCESSING = "processing"
    MANUAL = "manual"


class PaymentMethod(StrEnum):
    """How money changed hands; `credit` moves what the library owes the patron to another charge."""

    CASH = "cash"
    CARD = "card"
    TRANSFER = "transfer"
    ONLINE = "online"
    CREDIT = "credit"


class AccountEntry(Base):
    """One line of the ledger: `amount_cents` is what it adds to what the patron owes, below zero if it lowers it.

    A trigger of the database refuses to change or delete a line, but for the note of who was erased: that may go.
    """

    __tablename__ = "account_entries"
    __table_args__ = (
        Index("ix_account_entries_patron_id_kind", "patron_id", "kind"),
        CheckConstraint("amount_cents <> 0", "moves_money"),
        CheckConstraint("kind NOT IN ('charge', 'refund') OR amount_cents > 0", "raises"),
        CheckConstraint("kind NOT IN ('payment', 'waiver') OR amount_cents < 0", "lowers"),
        CheckConstraint("(kind = 'charge') = (reason IS NOT NULL)", "charge_has_a_reason"),
        CheckConstraint("(kind IN ('payment', 'refund')) = (method IS NOT NULL)", "money_has_a_way"),
        CheckConstraint("(kind = 'reversal') = (reverses_id IS NOT NULL)", "reverses_something"),
    )

    patron_id: Mapped[int] = mapped_column(ForeignKey("users.id", ondelete="RESTRICT"))
    kind: Mapped[EntryKind] = mapped_column(enumerated(EntryKind, "kind"), doc="What moved the balance.")
    amount_cents: Mapped[int] = mapped_column(doc="What is added to the debt; below zero where it is lowered.")
    reason: Mapped[ChargeReason | None] = mapped_column(enumerated(ChargeReason, "reason"), doc="What a charge is for.")
    method: Mapped[PaymentMethod | None] = mapped_column(
        enumerated(PaymentMethod, "method"), doc="How money changed hands."
    )
    reverses_id: Mapped[int | None] = mapped_column(ForeignKey("account_entries.id", ondelete="RESTRICT"), index=True)
    branch_id: Mapped[int | None] = mapped_column(ForeignKey("branches.id", ondelete="RESTRICT"), index=True)
    actor_id: Mapped[int | None] = mapped_column(ForeignKey("users.id", ondelete="RESTRICT"), index=True)
    note: Mapped[str | None] = mapped_column(String(500), doc="What was written to it.")
    steps: Mapped[list[dict[str, Any]] | None] = mapped_column(JSON(none_as_null=True))
    made_at: Mapped[datetime] = mapped_column(doc="When it was written.")

    loan_link: Mapped["ChargeLoan | None"] = relationship()


class Allocation(Base):
    """How much of a charge an entry settles; below zero where it takes a settlement back."""

    __tablename__ = "allocations"
    __table_args__ = (CheckConstraint("amount_cents <> 0", "moves_money"),)

    entry_id: Mapped[int] = mapped_column(ForeignKey("account_entries.id", ondelete="RESTRICT"), index=True)
    charge_id: Mapped[int] = mapped_column(ForeignKey("account_entries.id", ondelete="RESTRICT"), index=True)
    amount_cents: Mapped[int] = mapped_column(doc="Cents of the charge that the entry settles.")

    entry: Mapped["AccountEntry"] = relationship(foreign_keys=entry_id)


class ChargeLoan(Base):
    """Which loan a charge came from: a row of its own, deleted when the reading history is cut."""

    __tablename__ = "charge_loans"

    entry_id: Mapped[int] = mapped_column(ForeignKey("account_entries.id", ondelete="RESTRICT"), unique=True)
    loan_id: Mapped[int] = mapped_column(ForeignKey("loans.id", ondelete="RESTRICT"), index=True)

    loan: Mapped["Loan"] = relationship()
