"""People: log-ins, and what staff may do with accounts."""

import pytest
from factories import START
from sqlalchemy import func, select

from library.database import transaction
from library.models import Mail, MailKind, Role, User, UserSession
from library.rules import users
from library.rules.changes import AlreadyExists
from library.rules.errors import Forbidden, Refusal

from .helping import at_once, refused_for

PASSWORD = "correct horse battery"
HASH = users.hash_password(PASSWORD)


@pytest.fixture
def librarian(make):
    return make.librarian()


@pytest.fixture
def admin(make):
    return make.user(role=Role.ADMIN)


def test_a_password_is_hashed_with_argon2id_at_the_laid_down_cost():
    kind, version, cost = HASH.split("$")[1:4]
    assert (kind, version, cost) == ("argon2id", "v=19", "m=19456,t=2,p=1")
    assert users.hash_password(PASSWORD) != HASH


def test_the_right_password_fits_and_no_other():
    login = users.Login(1, HASH, True)
    assert users.password_fits(login, PASSWORD)
    assert not users.password_fits(login, PASSWORD + " ")
    assert not users.password_fits(login, "")


def test_no_password_fits_an_inactive_account_or_a_broken_hash():
    assert not users.password_fits(users.Login(1, HASH, False), PASSWORD)
    assert not users.password_fits(users.Login(1, "not a hash", True), PASSWORD)


def test_nobody_and_an_account_without_a_password_log_in_against_the_same_dummy(session, make):
    make.user(username="card-only")
    nobody, without = users.find_login(session, "nobody"), users.find_login(session, "card-only")
    assert nobody == without
    assert not nobody.active
    assert nobody.password_hash.split("$")[1:4] == HASH.split("$")[1:4]


@pytest.mark.parametrize("name", ["jane", " JANE ", "Jane@Example.org", "P7", " P7 "])
def test_one_logs_in_by_name_address_or_card(session, make, name):
    jane = make.user(username="Jane", email="jane@example.ORG", card_barcode="P7", password_hash=HASH)
    assert users.find_login(session, name) == users.Login(jane.id, HASH, True)


def test_a_card_is_compared_as_it_is_written(session, make):
    make.user(card_barcode="P7", password_hash=HASH)
    assert users.find_login(session, "p7") == users.find_login(session, "nobody")


def test_an_address_goes_first_then_what_is_written_so_then_a_name_that_is_alike(session, make):
    def found() -> int:
        return users.find_login(session, "same@x.org").user_id

    alike = make.user(username="Same@x.org", password_hash=HASH)
    assert found() == alike.id
    card = make.user(card_barcode="same@x.org", password_hash=HASH)
    assert found() == card.id
    alike.username = "same@x.org"
    assert found() == alike.id
    address = make.user(email="same@X.org", password_hash=HASH)
    assert found() == address.id


def test_a_card_opens_its_account_whatever_others_are_called(session, make):
    owner = make.user(card_barcode="P116703063", password_hash=HASH)
    other = make.user(username="p116703063", password_hash=HASH)
    assert users.find_login(session, " P116703063 ").user_id == owner.id
    assert users.find_login(session, "p116703063").user_id == other.id
    # What is not touched is not judged: the owner is not kept from changing the rest.
    assert users.change_profile(session, owner, {"phone": "1"}).phone == "1"
    assert users.change_profile(session, other, {"phone": "2"}).phone == "2"


def test_an_inactive_account_is_found_as_inactive(session, make):
    user = make.user(username="gone", active=False, password_hash=HASH)
    assert users.find_login(session, "gone") == users.Login(user.id, HASH, False)


def test_names_are_folded_without_case_and_blanks_around():
    assert users.fold("  Straße ") == users.fold("STRASSE") == "strasse"


def test_who_registers_is_an_unconfirmed_patron_in_the_category_for_it(session, make, now):
    make.category()
    category = make.category(self_registration=True)
    user = users.register(session, {"username": "Ann", "email": "Ann@x.org"}, HASH, True, now)
    assert (user.role, user.confirmed, user.active) == (Role.PATRON, False, True)
    assert (user.username_key, user.email_key, user.created_at) == ("ann", "ann@x.org", now)
    assert user.patron_category_id == category.id
    assert user.card_barcode.startswith("P")
    assert user.words == "ann x org " + user.card_barcode.lower()


def test_registration_may_be_closed(session, now):
    with refused_for("registration_closed"):
        users.register(session, {"username": "ann", "email": "ann@x.org"}, HASH, False, now)


@pytest.mark.parametrize(
    "values",
    [
        {"username": "TAKEN", "email": "free@x.org"},
        {"username": "free", "email": "Taken@X.org"},
        {"username": "P000777", "email": "free@x.org"},
        {"username": "p000777", "email": "free@x.org"},
    ],
)
def test_a_refused_registration_does_not_say_what_is_taken(session, make, now, values):
    make.user(username="taken", email="taken@x.org", card_barcode="P000777")
    with refused_for("registration_refused") as caught:
        users.register(session, values, HASH, True, now)
    assert (caught.value.reasons[0].pointer, caught.value.reasons[0].params) == (None, {})


