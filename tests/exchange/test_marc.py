"""MARC 21: what becomes of each field, of each alphabet, and of each kind of damage."""

import io
from pathlib import Path

import pytest
from pymarc import Record

from library.exchange.iso2709 import Unreadable
from library.exchange.marc import read_marc, to_book_record
from library.exchange.records import BookRecord, ContributorRecord, IdentifierRecord, RecordFault

from .build_twenty import as_mrc, as_xml
from .making import record, titled


def read(data: bytes) -> list[BookRecord | RecordFault]:
    """Everything in these bytes, its positions checked."""
    numbered = list(read_marc(io.BytesIO(data)))
    assert [position for position, _ in numbered] == list(range(1, len(numbered) + 1))
    return [item for _, item in numbered]


def contributors(*lines: str) -> list[tuple[str, str, str, str]]:
    """Name, dates, role and kind that these fields give."""
    found = to_book_record(titled("T", *lines)).contributors
    return [(one.name, one.dates, one.role, one.kind) for one in found]


def with_fields(*lines: str) -> BookRecord:
    """A book with these fields."""
    return to_book_record(titled("T", *lines))


def test_the_files_are_those_of_the_builder(twenty: Path) -> None:
    assert (twenty / "twenty.mrc").read_bytes() == as_mrc()
    assert (twenty / "twenty.xml").read_bytes() == as_xml()


def test_a_whole_record() -> None:
    book = read(as_mrc())[1]
    assert isinstance(book, BookRecord)
    assert book.source.startswith(b"00")
    book.source = b""
    assert book == BookRecord(
        title="Pride and prejudice",
        contributors=[
            ContributorRecord("Austen, Jane", "author", "person", "1775-1817"),
            ContributorRecord("Jones, Vivien", "editor", "person"),
        ],
        publisher="Penguin Books",
        year=2003,
        year_text="2003",
        language="eng",
        series="Penguin classics",
        subjects=["Sisters -- England -- Fiction"],
        identifiers=[IdentifierRecord("isbn", "9780141439518"), IdentifierRecord("isbn", "0141439513")],
        control_number="lib00000002",
        source_format="marc21",
    )


@pytest.mark.parametrize(
    ("field", "title", "subtitle"),
    [
        ("245 10 $aFaust :$beine Tragödie /$cvon Goethe.", "Faust", "eine Tragödie"),
        ("245 10 $aHenry IV.$nPart 1 /$cShakespeare.", "Henry IV. Part 1", ""),
        ("245 10 $aFaust$nPart 1,$pDer Tragödie$bein Drama", "Faust. Part 1, Der Tragödie", "ein Drama"),
        ("245 10 $aGuerre et paix =$bWar and peace.", "Guerre et paix", "War and peace"),
        ("245 10 $a$aReal title", "Real title", ""),
    ],
)  # fmt: skip
def test_titles(field: str, title: str, subtitle: str) -> None:
    book = to_book_record(record(field))
    assert (book.title, book.subtitle) == (title, subtitle)


@pytest.mark.parametrize("fields", [["500 __ $aNote"], ["245 10 $bOnly a subtitle"], ["245 10 $a /"], ["245 10 $a "]])
def test_a_record_without_a_title_is_a_fault(fields: list[str]) -> None:
    with pytest.raises(Unreadable, match=r"the record has no title \(245 \$a\)"):
        to_book_record(record(*fields))


