"""Who may do what, on one page: role → permissions, and which rows a role sees."""

from collections.abc import Callable
from typing import Any

from sqlalchemy import ColumnElement, Select, false

from library.models import (
    AccountEntry,
    Base,
    Book,
    Branch,
    Copy,
    Hold,
    ItemType,
    Loan,
    Notice,
    Order,
    PatronCategory,
    Role,
    User,
)
from library.rules.errors import Forbidden

ANYONE = "anyone"

ANONYMOUS = frozenset({ANYONE})
PATRON = ANONYMOUS | {
    "sessions.own",
    "profile.own",
    "catalogue.read",
    "categories.read",
    "loans.read",
    "loans.renew",
    "loans.claim",
    "holds.read",
    "holds.write",
    "accounts.read",
    "notices.read",
    "summary.own",
    "policies.effective",
    "orders.read",
}
LIBRARIAN = PATRON | {
    "users.read",
    "users.write",
    "catalogue.write",
    "copies.write",
    "loans.check_out",
    "loans.check_in",
    "loans.change",
    "loans.lost",
    "circulation.override",
    "copies.mark",
    "holds.queue",
    "accounts.write",
    "blocks.write",
    "summary.read",
    "policies.read",
    "jobs.read",
    "jobs.cancel",
    "imports.write",
    "catalogue.export",
    "orders.write",
}
ADMIN = LIBRARIAN | {
    "users.roles",
    "categories.write",
    "branches.write",
    "item_types.write",
    "policies.write",
    "calendar.write",
    "circulation.override_held",
    "jobs.start",
}
PERMISSIONS: dict[Role | None, frozenset[str]] = {
    None: ANONYMOUS,
    Role.PATRON: PATRON,
    Role.LIBRARIAN: LIBRARIAN,
    Role.ADMIN: ADMIN,
}
# What an open catalogue (the setting PUBLIC_CATALOGUE) shows to those who are not signed in.
OPEN_CATALOGUE = frozenset({"catalogue.read"})

# Of these tables a patron sees only their own rows; staff see all.
OWN_ROWS: dict[type[Base], Callable[[User], ColumnElement[bool]]] = {
    User: lambda actor: User.id == actor.id,
    Loan: lambda actor: Loan.patron_id == actor.id,
    Hold: lambda actor: Hold.patron_id == actor.id,
    AccountEntry: lambda actor: AccountEntry.patron_id == actor.id,
    Notice: lambda actor: Notice.patron_id == actor.id,
    Order: lambda actor: Order.user_id == actor.id,
}

# With which permission a record may be seen where another one names it; of tables with own rows only those.
SEEN_WITH: dict[type[Base], str] = {
    Book: "catalogue.read",
    Branch: "catalogue.read",
    Copy: "catalogue.read",
    ItemType: "catalogue.read",
    Loan: "loans.read",
    PatronCategory: "categories.read",
    User: "profile.own",
}


def may(actor: User | None, permission: str) -> bool:
    """Whether the actor (None: nobody signed in) holds a permission."""
    return permission in PERMISSIONS[actor.role if actor else None]


def is_staff(actor: User | None) -> bool:
    """Whether the actor works here."""
    return actor is not None and actor.role is not Role.PATRON


def require(actor: User | None, permission: str) -> None:
    """Raise Forbidden where the actor does not hold a permission."""
    if not may(actor, permission):
        raise Forbidden(permission)


def visible(statement: Select[Any], table: type[Base], actor: User | None) -> Select[Any]:
    """Narrow a statement over `table` to the rows that the actor may see."""
    own = OWN_ROWS.get(table)
    if own is None or is_staff(actor):
        return statement
    return statement.where(false() if actor is None else own(actor))
