"""Tokens: made at log-in, verified at the gate, ended by the database; API keys come in by the same header."""

import base64
import json
import re
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from flask import Flask, current_app, request
from flask_jwt_extended import create_access_token, create_refresh_token
from jwt import PyJWS
from jwt.exceptions import PyJWTError

from library.api.plumbing.errors import Problem
from library.config import secret_keys
from library.models import HIGHEST_ID, Role, User

ALGORITHM, NAME = "HS256", "library"
HEADER = {"typ": "JWT", "alg": ALGORITHM}
# The extension takes a token without `type` for an access token: `typ` is ours and never assumed.
CLAIMS = {
    "sub": str,
    "role": str,
    "iat": int,
    "exp": int,
    "jti": str,
    "aud": str,
    "iss": str,
    "typ": str,
    "sid": int,
    "ver": int,
}
LONGEST_TOKEN, LONGEST_CLIENT = 2000, 100
_FORM = re.compile(r"([A-Za-z0-9_-]+)\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]{43}", re.ASCII)
_USER = re.compile(r"[1-9][0-9]{0,9}", re.ASCII)
_JTI = re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII)
# Seconds by which the clocks of two servers of one library may differ.
SKEW = 30


@dataclass(frozen=True)
class Claims:
    """What a verified token says; whether it still holds the database knows."""

    user_id: int
    role: Role
    session_id: int
    token_version: int
    jti: str


def unauthorized(detail: str = "Sign in: this call needs a token.", error: str = "") -> Problem:
    """401 with the challenge of RFC 6750."""
    challenge = 'Bearer realm="library"' + (f', error="{error}"' if error else "")
    return Problem(401, detail, headers={"WWW-Authenticate": challenge})


def dead_token() -> Problem:
    """401 for a token that is forged, expired, ended or of the wrong kind: which of them is nobody's business."""
    return unauthorized("The token is not valid, or not any more: log in again.", "invalid_token")


def presented() -> str | None:
    """The token or API key that the request brings; None without one; raises 401 for any other credentials."""
    header = request.headers.get("Authorization")
    if not header:
        return None
    scheme, _, token = header.partition(" ")
    if scheme.lower() != "bearer" or not token.strip(" "):
        raise dead_token()
    return token.strip(" ")


class Verified:
    """Access tokens whose signature was verified, until they expire; whether they still hold the database is asked.

    A signature does not change, and most calls come with a token that came a moment ago.
    """

    MOST = 10_000

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self._settings = settings
        self._keys, self._known = secret_keys(settings), dict[str, tuple[Claims, int]]()

    def get(self, token: str) -> Claims | None:
        """What the token says; None where it is not known, or expired, or the keys are others by now."""
        if self._keys != secret_keys(self._settings):
            self._keys, self._known = secret_keys(self._settings), {}
        claims, expires_at = self._known.get(token, (None, 0))
        return claims if time.time() < expires_at else None

    def keep(self, token: str, claims: Claims, expires_at: int) -> None:
        """Remember a token; where there are too many, all are forgotten."""
        if len(self._known) >= self.MOST:
            self._known.clear()
        self._known[token] = claims, expires_at


def init_app(app: Flask) -> None:
    """Give the application its memory of tokens: the keys they were signed with are its own."""
    app.extensions["library_tokens"] = Verified(app.config)


def read_access_token(token: str) -> Claims:
    """The claims of an access token; raises 401 for any fault of it."""
    verified: Verified = current_app.extensions["library_tokens"]
    known = verified.get(token)
    if known is None:
        known, expires_at = _claims(token, "access")
        verified.keep(token, known, expires_at)
    return known


def read_refresh_token(token: str) -> Claims:
    """The claims of a refresh token; raises 401 for any fault of it."""
    return _claims(token, "refresh")[0]


def _claims(token: str, typ: str) -> tuple[Claims, int]:
    """The claims, and when they expire, in seconds since 1970."""
    try:
        said = _verified(token)
        _check(said, typ)
        return Claims(int(said["sub"]), Role(said["role"]), said["sid"], said["ver"], said["jti"]), said["exp"]
    except (ValueError, TypeError, KeyError, RecursionError):
        raise dead_token() from None


def _verified(token: str) -> dict[str, Any]:
    """What a token says that one of the library's keys has signed; nothing of it is read before."""
    form = _FORM.fullmatch(token)
    if form is None or len(token) > LONGEST_TOKEN:
        raise ValueError("form")
    # It says how to verify it, which is not its to say: neither another algorithm nor a key, nor where there is one.
    if _object(base64.urlsafe_b64decode(form[1] + "==")) != HEADER:
        raise ValueError("header")
    for key in secret_keys(current_app.config):
        try:
            return _object(PyJWS().decode(token, key, algorithms=[ALGORITHM]))
        except PyJWTError:
            continue
    raise ValueError("signature")


def _check(said: dict[str, Any], typ: str) -> None:
    """Raise ValueError unless every claim is there, of its type, and good now."""
    for name, kind in CLAIMS.items():
        if type(said[name]) is not kind:
            raise ValueError(name)
    if (said["typ"], said["aud"], said["iss"]) != (typ, NAME, NAME) or not _JTI.fullmatch(said["jti"]):
        raise ValueError("typ")
    if not _USER.fullmatch(said["sub"]):
        raise ValueError("sub")
    if not all(0 < number <= HIGHEST_ID for number in (int(said["sub"]), said["sid"], said["ver"])):
        raise ValueError("numbers")
    now = time.time()
    if not said["iat"] <= now + SKEW or not now < said["exp"] or said.get("nbf", 0) > now + SKEW:
        raise ValueError("exp")


def _object(text: bytes) -> dict[str, Any]:
    """The JSON object of a part of a token, each member once."""
    return json.loads(text, object_pairs_hook=_once)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len({name for name, _ in pairs}) != len(pairs):
        raise ValueError("twice")
    return dict(pairs)


def client() -> str | None:
    """What the program that sends the request calls itself, as far as it is kept."""
    named = request.headers.get("User-Agent", "")
    letters = "".join(letter if letter.isascii() and letter.isprintable() else " " for letter in named)
    return letters[:LONGEST_CLIENT].strip() or None


def new_jti() -> str:
    """A name for a token that nobody can guess."""
    return secrets.token_urlsafe(24)


def refresh_lifetime() -> timedelta:
    """How long a refresh token is good."""
    return timedelta(seconds=current_app.config["REFRESH_TOKEN_SECONDS"])


def token_pair(user: User, session_id: int, refresh_jti: str) -> dict[str, Any]:
    """What log-in and refresh answer: both tokens, their kind, the seconds the access token is good, and the user."""
    identity = str(user.id)
    claims = {"role": user.role.value, "sid": session_id, "ver": user.token_version}
    access, refresh = {"typ": "access", "jti": new_jti()}, {"typ": "refresh", "jti": refresh_jti}
    return {
        "access_token": create_access_token(identity, additional_claims=claims | access),
        "refresh_token": create_refresh_token(identity, additional_claims=claims | refresh),
        "token_type": "Bearer",
        "expires_in": current_app.config["ACCESS_TOKEN_SECONDS"],
        "user": user,
    }
