"""The catalogue: how books are written, indexed and found."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from functools import lru_cache
from itertools import chain
from typing import Any

from sqlalchemy import (
    Select,
    bindparam,
    case,
    cast,
    column,
    false,
    func,
    literal_column,
    select,
    table,
    union_all,
    update,
)
from sqlalchemy.dialects.postgresql import TSQUERY
from sqlalchemy.orm import Session, raiseload, selectinload

from library.exchange import numbers
from library.models import (
    Author,
    Book,
    BookSubject,
    Contribution,
    ContributorRole,
    Copy,
    CopyCondition,
    CopyPlace,
    Identifier,
    IdentifierScheme,
    ItemType,
    Subject,
)
from library.rules import changes, forms, words
from library.rules.errors import refuses

BOOK_SORTS = {"title": Book.title_key, "year": Book.year, "created_at": Book.created_at, "updated_at": Book.updated_at}
AUTHOR_SORTS = {"name": Author.name_key}
SUBJECT_SORTS = {"name": Subject.name_key}

_search = table("book_search", column("rowid"), column("rank"))
REINDEX_AT_ONCE = 500
# Of a search with more hits only so many are ranked.
MOST_RANKED = 1000
# Written into the statement: PostgreSQL plans by what it knows.
_MOST_HITS: Any = literal_column(str(MOST_RANKED + 1))
_NONE: Any = literal_column("0")
# Behind every text that begins with another stands that other with this sign.
_HIGHEST = "\U0010ffff"


def normal_identifier(scheme: IdentifierScheme, value: str) -> str:
    """An identifier as it is kept and compared, the same whether it comes from a form or from a file.

    What is no number of its scheme only loses its blanks.
    """
    return numbers.normal(scheme.value, value) or "".join(value.split())


@refuses(changes.AlreadyExists)
def save_book(session: Session, book: Book, values: Mapping[str, Any], now: datetime) -> Book:
    """Write a book, new or known. `values` may hold, beside columns, the whole lists that are to stand afterwards:
    `contributors` [(Author, ContributorRole)], `subjects` [Subject], `identifiers` [(IdentifierScheme, str)].
    """
    values = dict(values)
    if book.id is not None and not values:
        # Nothing changes, and nobody's tag becomes stale.
        return book
    book.updated_at = now
    if book.id is None:
        book.created_at = now
    contributors, subjects, identifiers = (values.pop(n, None) for n in ("contributors", "subjects", "identifiers"))
    for name, value in values.items():
        setattr(book, name, value)
    with session.no_autoflush:
        if contributors is not None:
            _set_contributors(book, contributors)
        if subjects is not None:
            _set_subjects(book, subjects)
        if identifiers is not None:
            _set_identifiers(book, identifiers)
        book.title_key = words.sort_key(book.title)
        book.words = book_words(book)
    changes.save(session, book, {})
    return book


def _set_contributors(book: Book, wanted: Iterable[tuple[Author, ContributorRole]]) -> None:
    known = {(link.author.id, link.role): link for link in book.contributions}
    once = {(author.id, role): author for author, role in wanted}
    links = [known.get(key) or Contribution(author=author, role=key[1]) for key, author in once.items()]
    for position, link in enumerate(links, 1):
        link.position = position
    book.contributions = links


def _set_subjects(book: Book, wanted: Iterable[Subject]) -> None:
    known = {link.subject.id: link for link in book.subject_links}
    once = {subject.id: subject for subject in wanted}
    links = [known.get(key) or BookSubject(subject=subject) for key, subject in once.items()]
    for position, link in enumerate(links, 1):
        link.position = position
    book.subject_links = links


def _set_identifiers(book: Book, wanted: Iterable[tuple[IdentifierScheme, str]]) -> None:
    known = {(row.scheme, row.value): row for row in book.identifiers}
    keys = [(scheme, normal_identifier(scheme, value)) for scheme, value in wanted]
    rows = [known.get(key) or Identifier(scheme=key[0], value=key[1]) for key in dict.fromkeys(keys)]
    for position, row in enumerate(rows, 1):
        row.position = position
    book.identifiers = rows


def book_words(book: Book) -> str:
    """All words under which a book is found."""
    return indexed_words(
        (book.title, book.subtitle, book.series, book.publisher, book.year_text, str(book.year or "")),
        (link.author.name for link in book.contributions),
        (link.subject.name for link in book.subject_links),
        (numbers.spellings(row.scheme.value, row.value) for row in book.identifiers),
    )


def indexed_words(texts: Iterable[str | None], *more: Iterable[str]) -> str:
    """The words of a book's own texts, its contributors, subjects and identifiers, in that order."""
    return words.index_words(chain(texts, *more))


