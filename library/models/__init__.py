"""Nouns: every table, under one roof; everyone else writes `from library.models import Loan`."""

from library.models.accounts import AccountEntry, Allocation, ChargeLoan, ChargeReason, EntryKind, PaymentMethod
from library.models.audit import AuditEvent, AuditOutcome
from library.models.base import HIGHEST_ID, Base, Moment, Versioned
from library.models.catalogue import (
    Author,
    AuthorKind,
    Book,
    BookSubject,
    Contribution,
    ContributorRole,
    Generation,
    Identifier,
    IdentifierScheme,
    MaterialType,
    SourceRecord,
    Subject,
)
from library.models.holdings import Branch, Copy, CopyCondition, CopyPlace, ItemType
from library.models.holds import OPEN_STATES, Hold, HoldEnding, HoldState
from library.models.idempotency import IdempotencyKey
from library.models.imports import Import, ImportFormat, JobResult, OnDuplicate, Outcome, UploadPart
from library.models.jobs import Job, JobKind, JobState, Notice, NoticeKind
from library.models.keys import ApiKey, Mail, MailKind, OneTimeToken, TokenPurpose
from library.models.loans import DueChange, Loan, LoanClosing, Override, Renewal, RenewalChannel
from library.models.orders import Order, OrderLine, OrderStatus
from library.models.policies import CalendarException, Policy, PolicyKind, TransferLimit
from library.models.users import BlockScope, HistoryMode, PatronBlock, PatronCategory, Role, User, UserSession

__all__ = [
    "HIGHEST_ID",
    "OPEN_STATES",
    "AccountEntry",
    "Allocation",
    "ApiKey",
    "AuditEvent",
    "AuditOutcome",
    "Author",
    "AuthorKind",
    "Base",
    "BlockScope",
    "Book",
    "BookSubject",
    "Branch",
    "CalendarException",
    "ChargeLoan",
    "ChargeReason",
    "Contribution",
    "ContributorRole",
    "Copy",
    "CopyCondition",
    "CopyPlace",
    "DueChange",
    "EntryKind",
    "Generation",
    "HistoryMode",
    "Hold",
    "HoldEnding",
    "HoldState",
    "IdempotencyKey",
    "Identifier",
    "IdentifierScheme",
    "Import",
    "ImportFormat",
    "ItemType",
    "Job",
    "JobKind",
    "JobResult",
    "JobState",
    "Loan",
    "LoanClosing",
    "Mail",
    "MailKind",
    "MaterialType",
    "Moment",
    "Notice",
    "NoticeKind",
    "OnDuplicate",
    "OneTimeToken",
    "Order",
    "OrderLine",
    "OrderStatus",
    "Outcome",
    "Override",
    "PatronBlock",
    "PatronCategory",
    "PaymentMethod",
    "Policy",
    "PolicyKind",
    "Renewal",
    "RenewalChannel",
    "Role",
    "SourceRecord",
    "Subject",
    "TokenPurpose",
    "TransferLimit",
    "UploadPart",
    "User",
    "UserSession",
    "Versioned",
]
