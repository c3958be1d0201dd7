"""MARC 21 written three ways: ISO 2709, MARCXML and MARC-in-JSON; what a format cannot hold is cut and said so."""

import re
from collections.abc import Iterable, Iterator
from typing import Any
from xml.sax.saxutils import escape

from pymarc import Field, Indicators, Record, Subfield

from library.exchange.csl import as_json, json_array
from library.exchange.iso2709 import LONGEST_FIELD, LONGEST_RECORD
from library.exchange.marc_of import marc_of, unchanged_source
from library.exchange.marcxml import NAMESPACE
from library.exchange.records import BookRecord

# The characters that part records, fields and subfields, and those that neither XML 1.0 nor UTF-8 can hold.
_SEPARATORS = re.compile("[\x1d-\x1f]")
_NOT_IN_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_ENTITIES = {"\r": "&#13;"}
_IN_QUOTES = {'"': "&quot;", "\t": "&#9;", "\n": "&#10;", "\r": "&#13;"}

# What the published schema of MARCXML lets stand at each place.
_LEADER = re.compile(r"[0-9 ]{5}[0-9A-Za-z ][0-9A-Za-z][0-9A-Za-z ]{3}22[0-9]{5}[0-9A-Za-z ]{3}4500")
_CODED = re.compile(r"[0-9A-Za-z ]")
_CONTROL_TAG = re.compile(r"00[1-9A-Za-z]")
_DATA_TAG = re.compile(r"0[1-9A-Z][0-9A-Z]|0[1-9a-z][0-9a-z]|[1-9A-Z][0-9A-Z]{2}|[1-9a-z][0-9a-z]{2}")
_INDICATOR = re.compile(r"[0-9a-z ]")
_CODE = re.compile(r"[0-9A-Za-z!\"#$%&'()*+,./:;<=>?{}_^`~\[\]\\-]")

MISSING = "{count} fields of this record are missing: it was too long for its format."


def iso2709_pieces(records: Iterable[BookRecord]) -> Iterator[bytes]:
    """Yield each record in ISO 2709 and UTF-8, without anything around them."""
    for record in records:
        yield unchanged_source(record) or as_iso2709(marc_of(record))


def as_iso2709(record: Record) -> bytes:
    """The bytes of a record; a field that is too long is cut, and fields for which there is no room are left out.

    A cut text ends in an ellipsis, and a note (500) tells how many fields are missing.
    """
    fields = [(field.tag, _field_bytes(field)) for field in record.fields]
    if _length(fields) > LONGEST_RECORD:
        fields = _that_fit(fields)
    directory, place = [], 0
    for tag, data in fields:
        directory.append(f"{tag}{len(data):04}{place:05}")
        place += len(data)
    base = 25 + 12 * len(fields)
    leader = _sound_leader(record)
    head = f"{base + place + 1:05}{leader[5:9]}a22{base:05}{leader[17:20]}4500" + "".join(directory) + "\x1e"
    return b"".join((head.encode("ascii"), *(data for _, data in fields), b"\x1d"))


def marcxml_pieces(records: Iterable[BookRecord]) -> Iterator[bytes]:
    """Yield a collection of all records."""
    yield f'<?xml version="1.0" encoding="UTF-8"?>\n<collection xmlns="{NAMESPACE}">\n'.encode()
    for record in records:
        yield as_xml(marc_of(record)).encode("utf-8")
    yield b"</collection>\n"


def marc_json_pieces(records: Iterable[BookRecord]) -> Iterator[bytes]:
    """Yield an array of all records."""
    return json_array(map(marc_json_alone, records))


def marc_json_alone(record: BookRecord) -> bytes:
    """One record as an object."""
    return as_json(_as_json_value(marc_of(record)))


