"""The demo library: three branches, real books, plausible people, and a desk that has been at work for half a year."""

import random
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from library.cli import demo_books
from library.cli.common import operator
from library.cli.demo_desk import Scenes, lay_down_policies
from library.cli.demo_loans import lend
from library.cli.demo_people import (
    ACCOUNTS,
    CARD_HOLDERS,
    CHILDREN,
    DOMAIN,
    EXPIRED,
    INACTIVE,
    LIBRARIAN,
    UNCONFIRMED,
    Account,
)
from library.models import Book, Branch, Copy, ItemType, OnDuplicate, Order, PatronCategory, Role, User
from library.rules import calendar, changes, holdings, imports, orders, users, words
from library.rules.outcomes import AT_ONCE

# The same library for everybody, so that what one newcomer sees another can look up.
SEED = 1876
AGE = timedelta(days=400)
CHILD_DAYS, ADULT_DAYS = (7 * 365, 13 * 365), (19 * 365, 80 * 365)
MAIN, HARBOUR, SCHOOL = "Main Library", "Harbour Branch", "Hillside School Library"


def is_empty(session: Session) -> bool:
    """Whether the database has neither books nor users."""
    return all(session.scalar(select(noun.id).limit(1)) is None for noun in (Book, User))


def fill(session: Session, password_hashes: Mapping[str, str], now: datetime) -> None:
    """Fill an empty database within the caller's transaction; `password_hashes` are by username."""
    chance, opened = random.Random(SEED), now - AGE
    branches = _branches(session)
    categories = {
        name: PatronCategory(name=name, self_registration=name == "Adult") for name in ("Adult", "Child", "Staff")
    }
    _save_all(session, categories.values())
    accounts = [
        _account(session, account, password_hashes[account.username], categories, branches[MAIN], opened)
        for account in ACCOUNTS
    ]
    patrons = _patrons(session, chance, categories, list(branches.values()), now)
    copies = _copies(session, chance, branches, opened)
    librarian = accounts[ACCOUNTS.index(LIBRARIAN)]
    borrowers = [user for user in (*accounts, *patrons) if _may_borrow(user)]
    for_loan = [copy for copy in copies if not (copy.item_type and copy.item_type.not_for_loan)]
    lend(session, chance, librarian, for_loan, borrowers, list(branches.values()), now)
    types = {kind.name: kind for kind in session.scalars(select(ItemType))}
    lay_down_policies(session, categories, types, now.year)
    Scenes(session, librarian, list(branches.values()), borrowers, now).play()
    _orders(session, chance, librarian, now)


def _save_all(session: Session, rows: Iterable[Any]) -> None:
    for row in rows:
        changes.save(session, row, {})


def _branches(session: Session) -> dict[str, Branch]:
    week = {MAIN: (6, "09:00", "19:00"), HARBOUR: (6, "10:00", "18:00"), SCHOOL: (5, "08:00", "15:00")}
    addresses = {MAIN: "1 Market Square", HARBOUR: "14 Quay Street", SCHOOL: "Hillside School\n3 Orchard Lane"}
    zones = {MAIN: "Europe/Berlin", HARBOUR: "Europe/Lisbon", SCHOOL: "Europe/Berlin"}
    branches = {}
    for name, (days, opens, closes) in week.items():
        hours = [{"weekday": day, "opens": opens, "closes": closes} for day in range(1, days + 1)]
        branches[name] = Branch(
            name=name,
            time_zone=zones[name],
            hours=hours,
            address=addresses[name],
            # The school is closed to the public: nobody can collect a hold there.
            pickup_point=name != SCHOOL,
        )
    _save_all(session, branches.values())
    return branches


def _account(
    session: Session,
    account: Account,
    password_hash: str,
    categories: Mapping[str, PatronCategory],
    branch: Branch,
    opened: datetime,
) -> User:
    values = {
        "username": account.username,
        "email": account.email,
        "password_hash": password_hash,
        "first_name": account.first_name,
        "last_name": account.last_name,
        "role": account.role,
        "card_barcode": account.card,
        "patron_category": categories["Adult" if account.role is Role.PATRON else "Staff"],
        "home_branch": branch,
    }
    return users.create_user(session, operator(), values, opened)


