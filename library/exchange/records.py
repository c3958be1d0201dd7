"""The neutral records of books and patrons: what every carrier reads into, and what the catalogue takes and gives."""

from dataclasses import dataclass, field
from datetime import date, datetime


@dataclass(slots=True)
class ContributorRecord:
    """A person or body in the order of the title page; `role` is a ContributorRole value, `kind` a AuthorKind value."""

    name: str
    role: str = "author"
    kind: str = "person"
    dates: str = ""


@dataclass(slots=True)
class IdentifierRecord:
    """An identifier in its normalised form: ISBN and ISSN without hyphens; `scheme` is an IdentifierScheme value."""

    scheme: str
    value: str


@dataclass(slots=True)
class BookRecord:
    """One bibliographic record; `source` is the record as it came, so that nothing of it is lost.

    What the catalogue gives out carries its own number and its moments as well; what comes in has none.
    """

    title: str
    subtitle: str = ""
    material_type: str = "book"
    contributors: list[ContributorRecord] = field(default_factory=list)
    publisher: str = ""
    year: int | None = None
    year_text: str = ""
    edition: str = ""
    language: str = ""
    pages: int | None = None
    series: str = ""
    subjects: list[str] = field(default_factory=list)
    description: str = ""
    identifiers: list[IdentifierRecord] = field(default_factory=list)
    control_number: str = ""
    source_format: str = ""
    source: bytes = b""
    book_id: int | None = None
    created_at: datetime | None = None
    updated_at: datetime | None = None


@dataclass(slots=True)
class PatronRecord:
    """One line of a roster; what it does not say is empty, and `category` and `branch` are names."""

    username: str = ""
    email: str = ""
    first_name: str = ""
    last_name: str = ""
    card_barcode: str = ""
    category: str = ""
    branch: str = ""
    expires_on: date | None = None
    birth_date: date | None = None
    phone: str = ""
    address: str = ""
    language: str = ""


@dataclass(slots=True)
class RecordFault:
    """Why the record at `position` (counted from 1) could not be read; `control_number` where it was legible."""

    position: int
    reason: str
    control_number: str = ""


class FormatError(Exception):
    """The input is not in the format it was taken for; its text is one sentence for the person who sent it."""
