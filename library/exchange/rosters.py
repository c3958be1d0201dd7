"""Rosters: patrons as a table (CSV), one row a person, as schools and offices send them."""

import re
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

from library.exchange.readers import Progress, read_table
from library.exchange.records import PatronRecord, RecordFault
from library.exchange.tables import Table
from library.exchange.texts import clean

# Column and width; the widths are those of the database.
WIDTHS = {
    "username": 100, "email": 254, "first_name": 100, "last_name": 100, "card_barcode": 50, "category": 100,
    "branch": 100, "expires_on": 10, "birth_date": 10, "phone": 50, "address": 500, "language": 35,
}  # fmt: skip
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

_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", re.ASCII)


class _Bad(Exception):
    """What is wrong with one cell."""


def read_roster(
    path: Path, progress: Progress | None = None, limit: int | None = None
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
        try:
            yield position, _person(row)
        except _Bad as fault:
            yield position, RecordFault(position, str(fault), clean(row.get("card_barcode", ""))[:100])


def _person(row: dict[str, str]) -> PatronRecord:
    values: dict[str, Any] = {name: _text(name, row.get(name, ""), width) for name, width in WIDTHS.items()}
    if not values["last_name"]:
        raise _Bad("the row has no last_name")
    values |= {name: _day(name, values[name]) for name in ("expires_on", "birth_date")}
    return PatronRecord(**values)


def _text(name: str, cell: str, width: int) -> str:
    text = "\n".join(filter(None, map(clean, cell.splitlines()))) if name == "address" else clean(cell)
    if len(text) > width:
        raise _Bad(f"{name} is longer than {width} characters")
    return text


def _day(name: str, text: str) -> date | None:
    if not text:
        return None
    try:
        if _DAY.fullmatch(text):
            return date.fromisoformat(text)
    except ValueError:
        pass
    raise _Bad(f"{name} is no day such as 2027-12-31: {text!r}")
