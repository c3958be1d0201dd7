"""Registration, log-in, log-out: the calls of those who are not signed in yet, or not any more."""

from typing import Any

import marshmallow as ma
from flask import current_app, g
from flask.views import MethodView

from library.api.plumbing import limits, tokens
from library.api.plumbing.blueprint import Blueprint
from library.api.plumbing.errors import Problem
from library.api.plumbing.fields import Fault, Nested
from library.api.plumbing.gate import actor
from library.api.plumbing.schemas import RequestSchema
from library.api.plumbing.texts import Email, Password, Text
from library.api.users import NewPassword, UserSchema, hashable
from library.database import transaction
from library.extensions import db
from library.models import User
from library.rules import users
from library.rules.access import ANYONE

blp = Blueprint("sign-in", "session", "Signing in")
# As long as the library asks for: a setting, and in the document.
NEW_PASSWORD = "The password that shall hold; any characters, none is asked for."
TOKEN = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIzIn0.dGhpcyBpcyBubyB0b2tlbg"


class RegistrationSchema(RequestSchema):
    """What a person says who registers themselves."""

    noun = User
    username = Text(100, 2, pattern=users.USERNAME, required=True, metadata={"example": "jdoe"})
    email = Email(required=True, metadata={"example": "jdoe@example.com"})
    password = NewPassword(required=True, metadata={"description": NEW_PASSWORD, "example": "password123"})
    first_name = Text(100, allow_none=True)
    last_name = Text(100, allow_none=True)


class LogInSchema(RequestSchema):
    """Who logs in: an e-mail address, a username or a card barcode in `email` (or `username`), and the password."""

    members = (2, 2)

    email = Text(
        254, metadata={"description": "E-mail address, username or card barcode.", "example": "jdoe@example.com"}
    )
    username = Text(254, metadata={"description": "Another name of `email`."})
    password = Password(
        users.LONGEST_PASSWORD, required=True, metadata={"description": "The password.", "example": "password123"}
    )

    @ma.validates_schema
    def _one_name(self, data: dict[str, Any], **_: Any) -> None:
        if ("email" in data) == ("username" in data):
            raise ma.ValidationError(Fault("Name email or username, one of them.", "required"), "email")


class RefreshSchema(RequestSchema):
    """The refresh token of the last answer."""

    refresh_token = Text(2000, required=True, metadata={"description": "Good once, for a new pair.", "example": TOKEN})


class PasswordChangeSchema(RequestSchema):
    """The password that holds now, and the one that shall hold."""

    old_password = Password(
        users.LONGEST_PASSWORD,
        required=True,
        metadata={"description": "The password that holds now.", "example": "password123"},
    )
    new_password = NewPassword(required=True, metadata={"description": NEW_PASSWORD, "example": "wide river under ice"})


class TokensSchema(ma.Schema):
    """Both tokens; the access token goes into `Authorization: Bearer …`."""

    example = {"access_token": TOKEN, "refresh_token": TOKEN, "token_type": "Bearer", "expires_in": 900}

    access_token = Text(2000, metadata={"description": "Good for `expires_in` seconds."})
    refresh_token = Text(2000, metadata={"description": "Good once, for a new pair."})
    token_type = Text(20, metadata={"description": "Always `Bearer`."})
    expires_in = ma.fields.Integer(metadata={"description": "Seconds the access token is good."})
    user = Nested(UserSchema, metadata={"description": "Who has logged in."})


@blp.route("/users/register")
class Registration(MethodView):
    @blp.allow(ANYONE, own_transaction=True)
    @blp.operation("register")
    @blp.obeys(users.register)
    @blp.arguments(RegistrationSchema)
    @blp.response(201, UserSchema, location="/users/{0.id}")
    def post(self, values: dict[str, Any]) -> User:
        """Register oneself."""
        password_hash = users.hash_password(values.pop("password"))
        is_open = current_app.config["SELF_REGISTRATION"]
        with transaction(db.session, write=True):
            return users.register(db.session, values, password_hash, is_open, g.now)


@blp.route("/users/login")
class LogIn(MethodView):
    @blp.allow(ANYONE, own_transaction=True)
    @blp.operation("log_in")
    @blp.arguments(LogInSchema)
    @blp.response(200, TokensSchema)
    @blp.fails(401)
    def post(self, values: dict[str, Any]) -> dict[str, Any]:
        """Log in with an e-mail address, a username or a card barcode."""
        name = values.get("email") or values["username"]
        limits.take_login_slots(name)
        with transaction(db.session, write=False):
            login = users.find_login(db.session, name)
        if not users.password_fits(login, values["password"]):
            raise tokens.unauthorized("Name or password is wrong.")
        limits.clear_login_slots(name)
        jti = tokens.new_jti()
        with transaction(db.session, write=True):
            opened = users.start_session(db.session, login, jti, g.real_now, tokens.refresh_lifetime())
        if opened is None:
            raise tokens.unauthorized("Name or password is wrong.")
        return tokens.token_pair(opened[0], opened[1].id, jti)


@blp.route("/users/refresh")
class Refresh(MethodView):
    @blp.allow(ANYONE, own_transaction=True)
    @blp.operation("refresh")
    @blp.arguments(RefreshSchema)
    @blp.response(200, TokensSchema)
    @blp.fails(401)
    def post(self, values: dict[str, Any]) -> dict[str, Any]:
        """Exchange a refresh token for a new pair; the old one is dead."""
        claims, jti = tokens.read_refresh_token(values["refresh_token"]), tokens.new_jti()
        # A stolen token ends its session even though the answer is a refusal: this commits either way.
        with transaction(db.session, write=True):
            rotated = users.rotate_session(db.session, claims.session_id, claims.jti, jti, g.real_now)
            user = users.actor_of(db.session, claims.user_id, claims.session_id, claims.token_version)
            pair = tokens.token_pair(user, rotated.id, jti) if rotated and user else None
        if pair is None:
            raise tokens.dead_token()
        return pair


@blp.route("/users/logout")
class LogOut(MethodView):
    # Sent again, it finds its token dead: no answer of it is ever asked for.
    @blp.allow("sessions.own", keyed=False)
    @blp.operation("log_out")
    @blp.response(204)
    def post(self) -> None:
        """Log out: neither token of this session is good any more."""
        users.end_session(db.session, g.session_id, g.real_now)


def check_before() -> None:
    """Check the old password and hash the new one before the transaction begins; the view tells what came of it."""
    g.checked_passwords = None
    body = g.body.value if isinstance(g.body.value, dict) else {}
    old, new = body.get("old_password"), body.get("new_password")
    if not (hashable(old) and hashable(new)):
        return
    name = actor().username
    limits.take_login_slots(name)
    with transaction(db.session, write=False):
        login = users.find_login(db.session, name)
    if users.password_fits(login, old):
        limits.clear_login_slots(name)
        g.checked_passwords = login, users.hash_password(new)


@blp.route("/users/me/password")
class OwnPassword(MethodView):
    @blp.allow("profile.own", prepare=check_before)
    @blp.operation("change_password")
    @blp.arguments(PasswordChangeSchema)
    @blp.response(204)
    def post(self, values: dict[str, Any]) -> None:
        """Change one's password; all other sessions end."""
        login, password_hash = g.checked_passwords or (None, "")
        if not login or not users.change_password(db.session, login, password_hash, g.session_id, g.real_now):
            reason = {"code": "wrong_password", "detail": "This is not the password that holds now.", "params": {}}
            raise Problem(422, "The body does not fit.", errors=[reason | {"pointer": "/old_password"}])
