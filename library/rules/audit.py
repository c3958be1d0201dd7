"""The audit: a row for each change, in the transaction that makes it, and one for each attempt that was turned away.

Rows are never changed or deleted, so nothing may stand in them that somebody could want forgotten: numbers of others,
names of members, no values. Of what people borrow they name neither the thing nor the patron who acts: the moment of a
row is that of the ledger's entry, and would lead from a patron to a loan whose history was cut.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from datetime import datetime
from typing import Any

from sqlalchemy import Select, bindparam, insert, select
from sqlalchemy.orm import Session

from library.models import AuditEvent, AuditOutcome, Role
from library.rules.sentences import Sentence, connection_of

AUDIT_SORTS = {"at": AuditEvent.at}
# Roles of those who have no account.
COMMAND, JOB = "command", "job"
# Permissions of what is done with what somebody borrows, or wants to.
_READING = ("loans.", "holds.", "copies.mark")


@dataclass(frozen=True)
class Event:
    """What is written down of one attempt; for the members see the model."""

    at: datetime
    action: str
    actor_role: str | None
    actor_id: int | None = None
    api_key_id: int | None = None
    object_kind: str | None = None
    object_id: int | None = None
    outcome: AuditOutcome = AuditOutcome.DONE
    status: int | None = None
    codes: Sequence[str] = ()
    members: Sequence[str] = ()
    request_id: str | None = None

    def withheld(self, chosen_id: bool) -> "Event":
        """The same without what leads to somebody's reading; `chosen_id`: the client named the request.

        A program names all its requests alike, and so would join a patron's to one another.
        """
        event = replace(self, object_id=None)
        if self.actor_role != Role.PATRON:
            return event
        return replace(event, actor_id=None, api_key_id=None, request_id=None if chosen_id else self.request_id)


def is_about_reading(permission: str) -> bool:
    """Whether what is done with a permission tells what somebody reads."""
    return permission.startswith(_READING)


_NAMED = {field.name: bindparam(field.name, type_=getattr(AuditEvent, field.name).type) for field in fields(Event)}
_WRITE = Sentence(insert(AuditEvent).values(_NAMED))


def write(session: Session, event: Event) -> None:
    """Write a row in the transaction at hand, by one statement."""
    values = vars(event) | {"codes": list(event.codes), "members": list(event.members)}
    _WRITE.run(connection_of(session), values)


def write_done(
    session: Session, action: str, role: str, at: datetime, kind: str | None = None, key: int | None = None
) -> None:
    """Write that a command or a job has changed something; `at` is the real moment."""
    write(session, Event(at, action, role, object_kind=kind, object_id=key))


def find_events(at_min: datetime | None = None, at_max: datetime | None = None, **filters: Any) -> Select[Any]:
    """Rows by what they hold, from and to a moment."""
    statement = select(AuditEvent).filter_by(**filters)
    if at_min is not None:
        statement = statement.where(AuditEvent.at >= at_min)
    if at_max is not None:
        statement = statement.where(AuditEvent.at <= at_max)
    return statement
