"""Authors and subjects: the headings under which books stand."""

from functools import partial

from marshmallow_sqlalchemy import auto_field

from library.api.plumbing.blueprint import Blueprint
from library.api.plumbing.nouns import plain_noun
from library.api.plumbing.schemas import QuerySchema, Schema, shown
from library.api.plumbing.texts import SearchText
from library.models import Author, Subject
from library.rules import catalogue

authors = Blueprint("authors", "author", "Catalogue")
subjects = Blueprint("subjects", "subject", "Catalogue")


class HeadingQuerySchema(QuerySchema):
    """How a heading is looked for."""

    q = SearchText(metadata={"description": "Beginnings of words of the heading."})


class AuthorSchema(Schema):
    """One person or body."""

    class Meta(Schema.Meta):
        model = Author

    example = {"name": "Noether, Emmy", "dates": "1882-1935", "kind": "person"}
    id = shown()
    name = auto_field()
    dates = auto_field(min_length=0)
    kind = auto_field()


class SubjectSchema(Schema):
    """A subject heading."""

    class Meta(Schema.Meta):
        model = Subject

    example = {"name": "Lighthouses -- Fiction"}
    id = shown()
    name = auto_field()


for blp, table, schema, sorts in (
    (authors, Author, AuthorSchema, catalogue.AUTHOR_SORTS),
    (subjects, Subject, SubjectSchema, catalogue.SUBJECT_SORTS),
):
    plain_noun(
        blp,
        table,
        schema,
        read="catalogue.read",
        write="catalogue.write",
        sorts=sorts,
        query=HeadingQuerySchema,
        select_rows=partial(catalogue.find_headings, table),
        save=catalogue.save_heading,
        cached=True,
    )
