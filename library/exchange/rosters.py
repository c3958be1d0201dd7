"""Rosters: patrons as a table (CSV), one row a person, as schools and offices send them."""

import re
from collections.abc import Iterator
from datetime import date
from typing import Any

from library.exchange.readers import Progress, Source, check_table, read_table
from library.exchange.records import PatronRecord, RecordFault
from library.exchange.tables import Table
from library.exchange.texts import clean

# Column and width; the widths are those of the database.
WIDTHS = {
    "username": 100, "email": 254, "first_name": 100, "last_name": 100, "card_barcode": 50, "category": 100,
    "branch": 100, "expires_on": 10, "birth_date": 10, "phone": 50, "address": 500, "language": 35,
}  # fmt: skip
DAYS = ("expires_on", "birth_date")
# Headings under which people write what stands in these columns.
HEADINGS = {name: name for name in WIDTHS} | {
    "user_name": "username", "login": "username", "e_mail": "email", "email_address": "email", "mail": "email",
    "given_name": "first_name", "forename": "first_name", "family_name": "last_name", "surname": "last_name",
    "card": "card_barcode", "barcode": "card_barcode", "card_number": "card_barcode", "patron_category": "category",
    "home_branch": "branch", "library": "branch", "expires": "expires_on", "expiry_date": "expires_on",
    "date_of_birth": "birth_date", "birthday": "birth_date", "telephone": "phone",
}  # fmt: skip
# A roster names people; who has one name only has it as the last one.
REQUIRED = ["last_name"]
# The years that the rest of the house knows.
FIRST_YEAR, LAST_YEAR = 1900, 2200

_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", re.ASCII)


class _Bad(Exception):
    """What is wrong with one cell."""


def check_roster(path: Source, limit: int) -> None:
    """Look at the beginning of a roster, as `readers.check_table` does."""
    check_table(path, HEADINGS, REQUIRED, limit)


def read_roster(
    path: Source, progress: Progress | None = None, limit: int | None = None
) -> Iterator[tuple[int, PatronRecord | RecordFault]]:
    """Yield position (from 1, below the header) and content of every row; a bad one costs that row.

    `progress` and `limit` are those of `readers.read_records`. Raises FormatError at once for a file that is no table
    in UTF-8, and for a header with columns that are not known or without the last name.
    """
    return read_table(path, lambda stream: _people(Table(stream, HEADINGS, REQUIRED)), progress, limit)


def _people(table: Table) -> Iterator[tuple[int, PatronRecord | RecordFault]]:
    for position, row in table.rows():
        if isinstance(row, str):
            yield position, RecordFault(position, row)
            continue
        person = _person(row)
        if isinstance(person, str):
            yield position, RecordFault(position, person, clean(row.get("card_barcode", ""))[:100])
        else:
            yield position, person


def _person(row: dict[str, str]) -> PatronRecord | str:
    """A row as a person, or all that is wrong with it; no cell is quoted, for it may say something about a person."""
    values: dict[str, Any] = {}
    faults = []
    for name, width in WIDTHS.items():
        try:
            text = _text(name, row.get(name, ""), width)
            values[name] = _day(name, text) if name in DAYS else text
        except _Bad as fault:
            faults.append(str(fault))
    if values.get("last_name") == "":
        faults.append("the row has no last_name")
    return "; ".join(faults) or PatronRecord(**values)


def _text(name: str, cell: str, width: int) -> str:
    text = "\n".join(filter(None, map(clean, cell.splitlines()))) if name == "address" else clean(cell)
    if len(text) > width:
        raise _Bad(f"{name} is longer than {width} characters")
    return text


def _day(name: str, text: str) -> date | None:
    if not text:
        return None
    try:
        day = date.fromisoformat(text) if _DAY.fullmatch(text) else None
    except ValueError:
        day = None
    if day is None:
        raise _Bad(f"{name} is no day such as 2027-12-31")
    if not FIRST_YEAR <= day.year <= LAST_YEAR:
        raise _Bad(f"{name} is not within the years {FIRST_YEAR} to {LAST_YEAR}")
    return day
