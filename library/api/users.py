"""People: oneself, and the accounts the desk keeps."""

from typing import Any, TypeGuard

from flask import current_app, g
from flask.views import MethodView
from marshmallow_sqlalchemy import auto_field
from sqlalchemy import Select

from library.api.branches import BranchSchema
from library.api.plumbing.blueprint import Blueprint
from library.api.plumbing.errors import invalid
from library.api.plumbing.expansion import Expanded
from library.api.plumbing.fields import Choice, Day, Fault, Flag, QueryFlag
from library.api.plumbing.gate import actor
from library.api.plumbing.nouns import plain_noun
from library.api.plumbing.references import QueryRef, Ref
from library.api.plumbing.schemas import QuerySchema, RequestSchema, Schema, defaults_of, shown
from library.api.plumbing.texts import SURROGATE, Email, Lines, Password, SearchText, Text
from library.extensions import db
from library.models import Branch, HistoryMode, PatronCategory, Role, User
from library.rules import common_passwords, users

categories = Blueprint("patron-categories", "patron_category", "People")
blp = Blueprint("users", "user", "People")
# As long as the library asks for: a setting, and in the document.
NEW_PASSWORD = "The password that shall hold; any characters, none is asked for."
HOME = "The branch where a patron collects holds and staff stand, unless they say otherwise."
HISTORY = "Whether loans that ended are forgotten in the night after (`cut`), later (`delayed`), or `kept`."


class PatronCategorySchema(Schema):
    """A group of patrons for whom the same policies hold."""

    class Meta(Schema.Meta):
        model = PatronCategory

    example = {"name": "Teachers"}
    shown_example = {"self_registration": False}
    id = shown()
    name = auto_field()
    self_registration = auto_field()


plain_noun(
    categories,
    PatronCategory,
    PatronCategorySchema,
    read="categories.read",
    write="categories.write",
    sorts={"name": PatronCategory.name},
)


class UserSchema(Schema):
    """An account, as its owner and staff see it."""

    class Meta(Schema.Meta):
        model = User

    shown_example = {
        "id": 3,
        "username": "patron",
        "email": "patron@example.org",
        "first_name": "Paul",
        "last_name": "Moreau",
        "role": "patron",
        "card_barcode": "P0001",
        "patron_category_id": 1,
        "home_branch_id": 1,
    }
    id = shown()
    username = auto_field()
    email = auto_field()
    first_name = auto_field()
    last_name = auto_field()
    phone = auto_field()
    address = auto_field(field_class=Lines)
    birth_date = auto_field()
    language = auto_field()
    role = auto_field()
    active = auto_field()
    confirmed = auto_field()
    card_barcode = auto_field()
    expires_on = auto_field()
    patron_category_id = Ref(PatronCategory, allow_none=True)
    home_branch_id = Ref(Branch, allow_none=True, metadata={"description": HOME})
    history = auto_field()
    created_at = shown()
    patron_category = Expanded(PatronCategorySchema, PatronCategory)
    home_branch = Expanded(BranchSchema, Branch)


class NewPassword(Password):
    """A password that somebody chooses: as long as the library asks for (`PASSWORD_MIN_LENGTH`)."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(max_length=users.LONGEST_PASSWORD, **kwargs)

    def document(self) -> dict[str, Any]:
        return super().document() | {"minLength": current_app.config["PASSWORD_MIN_LENGTH"]}

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> str:
        value = super()._deserialize(value, attr, data, **kwargs)
        if len(value) < current_app.config["PASSWORD_MIN_LENGTH"]:
            raise self.make_error("too_short", low=current_app.config["PASSWORD_MIN_LENGTH"])
        return value


class OwnProfilePatchSchema(RequestSchema):
    """What people may change of themselves."""

    noun = User
    example: dict[str, Any] | None = {"first_name": "Jane", "language": "de"}

    first_name = Text(100, allow_none=True)
    last_name = Text(100, allow_none=True)
    phone = Text(50, allow_none=True)
    address = Lines(500, allow_none=True)
    language = Text(35, allow_none=True, pattern=users.LANGUAGE_TAG, metadata={"example": "de"})
    history = Choice(HistoryMode, metadata={"description": HISTORY})


class UserPatchSchema(OwnProfilePatchSchema):
    """What staff may change of an account; the role is the admins' to give."""

    example: dict[str, Any] | None = {"expires_on": "2035-12-31", "confirmed": True}

    username = Text(100, 2, pattern=users.USERNAME)
    email = Email(allow_none=True)
    password = NewPassword(allow_none=True, metadata={"description": "A new password; null leaves the old one."})
    birth_date = Day(allow_none=True)
    role = Choice(Role)
    active = Flag()
    confirmed = Flag()
    card_barcode = Text(50, pattern=users.USERNAME)
    expires_on = Day(allow_none=True)
    patron_category_id = Ref(PatronCategory, allow_none=True)
    home_branch_id = Ref(Branch, allow_none=True, metadata={"description": HOME})


