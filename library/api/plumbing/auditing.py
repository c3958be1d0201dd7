"""Auditing: what a request tries, who tries it and on what, gathered for the row that the audit keeps of it."""

import logging
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from flask import g, request
from sqlalchemy.exc import IntegrityError, SQLAlchemyError
from sqlalchemy.orm.exc import StaleDataError

from library.api.plumbing.errors import Problem
from library.database import transaction
from library.extensions import db
from library.models import AuditOutcome, Base, User
from library.rules import access, audit
from library.rules.errors import Forbidden, Refused

log = logging.getLogger("library")
# A request's name that a program made up; one of words could be somebody's name, and the audit never forgets.
_MADE_UP = re.compile(r"[0-9A-Fa-f-]{16,64}", re.ASCII)
SAFE_METHODS = ("GET", "HEAD", "OPTIONS")
# What is wrong with a secret that somebody has sent; whatever else does not fit (422) is a fault of form.
WRONG_SECRETS = {"wrong_password", "invalid_token"}


@dataclass(frozen=True)
class Trial:
    """What is known of an operation before it is called: its name and permission, the members its body may have, the
    table of the row it finds, the status of its answer; a trial that is not `kept` is a preview."""

    action: str = ""
    permission: str = access.ANYONE
    members: frozenset[str] = frozenset()
    finds: type[Base] | None = None
    status: int = 200
    kept: bool = True


def trial_of(marks: dict[str, Any]) -> Trial:
    """What the marks of a view say of its calls."""
    body = marks.get("body")
    members = frozenset(field.data_key or name for name, field in body.load_fields.items()) if body else frozenset()
    status, kept = marks.get("status", 200), marks["passage"].kept
    return Trial(marks["operation"], marks["permission"], members, marks.get("finds"), status, kept)


@dataclass
class Attempt:
    """One call of an operation, and what is known so far of its actor and object."""

    trial: Trial
    actor_id: int | None = None
    actor_role: str | None = None
    api_key_id: int | None = None
    object_kind: str | None = None
    object_id: int | None = None
    told: bool = False
    # Codes of the refusals that were let pass.
    passed: list[str] = field(default_factory=list)


def begin(trial: Trial) -> None:
    """A call has come in; its object is the row that its path names."""
    g.attempt = Attempt(trial)
    if trial.finds is not None:
        about(trial.finds, next(reversed((request.view_args or {}).values()), None))


def again() -> None:
    """The work begins, or begins once more because the database undid it."""
    g.attempt.passed, g.attempt.told = [], False


def acts(user: User, api_key_id: int | None = None) -> None:
    """It is this account that acts; keep it now, for a roll-back makes the row unreadable."""
    attempt = g.attempt
    attempt.actor_id, attempt.actor_role, attempt.api_key_id = user.id, user.role.value, api_key_id
    if attempt.trial.finds is User and not request.view_args:
        about(User, user.id)


def about(table: type[Base], key: int | None) -> None:
    """This is what it acts on; without a key, on several or on none that there is."""
    g.attempt.object_kind, g.attempt.object_id = table.__tablename__, key


def made(result: object) -> None:
    """What a view answers is what it made or changed, where it is a row."""
    if isinstance(result, Base):
        about(type(result), result.id)


def done(status: int) -> None:
    """Write that the call has changed something, in the transaction that changes it; nothing for a mere look."""
    if request.method not in SAFE_METHODS and g.attempt.trial.kept:
        _write(AuditOutcome.DONE, status, g.attempt.passed)


@contextmanager
def change(status: int = 0) -> Iterator[None]:
    """The transaction of a view that begins by itself, with the row of what it did; `status` where it is unusual."""
    with transaction(db.session, write=True):
        yield
        if not g.attempt.told:
            done(status or g.attempt.trial.status)


def turned_away(status: int, *codes: str) -> None:
    """Write in the transaction at hand that the call is refused though it changes something: not once more later."""
    _write(AuditOutcome.REFUSED, status, codes)
    g.attempt.told = True


def refused(error: Exception) -> None:
    """Write that the call was turned away, where that is kept; in a commit of its own, as what it did was undone."""
    said = _said(error)
    if said is None or g.attempt.told or not g.attempt.trial.kept or not _counts(*said):
        return
    try:
        with transaction(db.session, write=True):
            _write(AuditOutcome.REFUSED, *said)
    except SQLAlchemyError as fault:
        # It is refused all the same, and the client hears why.
        log.warning("request %s: its refusal is not in the audit: %s", g.request_id, type(fault).__name__)


def _said(error: Exception) -> tuple[int, Sequence[str]] | None:
    """Status and codes of what an error will be answered with; None for what is nobody's attempt."""
    if isinstance(error, Problem):
        return error.status, [reason["code"] for reason in error.errors] or [error.code]
    if isinstance(error, Refused):
        return 409, [reason.code for reason in error.reasons]
    if isinstance(error, Forbidden):
        return 403, ["permission_missing"]
    if isinstance(error, StaleDataError):
        return 412, ["precondition_failed"]
    return (409, ["conflict"]) if isinstance(error, IntegrityError) else None


def _counts(status: int, codes: Sequence[str]) -> bool:
    """Whether a refusal is kept: of those signed in what they may not or cannot do, of strangers wrong secrets."""
    if status == 401:
        return g.attempt.trial.permission == access.ANYONE
    if status == 422:
        return not WRONG_SECRETS.isdisjoint(codes)
    changes = request.method not in SAFE_METHODS
    return g.attempt.actor_role is not None and (status == 403 or (changes and status in (409, 412)))


def _write(outcome: AuditOutcome, status: int, codes: Sequence[str]) -> None:
    attempt, trial = g.attempt, g.attempt.trial
    event = audit.Event(
        g.real_now,
        trial.action,
        attempt.actor_role,
        attempt.actor_id,
        attempt.api_key_id,
        attempt.object_kind,
        attempt.object_id,
        outcome,
        status,
        list(dict.fromkeys(codes)),
        sorted(trial.members.intersection(_sent(outcome))),
        g.request_id if _MADE_UP.fullmatch(g.request_id) else None,
    )
    if audit.is_about_reading(trial.permission):
        event = event.withheld(chosen_id=request.headers.get("X-Request-ID") == g.request_id)
    audit.write(db.session, event)


def _sent(outcome: AuditOutcome) -> list[str]:
    """The members that the body has at its top, or the parts of an upload: of nobody who was turned away is it read."""
    if request.mimetype == "multipart/form-data":
        return [*request.form, *request.files] if outcome is AuditOutcome.DONE else []
    return list(g.body.value) if isinstance(g.body.value, dict) else []
