"""One ISO 2709 record from bytes to pymarc's Record and back, mending what its bytes still tell."""

import re
from collections.abc import Container
from dataclasses import dataclass

from pymarc import Field, Indicators, Record, Subfield
from pymarc.marc8 import marc8_to_unicode

from library.exchange.frames import END_OF_FIELD, END_OF_RECORD, LEADER_LENGTH, LONGEST_RECORD, declared_length

LONGEST_FIELD = 9_999  # the four digits of its length in the directory allow no more
NEW_LEADER = "00000nam a2200000   4500"
SUBFIELD = "\x1f"

_SUBFIELDS = re.compile(f"{SUBFIELD}([^{SUBFIELD}])([^{SUBFIELD}]*)")
_ENTRY_LENGTH = 12
_ENTRY = re.compile(r"(...)(....)(.....)")
_DIRECTORY = re.compile(rb"(?:[0-9A-Za-z]{3}[0-9]{9})+")
_TAG = re.compile(rb"[0-9A-Za-z]{3}")
_ESCAPE = b"\x1b"
_CJK = re.compile(rb"\x1b\$,?1([^\x1b]*)")  # MARC-8: an escape to the East Asian set, three bytes a character


class Unreadable(Exception):
    """Why one record cannot be read, in words for the person who sent the file."""


class SeenField:
    """A field to be looked at, with as much of pymarc's own as that takes: it is cheaper to make."""

    __slots__ = ("data", "subfields", "tag")

    def __init__(self, tag: str, text: str) -> None:
        self.tag = tag
        self.data = text
        # Pairs of a code and a value, as pymarc's are.
        self.subfields: list[tuple[str, str]] = _SUBFIELDS.findall(text)

    @property
    def indicator1(self) -> str:
        """The first indicator, "" where there is none."""
        return self.data[:1].rstrip(SUBFIELD)

    @property
    def indicator2(self) -> str:
        """The second one, likewise."""
        return self.data[:2].partition(SUBFIELD)[0][1:]


@dataclass(slots=True)
class SeenRecord:
    """A record to be looked at, without the fields of other tags than were asked for."""

    leader: str
    fields: list[SeenField]


def decode(frame: bytes) -> tuple[Record, bytes]:
    """Return the record and its bytes in UTF-8; raise `Unreadable` when they cannot be made out."""
    raw = _Raw(frame)
    record = raw.record()
    return record, raw.data if raw.is_sound else encode(record)


def look(frame: bytes, tags: Container[str]) -> tuple[SeenRecord | Record, bytes]:
    """The same where only fields of certain tags are looked at, which is cheaper; there may be others too."""
    raw = _Raw(frame)
    if raw.is_sound:
        fields = [SeenField(tag, value.decode()) for tag, value in raw.fields if tag in tags]
        return SeenRecord(raw.leader, fields), raw.data
    record = raw.record()
    return record, encode(record)


class _Raw:
    """A record as its bytes tell it."""

    def __init__(self, frame: bytes) -> None:
        self._frame = _closed(frame)
        self.fields, intact = _raw_fields(self._frame)
        head = self._frame[:LEADER_LENGTH]
        # Lengths and constants are known without the leader; only the rest of it says something.
        self.leader = new_leader((b"00000" + head[5:10] + b"2200000" + head[17:20]).decode("latin-1"))
        # Who claims MARC-8 is believed only if the bytes are no valid UTF-8: MARC-8 hardly ever is by accident.
        valid_utf8 = _is_valid_utf8(self._frame)
        self._is_utf8 = self.leader[9] == "a" or (valid_utf8 and _ESCAPE not in self._frame)
        self.is_sound = intact and self._is_utf8 and valid_utf8

    @property
    def data(self) -> bytes:
        """The bytes of a sound record, which say that they are in UTF-8."""
        return self._frame if self._frame[9:10] == b"a" else self._frame[:9] + b"a" + self._frame[10:]

    def record(self) -> Record:
        """The record with all its fields."""
        decoded = _from_utf8 if self._is_utf8 else _from_marc8
        record = Record(leader=self.leader)
        record.fields = [_field(tag, decoded(tag, value)) for tag, value in self.fields]
        return record


def encode(record: Record) -> bytes:
    """Return the record as ISO 2709 in UTF-8; raise `Unreadable` when it is longer than the format can hold."""
    data: bytes = record.as_marc()
    if len(data) > LONGEST_RECORD:
        raise Unreadable(f"the record is longer than the {LONGEST_RECORD:,} bytes that MARC 21 allows")
    # A length of five digits makes the directory longer than its entries should be.
    if int(data[12:17]) != LEADER_LENGTH + _ENTRY_LENGTH * len(record.fields) + 1:
        raise Unreadable(f"a field of the record is longer than the {LONGEST_FIELD:,} bytes that MARC 21 allows")
    return data


def control_number(frame: bytes) -> str:
    """The control number of a record that could not be read, where its bytes still show it."""
    parts = frame.split(END_OF_FIELD, 2)
    if len(parts) < 3 or frame[LEADER_LENGTH : LEADER_LENGTH + 7] != b"001%04d" % (len(parts[1]) + 1):
        return ""
    number = parts[1].decode("ascii", "replace").strip()
    return number if number.isascii() and number.isprintable() and len(number) <= 100 else ""