class UserInputSchema(UserPatchSchema):
    """An account made or replaced at the desk: nothing is required, a card is made where none is named."""

    example: dict[str, Any] | None = {
        "first_name": "Jane",
        "last_name": "Doe",
        "email": "jane@example.com",
        "expires_on": "2035-12-31",
    }


class UserQuerySchema(QuerySchema):
    """How staff look for people."""

    q = SearchText(metadata={"description": "Beginnings of words of name, address, username or card."})
    card_barcode = Text(50, metadata={"description": "The account with exactly this card."})
    role = Choice(Role, metadata={"description": "Accounts of this role."})
    active = QueryFlag(metadata={"description": "Only accounts that are active, or only those that are not."})
    home_branch_id = QueryRef(Branch, metadata={"description": "Accounts with this home branch."})
    patron_category_id = QueryRef(PatronCategory, metadata={"description": "Accounts of this patron category."})


def hashable(password: Any) -> TypeGuard[str]:
    """Whether something in a body that no schema has seen yet is a password at all."""
    return isinstance(password, str) and len(password) <= users.LONGEST_PASSWORD and not SURROGATE.search(password)


def hash_before() -> None:
    """Hash a password that staff give somebody before the transaction begins; the schema judges it later."""
    body = g.body.value
    password = body.get("password") if isinstance(body, dict) else None
    if hashable(password):
        g.password_hash = users.hash_password(password)


def with_hash(values: dict[str, Any], user: User | None = None) -> dict[str, Any]:
    """The values of an account with the hash in the place of the password; without a new one the old stays."""
    password = values.pop("password", None)
    if password is not None:
        named = [values.get(name) or getattr(user, name, None) for name in ("username", "email")]
        refuse_common(password, "password", *named)
        values["password_hash"] = g.password_hash
    return values


def refuse_common(password: str, member: str, *names: str | None) -> None:
    """Raise 422 at the member for a password that is among the first to be tried, where the library refuses those.

    `names` are those of the account.
    """
    settings = current_app.config
    if settings["REFUSE_COMMON_PASSWORDS"] and common_passwords.is_common(password, [*names, settings["NAME"]]):
        sentence = "This password is among the first that are tried: choose another."
        raise invalid({member: [Fault(sentence, "password_too_common")]}, "json")


@blp.route("/users/me")
class Me(MethodView):
    @blp.allow("profile.own")
    @blp.operation("get_me")
    @blp.response(200, UserSchema, expands=True)
    def get(self) -> User:
        """Read one's own account."""
        return actor()

    @blp.allow("profile.own")
    @blp.operation("patch_me")
    @blp.finds_me
    @blp.arguments(OwnProfilePatchSchema)
    @blp.response(200, UserSchema)
    def patch(self, user: User, values: dict[str, Any]) -> User:
        """Change one's own profile."""
        return users.change_profile(db.session, user, values)


@blp.route("/users")
class Users(MethodView):
    @blp.allow("users.read")
    @blp.arguments(UserQuerySchema, location="query")
    @blp.lists(UserSchema, users.ACCOUNT_SORTS)
    def get(self, filters: dict[str, Any]) -> Select[Any]:
        """List or search people."""
        return users.find_users(actor(), **filters)

    @blp.allow("users.write", prepare=hash_before)
    @blp.obeys(users.create_user)
    @blp.arguments(UserInputSchema)
    @blp.response(201, UserSchema)
    def post(self, values: dict[str, Any]) -> User:
        """Create an account at the desk."""
        return users.create_user(db.session, actor(), with_hash(values), g.now)


@blp.route("/users/<id:user_id>", examples={"user_id": 42})
class UserById(MethodView):
    @blp.allow("users.read")
    @blp.finds(User)
    @blp.response(200, UserSchema, expands=True)
    def get(self, user: User) -> User:
        """Read an account."""
        return user

    @blp.allow("users.write", prepare=hash_before)
    @blp.finds(User, first=users.lock_colleagues)
    @blp.obeys(users.change_user)
    @blp.arguments(UserInputSchema)
    @blp.response(200, UserSchema)
    def put(self, user: User, values: dict[str, Any]) -> User:
        """Replace an account."""
        return users.change_user(
            db.session, actor(), user, with_hash(defaults_of(UserInputSchema, User) | values, user), g.real_now
        )

    @blp.allow("users.write", prepare=hash_before)
    @blp.finds(User, first=users.lock_colleagues)
    @blp.obeys(users.change_user)
    @blp.arguments(UserPatchSchema)
    @blp.response(200, UserSchema)
    def patch(self, user: User, values: dict[str, Any]) -> User:
        """Change an account."""
        return users.change_user(db.session, actor(), user, with_hash(values, user), g.real_now)

    @blp.allow("users.write")
    @blp.finds(User, first=users.lock_colleagues)
    @blp.obeys(users.delete_user)
    @blp.response(204)
    def delete(self, user: User) -> None:
        """Delete an account that nothing needs any more."""
        users.delete_user(db.session, actor(), user)
