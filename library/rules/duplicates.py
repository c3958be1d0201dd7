"""By what a record is known again: what makes a record that comes in the same as a book of the catalogue."""

from collections.abc import Collection, Hashable, Sequence

from sqlalchemy import select, tuple_
from sqlalchemy.orm import Session

from library.exchange.records import BookRecord
from library.models import Author, Book, Contribution, Identifier
from library.rules import bulk, words


def keys_of(record: BookRecord) -> list[Hashable]:
    """The keys of a record, of which one in common makes a duplicate.

    The control number; for a record without one each identifier together with the title; for a record without any
    number title, subtitle, first contributor and year together.
    """
    if record.control_number:
        return [record.control_number]
    title = words.sort_key(record.title)
    if record.identifiers:
        return [(title, row.scheme, row.value) for row in record.identifiers]
    first = record.contributors[0].name if record.contributors else ""
    return [(title, record.subtitle, first, record.year)]


def known_books(session: Session, records: Sequence[BookRecord]) -> dict[Hashable, int]:
    """Key → book, for every book of the catalogue that one of the records may be."""
    numbered = {record.control_number for record in records if record.control_number}
    others = [record for record in records if not record.control_number]
    identifiers = {(row.scheme, row.value) for record in others for row in record.identifiers}
    titles = {words.sort_key(record.title) for record in others if not record.identifiers}
    return {
        **_by_control_number(session, numbered),
        **_by_identifier(session, identifiers),
        **_by_title(session, titles),
    }


def _by_control_number(session: Session, numbers: Collection[str]) -> dict[Hashable, int]:
    if not numbers:
        return {}
    wanted = select(Book.control_number, Book.id).where(bulk.is_among(session, Book.control_number, numbers))
    return {row.control_number: row.id for row in session.execute(wanted)}


def _by_identifier(session: Session, identifiers: Collection[tuple[str, str]]) -> dict[Hashable, int]:
    if not identifiers:
        return {}
    wanted = (
        select(Book.title_key, Identifier.scheme, Identifier.value, Book.id)
        .join(Identifier, Identifier.book_id == Book.id)
        .where(tuple_(Identifier.scheme, Identifier.value).in_(identifiers))
    )
    return {(row.title_key, row.scheme.value, row.value): row.id for row in session.execute(wanted)}


def _by_title(session: Session, titles: Collection[str]) -> dict[Hashable, int]:
    if not titles:
        return {}
    first = (Contribution.book_id == Book.id) & (Contribution.position == 1)
    wanted = (
        select(Book.title_key, Book.subtitle, Author.name, Book.year, Book.id)
        .outerjoin(Contribution, first)
        .outerjoin(Author, Author.id == Contribution.author_id)
        .where(bulk.is_among(session, Book.title_key, titles), Book.control_number.is_(None))
    )
    return {(row.title_key, row.subtitle or "", row.name or "", row.year): row.id for row in session.execute(wanted)}
