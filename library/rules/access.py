"""Who may do what, on one page: role → permissions, and which rows a role sees."""

from collections.abc import Callable
from typing import Any

from sqlalchemy import ColumnElement, Select, false

from library.models import (
    AccountEntry,
    ApiKey,
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
    UserSession,
)
from library.rules.errors import Forbidden, Refusal

ANYONE = "anyone"

ANONYMOUS = frozenset({ANYONE})
PATRON = ANONYMOUS | {
    "sessions.own",
    "credentials.own",
    "profile.own",
    "privacy.own",
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
    "users.credentials",
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
    "api_keys.all",
    "audit.read",
    "privacy.all",
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
# What patrons do for themselves where there are self-checks (the setting SELF_CHECKOUT).
SELF_CHECKOUT = frozenset({"loans.check_out"})

# What no API key ever opens: how an account is got into, who may do what, and all that is known of somebody.
NEVER_BY_KEY = frozenset(
    {
        ANYONE,
        "sessions.own",
        "credentials.own",
        "api_keys.all",
        "users.credentials",
        "users.roles",
        "privacy.own",
        "privacy.all",
    }
)
SCOPES = ADMIN - NEVER_BY_KEY

# Of these tables a patron sees only their own rows; staff see all.
OWN_ROWS: dict[type[Base], Callable[[User], ColumnElement[bool]]] = {
    User: lambda actor: User.id == actor.id,
    Loan: lambda actor: Loan.patron_id == actor.id,
    Hold: lambda actor: Hold.patron_id == actor.id,
    AccountEntry: lambda actor: AccountEntry.patron_id == actor.id,
    Notice: lambda actor: Notice.patron_id == actor.id,
    Order: lambda actor: Order.user_id == actor.id,
    UserSession: lambda actor: UserSession.user_id == actor.id,
    ApiKey: lambda actor: ApiKey.user_id == actor.id,
}
# Of these staff see no more than their own either, but for who holds the permission.
PERSONAL: dict[type[Base], str] = {UserSession: "nobody", ApiKey: "api_keys.all"}

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
# The permission above opens only what is one's own; with this one others are seen there too.
OTHERS_SEEN_WITH: dict[type[Base], str] = {User: "users.read"}


class PatronErased(Refusal):
    """This person was just erased: nothing more is written about them."""


class NotForOneself(Refusal):
    """Nobody grants this to themselves: ask a colleague."""

    parameters = ("override",)


def may(actor: User | None, permission: str, opened: frozenset[str] = frozenset()) -> bool:
    """Whether the actor (None: nobody signed in) holds a permission, `opened` ones included; an API key narrows it."""
    held = PERMISSIONS[actor.role if actor else None] | opened
    scopes = actor.scopes if actor else None
    return permission in held and (scopes is None or permission in scopes)


def scopes_of(actor: User) -> frozenset[str]:
    """What the actor may give an API key."""
    return PERMISSIONS[actor.role] & SCOPES


def is_staff(actor: User | None) -> bool:
    """Whether the actor works here."""
    return actor is not None and actor.role is not Role.PATRON


def require(actor: User | None, permission: str, opened: frozenset[str] = frozenset()) -> None:
    """Raise Forbidden where the actor does not hold a permission, `opened` ones included."""
    if not may(actor, permission, opened):
        raise Forbidden(permission)


def visible(statement: Select[Any], table: type[Base], actor: User | None) -> Select[Any]:
    """Narrow a statement over `table` to the rows that the actor may see."""
    if table is User:
        # Who was erased is a number in the ledger, and nobody.
        statement = statement.where(User.erased_at.is_(None))
    own = OWN_ROWS.get(table)
    sees_all = may(actor, PERSONAL[table]) if table in PERSONAL else is_staff(actor)
    if own is None or sees_all:
        return statement
    return statement.where(false() if actor is None else own(actor))


def named_beside(statement: Select[Any], table: type[Base], actor: User | None) -> Select[Any]:
    """Narrow a statement over `table` to the rows that the actor may see in full where another record names them."""
    if table in OTHERS_SEEN_WITH and not may(actor, OTHERS_SEEN_WITH[table]):
        statement = statement.where(false() if actor is None else OWN_ROWS[table](actor))
    return visible(statement, table, actor)
