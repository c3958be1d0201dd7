"""One door for files of records: recognises by content what they are, compressed or not, and reads them as a stream."""

import gzip
import io
import re
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from library.exchange.frames import BLOCK, LEADER
from library.exchange.marc import read_marc
from library.exchange.marcxml import read_marcxml
from library.exchange.records import BookRecord, FormatError, RecordFault

Format = Literal["marc21", "marcxml"]
Item = tuple[int, BookRecord | RecordFault]
Reader = Callable[[io.BufferedIOBase], Iterator[Item]]
Progress = Callable[[int], None]

READERS: dict[Format, Reader] = {"marc21": read_marc, "marcxml": read_marcxml}

_HEAD = 4096
_GZIP = b"\x1f\x8b"
_GZIP_DAMAGE = (EOFError, zlib.error, gzip.BadGzipFile)
_UTF8_MARK = b"\xef\xbb\xbf"
_UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")
# Five digits of length, and further on five of the base address: no table or text begins like that by chance.
_LEADER_DIGITS = re.compile(rb"\s*[0-9]{5}[ -~]{7}[0-9]{5}[ -~]{7}")


def sniff(path: Path) -> Format:
    """Tell the format of a file by its first bytes, inside gzip as well; raises `FormatError` when it is neither."""
    head = _head(path)
    if not head:
        raise FormatError("The file is empty.")
    if _begins_as_xml(head):
        return "marcxml"
    if _LEADER_DIGITS.match(head.removeprefix(_UTF8_MARK)) or LEADER.search(head):
        return "marc21"
    raise FormatError("The file is neither MARC 21 (ISO 2709) nor MARCXML.")


def read_records(path: Path, progress: Progress | None = None) -> Iterator[Item]:
    """Yield position (counted from 1) and content of every record in a file of MARC 21 or MARCXML, at constant memory.

    `progress` is called with the number of bytes read from the disk since its last call (compressed ones of a
    compressed file), as the `update` of a progress bar wants it; over a whole file they add up to its size. Raises
    `FormatError` at once for a file that is not recognised, and while reading for XML that holds no MARC.
    """
    reader = READERS[sniff(path)]
    return _read(path, reader, progress)


def _read(path: Path, reader: Reader, progress: Progress | None) -> Iterator[Item]:
    """Hand on what the reader finds; where the compression breaks, one fault stands for all the rest."""
    position = 0
    with _opened(path, progress) as stream:
        try:
            for position, item in reader(stream):
                yield position, item
        except _GZIP_DAMAGE:
            reason = "the compressed file is damaged or ends early; nothing from here on could be read"
            yield position + 1, RecordFault(position + 1, reason)


def _head(path: Path) -> bytes:
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
def _opened(path: Path, progress: Progress | None = None) -> Iterator[io.BufferedIOBase]:
    """Open a file, decompressing it where it is gzip."""
    with io.BufferedReader(_CountedFile(path, progress), BLOCK) as raw:
        if raw.peek(2)[:2] != _GZIP:
            yield raw
        else:
            with gzip.GzipFile(fileobj=raw, mode="rb") as unpacked:
                yield unpacked


def _begins_as_xml(head: bytes) -> bool:
    if head.startswith(_UTF16_MARKS):
        return head.decode("utf-16", "replace").lstrip().startswith("<")
    return head.removeprefix(_UTF8_MARK).lstrip().startswith(b"<")


class _CountedFile(io.FileIO):
    """A file that tells how many bytes of it were read."""

    def __init__(self, path: Path, progress: Progress | None) -> None:
        super().__init__(path, "rb")
        self._progress = progress

    def readinto(self, buffer: Any, /) -> int | None:
        """Read, and report what was read."""
        count = super().readinto(buffer)
        if count and self._progress:
            self._progress(count)
        return count