def _field_bytes(field: Field) -> bytes:
    """The field with its end mark, in at most 9,999 bytes."""
    if field.control_field:
        data = _SEPARATORS.sub(" ", field.data or "").encode("utf-8", "replace")
        return (data if len(data) < LONGEST_FIELD else _cut(data, LONGEST_FIELD - 1)) + b"\x1e"
    parts = [
        b"\x1f" + _SEPARATORS.sub(" ", subfield.code + subfield.value).encode("utf-8", "replace")
        for subfield in field.subfields
    ]
    surplus = sum(map(len, parts)) + 3 - LONGEST_FIELD
    while surplus > 0:
        longest = max(range(len(parts)), key=lambda at: len(parts[at]))
        # Never shorter than the next would be, so that several long ones share the loss.
        goal = max(len(parts[longest]) - surplus, len(parts[longest]) // 2)
        parts[longest] = _cut(parts[longest], goal)
        surplus = sum(map(len, parts)) + 3 - LONGEST_FIELD
    indicators = _SEPARATORS.sub(" ", field.indicator1 + field.indicator2).encode("ascii", "replace")
    return b"".join([indicators, *parts, b"\x1e"])


def _cut(data: bytes, length: int) -> bytes:
    """The beginning of a text, no character torn, with an ellipsis."""
    return data[: length - 3].decode("utf-8", "ignore").rstrip().encode() + "…".encode()


def _length(fields: list[tuple[str, bytes]]) -> int:
    return 26 + sum(12 + len(data) for _, data in fields)


def _that_fit(fields: list[tuple[str, bytes]]) -> list[tuple[str, bytes]]:
    """The fields for which there is room, the last ones gone first, and a note on the others."""
    room = LONGEST_RECORD - 200
    kept = list(fields)
    while _length(kept) > room:
        # What is repeated most goes first: the title and the numbers of a record are never many.
        tags = [tag for tag, _ in kept]
        most = max(dict.fromkeys(reversed(tags)), key=lambda tag: sum(len(data) for one, data in kept if one == tag))
        del kept[len(tags) - 1 - tags[::-1].index(most)]
    note = Field("500", Indicators(" ", " "), [Subfield("a", MISSING.format(count=len(fields) - len(kept)))])
    place = next((at for at, (tag, _) in enumerate(kept) if tag > "500"), len(kept))
    kept.insert(place, ("500", _field_bytes(note)))
    return kept


def _sound_leader(record: Record) -> str:
    """A leader that the schema accepts; a wrong character becomes a blank, and "a" where the type stands."""
    leader = str(record.leader)
    if _LEADER.fullmatch(leader):
        return leader
    coded = "".join(character if _CODED.fullmatch(character) else " " for character in leader)
    kind = coded[6] if coded[6] != " " else "a"
    return f"00000{coded[5]}{kind}{coded[7:10]}2200000{coded[17:20]}4500"


def as_xml(record: Record) -> str:
    """One record; control fields come first, and what the schema has no place for is left out."""
    lines = ["<record>\n  <leader>", _sound_leader(record), "</leader>\n"]
    for field in record.fields:
        if field.control_field and _CONTROL_TAG.fullmatch(field.tag):
            lines += ('  <controlfield tag="', field.tag, '">', _xml(field.data or ""), "</controlfield>\n")
    for field in record.fields:
        if not field.control_field and field.subfields and _DATA_TAG.fullmatch(field.tag):
            first, second = map(_sound_indicator, (field.indicator1, field.indicator2))
            lines.append(f'  <datafield tag="{field.tag}" ind1="{first}" ind2="{second}">\n')
            for code, value in field.subfields:
                lines.append(f'    <subfield code="{_sound_code(code)}">{_xml(value)}</subfield>\n')
            lines.append("  </datafield>\n")
    return "".join([*lines, "</record>\n"])


def _xml(text: str) -> str:
    """The text without the characters that no XML document can hold."""
    if text.isalnum():
        return text
    return escape(_NOT_IN_XML.sub("", text), _ENTITIES)


def _sound_indicator(indicator: str) -> str:
    return indicator if _INDICATOR.fullmatch(indicator) else " "


def _sound_code(code: str) -> str:
    return escape(code, _IN_QUOTES) if _CODE.fullmatch(code) else "?"


def _as_json_value(record: Record) -> dict[str, Any]:
    """The shape of MARC-in-JSON: the leader, and a list of objects with one member each."""
    return {"leader": _sound_leader(record), "fields": [_json_field(field) for field in record.fields]}


def _json_field(field: Field) -> dict[str, Any]:
    if field.control_field:
        return {field.tag: field.data or ""}
    subfields = [{code: value} for code, value in field.subfields]
    return {field.tag: {"ind1": field.indicator1, "ind2": field.indicator2, "subfields": subfields}}
