"""Blocks: what staff bar a patron from; what a block means for lending stands in standing.py."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import Select, select
from sqlalchemy.orm import Session

from library.models import PatronBlock, User
from library.rules import changes

BLOCK_SORTS = {"created_at": PatronBlock.created_at, "until_on": PatronBlock.until_on}


def find_blocks(user: User) -> Select[Any]:
    """Every block of a user, those that have ended too."""
    return select(PatronBlock).where(PatronBlock.user_id == user.id)


def create(session: Session, actor: User, user: User, values: Mapping[str, Any], now: datetime) -> PatronBlock:
    """Bar a user from something; without `until_on` it has no end."""
    block = PatronBlock(user_id=user.id, created_at=now, created_by_id=actor.id)
    changes.save(session, block, values)
    return block
