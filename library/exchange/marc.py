"""MARC 21: which field of a record says what, as tables, and the reading of files in ISO 2709."""

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from io import BufferedIOBase
from typing import cast

from pymarc import Field, Record

from library.exchange import numbers
from library.exchange.frames import frames
from library.exchange.iso2709 import SeenField, SeenRecord, Unreadable, control_number, encode, look
from library.exchange.records import BookRecord, ContributorRecord, IdentifierRecord, RecordFault
from library.exchange.texts import LIMITS, balanced, clean, cut, strip_isbd

# Leader/06, the type of the record; language material (a) is a book or a serial by leader/07.
MATERIAL_TYPES = {
    "a": "book", "t": "manuscript", "c": "score", "d": "score", "e": "map", "f": "map", "g": "video", "i": "sound",
    "j": "sound", "k": "image", "m": "computer_file", "o": "kit", "p": "mixed", "r": "object",
}  # fmt: skip
SERIAL_LEVELS = "bis"

# Tags of contributors: kind, subfields of the name, subfields of the relator, role when no relator is given.
CONTRIBUTORS = {
    "100": ("person", "abc", "e4", "author"),
    "110": ("body", "ab", "e4", "author"),
    "111": ("body", "ae", "j4", "author"),
    "700": ("person", "abc", "e4", "contributor"),
    "710": ("body", "ab", "e4", "contributor"),
    "711": ("body", "ae", "j4", "contributor"),
}
# Relator terms (old abbreviations among them) and codes for each role; any other relator makes a contributor.
ROLES = {
    "author": "author,aut,auth,creator,cre,writer,attributed name,att,dubious author,dub,librettist,lbt,lyricist,lyr",
    "editor": "editor,edt,ed,eds,editor of compilation,edc,redaktor,red,hrsg",
    "translator": "translator,trl,tr,trans,uebers",
    "illustrator": "illustrator,ill,illus,il",
    "compiler": "compiler,com,comp",
    "composer": "composer,cmp,arranger,arr",
    "performer": "performer,prf,actor,act,singer,sng,musician,mus,conductor,cnd,instrumentalist,itr,vocalist,voc",
    "narrator": "narrator,nrt",
    "director": "director,drt,film director,fmd,stage director,sgd,television director,tld",
    "photographer": "photographer,pht,photo,photos,phot",
    "contributor": "contributor,ctb",
}
ROLE_OF = {relator: role for role, relators in ROLES.items() for relator in relators.split(",")}

# Headings of subjects, by their second indicator: Library of Congress, no source, source in $2.
SUBJECT_TAGS = frozenset(("600", "610", "611", "630", "650", "651", "655"))
SUBJECT_SOURCES = frozenset("047")
SUBJECT_HEADING = "abcdqtnp"
SUBJECT_DIVISIONS = "vxyz"

# Where a series stands: subfields of its title; its number is in $v everywhere.
SERIES = {"490": "a", "440": "anp", "830": "anp"}

# Tag, scheme and form of each identifier; of the numbers in 024 those whose kind is not said (indicator 8).
IDENTIFIERS = (("020", "isbn", numbers.isbn), ("022", "issn", numbers.issn), ("010", "lccn", numbers.lccn),
               ("035", "oclc", numbers.oclc), ("024", "other", clean))  # fmt: skip

# Who numbered a record that had no number of its own when it went out from here (003): its 001 is no control number.
OWN_NUMBERS = "LibraryAPI"

# Every tag that the mapping looks at: fields of other tags need not be decoded.
TAGS = frozenset(
    [*("001", "003", "008", "245", "250", "260", "264", "300", "520"), *CONTRIBUTORS, *SUBJECT_TAGS, *SERIES]
    + [tag for tag, _, _ in IDENTIFIERS]
)

# A coded date may have a year before 1000; what is printed is too often a number of another kind.
_CODED_YEAR = re.compile(r"0[1-9][0-9]{2}|1[0-9]{3}|20[0-9]{2}|2100")
_YEAR = re.compile(r"(?<![0-9])(?:1[0-9]{3}|20[0-9]{2}|2100)(?![0-9])")
# "xii, 340, [2] p.": the numbers of one sequence, up to its unit.
_PAGED = re.compile(r"([0-9][0-9ivxlcdm,\[\]\s-]*)(?:p\b|pp\b|pages?\b)", re.IGNORECASE)
_NUMBER = re.compile(r"(?<![0-9])[0-9]{1,5}(?![0-9])")
_LANGUAGE = re.compile("[a-z]{3}")
_RELATOR_SEPARATOR = re.compile(r"\s*(?:,|;|&|/|\band\b)\s*")

_FORMS = {tag: form for tag, _, form in IDENTIFIERS}

AnyField = Field | SeenField
AnyRecord = Record | SeenRecord
Fields = dict[str, list[AnyField]]


