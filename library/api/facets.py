"""Facets: how the books that readers look for divide."""

from typing import Any

import marshmallow as ma
from flask.views import MethodView

from library.api.books import BookQuerySchema
from library.api.plumbing.blueprint import Blueprint
from library.api.plumbing.fields import Nested
from library.extensions import db
from library.rules import facets

blp = Blueprint("facets", "facet", "Catalogue")
SAID = f"The {facets.MOST_VALUES} that most books have, most first."


class FacetValueSchema(ma.Schema):
    """One value of a facet."""

    example = {"value": "eng", "label": "eng", "count": 12}

    value = ma.fields.String(metadata={"description": "What to filter by."})
    label = ma.fields.String(metadata={"description": "What people read."})
    count = ma.fields.Integer(metadata={"description": "How many of the books have it.", "minimum": 1})


def _values(filtered: str) -> Nested:
    return Nested(FacetValueSchema, many=True, metadata={"description": f"{SAID} {filtered}"})


class BookFacetsSchema(ma.Schema):
    """How the found books divide, all filters applied; a value that most books have comes first."""

    total = ma.fields.Integer(metadata={"description": "How many books were looked at.", "minimum": 0})
    total_is = ma.fields.String(
        metadata={
            "enum": ["exact", "at_least"],
            "description": f"`at_least`: more than {facets.MOST_BOOKS} are found, and only those that came first into "
            "the catalogue were looked at; all counts are then lower bounds.",
        }
    )
    material_types = _values("Filter: `material_type`.")
    languages = _values("Filter: `language`.")
    decades = _values("The first year of ten. Filter: `year_min` and, nine years on, `year_max`.")
    authors = _values("Filter: `author_id`.")
    subjects = _values("Filter: `subject_id`.")


@blp.route("/books/facets")
class BookFacets(MethodView):
    @blp.allow("catalogue.read")
    @blp.operation("get_book_facets")
    @blp.arguments(BookQuerySchema, location="query")
    @blp.response(200, BookFacetsSchema, cached=True)
    def get(self, filters: dict[str, Any]) -> dict[str, Any]:
        """Count books by kind, language, decade, author and subject.

        The parameters are those of the list: the same search and filters, counted instead of listed.
        """
        found = facets.facets_of(db.session, **filters)
        return vars(found) | {"total_is": "exact" if found.complete else "at_least"}
