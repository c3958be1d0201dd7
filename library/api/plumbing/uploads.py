"""Files that are sent: the parts of a `multipart/form-data` body, read once their sender is admitted."""

import os
from collections.abc import Iterator
from typing import Any

from flask import current_app, request
from flask_smorest.fields import Upload
from werkzeug.datastructures import FileStorage

from library.api.plumbing.edge import MULTIPART
from library.api.plumbing.errors import Problem, invalid
from library.api.plumbing.fields import Coded, Fault, Messages, QueryFlag

# What stands beside the file in the body: its other parts and the lines between them.
ROOM_FOR_PARTS = 64 * 1024


class File(Coded, Upload):
    """A file in a body of parts."""

    default_error_messages: Messages = {"empty_file": "This file is empty."}

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> FileStorage:
        if not isinstance(value, FileStorage):
            raise self.make_error("type", expected="a file")
        if not size_of(value):
            raise self.make_error("empty_file")
        return value

    def document(self) -> dict[str, Any]:
        return {"description": f"The file: at most {current_app.config['LARGEST_UPLOAD']:,} bytes."}


class FormFlag(QueryFlag):
    """`true` or `false` in a body of parts, also with the capital that Python's clients write."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> bool:
        return super()._deserialize(value.lower() if isinstance(value, str) else value, attr, data, **kwargs)


def receive() -> None:
    """Take the whole body in, large files on to the disk; to be called outside any transaction."""
    request.max_content_length = current_app.config["LARGEST_UPLOAD"] + ROOM_FOR_PARTS
    _ = request.files


def parts() -> dict[str, Any]:
    """The parts of the body by name, texts and files; raises Problem for another kind of body."""
    if request.mimetype != MULTIPART:
        raise Problem(415, f"The body must be sent as {MULTIPART}.")
    found: dict[str, Any] = {}
    sent: list[tuple[str, list[Any]]] = [*request.form.lists(), *request.files.lists()]
    for name, values in sent:
        if len(values) > 1 or name in found:
            raise invalid({name: [Fault("This part is sent twice.", "duplicate_member")]}, "files")
        found[name] = values[0]
    return found


def size_of(file: FileStorage) -> int:
    """Bytes of a file; it is then read from its beginning."""
    size = file.stream.seek(0, os.SEEK_END)
    file.stream.seek(0)
    return size


def pieces(file: FileStorage, size: int) -> Iterator[bytes]:
    """The bytes of a file in pieces of a size."""
    file.stream.seek(0)
    while piece := file.stream.read(size):
        yield piece
