"""Books as a table (CSV): one row a book, one column a value, lists with bars between their parts."""

import re
from collections.abc import Iterable, Iterator
from io import BufferedIOBase
from typing import Any

from library.exchange import numbers
from library.exchange.marc import MATERIAL_TYPES, ROLES
from library.exchange.records import BookRecord, ContributorRecord, IdentifierRecord, RecordFault
from library.exchange.tables import Table, written
from library.exchange.texts import LIMITS, clean

# Where the identifiers of each scheme stand; the last column takes those of no known kind.
IDENTIFIER_COLUMNS = {"isbn": "isbn", "issn": "issn", "lccn": "lccn", "oclc": "oclc", "other": "other_identifiers"}
COLUMNS = (
    "id", "title", "subtitle", "material_type", "contributors", "publisher", "year", "year_text", "edition", "language",
    "pages", "series", "subjects", "description", *IDENTIFIER_COLUMNS.values(), "control_number",
)  # fmt: skip

# Headings under which people write what stands in these columns; the number of a book is no part of what it is.
HEADINGS = {name: name for name in COLUMNS} | {
    "author": "contributors", "authors": "contributors", "contributor": "contributors", "subject": "subjects",
    "language_code": "language", "other_identifier": "other_identifiers", "number_of_pages": "pages",
}  # fmt: skip
MATERIALS = {*MATERIAL_TYPES.values(), "serial"}

_SHORT_TEXTS = ("title", "subtitle", "publisher", "year_text", "edition", "series", "control_number")
_BAR = re.compile(r"(?<!\\)((?:\\\\)*)\|")
_ESCAPED = re.compile(r"\\(.)")
_SPECIAL = re.compile(r"[\\|{}]")
# "Austen, Jane {1775-1817} (author, body)": dates and role may be left out.
_CONTRIBUTOR = re.compile(
    r"(?P<name>(?:\\.|[^\\{}])*?)\s*(?:\{(?P<dates>(?:\\.|[^\\{}])*)\}\s*)?"
    rf"(?:\((?P<role>{'|'.join(ROLES)})(?P<body>,\s*body)?\))?"
)
_WHOLE_NUMBER = re.compile(r"-?[0-9]{1,10}")
MOST_PAGES = 2**31 - 1


class _Bad(Exception):
    """What is wrong with one cell."""


def csv_pieces(records: Iterable[BookRecord]) -> Iterator[bytes]:
    """Yield the header and one row for each book."""
    yield from written([COLUMNS])
    yield from written(map(_row, records))


def read_books(stream: BufferedIOBase) -> Iterator[tuple[int, BookRecord | RecordFault]]:
    """Yield position (from 1, below the header) and content of every row; a bad one costs that row.

    Raises FormatError for a header with columns that are not known, or without a title.
    """
    for position, row in Table(stream, HEADINGS, ["title"]).rows():
        if isinstance(row, str):
            yield position, RecordFault(position, row)
            continue
        try:
            yield position, _book(row)
        except _Bad as fault:
            yield position, RecordFault(position, str(fault), clean(row.get("control_number", ""))[:100])


def _row(record: BookRecord) -> list[str]:
    columns = {
        "id": "" if record.book_id is None else str(record.book_id),
        "material_type": record.material_type,
        "contributors": _joined(map(_contributor_cell, record.contributors)),
        "year": "" if record.year is None else str(record.year),
        "pages": "" if record.pages is None else str(record.pages),
        "language": record.language,
        "subjects": _joined(map(_escaped, record.subjects)),
        "description": record.description,
    }
    columns |= {name: getattr(record, name) for name in _SHORT_TEXTS}
    for scheme, name in IDENTIFIER_COLUMNS.items():
        columns[name] = _joined(_escaped(one.value) for one in record.identifiers if one.scheme == scheme)
    return [columns[name] for name in COLUMNS]


def _contributor_cell(contributor: ContributorRecord) -> str:
    dates = f" {{{_escaped(contributor.dates)}}}" if contributor.dates else ""
    body = ", body" if contributor.kind == "body" else ""
    return f"{_escaped(contributor.name)}{dates} ({contributor.role}{body})"


