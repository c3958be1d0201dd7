"""One door for files of records: recognises by content what they are, compressed or not, and reads them as a stream."""

import contextlib
import gzip
import io
import re
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, TypeVar

from library.exchange import book_tables
from library.exchange.frames import BLOCK, LEADER
from library.exchange.marc import read_marc
from library.exchange.marcxml import read_marcxml
from library.exchange.records import BookRecord, FormatError, RecordFault
from library.exchange.tables import Table, check_encoding, delimiter_of, name_of

Row = TypeVar("Row")
Format = Literal["marc21", "marcxml", "csv"]
Item = tuple[int, BookRecord | RecordFault]
Reader = Callable[[io.BufferedIOBase], Iterator[Item]]
Progress = Callable[[int], None]
# A file by its path, or one that is open and has no name, by its descriptor.
Source = Path | int

READERS: dict[Format, Reader] = {"marc21": read_marc, "marcxml": read_marcxml, "csv": book_tables.read_books}

_HEAD = 4096
_GZIP = b"\x1f\x8b"
_GZIP_DAMAGE = (EOFError, zlib.error, gzip.BadGzipFile)
# Workbooks are ZIP files, or compound ones as of old.
_WORKBOOK = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0")
_UTF8_MARK = b"\xef\xbb\xbf"
_UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")
# Five digits of length, and further on five of the base address: no table or text begins like that by chance.
_LEADER_DIGITS = re.compile(rb"\s*[0-9]{5}[ -~]{7}[0-9]{5}[ -~]{7}")


class _TooMuch(Exception):
    """More came out of a file than may."""


def sniff(path: Source) -> Format:
    """Tell the format of a file by its first bytes, inside gzip as well; raises `FormatError` when it is none."""
    head = _head(path)
    if not head:
        raise FormatError("The file is empty.")
    _refuse_workbook(head)
    if _begins_as_xml(head):
        return "marcxml"
    if _LEADER_DIGITS.match(head.removeprefix(_UTF8_MARK)) or LEADER.search(head):
        return "marc21"
    if _begins_as_table(head):
        return "csv"
    raise FormatError("The file is neither MARC 21 (ISO 2709) nor MARCXML, nor a table (CSV) with a column title.")


def _refuse_workbook(head: bytes) -> None:
    if head.startswith(_WORKBOOK):
        raise FormatError("The file is a workbook of a spreadsheet: save the table as CSV (UTF-8) and send that.")


def check_books(path: Source, limit: int) -> None:
    """Look at the beginning of a table of books, as `check_table` does."""
    check_table(path, book_tables.HEADINGS, ["title"], limit)


def check_table(path: Source, names: Mapping[str, str], required: Sequence[str], limit: int) -> None:
    """Look at the header of a table and at the encoding of its first `limit` bytes, compressed or not.

    `path` may be the beginning of a file only, if it is longer than the limit. Raises FormatError.
    """
    looks: tuple[Callable[[io.BufferedIOBase], object], ...] = (
        lambda stream: _refuse_workbook(stream.read1(_HEAD)),
        check_encoding,
        lambda stream: Table(stream, names, required),
    )
    for look in looks:
        with (
            _opened(path) as whole,
            _Bounded(whole, limit) as bounded,
            contextlib.suppress(*_GZIP_DAMAGE, _TooMuch),
        ):
            look(io.BufferedReader(bounded, BLOCK))


def read_records(
    path: Source, progress: Progress | None = None, format: Format | None = None, limit: int | None = None
) -> Iterator[Item]:
    """Yield position (counted from 1) and content of every record in a file, at constant memory.

    Without a `format` the content tells which it is. `progress` is called with the number of bytes read from the disk
    since its last call (compressed ones of a compressed file), as the `update` of a progress bar wants it; over a
    whole file they add up to its size. It is called with 0 as well while much is unpacked or looked at, so that it may
    raise what ends the reading. Of a compressed file at most `limit` bytes are unpacked: one fault stands for
    all the rest. Raises `FormatError` at once for a file that is not recognised and for a table that is not in UTF-8
    or has unknown columns, and while reading for XML that holds no MARC.
    """
    kind = format or sniff(path)
    return (
        read_table(path, READERS[kind], progress, limit)
        if kind == "csv"
        else _read(path, READERS[kind], progress, limit)
    )


