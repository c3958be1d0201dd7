"""Books for the tests of the writers: one of every field, and strategies for any."""

from datetime import UTC, datetime

from hypothesis import strategies as st

from library.exchange import numbers
from library.exchange.marc import MATERIAL_TYPES, ROLES
from library.exchange.records import BookRecord, ContributorRecord, IdentifierRecord
from library.exchange.texts import clean

MOMENT = datetime(2026, 3, 1, 23, 30, tzinfo=UTC)


def whale(**changes: object) -> BookRecord:
    """A book that has everything."""
    values = {
        "title": "The whale & co.",
        "subtitle": "or, Moby-Dick",
        "contributors": [
            ContributorRecord("Melville, Herman", "author", "person", "1819-1891"),
            ContributorRecord("Kent, Rockwell", "illustrator", "person", "1882-1971"),
            ContributorRecord("Penguin Books", "editor", "body"),
        ],
        "publisher": "Harper & Brothers",
        "year": 1851,
        "year_text": "c1851",
        "edition": "2nd ed.",
        "language": "eng",
        "pages": 635,
        "series": "Penguin classics ; 12",
        "subjects": ["Whales -- Fiction", "Sea stories"],
        "description": "A captain and a whale.",
        "identifiers": [
            IdentifierRecord("isbn", "9780142437247"),
            IdentifierRecord("issn", "00280836"),
            IdentifierRecord("lccn", "n78890351"),
            IdentifierRecord("oclc", "5853149"),
            IdentifierRecord("other", "PZ3.M498"),
        ],
        "control_number": "ocm-12",
        "book_id": 7,
        "created_at": MOMENT,
        "updated_at": MOMENT,
    }
    return BookRecord(**(values | changes))  # type: ignore[arg-type]


def _isbn(nine: str) -> str:
    return next(nine + last for last in "0123456789X" if numbers.isbn(nine + last))


def _issn(seven: str) -> str:
    return next(seven + last for last in "0123456789X" if numbers.issn(seven + last))


def digits(length: int) -> st.SearchStrategy[str]:
    """So many digits."""
    return st.text("0123456789", min_size=length, max_size=length)


# What stands between the parts of a format, and what people type.
_ODD = ".,:;/=-|\\{}()[]<>&\"'$%#@~^+_ äßœЖ水\u0301’ and"
texts = st.one_of(
    st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=20),
    st.text(_ODD + "ab", max_size=12),
    st.sampled_from(["A -- c", "A ; b ; c", "The end.", "[from", "=1+1", "@book{x,", "TY  - BOOK", "ER  - "]),
).map(clean)  # fmt: skip
words = texts.filter(bool)
identifiers = st.tuples(
    st.lists(digits(9).map(_isbn), max_size=2, unique=True),
    st.lists(digits(7).map(_issn), max_size=2, unique=True),
    st.lists(st.from_regex(r"[a-z]{0,3}[0-9]{8}|[a-z]{0,2}[0-9]{10}", fullmatch=True), max_size=2, unique=True),
    st.lists(st.integers(1, 10**9).map(str), max_size=2, unique=True),
    st.lists(words, max_size=2, unique=True),
).map(
    lambda lists: [
        IdentifierRecord(scheme, value)
        for scheme, values in zip(("isbn", "issn", "lccn", "oclc", "other"), lists, strict=True)
        for value in values
    ]
)
contributors = st.lists(
    st.builds(
        ContributorRecord,
        name=words,
        role=st.sampled_from(sorted(ROLES)),
        kind=st.sampled_from(["person", "body"]),
        dates=texts,
    ),
    max_size=4,
    unique_by=lambda one: (one.name, one.dates, one.role),
)
materials = st.sampled_from(sorted({*MATERIAL_TYPES.values(), "serial"}))


def books(
    text: st.SearchStrategy[str] = texts,
    who: st.SearchStrategy[list[ContributorRecord]] = contributors,
    what: st.SearchStrategy[list[IdentifierRecord]] = identifiers,
) -> st.SearchStrategy[BookRecord]:
    """Any book, its texts as clean as the catalogue keeps them."""
    return st.builds(
        BookRecord,
        title=text.filter(bool),
        subtitle=text,
        material_type=materials,
        contributors=who,
        publisher=text,
        year=st.integers(100, 2100),
        year_text=text,
        edition=text,
        language=st.from_regex("([a-z]{3})?", fullmatch=True),
        pages=st.none() | st.integers(0, 99_999),
        series=text,
        subjects=st.lists(text.filter(bool), max_size=3, unique=True),
        description=text,
        identifiers=what,
        control_number=text,
    )