def find_books(session: Session, q: str | None = None, **filters: Any) -> Select[Any]:
    """Books by full text and filters; pages are ranked by relevance where there is a text to look for.

    `q` is whatever a reader typed: all its words must occur, the last may be the beginning of one.
    """
    filters = {name: _TOLD.get(name, _as_it_is)(value) for name, value in filters.items()}
    names = tuple(name if filters[name] is not False else f"not_{name}" for name in filters)
    if q is None or not q.strip():
        return forms.with_values(_books_by(names), filters)
    wanted = words.query_words(q)
    if not wanted:
        return select(Book).options(*book_parts()).where(false())
    on_sqlite = session.get_bind().dialect.name == "sqlite"
    return forms.with_values(_books_with(names, len(wanted), on_sqlite), filters | _looked_for(wanted, on_sqlite))


@lru_cache(maxsize=forms.MOST)
def _books_by(names: tuple[str, ...]) -> Select[Any]:
    """The form of the books that so called filters narrow."""
    conditions = (_BOOK_FILTERS[name](bindparam(name)) for name in names)
    return select(Book).options(*book_parts()).where(*conditions)


@lru_cache(maxsize=forms.MOST)
def _books_with(names: tuple[str, ...], count: int, on_sqlite: bool) -> Select[Any]:
    """The same for those that hold so many words."""
    narrowed = _books_by(names)
    if on_sqlite:
        matches = literal_column("book_search").op("MATCH")(bindparam("hits"))
        # A walk by key goes along the index of words itself.
        found = narrowed.join(_search, _search.c.rowid == Book.id).where(matches)
        found = found.execution_options(walked_by=_search.c.rowid)
    else:
        found = narrowed.where(search_vector().op("@@")(cast(bindparam("hits"), TSQUERY)))
    return found.execution_options(ranking=_ranking(narrowed, found, count))


def _ranking(narrowed: Select[Any], found: Select[Any], count: int) -> forms.Ranking:
    """Of very many hits those are candidates that the index gives first, the oldest records, and all titles that begin
    with the words. They are not asked for in order: PostgreSQL would then look at every record instead of the index.
    """
    columns = (Book.id, Book.title_key, Book.words)
    hits = found.with_only_columns(*columns, maintain_column_froms=True).limit(_MOST_HITS).cte("hits")
    number = select(func.count()).select_from(hits).scalar_subquery()
    begins = Book.title_key.between(bindparam("title"), bindparam("title_end"))
    further: Any = narrowed.where(number > MOST_RANKED, begins, Book.id.not_in(select(hits.c.id)))
    further = further.with_only_columns(*columns).order_by(Book.title_key, Book.id).limit(_MOST_HITS)
    candidates = union_all(select(hits), select(further.subquery())).subquery("candidates")
    order = (_closeness(candidates, count), _last_is_a_beginning(candidates), candidates.c.id)
    return forms.Ranking(select(candidates.c.id).order_by(*order), number, MOST_RANKED)


def _looked_for(wanted: list[str], on_sqlite: bool) -> dict[str, str]:
    """The values that a form asks for so that books with these words are found and ranked."""
    text = " ".join(wanted)
    match = " ".join(f'"{word}"' for word in wanted) + "*"
    query = " & ".join(f"'{word}'" for word in wanted) + ":*"
    ranked = {"title": text, "title_end": text + _HIGHEST, "whole": f" {wanted[-1]} "}
    return {"hits": match if on_sqlite else query, **ranked, **words.beginnings(wanted)}


def book_parts() -> tuple[Any, ...]:
    """What a book is shown with, loaded in a fixed number of statements; anything else would be a surprise."""
    return (
        selectinload(Book.contributions).joinedload(Contribution.author),
        selectinload(Book.subject_links).joinedload(BookSubject.subject),
        selectinload(Book.identifiers),
        raiseload("*"),
    )


def search_vector() -> Any:
    """The indexed words as PostgreSQL's tsvector, exactly the expression of its index."""
    return func.words_vector(Book.words)


