"""Holdings: copies as the catalogue lists and the office writes them."""

import secrets
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import Select, select
from sqlalchemy.orm import Session, raiseload

from library.models import Branch, Copy, CopyPlace, ItemType
from library.rules import changes
from library.rules.errors import Refusal, Refused, refuses

COPY_SORTS = {"barcode": Copy.barcode, "created_at": Copy.created_at, "shelf_mark": Copy.shelf_mark}
BRANCH_SORTS = {"name": Branch.name}
ITEM_TYPE_SORTS = {"name": ItemType.name}


class CopyIsOut(Refusal):
    """The copy is not in the house: take it back first."""


@refuses(changes.AlreadyExists)
def create_copy(session: Session, values: dict[str, Any], now: datetime) -> Copy:
    """Put a copy on the shelf of its home branch; without a barcode it gets one."""
    barcode = values.get("barcode") or new_barcode(session)
    copy = Copy(**values | {"barcode": barcode, "current_branch": values["home_branch"], "created_at": now})
    changes.save(session, copy, {})
    return copy


def new_barcode(session: Session) -> str:
    """A barcode no copy has yet."""
    while True:
        barcode = f"C{secrets.randbelow(10**9):09d}"
        if session.scalar(select(Copy.id).where(Copy.barcode == barcode)) is None:
            return barcode


@refuses(changes.AlreadyExists)
def change_copy(session: Session, copy: Copy, values: Mapping[str, Any]) -> Copy:
    """Change what the office says of a copy; where it is and its condition change at the desk only."""
    values = dict(values)
    if "barcode" in values and values["barcode"] is None:
        del values["barcode"]
    changes.save(session, copy, values)
    return copy


@refuses(changes.StillInUse, CopyIsOut)
def delete_copy(session: Session, copy: Copy) -> None:
    """Delete a copy that is in the house and that no loan speaks of."""
    if copy.place is CopyPlace.ON_LOAN:
        raise Refused([CopyIsOut()])
    changes.delete(session, copy)


def find_copies(**filters: Any) -> Select[Any]:
    """Copies by barcode, book, place, condition, home or current branch."""
    branch_id = filters.pop("branch_id", None)
    statement = select(Copy).options(raiseload("*")).filter_by(**filters)
    return statement if branch_id is None else statement.where(Copy.current_branch_id == branch_id)
