"""Exports: all books of the catalogue, or those that a search selects, as one stream in any format."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache
from typing import Any

from flask import Response, g
from flask.views import MethodView
from sqlalchemy.orm import Session

from library.api.books import FORMATS, BookQuerySchema, BookSchema
from library.api.plumbing.blueprint import Blueprint
from library.api.plumbing.marks import mark
from library.api.plumbing.negotiation import JSON, speaks
from library.api.plumbing.rendering import private
from library.api.plumbing.sql_json import Rendering, rendering_of
from library.api.plumbing.streaming import begun
from library.database import make_session
from library.exporting import walk
from library.extensions import db
from library.models import Book
from library.rules import bulk, exports

blp = Blueprint("exports", "export", "Catalogue")


@blp.route("/books/export")
class BookExport(MethodView):
    @blp.allow("catalogue.export", own_transaction=True)
    @mark(streamed=True)
    @blp.operation("export_books")
    @speaks(FORMATS)
    @blp.arguments(BookQuerySchema, location="query")
    @blp.response(200, BookSchema(many=True))
    def get(self, filters: dict[str, Any]) -> Response:
        """Export the catalogue, or what the filters select.

        It is a stream in the format of `Accept`, of any length. Books come in the order of their keys, each as it is
        when its turn comes: what stands throughout is there exactly once, and nobody waits for an export. One that
        breaks off ends with the line `!!! THIS EXPORT IS INCOMPLETE !!!`.
        """
        chosen = g.format
        if chosen is None:
            content_type, name = JSON, f"{FORMATS.name}.json"
            stream = _json(_books(filters, _rendered))
        else:
            content_type, name = chosen.writer.content_type, chosen.file_name()
            stream = iter(chosen.writer.write(_books(filters, exports.records_of)))
        response = Response(begun(stream), content_type=content_type)
        private(response)
        response.headers["Content-Disposition"] = f'attachment; filename="{name}"'
        return response


def _books(filters: dict[str, Any], shown: Callable[[Session, Sequence[int]], Sequence[Any]]) -> Iterator[Any]:
    """The walk, in a session of its own: it goes on when the request is over."""
    with make_session(db.engine) as session:
        yield from walk(session, filters, shown)


@cache
def _rendering() -> Rendering:
    return rendering_of(BookSchema())


def _rendered(session: Session, keys: Sequence[int]) -> list[bytes]:
    """Books as the database renders them, in the order of their keys."""
    some = _rendering().select().where(bulk.is_among(session, Book.id, keys)).order_by(Book.id)
    return [text.encode() for text in session.scalars(some)]


def _json(items: Iterable[bytes]) -> Iterator[bytes]:
    """An array of items that are JSON each."""
    between = b"[\n"
    for item in items:
        yield between + item
        between = b",\n"
    yield b"[]\n" if between == b"[\n" else b"\n]\n"