def test_contributors_main_entry_first() -> None:
    assert contributors("710 2_ $aPenguin Books.", "700 1_ $aHunt, Andrew.", "100 1_ $aThomas, David,$d1956-") == [
        ("Thomas, David", "1956-", "author", "person"),
        ("Penguin Books", "", "contributor", "body"),
        ("Hunt, Andrew", "", "contributor", "person"),
    ]


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        ("700 1_ $aTenniel, John,$cSir,$d1820-1914,$eill.", "Tenniel, John, Sir|1820-1914|illustrator|person"),
        ("100 0_ $aElizabeth$bII,$cQueen,$d1926-2022.", "Elizabeth II, Queen|1926-2022|author|person"),
        ("110 1_ $aUnited States.$bCongress.$bHouse.", "United States. Congress. House||author|body"),
        ("111 2_ $aWhale Days$n(2nd :$d1990 :$cOslo),$jeditor.", "Whale Days|1990|editor|body"),
        ("100 1_ $aFox, S. [from old catalog],$d1854- [from old catalog]", "Fox, S.|1854-|author|person"),
        ("100 0_ $aOvid,$d43 B.C.-17 A.D.", "Ovid|43 B.C.-17 A.D.|author|person"),
        ("700 1_ $aJoint, A.,$ejoint ed.", "Joint, A.||editor|person"),
        ("700 1_ $aCoded, B.$4http://id.loc.gov/vocabulary/relators/trl", "Coded, B.||translator|person"),
        ("100 1_ $aPainter, C.,$eartist.", "Painter, C.||contributor|person"),
    ],
)
def test_a_contributor(field: str, expected: str) -> None:
    assert ["|".join(one) for one in contributors(field)] == [expected]


def test_one_contributor_in_two_roles_and_never_twice_in_one() -> None:
    fields = ("100 1_ $aDoe, J.,$eed. and tr.", "700 1_ $aDoe, J.,$eeditor,$eformer owner.")
    assert [role for _, _, role, _ in contributors(*fields)] == ["editor", "translator"]


def test_works_and_parts_are_no_contributors() -> None:
    fields = ("700 1_ $aHomer.$tIliad.", "700 12 $aMansfield, J. K. F.", "700 1_ $a,$d1900-")
    assert contributors(*fields) == []


@pytest.mark.parametrize(
    ("fields", "publisher", "year", "year_text"),
    [
        (["260 __ $aParis :$bHachette,$c1999."], "Hachette", 1999, "1999"),
        (["264 _4 $c©2001", "264 _1 $bHachette,$c[2002]"], "Hachette", 2002, "[2002]"),
        (["264 _4 $c©2001"], "", 2001, "©2001"),
        (["260 __ $a[Paris :$bHachette,$c1899?]"], "Hachette", 1899, "1899?"),
        (["008 240101s1987", "260 __ $cMCMLXXXVIII"], "", 1987, "MCMLXXXVIII"),
        (["008 240101s19uu", "260 __ $c[19--]"], "", None, "[19--]"),
        (["008 240101s9999", "260 __ $c0999"], "", None, "0999"),
        ([], "", None, ""),
    ],
)
def test_publication(fields: list[str], publisher: str, year: int | None, year_text: str) -> None:
    book = with_fields(*fields)
    assert (book.publisher, book.year, book.year_text) == (publisher, year, year_text)


@pytest.mark.parametrize(
    ("extent", "pages"),
    [
        ("xii, 340 p. :", 340),
        ("xii, 340, [2] p.", 340),
        ("2 v. (xx, 1240 pages)", 1240),
        ("3 p. l., 5-89 p.", 89),
        ("vi p., 1 l., 291 p.", 291),
        ("320 leaves", None),
        ("4 v.", None),
        ("1 v. (unpaged)", None),
        ("123456789 p.", None),
        ("١٢٣ p.", None),
    ],
)
def test_pages(extent: str, pages: int | None) -> None:
    assert with_fields(f"300 __ $a{extent}").pages == pages


@pytest.mark.parametrize(
    ("fields", "series"),
    [
        (["830 _0 $aLecture notes.$pPhysics ;$vv. 3."], "Lecture notes. Physics ; v. 3"),
        (["830 _0 $aTraced.", "490 1_ $aAs printed ;$v12"], "As printed ; 12"),
        (["440 _0 $aOld series"], "Old series"),
        (["490 1_ $v7"], ""),
    ],
)
def test_series(fields: list[str], series: str) -> None:
    assert with_fields(*fields).series == series


