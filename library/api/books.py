"""Books: the catalogue's records."""

from typing import Any

import marshmallow as ma
from flask import g
from flask.views import MethodView
from marshmallow_sqlalchemy import auto_field
from sqlalchemy import Select

from library.api.plumbing.blueprint import Blueprint
from library.api.plumbing.fields import Choice, Fault, Id, ListOf, Nested, QueryFlag, QueryList, QueryWhole
from library.api.plumbing.negotiation import Formats, speaks
from library.api.plumbing.references import Ref
from library.api.plumbing.schemas import QuerySchema, RequestSchema, Schema, defaults_of, input_of, patch_of, shown
from library.api.plumbing.texts import SearchText, Text
from library.exchange import numbers
from library.exchange.writers import WRITERS
from library.extensions import db
from library.models import Author, Book, BookSubject, Contribution, ContributorRole, Identifier, MaterialType, Subject
from library.models import IdentifierScheme as Scheme
from library.rules import catalogue, changes, exports

blp = Blueprint("books", "book", "Catalogue")
LANGUAGE = r"[a-z]{3}"
FORMATS = Formats("books", WRITERS, exports.records_of_loaded)
NUMBERS = "The numbers by which the world knows the edition."


class ContributorSchema(Schema):
    """A person or body in the order of the title page."""

    class Meta(Schema.Meta):
        model = Contribution

    shown_example = {"name": "Melville, Herman", "dates": "1819-1891"}

    author_id = Id(metadata={"description": "The author's record."})
    name = Text(500, attribute="author.name", metadata={"description": "Heading: `Austen, Jane`."})
    dates = Text(100, 0, attribute="author.dates", metadata={"description": "Dates: `1775-1817`."})
    role = auto_field()


class SubjectOfBookSchema(Schema):
    """A subject the book is about."""

    class Meta(Schema.Meta):
        model = BookSubject

    shown_example = {"name": "Whales -- Fiction"}

    subject_id = Id(metadata={"description": "The subject's record."})
    name = Text(500, attribute="subject.name", metadata={"description": "Subject heading."})


class IdentifierSchema(Schema):
    """A number by which the world knows the edition."""

    class Meta(Schema.Meta):
        model = Identifier

    example = {"scheme": "isbn", "value": "9780142437247"}
    scheme = auto_field()
    value = auto_field()


class BookSchema(Schema):
    """One bibliographic record."""

    class Meta(Schema.Meta):
        model = Book

    shown_example = {
        "title": "Moby-Dick",
        "subtitle": "or, The whale",
        "publisher": "Penguin Books",
        "year": 1851,
        "language": "eng",
        "pages": 625,
    }
    id = shown()
    material_type = auto_field()
    title = auto_field()
    subtitle = auto_field()
    contributors = ListOf(
        Nested(ContributorSchema),
        attribute="contributions",
        dump_only=True,
        metadata={"description": "In the order of the title page."},
    )
    publisher = auto_field()
    year = auto_field(low=-3000, high=3000)
    year_text = auto_field()
    edition = auto_field()
    language = auto_field(pattern=LANGUAGE)
    pages = auto_field(low=0)
    series = auto_field()
    subjects = ListOf(
        Nested(SubjectOfBookSchema),
        attribute="subject_links",
        dump_only=True,
        metadata={"description": "What it is about."},
    )
    description = auto_field()
    identifiers = ListOf(Nested(IdentifierSchema), dump_only=True, metadata={"description": NUMBERS})
    control_number = auto_field()
    created_at = shown()
    updated_at = shown()


class ContributorInputSchema(RequestSchema):
    """Who took part, by the author's record, and how."""

    author_id = Ref(Author, required=True, metadata={"description": "The author's record."})
    role = Choice(ContributorRole, load_default=ContributorRole.AUTHOR)

    @ma.post_load
    def _pair(self, data: dict[str, Any], **_: Any) -> tuple[Author, ContributorRole]:
        return data["author"], data["role"]


class IdentifierInputSchema(RequestSchema):
    """A number, with or without its hyphens."""

    example: dict[str, Any] | None = {"scheme": "isbn", "value": "978-0-14-243724-7"}

    scheme = Choice(Scheme, required=True)
    value = Text(100, required=True, metadata={"description": "The number as it is printed, or without hyphens."})

    @ma.post_load
    def _pair(self, data: dict[str, Any], **_: Any) -> tuple[Scheme, str]:
        scheme, value = data["scheme"], data["value"]
        if not numbers.normal(scheme.value, value):
            raise ma.ValidationError(Fault(f"This is no {scheme.upper()}.", "bad_form"), "value")
        return scheme, value


