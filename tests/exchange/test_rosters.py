"""Rosters of patrons: as a school sends them."""

import gzip
from datetime import date
from pathlib import Path

import pytest

from library.exchange.records import FormatError, PatronRecord, RecordFault
from library.exchange.rosters import WIDTHS, check_roster, read_roster


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
        ("expires_on", "31.07.2027", "expires_on is no day such as 2027-12-31"),
        ("expires_on", "2027-02-30", "expires_on is no day such as 2027-12-31"),
        ("birth_date", "２０１２-01-01", "birth_date is no day such as 2027-12-31"),
        ("email", "x" * 255, "email is longer than 254 characters"),
        ("last_name", "", "the row has no last_name"),
        ("expires_on", "2999-12-31", "expires_on is not within the years 1900 to 2200"),
        ("birth_date", "0001-01-01", "birth_date is not within the years 1900 to 2200"),
    ],
)
def test_a_bad_row_costs_that_row(tmp_path: Path, column: str, cell: str, reason: str) -> None:
    row = {"last_name": "Doe", "card_barcode": "C-1"} | {column: cell}
    header, bad = ",".join(row), ",".join(row.values())
    good = ",".join("Roe" if name == "last_name" else "" for name in row)
    items = read(tmp_path, f"{header}\n{bad}\n{good}\n")
    assert items == [RecordFault(1, reason, "C-1"), PatronRecord(last_name="Roe")]


def test_all_that_is_wrong_with_a_row_is_said_at_once(tmp_path: Path) -> None:
    (fault,) = read(tmp_path, f"last_name,phone,birth_date,expires_on\n,{'1' * 51},then,1899-01-01\n")
    assert isinstance(fault, RecordFault)
    assert fault.reason.split("; ") == [
        "expires_on is not within the years 1900 to 2200",
        "birth_date is no day such as 2027-12-31",
        "phone is longer than 50 characters",
        "the row has no last_name",
    ]


def check(folder: Path, content: bytes, limit: int = 1 << 18) -> None:
    path = folder / "head.csv"
    path.write_bytes(content[: limit + 1])
    check_roster(path, limit)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
@pytest.mark.parametrize("shift", range(4))
def test_the_beginning_of_a_roster_may_end_anywhere(tmp_path: Path, encoding: str, shift: int) -> None:
    check(tmp_path, ("last_name\n" + "x" * shift + "\nMörder 𝄞" * 60_000).encode(encoding))


def test_of_a_roster_hardly_more_than_the_header_is_looked_at(tmp_path: Path) -> None:
    check(tmp_path, gzip.compress(b"last_name\n" + b"\n" * 50_000_000))
    with pytest.raises(FormatError, match="not in UTF-8"):
        check(tmp_path, gzip.compress("last_name\nMörder\n".encode("cp1252")))
    with pytest.raises(FormatError, match="save the table as CSV"):
        check(tmp_path, b"PK\x03\x04 and so on")


def test_many_empty_lines_are_told_of_while_they_are_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "roster.csv.gz"
    path.write_bytes(gzip.compress(b"last_name\n" + b"\n" * 3_000_000))

    def tell(count: int) -> None:
        told.append(count)
        if len(told) == 30:
            raise InterruptedError

    told: list[int] = []
    with pytest.raises(InterruptedError):
        list(read_roster(path, tell))


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
