"""Keys under which calls are repeated: the first answer is kept beside its effect, the next calls get it again."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, LargeBinary, Row, Select, and_, delete, func, literal, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from library.models import AccountEntry, IdempotencyKey

# Clients rely on it, so it is no setting: a till that was offline over night may still repeat what it sent.
KEPT = timedelta(hours=24)
_INSERT: dict[str, Any] = {"postgresql": postgresql.insert, "sqlite": sqlite.insert}
# Whether some bytes are in others.
_HOLDS: dict[str, Callable[[Any, bytes], ColumnElement[bool]]] = {
    "postgresql": lambda column, text: func.position(literal(text, LargeBinary).op("IN")(column)) > 0,
    "sqlite": lambda column, text: func.instr(column, literal(text, LargeBinary)) > 0,
}
_ANSWER = (IdempotencyKey.fingerprint, IdempotencyKey.status, IdempotencyKey.headers, IdempotencyKey.body)


@dataclass(frozen=True)
class Call:
    """What was called under a key: by whom, what (method and concrete path), and a hash of what was sent."""

    user_id: int
    call: str
    key: str
    fingerprint: str


def claim(session: Session, call: Call, now: datetime) -> int | Row[Any]:
    """Take a key: the number under which to `keep` the answer, or what is kept already.

    Waits for another call with this key until it has ended. `now` is the real moment; a key that is older than a day
    counts as if it were not there.
    """
    insert = _INSERT[session.connection().dialect.name](IdempotencyKey)
    fresh = {"fingerprint": call.fingerprint, "created_at": now, "status": None, "headers": None, "body": None}
    whose = {"user_id": call.user_id, "call": call.call, "key": call.key}
    taken = insert.values(**whose, **fresh).on_conflict_do_update(
        index_elements=list(whose), set_=fresh, where=IdempotencyKey.created_at <= now - KEPT
    )
    number = session.scalar(taken.returning(IdempotencyKey.id))
    return number or session.execute(select(*_ANSWER).filter_by(**whose)).one()


def keep(session: Session, number: int, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
    """Keep the answer of the call that has claimed a key, in the transaction that does what it answers."""
    answer = {"status": status, "headers": headers, "body": body}
    session.connection().execute(update(IdempotencyKey).where(IdempotencyKey.id == number).values(**answer))


def forget(session: Session, user_id: int) -> None:
    """Drop the keys whose kept answer tells of a user, whoever has called: a reply to staff holds what they wrote.

    A call that wrote to their ledger was in that very moment, and what it answers may name the copy and not them.
    What is called again about somebody who is gone is refused anyway.
    """
    said = [f'"{name}":{user_id}{end}'.encode() for name in ("patron_id", "user_id") for end in ",}"]
    holds = _HOLDS[session.connection().dialect.name]
    about = or_(*(holds(IdempotencyKey.body, text) for text in said))
    created = and_(IdempotencyKey.call == "POST /users", holds(IdempotencyKey.body, f'{{"id":{user_id},'.encode()))
    below = IdempotencyKey.call.startswith(f"POST /users/{user_id}/", autoescape=True)
    wrote = IdempotencyKey.created_at.in_(select(AccountEntry.made_at).where(AccountEntry.patron_id == user_id))
    # One without an answer is that of the call at work.
    answered = IdempotencyKey.status.is_not(None)
    session.connection().execute(delete(IdempotencyKey).where(answered, or_(about, created, below, wrote)))


def lock(session: Session, row: IdempotencyKey) -> None:
    """Lock a key until the transaction ends; it may be gone by then."""
    session.execute(select(IdempotencyKey.id).where(IdempotencyKey.id == row.id).with_for_update())


def expired(now: datetime) -> Select[Any]:
    """Keys that count no more at a real moment."""
    return select(IdempotencyKey).where(IdempotencyKey.created_at <= now - KEPT)
