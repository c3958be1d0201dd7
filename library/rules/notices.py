"""Notices: what patrons are told, each occasion once; sending them is not the rules' business."""

from datetime import datetime
from typing import Any

from sqlalchemy import Select, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session, raiseload

from library.models import Notice, NoticeKind, User
from library.rules import access

NOTICE_SORTS = {"created_at": Notice.created_at, "sent_at": Notice.sent_at}
# A plain INSERT that loses the race for an occasion would spoil the transaction of what is told.
_INSERTS: dict[str, Any] = {"postgresql": postgresql.insert, "sqlite": sqlite.insert}


def write(
    session: Session,
    patron_id: int,
    kind: NoticeKind,
    occasion: str,
    now: datetime,
    *,
    loan_id: int | None = None,
    hold_id: int | None = None,
) -> bool:
    """Write a notice that waits to be sent; False where this occasion was told already.

    `occasion` says what it is about (at most 100 characters): `hold_ready:<hold>:<copy>:<day>`.
    """
    connection = session.connection()
    told = (
        _INSERTS[connection.dialect.name](Notice)
        .values(patron_id=patron_id, kind=kind, occasion=occasion, loan_id=loan_id, hold_id=hold_id, created_at=now)
        .on_conflict_do_nothing(index_elements=[Notice.occasion])
        .returning(Notice.id)
    )
    return connection.execute(told).scalar() is not None


def find_notices(actor: User, waiting: bool | None = None, **filters: Any) -> Select[Any]:
    """Notices the actor may see, by patron and kind; `waiting`: only those not sent yet, or only the others."""
    statement = access.visible(select(Notice).options(raiseload("*")), Notice, actor)
    if waiting is not None:
        statement = statement.where(Notice.sent_at.is_(None) if waiting else Notice.sent_at.is_not(None))
    return statement.filter_by(**filters)
