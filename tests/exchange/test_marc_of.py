"""A book as a MARC record: made anew nothing is lost, changed nothing else is touched."""

import dataclasses
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pymarc import Record

from library.exchange.iso2709 import encode
from library.exchange.marc import to_book_record
from library.exchange.marc_fields import MARC_LOSSES, OWN_NUMBERS
from library.exchange.marc_of import is_same, marc_of, unchanged_source
from library.exchange.records import BookRecord, ContributorRecord, IdentifierRecord

from .books import MOMENT, books, whale
from .build_twenty import as_mrc
from .making import read, record, titled

TWENTY = [book for book in read(as_mrc()) if isinstance(book, BookRecord)]


def content(book: BookRecord) -> BookRecord:
    """The book without where it came from."""
    return dataclasses.replace(book, source=b"", source_format="", book_id=None, created_at=None, updated_at=None)


def again(book: BookRecord) -> BookRecord:
    """What is read out of the book's own record."""
    return content(to_book_record(marc_of(book)))


def fields(record: Record) -> list[str]:
    return [str(field) for field in record.fields]


def lines(book: BookRecord, *tags: str) -> list[str]:
    """The fields of the book's record that have these tags."""
    return [str(field) for field in marc_of(book).fields if field.tag in tags]


@settings(max_examples=120, deadline=None)
@given(books())
def test_what_goes_into_marc_comes_out(book: BookRecord) -> None:
    assert again(book) == book


def test_a_book_that_has_everything() -> None:
    made = marc_of(whale())
    assert str(made.leader) == "00000nam a22000007c 4500"
    assert fields(made) == [
        "=001  ocm-12",
        "=005  20260301233000.0",
        "=008  260301s1851\\\\\\\\xx\\|||||||||||||||||eng||",
        "=010  \\\\$an  78890351 ",
        "=020  \\\\$a9780142437247",
        "=022  \\\\$a00280836",
        "=024  8\\$aPZ3.M498",
        "=035  \\\\$a(OCoLC)5853149",
        "=100  1\\$aMelville, Herman$d1819-1891$eauthor$4aut",
        "=245  14$aThe whale & co.$bor, Moby-Dick",
        "=250  \\\\$a2nd ed.",
        "=264  \\1$bHarper & Brothers$cc1851",
        "=300  \\\\$a635 pages",
        "=490  0\\$aPenguin classics$v12",
        "=520  \\\\$aA captain and a whale.",
        "=650  \\4$aWhales$xFiction",
        "=650  \\4$aSea stories",
        "=700  1\\$aKent, Rockwell$d1882-1971$eillustrator$4ill",
        "=710  2\\$aPenguin Books$eeditor$4edt",
    ]


def test_a_book_of_which_only_the_title_is_known() -> None:
    made = marc_of(BookRecord("T"))
    assert fields(made) == ["=008  000000nuuuuuuuuxx\\|||||||||||||||||\\\\\\||", "=245  00$aT"]
    assert len(made["008"].data) == 40


def test_the_catalogues_own_number_is_no_control_number() -> None:
    book = whale(control_number="")
    assert lines(book, "001", "003") == ["=001  7", f"=003  {OWN_NUMBERS}"]
    assert again(book).control_number == ""


def test_one_in_two_roles_is_one_field_and_only_an_author_leads() -> None:
    both = [ContributorRecord("A", "author"), ContributorRecord("A", "editor"), ContributorRecord("B", "author")]
    assert lines(whale(contributors=both), "100", "700") == [
        "=100  0\\$aA$eauthor$eeditor$4aut$4edt",
        "=700  0\\$aB$eauthor$4aut",
    ]
    assert lines(whale(contributors=both[1:]), "100") == []


@pytest.mark.parametrize(
    ("language", "title", "skipped"),
    [("eng", "The whale", 4), ("eng", "Then", 0), ("fre", "L'été", 2), ("fre", "L’été", 2), ("ger", "Die Frau", 4),
     ("eng", "Die Frau", 0), ("", "The whale", 0), ("eng", "The", 0)],
)  # fmt: skip
def test_articles_are_passed_over_in_sorting(language: str, title: str, skipped: int) -> None:
    assert marc_of(BookRecord(title, language=language))["245"].indicator2 == str(skipped)