def _closeness(found: Any, count: int) -> Any:
    """The title itself before titles that begin so, before titles that hold the words, before contributors that hold
    them, before subjects, before the rest. The dear questions come last: most rows are placed before them."""
    title = found.c.title_key
    # With an offset PostgreSQL asks for each candidate, and does not look through all headings once for all.
    by = select(Contribution.id).join(Contribution.author).where(Contribution.book_id == found.c.id).offset(_NONE)
    about = select(BookSubject.id).join(BookSubject.subject).where(BookSubject.book_id == found.c.id).offset(_NONE)
    return case(
        (title == bindparam("title"), 0),
        (title.startswith(bindparam("title")), 1),
        (words.holds_so_many(title, count), 2),
        (by.where(words.holds_so_many(Author.name_key, count)).exists(), 3),
        (about.where(words.holds_so_many(Subject.name_key, count)).exists(), 4),
        else_=5,
    )


def _last_is_a_beginning(found: Any) -> Any:
    """Among equally close books, those that have the last word whole stand before those that only begin with it."""
    return case(((" " + found.c.words + " ").contains(bindparam("whole")), 0), else_=1)


def _is_available(_: Any) -> Any:
    stays_in_house = Copy.not_for_loan | Copy.item_type.has(ItemType.not_for_loan)
    return Book.copies.any(
        (Copy.place == CopyPlace.AVAILABLE) & (Copy.condition == CopyCondition.USABLE) & ~stays_in_house
    )


# By name, or by not_ and the name where what is asked for is that it is not so.
_BOOK_FILTERS = {
    "ids": lambda ids: Book.id.in_(ids),
    "author_id": lambda key: Book.contributions.any(Contribution.author_id == key),
    "subject_id": lambda key: Book.subject_links.any(BookSubject.subject_id == key),
    "isbn": lambda value: Book.identifiers.any(
        (Identifier.scheme == IdentifierScheme.ISBN) & (Identifier.value == value)
    ),
    "language": lambda code: Book.language == code,
    "material_type": lambda kind: Book.material_type == kind,
    "year_min": lambda year: Book.year >= year,
    "year_max": lambda year: Book.year <= year,
    "available": _is_available,
    "not_available": lambda value: ~_is_available(value),
    "control_number": lambda value: Book.control_number == value,
}
# What is asked for in another form than it is kept in.
_TOLD = {"isbn": lambda value: normal_identifier(IdentifierScheme.ISBN, value)}


def _as_it_is(value: Any) -> Any:
    return value


def find_headings(noun: type[Author] | type[Subject], q: str | None = None) -> Select[Any]:
    """Authors or subjects; `q` finds headings that hold its words, without regard to case and accents."""
    wanted = words.query_words(q or "")
    return forms.with_values(_headings_with(noun, len(wanted)), words.beginnings(wanted))


@lru_cache(maxsize=forms.MOST)
def _headings_with(noun: type[Author] | type[Subject], count: int) -> Select[Any]:
    return select(noun).where(words.holds_so_many(noun.name_key, count)) if count else select(noun)


@refuses(changes.AlreadyExists)
def save_heading(session: Session, heading: Author | Subject, values: Mapping[str, Any]) -> None:
    """Write an author or a subject; books under a changed heading are found by the new one at once."""
    known = heading.id is not None
    if "name" in values:
        heading.name_key = words.sort_key(values["name"], length=500)
    changes.save(session, heading, values)
    if known:
        _reindex(session, heading)


def _reindex(session: Session, heading: Author | Subject) -> None:
    link = Book.contributions if isinstance(heading, Author) else Book.subject_links
    key = Contribution.author_id if isinstance(heading, Author) else BookSubject.subject_id
    ids = session.scalars(select(Book.id).where(link.any(key == heading.id)).order_by(Book.id)).all()
    for start in range(0, len(ids), REINDEX_AT_ONCE):
        some = select(Book).where(Book.id.in_(ids[start : start + REINDEX_AT_ONCE])).options(*book_parts())
        # The words are no part of the record that readers see: its version stays.
        rows = [{"id": book.id, "words": book_words(book)} for book in session.scalars(some)]
        for row in rows:
            session.connection().execute(update(Book).where(Book.id == row["id"]).values(words=row["words"]))