def _escaped(text: str) -> str:
    return _SPECIAL.sub(lambda match: "\\" + match.group(), text)


def _joined(parts: Iterable[str]) -> str:
    return " | ".join(parts)


def _parts(cell: str) -> list[str]:
    """The parts between bars, still escaped."""
    marked = _BAR.sub("\\1\0", cell.replace("\0", ""))
    return [part for part in (clean(part) for part in marked.split("\0")) if part]


def _unescaped(text: str) -> str:
    return _ESCAPED.sub(r"\1", text)


def _book(row: dict[str, str]) -> BookRecord:
    texts: dict[str, Any] = {name: _text(name, row.get(name, "")) for name in _SHORT_TEXTS}
    if not texts["title"]:
        raise _Bad("the row has no title")
    return BookRecord(
        **texts,
        material_type=_one_of("material_type", row.get("material_type", ""), "book"),
        contributors=_unique(map(_contributor, _parts(row.get("contributors", "")))),
        year=_number("year", row.get("year", ""), -3000, 3000),
        pages=_number("pages", row.get("pages", ""), 0, MOST_PAGES),
        language=_language(row.get("language", "")),
        subjects=list(dict.fromkeys(_short("subject", _unescaped(one)) for one in _parts(row.get("subjects", "")))),
        description=_lines(row.get("description", "")),
        identifiers=_identifiers(row),
    )


def _text(name: str, cell: str) -> str:
    return _short(name, clean(cell))


def _short(name: str, text: str) -> str:
    limit = LIMITS[name]
    if len(text) > limit:
        raise _Bad(f"{name} is longer than {limit:,} characters")
    return text


def _lines(cell: str) -> str:
    """A text that may have several lines."""
    return _short("description", "\n".join(map(clean, cell.splitlines())).strip("\n"))


def _number(name: str, cell: str, low: int, high: int) -> int | None:
    text = clean(cell)
    if not text:
        return None
    if not _WHOLE_NUMBER.fullmatch(text) or not low <= int(text) <= high:
        raise _Bad(f"{name} is no whole number from {low:,} to {high:,}: {text[:50]!r}")
    return int(text)


def _one_of(name: str, cell: str, default: str) -> str:
    value = clean(cell).lower().replace(" ", "_")
    if value and value not in MATERIALS:
        raise _Bad(f"{name} is not known: {clean(cell)[:50]!r}")
    return value or default


def _language(cell: str) -> str:
    code = clean(cell).lower()
    if code and not re.fullmatch("[a-z]{3}", code):
        raise _Bad(f"language is no code of three letters, such as eng: {clean(cell)[:50]!r}")
    return code


def _contributor(text: str) -> ContributorRecord:
    match = _CONTRIBUTOR.fullmatch(text)
    name = clean(_unescaped(match["name"])) if match else ""
    if not match or not name:
        raise _Bad(f"a contributor is not written as Name {{dates}} (role): {text[:50]!r}")
    dates = _short("dates", clean(_unescaped(match["dates"] or "")))
    return ContributorRecord(
        _short("name", name), match["role"] or "author", "body" if match["body"] else "person", dates
    )


def _unique(contributors: Iterable[ContributorRecord]) -> list[ContributorRecord]:
    """Nobody twice in one role."""
    return list({(one.name, one.dates, one.role): one for one in contributors}.values())


def _identifiers(row: dict[str, str]) -> list[IdentifierRecord]:
    found: dict[tuple[str, str], None] = {}
    for scheme, name in IDENTIFIER_COLUMNS.items():
        for text in map(_unescaped, _parts(row.get(name, ""))):
            value = numbers.normal(scheme, text)
            if not value:
                raise _Bad(f"{name}: {text[:50]!r} is no {scheme.upper()}")
            if len(value) > LIMITS["identifier"]:
                raise _Bad(f"{name}: a number is longer than {LIMITS['identifier']} characters")
            found[scheme, value] = None
    return [IdentifierRecord(scheme, value) for scheme, value in found]
