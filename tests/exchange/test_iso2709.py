"""ISO 2709: every alphabet is read, and damage costs no more than the record that has it."""

import io

import pytest
from pymarc import Record

from library.exchange.iso2709 import SeenRecord, decode, look
from library.exchange.marc import TAGS, read_marc, to_book_record
from library.exchange.records import BookRecord, RecordFault

from .build_twenty import as_mrc
from .making import read, titled


def marc8(title: bytes) -> bytes:
    """A record that says it is in MARC-8, with these bytes for a title."""
    raw = titled("#" * len(title)).as_marc()
    return raw[:9] + b" " + raw[10:].replace(b"#" * len(title), title)


@pytest.mark.parametrize(
    ("raw", "title"),
    [
        (b"Les mis\xe2erables", "Les misérables"),
        (b"\x1b(NwOJNA I MIR\x1b(B", "Война и мир"),
        (b"\x1b$1\x21\x30\x21\x1b(B", "一"),
        (b"Plain", "Plain"),
        ("Les misérables".encode(), "Les misérables"),
    ],
    ids=["ansel", "cyrillic", "cjk", "ascii", "utf-8 that is not marked"],
)
def test_marc8_is_read_and_kept_as_utf8(raw: bytes, title: str) -> None:
    [book] = read(marc8(raw))
    assert isinstance(book, BookRecord)
    assert book.title == title
    assert Record(book.source)["245"]["a"] == title
    assert book.source[9:10] == b"a"


@pytest.mark.parametrize("raw", [b"Les mis\xffrables", b"\x1b$1\x21\x30\x1b(B", b"\x1b$1\x20\x20\x20"])
def test_what_is_no_marc8_is_a_fault(raw: bytes, capsys: pytest.CaptureFixture[str]) -> None:
    assert read(marc8(raw)) == [RecordFault(1, "field 245 holds bytes that are no characters in MARC-8")]
    assert capsys.readouterr() == ("", "")


def test_invalid_utf8_is_a_fault_with_its_field_and_number() -> None:
    raw = titled("Caf\u00e9", "001 lib7").as_marc()
    broken = raw.replace("é".encode(), b"\xe9 ")
    assert read(broken) == [RecordFault(1, "field 245 is not valid UTF-8", "lib7")]


def test_a_healthy_record_keeps_its_bytes() -> None:
    assert b"".join(book.source for book in read(as_mrc()) if isinstance(book, BookRecord)) == as_mrc()


def sample(*lines: str) -> bytes:
    data: bytes = titled("Whales :", *lines).as_marc()
    return data


@pytest.mark.parametrize(
    "frame",
    [
        *(frame + b"\x1d" for frame in as_mrc().split(b"\x1d")[:-1]),
        sample("001 n1", "003 X", "008 " + "x" * 40, "650 _0 $aWhales$zÎles$xSea.", "999 __ $aunseen"),
        sample("020 __ $a0141439513$a", "700 1_ $aMelville, H.$eed.", "700 12 $aA work.", "650 _0 $tno heading"),
        sample("024 8_ $a17", "650 _0 $aWhales", "264 __ $bHarper")
        .replace(b" 0\x1faW", b" \x1f\x1faW")
        .replace(b"  \x1fbH", b"\x1f\x1f\x1fbH"),
    ],
)
def test_a_look_at_some_fields_says_what_the_whole_record_says(frame: bytes) -> None:
    seen, data = look(frame, TAGS)
    record, same = decode(frame)
    assert isinstance(seen, SeenRecord)
    assert data == same
    assert to_book_record(seen, data) == to_book_record(record, same)
    assert {one.tag for one in seen.fields} == {one.tag for one in record.fields} & TAGS


@pytest.mark.parametrize(
    ("place", "wrong"),
    [
        *((0, wrong) for wrong in (b"99999", b"00000", b"     ", b"\n\0\xffab")),
        *((12, wrong) for wrong in (b"00099", b"abcde")),
        *((10, b"xx"), (20, b"    ")),
    ],
)
def test_lengths_and_constants_of_a_leader_are_mended(place: int, wrong: bytes) -> None:
    whole, start = as_mrc(), as_mrc().index(b"\x1d") + 1
    broken = whole[: start + place] + wrong + whole[start + place + len(wrong) :]
    assert read(broken) == read(whole)


def test_a_directory_that_counts_characters_is_mended() -> None:
    right = titled("Bücher für Müller", "100 1_ $aÄÖÜ").as_marc()
    wrong = right.replace(b"100001100000245002500011", b"100000800000245002200008")
    assert wrong != right
    assert read(wrong) == read(right)