def read_marc(stream: BufferedIOBase) -> Iterator[tuple[int, BookRecord | RecordFault]]:
    """Yield position (from 1) and content of every record in a stream of ISO 2709."""
    for position, frame in enumerate(frames(stream), 1):
        yield position, _read_frame(position, frame)


def to_book_record(record: AnyRecord, source: bytes | None = None) -> BookRecord:
    """Map a MARC 21 record; `source` are its bytes, if not to be made. Raises `Unreadable` without a title."""
    fields: Fields = {}
    for field in record.fields:
        fields.setdefault(field.tag, []).append(field)
    marks = Punctuation.of(record)
    title, subtitle = _titles(fields, marks)
    if not title:
        raise Unreadable("the record has no title (245 $a)")
    fixed = _control(fields, "008").ljust(40)
    year_text = _publication(fields, "c")
    return BookRecord(
        title=cut(title, LIMITS["title"]),
        subtitle=cut(subtitle, LIMITS["subtitle"]),
        material_type=_material_type(record),
        contributors=_contributors(record, marks),
        publisher=cut(marks.strip(marks.balance(_publication(fields, "b"))), LIMITS["publisher"]),
        year=_year(fixed[7:11], year_text),
        year_text=cut(marks.strip_date(marks.balance(year_text)), LIMITS["year_text"]),
        edition=cut(marks.strip(_first(fields.get("250", ()), "a")), LIMITS["edition"]),
        language=fixed[35:38] if _LANGUAGE.fullmatch(fixed, 35, 38) else "",
        pages=_pages(_first(fields.get("300", ()), "a")),
        series=cut(_series(fields, marks), LIMITS["series"]),
        subjects=_subjects(record, marks),
        description=cut(clean(_first(fields.get("520", ()), "a")), LIMITS["description"]),
        identifiers=_identifiers(fields),
        control_number=_control_number(fields),
        source_format="marc21",
        source=encode(cast(Record, record)) if source is None else source,
    )


@dataclass(frozen=True)
class Punctuation:
    """Whether the texts of a record end in ISBD punctuation, which `strip` takes off, or are bare (leader/18)."""

    is_bare: bool
    strip: Callable[[str], str]

    @classmethod
    def of(cls, record: AnyRecord) -> "Punctuation":
        """What the record says of itself: c and n stand for punctuation left out."""
        return _BARE if record.leader[18] in ("c", "n") else _PUNCTUATED

    def strip_date(self, text: str) -> str:
        """The same for a date, whose period never belongs to a word."""
        return clean(text) if self.is_bare else clean(text).rstrip(" .,;:")

    def balance(self, text: str) -> str:
        """Drop brackets that span several parts of the description."""
        return text if self.is_bare else balanced(text)

    def strip_heading(self, text: str) -> str:
        """A heading without its punctuation, and without the remark that LC left on those of its card catalogue."""
        return self.strip(text.replace("[from old catalog]", "") if "[" in text else text)

    def strip_dates(self, text: str) -> str:
        """The dates of a heading without the brackets around them."""
        text = self.strip_heading(text)
        return text if self.is_bare else text.strip("(),: ")


_BARE, _PUNCTUATED = Punctuation(True, clean), Punctuation(False, strip_isbd)


def _read_frame(position: int, frame: bytes) -> BookRecord | RecordFault:
    try:
        record, source = look(frame, TAGS)
        return to_book_record(record, source)
    except Unreadable as fault:
        return RecordFault(position, str(fault), control_number(frame))


def _control(fields: Fields, tag: str) -> str:
    """The data of a control field, "" where it is absent."""
    return (fields[tag][0].data or "") if tag in fields else ""


def _values(field: AnyField, codes: str) -> list[str]:
    """The values of the subfields of these codes, in the order in which they stand."""
    return [value for code, value in field.subfields if code in codes]


def _first(fields: Iterable[AnyField], code: str) -> str:
    """The first subfield of that code in some fields that holds more than blanks."""
    for field in fields:
        for one, value in field.subfields:
            if one == code and value.strip():
                return value
    return ""


def _control_number(fields: Fields) -> str:
    """The number of the record where it came from, unless this system gave it out."""
    is_own = _control(fields, "003") == OWN_NUMBERS
    return "" if is_own else cut(clean(_control(fields, "001")), LIMITS["control_number"])


def _titles(fields: Fields, marks: Punctuation) -> tuple[str, str]:
    """Title with number and name of the part ($a $n $p), and subtitle ($b)."""
    if "245" not in fields:
        return "", ""
    field = fields["245"][0]
    title = ""
    for part in _values(field, "anp"):
        part = clean(part) if marks.is_bare else clean(part).rstrip(" /:;=")
        joint = "" if not title else " " if title[-1] in ".,:;!?" else ". "
        title += joint + part if part else ""
    has_main_title = any(map(clean, _values(field, "a")))
    return (marks.strip(title) if has_main_title else ""), marks.strip(" ".join(_values(field, "b")))


