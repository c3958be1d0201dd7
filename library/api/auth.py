"""Registration, log-in, log-out: the calls of those who are not signed in yet, or not any more."""

from typing import Any

import marshmallow as ma
from flask import Response, current_app, g
from flask.views import MethodView

from library.api import proofs
from library.api.plumbing import auditing, limits, tokens
from library.api.plumbing.blueprint import Blueprint
from library.api.plumbing.fields import Fault, Nested
from library.api.plumbing.gate import actor
from library.api.plumbing.schemas import RequestSchema
from library.api.plumbing.texts import Email, Password, Text
from library.api.users import NEW_PASSWORD, NewPassword, UserSchema, hashable, refuse_common
from library.database import transaction
from library.extensions import db
from library.models import User, UserSession
from library.rules import email_verifications, sessions, users
from library.rules.access import ANYONE

blp = Blueprint("sign-in", "session", "Signing in")
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
    @blp.allow(ANYONE, own_transaction=True, limit="LIMIT_REGISTRATION")
    @blp.operation("register")
    @blp.obeys(users.register, email_verifications.register)
    @blp.arguments(RegistrationSchema)
    @blp.alt_response(202, description="A mail says the rest, where addresses must be proven")
    @blp.response(201, UserSchema, location="/users/{0.id}")
    def post(self, values: dict[str, Any]) -> User | Response:
        """Register oneself.

        Where the library wants addresses proven, every registration is answered 202, also one whose name or address
        is taken: a mail says which, and holds the token for `POST /email-verifications/redeem`.
        """
        password, by_mail = values.pop("password"), current_app.config["REQUIRE_EMAIL_VERIFICATION"]
        refuse_common(password, "password", values["username"], values["email"])
        if by_mail:
            limits.take_mail_slot(values["email"])
        password_hash = users.hash_password(password)
        return _register_by_mail(values, password_hash) if by_mail else _register(values, password_hash)


def _register(values: dict[str, Any], password_hash: str) -> User:
    with auditing.change():
        user = users.register(db.session, values, password_hash, current_app.config["SELF_REGISTRATION"], g.now)
        auditing.made(user)
    return user


def _register_by_mail(values: dict[str, Any], password_hash: str) -> Response:
    settings = current_app.config
    person = email_verifications.Person(values, password_hash, g.now)
    with auditing.change(202):
        key, is_open = settings["SECRET_KEY"], settings["SELF_REGISTRATION"]
        auditing.about(User, email_verifications.register(db.session, key, person, is_open, g.real_now))
    return Response(status=202)


@blp.route("/users/login")
class LogIn(MethodView):
    @blp.allow(ANYONE, own_transaction=True, limit="LIMIT_LOGIN_ADDRESS")
    @blp.operation("log_in")
    @blp.arguments(LogInSchema)
    @blp.response(200, TokensSchema)
    @blp.fails(401)
    def post(self, values: dict[str, Any]) -> dict[str, Any]:
        """Log in with an e-mail address, a username or a card barcode."""
        name = values.get("email") or values["username"]
        limits.take_login_slots(name)
        with transaction(db.session, write=False):
            login = users.find_login(db.session, name, current_app.config["REQUIRE_EMAIL_VERIFICATION"])
        auditing.about(User, login.user_id or None)
        if not users.password_fits(login, values["password"]):
            raise tokens.unauthorized("Name or password is wrong.")
        limits.clear_login_slots(name)
        jti = tokens.new_jti()
        with auditing.change():
            lifetime = tokens.refresh_lifetime()
            opened = sessions.start_session(db.session, login, jti, g.real_now, lifetime, tokens.client())
            if opened is None:
                raise tokens.unauthorized("Name or password is wrong.")
            auditing.acts(opened[0])
            auditing.made(opened[1])
        return tokens.token_pair(opened[0], opened[1].id, jti)


@blp.route("/users/refresh")
class Refresh(MethodView):
    @blp.allow(ANYONE, own_transaction=True, limit="LIMIT_REFRESH")
    @blp.operation("refresh")
    @blp.arguments(RefreshSchema)
    @blp.response(200, TokensSchema)
    @blp.fails(401)
    def post(self, values: dict[str, Any]) -> dict[str, Any]:
        """Exchange a refresh token for a new pair; the old one is dead."""
        claims, jti = tokens.read_refresh_token(values["refresh_token"]), tokens.new_jti()
        # A stolen token ends its session even though the answer is a refusal: this commits either way.
        auditing.about(UserSession, claims.session_id)
        with auditing.change():
            rotated = sessions.rotate_session(db.session, claims.session_id, claims.jti, jti, g.real_now)
            user = sessions.actor_of(db.session, claims.user_id, claims.session_id, claims.token_version, g.real_now)
            pair = tokens.token_pair(user, rotated.id, jti) if rotated and user else None
            if user is None or pair is None:
                auditing.turned_away(401, "unauthorized")
            else:
                auditing.acts(user)
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
        auditing.about(UserSession, g.session_id)
        sessions.end_session(db.session, g.session_id, g.real_now)


def check_before() -> None:
    """Check the old password and hash the new one before the transaction begins; the view tells what came of it."""
    g.checked_passwords = None
    body = g.body.value if isinstance(g.body.value, dict) else {}
    old, new = body.get("old_password"), body.get("new_password")
    if not (hashable(old) and hashable(new)):
        return
    login = proofs.prove(old)
    if login:
        g.checked_passwords = login, users.hash_password(new)


@blp.route("/users/me/password")
class OwnPassword(MethodView):
    @blp.allow("credentials.own", prepare=check_before)
    @blp.operation("change_password")
    @blp.arguments(PasswordChangeSchema)
    @blp.response(204)
    def post(self, values: dict[str, Any]) -> None:
        """Change one's password; all other sessions end."""
        auditing.about(User, actor().id)
        login, password_hash = g.checked_passwords or (None, "")
        if login:
            refuse_common(values["new_password"], "new_password", actor().username, actor().email)
        if not login or not sessions.change_password(db.session, login, password_hash, g.session_id, g.real_now):
            raise proofs.wrong_password("/old_password")
