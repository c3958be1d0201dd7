"""Books given out: rows as neutral records, with the records they came from, and the whole catalogue in small steps."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Select, select
from sqlalchemy.orm import Session

from library.exchange.records import BookRecord, ContributorRecord, IdentifierRecord
from library.models import Book, SourceRecord

AT_ONCE = 200
_TEXTS = ("title", "subtitle", "publisher", "year_text", "edition", "language", "series", "description")


def records_of(session: Session, books: Sequence[Book]) -> list[BookRecord]:
    """Books as records, in their order; one statement for what they came from, however many there are."""
    sources = {
        row.book_id: row
        for row in session.execute(
            select(SourceRecord.book_id, SourceRecord.format, SourceRecord.content).where(
                SourceRecord.book_id.in_([book.id for book in books])
            )
        )
    }
    return [_record(book, sources.get(book.id)) for book in books]


def _record(book: Book, source: Any) -> BookRecord:
    return BookRecord(
        **{name: getattr(book, name) or "" for name in _TEXTS},
        material_type=book.material_type.value,
        contributors=[
            ContributorRecord(link.author.name, link.role.value, link.author.kind.value, link.author.dates)
            for link in book.contributions
        ],
        year=book.year,
        pages=book.pages,
        subjects=[link.subject.name for link in book.subject_links],
        identifiers=[IdentifierRecord(row.scheme.value, row.value) for row in book.identifiers],
        control_number=book.control_number or "",
        source_format=source.format if source else "",
        source=source.content if source else b"",
        book_id=book.id,
        created_at=book.created_at,
        updated_at=book.updated_at,
    )


def next_books(session: Session, statement: Select[Any], after: int) -> Sequence[Book]:
    """The next books of a statement behind a key, in the order of their keys; empty at the end."""
    some = statement.order_by(None).where(Book.id > after).order_by(Book.id).limit(AT_ONCE)
    return session.scalars(some).all()