def test_an_account_without_a_username_is_called_after_its_card(session, librarian, now):
    user = users.create_user(session, librarian, {"last_name": "Ödön", "username": None}, now)
    assert user.username == user.card_barcode
    assert user.words == f"odon {user.card_barcode.lower()}"
    assert (user.role, user.confirmed, user.email_key) == (Role.PATRON, True, None)
    named = users.create_user(session, librarian, {"card_barcode": "X1"}, now)
    assert (named.username, named.card_barcode) == ("X1", "X1")


@pytest.mark.parametrize(
    ("values", "member"),
    [
        ({"username": "JANE"}, "username"),
        ({"email": "JANE@x.org"}, "email"),
        ({"card_barcode": "P7"}, "card_barcode"),
    ],
)
def test_names_addresses_and_cards_are_taken_once(session, make, librarian, now, values, member):
    make.user(username="jane", email="jane@x.org", card_barcode="P7")
    with refused_for("already_exists") as caught:
        users.create_user(session, librarian, values, now)
    assert caught.value.reasons[0].pointer == f"/{member}"


def test_only_admins_give_roles(session, librarian, admin, make, now):
    with pytest.raises(Forbidden, match=r"users\.roles"):
        users.create_user(session, librarian, {"role": Role.LIBRARIAN}, now)
    assert users.create_user(session, librarian, {"role": Role.PATRON}, now).role is Role.PATRON
    assert users.create_user(session, admin, {"role": Role.LIBRARIAN}, now).role is Role.LIBRARIAN
    patron = make.user()
    with pytest.raises(Forbidden):
        users.change_user(session, librarian, patron, {"role": Role.ADMIN}, START)
    with pytest.raises(Forbidden):
        users.change_user(session, librarian, librarian, {"role": Role.ADMIN}, START)
    assert users.change_user(session, admin, patron, {"role": Role.LIBRARIAN}, START).role is Role.LIBRARIAN


def test_only_admins_touch_accounts_of_other_staff(session, librarian, admin, make):
    colleague = make.librarian()
    with pytest.raises(Forbidden):
        users.change_user(session, librarian, colleague, {"first_name": "X"}, START)
    with pytest.raises(Forbidden):
        users.delete_user(session, librarian, admin)
    assert users.change_user(session, librarian, librarian, {"first_name": "Me"}, START).first_name == "Me"
    assert users.change_user(session, admin, colleague, {"first_name": "Y"}, START).first_name == "Y"


@pytest.mark.parametrize(
    ("values", "version"),
    [
        ({"role": Role.LIBRARIAN}, 2),
        ({"active": False}, 2),
        ({"password_hash": "new"}, 2),
        ({"active": False, "role": Role.LIBRARIAN}, 2),
        ({"role": Role.PATRON, "active": True}, 1),
        ({"first_name": "Ann"}, 1),
    ],
)
def test_a_new_role_password_or_activity_ends_the_tokens_given_out(session, admin, make, values, version):
    user = make.user()
    assert users.change_user(session, admin, user, values, START).token_version == version


def test_a_changed_name_is_logged_in_by_and_found_at_once(session, make, librarian):
    user = make.user(username="old", password_hash=HASH)
    users.change_user(session, librarian, user, {"username": "Neu", "last_name": "Größe", "email": None}, START)
    assert users.find_login(session, "neu").user_id == user.id
    assert users.find_login(session, "old") == users.find_login(session, "nobody")
    assert user.email_key is None
    assert session.scalars(users.find_users(librarian, "grosse")).all() == [user]


def test_a_username_and_a_card_cannot_be_taken_away(session, make, librarian):
    user = make.user(username="kept", card_barcode="P7")
    users.change_user(session, librarian, user, {"username": None, "card_barcode": None}, START)
    assert (user.username, user.card_barcode) == ("kept", "P7")


@pytest.mark.parametrize("values", [{"role": Role.LIBRARIAN}, {"role": Role.PATRON}, {"active": False}])
def test_the_last_admin_stays_admin_and_active(session, admin, make, values):
    make.user(role=Role.ADMIN, active=False)
    with refused_for("last_admin"):
        users.change_user(session, admin, admin, values, START)
    assert users.change_user(session, admin, admin, {"first_name": "A", "active": True}, START).first_name == "A"
    make.user(role=Role.ADMIN)
    users.change_user(session, admin, admin, values, START)


def test_the_last_admin_cannot_be_deleted(session, admin, make):
    with refused_for("last_admin"):
        users.delete_user(session, admin, admin)
    other = make.user(role=Role.ADMIN)
    with pytest.raises(Forbidden):
        users.delete_user(session, admin, admin)
    users.delete_user(session, other, admin)
    assert session.scalar(select(func.count()).select_from(User)) == 1


def test_ones_own_password_is_not_changed_without_the_old_one(session, admin):
    with pytest.raises(Forbidden):
        users.change_user(session, admin, admin, {"password_hash": HASH}, START)


