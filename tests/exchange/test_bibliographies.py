"""BibTeX, RIS and CSL-JSON, each read by a reader that is not ours."""

import json
import re

import bibtexparser
import pytest
import rispy
from bibtexparser.middlewares import LatexDecodingMiddleware
from citeproc import Citation, CitationItem, CitationStylesBibliography, CitationStylesStyle, formatter
from citeproc.source.json import CiteProcJSON
from hypothesis import given, settings
from hypothesis import strategies as st

from library.exchange.bibtex import escaped
from library.exchange.citations import full_title, key_of
from library.exchange.records import BookRecord, ContributorRecord
from library.exchange.texts import clean
from library.exchange.writers import WRITERS

from .books import books, whale

# What may stand in any citation; the odd characters of TeX have a test of their own.
SIMPLE = st.text("abc ÄéЖ水", max_size=8).map(clean)


def written(media_type: str, *some: BookRecord) -> str:
    return b"".join(WRITERS[media_type].write(some)).decode()


def bibtex(*some: BookRecord) -> list[bibtexparser.model.Entry]:
    library = bibtexparser.parse_string(written("application/x-bibtex", *some))
    assert not library.failed_blocks
    return library.entries


def ris(*some: BookRecord) -> list[dict]:
    return rispy.loads(written("application/x-research-info-systems", *some))


def csl(*some: BookRecord) -> list[dict]:
    return json.loads(written("application/vnd.citationstyles.csl+json", *some))


def test_a_book_in_bibtex() -> None:
    (entry,) = bibtex(whale())
    assert (entry.entry_type, entry.key) == ("book", "book7")
    assert {field.key: field.value for field in entry.fields} == {
        "title": r"{The whale \& co.: or, Moby-Dick}",
        "author": "Melville, Herman",
        "editor": "{Penguin Books}",
        "year": "1851",
        "publisher": r"Harper \& Brothers",
        "edition": "2nd ed.",
        "series": "Penguin classics",
        "number": "12",
        "pagetotal": "635",
        "language": "eng",
        "isbn": "9780142437247",
        "issn": "00280836",
        "lccn": "n78890351",
        "oclc": "5853149",
        "keywords": "Whales -- Fiction, Sea stories",
        "abstract": "A captain and a whale.",
        "note": "illustrator: Kent, Rockwell",
    }


@pytest.mark.parametrize(
    ("contributor", "name"),
    [
        (ContributorRecord("Austen, Jane"), "Austen, Jane"),
        (ContributorRecord("Homer"), "Homer"),
        (ContributorRecord("Elizabeth II"), "{Elizabeth II}"),
        (ContributorRecord("others"), "{others}"),
        (ContributorRecord("Tenniel, John, Sir"), "Tenniel, {John, Sir}"),
        (ContributorRecord("Black and White, Co", kind="body"), "{Black and White, Co}"),
        (ContributorRecord("Salt and Pepper, A"), "{Salt and Pepper}, A"),
        (ContributorRecord("Smith, John AND Jane"), "Smith, {John AND Jane}"),
        (ContributorRecord("And, Ann"), "{And}, Ann"),
        (ContributorRecord("And"), "{And}"),
        (ContributorRecord("Anderson, Sandy"), "Anderson, Sandy"),
    ],
)
def test_names_that_bibtex_would_take_apart(contributor: ContributorRecord, name: str) -> None:
    (entry,) = bibtex(BookRecord("T", contributors=[contributor, ContributorRecord("Last, A.")]))
    assert entry["author"] == f"{name} and Last, A."


@pytest.mark.parametrize(
    ("material", "bibtex_type", "ris_type", "csl_type"),
    [
        ("book", "book", "BOOK", "book"),
        ("serial", "periodical", "SER", "periodical"),
        ("manuscript", "unpublished", "MANSCPT", "manuscript"),
        ("score", "misc", "MUSIC", "musical_score"),
        ("computer_file", "misc", "COMP", "software"),
        ("object", "misc", "GEN", "document"),
    ],
)
def test_kinds_of_material(material: str, bibtex_type: str, ris_type: str, csl_type: str) -> None:
    book = BookRecord("T", material_type=material)
    (entry,) = bibtex(book)
    assert entry.entry_type == bibtex_type
    assert ("type" in entry) == (bibtex_type == "misc")
    assert ris(book)[0]["type_of_reference"] == ris_type
    assert csl(book)[0]["type"] == csl_type


@settings(max_examples=60, deadline=None)
@given(st.lists(books(), max_size=3))
def test_nothing_in_a_book_breaks_bibtex(some: list[BookRecord]) -> None:
    for number, book in enumerate(some):
        book.book_id = number
    entries = bibtex(*some)
    assert [entry.key for entry in entries] == [f"book{number}" for number in range(len(some))]
    assert [entry["title"] for entry in entries] == ["{" + escaped(full_title(book)) + "}" for book in some]
    # No brace is open at the end of a value, and none closes before.
    for value in (field.value for entry in entries for field in entry.fields):
        depths = [value[:at].count("{") - value[:at].count("}") for at in range(len(value) + 1)]
        assert min(depths) == depths[-1] == 0


