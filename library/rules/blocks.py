"""Blocks: what staff bar a patron from; what a block means for lending stands in standing.py."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import Select, select
from sqlalchemy.orm import Session

from library.models import PatronBlock, User
from library.rules import changes, locks
from library.rules.access import NotForOneself, PatronErased
from library.rules.errors import Refused, refuses

BLOCK_SORTS = {"created_at": PatronBlock.created_at, "until_on": PatronBlock.until_on}


def find_blocks(user: User) -> Select[Any]:
    """Every block of a user, those that have ended too."""
    return select(PatronBlock).where(PatronBlock.user_id == user.id)


@refuses(PatronErased)
def create(session: Session, actor: User, user: User, values: Mapping[str, Any], now: datetime) -> PatronBlock:
    """Bar a user from something; without `until_on` it has no end."""
    locks.lock_patron_by_id(session, user.id)
    if user.erased_at is not None:
        raise Refused([PatronErased()])
    block = PatronBlock(user_id=user.id, created_at=now, created_by_id=actor.id)
    changes.save(session, block, values)
    return block


@refuses(changes.AlreadyExists, NotForOneself)
def change(session: Session, actor: User, block: PatronBlock, values: Mapping[str, Any]) -> PatronBlock:
    """Change a block of somebody else."""
    _refuse_own(actor, block)
    changes.save(session, block, values)
    return block


@refuses(changes.StillInUse, NotForOneself)
def lift(session: Session, actor: User, block: PatronBlock) -> None:
    """Lift a block of somebody else, as if it had never been."""
    _refuse_own(actor, block)
    changes.delete(session, block)


def _refuse_own(actor: User, block: PatronBlock) -> None:
    if block.user_id == actor.id:
        raise Refused([NotForOneself()])