def read_table(
    path: Source,
    reader: Callable[[io.BufferedIOBase], Iterator[tuple[int, Row | RecordFault]]],
    progress: Progress | None,
    limit: int | None,
) -> Iterator[tuple[int, Row | RecordFault]]:
    """The same for a table, whose encoding and header are looked at before anything is handed out."""
    tick: Progress | None = None if progress is None else lambda _: progress(0)
    for look in (check_encoding, lambda stream: next(reader(stream), None)):
        with _opened(path, tick, limit) as stream, contextlib.suppress(*_GZIP_DAMAGE, _TooMuch):
            look(stream)
    return _read(path, reader, progress, limit)


def _read(
    path: Source,
    reader: Callable[[io.BufferedIOBase], Iterator[tuple[int, Row | RecordFault]]],
    progress: Progress | None,
    limit: int | None,
) -> Iterator[tuple[int, Row | RecordFault]]:
    """Hand on what the reader finds; where the compression breaks, one fault stands for all the rest."""
    position = 0
    reason = ""
    with _opened(path, progress, limit) as stream:
        try:
            for position, item in reader(stream):
                yield position, item
        except _GZIP_DAMAGE:
            reason = "the compressed file is damaged or ends early; nothing from here on could be read"
        except _TooMuch:
            reason = f"the compressed file holds more than {limit:,} bytes; nothing from here on was read"
    if reason:
        yield position + 1, RecordFault(position + 1, reason)


def _head(path: Source) -> bytes:
    """The first bytes of the content, as far as the compression is whole."""
    head = b""
    with _opened(path) as stream:
        try:
            while len(head) < _HEAD and (more := stream.read1(_HEAD)):
                head += more
        except _GZIP_DAMAGE as error:
            if not head:
                raise FormatError("The compressed file is damaged and cannot be read.") from error
    return head


@contextmanager
def _opened(path: Source, progress: Progress | None = None, limit: int | None = None) -> Iterator[io.BufferedIOBase]:
    """Open a file, decompressing it where it is gzip."""
    with io.BufferedReader(_CountedFile(path, progress), BLOCK) as raw:
        if raw.peek(2)[:2] != _GZIP:
            yield raw
        else:
            with gzip.GzipFile(fileobj=raw, mode="rb") as unpacked, _Bounded(unpacked, limit, progress) as bounded:
                yield io.BufferedReader(bounded, BLOCK)


def _begins_as_xml(head: bytes) -> bool:
    if head.startswith(_UTF16_MARKS):
        return head.decode("utf-16", "replace").lstrip().startswith("<")
    return head.removeprefix(_UTF8_MARK).lstrip().startswith(b"<")


def _begins_as_table(head: bytes) -> bool:
    """Whether the first line names a column for titles."""
    encoding = "utf-16" if head.startswith(_UTF16_MARKS) else "utf-8-sig"
    header = (head.decode(encoding, "replace").lstrip().splitlines() or [""])[0]
    delimiter = delimiter_of(header, book_tables.HEADINGS)
    return any(name_of(cell) == "title" for cell in header.split(delimiter))


class _Bounded(io.RawIOBase):
    """What comes out of a compressed file, and no more of it than may."""

    def __init__(self, source: io.BufferedIOBase, limit: int | None, progress: Progress | None = None) -> None:
        super().__init__()
        self._source, self._limit, self._progress, self._count = source, limit, progress, 0

    def readable(self) -> bool:
        """It is there to be read."""
        return True

    def readinto(self, buffer: Any, /) -> int:
        """Read, and refuse to go on beyond the limit."""
        data = self._source.read1(len(buffer))
        if self._progress:
            # A few bytes may unpack to millions of empty lines.
            self._progress(0)
        self._count += len(data)
        if self._limit is not None and self._count > self._limit:
            raise _TooMuch
        buffer[: len(data)] = data
        return len(data)


class _CountedFile(io.FileIO):
    """A file that tells how many bytes of it were read."""

    def __init__(self, path: Source, progress: Progress | None) -> None:
        super().__init__(path, "rb", closefd=not isinstance(path, int))
        self.seek(0)
        self._progress = progress

    def readinto(self, buffer: Any, /) -> int | None:
        """Read, and report what was read."""
        count = super().readinto(buffer)
        if count and self._progress:
            self._progress(count)
        return count
