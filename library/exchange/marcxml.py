"""MARCXML, read as a stream by a hardened parser: no document types, no entities, nothing external, memory bounded."""

import re
from collections.abc import Iterator
from io import BufferedIOBase
from typing import Any

from defusedxml.common import DTDForbidden
from defusedxml.ElementTree import DefusedXMLParser, ParseError
from pymarc import Field, Indicators, Record, Subfield

from library.exchange.frames import BLOCK
from library.exchange.iso2709 import Unreadable, new_leader
from library.exchange.marc import to_book_record
from library.exchange.records import BookRecord, FormatError, RecordFault

NAMESPACE = "http://www.loc.gov/MARC21/slim"
GIVE_UP = 2_000_000  # bytes without the end of a record; the markup of a record of 99,999 bytes takes less

_ELEMENTS = ("collection", "record", "leader", "controlfield", "datafield", "subfield")
# In its namespace or in none; a <record> of OAI-PMH or SRU around the one of MARC is no record.
_LOCAL_NAMES = {prefix + name: name for name in _ELEMENTS for prefix in ("", "{" + NAMESPACE + "}")}
_TAG = re.compile(r"[0-9A-Za-z]{3}")


def read_marcxml(stream: BufferedIOBase) -> Iterator[tuple[int, BookRecord | RecordFault]]:
    """Yield position (from 1) and content of every record; where the XML breaks, one fault stands for all the rest.

    Raises `FormatError` when the file turns out not to be MARCXML.
    """
    collector = _Collector()
    parser = DefusedXMLParser(target=collector, forbid_dtd=True, forbid_entities=True, forbid_external=True)
    position, since_record, trouble, block = 0, 0, "", b" "
    while block and not trouble:
        block = stream.read1(BLOCK)
        trouble = _feed(parser, block)
        since_record = len(block) if collector.finished else since_record + len(block)
        for raw in collector.take():
            position += 1
            yield position, raw.read(position)
        if since_record > GIVE_UP and not trouble:
            trouble = f"no end of a record was found within {GIVE_UP:,} bytes"
    if not collector.is_marc:
        raise FormatError(f"The XML cannot be read: {trouble}." if trouble else "The XML holds no MARC records.")
    if trouble:
        yield position + 1, RecordFault(position + 1, f"{trouble}; nothing from here on could be read")


def _feed(parser: Any, block: bytes) -> str:
    """Give the parser a block (an empty one ends the document); return what is wrong with it, or ""."""
    try:
        parser.feed(block) if block else parser.close()
    except ParseError as error:
        line, column = error.position
        return f"the XML is not well-formed at line {line}, column {column + 1}"
    except DTDForbidden:
        return "it declares a document type (DTD), which is not accepted"
    except (ValueError, LookupError):  # what expat and the codecs raise for encodings they do not know
        return "its character encoding is unknown"
    return ""


class _RawRecord:
    """One <record> while it is collected; `trouble` is the first thing that makes it unreadable."""

    def __init__(self) -> None:
        self.leader = ""
        self.fields: list[Field] = []
        self.trouble = ""

    def add(self, name: str, attributes: dict[str, str], subfields: list[Subfield], text: str) -> None:
        """Add a field; its tag must suit its element, or the bytes of ISO 2709 could not hold it."""
        tag = attributes.get("tag", "")
        if not _TAG.fullmatch(tag) or (name == "controlfield") is not tag.startswith("00"):
            self.trouble = self.trouble or f'a {name} has the tag "{tag[:10]}"'
        elif name == "controlfield":
            self.fields.append(Field(tag, data=text))
        elif any(len(subfield.code) != 1 for subfield in subfields):
            self.trouble = self.trouble or f"a subfield of field {tag} has no code of one character"
        else:
            first, second = ((attributes.get(name) or " ")[0] for name in ("ind1", "ind2"))
            self.fields.append(Field(tag, Indicators(first, second), subfields))

    def read(self, position: int) -> BookRecord | RecordFault:
        """Map what was collected."""
        try:
            if self.trouble:
                raise Unreadable(self.trouble)
            record = Record(leader=new_leader(self.leader))
            record.fields = list(self.fields)
            return to_book_record(record)
        except Unreadable as fault:
            number = next((field.data or "" for field in self.fields if field.tag == "001"), "")
            return RecordFault(position, str(fault), number.strip()[:100])


class _Collector:
    """The parser's target: collects records without building a tree, so that nothing is left to clear."""

    def __init__(self) -> None:
        self.is_marc = False
        self.finished: list[_RawRecord] = []
        self._record = _RawRecord()
        self._attributes: dict[str, str] = {}
        self._subfields: list[Subfield] = []
        self._code = ""
        self._text: list[str] | None = None

    def take(self) -> list[_RawRecord]:
        """Hand over the records finished so far."""
        taken, self.finished = self.finished, []
        return taken

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        """Begin an element."""
        name = _LOCAL_NAMES.get(tag)
        if name == "subfield":
            self._code, self._text = attributes.get("code", ""), []
        elif name == "datafield":
            self._attributes, self._subfields = attributes, []
        elif name == "controlfield":
            self._attributes, self._subfields, self._text = attributes, [], []
        elif name == "leader":
            self._text = []
        elif name is not None:
            self.is_marc = True
            self._record = _RawRecord()

    def data(self, text: str) -> None:
        """Keep the text of the elements that have any."""
        if self._text is not None:
            self._text.append(text)

    def end(self, tag: str) -> None:
        """Finish an element."""
        name = _LOCAL_NAMES.get(tag)
        if name is None:
            return
        text, self._text = "".join(self._text or ()), None
        if name == "subfield":
            self._subfields.append(Subfield(self._code, text))
        elif name in ("datafield", "controlfield"):
            self._record.add(name, self._attributes, self._subfields, text)
        elif name == "leader":
            self._record.leader = text
        elif name == "record":
            self.finished.append(self._record)
            self._record = _RawRecord()
