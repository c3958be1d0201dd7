"""What is sent by mail and comes back: tokens for a new password, and for an address that is to be proven."""

from typing import Any

from flask import current_app, g
from flask.views import MethodView

from library.api.plumbing import auditing, limits
from library.api.plumbing.blueprint import Blueprint
from library.api.plumbing.errors import invalid
from library.api.plumbing.fields import Fault
from library.api.plumbing.schemas import RequestSchema
from library.api.plumbing.texts import Email, Text
from library.api.users import NEW_PASSWORD, NewPassword, refuse_common
from library.database import transaction
from library.extensions import db
from library.models import User
from library.rules import email_verifications, password_resets, users
from library.rules.access import ANYONE
from library.rules.one_time_tokens import FORM

blp = Blueprint("password-resets", "password_reset", "Signing in")
EXAMPLE = "pXk7rPq0l2mR0b9wqv1Zt5cYh3uE8sJdGf6aN4oWi2U"


class MailedToken(Text):
    """A token as a mail holds it."""

    def __init__(self, **kwargs: Any) -> None:
        described = {"metadata": {"description": "The token out of the mail; good once.", "example": EXAMPLE}}
        super().__init__(43, 43, pattern=FORM, required=True, **described | kwargs)


class PasswordResetSchema(RequestSchema):
    """Whose password is forgotten."""

    email = Email(
        required=True, metadata={"description": "The account's e-mail address.", "example": "jdoe@example.com"}
    )


class PasswordResetRedeemSchema(RequestSchema):
    """The token out of the mail, and the password that shall hold."""

    token = MailedToken()
    password = NewPassword(required=True, metadata={"description": NEW_PASSWORD, "example": "wide river under ice"})


class EmailVerificationSchema(RequestSchema):
    """The token out of the mail."""

    token = MailedToken()


@blp.route("/password-resets")
class PasswordResets(MethodView):
    @blp.allow(ANYONE, own_transaction=True, limit="LIMIT_MAIL_ADDRESS")
    @blp.operation("request_password_reset")
    @blp.arguments(PasswordResetSchema)
    @blp.response(202, description="A mail is on its way if there is such an account")
    def post(self, values: dict[str, Any]) -> None:
        """Have a token for a new password sent by mail.

        The answer is the same whether there is an account with this address or not. The token is good for one hour,
        and until the account is logged in to or gets a new password.
        """
        limits.take_mail_slot(values["email"])
        with auditing.change():
            key = current_app.config["SECRET_KEY"]
            auditing.made(password_resets.request(db.session, key, values["email"], g.real_now))


@blp.route("/password-resets/redeem")
class RedeemedPasswordResets(MethodView):
    @blp.allow(ANYONE, own_transaction=True, limit="LIMIT_LOGIN_ADDRESS")
    @blp.operation("redeem_password_reset")
    @blp.arguments(PasswordResetRedeemSchema)
    @blp.response(204)
    def post(self, values: dict[str, Any]) -> None:
        """Choose a new password with the token of a mail; every session and API key of the account ends."""
        with transaction(db.session, write=False):
            holder = password_resets.find_holder(db.session, values["token"], g.real_now)
            names = (holder.username, holder.email) if holder else ()
        if not holder:
            raise _dead_token()
        refuse_common(values["password"], "password", *names)
        password_hash = users.hash_password(values["password"])
        with auditing.change():
            user = password_resets.redeem(db.session, values["token"], password_hash, g.real_now)
            if user is None:
                raise _dead_token()
            _tell_audit(user)


@blp.route("/email-verifications/redeem")
class RedeemedEmailVerifications(MethodView):
    @blp.allow(ANYONE, own_transaction=True, limit="LIMIT_LOGIN_ADDRESS")
    @blp.operation("verify_email")
    @blp.arguments(EmailVerificationSchema)
    @blp.response(204)
    def post(self, values: dict[str, Any]) -> None:
        """Prove one's address with the token of a mail."""
        with auditing.change():
            user = email_verifications.verify(db.session, values["token"], g.real_now)
            if user is None:
                raise _dead_token()
            _tell_audit(user)


def _tell_audit(user: User) -> None:
    auditing.acts(user)
    auditing.about(User, user.id)


def _dead_token() -> Exception:
    """422 for a token that is made up, used, too old or of another kind: which of them is nobody's business."""
    sentence = "The token is not valid, or not any more: ask for a new password, which proves the address too."
    return invalid({"token": [Fault(sentence, "invalid_token")]}, "json")
