"""The data: books, people, copies and loans that anybody gets alike, written in bulk into our own tables.

What a rule would work out (the words of a book, what its title sorts under) is worked out by that rule; the rows go
into the tables that the migrations made, past the ORM, and through their triggers and constraints.
"""

import json
from collections.abc import Iterable
from datetime import date, timedelta
from itertools import islice
from typing import Any, cast

import flask_migrate
from flask import Flask
from sqlalchemy import Connection, Engine, Table, create_engine, text

from bench.catalogue import OPENED, Catalogue, moment
from library import create_app, models
from library.extensions import db
from library.rules import words

SECRET = "7c1e0b52d4f94a6c8b3f9a2d61e875f0"
COPIES_OF_A_BOOK, BRANCHES = 2, 3
READERS, DESKS, BORROWERS = 500, 32, 96
BATCH = 5000
Rows = Iterable[dict[str, Any]]
Filling = Iterable[tuple[type[models.Base], Rows]]


def make_app(url: str, **settings: Any) -> Flask:
    """The application on that database."""
    return create_app("testing", DATABASE_URL=url, SECRET_KEY=SECRET, **settings)


def engine_of(url: str) -> Engine:
    """An engine of our own on a database, by psycopg 3."""
    return create_engine(url.replace("postgresql://", "postgresql+psycopg://"))


def migrate(url: str) -> None:
    """Make the tables."""
    with make_app(url).app_context():
        flask_migrate.upgrade()
        db.engine.dispose()


def build(url: str, books: int) -> None:
    """Fill an empty database: `books` books, and copies, people, loans and holds in proportion."""
    migrate(url)
    fill(url, tables(books))


def fill(url: str, rows_of: Filling) -> None:
    """Write rows into a database, and leave it as one that has run for long."""
    with make_app(url).app_context():
        with db.engine.begin() as connection:
            for table, rows in rows_of:
                write(connection, table, rows)
            finish(connection)
        engine = db.engine.execution_options(isolation_level="AUTOCOMMIT") if "postgres" in url else db.engine
        with engine.connect() as connection:
            if "postgres" in url:
                # It may take longer than the library lets a statement take.
                connection.execute(text("SET statement_timeout = 0"))
            connection.execute(text("VACUUM ANALYZE" if "postgres" in url else "ANALYZE"))
            if "sqlite" in url:
                connection.commit()
                connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
        db.engine.dispose()


def write(connection: Connection, table: type[models.Base], rows: Rows) -> None:
    """Write rows in bulk; what a row does not name has the column's default."""
    every = cast("Table", table.__table__).columns
    columns = [column for column in every if column.server_default is None or column.default]
    defaults = [column.default.arg if column.default and column.default.is_scalar else None for column in columns]
    names, rows = [column.name for column in columns], iter(rows)
    raw: Any = connection.connection.driver_connection
    while batch := list(islice(rows, BATCH)):
        values = [[row.get(name, default) for name, default in zip(names, defaults, strict=True)] for row in batch]
        if connection.dialect.name == "sqlite":
            places = ",".join("?" * len(names))
            raw.executemany(f"INSERT INTO {table.__tablename__} ({','.join(names)}) VALUES ({places})", values)
            continue
        with raw.cursor().copy(f"COPY {table.__tablename__} ({','.join(names)}) FROM STDIN") as copy:
            for row in values:
                copy.write_row(row)


def finish(connection: Connection) -> None:
    """Whatever a bulk of rows leaves behind: the next keys, and the count by which kept pages become stale."""
    connection.execute(text("UPDATE generations SET number = number + 1"))
    if connection.dialect.name == "postgresql":
        for table in models.Base.metadata.sorted_tables:
            highest = f"(SELECT coalesce(max(id), 0) + 1 FROM {table.name})"
            connection.execute(text(f"SELECT setval(pg_get_serial_sequence('{table.name}', 'id'), {highest}, false)"))


