"""What the formats of bibliographies (BibTeX, RIS, CSL-JSON) have in common: keys, dates, roles, parts of a series."""

from hashlib import sha256

from library.exchange.records import BookRecord, ContributorRecord

SCHEMES_OF_NUMBERS = ("isbn", "issn", "lccn", "oclc", "other")


def key_of(record: BookRecord) -> str:
    """A key of ASCII letters and digits that stays when the record is changed: the catalogue's number makes it.

    What the catalogue has not numbered gets its key from its content.
    """
    if record.book_id is not None:
        return f"book{record.book_id}"
    content = repr((record.control_number, record.title, record.subtitle, record.year, record.contributors))
    return "record" + sha256(content.encode("utf-8", "replace")).hexdigest()[:12]


def full_title(record: BookRecord) -> str:
    """Title and subtitle as one."""
    return f"{record.title}: {record.subtitle}" if record.subtitle else record.title


def date_of(record: BookRecord) -> str:
    """The year of publication, or what is printed where no year could be made out."""
    return record.year_text if record.year is None else str(record.year)


def series_of(record: BookRecord) -> tuple[str, str]:
    """The title of the series and the number in it: "Penguin classics ; 12"."""
    title, _, number = record.series.rpartition(" ; ")
    return (title, number) if title else (number, "")


def numbers_of(record: BookRecord, scheme: str) -> list[str]:
    """All identifiers of one scheme."""
    return [one.value for one in record.identifiers if one.scheme == scheme]


def in_roles(record: BookRecord, *roles: str) -> list[ContributorRecord]:
    """Who took part in one of these roles, in the order of the title page, nobody twice."""
    found = {(one.name, one.dates): one for one in reversed(record.contributors) if one.role in roles}
    return list(reversed(found.values()))


def family_and_given(contributor: ContributorRecord) -> tuple[str, str]:
    """The parts of a person's heading; the name of a body, or of who has one name only, is all family."""
    if contributor.kind != "person":
        return contributor.name, ""
    family, _, given = contributor.name.partition(", ")
    return family, given
