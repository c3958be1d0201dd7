"""BibTeX: an entry for each record, in UTF-8, with the fields of BibTeX and, where it has none, those of BibLaTeX."""

import re
from collections.abc import Iterable, Iterator

from library.exchange.citations import date_of, family_and_given, full_title, in_roles, key_of, numbers_of, series_of
from library.exchange.records import BookRecord, ContributorRecord
from library.exchange.texts import clean

TYPES = {"book": "book", "serial": "periodical", "manuscript": "unpublished"}
ANY_TYPE = "misc"

# Field of each group of roles; the others are told in the note.
ROLES = {
    "author": ("author", "composer", "photographer"),
    "editor": ("editor", "compiler"),
    "translator": ("translator",),
}
OTHER_ROLES = ("illustrator", "performer", "narrator", "director", "contributor")

# What parts names in a list of them, however it is written.
_AND = re.compile(r"(?<!\S)and(?!\S)", re.IGNORECASE)

# What means something to TeX. A brace counts for BibTeX even behind a backslash, so braces go by their names.
_ESCAPES = str.maketrans(
    {character: "\\" + character for character in "&%$#_"}
    | {
        "\\": "\\textbackslash{}",
        "{": "\\textbraceleft{}",
        "}": "\\textbraceright{}",
        "~": "\\textasciitilde{}",
        "^": "\\textasciicircum{}",
    }
)


def bibtex_pieces(records: Iterable[BookRecord]) -> Iterator[bytes]:
    """Yield the entries; BibTeX has neither head nor tail, and no entry is an empty file."""
    for record in records:
        fields = ",\n".join(f"  {name} = {{{value}}}" for name, value in _fields(record) if value)
        kind = TYPES.get(record.material_type, ANY_TYPE)
        yield f"@{kind}{{{key_of(record)},\n{fields},\n}}\n\n".encode("utf-8", "replace")


def escaped(text: str) -> str:
    """The text in one line, and so that TeX prints it as it stands."""
    return clean(text).translate(_ESCAPES)


def _fields(record: BookRecord) -> Iterator[tuple[str, str]]:
    """Name and value of each field; an empty value is not written."""
    series, number = series_of(record)
    # In braces of its own a title keeps its capitals in every style.
    yield "title", "{" + escaped(full_title(record)) + "}"
    for name, roles in ROLES.items():
        yield name, " and ".join(map(_name, in_roles(record, *roles)))
    yield "year", escaped(date_of(record))
    yield "publisher", escaped(record.publisher)
    yield "edition", escaped(record.edition)
    yield "series", escaped(series)
    yield "number", escaped(number)
    yield "pagetotal", "" if record.pages is None else str(record.pages)
    yield "language", escaped(record.language)
    for scheme in ("isbn", "issn", "lccn", "oclc"):
        yield scheme, escaped(", ".join(numbers_of(record, scheme)))
    yield "keywords", escaped(", ".join(record.subjects))
    yield "abstract", escaped(record.description)
    yield (
        "note",
        escaped("; ".join(f"{one.role}: {one.name}" for one in record.contributors if one.role in OTHER_ROLES)),
    )
    if record.material_type not in TYPES:
        yield "type", escaped(record.material_type.replace("_", " "))


def _name(contributor: ContributorRecord) -> str:
    """A person as "Family, Given"; in braces what BibTeX would take apart: bodies, commas, the word "and"."""
    family, given = map(escaped, family_and_given(contributor))
    is_body = contributor.kind != "person"
    if not given:
        return f"{{{family}}}" if is_body or " " in family or family.lower() in ("others", "and") else family
    return f"{_kept_whole(family)}, {_kept_whole(given)}"


def _kept_whole(name: str) -> str:
    return f"{{{name}}}" if "," in name or _AND.search(name) else name
