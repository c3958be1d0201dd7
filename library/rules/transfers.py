"""Transfers: between which branches copies may not travel."""

from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy import Select, select
from sqlalchemy.orm import Session, raiseload

from library.models import TransferLimit
from library.rules import changes, policies
from library.rules.errors import refuses


class TransferLimits:
    """All transfer limits, read once."""

    def __init__(self, forbidden: Iterable[tuple[int, int, int | None]]) -> None:
        self.forbidden = frozenset(forbidden)

    def allows(self, from_branch_id: int, to_branch_id: int, item_type_id: int | None) -> bool:
        """Whether a copy of that item type may travel; within a branch it always may."""
        if from_branch_id == to_branch_id:
            return True
        way = (from_branch_id, to_branch_id)
        return (*way, None) not in self.forbidden and (*way, item_type_id) not in self.forbidden


def load(session: Session) -> TransferLimits:
    """All transfer limits, in one statement."""
    columns = (TransferLimit.from_branch_id, TransferLimit.to_branch_id, TransferLimit.item_type_id)
    return TransferLimits((start, end, item_type) for start, end, item_type in session.execute(select(*columns)))


def find_limits(**filters: Any) -> Select[Any]:
    """Transfer limits by either branch and by item type."""
    return select(TransferLimit).options(raiseload("*")).filter_by(**filters)


@refuses(changes.AlreadyExists)
def save(session: Session, limit: TransferLimit, values: Mapping[str, Any]) -> TransferLimit:
    """Write a transfer limit: one for each way and item type."""
    key = policies.scope_key(values["from_branch"], values["to_branch"], values.get("item_type"))
    changes.save(session, limit, {**values, "scope_key": key})
    return limit
