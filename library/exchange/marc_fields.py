"""Fields of MARC 21 out of the values of a book, and whole records for books that came from nowhere.

They are written bare, without ISBD punctuation at the ends (leader/18 says so): nothing that a text ends in gets lost.
"""

import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from itertools import groupby

from pymarc import Field, Indicators, Record, Subfield

from library.exchange.marc import MATERIAL_TYPES, OWN_NUMBERS, ROLES
from library.exchange.records import BookRecord, ContributorRecord, IdentifierRecord
from library.exchange.texts import clean

BARE_LEADER = "00000nam a22000007c 4500"
LEADER_TYPES = {material: letter for letter, material in reversed(MATERIAL_TYPES.items())} | {"serial": "a"}

# The code of each role in MARC's list of relators.
RELATOR_CODES = {role: relators.split(",")[1] for role, relators in ROLES.items()} | {
    "illustrator": "ill", "compiler": "com", "contributor": "ctb", "photographer": "pht",
}  # fmt: skip
IDENTIFIER_TAGS = {"isbn": "020", "issn": "022", "lccn": "010", "oclc": "035", "other": "024"}

# The articles that are passed over when titles are sorted, by language.
ARTICLES = {
    "eng": "the an a", "ger": "der die das des dem den ein eine einem einen einer eines", "fre": "le la les un une l'",
    "spa": "el la los las un una unos unas", "ita": "il lo la i gli le un uno una l' un'", "por": "o a os as um uma",
    "dut": "de het een", "swe": "den det de en ett", "dan": "den det de en et", "nor": "den det de en et ei",
}  # fmt: skip

# What does not come back from MARC as it went in; docs/formats.md says it to the reader, the tests show each.
MARC_LOSSES = (
    "A year before 100 or after 2100 is not read back.",
    "A book without a year whose printed date names one gets that year.",
    "A number of pages of more than five digits is not read back.",
    "Identifiers come back in the order ISBN, ISSN, LCCN, OCLC, others; within each kind their order stays.",
    "Line breaks of the description become blanks.",
    "A changed value that ends in ISBD punctuation loses it where the source has such punctuation.",
    "Whether an unchanged contributor is a person or a body is what the source says.",
    "Several blanks in a row, and no-break and other special blanks, become one blank.",
)

# 008 of a record of which nothing is known but when it was made (00-05): dates, place, content and language unsaid.
_FIXED = "000000nuuuuuuuuxx |||||||||||||||||   ||"
_LCCN = re.compile(r"([a-z]{0,3})([0-9]{8})|([a-z]{0,2})([0-9]{10})")


def new_record(book: BookRecord) -> Record:
    """A whole record of what is known of the book, its fields in the order of their tags."""
    record = Record(leader=leader_of(book.material_type, BARE_LEADER))
    # Persons and bodies stand in the order of the title page, not of their tags.
    record.fields = sorted(_fields(book), key=lambda field: "7" if field.tag[0] == "7" else field.tag)
    return record


def _fields(book: BookRecord) -> Iterator[Field]:
    yield from control_numbers(book)
    if book.updated_at:
        yield changed_at(book.updated_at)
    yield Field("008", data=fixed_data("", book))
    yield from map(identifier_field, book.identifiers)
    headings = contributor_fields(book.contributors)
    yield from headings
    has_main_entry = any(field.tag < "200" for field in headings)
    yield title_field(book, has_main_entry)
    if book.edition:
        yield data_field("250", "  ", a=book.edition)
    if book.publisher or book.year_text:
        yield data_field("264", " 1", b=book.publisher, c=book.year_text)
    if book.pages is not None:
        yield data_field("300", "  ", a=extent(book.pages))
    if book.series:
        yield series_field(book.series)
    if book.description:
        yield data_field("520", "  ", a=clean(book.description))
    yield from map(subject_field, book.subjects)


def data_field(tag: str, indicators: str, **subfields: str) -> Field:
    """A field of the subfields that are not empty."""
    parts = [Subfield(code, value) for code, value in subfields.items() if value]
    return Field(tag, Indicators(indicators[0], indicators[1]), parts)


def leader_of(material_type: str, leader: str) -> str:
    """The leader with type (06) and level (07) of the material; a level that fits stays."""
    is_serial = material_type == "serial"
    level = leader[7]
    if is_serial:
        level = level if level in "bis" else "s"
    elif level in "bis":
        level = "m"
    return f"{leader[:6]}{LEADER_TYPES.get(material_type, 'a')}{level}{leader[8:]}"


