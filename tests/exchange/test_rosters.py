"""Rosters of patrons: as a school sends them."""

import gzip
from datetime import date
from pathlib import Path

import pytest

from library.exchange.records import FormatError, PatronRecord, RecordFault
from library.exchange.rosters import WIDTHS, read_roster


def read(folder: Path, text: str | bytes) -> list[PatronRecord | RecordFault]:
    path = folder / "roster.csv"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return [item for _, item in read_roster(path)]


def test_a_roster_of_a_school(tmp_path: Path) -> None:
    text = (
        "First Name;Surname;E-Mail;Card number;Patron category;Home branch;Expires;Date of birth;Telephone;Address;"
        "Language;Login\nJane;Doe;jane@example.com;C-1;Pupils;Main;2027-07-31;2012-02-29;'+49 30 1;\"Road 1\n\n"
        '1 Town";de;jane\n;Prince;;;;;;;;;;\n'
    )
    assert read(tmp_path, text.encode("utf-16")) == [
        PatronRecord(
            username="jane",
            email="jane@example.com",
            first_name="Jane",
            last_name="Doe",
            card_barcode="C-1",
            category="Pupils",
            branch="Main",
            expires_on=date(2027, 7, 31),
            birth_date=date(2012, 2, 29),
            phone="+49 30 1",
            address="Road 1\n1 Town",
            language="de",
        ),
        PatronRecord(last_name="Prince"),
    ]


@pytest.mark.parametrize(
    ("column", "cell", "reason"),
    [
        ("expires_on", "31.07.2027", "expires_on is no day such as 2027-12-31: '31.07.2027'"),
        ("expires_on", "2027-02-30", "expires_on is no day such as 2027-12-31: '2027-02-30'"),
        ("birth_date", "２０１２-01-01", "birth_date is no day such as 2027-12-31: '２０１２-01-01'"),
        ("email", "x" * 255, "email is longer than 254 characters"),
        ("last_name", "", "the row has no last_name"),
    ],
)
def test_a_bad_row_costs_that_row(tmp_path: Path, column: str, cell: str, reason: str) -> None:
    row = {"last_name": "Doe", "card_barcode": "C-1"} | {column: cell}
    header, bad = ",".join(row), ",".join(row.values())
    good = ",".join("Roe" if name == "last_name" else "" for name in row)
    items = read(tmp_path, f"{header}\n{bad}\n{good}\n")
    assert items == [RecordFault(1, reason, "C-1"), PatronRecord(last_name="Roe")]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("last_name,password\nDoe,secret\n", f"not known: 'password'. Known are {', '.join(WIDTHS)}."),
        ("first_name\nJane\n", "no column last_name"),
        ("surname,last name\n", "more than one column for last_name"),
        ("", "no column last_name"),
        ("last_name\nMörder\n".encode("cp1252"), "not in UTF-8"),
    ],
)
def test_what_is_no_roster(tmp_path: Path, text: str | bytes, sentence: str) -> None:
    with pytest.raises(FormatError) as caught:
        read(tmp_path, text)
    assert sentence in str(caught.value)


def test_a_compressed_roster_unpacks_to_no_more_than_it_may(tmp_path: Path) -> None:
    path = tmp_path / "roster.csv.gz"
    path.write_bytes(gzip.compress(b"last_name\n" + b"Doe\n" * 500_000))
    steps: list[int] = []
    items = list(read_roster(path, steps.append, limit=200_000))
    reason = "the compressed file holds more than 200,000 bytes; nothing from here on was read"
    assert items[-1] == (len(items), RecordFault(len(items), reason))
    assert all(item == PatronRecord(last_name="Doe") for _, item in items[:-1])
    assert 10_000 < len(items) < 50_002
    assert steps