def test_subjects() -> None:
    book = with_fields(
        "650 _0 $aWhales.",
        "650 _1 $aWhales for children.",
        "650 _2 $aCetacea.",
        "650 _7 $aWhales.$2fast",
        "600 10 $aMelville, Herman,$d1819-1891.$tMoby Dick$vIndexes.",
        "630 00 $aBible.$pGenesis$xCriticism, interpretation, etc.",
        "651 _0 $aUnited States$xHistory$y19th century.",
        "655 _4 $aNovels.",
        "650 _0 $x",
    )
    assert book.subjects == [
        "Whales",
        "Melville, Herman, 1819-1891. Moby Dick -- Indexes",
        "Bible. Genesis -- Criticism, interpretation, etc.",
        "United States -- History -- 19th century",
        "Novels",
    ]


def test_identifiers() -> None:
    book = with_fields(
        "010 __ $a   00000002 ",
        "020 __ $a0141439513$a0-14-143951-3",
        "020 __ $a0141439514",
        "022 __ $a0028-0836",
        "035 __ $a(OCoLC)ocm05853149",
        "035 __ $a(DLC)12",
    )
    assert [(one.scheme, one.value) for one in book.identifiers] == [
        ("isbn", "0141439513"),
        ("issn", "00280836"),
        ("lccn", "00000002"),
        ("oclc", "5853149"),
    ]


def test_smaller_fields() -> None:
    book = with_fields(
        "001  ab 12 ", "250 __ $a2nd ed., rev. /$bby X.", "520 __ $a  ", "520 __ $aA  tale.", "520 __ $aNo"
    )
    assert (book.control_number, book.edition, book.description) == ("ab 12", "2nd ed., rev.", "A tale.")
    assert with_fields("008 " + "x" * 35 + "ENG").language == ""


@pytest.mark.parametrize(
    ("kind", "material"),
    [
        ("am", "book"), ("aa", "book"), ("as", "serial"), ("ai", "serial"), ("tm", "manuscript"), ("em", "map"),
        ("fm", "map"), ("cm", "score"), ("dm", "score"), ("im", "sound"), ("jm", "sound"), ("gm", "video"),
        ("km", "image"), ("mm", "computer_file"), ("om", "kit"), ("rm", "object"), ("pc", "mixed"), ("zz", "book"),
    ],
)  # fmt: skip
def test_material_type(kind: str, material: str) -> None:
    assert to_book_record(titled("T", leader=f"00000n{kind} a2200000 a 4500")).material_type == material


def test_long_texts_are_cut_at_the_width_of_their_column() -> None:
    long = "x" * 9000
    fields = ("010 __ $a", "245 10 $a", "250 __ $a", "260 __ $b", "264 _4 $c", "490 0_ $a", "520 __ $a", "650 _0 $a")
    person = f"100 1_ $a{long[:8000]}$d{long[:999]}"
    book = to_book_record(record(f"001 {long}", person, *(field + long for field in fields)))
    assert len(book.title) == 2000
    assert book.title.endswith("x…")
    assert [len(text) for text in (book.publisher, book.edition, book.series, book.year_text)] == [500, 500, 500, 200]
    assert [len(text) for text in (*book.subjects, book.control_number)] == [500, 100]
    assert (len(book.contributors[0].name), len(book.contributors[0].dates)) == (500, 100)
    assert [len(one.value) for one in book.identifiers] == [100]
    assert Record(book.source)["245"]["a"] == long


def test_a_record_too_long_for_its_format_is_a_fault() -> None:
    with pytest.raises(Unreadable, match=r"a field of the record is longer than the 9,999 bytes"):
        to_book_record(titled("T", "520 __ $a" + "x" * 9_999))
    with pytest.raises(Unreadable, match=r"the record is longer than the 99,999 bytes"):
        to_book_record(titled("T", *["520 __ $a" + "x" * 9_000] * 12))


# Alphabets


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


# Damage


def test_a_healthy_record_keeps_its_bytes() -> None:
    assert b"".join(book.source for book in read(as_mrc()) if isinstance(book, BookRecord)) == as_mrc()


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