def new_leader(text: str) -> str:
    """Return a leader of 24 characters with the constants of MARC 21, out of one that may be short or absent."""
    if not (text.isascii() and text.isprintable()):
        raise Unreadable("the leader of the record is damaged")
    text = text[:LEADER_LENGTH] + NEW_LEADER[len(text) :]
    return f"{text[:10]}22{text[12:20]}4500"


def _closed(frame: bytes) -> bytes:
    """Return the record with one end mark, at its end."""
    if len(frame) > LONGEST_RECORD:
        raise Unreadable(f"the record is longer than the {LONGEST_RECORD:,} bytes that MARC 21 allows")
    if not frame.endswith(END_OF_RECORD):
        frame = frame.rstrip(b"\r\n\x00\x1a")
        if frame.endswith(END_OF_FIELD):
            frame += END_OF_RECORD
        elif frame[-2:-1] == END_OF_FIELD and declared_length(frame) == len(frame):
            frame = frame[:-1] + END_OF_RECORD
        else:
            raise Unreadable("the end of the record is missing")
    if frame.index(END_OF_RECORD) == len(frame) - 1:
        return frame
    # An end mark inside would cut the record in two wherever it is read next.
    return frame[:-1].replace(END_OF_RECORD, b" ") + END_OF_RECORD


def _raw_fields(frame: bytes) -> tuple[list[tuple[str, bytes]], bool]:
    """Return tag and bytes of each field, and whether leader and directory agree with them."""
    base = frame.find(END_OF_FIELD, LEADER_LENGTH) + 1
    if base <= LEADER_LENGTH + 1:
        raise Unreadable("the record holds no fields")
    directory = frame[LEADER_LENGTH : base - 1]
    *values, rest = frame[base:-1].split(END_OF_FIELD)
    if not rest:
        fields = _fields_in_order(directory, values) or _fields_by_directory(directory, values)
        if fields:
            return fields, frame[:5] + frame[10:17] + frame[20:24] == b"%05d22%05d4500" % (len(frame), base)
    tags = [directory[start : start + 3] for start in range(0, len(directory), _ENTRY_LENGTH)]
    is_whole = not rest and len(directory) % _ENTRY_LENGTH == 0 and all(map(_TAG.fullmatch, tags))
    if not is_whole or len(tags) != len(values):
        raise Unreadable("the directory of the record does not fit its fields")
    # The numbers are wrong (many a program counted characters, not bytes); the order of the fields remains.
    return [(tag.decode("ascii"), value) for tag, value in zip(tags, values, strict=True)], False


def _fields_in_order(directory: bytes, values: list[bytes]) -> list[tuple[str, bytes]]:
    """The fields where they stand in the order of the directory, as nearly always; else none at all."""
    if len(directory) != _ENTRY_LENGTH * len(values) or not directory.isalnum():
        return []
    entries, fields, at, start = directory.decode("ascii"), [], 0, 0
    for value in values:
        length = len(value) + 1
        # Length and place stand in the digits of one number.
        number = entries[at + 3 : at + 12]
        if not number.isdigit() or int(number) != length * 100_000 + start:
            return []
        fields.append((entries[at : at + 3], value))
        start += length
        at += _ENTRY_LENGTH
    return fields


def _fields_by_directory(directory: bytes, values: list[bytes]) -> list[tuple[str, bytes]]:
    """The fields to which the directory points; none at all as soon as one entry does not point at a whole field."""
    if not _DIRECTORY.fullmatch(directory):
        return []
    value_at, start = {}, 0
    for value in values:
        value_at[start] = value
        start += len(value) + 1
    fields = []
    for tag, length, place in _ENTRY.findall(directory.decode("ascii")):
        found = value_at.get(int(place))
        if found is None or len(found) + 1 != int(length):
            return []
        fields.append((tag, found))
    return fields


def _field(tag: str, text: str) -> Field:
    """One field with its texts."""
    if tag < "010" and tag.isdigit():
        return Field(tag, data=text)
    indicators, *subfields = text.split(SUBFIELD)
    indicators += "  "
    return Field(
        tag, Indicators(indicators[0], indicators[1]), [Subfield(part[0], part[1:]) for part in subfields if part]
    )


def _from_utf8(tag: str, value: bytes) -> str:
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Unreadable(f"field {tag} is not valid UTF-8") from error


def _from_marc8(tag: str, value: bytes) -> str:
    """Decode each subfield by itself: a change of character set ends with the subfield."""
    try:
        return "\x1f".join(map(_marc8_text, value.split(b"\x1f")))
    except UnicodeDecodeError as error:
        raise Unreadable(f"field {tag} holds bytes that are no characters in MARC-8") from error


def _marc8_text(value: bytes) -> str:
    """Decode a piece of MARC-8; pymarc puts a blank for what it does not know, and here that is an error."""
    if value.isascii() and _ESCAPE not in value:
        return value.decode("ascii")
    is_torn = any(len(characters) % 3 for characters in _CJK.findall(value))
    text: str = "" if is_torn else marc8_to_unicode(value, True)
    if is_torn or text.count(" ") > _CJK.sub(b"", value).count(b" "):
        raise UnicodeDecodeError("marc-8", value, 0, len(value), "unknown character")
    return text


def _is_valid_utf8(frame: bytes) -> bool:
    try:
        frame.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True
