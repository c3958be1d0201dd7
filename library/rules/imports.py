"""Taking books in: a batch of book records becomes books, each with one outcome, none twice."""

from collections.abc import Hashable, Iterable, Sequence
from datetime import datetime
from typing import Any, cast

from sqlalchemy import Table, delete, insert, select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from library.exchange import numbers
from library.exchange.records import BookRecord
from library.models import (
    Author,
    AuthorKind,
    Base,
    Book,
    BookSubject,
    Contribution,
    ContributorRole,
    Identifier,
    IdentifierScheme,
    MaterialType,
    OnDuplicate,
    Outcome,
    SourceRecord,
    Subject,
)
from library.rules import catalogue, duplicates, locks, words
from library.rules.errors import Refused
from library.rules.outcomes import Result, is_of_the_database

_COLUMNS = ("title", "subtitle", "publisher", "year", "year_text", "edition", "language", "pages", "series")

# What a single record may be refused with: by a constraint, by a rule, or because a value is none of the model's.
_REFUSALS = (DBAPIError, Refused, ValueError, OverflowError)
LONGEST_REFERENCE = 100
Numbered = tuple[int, BookRecord]


def import_batch(session: Session, batch: Sequence[Numbered], on_duplicate: OnDuplicate, now: datetime) -> list[Result]:
    """Take in a batch of (position, record) of at most 200, and say what became of each.

    A record that the database refuses costs that record only; a database that cannot work now is an error, whatever
    record it met. library/rules/duplicates.py says what a duplicate is.
    """
    locks.lock_catalogue(session)
    try:
        with session.begin_nested():
            return _import_all(session, batch, on_duplicate, now)
    except _REFUSALS as error:
        if is_of_the_database(error):
            raise
        return [_import_alone(session, numbered, on_duplicate, now) for numbered in batch]


def _import_alone(session: Session, numbered: Numbered, on_duplicate: OnDuplicate, now: datetime) -> Result:
    position, record = numbered
    try:
        with session.begin_nested():
            return _import_all(session, [numbered], on_duplicate, now)[0]
    except _REFUSALS as error:
        if is_of_the_database(error):
            raise
        return Result(position, Outcome.FAILED, _reference(record), "the database refused the record")


def _reference(record: BookRecord) -> str:
    """What a record calls itself: lines of a table seldom have a number."""
    return record.control_number or record.title[:LONGEST_REFERENCE]


def _import_all(session: Session, batch: Sequence[Numbered], on_duplicate: OnDuplicate, now: datetime) -> list[Result]:
    adding = on_duplicate is OnDuplicate.ADD
    known = {} if adding else duplicates.known_books(session, [record for _, record in batch])
    pending: dict[int, BookRecord] = {}
    coming: dict[Hashable, int] = {}
    # Position → book of what this very batch adds.
    books: dict[int, int] = {}
    found: list[tuple[Outcome, int | None, int | None]] = []
    for position, record in batch:
        keys = [] if adding else duplicates.keys_of(record)
        if on_duplicate is OnDuplicate.UPDATE and any(key in coming for key in keys):
            # Its double came in this very batch: that is a book now, to be updated like any other.
            books |= dict(zip(pending, _add(session, list(pending.values()), now), strict=True))
            known |= {key: books[at] for key, at in coming.items()}
            pending, coming = {}, {}
        double = next((known[key] for key in keys if key in known), None)
        earlier = next((coming[key] for key in keys if key in coming), None)
        # A third record may be known by a key that only this one has.
        if double is not None:
            known |= dict.fromkeys(keys, double)
        else:
            coming |= dict.fromkeys(keys, earlier or position)
        if double is not None and on_duplicate is OnDuplicate.UPDATE:
            outcome = Outcome.UPDATED
            _update(session, double, record, now)
        elif double is not None or earlier is not None:
            outcome = Outcome.SKIPPED
        else:
            outcome = Outcome.ADDED
            pending[position] = record
        found.append((outcome, earlier if double is None else None, double))
    books |= dict(zip(pending, _add(session, list(pending.values()), now), strict=True))
    return [
        Result(position, outcome, _reference(record), book_id=double or books[earlier or position])
        for (position, record), (outcome, earlier, double) in zip(batch, found, strict=True)
    ]


def _update(session: Session, book_id: int, record: BookRecord, now: datetime) -> None:
    """Write a record over a known book: what the record does not say is gone from the book too."""
    book = session.scalars(select(Book).where(Book.id == book_id).options(*catalogue.book_parts())).one()
    authors, subjects = _authors(session, [record]), _subjects(session, [record])
    contributors = [
        (session.get_one(Author, authors[row.name, row.dates]), ContributorRole(row.role))
        for row in record.contributors
    ]
    values = _columns(record) | {
        "contributors": contributors,
        "subjects": [session.get_one(Subject, subjects[name]) for name in record.subjects],
        "identifiers": [(IdentifierScheme(row.scheme), row.value) for row in record.identifiers],
    }
    catalogue.save_book(session, book, values, now)
    session.connection().execute(delete(SourceRecord).where(SourceRecord.book_id == book_id))
    _insert(session, SourceRecord, _sources([record], [book_id]))


