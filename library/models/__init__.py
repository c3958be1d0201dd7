"""Nouns: every table, under one roof; everyone else writes `from library.models import Loan`."""

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
from library.models.loans import Loan, LoanClosing
from library.models.orders import Order, OrderLine, OrderStatus
from library.models.users import PatronCategory, Role, User, UserSession

__all__ = [
    "HIGHEST_ID",
    "Author",
    "AuthorKind",
    "Base",
    "Book",
    "BookSubject",
    "Branch",
    "Contribution",
    "ContributorRole",
    "Copy",
    "CopyCondition",
    "CopyPlace",
    "Generation",
    "Identifier",
    "IdentifierScheme",
    "ItemType",
    "Loan",
    "LoanClosing",
    "MaterialType",
    "Moment",
    "Order",
    "OrderLine",
    "OrderStatus",
    "PatronCategory",
    "Role",
    "SourceRecord",
    "Subject",
    "User",
    "UserSession",
    "Versioned",
]