def _material_type(record: AnyRecord) -> str:
    kind, level = record.leader[6], record.leader[7]
    return "serial" if kind == "a" and level in SERIAL_LEVELS else MATERIAL_TYPES.get(kind, "book")


def _contributors(record: AnyRecord, marks: Punctuation) -> list[ContributorRecord]:
    """Persons and bodies, main entry first."""
    headings = [field for field in record.fields if field.tag in CONTRIBUTORS]
    headings.sort(key=lambda field: field.tag[0])
    found: dict[tuple[str, str, str], ContributorRecord] = {}
    for field in headings:
        for one in contributors_of(field, marks):
            found.setdefault((one.name, one.dates, one.role), one)
    return list(found.values())


def contributors_of(field: AnyField, marks: Punctuation) -> list[ContributorRecord]:
    """Who stands in a field, once a role; headings with a title ($t) or of a part (7xx, indicator 2) are works."""
    kind, name_codes, relator_codes, default = CONTRIBUTORS[field.tag]
    name = cut(marks.strip_heading(" ".join(_values(field, name_codes))), LIMITS["name"])
    if not name or _values(field, "t") or (field.tag[0] == "7" and field.indicator2 == "2"):
        return []
    dates = cut(marks.strip_dates("".join(_values(field, "d")[:1])), LIMITS["dates"])
    relators = _values(field, relator_codes)
    roles = (relators and _roles(relators)) or [default]
    return [ContributorRecord(name, role, kind, dates) for role in roles]


def _roles(relators: list[str]) -> list[str]:
    """The roles of one contributor: "comp. and ed." names two; relators without a role of their own make one more."""
    words = [word.strip(" .()[]") for text in relators for word in _RELATOR_SEPARATOR.split(clean(text).lower())]
    known = [ROLE_OF.get(word.removeprefix("joint ")) for word in words if word]
    roles = list(dict.fromkeys(role for role in known if role))
    return roles or (["contributor"] if known else [])


def _publication(fields: Fields, code: str) -> str:
    """A subfield of the publication: 264 with indicator 1, else 260; for the date ($c) any other 264 as well."""
    statements = fields.get("264", [])
    places = [field for field in statements if field.indicator2 == "1"] + fields.get("260", [])
    return _first(places + statements if code == "c" else places, code)


def _year(date: str, year_text: str) -> int | None:
    """The year of 008/07-10, else the first one printed."""
    match = _CODED_YEAR.fullmatch(date) or _YEAR.search(year_text)
    return int(match.group()) if match else None


def _pages(extent: str) -> int | None:
    """The largest number counted in pages."""
    sequences = _PAGED.findall(extent[:500])
    return max((int(number) for sequence in sequences for number in _NUMBER.findall(sequence)), default=None)


def _series(fields: Fields, marks: Punctuation) -> str:
    series = (series_of(field, marks) for tag in SERIES for field in fields.get(tag, ()))
    return next(filter(None, series), "")


def series_of(field: AnyField, marks: Punctuation) -> str:
    """Title of a series and the number in it, "" without a title."""
    title = marks.strip(" ".join(_values(field, SERIES[field.tag])))
    number = marks.strip("".join(_values(field, "v")[:1]))
    return f"{title} ; {number}" if title and number else title


def _subjects(record: AnyRecord, marks: Punctuation) -> list[str]:
    headings = [subject_of(field, marks) for field in record.fields if field.tag in SUBJECT_TAGS]
    return list(dict.fromkeys(filter(None, headings)))


def subject_of(field: AnyField, marks: Punctuation) -> str:
    """A heading and its subdivisions in the order in which they stand, "" where the field is none that counts."""
    if field.tag not in SUBJECT_TAGS or field.indicator2 not in SUBJECT_SOURCES:
        return ""
    parts = [" ".join(_values(field, SUBJECT_HEADING)), *_values(field, SUBJECT_DIVISIONS)]
    return cut(" -- ".join(filter(None, map(marks.strip_heading, parts))), LIMITS["subject"])


def _identifiers(fields: Fields) -> list[IdentifierRecord]:
    found = {
        (scheme, number): None
        for tag, scheme, _ in IDENTIFIERS
        for field in fields.get(tag, ())
        for number in numbers_of(field)
    }
    return [IdentifierRecord(scheme, number) for scheme, number in found]


def numbers_of(field: AnyField) -> list[str]:
    """The valid identifiers of a field, in their normalised form."""
    if field.tag not in _FORMS or (field.tag == "024" and field.indicator1 != "8"):
        return []
    numbers_found = map(_FORMS[field.tag], map(clean, _values(field, "a")))
    return [cut(number, LIMITS["identifier"]) for number in numbers_found if number]
