"""MARC written three ways: the same records come out, other people's readers take them, and nothing breaks a file."""

import io
import json
from itertools import chain
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import etree
from pymarc import Field, Indicators, JSONReader, MARCReader, Record, Subfield, parse_xml_to_array

from library.exchange.iso2709 import decode, encode
from library.exchange.marc import read_marc, to_book_record
from library.exchange.marc_of import marc_of
from library.exchange.marc_writers import as_iso2709, as_xml
from library.exchange.marcxml import read_marcxml
from library.exchange.records import BookRecord, ContributorRecord
from library.exchange.writers import WRITERS

from .books import books, whale
from .build_twenty import as_mrc
from .making import read, record, titled

TWENTY = [book for book in read(as_mrc()) if isinstance(book, BookRecord)]
SCHEMA = etree.XMLSchema(etree.parse(Path(__file__).parents[1] / "data" / "marcxml.xsd"))


def written(media_type: str, *books: BookRecord) -> bytes:
    return b"".join(WRITERS[media_type].write(books))


def marc(*books: BookRecord) -> bytes:
    return written("application/marc", *books)


def xml(*books: BookRecord) -> bytes:
    return written("application/marcxml+xml", *books)


def as_json(*books: BookRecord) -> bytes:
    return written("application/marc-in-json", *books)


def check(document: bytes) -> None:
    """The document keeps the rules of MARCXML."""
    SCHEMA.assertValid(etree.fromstring(document))


def described(record: Record) -> tuple[str, list[str]]:
    """The leader without its lengths, and every field."""
    leader = str(record.leader)
    return leader[5:10] + leader[17:20], [str(field) for field in record.fields]


def by_pymarc(data: bytes, media_type: str) -> list[Record]:
    """The records that pymarc, and none of our own code, reads."""
    if media_type == "application/marc":
        return list(MARCReader(data, force_utf8=False))
    if media_type == "application/marcxml+xml":
        return parse_xml_to_array(io.BytesIO(data))
    return list(JSONReader(data.decode()))


MARC_TYPES = ["application/marc", "application/marcxml+xml", "application/marc-in-json"]


@pytest.mark.parametrize("media_type", MARC_TYPES)
def test_another_reader_finds_every_field(media_type: str) -> None:
    for many in (TWENTY, [whale()]):
        found = by_pymarc(written(media_type, *many), media_type)
        assert [described(one) for one in found] == [described(marc_of(book)) for book in many]


@settings(max_examples=60, deadline=None)
@given(st.lists(books(), min_size=1, max_size=2))
def test_every_book_comes_back_from_each_format(some: list[BookRecord]) -> None:
    for found in (read_marc(io.BytesIO(marc(*some))), read_marcxml(io.BytesIO(xml(*some)))):
        assert [strip(item) for _, item in found] == some
    check(xml(*some))
    assert [strip(to_book_record(one)) for one in JSONReader(as_json(*some).decode())] == some


def strip(book: object) -> BookRecord:
    assert isinstance(book, BookRecord)
    book.source, book.source_format = b"", ""
    return book


raw_texts = st.text(st.characters(), max_size=8)
raw_fields = st.one_of(
    st.builds(lambda tag, data: Field(tag, data=data), st.from_regex(r"00[0-9A-Za-z]", fullmatch=True), raw_texts),
    st.builds(
        lambda tag, indicators, subfields: Field(tag, Indicators(*indicators), [Subfield(*one) for one in subfields]),
        st.from_regex(r"[1-9A-Za-z][0-9A-Za-z]{2}", fullmatch=True),
        st.tuples(*[st.characters()] * 2),
        st.lists(st.tuples(st.characters(), raw_texts), max_size=3),
    ),
)


@settings(max_examples=80, deadline=None)
@given(st.lists(raw_fields, min_size=1, max_size=4), st.text(st.characters(codec="ascii"), min_size=24, max_size=24))
def test_nothing_in_a_record_breaks_the_file(fields: list[Field], leader: str) -> None:
    made = Record(leader=leader)
    made.fields = fields
    check(f'<collection xmlns="http://www.loc.gov/MARC21/slim">{as_xml(made)}</collection>'.encode())
    data = as_iso2709(made)
    again, _ = decode(data)
    assert len(data) == int(data[:5])
    assert [field.tag for field in again.fields] == [field.tag for field in fields]


def test_characters_that_xml_cannot_hold_are_left_out() -> None:
    odd = titled("A\x1bB\ufffeC\x88D&<\r\n")
    assert etree.fromstring(as_xml(odd)).findtext(".//subfield") == "ABC\x88D&<\r\n"


def test_one_record_is_an_object_and_many_are_an_array() -> None:
    writer = WRITERS["application/marc-in-json"]
    assert json.loads(writer.one(whale())) == json.loads(as_json(whale()))[0]
    assert json.loads(as_json()) == []


LONG = "\u6c34" * 10_000  # three bytes each


def test_a_long_text_is_cut_for_iso_2709_alone() -> None:
    book = whale(description=LONG)
    (again,) = by_pymarc(marc(book), "application/marc")
    assert again["520"]["a"] == LONG[: len(again["520"]["a"]) - 1] + "…"
    assert len(again["520"].as_marc("utf-8")) in range(9_990, 10_000)
    assert by_pymarc(xml(book), "application/marcxml+xml")[0]["520"]["a"] == LONG
    assert by_pymarc(as_json(book), "application/marc-in-json")[0]["520"]["a"] == LONG


def test_two_long_texts_of_one_field_share_the_loss() -> None:
    (again,) = by_pymarc(marc(whale(title="a" * 9_000, subtitle="b" * 9_000)), "application/marc")
    assert all(len(again["245"][code]) > 3_000 for code in "ab")
    assert len(again["245"].as_marc("utf-8")) in range(9_990, 10_000)


def test_a_control_field_is_cut_as_well() -> None:
    (again,) = by_pymarc(marc(whale(control_number="x" * 12_000)), "application/marc")
    assert len(again["001"].data.encode()) == 9_998


def test_fields_for_which_there_is_no_room_are_counted() -> None:
    people = [ContributorRecord(f"{number:04} {'x' * 480}") for number in range(300)]
    data = marc(whale(contributors=people), whale())
    again, after = by_pymarc(data, "application/marc")
    missing = 300 - len(again.get_fields("100", "700"))
    assert missing in range(90, 120)
    assert again["500"]["a"] == f"{missing} fields of this record are missing: it was too long for its format."
    assert [field["a"][:4] for field in again.get_fields("700")] == [f"{at:04}" for at in range(1, 300 - missing)]
    assert again["650"]["a"] == "Whales"
    assert described(after) == described(marc_of(whale()))


def test_a_source_goes_out_as_bytes() -> None:
    assert marc(*TWENTY) == b"".join(book.source for book in TWENTY)
    assert b"".join(map(encode, map(marc_of, TWENTY))) == marc(*TWENTY)


def test_control_fields_come_first_in_xml() -> None:
    made = record("245 00 $aT", "001 1", "500 __")
    made.fields[2].subfields = []
    tags = [node.get("tag") for node in etree.fromstring(f"<r>{as_xml(made)}</r>").iter("controlfield", "datafield")]
    assert tags == ["001", "245"]


def test_no_records_are_a_valid_file() -> None:
    assert marc() == b""
    check(xml())
    with pytest.raises(etree.DocumentInvalid):
        check(xml().replace(b"</collection>", b"<record/></collection>"))
    assert list(chain(by_pymarc(as_json(), MARC_TYPES[2]))) == []