class _Lists:
    """The lists that belong to a book, as they are written: whole."""

    contributors = ListOf(Nested(ContributorInputSchema), metadata={"description": "In the order of the title page."})
    subject_ids = ListOf(Ref(Subject), attribute="subjects", metadata={"description": "The subjects' records."})
    identifiers = ListOf(Nested(IdentifierInputSchema), metadata={"description": NUMBERS})

    @ma.validates_schema
    def _no_doubles(self, data: dict[str, Any], **_: Any) -> None:
        for member, name in (("contributors", "contributors"), ("subjects", "subject_ids")):
            rows = data.get(member) or []
            keys = [(row[0].id, row[1]) if isinstance(row, tuple) else row.id for row in rows]
            if len(set(keys)) != len(keys):
                raise ma.ValidationError(Fault("This names the same thing twice.", "duplicate_value"), name)


class BookInputSchema(_Lists, input_of(BookSchema)):  # type: ignore[misc]
    """A book as it is written: the title is required."""

    example: dict[str, Any] | None = {
        "title": "Moby-Dick",
        "subtitle": "or, The whale",
        "year": 1851,
        "language": "eng",
        "contributors": [{"author_id": 1, "role": "author"}],
        "subject_ids": [1],
        "identifiers": [{"scheme": "isbn", "value": "9780142437247"}],
    }


class BookPatchSchema(_Lists, patch_of(BookSchema)):  # type: ignore[misc]
    """What changes of a book; a list that is named is replaced as a whole."""

    example: dict[str, Any] | None = {"year": 1851}


class BookQuerySchema(QuerySchema):
    """How readers look for books."""

    q = SearchText(
        metadata={
            "description": "All these words, the last may be the beginning of one: `whal`. Titles come first, then "
            f"contributors, subjects, and the rest. Of more than {catalogue.MOST_RANKED} hits some are ranked, whose "
            "pages end there, and the total is a lower bound; `sort` and walks show all."
        }
    )
    ids = QueryList(
        QueryWhole(1), max_length=100, metadata={"description": "Only these: `ids=1&ids=2`.", "example": [1, 2]}
    )
    author_id = QueryWhole(1, metadata={"description": "Books that this author took part in, in whatever role."})
    subject_id = QueryWhole(1, metadata={"description": "Books about this subject."})
    isbn = Text(30, metadata={"description": "With or without hyphens.", "example": "978-0-14-243724-7"})
    control_number = Text(100, metadata={"description": "Number of the record where it came from, exactly."})
    language = Text(3, pattern=LANGUAGE, metadata={"description": "A MARC code.", "example": "eng"})
    material_type = Choice(MaterialType, metadata={"description": "What kind of thing it is."})
    year_min = QueryWhole(-3000, 3000, metadata={"description": "Published in this year or later."})
    year_max = QueryWhole(-3000, 3000, metadata={"description": "Published in this year or earlier."})
    available = QueryFlag(metadata={"description": "Whether a copy stands on a shelf and may be lent."})


@blp.route("/books")
class Books(MethodView):
    @blp.allow("catalogue.read")
    @speaks(FORMATS)
    @blp.arguments(BookQuerySchema, location="query")
    @blp.lists(BookSchema, catalogue.BOOK_SORTS, cached=True, ranked=True)
    def get(self, filters: dict[str, Any]) -> Select[Any]:
        """List or search books."""
        return catalogue.find_books(db.session, **filters)

    @blp.allow("catalogue.write")
    @blp.obeys(catalogue.save_book)
    @blp.arguments(BookInputSchema)
    @blp.response(201, BookSchema)
    def post(self, values: dict[str, Any]) -> Book:
        """Create a book."""
        return catalogue.save_book(db.session, Book(), values, g.now)


@blp.route("/books/<id:book_id>")
class BookById(MethodView):
    @blp.allow("catalogue.read")
    @speaks(FORMATS)
    @blp.finds(Book, *catalogue.book_parts())
    @blp.response(200, BookSchema)
    def get(self, book: Book) -> Book:
        """Read a book."""
        return book

    @blp.allow("catalogue.write")
    @blp.finds(Book, *catalogue.book_parts())
    @blp.obeys(catalogue.save_book)
    @blp.arguments(BookInputSchema)
    @blp.response(200, BookSchema)
    def put(self, book: Book, values: dict[str, Any]) -> Book:
        """Replace a book."""
        emptied = defaults_of(BookInputSchema, Book) | {"contributors": [], "subjects": [], "identifiers": []}
        return catalogue.save_book(db.session, book, emptied | values, g.now)

    @blp.allow("catalogue.write")
    @blp.finds(Book, *catalogue.book_parts())
    @blp.obeys(catalogue.save_book)
    @blp.arguments(BookPatchSchema)
    @blp.response(200, BookSchema)
    def patch(self, book: Book, values: dict[str, Any]) -> Book:
        """Change a book."""
        return catalogue.save_book(db.session, book, values, g.now)

    @blp.allow("catalogue.write")
    @blp.finds(Book)
    @blp.obeys(changes.delete)
    @blp.response(204)
    def delete(self, book: Book) -> None:
        """Delete a book that nothing needs any more."""
        changes.delete(db.session, book)