def control_numbers(book: BookRecord) -> list[Field]:
    """001: the number of where the record came from, else the catalogue's with its name in 003."""
    if book.control_number:
        return [Field("001", data=book.control_number)]
    if book.book_id is None:
        return []
    return [Field("001", data=str(book.book_id)), Field("003", data=OWN_NUMBERS)]


def changed_at(moment: datetime) -> Field:
    """005: when the record was last changed."""
    return Field("005", data=f"{moment.astimezone(UTC):%Y%m%d%H%M%S}.0")


def fixed_data(data: str, book: BookRecord) -> str:
    """The forty characters of 008 with the book's year and language written into them."""
    if not data:
        entered = f"{book.created_at.astimezone(UTC):%y%m%d}" if book.created_at else ""
        data = entered + _FIXED[len(entered) :]
    return with_language(with_year(data, book.year), book.language)


def with_year(data: str, year: int | None) -> str:
    """008 with that single date of publication, or with none; only years of four digits can be told."""
    data = (data + _FIXED[len(data) :])[:40]
    dates = f"s{year:04}    " if year is not None and 0 <= year <= 9999 else "nuuuuuuuu"
    return data[:6] + dates + data[15:]


def with_language(data: str, language: str) -> str:
    """008 with that language."""
    data = (data + _FIXED[len(data) :])[:40]
    return f"{data[:35]}{language[:3]:3}{data[38:]}"


def extent(pages: int | None) -> str:
    """The number of pages in words."""
    return "" if pages is None else f"{pages} page{'s' * (pages != 1)}"


def title_field(book: BookRecord, has_main_entry: bool) -> Field:
    """245, with the number of characters that are passed over in sorting."""
    return data_field("245", f"{int(has_main_entry)}{nonfiling(book)}", a=book.title, b=book.subtitle)


def nonfiling(book: BookRecord) -> int:
    """How many characters the article at the beginning of the title takes, with the blank behind it."""
    for article in ARTICLES.get(book.language, "").split():
        start = article if article.endswith("'") else article + " "
        if book.title.lower().replace("’", "'").startswith(start) and len(book.title) > len(start):
            return len(start)
    return 0


def series_field(series: str) -> Field:
    """490, the number behind the last semicolon in a subfield of its own."""
    title, _, number = series.rpartition(" ; ")
    return data_field("490", "0 ", a=title, v=number) if title and number else data_field("490", "0 ", a=series)


def subject_field(heading: str) -> Field:
    """650 without a source (indicator 4); what follows a double dash is a division of the heading."""
    first, *divisions = heading.split(" -- ")
    return Field("650", Indicators(" ", "4"), [Subfield("a", first), *(Subfield("x", part) for part in divisions)])


def identifier_field(identifier: IdentifierRecord) -> Field:
    """020, 022, 010, 035, or 024 for a number of no known kind."""
    value = identifier.value
    if identifier.scheme == "lccn":
        value = _spaced_lccn(value)
    elif identifier.scheme == "oclc":
        value = f"(OCoLC){value}"
    tag = IDENTIFIER_TAGS[identifier.scheme]
    return data_field(tag, "8 " if tag == "024" else "  ", a=value)


def _spaced_lccn(number: str) -> str:
    """The number in the twelve characters that 010 wants: prefix, year, serial, each at its place."""
    match = _LCCN.fullmatch(number)
    if not match:
        return number
    old_prefix, old_digits, prefix, digits = match.groups()
    return f"{prefix:2}{digits}" if digits else f"{old_prefix:3}{old_digits} "


def contributor_fields(contributors: Sequence[ContributorRecord], may_lead: bool = True) -> list[Field]:
    """The headings in their order: the first author, where one stands first, is the main entry (1xx)."""
    groups = [list(group) for _, group in groupby(contributors, key=lambda one: (one.name, one.dates, one.kind))]
    return [
        contributor_field(group, is_main=may_lead and place == 0 and group[0].role == "author")
        for place, group in enumerate(groups)
    ]


def contributor_field(roles_of_one: Sequence[ContributorRecord], is_main: bool) -> Field:
    """One person or body in all its roles."""
    one = roles_of_one[0]
    tag = ("1" if is_main else "7") + ("00" if one.kind == "person" else "10")
    form = ("1" if ", " in one.name else "0") if one.kind == "person" else "2"
    roles = [each.role for each in roles_of_one]
    field = data_field(tag, form + " ", a=one.name, d=one.dates)
    field.subfields += [Subfield("e", role) for role in roles]
    field.subfields += [Subfield("4", RELATOR_CODES[role]) for role in roles]
    return field
