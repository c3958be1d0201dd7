"""CSL-JSON, what citation processors such as Zotero's and Pandoc's read: an array of items."""

import json
from collections.abc import Iterable, Iterator
from typing import Any

from library.exchange.citations import family_and_given, full_title, in_roles, key_of, numbers_of, series_of
from library.exchange.records import BookRecord, ContributorRecord

TYPES = {
    "book": "book", "serial": "periodical", "manuscript": "manuscript", "map": "map", "score": "musical_score",
    "sound": "song", "video": "motion_picture", "image": "graphic", "computer_file": "software",
}  # fmt: skip
ANY_TYPE = "document"

# The name variables of CSL that are roles of ours under another name; the rest have the same.
NAMES = {
    "author": ("author",),
    "editor": ("editor",),
    "translator": ("translator",),
    "illustrator": ("illustrator",),
    "compiler": ("compiler",),
    "composer": ("composer",),
    "performer": ("performer",),
    "narrator": ("narrator",),
    "director": ("director",),
    "contributor": ("photographer", "contributor"),
}


def csl_item(record: BookRecord) -> dict[str, Any]:
    """One item; what the record does not say is left out."""
    series, number = series_of(record)
    item = {
        "id": key_of(record),
        "type": TYPES.get(record.material_type, ANY_TYPE),
        "title": full_title(record),
        **{variable: [_name(one) for one in in_roles(record, *roles)] for variable, roles in NAMES.items()},
        "issued": _issued(record),
        "publisher": record.publisher,
        "edition": record.edition,
        "language": record.language,
        "collection-title": series,
        "collection-number": number,
        "number-of-pages": "" if record.pages is None else str(record.pages),
        "abstract": record.description,
        "keyword": ", ".join(record.subjects),
        "ISBN": " ".join(numbers_of(record, "isbn")),
        "ISSN": " ".join(numbers_of(record, "issn")),
    }
    return {name: value for name, value in item.items() if value}


def csl_pieces(records: Iterable[BookRecord]) -> Iterator[bytes]:
    """Yield an array of all items."""
    return json_array(map(csl_alone, records))


def csl_alone(record: BookRecord) -> bytes:
    """One item as an object."""
    return as_json(csl_item(record))


def as_json(value: dict[str, Any]) -> bytes:
    """The value in as few bytes as JSON allows, in UTF-8."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")


def json_array(items: Iterable[bytes]) -> Iterator[bytes]:
    """Yield an array of values that are JSON already, one a line."""
    before = b"[\n"
    for item in items:
        yield before + item
        before = b",\n"
    yield b"\n]\n" if before == b",\n" else b"[]\n"


def _name(contributor: ContributorRecord) -> dict[str, str]:
    """Family and given name of a person; a body, and a person of one name, is literal."""
    family, given = family_and_given(contributor)
    return {"family": family, "given": given} if given else {"literal": family}


def _issued(record: BookRecord) -> dict[str, Any]:
    if record.year is not None:
        return {"date-parts": [[record.year]]}
    return {"literal": record.year_text} if record.year_text else {}
