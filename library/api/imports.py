"""Imports: files of records that are sent, and taken in by a worker."""

import re
from contextlib import suppress
from enum import StrEnum
from tempfile import TemporaryFile
from typing import Any

import marshmallow as ma
from flask import g, request
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
from library.exchange.texts import clean
from library.extensions import db
from library.importing import check_table
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


def receive_and_look() -> None:
    """Take the body in, and look at the beginning of its file: all of that takes time, and no transaction may wait."""
    uploads.receive()
    file = request.files.get("file")
    is_roster = request.form.get("kind") == ImportKind.PATRONS
    g.looked_at = None
    if file is not None and uploads.size_of(file):
        g.looked_at = _found_in(file, JobKind.IMPORT_USERS if is_roster else JobKind.IMPORT_BOOKS)


def _found_in(file: FileStorage, kind: JobKind) -> ImportFormat | FormatError:
    """What a file is written in, or why it cannot be taken for what it is sent as."""
    # A byte more than is looked at: the look then ends there, and not at what would seem the end of the file.
    with TemporaryFile() as head:
        head.write(next(uploads.pieces(file, HEAD_BYTES + 1), b""))
        head.flush()
        file.stream.seek(0)
        try:
            found = ImportFormat.CSV if kind is JobKind.IMPORT_USERS else ImportFormat(sniff(head.fileno()))
            if found is ImportFormat.CSV:
                check_table(kind, head.fileno(), HEAD_BYTES)
        except FormatError as error:
            if kind is JobKind.IMPORT_BOOKS:
                with suppress(FormatError):
                    check_table(JobKind.IMPORT_USERS, head.fileno(), HEAD_BYTES)
                    return FormatError("The file is a roster and holds no books: for patrons send kind=patrons.")
            return error
    return found


def _format_of(found: ImportFormat | FormatError, named: ImportFormat | None) -> ImportFormat:
    """What a file is written in; raises Problem where it is not what it is sent as."""
    if isinstance(found, ImportFormat) and named not in (None, found):
        found = FormatError(f"The file is not written in {named} but in {found}.")
    if isinstance(found, FormatError):
        raise invalid({"file": [Fault(str(found), "unknown_format")]}, "files") from found
    return found


def name_of(file: FileStorage) -> str:
    """The name of a file without its folders and whatever else a client may put there."""
    name = clean(re.split(r"[\\/]", file.filename or "")[-1].encode("utf-8", "replace").decode())
    return name[:200].strip() or "upload"


@blp.route("/imports")
class Imports(MethodView):
    @blp.allow("imports.write", prepare=receive_and_look)
    @blp.arguments(ImportInputSchema, location="files")
    @blp.response(202, JobSchema, location="/jobs/{0.id}")
    def post(self, values: dict[str, Any]) -> Job:
        """Send a file of books or patrons; a worker takes it in, and the job says how far it is."""
        file, kind = values.pop("file"), JOB_KINDS[values.pop("kind")]
        columns = values | {
            "format": _format_of(g.looked_at, values.get("format")),
            "file_name": name_of(file),
            "size": uploads.size_of(file),
        }
        parts = uploads.pieces(file, rules.PART_BYTES)
        return rules.start_import(db.session, actor(), kind, columns, parts, g.real_now)
