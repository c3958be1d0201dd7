"""Taking books in: a batch of book records becomes books, each with one outcome, none twice."""

from collections.abc import Hashable, Iterable, Sequence
from datetime import datetime
from operator import attrgetter
from typing import Any

from sqlalchemy import delete, select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from library.exchange import numbers
from library.exchange.records import BookRecord
from library.models import (
    Author,
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
from library.rules import bulk, catalogue, duplicates, locks, words
from library.rules.errors import Refused
from library.rules.outcomes import Result, is_of_the_database

_COLUMNS = (
    "title", "subtitle", "publisher", "year", "year_text", "edition", "language", "pages", "series", "description",
    "control_number",
)  # fmt: skip
_texts = attrgetter(*_COLUMNS)

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
    bulk.plan_afresh(session)
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
    _keep_sources(session, [(book_id, record)])


def _columns(record: BookRecord) -> dict[str, Any]:
    if not record.title:
        raise ValueError("a book has a title")
    values: dict[str, Any] = {name: value or None for name, value in zip(_COLUMNS, _texts(record), strict=True)}
    values["material_type"] = MaterialType(record.material_type)
    return values


def _add(session: Session, records: Sequence[BookRecord], now: datetime) -> Sequence[int]:
    """Insert new books and all that hangs on them, a statement a table; their keys in the same order."""
    if not records:
        return []
    if not all(record.title for record in records):
        raise ValueError("a book has a title")
    authors, subjects = _authors(session, records), _subjects(session, records)
    ids = bulk.new_keys(session, Book, len(records))
    moment = bulk.as_bound(session, Book.created_at, now)
    pairs = list(zip(ids, records, strict=True))
    bulk.insert_rows(
        session,
        Book,
        ("id", "version", "created_at", "updated_at", "material_type", "title_key", "words", *_COLUMNS),
        [
            (
                key,
                1,
                moment,
                moment,
                record.material_type,
                *_derived(record),
                *(value or None for value in _texts(record)),
            )
            for key, record in pairs
        ],
        indexed=True,
    )
    bulk.insert_rows(
        session,
        Contribution,
        ("book_id", "author_id", "role", "position"),
        [
            (key, authors[name, dates], role, at)
            for key, record in pairs
            for at, (name, dates, role) in enumerate(
                dict.fromkeys((row.name, row.dates, row.role) for row in record.contributors), 1
            )
        ],
    )
    bulk.insert_rows(
        session,
        BookSubject,
        ("book_id", "subject_id", "position"),
        [
            (key, subjects[name], at)
            for key, record in pairs
            for at, name in enumerate(dict.fromkeys(record.subjects), 1)
        ],
    )
    bulk.insert_rows(
        session,
        Identifier,
        ("book_id", "scheme", "value", "position"),
        [
            (key, scheme, value, at)
            for key, record in pairs
            for at, (scheme, value) in enumerate(dict.fromkeys((r.scheme, r.value) for r in record.identifiers), 1)
        ],
    )
    _keep_sources(session, pairs)
    return ids


def _derived(record: BookRecord) -> tuple[str, str]:
    """What a title sorts under, and all words under which a book is found."""
    return words.sort_key(record.title), catalogue.indexed_words(
        (record.title, record.subtitle, record.series, record.publisher, record.year_text, str(record.year or "")),
        (row.name for row in record.contributors),
        record.subjects,
        (numbers.spellings(row.scheme, row.value) for row in record.identifiers),
    )


def _keep_sources(session: Session, pairs: Iterable[tuple[int, BookRecord]]) -> None:
    sources = [(key, record.source_format, record.source) for key, record in pairs if record.source]
    bulk.insert_rows(session, SourceRecord, ("book_id", "format", "content"), sources)


def _authors(session: Session, records: Iterable[BookRecord]) -> dict[tuple[str, str], int]:
    """(name, dates) → id of every person and body of the records; those not known yet are added."""
    wanted = {(row.name, row.dates): row.kind for record in records for row in record.contributors}
    if not wanted:
        return {}
    names = {name for name, _ in wanted}
    rows = session.execute(
        select(Author.name, Author.dates, Author.id).where(bulk.is_among(session, Author.name, names))
    )
    found = {(name, dates): key for name, dates, key in rows}
    new = [heading for heading in wanted if heading not in found]
    ids = bulk.new_keys(session, Author, len(new))
    bulk.insert_rows(
        session,
        Author,
        ("id", "version", "name", "name_key", "dates", "kind"),
        [(key, 1, one[0], words.sort_key(one[0], 500), one[1], wanted[one]) for key, one in zip(ids, new, strict=True)],
    )
    return found | dict(zip(new, ids, strict=True))


def _subjects(session: Session, records: Iterable[BookRecord]) -> dict[str, int]:
    """Heading → id of every subject of the records; those not known yet are added."""
    wanted = dict.fromkeys(name for record in records for name in record.subjects)
    if not wanted:
        return {}
    rows = session.execute(select(Subject.name, Subject.id).where(bulk.is_among(session, Subject.name, wanted)))
    found = {row.name: row.id for row in rows}
    new = [name for name in wanted if name not in found]
    ids = bulk.new_keys(session, Subject, len(new))
    bulk.insert_rows(
        session,
        Subject,
        ("id", "version", "name", "name_key"),
        [(key, 1, name, words.sort_key(name, 500)) for key, name in zip(ids, new, strict=True)],
    )
    return found | dict(zip(new, ids, strict=True))
