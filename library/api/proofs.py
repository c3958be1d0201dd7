"""Proof by password: what would outlive a token is done only for who gives the password again."""

from typing import Any

from flask import g

from library.api.plumbing import limits, tokens
from library.api.plumbing.errors import Problem
from library.api.plumbing.gate import actor
from library.api.users import hashable
from library.database import transaction
from library.extensions import db
from library.rules import sessions, users
from library.rules.sessions import Login


def prove(password: Any) -> Login | None:
    """What the actor's password was checked against; None for a wrong one, and for what is none at all.

    It hashes, so call it before the transaction begins, and `require` what it gave within.
    """
    if not hashable(password):
        return None
    name = actor().username
    limits.take_proof_slots(name, g.session_id)
    with transaction(db.session, write=False):
        login = users.find_login(db.session, name)
    if not users.password_fits(login, password) or login.user_id != actor().id:
        return None
    limits.clear_proof_slots(name, g.session_id)
    return login


def require(login: Login | None) -> None:
    """Lock the actor's account, and raise 422 unless the password that was checked holds still.

    Whoever changes a password locks the account too: what follows comes before such a change, and is ended by it, or
    it does not come at all. Raises 401 where this session has ended meanwhile.
    """
    if login is None:
        raise wrong_password("/password")
    user = sessions.lock_account(db.session, login.user_id, g.session_id, g.real_now)
    if user is None:
        raise tokens.dead_token()
    if user.password_hash != login.password_hash:
        raise wrong_password("/password")


def wrong_password(pointer: str) -> Problem:
    """422 for a password that does not hold, or not any more."""
    reason = {"code": "wrong_password", "detail": "This is not the password that holds now.", "params": {}}
    return Problem(422, "The body does not fit.", errors=[reason | {"pointer": pointer}])
