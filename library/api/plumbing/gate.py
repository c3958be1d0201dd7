"""The gate: token, limit, permission, one transaction; no view is reached but through it."""

import logging
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import wraps
from typing import Any

import marshmallow as ma
from flask import current_app, g, request
from sqlalchemy.exc import DBAPIError
from werkzeug.datastructures import MultiDict

from library.api.plumbing import auditing, idempotency, limits, tokens
from library.api.plumbing.auditing import SAFE_METHODS
from library.api.plumbing.errors import Problem, invalid
from library.api.plumbing.fields import Fault
from library.database import transaction
from library.extensions import db
from library.models import User
from library.rules import access, api_keys, locks, sessions
from library.rules.api_keys import Holder

log = logging.getLogger("library")
Known = tokens.Claims | Holder
CATALOGUE_WRITES = "catalogue.write"
TRIES = 4
# PostgreSQL's serialization failure and deadlock: the transaction was undone and may run again.
_RETRY_STATES = ("40001", "40P01")


@dataclass(frozen=True)
class Passage:
    """How a view is reached.

    A view with `own_transaction` begins by itself, because it does slow work (hashing) outside; `prepare` is such
    work done before the gate begins, for an actor who was admitted. A call that is not `limited` does not count
    against the rate limit; a stranger's counts by the setting `limit`. What the view did is undone where it is not
    `kept`. A `keyed` call that is sent again under its idempotency key is answered as before. The audit speaks of the
    call as `trial` says.
    """

    permission: str
    own_transaction: bool = False
    limited: bool = True
    prepare: Callable[[], None] | None = None
    kept: bool = True
    keyed: bool = True
    limit: str = "LIMIT_ANONYMOUS"
    trial: auditing.Trial = field(default_factory=auditing.Trial)


def guarded(view: Callable[..., Any], passage: Passage, query: Mapping[str, bool]) -> Any:
    """A view behind the gate; `query` names the parameters it knows, and whether each may be repeated."""
    permission = passage.permission

    def admitted(claims: Known | None, *args: Any, **kwargs: Any) -> Any:
        # Each try starts without them.
        g.remarks = []
        auditing.again()
        if claims is not None:
            _admit(claims, permission)
        check_query(query, request.args)
        # The key before anything else: who waits for it must hold nothing that its holder may want.
        return idempotency.once(lambda: work(*args, **kwargs)) if passage.keyed else work(*args, **kwargs)

    def work(*args: Any, **kwargs: Any) -> Any:
        if permission == CATALOGUE_WRITES:
            locks.lock_catalogue(db.session)
        response = view(*args, **kwargs)
        if not passage.own_transaction:
            auditing.done(response.status_code)
        return response

    @wraps(view)
    def enter(*args: Any, **kwargs: Any) -> Any:
        auditing.begin(passage.trial)
        try:
            return reach(*args, **kwargs)
        except Exception as error:
            auditing.refused(error)
            raise

    def reach(*args: Any, **kwargs: Any) -> Any:
        claims = _claims(permission)
        response = answer(claims, *args, **kwargs)
        if isinstance(claims, Holder) and not claims.is_noted:
            _note_use(claims)
        return response

    def answer(claims: Known | None, *args: Any, **kwargs: Any) -> Any:
        if passage.limited:
            limits.check(claims, passage.limit)
        if claims is None and not _open_to_strangers(permission):
            raise tokens.unauthorized()
        if claims is not None and (passage.prepare or passage.own_transaction):
            with transaction(db.session, write=False):
                _admit(claims, permission)
                # What comes next outlives this transaction: its actor must not be read anew behind its back.
                db.session.expunge(g.actor)
        if passage.own_transaction:
            return admitted(None, *args, **kwargs)
        if passage.prepare and claims is not None:
            passage.prepare()
        if passage.keyed:
            idempotency.read(uploads=passage.prepare is not None)
        return _in_transaction(lambda: admitted(claims, *args, **kwargs), passage.kept)

    return enter


def _claims(permission: str) -> Known | None:
    """Who the token or the API key says the caller is; a call with a bad one counts as a stranger's."""
    if permission == access.ANYONE:
        return None
    try:
        token = tokens.presented()
        if token is None:
            return None
        return _holder(token) if api_keys.looks_like_one(token) else tokens.read_access_token(token)
    except Problem:
        limits.check(None)
        raise


def _holder(key: str) -> Holder:
    with transaction(db.session, write=False):
        holder = api_keys.holder_of(db.session, key, g.real_now)
    if holder is None:
        raise tokens.dead_token()
    return holder


def _note_use(holder: Holder) -> None:
    try:
        with transaction(db.session, write=True):
            api_keys.note_use(db.session, holder.key_id, g.real_now)
    except DBAPIError as error:
        # The call was answered all the same.
        log.warning("request %s: the use of a key is not noted: %s", g.request_id, type(error).__name__)


def _open_to_strangers(permission: str) -> bool:
    return permission == access.ANYONE or (
        permission in access.OPEN_CATALOGUE and current_app.config["PUBLIC_CATALOGUE"]
    )


def _admit(claims: Known, permission: str) -> None:
    if isinstance(claims, Holder):
        g.session_id, key_id = None, claims.key_id
        g.actor = api_keys.actor_of(db.session, claims.key_id, g.real_now)
    else:
        g.session_id, key_id = claims.session_id, None
        g.actor = sessions.actor_of(db.session, claims.user_id, claims.session_id, claims.token_version, g.real_now)
    if g.actor is None:
        limits.count_as_stranger(claims)
        raise tokens.dead_token()
    auditing.acts(g.actor, key_id)
    opened = access.SELF_CHECKOUT if current_app.config["SELF_CHECKOUT"] else frozenset()
    access.require(g.actor, permission, opened)


def _in_transaction(work: Callable[[], Any], kept: bool) -> Any:
    """Run the whole request in one transaction; again from the start where PostgreSQL undid it for another's sake."""
    for attempt in range(1, TRIES + 1):
        try:
            with transaction(db.session, write=request.method not in SAFE_METHODS, keep=kept):
                return work()
        except DBAPIError as error:
            if getattr(error.orig, "sqlstate", None) not in _RETRY_STATES or attempt == TRIES:
                raise
            time.sleep(random.uniform(0, 0.02 * 2**attempt))
    raise AssertionError("unreachable")


def known_of(marks: Mapping[str, Any]) -> dict[str, bool]:
    """The parameters of the query that a view knows, and whether each may be repeated."""
    return {
        field.data_key or name: isinstance(field, ma.fields.List)
        for schema in marks.get("query", ())
        for name, field in schema().fields.items()
    }


def check_query(known: Mapping[str, bool], given: MultiDict[str, str]) -> None:
    """Refuse unknown parameters, and single ones given twice."""
    faults = {}
    for name, values in given.lists():
        if name not in known:
            names = ", ".join(known) or "none"
            faults[name] = [Fault(f"This parameter is not known; known are: {names}.", "unknown_parameter")]
        elif len(values) > 1 and not known[name]:
            faults[name] = [Fault("This parameter is given twice.", "duplicate_parameter")]
    if faults:
        raise invalid(faults, "query")


def actor() -> User:
    """Who asks; for views that only those signed in reach."""
    return g.actor