@pytest.mark.parametrize("email", ["thief@example.org", "strasse@example.org", None])
def test_ones_own_address_is_not_changed_by_oneself(session, make, admin, email):
    """A new password is sent there: whoever holds a token only would have the account for good."""
    mine = make.librarian(email="straße@example.org")
    with pytest.raises(Forbidden):
        users.change_user(session, mine, mine, {"email": email}, START)
    assert users.change_user(session, mine, mine, {"email": "Straße@Example.org"}, START).email == "Straße@Example.org"
    assert users.change_user(session, admin, mine, {"email": email}, START).email == email


def test_whose_account_has_no_address_gives_it_none_themselves(session, make):
    mine = make.librarian(email=None)
    with pytest.raises(Forbidden):
        users.change_user(session, mine, mine, {"email": "thief@example.org"}, START)


def mails_of(session, user: User) -> list[tuple[MailKind, str | None]]:
    return list(session.execute(select(Mail.kind, Mail.address).where(Mail.user_id == user.id).order_by(Mail.id)))


@pytest.mark.parametrize("email", ["new@example.org", None])
def test_another_address_is_told_to_the_old_one(session, make, librarian, email):
    user = make.user(email="old@example.org")
    changes = {"email": email, "password_hash": HASH}
    users.change_user(session, librarian, user, changes, START)
    assert mails_of(session, user) == [
        (MailKind.EMAIL_CHANGED, "old@example.org"),
        (MailKind.PASSWORD_CHANGED, "old@example.org"),
    ]


def test_an_address_that_stays_or_is_the_first_is_told_to_nobody(session, make, librarian):
    user, new = make.user(email="old@example.org"), make.user(email=None)
    users.change_user(session, librarian, user, {"email": "OLD@example.org"}, START)
    assert mails_of(session, user) == []
    users.change_user(session, librarian, new, {"email": "first@example.org", "password_hash": HASH}, START)
    # It goes where the account's mails go.
    assert mails_of(session, new) == [(MailKind.PASSWORD_CHANGED, None)]


def test_an_inactive_admin_may_be_deleted(session, admin, make):
    users.delete_user(session, admin, make.user(role=Role.ADMIN, active=False))
    assert session.scalars(select(User)).all() == [admin]


def test_two_admins_who_demote_each_other_do_not_both_succeed(session, another, make):
    ids = [make.user(role=Role.ADMIN).id for _ in range(2)]

    def demote(actor_id: int, user_id: int) -> None:
        desk = another()
        with transaction(desk, write=True):
            users.change_user(
                desk, desk.get_one(User, actor_id), desk.get_one(User, user_id), {"role": Role.PATRON}, START
            )

    at_once([lambda: demote(*ids), lambda: demote(*reversed(ids))])
    admins = session.scalars(select(User).where(User.role == Role.ADMIN).execution_options(populate_existing=True))
    assert len(admins.all()) >= 1


def test_an_account_is_deleted_with_its_sessions(session, make, librarian):
    user = make.user()
    make.session_of(user)
    users.delete_user(session, librarian, user)
    session.commit()
    assert session.scalars(select(UserSession)).all() == []


def test_an_account_with_loans_orders_or_wards_is_not_deleted(session, make, librarian):
    user = make.user()
    make.loan(patron=user)
    make.order(user)
    make.user(guarantor_id=user.id)
    with refused_for("still_in_use") as caught:
        users.delete_user(session, librarian, user)
    assert caught.value.reasons[0].params == {"by": {"loans": 1, "orders": 1, "users": 1}}


def test_a_new_card_is_one_nobody_has(session, make, monkeypatch):
    make.user(card_barcode="P000000007")
    numbers = iter([7, 7, 8])
    monkeypatch.setattr("secrets.randbelow", lambda limit: next(numbers))
    assert users.new_card(session) == "P000000008"


@pytest.mark.parametrize("q", ["smi", "ANN smith", "ann@x", "p000777", "x org"])
def test_people_are_found_by_beginnings_of_words(session, make, librarian, q):
    ann = make.user(first_name="Ann", last_name="Smith-Jones", username="as", email="ann@x.org", card_barcode="P000777")
    make.user(first_name="Bob", last_name="Blacksmith")
    assert session.scalars(users.find_users(librarian, q)).all() == [ann]


def test_people_are_narrowed_by_card_and_seen_by_staff_and_themselves(session, make, librarian):
    ann, bob = make.user(card_barcode="P1"), make.user(card_barcode="P2")
    assert session.scalars(users.find_users(librarian, card_barcode="P2")).all() == [bob]
    assert session.scalars(users.find_users(ann)).all() == [ann]
    assert session.scalars(users.find_users(ann, card_barcode="P2")).all() == []


def test_the_refusals_of_registration_say_nothing_of_members():
    for refusal in (users.RegistrationRefused, users.RegistrationClosed, users.LastAdmin):
        assert issubclass(refusal, Refusal)
        assert (refusal.parameters, refusal.pointer) == ((), None)
    assert AlreadyExists.parameters == ("members",)
