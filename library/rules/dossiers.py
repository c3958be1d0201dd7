"""Dossiers: all that is held about one person, table by table, as they may ask for it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import ColumnElement, Row, Select, and_, or_, select
from sqlalchemy.orm import Session

from library.models import (
    AccountEntry,
    Allocation,
    ApiKey,
    AuditEvent,
    Base,
    Book,
    ChargeLoan,
    Copy,
    DueChange,
    Hold,
    IdempotencyKey,
    JobResult,
    Loan,
    Mail,
    Notice,
    OneTimeToken,
    Order,
    OrderLine,
    Override,
    PatronBlock,
    Renewal,
    User,
    UserSession,
)
from library.rules import traces

AT_ONCE = 500
# What opens an account, and what is made of other columns, is nobody's to read; who acted is somebody else.
SECRETS = frozenset({"password_hash", "token_version", "refresh_jti", "key_hash", "nonce", "token_hash", "fingerprint"})
DERIVED = frozenset({"username_key", "email_key", "words", "version", "occasion", "sort_key"})
OTHERS = frozenset({"actor_id", "created_by_id", "checked_out_by_id", "closed_by_id", "placed_by_id", "ended_by_id"})


@dataclass(frozen=True)
class Part:
    """Rows of one table: those that a condition on a person's key finds; `along` are columns of what they name.

    `hidden` columns are not told beside those that no part tells.
    """

    table: type[Base]
    mine: ColumnElement[bool]
    hidden: frozenset[str] = frozenset()
    along: Mapping[str, Any] = field(default_factory=dict)

    @property
    def columns(self) -> list[str]:
        """Names of the columns that are told."""
        untold = SECRETS | DERIVED | OTHERS | self.hidden
        return [column.name for column in self.table.__table__.columns if column.name not in untold]


def parts_of(user_id: int) -> dict[str, Part]:
    """The parts of a person's dossier, by name.

    What somebody did for others as staff stands in the audit alone: the rows themselves tell of those others.
    """
    loans = select(Loan.id).where(Loan.patron_id == user_id)
    holds = select(Hold.id).where(Hold.patron_id == user_id)
    entries = select(AccountEntry.id).where(AccountEntry.patron_id == user_id)
    about_user = and_(AuditEvent.object_kind == User.__tablename__, AuditEvent.object_id == user_id)
    title = select(Book.title).where(Book.id == Hold.book_id).scalar_subquery()
    barcode = select(Copy.barcode).where(Copy.id == Loan.copy_id).scalar_subquery()
    lent = select(Book.title).join(Copy, Copy.book_id == Book.id).where(Copy.id == Loan.copy_id).scalar_subquery()
    kept = frozenset({"status", "headers", "body"})
    return {
        "account": Part(User, User.id == user_id, frozenset({"erased_at"})),
        "sessions": Part(UserSession, UserSession.user_id == user_id),
        "api_keys": Part(ApiKey, ApiKey.user_id == user_id),
        "one_time_tokens": Part(OneTimeToken, OneTimeToken.user_id == user_id),
        "mails": Part(Mail, Mail.user_id == user_id, frozenset({"token_id"})),
        "blocks": Part(PatronBlock, PatronBlock.user_id == user_id),
        "loans": Part(
            Loan,
            Loan.patron_id == user_id,
            frozenset({"lent_condition", "fine_pauses"}),
            {"title": lent, "copy_barcode": barcode},
        ),
        "renewals": Part(Renewal, Renewal.loan_id.in_(loans)),
        "due_changes": Part(DueChange, DueChange.loan_id.in_(loans)),
        "overrides": Part(Override, or_(Override.loan_id.in_(loans), Override.hold_id.in_(holds))),
        "holds": Part(Hold, Hold.patron_id == user_id, along={"title": title}),
        "account_entries": Part(AccountEntry, AccountEntry.patron_id == user_id),
        "allocations": Part(Allocation, Allocation.charge_id.in_(entries)),
        "charge_loans": Part(ChargeLoan, ChargeLoan.entry_id.in_(entries)),
        "notices": Part(Notice, Notice.patron_id == user_id),
        "orders": Part(Order, Order.user_id == user_id),
        "order_lines": Part(
            OrderLine, OrderLine.order_id.in_(select(Order.id).where(Order.user_id == user_id)), frozenset({"position"})
        ),
        "roster_lines": Part(JobResult, traces.roster_lines(user_id), frozenset({"book_id"})),
        "repeatable_calls": Part(IdempotencyKey, IdempotencyKey.user_id == user_id, kept),
        "audit_events": Part(AuditEvent, or_(AuditEvent.actor_id == user_id, about_user)),
    }


def next_rows(session: Session, part: Part, after: int) -> Sequence[Row[Any]]:
    """The next rows of a part behind a key, in the order of their keys; empty at the end."""
    table = part.table.__table__
    columns = [table.columns[name] for name in part.columns] + [value.label(name) for name, value in part.along.items()]
    some: Select[Any] = (
        select(*columns).where(part.mine, table.columns.id > after).order_by(table.columns.id).limit(AT_ONCE)
    )
    return session.execute(some).all()
