"""Policies: rows of rules, resolved for a branch, a patron category and an item type, each kind for itself."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Select, select
from sqlalchemy.orm import Session, raiseload

from library.models import Base, Copy, Policy, PolicyKind, User
from library.rules import changes
from library.rules.errors import refuses
from library.rules.policy_kinds import (
    SHAPES,
    ClosedDay,
    FineRate,
    HoursEnd,
    Length,
    LostRefund,
    RenewFrom,
    RenewOverdue,
    RenewWhenHeld,
    Unit,
    value_of,
)

__all__ = [
    "SHAPES",
    "ClosedDay",
    "Effective",
    "FineRate",
    "HoursEnd",
    "Length",
    "LostRefund",
    "PolicyTable",
    "RenewFrom",
    "RenewOverdue",
    "RenewWhenHeld",
    "Resolved",
    "Unit",
    "effective",
    "find_policies",
    "load",
    "save",
    "value_of",
]

POLICY_SORTS = {"kind": Policy.kind}
Scope = tuple[int | None, int | None, int | None]
# A branch beats a category and an item type together, a category beats an item type.
_WEIGHTS = (4, 2, 1)


@dataclass(frozen=True)
class Resolved:
    """What holds of one kind: the stored form, and the row it comes from (None: the shipped default)."""

    kind: PolicyKind
    value: Any
    policy_id: int | None


@dataclass(frozen=True)
class Row:
    """One policy as the table keeps it."""

    id: int
    scope: Scope
    value: Any

    def fits(self, scope: Scope) -> bool:
        """Whether the row speaks of that branch, category and type: what it does not name is any."""
        return all(named is None or named == asked for named, asked in zip(self.scope, scope, strict=True))

    @property
    def weight(self) -> int:
        """How narrowly the row is meant."""
        return sum(weight for named, weight in zip(self.scope, _WEIGHTS, strict=True) if named is not None)


@dataclass
class Effective:
    """What holds for one branch, patron category and item type: `rules[PolicyKind.MAX_LOANS]`."""

    rows: Mapping[PolicyKind, list[Row]]
    scope: Scope
    known: dict[PolicyKind, Any] = field(default_factory=dict)

    def __getitem__(self, kind: PolicyKind) -> Any:
        """What rules use: a number, Length, flag, day, word or FineRate; None where there is no such limit."""
        if kind not in self.known:
            self.known[kind] = value_of(kind, self.resolve(kind).value)
        return self.known[kind]

    def resolve(self, kind: PolicyKind) -> Resolved:
        """The most specific row, or the shipped default."""
        # Rows stand narrowest first: the first that fits is the one.
        row = next((row for row in self.rows.get(kind, ()) if row.fits(self.scope)), None)
        if row is None:
            return Resolved(kind, SHAPES[kind].default, None)
        return Resolved(kind, row.value, row.id)

    def __iter__(self) -> Iterator[Resolved]:
        return (self.resolve(kind) for kind in PolicyKind)


class PolicyTable:
    """All policies, read once: ask it what holds where."""

    def __init__(self, rows: Mapping[PolicyKind, list[Row]]) -> None:
        self.rows = {kind: sorted(of_kind, key=lambda row: -row.weight) for kind, of_kind in rows.items()}
        self.known: dict[Scope, Effective] = {}

    def at(self, branch_id: int | None, patron_category_id: int | None, item_type_id: int | None) -> Effective:
        """What holds for a branch, a patron category and an item type; None where there is none."""
        scope = (branch_id, patron_category_id, item_type_id)
        return self.known.setdefault(scope, Effective(self.rows, scope))

    def mentions(self, kind: PolicyKind) -> bool:
        """Whether any row speaks of a kind."""
        return kind in self.rows


ROWS = select(Policy.id, Policy.kind, Policy.branch_id, Policy.patron_category_id, Policy.item_type_id, Policy.value)


def load(session: Session) -> PolicyTable:
    """All policies, in one statement."""
    return table_of(session.execute(ROWS))


def table_of(found: Iterable[Any]) -> PolicyTable:
    """All policies, of what `ROWS` has found."""
    rows: dict[PolicyKind, list[Row]] = {}
    for key, kind, branch_id, category_id, item_type_id, value in found:
        rows.setdefault(kind, []).append(Row(key, (branch_id, category_id, item_type_id), value))
    return PolicyTable(rows)


def effective(session: Session, patron: User | None, copy: Copy | None, branch_id: int | None) -> Effective:
    """What holds for a patron, a copy and a lending branch: that where the copy is now, if none is named."""
    if branch_id is None and copy is not None:
        branch_id = copy.current_branch_id
    table = load(session)
    return table.at(branch_id, patron.patron_category_id if patron else None, copy.item_type_id if copy else None)


def find_policies(**filters: Any) -> Select[Any]:
    """Policies by kind, branch, patron category and item type, in the order of their kinds."""
    return select(Policy).options(raiseload("*")).filter_by(**filters).order_by(Policy.kind)


@refuses(changes.AlreadyExists)
def save(session: Session, policy: Policy, values: Mapping[str, Any]) -> Policy:
    """Write a policy: one row of a kind for each scope."""
    named = {name: values.get(name) for name in ("branch", "patron_category", "item_type")}
    changes.save(session, policy, {**values, **named, "scope_key": scope_key(*named.values())})
    return policy


def scope_key(*named: Base | None) -> str:
    """What a row speaks of as text, 0 for any: null differs from null in a unique constraint."""
    return "-".join(str(row.id if row else 0) for row in named)
