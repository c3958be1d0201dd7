"""MARCXML: as good as ISO 2709 where it is whole, and harmless where it is not."""

import io
import re

import pytest

from library.exchange.marc import read_marc
from library.exchange.marcxml import NAMESPACE, read_marcxml
from library.exchange.records import BookRecord, FormatError, RecordFault

from .build_twenty import as_mrc, as_xml

RECORD = (
    '<record><leader>     cam a22     4a 4500</leader><controlfield tag="001">lib1</controlfield>'
    '<datafield tag="245" ind1="1" ind2="0"><subfield code="a">Title /</subfield></datafield></record>'
)


def read(text: str | bytes) -> list[BookRecord | RecordFault]:
    """Everything in this document, its positions checked."""
    numbered = list(read_marcxml(io.BytesIO(text if isinstance(text, bytes) else text.encode())))
    assert [position for position, _ in numbered] == list(range(1, len(numbered) + 1))
    return [item for _, item in numbered]


def collection(*records: str) -> str:
    """A document of these records."""
    return f'<collection xmlns="{NAMESPACE}">{"".join(records)}</collection>'


def title_of(item: BookRecord | RecordFault) -> str:
    """The title of a book, which a fault has not."""
    assert isinstance(item, BookRecord)
    return item.title


def test_the_twenty_are_the_same_in_both_formats() -> None:
    assert list(read_marcxml(io.BytesIO(as_xml()))) == list(read_marc(io.BytesIO(as_mrc())))


OAI = "http://www.openarchives.org/OAI/2.0/"
NAMESPACED = RECORD.replace("<record>", f'<record xmlns="{NAMESPACE}">')
PREFIXED = re.sub(r"<(/?)", r"<\1m:", collection(RECORD)).replace("xmlns=", "xmlns:m=")


@pytest.mark.parametrize(
    "document",
    [
        RECORD,
        f"<collection>{RECORD}</collection>",
        collection(RECORD),
        f'<?xml version="1.0"?>\n<!-- hello -->{NAMESPACED}',
        PREFIXED,
        f'<OAI-PMH xmlns="{OAI}"><record><metadata>{NAMESPACED}</metadata></record></OAI-PMH>',
    ],
    ids=["bare", "no namespace", "namespace", "one record", "prefix", "oai"],
)
def test_records_are_found_in_every_usual_wrapping(document: str) -> None:
    [book] = read(document)
    assert title_of(book) == "Title"
    assert isinstance(book, BookRecord)
    assert book.control_number == "lib1"
    assert list(read_marc(io.BytesIO(book.source))) == [(1, book)]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "latin-1", "cp1252"])
def test_encodings(encoding: str) -> None:
    declared = f'<?xml version="1.0" encoding="{encoding.removesuffix("-sig")}"?>' + collection(RECORD)
    assert title_of(read(declared.replace("Title", "Émile").encode(encoding))[0]) == "Émile"


def test_a_leader_may_be_short_or_absent() -> None:
    leader = "<leader>     cam a22     4a 4500</leader>"
    short, absent = RECORD.replace(leader, "<leader>00000nem a22</leader>"), RECORD.replace(leader, "")
    items = read(collection(short, absent))
    assert [item.material_type for item in items if isinstance(item, BookRecord)] == ["map", "book"]
    assert list(read_marc(io.BytesIO(b"".join(item.source for item in items if isinstance(item, BookRecord)))))


@pytest.mark.parametrize(
    ("was", "now", "reason"),
    [
        ("Title /", " ", "the record has no title (245 $a)"),
        ('tag="245"', 'tag="24"', 'a datafield has the tag "24"'),
        ('datafield tag="245"', "datafield", 'a datafield has the tag ""'),
        ('tag="001"', 'tag="100"', 'a controlfield has the tag "100"'),
        ('code="a"', "", "a subfield of field 245 has no code of one character"),
        ("     cam", "     cäm", "the leader of the record is damaged"),
        ("Title /", "x" * 10_000, "a field of the record is longer than the 9,999 bytes that MARC 21 allows"),
    ],
)
def test_a_faulty_record_costs_that_record_only(was: str, now: str, reason: str) -> None:
    items = read(collection(RECORD, RECORD.replace(was, now), RECORD))
    assert len(items) == 3
    assert items[1] == RecordFault(2, reason, "" if "001" in was else "lib1")
    assert title_of(items[0]) == title_of(items[2]) == "Title"


def test_indicators_may_be_missing() -> None:
    assert title_of(read(RECORD.replace(' ind1="1" ind2="0"', ' ind1=""'))[0]) == "Title"


@pytest.mark.parametrize(
    "broken",
    [
        "<record><leader>",
        "</collection>&",
        "<record></leader>",
        "&unknown;",
        "\x01",
        "<a",
        RECORD.replace("Title", "\x1f"),
    ],
)
def test_where_the_xml_breaks_one_fault_stands_for_the_rest(broken: str) -> None:
    items = read(collection(RECORD, RECORD).removesuffix("</collection>") + broken)
    assert [title_of(item) for item in items[:2]] == ["Title", "Title"]
    assert [type(item) for item in items[2:]] == [RecordFault]
    fault = items[2]
    assert isinstance(fault, RecordFault)
    assert fault.position == 3
    assert fault.reason.startswith("the XML is not well-formed at line 1, column ")
    assert fault.reason.endswith("; nothing from here on could be read")


def test_bytes_in_another_encoding_than_declared_break_the_xml() -> None:
    items = read(collection(RECORD, RECORD.replace("Title", "Émile")).encode("latin-1"))
    assert [type(item) for item in items] == [BookRecord, RecordFault]


@pytest.mark.parametrize(
    ("document", "sentence"),
    [
        ('<!DOCTYPE c [<!ENTITY a "aaa">]>' + RECORD, "it declares a document type"),
        ('<!DOCTYPE c SYSTEM "file:///etc/passwd">' + RECORD, "it declares a document type"),
        ("<html><p>Not found</html>", "the XML is not well-formed at line 1"),
        ('<?xml version="1.0" encoding="klingon"?>' + RECORD, "its character encoding is unknown"),
        ('<?xml version="1.0" encoding="shift_jis"?>' + RECORD, "its character encoding is unknown"),
        ("<html><p>Not found</p></html>", "The XML holds no MARC records"),
        ("<", "the XML is not well-formed"),
    ],
)
def test_what_is_no_marcxml_is_refused_in_a_sentence(document: str, sentence: str) -> None:
    with pytest.raises(FormatError, match=sentence):
        read(document)


def test_an_empty_collection_holds_nothing() -> None:
    assert read(collection()) == []


@pytest.mark.parametrize("endless", ["<x>" + "y" * 5_000_000, "<x y='" + "z" * 5_000_000, "<x>" + "<y/>" * 1_000_000])
def test_a_record_without_an_end_is_given_up(endless: str) -> None:
    items = read(collection(RECORD).removesuffix("</collection>") + endless)
    fault = "no end of a record was found within 2,000,000 bytes; nothing from here on could be read"
    assert items[1:] == [RecordFault(2, fault)]
