"""Books given out: rows as neutral records, with the records they came from, and the whole catalogue in small steps."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from sqlalchemy import Select, String, select, type_coerce
from sqlalchemy.orm import Session

from library.exchange.records import BookRecord, ContributorRecord, IdentifierRecord
from library.models import Author, Book, BookSubject, Contribution, Identifier, SourceRecord, Subject
from library.rules import bulk, forms

AT_ONCE = 200
_TEXTS = ("title", "subtitle", "publisher", "year_text", "edition", "language", "series", "description")
_NO_SOURCE = ("", b"")

Part = TypeVar("Part")


def _plain(column: Any) -> Any:
    """A column of an enumeration as the text that it holds."""
    return type_coerce(column, String)


# What the records of several books are made of, each in one statement.
_BOOKS = select(
    *(getattr(Book, name) for name in (*_TEXTS, "id", "year", "pages", "control_number", "created_at", "updated_at")),
    _plain(Book.material_type).label("material_type"),
).order_by(Book.id)
_CONTRIBUTORS = (
    select(Contribution.book_id, Author.name, _plain(Contribution.role), _plain(Author.kind), Author.dates)
    .join(Author, Author.id == Contribution.author_id)
    .order_by(Contribution.book_id, Contribution.position)
)
_SUBJECTS = (
    select(BookSubject.book_id, Subject.name)
    .join(Subject, Subject.id == BookSubject.subject_id)
    .order_by(BookSubject.book_id, BookSubject.position)
)
_IDENTIFIERS = select(Identifier.book_id, _plain(Identifier.scheme), Identifier.value).order_by(
    Identifier.book_id, Identifier.position
)
_SOURCES = select(SourceRecord.book_id, SourceRecord.format, SourceRecord.content)


def next_keys(session: Session, statement: Select[Any], after: int) -> Sequence[int]:
    """The next keys of a statement over books behind a key, in their order; empty at the end."""
    keys = statement.with_only_columns(Book.id, maintain_column_froms=True)
    some = keys.order_by(None).where(Book.id > after).order_by(Book.id).limit(AT_ONCE)
    return session.scalars(some, forms.values_of(statement)).all()


def records_of(session: Session, keys: Sequence[int]) -> list[BookRecord]:
    """Books as records, in the order of their keys; the same number of statements for any number of books."""
    contributors = _by_book(session, _CONTRIBUTORS, Contribution.book_id, keys, ContributorRecord)
    subjects = _by_book(session, _SUBJECTS, BookSubject.book_id, keys, str)
    identifiers = _by_book(session, _IDENTIFIERS, Identifier.book_id, keys, IdentifierRecord)
    sources = _sources(session, keys)
    return [
        _record(book, book.material_type, contributors[book.id], subjects[book.id], identifiers[book.id], sources)
        for book in session.execute(_BOOKS.where(bulk.is_among(session, Book.id, keys)))
    ]


def records_of_loaded(session: Session, books: Sequence[Book]) -> list[BookRecord]:
    """The same of books that are loaded with their parts, in the order they come in."""
    sources = _sources(session, [book.id for book in books])
    return [
        _record(
            book,
            book.material_type.value,
            [
                ContributorRecord(link.author.name, link.role.value, link.author.kind.value, link.author.dates)
                for link in book.contributions
            ],
            [link.subject.name for link in book.subject_links],
            [IdentifierRecord(row.scheme.value, row.value) for row in book.identifiers],
            sources,
        )
        for book in books
    ]


def _by_book(
    session: Session, statement: Any, key: Any, keys: Sequence[int], made: Callable[..., Part]
) -> defaultdict[int, list[Part]]:
    found: defaultdict[int, list[Part]] = defaultdict(list)
    for book_id, *values in session.execute(statement.where(bulk.is_among(session, key, keys))):
        found[book_id].append(made(*values))
    return found


def _sources(session: Session, keys: Sequence[int]) -> dict[int, tuple[str, bytes]]:
    rows = session.execute(_SOURCES.where(bulk.is_among(session, SourceRecord.book_id, keys)))
    return {key: (form, content) for key, form, content in rows}


def _record(
    book: Any,
    material_type: str,
    contributors: list[ContributorRecord],
    subjects: list[str],
    identifiers: list[IdentifierRecord],
    sources: Mapping[int, tuple[str, bytes]],
) -> BookRecord:
    source_format, source = sources.get(book.id, _NO_SOURCE)
    return BookRecord(
        **{name: getattr(book, name) or "" for name in _TEXTS},
        material_type=material_type,
        contributors=contributors,
        year=book.year,
        pages=book.pages,
        subjects=subjects,
        identifiers=identifiers,
        control_number=book.control_number or "",
        source_format=source_format,
        source=source,
        book_id=book.id,
        created_at=book.created_at,
        updated_at=book.updated_at,
    )