@pytest.mark.parametrize("sentence", MARC_LOSSES)
def test_what_is_lost_is_known(sentence: str) -> None:
    before, after = LOST[sentence]
    assert again(before) == after
    assert before != after
    text = (Path(__file__).parents[2] / "docs" / "formats.md").read_text(encoding="utf-8")
    assert sentence in " ".join(text.split())


PUNCTUATED = titled("Old title :$bsub /$cby X.", "300 __ $axii, 340 p. ;$c20 cm.", "260 __ $aParis :$bHachette,$c1999.")
VERNE = titled("T", "100 0_ $aVerne.")
LOST = {
    MARC_LOSSES[0]: (BookRecord("T", year=3), BookRecord("T")),
    MARC_LOSSES[1]: (BookRecord("T", year_text="printed 1999"), BookRecord("T", year_text="printed 1999", year=1999)),
    MARC_LOSSES[2]: (BookRecord("T", pages=123_456), BookRecord("T")),
    MARC_LOSSES[3]: (
        BookRecord("T", identifiers=[IdentifierRecord("lccn", "12345678"), IdentifierRecord("isbn", "0141439513")]),
        BookRecord("T", identifiers=[IdentifierRecord("isbn", "0141439513"), IdentifierRecord("lccn", "12345678")]),
    ),
    MARC_LOSSES[4]: (BookRecord("T", description="One.\n\nTwo."), BookRecord("T", description="One. Two.")),
    MARC_LOSSES[5]: (
        BookRecord("The end.", source=encode(PUNCTUATED)),
        BookRecord("The end"),
    ),
    MARC_LOSSES[6]: (
        BookRecord("T", contributors=[ContributorRecord("Verne", kind="body")], source=encode(VERNE)),
        BookRecord("T", contributors=[ContributorRecord("Verne", kind="person")]),
    ),
    MARC_LOSSES[7]: (
        BookRecord("Moby  Dick", publisher="Harper\u00a0&\u2003Brothers"),
        BookRecord("Moby Dick", publisher="Harper & Brothers"),
    ),
}  # fmt: skip


@pytest.mark.parametrize("book", TWENTY)
def test_an_unchanged_book_is_its_source(book: BookRecord) -> None:
    assert fields(marc_of(book)) == fields(Record(book.source))
    assert unchanged_source(book) == book.source


def test_a_source_that_cannot_be_read_is_no_hindrance() -> None:
    book = whale(source=b"rubbish")
    assert fields(marc_of(book)) == fields(marc_of(whale()))
    assert unchanged_source(book) == b""


# What a change of each value may touch.
MAY_TOUCH = {
    "title": {"245"},
    "subtitle": {"245"},
    "material_type": set(),
    "contributors": {"100", "110", "111", "700", "710", "711"},
    "publisher": {"260", "264"},
    "year": {"008"},
    "year_text": {"260", "264", "008"},
    "edition": {"250"},
    "language": {"008"},
    "pages": {"300"},
    "series": {"490", "440", "830"},
    "subjects": {"600", "610", "611", "630", "650", "651", "655"},
    "description": {"520"},
    "identifiers": {"010", "020", "022", "024", "035"},
    "control_number": {"001", "003"},
}

plain = st.lists(st.sampled_from(["whale", "Moby", "Zürich", "beta", "12"]), max_size=3).map(" ".join)
people = st.lists(
    st.builds(ContributorRecord, plain.filter(bool), st.sampled_from(["author", "editor", "translator"])),
    max_size=3,
    unique_by=lambda one: (one.name, one.role),
)


