"""Tokens: made at log-in, verified at the gate, ended by the database."""

import secrets
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from flask import current_app, request
from flask_jwt_extended import create_access_token, create_refresh_token, decode_token
from flask_jwt_extended.exceptions import JWTExtendedException
from jwt.exceptions import PyJWTError

from library.api.plumbing.errors import Problem
from library.models import HIGHEST_ID, Role, User

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


def presented() -> Claims | None:
    """The claims of the request's access token; None without one; raises 401 for any fault of it."""
    header = request.headers.get("Authorization")
    if not header:
        return None
    try:
        scheme, token = header.split(" ", 1)
        if scheme.lower() != "bearer":
            raise dead_token()
        return _claims(decode_token(token.strip()), "access")
    except (JWTExtendedException, PyJWTError, ValueError, TypeError, KeyError):
        raise dead_token() from None


def read_refresh_token(token: str) -> Claims:
    """The claims of a refresh token; raises 401 for any fault of it."""
    try:
        return _claims(decode_token(token), "refresh")
    except (JWTExtendedException, PyJWTError, ValueError, TypeError, KeyError):
        raise dead_token() from None


def _claims(decoded: dict[str, Any], typ: str) -> Claims:
    for name, kind in CLAIMS.items():
        if type(decoded.get(name)) is not kind:
            raise ValueError(name)
    if decoded["typ"] != typ or not decoded["sub"].isascii():
        raise ValueError("typ")
    user_id = int(decoded["sub"])
    if not 0 < user_id <= HIGHEST_ID or not 0 < decoded["sid"] <= HIGHEST_ID:
        raise ValueError("sub")
    return Claims(user_id, Role(decoded["role"]), decoded["sid"], decoded["ver"], decoded["jti"])


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
