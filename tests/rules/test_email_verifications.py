"""Registration where addresses must be proven: the same is done whatever is asked for."""

from functools import partial

import pytest
from sqlalchemy import func, select

from library.database import transaction
from library.models import Mail, MailKind, OneTimeToken, Role, User
from library.rules import email_verifications, one_time_tokens, users
from library.rules.email_verifications import Person

from .helping import at_once, refused_for

KEY = "a key of the library's own, long enough"
HASH = users.hash_password("correct horse battery")


@pytest.fixture
def register(session, now):
    """Call it with name and address; the key of the account that was made."""

    def make_account(username: str, email: str, **values) -> int | None:
        person = Person({"username": username, "email": email} | values, HASH, now)
        made = email_verifications.register(session, KEY, person, True, now)
        session.commit()
        return made

    return make_account


def last_mail(session) -> Mail:
    return session.scalars(select(Mail).order_by(Mail.id.desc())).first()


def test_an_account_is_made_that_is_let_in_once_its_address_is_proven(session, make, register, now):
    category = make.category(self_registration=True)
    user = session.get_one(User, register("Ann", "Ann@x.org", last_name="Ödön"))
    assert (user.role, user.active, user.confirmed, user.version) == (Role.PATRON, True, False, 1)
    assert (user.username_key, user.email_key, user.created_at) == ("ann", "ann@x.org", now)
    assert (user.patron_category_id, user.last_name, user.first_name) == (category.id, "Ödön", None)
    assert user.words == f"odon ann x org {user.card_barcode.lower()}"
    assert not users.find_login(session, "ann", proven=True).active
    assert users.find_login(session, "ann").active
    mail = last_mail(session)
    assert (mail.kind, mail.user_id, mail.address) == (MailKind.EMAIL_VERIFICATION, user.id, None)
    token = one_time_tokens.text_of(session.get_one(OneTimeToken, mail.token_id), [KEY])
    assert email_verifications.verify(session, token, now) is user
    assert user.email_verified_at == now
    assert users.find_login(session, "ann", proven=True).active
    assert email_verifications.verify(session, token, now) is None


def test_who_was_seen_by_staff_is_let_in_without_proof(session, make):
    make.user(username="seen", password_hash=HASH)
    assert users.find_login(session, "seen", proven=True).active


@pytest.mark.parametrize(
    ("username", "email", "told"),
    [
        ("TAKEN", "free@x.org", "free@x.org"),
        ("P000777", "free@x.org", "free@x.org"),
        ("p000777", "free@x.org", "free@x.org"),
        ("free", "Taken@X.org", None),
        ("taken", "taken@x.org", None),
    ],
)
def test_what_is_taken_makes_no_account_and_a_mail_says_so(session, make, register, username, email, told):
    owner = make.user(username="taken", email="taken@x.org", card_barcode="P000777")
    assert register(username, email) is None
    assert session.scalar(select(func.count()).select_from(User)) == 1
    mail = last_mail(session)
    assert mail.kind is MailKind.REGISTRATION_REFUSED
    assert (mail.address, mail.user_id) == (told, None if told else owner.id)
    # As many rows as where an account was made, and nobody's token opens nothing.
    assert session.scalars(select(OneTimeToken.user_id)).all() == [None]


def test_a_new_card_is_nobodys_username(session, make, monkeypatch):
    make.user(username="p000000001")
    drawn = iter([1, 2])
    monkeypatch.setattr(users.secrets, "randbelow", lambda _: next(drawn))
    assert users.new_card(session) == "P000000002"


def test_registration_may_be_closed(session, now):
    person = Person({"username": "ann", "email": "ann@x.org"}, HASH, now)
    with refused_for("registration_closed"):
        email_verifications.register(session, KEY, person, False, now)


def test_of_many_who_want_one_name_one_gets_it_and_nobody_sees_an_error(session, another, now):
    def register(session, at):
        person = Person({"username": "ann", "email": f"ann{at}@x.org"}, HASH, now)
        with transaction(session, write=True):
            return email_verifications.register(session, KEY, person, True, now)

    made = at_once([partial(register, another(), at) for at in range(6)])
    (user,) = session.scalars(select(User))
    assert sorted(made, key=str) == [user.id, *[None] * 5]
    assert session.scalar(select(func.count()).select_from(Mail)) == 6