def tables(books: int) -> Filling:
    """Every table with its rows, in the order in which they may be written."""
    catalogue = Catalogue(books)
    yield from house()
    yield models.Author, (_heading(key, name, dates="1900-1980") for key, name in enumerate(catalogue.authors, 1))
    yield models.Subject, (_heading(key, name) for key, name in enumerate(catalogue.subjects, 1))
    records = catalogue.records()
    while batch := list(islice(records, BATCH)):
        for at, table in enumerate((models.Book, models.Contribution, models.BookSubject, models.Identifier)):
            yield table, (row for record in batch for row in record[at])
    yield from people(books // 20)
    yield from _holdings(books)


def _heading(number: int, name: str, **more: Any) -> dict[str, Any]:
    return {"id": number, "name": name, "name_key": words.sort_key(name, length=500), **more}


def _numbered(rows: Rows) -> Rows:
    return ({"id": key} | row for key, row in enumerate(rows, 1))


def house() -> Filling:
    """Branches, item types, patron categories, policies and closed days."""
    hours = json.dumps([{"weekday": day, "opens": "09:00", "closes": "19:00"} for day in range(1, 7)])
    names = ("Main Library", "Harbour Branch", "Hillside Branch")
    yield models.Branch, _numbered({"name": name, "time_zone": "Europe/Berlin", "hours": hours} for name in names)
    yield models.ItemType, _numbered({"name": name} for name in ("Book", "Film", "Score"))
    yield models.PatronCategory, _numbered({"name": name} for name in ("Adult", "Child", "Staff"))
    yield models.Policy, _numbered(_policy(*policy) for policy in POLICIES)
    days = [(date(2030, 1, 1) + timedelta(days=30 * number)).isoformat() for number in range(10)]
    closed = ({"branch_id": at % BRANCHES + 1, "from_on": day, "to_on": day} for at, day in enumerate(days))
    yield models.CalendarException, _numbered(closed)


# Of all, or of a branch, or of a type of copies.
POLICIES: tuple[tuple[str, int | None, int | None, Any], ...] = (
    ("loan_period", None, None, {"number": 28, "unit": "days"}),
    ("loan_period", None, 2, {"number": 7, "unit": "days"}),
    ("loan_period", 1, None, {"number": 28, "unit": "days"}),
    ("max_loans", None, None, 20),
    ("max_loans_per_item_type", None, 2, 5),
    ("max_overdue", None, None, 3),
    ("max_debt_cents", None, None, 1000),
    ("max_renewals", None, None, 3),
    ("fine_rate", None, None, {"per": "day", "cents": 20}),
    ("fine_cap_cents", None, None, 1000),
)


def _policy(kind: str, branch_id: int | None, item_type_id: int | None, value: Any) -> dict[str, Any]:
    scope = {"branch_id": branch_id, "item_type_id": item_type_id, "kind": kind, "value": json.dumps(value)}
    return scope | {"scope_key": f"{branch_id or 0}-0-{item_type_id or 0}"}


def people(patrons: int) -> Filling:
    """Readers and librarians who are signed in, those who borrow, those who may not, and further patrons."""
    yield models.User, (_user(key) for key in range(1, FIRST_PATRON + max(patrons, BRANCHES * 100)))
    opened = {"refresh_jti": "", "started_at": moment(OPENED), "rotated_at": moment(OPENED), "client": "bench"}
    opened["expires_at"] = "2099-01-01 00:00:00.000001"
    yield models.UserSession, _numbered(opened | {"user_id": key} for key in range(1, FIRST_BORROWER))
    block = {"user_id": BLOCKED, "scope": "all", "reason": "Owes a book.", "created_at": moment(OPENED)}
    yield models.PatronBlock, _numbered([block])
    # A little debt, and one above what is allowed.
    owed = dict.fromkeys(range(FIRST_BORROWER, FIRST_BORROWER + BORROWERS, 2), 120) | {INDEBTED: 5000}
    charge = {"kind": "charge", "reason": "manual", "made_at": moment(OPENED)}
    yield models.AccountEntry, _numbered(charge | {"patron_id": user, "amount_cents": owed[user]} for user in owed)


FIRST_LIBRARIAN = READERS + 1
FIRST_BORROWER = FIRST_LIBRARIAN + DESKS
BLOCKED, EXPIRED, INACTIVE, INDEBTED, LADEN = range(FIRST_BORROWER + BORROWERS, FIRST_BORROWER + BORROWERS + 5)
FIRST_PATRON = LADEN + 1


def _user(key: int) -> dict[str, Any]:
    """The account of that number."""
    name = f"user{key:06d}"
    return {
        "id": key,
        "username": name,
        "username_key": name,
        "email": f"{name}@example.org",
        "email_key": f"{name}@example.org",
        "first_name": f"Given{key}",
        "last_name": f"Family{key % 997}",
        "role": "librarian" if FIRST_LIBRARIAN <= key < FIRST_BORROWER else "patron",
        "active": key != INACTIVE,
        "confirmed": True,
        "card_barcode": card(key),
        "birth_date": date(1950 + key % 50, 1 + key % 12, 1 + key % 28).isoformat(),
        "expires_on": "2020-12-31" if key == EXPIRED else "2099-12-31",
        "patron_category_id": 1,
        "home_branch_id": 1 if key < FIRST_PATRON else 1 + key % BRANCHES,
        "words": words.index_words([name, f"Given{key}", f"Family{key % 997}", card(key)]),
        "created_at": moment(OPENED + timedelta(minutes=key)),
    }


def card(user_id: int) -> str:
    """The card of a user."""
    return f"P{user_id:07d}"


def barcode(copy_id: int) -> str:
    """The barcode of a copy."""
    return f"B{copy_id:08d}"


# Copies up to here are lent and brought back by the runs, so they stand on their shelves before.
AT_THE_DESK = 6000
LADEN_LOANS, LOANS_OF_A_BORROWER = 20, 3


def _holdings(books: int) -> Filling:
    """Copies (the first ones of all books come first), loans and holds."""
    copies, patrons = books * COPIES_OF_A_BOOK, max(1, books // 20)
    # The first loans are one patron's, who has as many as are allowed; then come those who borrow.
    some = [FIRST_BORROWER + number % BORROWERS for number in range(LOANS_OF_A_BORROWER * BORROWERS)]
    borrowers = [LADEN] * LADEN_LOANS + some
    first = min(AT_THE_DESK, copies // 2) + 1
    lent = range(first, min(first + max(books // 20, len(borrowers)), copies + 1))
    yield models.Copy, (_copy(key, books, key in lent) for key in range(1, copies + 1))
    borrowers += [FIRST_PATRON + copy % patrons for copy in lent[len(borrowers) :]]
    out = {"branch_id": 1, "time_zone": "Europe/Berlin", "due_at": "2098-06-01 21:59:59.000000", "renewals": 0}
    out |= {"due_on": "2098-06-01", "due_steps": "[]", "fine_pauses": "[]", "checked_out_at": moment(OPENED)}
    pairs = zip(lent, borrowers, strict=False)
    yield models.Loan, _numbered(out | {"copy_id": copy, "patron_id": patron} for copy, patron in pairs)
    hold = {"pickup_branch_id": 1, "state": "queued", "sort_key": 1024, "placed_on": "2020-01-06"}
    hold["placed_at"] = moment(OPENED)
    wanted = range(books, books - max(1, books // 200), -1)
    yield models.Hold, _numbered(hold | {"patron_id": FIRST_PATRON + key % patrons, "book_id": key} for key in wanted)


def _copy(key: int, books: int, is_lent: bool) -> dict[str, Any]:
    branch = 1 if key <= AT_THE_DESK else 1 + key % BRANCHES
    return {
        "id": key,
        "barcode": barcode(key),
        "book_id": (key - 1) % books + 1,
        "home_branch_id": branch,
        "current_branch_id": branch,
        "item_type_id": 1,
        "place": "on_loan" if is_lent else "available",
        "shelf_mark": f"{key % 1000:03d} FAM",
        "price_cents": 1500 + key % 3000,
        "created_at": moment(OPENED + timedelta(minutes=key)),
    }
