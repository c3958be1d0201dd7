"""The neutral book record: what every carrier reads into, and what the catalogue takes and gives."""

from dataclasses import dataclass, field


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
    """One bibliographic record; `source` is the record as it came, so that nothing of it is lost."""

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


@dataclass(slots=True)
class RecordFault:
    """Why the record at `position` (counted from 1) could not be read; `control_number` where it was legible."""

    position: int
    reason: str
    control_number: str = ""


class FormatError(Exception):
    """The input is not in the format it was taken for; its text is one sentence for the person who sent it."""
