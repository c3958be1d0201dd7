"""The books of the demo library: real ones, read from demo/books.csv, with a place on the shelves for each."""

import csv
import io
import re
from collections.abc import Iterator
from importlib.resources import files

from library.exchange.records import BookRecord, ContributorRecord
from library.rules import words

BODIES = frozenset(
    (
        "Boston Women's Health Book Collective",
        "Unicode Consortium",
        "University of Chicago Press",
        "World Commission on Environment and Development",
    )
)
# "Hesse, Hermann (1877-1962) [translator]": dates and role may be missing.
_CONTRIBUTOR = re.compile(r"(?P<name>.+?)(?: \((?P<dates>[^)]*)\))?(?: \[(?P<role>[a-z]+)\])?")

REFERENCE = frozenset(
    (
        "A Dictionary of the English Language",
        "The Chicago Manual of Style",
        "The Elements of Style",
        "The Unicode Standard",
    )
)

# The first class that one of the subjects belongs to; what belongs to none is non-fiction.
_CLASSES = (
    ("CHI", re.compile(r"Children's stories|Picture books|Fairy tales")),
    ("COM", re.compile(r"Comic books")),
    ("POE", re.compile(r"poetry|Poetry|drama|Drama")),
    ("FIC", re.compile(r"[Ff]iction|stories|tales|Satire|Magic realism")),
    ("BIO", re.compile(r"Autobiographies")),
    ("SCI", re.compile(r"omputer|Software|Artificial|Mathematics|Physics|Biology|biology|Astronomy|Natural|Medicine")),
)


def read_books() -> Iterator[BookRecord]:
    """Every book of the file as a record, numbered, so that it is known again."""
    source = files("library.cli") / "demo" / "books.csv"
    for number, row in enumerate(csv.DictReader(io.StringIO(source.read_text(encoding="utf-8"))), 1):
        yield BookRecord(
            title=row["title"],
            subtitle=row["subtitle"],
            contributors=[_contributor(text) for text in _parts(row["contributors"])],
            year=int(row["year"]) if row["year"] else None,
            language=row["language"],
            series=row["series"],
            subjects=_parts(row["subjects"]),
            description=row["description"],
            control_number=f"demo-{number:04d}",
        )


def class_of(record: BookRecord) -> str:
    """The class under which a book stands: three letters."""
    if record.title in REFERENCE:
        return "REF"
    return next((name for name, form in _CLASSES if any(map(form.search, record.subjects))), "NON")


def shelf_mark(record: BookRecord) -> str:
    """Class, and the first letters of whoever made the book: `FIC AUS`."""
    heading = record.contributors[0].name if record.contributors else record.title
    return f"{class_of(record)} {words.sort_key(heading).replace(' ', '')[:3].upper()}"


def _parts(text: str) -> list[str]:
    return [part for part in text.split(" | ") if part]


def _contributor(text: str) -> ContributorRecord:
    match = _CONTRIBUTOR.fullmatch(text)
    if match is None:
        raise ValueError(f"not a contributor: {text!r}")
    name = match["name"]
    kind = "body" if name in BODIES else "person"
    return ContributorRecord(name, match["role"] or "author", kind, match["dates"] or "")