def test_a_directory_in_another_order_than_its_fields_is_right() -> None:
    raw = titled("Title", "100 1_ $aName").as_marc()
    swapped = raw[:24] + raw[36:48] + raw[24:36] + raw[48:]
    [book] = read(swapped)
    assert isinstance(book, BookRecord)
    assert (book.title, book.contributors[0].name, book.source) == ("Title", "Name", swapped)


def test_broken_bytes_cost_their_record_only() -> None:
    sound = read(as_mrc())
    chunks = as_mrc().split(b"\x1d")
    chunks[9] = chunks[9].replace(b"\x1e", b"?", 3)
    items = read(b"\x1d".join(chunks))
    assert items[9] == RecordFault(10, "the directory of the record does not fit its fields")
    assert items[:9] + items[10:] == sound[:9] + sound[10:]


@pytest.mark.parametrize("between", [b"\n", b"\r\n", b"\0\0", b"\x1d", b"   ", b"garbage", b"\x1a", b"\n\n  \n12"])
def test_garbage_between_records_costs_nothing(between: bytes) -> None:
    whole = as_mrc()
    assert read(between + whole.replace(b"\x1d", b"\x1d" + between).removesuffix(between) + b"\r\n\x1a") == read(whole)


@pytest.mark.parametrize("size", [1, 7, 23, 1000])
def test_the_size_of_the_blocks_does_not_matter(size: int) -> None:
    class Dripping(io.BytesIO):
        def read1(self, _: int | None = -1, /) -> bytes:
            return self.read(size)

    split = as_mrc().replace(b"Moby-Dick", b"Moby\x1dDick")
    assert [item for _, item in read_marc(Dripping(split))] == read(split)


def test_a_lost_end_mark_costs_nothing() -> None:
    whole, end = as_mrc(), as_mrc().index(b"\x1d")
    assert read(whole[:end] + b"!" + whole[end + 1 :]) == read(whole)
    assert read(whole[:end] + whole[end + 1 :]) == read(whole)
    assert read(whole[:-1]) == read(whole)


def test_a_lost_end_mark_behind_a_damaged_leader_costs_one_record() -> None:
    whole, end = as_mrc(), as_mrc().index(b"\x1d")
    items = read(whole[:5] + b"\xff" + whole[6:end] + b"!" + whole[end + 1 :])
    assert [type(item) for item in items[:2]] == [RecordFault, BookRecord]
    assert items[1:] == read(whole)[1:]


def test_an_end_mark_within_a_record_costs_a_letter() -> None:
    items = read(as_mrc().replace(b"Moby-Dick", b"Moby\x1dDick"))
    assert len(items) == 20
    assert isinstance(items[0], BookRecord)
    assert items[0].title == "Moby Dick, or, The whale"
    assert items[0].source.count(b"\x1d") == 1


def test_a_record_cut_off_at_the_end_is_one_fault() -> None:
    whole = as_mrc()
    items = read(whole[:-100])
    assert items[:19] == read(whole)[:19]
    assert items[19:] == [RecordFault(20, "the end of the record is missing", "lib00000020")]
    assert read(whole + b"00421nam a22") == [*read(whole), RecordFault(21, "the end of the record is missing")]


def test_a_record_longer_than_the_format_allows_is_one_fault() -> None:
    raw = titled("Long", "001 lib9").as_marc()
    long = b"99999" + raw[5:-1] + b"x" * 150_000 + b"\x1d"
    fault = RecordFault(2, "the record is longer than the 99,999 bytes that MARC 21 allows", "lib9")
    assert read(raw + long + raw) == [read(raw)[0], fault, read(raw)[0]]


def test_a_record_without_an_end_is_given_up_and_the_next_one_found() -> None:
    raw = titled("Next").as_marc()
    items = read(b"x" * 3_000_000 + b"\x1d" + raw)
    assert items == [RecordFault(1, "the record is longer than the 99,999 bytes that MARC 21 allows"), read(raw)[0]]
    assert len(read(raw + b"x" * 3_000_000)) == 2


def test_records_without_fields_or_with_a_damaged_leader_are_faults() -> None:
    assert read(b"00026nam a2200025 a 4500\x1e\x1d") == [RecordFault(1, "the record holds no fields")]
    raw = titled("T").as_marc()
    assert read(raw[:5] + b"\xff" + raw[6:]) == [RecordFault(1, "the leader of the record is damaged")]
