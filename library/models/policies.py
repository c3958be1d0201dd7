"""Policies: rows of rules, each kind for itself, and where copies may not travel."""

from datetime import date
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from sqlalchemy import JSON, CheckConstraint, ForeignKey, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column, relationship

from library.models.base import Base, Versioned, enumerated

if TYPE_CHECKING:
    from library.models.holdings import Branch, ItemType
    from library.models.users import PatronCategory


class PolicyKind(StrEnum):
    """What a policy lays down."""

    MAX_LOANS = "max_loans"
    MAX_LOANS_PER_ITEM_TYPE = "max_loans_per_item_type"
    MAX_LOANS_PER_OWNER = "max_loans_per_owner"
    MAX_OVERDUE = "max_overdue"
    MAX_DEBT_CENTS = "max_debt_cents"
    MAX_HOLDS = "max_holds"
    MAX_HOLDS_PER_DAY = "max_holds_per_day"
    MAX_HOLDS_PER_BOOK = "max_holds_per_book"
    LOAN_PERIOD = "loan_period"
    RENEWAL_PERIOD = "renewal_period"
    SHELF_PERIOD = "shelf_period"
    MAX_RENEWALS = "max_renewals"
    RENEW_FROM = "renew_from"
    RENEW_OVERDUE = "renew_overdue"
    RENEW_WHEN_DEBT = "renew_when_debt"
    RENEW_WHEN_HELD = "renew_when_held"
    RENEW_TOO_SOON_DAYS = "renew_too_soon_days"
    AUTO_RENEW = "auto_renew"
    FORGIVE_ON_RENEWAL = "forgive_on_renewal"
    DUE_ON_CLOSED_DAY = "due_on_closed_day"
    HOURS_LOAN_ENDS = "hours_loan_ends"
    HARD_DUE_ON = "hard_due_on"
    HOLDS_ALLOWED = "holds_allowed"
    HOLDS_ON_SHELF = "holds_on_shelf"
    EXPIRE_READY_WHEN_NOT_NEEDED = "expire_ready_when_not_needed"
    EXPIRE_ON_CLOSED_DAYS = "expire_on_closed_days"
    FINE_RATE = "fine_rate"
    GRACE = "grace"
    GRACE_COUNTS = "grace_counts"
    FINE_CAP_CENTS = "fine_cap_cents"
    CAP_AT_PRICE = "cap_at_price"
    FINE_ON_CLOSED_DAYS = "fine_on_closed_days"
    LOST_AFTER = "lost_after"
    PROCESSING_FEE_CENTS = "processing_fee_cents"
    PROCESSING_FEE_REFUNDABLE = "processing_fee_refundable"
    LOST_REFUND = "lost_refund"
    LOST_REFUND_DAYS = "lost_refund_days"
    FINE_ON_LOST_RETURN = "fine_on_lost_return"
    RUNNING_FINES_COUNT_AS_DEBT = "running_fines_count_as_debt"
    MINIMUM_AGE = "minimum_age"


class Policy(Versioned, Base):
    """One kind of rule for a branch, a patron category and an item type; what is not named is any."""

    __tablename__ = "policies"
    # Null differs from null in a unique constraint: the scope is written out, 0 for any.
    __table_args__ = (
        UniqueConstraint(
            "kind", "scope_key", info={"members": ["kind", "branch_id", "patron_category_id", "item_type_id"]}
        ),
    )

    kind: Mapped[PolicyKind] = mapped_column(enumerated(PolicyKind, "kind"), doc="What is laid down.")
    branch_id: Mapped[int | None] = mapped_column(ForeignKey("branches.id", ondelete="RESTRICT"), index=True)
    patron_category_id: Mapped[int | None] = mapped_column(
        ForeignKey("patron_categories.id", ondelete="RESTRICT"), index=True
    )
    item_type_id: Mapped[int | None] = mapped_column(ForeignKey("item_types.id", ondelete="RESTRICT"), index=True)
    scope_key: Mapped[str] = mapped_column(String(40))
    value: Mapped[Any | None] = mapped_column(JSON(none_as_null=True))

    branch: Mapped["Branch | None"] = relationship()
    patron_category: Mapped["PatronCategory | None"] = relationship()
    item_type: Mapped["ItemType | None"] = relationship()


class TransferLimit(Base):
    """Copies do not travel from one branch to another: all of them, or those of one item type."""

    __tablename__ = "transfer_limits"
    __table_args__ = (
        UniqueConstraint("scope_key", info={"members": ["from_branch_id", "to_branch_id", "item_type_id"]}),
        CheckConstraint("from_branch_id <> to_branch_id", "somewhere_else"),
    )

    from_branch_id: Mapped[int] = mapped_column(ForeignKey("branches.id", ondelete="RESTRICT"), index=True)
    to_branch_id: Mapped[int] = mapped_column(ForeignKey("branches.id", ondelete="RESTRICT"), index=True)
    item_type_id: Mapped[int | None] = mapped_column(ForeignKey("item_types.id", ondelete="RESTRICT"), index=True)
    scope_key: Mapped[str] = mapped_column(String(40))

    from_branch: Mapped["Branch"] = relationship(foreign_keys=from_branch_id)
    to_branch: Mapped["Branch"] = relationship(foreign_keys=to_branch_id)
    item_type: Mapped["ItemType | None"] = relationship()


class CalendarException(Versioned, Base):
    """Days on which a branch, or every branch, is closed or open out of its usual order."""

    __tablename__ = "calendar_exceptions"
    __table_args__ = (
        CheckConstraint("from_on <= to_on", "in_order"),
        CheckConstraint("is_open OR opens IS NULL", "hours_when_open"),
        CheckConstraint("(opens IS NULL) = (closes IS NULL)", "both_hours"),
    )

    branch_id: Mapped[int | None] = mapped_column(ForeignKey("branches.id", ondelete="RESTRICT"), index=True)
    from_on: Mapped[date] = mapped_column(doc="First local day.")
    to_on: Mapped[date] = mapped_column(doc="Last local day.")
    is_open: Mapped[bool] = mapped_column(default=False, doc="Open on these days, against every closure; or closed.")
    opens: Mapped[str | None] = mapped_column(String(5), doc="Opens at, local time; the usual hours where absent.")
    closes: Mapped[str | None] = mapped_column(String(5), doc="Closes at, local time.")
    reason: Mapped[str | None] = mapped_column(String(200), doc="Why: `Easter`.")

    branch: Mapped["Branch | None"] = relationship()
