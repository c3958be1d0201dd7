"""Facets: how the books that a search finds divide by kind, language, decade, author and subject."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import CTE, Select, String, cast, distinct, func, literal, select, union_all
from sqlalchemy.orm import Session

from library.models import Author, Book, BookSubject, Contribution, Subject
from library.rules import catalogue, forms

# Of more books than these only the first are looked at; and so many values are told of each facet.
MOST_BOOKS = 20_000
MOST_VALUES = 20


@dataclass(frozen=True)
class Value:
    """One value of a facet, what people call it, and how many of the books have it."""

    value: str
    label: str
    count: int


@dataclass(frozen=True)
class Facets:
    """How found books divide: of each facet the values that most books have, most first.

    Where `complete` is false more books are found than are looked at: `total` and all counts are lower bounds.
    """

    total: int
    complete: bool
    material_types: list[Value]
    languages: list[Value]
    decades: list[Value]
    authors: list[Value]
    subjects: list[Value]


def facets_of(session: Session, q: str | None = None, **filters: Any) -> Facets:
    """How the books divide that `catalogue.find_books` finds, all filters applied, in one statement."""
    found = catalogue.find_books(session, q, **filters)
    first = found.order_by(None).order_by(found.get_execution_options().get("walked_by", Book.id)).limit(MOST_BOOKS + 1)
    columns = (Book.id, Book.material_type, Book.language, Book.year)
    books = first.with_only_columns(*columns, maintain_column_froms=True).cte("found")
    divisions = _divisions(books)
    counts = union_all(
        select(literal("total"), literal(""), literal(""), func.count()).select_from(books),
        *(select(counted.subquery()) for counted in divisions.values()),
    )
    values: Mapping[str, list[Value]] = {name: [] for name in ("total", *divisions)}
    for name, value, label, count in session.execute(counts, forms.values_of(found)):
        values[name].append(Value(value, label, count))
    total = values["total"][0].count
    divided = {name: sorted(values[name], key=_most_first) for name in divisions}
    return Facets(total, total <= MOST_BOOKS, **divided)


def _most_first(value: Value) -> tuple[int, int, str]:
    return -value.count, len(value.value), value.value


def _divisions(books: CTE) -> dict[str, Select[Any]]:
    """The statement of each facet: its name, value, label and count, the values that most books have."""
    # Also before the year 0 a decade begins with the lower year.
    decade = books.c.year - (books.c.year % 10 + 10) % 10
    by = select(books.c.id.label("book"), Author.id, Author.name).select_from(books)
    by = by.join(Contribution, Contribution.book_id == books.c.id).join(Author).distinct()
    about = select(books.c.id.label("book"), Subject.id, Subject.name).select_from(books)
    about = about.join(BookSubject, BookSubject.book_id == books.c.id).join(Subject)
    authors, subjects = by.subquery(), about.subquery()
    return {
        "material_types": _counted("material_types", books.c.material_type, books.c.material_type, books.c.id),
        "languages": _counted("languages", books.c.language, books.c.language, books.c.id),
        "decades": _counted("decades", decade, decade, books.c.id),
        "authors": _counted("authors", authors.c.id, authors.c.name, authors.c.book),
        "subjects": _counted("subjects", subjects.c.id, subjects.c.name, subjects.c.book),
    }


def _counted(name: str, value: Any, label: Any, book: Any) -> Select[Any]:
    """The values that most books have, and how many do; books without one are not counted."""
    count = func.count(distinct(book))
    told = select(literal(name).label("facet"), cast(value, String).label("value"), cast(label, String).label("label"))
    return (
        told.add_columns(count.label("count"))
        .where(value.is_not(None))
        .group_by(value, label)
        .order_by(count.desc(), value)
        .limit(MOST_VALUES)
    )