@settings(max_examples=100, deadline=None)
@given(
    st.sampled_from(TWENTY), books(plain, people), st.sets(st.sampled_from(sorted(MAY_TOUCH)), min_size=1), st.data()
)
def test_a_changed_book_keeps_what_was_not_changed(
    old: BookRecord, new: BookRecord, names: set[str], data: st.DataObject
) -> None:
    changes = {name: getattr(new, name) for name in names}
    for name in ("contributors", "subjects", "identifiers"):
        if name in changes:
            # Some of the old ones stay, in any order.
            mixed = data.draw(st.permutations([*getattr(old, name), *changes[name]]))
            wanted = mixed[: data.draw(st.integers(0, len(mixed)))]
            changes[name] = in_order(name, wanted)
    # No year, although one is printed, is a loss of its own.
    if old.year is None and "year_text" in changes:
        changes["year"] = new.year
    book = dataclasses.replace(old, updated_at=MOMENT, **changes)
    assert again(book) == content(book)
    before, after = Record(old.source), marc_of(book)
    touched = {tag for tag, _ in Counter(texts(before)) - Counter(texts(after))}
    touched |= {tag for tag, _ in Counter(texts(after)) - Counter(texts(before))}
    allowed = set().union(*(MAY_TOUCH[name] for name in changes))
    assert touched <= allowed | {"005"}
    if not is_same(old, book):
        assert after["005"].data == "20260301233000.0"


def in_order(name: str, rows: list) -> list:
    """The rows without doubles, identifiers in the order of their schemes."""
    rows = list({str(row): row for row in rows}.values())
    schemes = ["isbn", "issn", "lccn", "oclc", "other"]
    return sorted(rows, key=lambda row: schemes.index(row.scheme)) if name == "identifiers" else rows


def texts(record: Record) -> list[tuple[str, str]]:
    return [(field.tag, str(field)) for field in record.fields]


def changed(source: Record, **changes: object) -> list[str]:
    """The fields of a record after these changes of the book, without those that did not change."""
    book = dataclasses.replace(to_book_record(source), **changes)  # type: ignore[arg-type]
    old = Record(book.source)
    return [line for line in fields(marc_of(book)) if line not in fields(old)]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"title": "New"}, ["=245  00$aNew :$bsub /$cby X."]),
        ({"subtitle": ""}, ["=245  00$aOld title /$cby X."]),
        ({"publisher": "Seuil"}, ["=260  \\\\$aParis :$bSeuil,$c1999."]),
        ({"publisher": ""}, ["=260  \\\\$aParis :$c1999."]),
        ({"pages": 7}, ["=300  \\\\$a7 pages ;$c20 cm."]),
        ({"pages": None}, ["=300  \\\\$c20 cm."]),
        ({"edition": "3rd ed"}, ["=250  \\\\$a3rd ed"]),
    ],
)  # fmt: skip
def test_a_change_keeps_the_rest_of_its_field(changes: dict, expected: list[str]) -> None:
    assert changed(PUNCTUATED, **changes) == expected


def test_a_main_entry_that_is_gone_makes_room_for_the_next() -> None:
    source = titled("T", "100 1_ $aOld, A.", "700 1_ $aNew, B.,$eeditor.", "700 12 $aHomer.$tIliad.")
    people = [ContributorRecord("Next, C.", "author"), ContributorRecord("New, B.", "editor")]
    book = dataclasses.replace(to_book_record(source), contributors=people)
    assert lines(book, "100", "700") == [
        "=100  1\\$aNext, C.$eauthor$4aut",
        "=700  1\\$aNew, B.,$eeditor.",
        "=700  12$aHomer.$tIliad.",
    ]


def test_where_a_uniform_title_leads_no_author_does() -> None:
    source = record("130 0_ $aBible.", "245 00 $aT")
    book = dataclasses.replace(to_book_record(source), contributors=[ContributorRecord("Luther")])
    assert lines(book, "100", "130", "700") == ["=130  0\\$aBible.", "=700  0\\$aLuther$eauthor$4aut"]


def test_a_second_series_stays() -> None:
    source = titled("T", "490 1_ $aFirst ;$v1.", "490 1_ $aSecond ;$v2.", "830 _0 $aFirst ;$v1.")
    book = dataclasses.replace(to_book_record(source), series="Third ; 3")
    assert lines(book, "490", "830") == ["=490  0\\$aThird$v3", "=490  1\\$aSecond ;$v2.", "=830  \\0$aFirst ;$v1."]
    alone = dataclasses.replace(to_book_record(titled("T", "490 1_ $aF", "830 _0 $aF")), series="G")
    assert lines(alone, "490", "830") == ["=490  0\\$aG"]