def _columns(record: BookRecord) -> dict[str, Any]:
    if not record.title:
        raise ValueError("a book has a title")
    values: dict[str, Any] = {name: getattr(record, name) or None for name in _COLUMNS}
    values["material_type"] = MaterialType(record.material_type)
    values["description"] = record.description or None
    values["control_number"] = record.control_number or None
    return values


def _add(session: Session, records: Sequence[BookRecord], now: datetime) -> list[int]:
    """Insert new books and all that hangs on them, a statement a table; their keys in the same order."""
    if not records:
        return []
    authors, subjects = _authors(session, records), _subjects(session, records)
    rows = [
        _columns(record) | _derived(record) | {"version": 1, "created_at": now, "updated_at": now} for record in records
    ]
    ids = _insert_for_ids(session, Book, rows)
    pairs = list(zip(ids, records, strict=True))
    _insert(
        session,
        Contribution,
        [
            {"book_id": key, "author_id": authors[name, dates], "role": ContributorRole(role), "position": at}
            for key, record in pairs
            for at, (name, dates, role) in enumerate(
                dict.fromkeys((row.name, row.dates, row.role) for row in record.contributors), 1
            )
        ],
    )
    _insert(
        session,
        BookSubject,
        [
            {"book_id": key, "subject_id": subjects[name], "position": at}
            for key, record in pairs
            for at, name in enumerate(dict.fromkeys(record.subjects), 1)
        ],
    )
    _insert(
        session,
        Identifier,
        [
            {"book_id": key, "scheme": IdentifierScheme(scheme), "value": value, "position": at}
            for key, record in pairs
            for at, (scheme, value) in enumerate(dict.fromkeys((r.scheme, r.value) for r in record.identifiers), 1)
        ],
    )
    _insert(session, SourceRecord, _sources(records, ids))
    return ids


def _derived(record: BookRecord) -> dict[str, str]:
    return {
        "title_key": words.sort_key(record.title),
        "words": catalogue.indexed_words(
            (record.title, record.subtitle, record.series, record.publisher, record.year_text, str(record.year or "")),
            (row.name for row in record.contributors),
            record.subjects,
            (numbers.spellings(row.scheme, row.value) for row in record.identifiers),
        ),
    }


def _sources(records: Sequence[BookRecord], ids: Sequence[int]) -> list[dict[str, Any]]:
    return [
        {"book_id": key, "format": record.source_format, "content": record.source}
        for key, record in zip(ids, records, strict=True)
        if record.source
    ]


def _insert(session: Session, noun: type[Base], rows: Sequence[dict[str, Any]]) -> None:
    if rows:
        session.connection().execute(insert(cast(Table, noun.__table__)), rows)


def _insert_for_ids(session: Session, noun: type[Base], rows: Sequence[dict[str, Any]]) -> list[int]:
    """Insert rows and return their keys in the same order: on SQLite that takes a statement a row."""
    if not rows:
        return []
    table = cast(Table, noun.__table__)
    statement = insert(table).returning(table.c.id, sort_by_parameter_order=True)
    return list(session.connection().execute(statement, rows).scalars())


def _authors(session: Session, records: Iterable[BookRecord]) -> dict[tuple[str, str], int]:
    """(name, dates) → id of every person and body of the records; those not known yet are added."""
    wanted = {(row.name, row.dates): AuthorKind(row.kind) for record in records for row in record.contributors}
    if not wanted:
        return {}
    names = {name for name, _ in wanted}
    rows = session.execute(select(Author.name, Author.dates, Author.id).where(Author.name.in_(names)))
    found = {(name, dates): key for name, dates, key in rows}
    new = [heading for heading in wanted if heading not in found]
    ids = _insert_for_ids(
        session,
        Author,
        [
            {"name": n, "name_key": words.sort_key(n, 500), "dates": d, "kind": wanted[n, d], "version": 1}
            for n, d in new
        ],
    )
    return found | dict(zip(new, ids, strict=True))


def _subjects(session: Session, records: Iterable[BookRecord]) -> dict[str, int]:
    """Heading → id of every subject of the records; those not known yet are added."""
    wanted = dict.fromkeys(name for record in records for name in record.subjects)
    rows = session.execute(select(Subject.name, Subject.id).where(Subject.name.in_(wanted)))
    found = {row.name: row.id for row in rows}
    new = [name for name in wanted if name not in found]
    ids = _insert_for_ids(
        session, Subject, [{"name": name, "name_key": words.sort_key(name, 500), "version": 1} for name in new]
    )
    return found | dict(zip(new, ids, strict=True))
