"""The data: books, people, copies and loans that anybody gets alike, written in bulk into our own tables.

What a rule would work out (the words of a book, what its title sorts under) is worked out by that rule; the rows go
into the tables that the migrations made, past the ORM, and through their triggers and constraints.
"""

import json
import random
from bisect import bisect
from collections.abc import Iterable, Iterator
from datetime import UTC, date, datetime, timedelta
from itertools import accumulate, islice
from typing import Any, cast

import flask_migrate
from flask import Flask
from sqlalchemy import Connection, Engine, Table, create_engine, text

from library import create_app, models
from library.exchange import numbers
from library.extensions import db
from library.rules import catalogue, words

SEED = 1876
SECRET = "7c1e0b52d4f94a6c8b3f9a2d61e875f0"
# Each of at most so many words stands in the titles of so many books, however many books there are.
RARE_WORDS, HITS = 500, 100
# In every tenth title.
COMMON_WORD = "harbour"
COPIES_OF_A_BOOK, BRANCHES = 2, 3
READERS, DESKS, BORROWERS = 500, 32, 96
BATCH = 5000
OPENED = datetime(2020, 1, 6, 9, 0, 0, 1, UTC)
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
    catalogue_of = Catalogue(books)
    yield from house()
    yield models.Author, (_heading(key, name, dates="1900-1980") for key, name in enumerate(catalogue_of.authors, 1))
    yield models.Subject, (_heading(key, name) for key, name in enumerate(catalogue_of.subjects, 1))
    records = catalogue_of.records()
    while batch := list(islice(records, BATCH)):
        for at, table in enumerate((models.Book, models.Contribution, models.BookSubject, models.Identifier)):
            yield table, (row for record in batch for row in record[at])
    yield from people(books // 20)
    yield from _holdings(books)


def vocabulary(size: int = 5000) -> list[str]:
    """Words that nobody has read before, the same every time."""
    chance = random.Random(SEED)
    onsets = ["b", "br", "d", "f", "g", "gr", "k", "l", "m", "n", "p", "pl", "r", "s", "st", "t", "tr", "v"]
    found: dict[str, None] = {}
    while len(found) < size:
        syllables = (
            chance.choice(onsets) + chance.choice("aeiou") + chance.choice(["", "n", "r", "s", "l"])
            for _ in range(chance.randint(2, 3))
        )
        found["".join(syllables)] = None
    return list(found)


def rare_words(books: int) -> list[str]:
    """The words that stand in a hundred titles each of so many books; no other word begins so."""
    many = min(RARE_WORDS, max(1, books // HITS))
    return [f"q{chr(97 + number // 25)}x{chr(97 + number % 25)}z" for number in range(many)]


def _heading(number: int, name: str, **more: Any) -> dict[str, Any]:
    return {"id": number, "name": name, "name_key": words.sort_key(name, length=500), **more}


def _links(book_id: int, keys: Iterable[int]) -> Iterator[tuple[int, dict[str, Any]]]:
    """What links a book to each of at most three others, in their order."""
    for position, key in enumerate(keys, 1):
        yield key, {"id": book_id * 3 + position, "book_id": book_id, "position": position}


# As the rule has them (library/rules/catalogue.py), before the year.
INDEXED = ("title", "subtitle", "series", "publisher", "year_text")


class Catalogue:
    """The books: each is drawn by a chance of its own number, so that any of them can be made alone."""

    def __init__(self, books: int) -> None:
        self.books, self.vocabulary, self.rare = books, vocabulary(), rare_words(books)
        self.authors = self._names("{}, {} {}.", max(50, books // 4))
        self.subjects = self._names("{} -- {} {}", min(20_000, max(50, books // 20)))
        # As in any language, few words are common and many are rare.
        self.weights = list(accumulate(1 / rank for rank in range(5, len(self.vocabulary) + 5)))

    def _names(self, form: str, many: int) -> list[str]:
        """Two words and a number, which tells namesakes apart."""
        chance = random.Random(SEED)
        pairs = ((word.capitalize() for word in chance.sample(self.vocabulary, 2)) for _ in range(many))
        return [form.format(*pair, number) for number, pair in enumerate(pairs, 1)]

    def records(self) -> Iterator[tuple[list[dict[str, Any]], ...]]:
        """The rows of each book: its own, its contributions, its subjects and its identifiers."""
        for number in range(1, self.books + 1):
            chance = random.Random(SEED * number)
            book, isbn = self.book(number, chance), _isbn(number)
            by = dict.fromkeys(chance.randrange(len(self.authors)) for _ in range(chance.choice((1, 1, 1, 2, 3))))
            about = dict.fromkeys(chance.randrange(len(self.subjects)) for _ in range(chance.choice((1, 2, 2, 3))))
            book["title_key"] = words.sort_key(book["title"])
            book["words"] = catalogue.indexed_words(
                (*(book[name] for name in INDEXED), str(book["year"])),
                (self.authors[key] for key in by),
                (self.subjects[key] for key in about),
                (numbers.spellings("isbn", isbn),),
            )
            yield (
                [book],
                [link | {"author_id": key + 1, "role": "author"} for key, link in _links(number, by)],
                [link | {"subject_id": key + 1} for key, link in _links(number, about)],
                [{"id": number, "book_id": number, "scheme": "isbn", "value": isbn, "position": 1}],
            )

    def book(self, number: int, chance: random.Random) -> dict[str, Any]:
        """The book of that number, without its words."""
        year, made = chance.randint(1900, 2025), _moment(OPENED + timedelta(seconds=number * 60))
        return {
            "id": number,
            "material_type": "book",
            "title": self._title(number, chance).capitalize(),
            "subtitle": self._words(chance, 4) if number % 5 < 2 else None,
            "publisher": f"{self.vocabulary[chance.randrange(500)].capitalize()} Press",
            "year": year,
            "year_text": f"c{year}",
            "edition": "2nd ed." if number % 7 == 0 else None,
            "language": chance.choice(("eng", "eng", "eng", "ger", "fre", "spa")),
            "pages": chance.randint(40, 900),
            "series": f"{self._words(chance, 2)} ; {chance.randint(1, 90)}" if number % 6 == 0 else None,
            "description": self._words(chance, 25) if number % 3 == 0 else None,
            "control_number": f"b{number:08d}",
            "created_at": made,
            "updated_at": made,
        }

    def _title(self, number: int, chance: random.Random) -> str:
        title = self._words(chance, chance.randint(3, 7)).split()
        at = number % max(1, self.books // HITS)
        if at < len(self.rare):
            # Never the first word: a title that begins so would stand before the others.
            title.insert(2, self.rare[at])
        if number % 10 == 0:
            title.insert(1, COMMON_WORD)
        return " ".join(title)

    def _words(self, chance: random.Random, count: int) -> str:
        total, weights = self.weights[-1], self.weights
        return " ".join(self.vocabulary[bisect(weights, chance.random() * total)] for _ in range(count))


def _isbn(number: int) -> str:
    digits = f"978{number:09d}"
    total = sum(int(digit) * (3 if at % 2 else 1) for at, digit in enumerate(digits))
    return f"{digits}{-total % 10}"


def _moment(moment: datetime) -> str:
    """A moment of UTC, as both databases read it; never a whole second, so that all peers write six digits."""
    return f"{moment:%Y-%m-%d %H:%M:%S}.{moment.microsecond or 1:06d}"


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
    opened = {"refresh_jti": "", "started_at": _moment(OPENED), "rotated_at": _moment(OPENED), "client": "bench"}
    opened["expires_at"] = "2099-01-01 00:00:00.000001"
    yield models.UserSession, _numbered(opened | {"user_id": key} for key in range(1, FIRST_BORROWER))
    block = {"user_id": BLOCKED, "scope": "all", "reason": "Owes a book.", "created_at": _moment(OPENED)}
    yield models.PatronBlock, _numbered([block])
    # A little debt, and one above what is allowed.
    owed = dict.fromkeys(range(FIRST_BORROWER, FIRST_BORROWER + BORROWERS, 2), 120) | {INDEBTED: 5000}
    charge = {"kind": "charge", "reason": "manual", "made_at": _moment(OPENED)}
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
        "created_at": _moment(OPENED + timedelta(minutes=key)),
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
    out |= {"due_on": "2098-06-01", "due_steps": "[]", "fine_pauses": "[]", "checked_out_at": _moment(OPENED)}
    pairs = zip(lent, borrowers, strict=False)
    yield models.Loan, _numbered(out | {"copy_id": copy, "patron_id": patron} for copy, patron in pairs)
    hold = {"pickup_branch_id": 1, "state": "queued", "sort_key": 1024, "placed_on": "2020-01-06"}
    hold["placed_at"] = _moment(OPENED)
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
        "created_at": _moment(OPENED + timedelta(minutes=key)),
    }
