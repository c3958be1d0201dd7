"""RIS, the tagged lines of reference managers: a reference from TY to ER."""

from collections.abc import Iterable, Iterator

from library.exchange.citations import date_of, full_title, in_roles, key_of, numbers_of, series_of
from library.exchange.records import BookRecord
from library.exchange.texts import clean

TYPES = {
    "book": "BOOK", "serial": "SER", "manuscript": "MANSCPT", "map": "MAP", "score": "MUSIC", "sound": "SOUND",
    "video": "VIDEO", "image": "ART", "computer_file": "COMP",
}  # fmt: skip
ANY_TYPE = "GEN"

# Tag of each group of roles; the others are told in notes.
ROLES = {"AU": ("author", "composer", "photographer"), "A2": ("editor", "compiler"), "A4": ("translator",)}
OTHER_ROLES = ("illustrator", "performer", "narrator", "director", "contributor")


def ris_pieces(records: Iterable[BookRecord]) -> Iterator[bytes]:
    """Yield the references; RIS has neither head nor tail, and no reference is an empty file."""
    for record in records:
        lines = (f"{tag}  - {text}\r\n" for tag, value in _tags(record) if (text := clean(value)))
        yield ("".join(lines) + "ER  - \r\n\r\n").encode("utf-8", "replace")


def _tags(record: BookRecord) -> Iterator[tuple[str, str]]:
    """Tag and value of each line, the type first."""
    series, number = series_of(record)
    yield "TY", TYPES.get(record.material_type, ANY_TYPE)
    yield "ID", key_of(record)
    for tag, roles in ROLES.items():
        yield from ((tag, one.name) for one in in_roles(record, *roles))
    yield "TI", full_title(record)
    yield "T2", series
    yield "VL", number
    yield "ET", record.edition
    yield "PB", record.publisher
    yield "PY", date_of(record)
    yield "SP", "" if record.pages is None else str(record.pages)
    yield "LA", record.language
    # Of several lines with numbers many a reader takes the first alone.
    yield "SN", "; ".join([*numbers_of(record, "isbn"), *numbers_of(record, "issn")])
    yield from (("KW", subject) for subject in record.subjects)
    yield "AB", record.description
    yield from (("N1", f"{one.role}: {one.name}") for one in record.contributors if one.role in OTHER_ROLES)
