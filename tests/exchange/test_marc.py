"""MARC 21: what becomes of each field."""

from pathlib import Path

import pytest
from pymarc import Record

from library.exchange.iso2709 import Unreadable
from library.exchange.marc import to_book_record
from library.exchange.records import BookRecord, ContributorRecord, IdentifierRecord

from .build_twenty import as_mrc, as_xml
from .making import read, record, titled


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
    fields = ("024 8_ $a", "245 10 $a", "250 __ $a", "260 __ $b", "264 _4 $c", "490 0_ $a", "520 __ $a", "650 _0 $a")
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