def _patrons(
    session: Session,
    chance: random.Random,
    categories: Mapping[str, PatronCategory],
    branches: Sequence[Branch],
    now: datetime,
) -> list[User]:
    """The holders of the cards P0002 and on: no log-ins, and three of them may not borrow."""
    today, opened = calendar.local_day(now, "UTC"), now - AGE
    last_adult = len(CARD_HOLDERS) - CHILDREN
    patrons = []
    for number, (first_name, last_name) in enumerate(CARD_HOLDERS, 2):
        card = f"P{number:04d}"
        is_special = card in (EXPIRED, UNCONFIRMED, INACTIVE)
        is_child = not is_special and number - 2 >= last_adult - 3
        username = ".".join(words.words(f"{first_name} {last_name}"))
        values = {
            "username": username,
            "email": None if is_child else f"{username}@{DOMAIN}",
            "first_name": first_name,
            "last_name": last_name,
            "card_barcode": card,
            "patron_category": categories["Child" if is_child else "Adult"],
            "home_branch": branches[2] if is_child else chance.choice(branches[:2]),
            "birth_date": today - timedelta(days=chance.randint(*(CHILD_DAYS if is_child else ADULT_DAYS))),
            "expires_on": today + timedelta(days=-30 if card == EXPIRED else chance.randint(60, 700)),
            "confirmed": card != UNCONFIRMED,
            "active": card != INACTIVE,
        }
        patrons.append(users.create_user(session, operator(), values, opened + timedelta(days=number)))
    return patrons


def _may_borrow(user: User) -> bool:
    return user.role is Role.PATRON and user.card_barcode not in (EXPIRED, UNCONFIRMED, INACTIVE)


def _copies(session: Session, chance: random.Random, branches: Mapping[str, Branch], opened: datetime) -> list[Copy]:
    """The books, and one to three copies of each."""
    types = {
        "Book": ItemType(name="Book", default_price_cents=2500),
        "Reference": ItemType(name="Reference", default_price_cents=6000, not_for_loan=True, holdable=False),
        "Film and audio": ItemType(name="Film and audio", default_price_cents=2000),
    }
    _save_all(session, types.values())
    records = list(demo_books.read_books())
    for start in range(0, len(records), AT_ONCE):
        batch = list(enumerate(records[start : start + AT_ONCE], start + 1))
        imports.import_batch(session, batch, OnDuplicate.SKIP, opened)
    ids = dict(session.execute(select(Book.control_number, Book.id)).all())
    copies: list[Copy] = []
    for record in records:
        shelf = demo_books.class_of(record)
        item_type = types["Reference" if shelf == "REF" else "Book"]
        for branch in _places(chance, branches, shelf):
            values = {
                "barcode": f"B{len(copies) + 1:05d}",
                "book_id": ids[record.control_number],
                "home_branch": branch,
                "item_type": item_type,
                "shelf_mark": demo_books.shelf_mark(record),
            }
            copies.append(holdings.create_copy(session, values, opened))
    return copies


def _places(chance: random.Random, branches: Mapping[str, Branch], shelf: str) -> list[Branch]:
    """Where the copies of a book stand: one for certain, children's books at the school, much-read ones twice."""
    first = branches[SCHOOL if shelf == "CHI" else MAIN]
    count = chance.choices((1, 2, 3), (50, 35, 15))[0]
    return [first, *chance.choices(list(branches.values()), (3, 4, 2), k=count - 1)]


def _orders(session: Session, chance: random.Random, librarian: User, now: datetime) -> None:
    books = session.scalars(select(Book).order_by(Book.id)).all()
    for days_ago, note, count in (
        (9, "Second copies of what is always out", 4),
        (2, "For the reading circle in spring", 3),
    ):
        lines = [(book, chance.randint(1, 3)) for book in chance.sample(books, count)]
        values = {"note": note, "lines": lines}
        orders.save_order(session, Order(user_id=librarian.id), values, now - timedelta(days=days_ago))
