"""Who may do what, role by role, and whose rows they see."""

import pytest
from sqlalchemy import select

from library.models import AccountEntry, ApiKey, Book, Hold, Loan, Notice, NoticeKind, Order, Role, User, UserSession
from library.rules import access
from library.rules.errors import Forbidden

ALL = sorted(set().union(*access.PERMISSIONS.values()))
# Reviewed by hand: what a patron does with what is theirs, what the desk does, and what only admins lay down.
OWN = {
    "sessions.own",
    "credentials.own",
    "profile.own",
    "privacy.own",
    "catalogue.read",
    "categories.read",
    "loans.read",
    "loans.renew",
    "loans.claim",
    "holds.read",
    "holds.write",
    "accounts.read",
    "notices.read",
    "summary.own",
    "policies.effective",
    "orders.read",
}
STAFF_ONLY = {
    "users.read",
    "users.write",
    "users.credentials",
    "catalogue.write",
    "copies.write",
    "copies.mark",
    "loans.check_out",
    "loans.check_in",
    "loans.change",
    "loans.lost",
    "circulation.override",
    "holds.queue",
    "accounts.write",
    "blocks.write",
    "summary.read",
    "policies.read",
    "jobs.read",
    "jobs.cancel",
    "imports.write",
    "catalogue.export",
    "orders.write",
}
ADMIN_ONLY = {
    "users.roles",
    "privacy.all",
    "api_keys.all",
    "audit.read",
    "categories.write",
    "branches.write",
    "item_types.write",
    "policies.write",
    "calendar.write",
    "circulation.override_held",
    "jobs.start",
}
GRANTED = {
    None: {"anyone"},
    Role.PATRON: {"anyone"} | OWN,
    Role.LIBRARIAN: {"anyone"} | OWN | STAFF_ONLY,
    Role.ADMIN: {"anyone"} | OWN | STAFF_ONLY | ADMIN_ONLY,
}


def actor(role: Role | None) -> User | None:
    return role and User(role=role)


@pytest.mark.parametrize("role", [None, *Role])
def test_each_role_holds_exactly_its_permissions(role):
    assert {permission for permission in ALL if access.may(actor(role), permission)} == GRANTED[role]


@pytest.mark.parametrize("role", [None, *Role])
def test_what_a_role_does_not_hold_is_forbidden_by_name(role):
    for permission in ALL:
        if permission in GRANTED[role]:
            access.require(actor(role), permission)
        else:
            with pytest.raises(Forbidden, match=permission):
                access.require(actor(role), permission)


def test_nobody_holds_a_permission_that_does_not_exist():
    for role in (None, *Role):
        assert not access.may(actor(role), "loans.burn")


@pytest.mark.parametrize(
    ("role", "works_here"), [(None, False), (Role.PATRON, False), (Role.LIBRARIAN, True), (Role.ADMIN, True)]
)
def test_librarians_and_admins_are_staff(role, works_here):
    assert access.is_staff(actor(role)) is works_here


def test_every_table_of_which_people_see_their_own_rows_is_tried_below():
    assert set(access.OWN_ROWS) == {User, Loan, Hold, AccountEntry, Notice, Order, UserSession, ApiKey}


def test_self_checks_open_the_check_out_and_nothing_else():
    assert {"loans.check_out"} == access.SELF_CHECKOUT
    patron, opened = actor(Role.PATRON), access.SELF_CHECKOUT
    held = {permission for permission in ALL if access.may(patron, permission, opened)}
    assert held == GRANTED[Role.PATRON] | {"loans.check_out"}
    access.require(patron, "loans.check_out", opened)
    with pytest.raises(Forbidden, match=r"loans\.check_in"):
        access.require(patron, "loans.check_in", opened)


def test_a_key_opens_what_it_was_given_of_what_is_open():
    program = User(role=Role.PATRON)
    program.scopes = frozenset({"loans.read"})
    assert access.may(program, "loans.read")
    assert not access.may(program, "loans.renew")
    assert not access.may(program, "loans.check_out", access.SELF_CHECKOUT)


def test_an_open_catalogue_shows_the_catalogue_and_nothing_else():
    assert {"catalogue.read"} == access.OPEN_CATALOGUE


@pytest.fixture
def two_people(make):
    ann, bob = make.user(), make.user()
    for person in (ann, bob):
        make.loan(patron=person)
        make.hold(patron=person)
        make.charge(person)
        make.order(person)
        make.session_of(person)
        make.api_key(person)
        occasion = f"due_soon:{person.id}"
        make.row(Notice(patron_id=person.id, kind=NoticeKind.DUE_SOON, occasion=occasion, created_at=person.created_at))
    return ann, bob


@pytest.mark.parametrize(
    ("table", "owner"),
    [
        (User, "id"),
        (Loan, "patron_id"),
        (Hold, "patron_id"),
        (AccountEntry, "patron_id"),
        (Notice, "patron_id"),
        (Order, "user_id"),
        (UserSession, "user_id"),
        (ApiKey, "user_id"),
    ],
)
def test_patrons_see_their_own_rows_and_staff_all(session, make, two_people, table, owner):
    for person in two_people:
        seen = session.scalars(access.visible(select(table), table, person)).all()
        assert [getattr(row, owner) for row in seen] == [person.id]
    total = session.query(table).count()
    for role in (Role.LIBRARIAN, Role.ADMIN):
        worker = make.user(role=role)
        total += table is User
        personal = table in access.PERSONAL and not access.may(worker, access.PERSONAL[table])
        assert len(session.scalars(access.visible(select(table), table, worker)).all()) == (0 if personal else total)


def test_sessions_are_nobodys_but_ones_own_and_keys_the_admins_too():
    assert {UserSession: "nobody", ApiKey: "api_keys.all"} == access.PERSONAL
    assert not any("nobody" in held for held in access.PERMISSIONS.values())


# Reviewed by hand: a new permission is one that a key may have, or one that none may.
NO_SCOPES = {
    "anyone",
    "sessions.own",
    "credentials.own",
    "users.credentials",
    "users.roles",
    "api_keys.all",
    "privacy.own",
    "privacy.all",
}


def test_a_key_may_have_any_permission_but_those_over_accounts():
    assert set(ALL) - access.SCOPES == access.NEVER_BY_KEY == NO_SCOPES
    assert len(access.SCOPES) == 41


@pytest.mark.parametrize("role", [None, *Role])
def test_everybody_who_may_read_the_catalogue_sees_all_of_it(session, make, role):
    books = [make.book(), make.book()]
    person = make.user(role=role) if role else None
    assert session.scalars(access.visible(select(Book).order_by(Book.id), Book, person)).all() == books


def test_whatever_is_shown_beside_a_number_has_a_permission_of_a_role():
    # Patrons may see of each what is theirs or the catalogue's; OWN_ROWS narrows it.
    assert set(access.SEEN_WITH.values()) <= access.PATRON
