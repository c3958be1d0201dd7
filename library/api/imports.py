"""Imports: files of records that are sent, and taken in by a worker."""

from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import marshmallow as ma
from flask import g
from flask.views import MethodView
from werkzeug.datastructures import FileStorage

from library.api.jobs import JobSchema
from library.api.plumbing import uploads
from library.api.plumbing.blueprint import Blueprint
from library.api.plumbing.errors import invalid
from library.api.plumbing.fields import Choice, Fault
from library.api.plumbing.gate import actor
from library.api.plumbing.schemas import RequestSchema
from library.api.plumbing.uploads import File, FormFlag
from library.exchange.readers import sniff
from library.exchange.records import FormatError
from library.extensions import db
from library.importing import read_file
from library.models import ImportFormat, Job, JobKind, OnDuplicate
from library.rules import uploads as rules

blp = Blueprint("imports", "import", "Catalogue")
# A format shows within its first bytes.
HEAD_BYTES = 256 * 1024


class ImportKind(StrEnum):
    """What a file holds."""

    BOOKS = "books"
    PATRONS = "patrons"


JOB_KINDS = {ImportKind.BOOKS: JobKind.IMPORT_BOOKS, ImportKind.PATRONS: JobKind.IMPORT_USERS}


class ImportInputSchema(RequestSchema):
    """A file of records, and how it is to be taken in."""

    example: dict[str, Any] | None = {"file": "(the bytes of books.mrc)", "kind": "books", "dry_run": True}

    file = File(required=True)
    kind = Choice(
        ImportKind,
        load_default=ImportKind.BOOKS,
        metadata={"description": "`books`: MARC 21, MARCXML or CSV. `patrons`: a roster in CSV."},
    )
    format = Choice(ImportFormat, metadata={"description": "What the file is written in; absent: its content tells."})
    on_duplicate = Choice(
        OnDuplicate,
        load_default=OnDuplicate.SKIP,
        metadata={"description": "What to do with a record that the library holds already; patrons are never `add`ed."},
    )
    dry_run = FormFlag(load_default=False, metadata={"description": "Write nothing but the report."})

    @ma.validates_schema
    def _nobody_twice(self, data: dict[str, Any], **_: Any) -> None:
        if not rules.is_duplicate_policy_of(JOB_KINDS[data["kind"]], data["on_duplicate"]):
            fault = Fault("Nobody becomes two patrons: skip or update.", "unsupported_value")
            raise ma.ValidationError(fault, "on_duplicate")
        if data["kind"] is ImportKind.PATRONS and data.get("format", ImportFormat.CSV) is not ImportFormat.CSV:
            raise ma.ValidationError(Fault("A roster is a table: csv.", "unsupported_value"), "format")


@blp.route("/imports")
class Imports(MethodView):
    @blp.allow("imports.write", prepare=uploads.receive)
    @blp.arguments(ImportInputSchema, location="files")
    @blp.response(202, JobSchema, location="/jobs/{0.id}")
    def post(self, values: dict[str, Any]) -> Job:
        """Send a file of books or patrons; a worker takes it in, and the job says how far it is."""
        file, kind = values.pop("file"), JOB_KINDS[values.pop("kind")]
        columns = values | {
            "format": _format_of(file, kind, values.get("format")),
            "file_name": Path(file.filename or "upload").name[:200],
            "size": uploads.size_of(file),
        }
        parts = uploads.pieces(file, rules.PART_BYTES)
        return rules.start_import(db.session, actor(), kind, columns, parts, g.real_now)


def _format_of(file: FileStorage, kind: JobKind, named: ImportFormat | None) -> ImportFormat:
    """What a file is written in; raises Problem where it is not what it is sent as."""
    with _head_of(file) as head:
        try:
            found = ImportFormat.CSV if kind is JobKind.IMPORT_USERS else ImportFormat(sniff(head))
            if named not in (None, found):
                raise FormatError(f"The file is not written in {named} but in {found}.")
            if found is ImportFormat.CSV:
                # Its header is judged by reading the first line below it.
                next(iter(read_file(kind, head, form="csv")), None)
        except FormatError as error:
            raise invalid({"file": [Fault(str(error), "unknown_format")]}, "files") from error
    return found


@contextmanager
def _head_of(file: FileStorage) -> Iterator[Path]:
    """The first bytes of a file, as a file of their own."""
    with TemporaryDirectory(prefix="library-upload-") as folder:
        head = Path(folder) / "head"
        head.write_bytes(next(uploads.pieces(file, HEAD_BYTES), b""))
        yield head
