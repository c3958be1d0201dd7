"""The bytes of one ISO 2709 record after another, cut from a stream whose lengths and end marks may be wrong.

pymarc's reader trusts the length in each leader, so that one wrong digit costs the rest of the file. Here the end
mark 0x1D decides; the leaders only arbitrate where marks are missing or too many.
"""

import re
from collections.abc import Iterator
from io import BufferedIOBase

END_OF_RECORD = b"\x1d"
END_OF_FIELD = b"\x1e"
LEADER_LENGTH = 24
LONGEST_RECORD = 99_999  # the five digits of its length allow no more
GIVE_UP = 1_000_000  # bytes without an end mark before the record is given up, so that memory stays bounded
BLOCK = 1 << 16

# The leader of a MARC 21 record, its first five bytes (the length) aside: they may be the broken ones.
LEADER = re.compile(rb"[\x00-\xff]{5}[a-z ][a-z][ -~]{3}22[0-9]{5}[ -~]{3}45[ -~]{2}")
_PADDING = re.compile(rb"[\r\n\x00\x1a]*")


def frames(stream: BufferedIOBase) -> Iterator[bytes]:
    """Yield the bytes of every record of the stream; one that is longer than `LONGEST_RECORD` comes cut off."""
    window = _Window(stream)
    while window.skip_padding():
        length = window.record_length()
        if length:
            yield from _records_in(window.take(length))
        else:
            yield window.take(LONGEST_RECORD + 1)
            window.skip_record()


def declared_length(frame: bytes) -> int:
    """The length that the leader claims, 0 when it is not a number."""
    return int(frame[:5]) if frame[:5].isdigit() else 0


def _records_in(frame: bytes) -> list[bytes]:
    """Part what runs up to one end mark into its records: the mark of an earlier one may have been lost."""
    if declared_length(frame) == len(frame):
        return [frame]
    starts = [match.start() for match in LEADER.finditer(frame)]
    if not starts:
        is_scrap = len(frame) <= LEADER_LENGTH and frame.endswith(END_OF_RECORD)
        return [] if is_scrap or not frame.strip() else [frame]
    # Before the first leader stands garbage, or a record whose own leader is damaged.
    if starts[0] > 0 and END_OF_FIELD in frame[: starts[0]]:
        starts.insert(0, 0)
    return [frame[start:end] for start, end in zip(starts, [*starts[1:], len(frame)], strict=True)]


class _Window:
    """The part of the stream that is in memory: never more than `GIVE_UP` bytes and a block."""

    def __init__(self, stream: BufferedIOBase) -> None:
        self._stream = stream
        self._buffer = b""
        self._start = 0

    def skip_padding(self) -> bool:
        """Move to the next byte that is no line end or filler; False at the end of the stream."""
        while True:
            before, padding = self._start, _PADDING.match(self._buffer, self._start)
            self._start = padding.end() if padding else before
            if self._start < len(self._buffer):
                # What looks like filler may be the broken digits of a length; a leader is found behind them as well.
                if not self._buffer[self._start : self._start + 5].isdigit():
                    self._start = max(before, self._start - 4)
                return True
            if not self._fill():
                return False

    def record_length(self) -> int:
        """The number of bytes up to the end of the record that starts here; 0 when no end is in sight."""
        searched = 0
        while True:
            end = self._buffer.find(END_OF_RECORD, self._start + searched)
            if end >= 0:
                return self._length_by_leader(end + 1 - self._start)
            searched = len(self._buffer) - self._start
            if searched > GIVE_UP:
                return 0
            if not self._fill():
                return searched

    def take(self, length: int) -> bytes:
        """Return the next bytes and move behind them."""
        taken = self._buffer[self._start : self._start + length]
        self._start += length
        return taken

    def skip_record(self) -> None:
        """Move behind the next end mark, or to the end of the stream, keeping nothing."""
        while (end := self._buffer.find(END_OF_RECORD, self._start)) < 0:
            self._start = len(self._buffer)
            if not self._fill():
                return
        self._start = end + 1

    def _length_by_leader(self, length: int) -> int:
        """Look beyond an end mark that fell into the midst of a record: the leader counts further, to another mark."""
        declared = declared_length(self._buffer[self._start : self._start + 5])
        if declared <= length:
            return length
        while len(self._buffer) - self._start < declared and self._fill():
            pass
        end = self._start + declared
        is_mark = self._buffer[end - 1 : end] == END_OF_RECORD
        return declared if is_mark and not LEADER.search(self._buffer, self._start + length, end) else length

    def _fill(self) -> bool:
        """Read one block more; False at the end of the stream."""
        block = self._stream.read1(BLOCK)
        self._buffer = self._buffer[self._start :] + block
        self._start = 0
        return bool(block)