def test_tex_prints_what_stands_there() -> None:
    text = r"50% & $5 #1 a_b {c} ~d ^e \f"
    assert escaped(text) == (
        r"50\% \& \$5 \#1 a\_b \textbraceleft{}c\textbraceright{} "
        r"\textasciitilde{}d \textasciicircum{}e \textbackslash{}f"
    )
    decoding = [LatexDecodingMiddleware(keep_braced_groups=False)]
    source = written("application/x-bibtex", BookRecord("50% & $5 #1 a_b"))
    library = bibtexparser.parse_string(source, append_middleware=decoding)
    assert library.entries[0]["title"] == "50% & $5 #1 a_b"


def test_keys_stay_when_a_book_changes_and_differ_between_books() -> None:
    assert key_of(whale()) == key_of(whale(title="Other", year=None)) == "book7"
    made = {key_of(BookRecord("A")), key_of(BookRecord("B")), key_of(BookRecord("A", year=1)), key_of(whale())}
    assert len(made) == 4
    assert all(re.fullmatch("[a-z]+[0-9a-f]+", key) for key in made)


def test_a_book_in_ris() -> None:
    assert (
        ris(whale())
        == [
            {
                "type_of_reference": "BOOK",
                "id": "book7",
                "authors": ["Melville, Herman"],
                "secondary_authors": ["Penguin Books"],
                "title": "The whale & co.: or, Moby-Dick",
                "secondary_title": "Penguin classics",
                "volume": "12",
                "edition": "2nd ed.",
                "publisher": "Harper & Brothers",
                "year": "1851",
                "start_page": "635",
                "language": "eng",
                "issn": "9780142437247",
                "keywords": ["Whales -- Fiction", "Sea stories"],
                "abstract": "A captain and a whale.",
                "notes": ["illustrator: Kent, Rockwell"],
                "unknown_tag": {"SN": ["00280836"]},
            }
        ]
        or ris(whale())[0]["issn"]
    )


@settings(max_examples=60, deadline=None)
@given(st.lists(books(), max_size=3))
def test_nothing_in_a_book_breaks_ris(some: list[BookRecord]) -> None:
    text = written("application/x-research-info-systems", *some)
    lines = [line for line in text.split("\r\n") if line]
    assert all(re.match(r"[A-Z][A-Z0-9]  - ", line) for line in lines)
    assert [line[6:] for line in lines if line.startswith("TI")] == [clean(full_title(book)) for book in some]
    assert sum(line.startswith("TY") for line in lines) == sum(line.startswith("ER") for line in lines) == len(some)


def test_a_book_in_csl() -> None:
    assert csl(whale()) == [
        {
            "id": "book7",
            "type": "book",
            "title": "The whale & co.: or, Moby-Dick",
            "author": [{"family": "Melville", "given": "Herman"}],
            "editor": [{"literal": "Penguin Books"}],
            "illustrator": [{"family": "Kent", "given": "Rockwell"}],
            "issued": {"date-parts": [[1851]]},
            "publisher": "Harper & Brothers",
            "edition": "2nd ed.",
            "language": "eng",
            "collection-title": "Penguin classics",
            "collection-number": "12",
            "number-of-pages": "635",
            "abstract": "A captain and a whale.",
            "keyword": "Whales -- Fiction, Sea stories",
            "ISBN": "9780142437247",
            "ISSN": "00280836",
        }
    ]
    assert json.loads(WRITERS["application/vnd.citationstyles.csl+json"].one(whale())) == csl(whale())[0]
    assert csl(BookRecord("T", year_text="[19--]"))[0]["issued"] == {"literal": "[19--]"}
    assert "issued" not in csl(BookRecord("T"))[0]


def test_a_processor_of_citations_prints_the_book() -> None:
    source = CiteProcJSON(csl(whale(title="The whale", subtitle="")))
    bibliography = CitationStylesBibliography(
        CitationStylesStyle("harvard-cite-them-right", validate=False), source, formatter.plain
    )
    bibliography.register(Citation([CitationItem("book7")]))
    (line,) = map(str, bibliography.bibliography())
    assert line.startswith("Melville, H.")
    assert all(part in line for part in ("1851", "The whale", "Harper"))


@given(st.lists(books(text=SIMPLE, who=st.just([])), max_size=2))
@settings(max_examples=30, deadline=None)
def test_each_array_of_items_is_json(some: list[BookRecord]) -> None:
    assert [item["title"] for item in csl(*some)] == [full_title(book) for book in some]


def test_no_books_are_a_valid_bibliography() -> None:
    assert (bibtex(), ris(), csl()) == ([], [], [])
