"""Tables of books: what is written is read back, spreadsheets run nothing, and a bad row costs that row."""

import codecs
import csv
import dataclasses
import io
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from library.exchange.book_tables import COLUMNS, read_books
from library.exchange.readers import read_records
from library.exchange.records import BookRecord, ContributorRecord, FormatError, IdentifierRecord, RecordFault
from library.exchange.tables import FORMULA, LONGEST_CELL, LONGEST_LINE, Table, neutral, restored
from library.exchange.texts import clean
from library.exchange.writers import WRITERS

from .books import books, whale

TABLE = WRITERS["text/csv"]


def read(text: str | bytes) -> list[BookRecord | RecordFault]:
    """What stands in a table, its positions left out."""
    data = text.encode() if isinstance(text, str) else text
    return [item for _, item in read_books(io.BytesIO(data))]  # type: ignore[arg-type]


def rows(*some: BookRecord) -> list[dict[str, str]]:
    """The cells of a written table, as Python's own reader finds them."""
    text = b"".join(TABLE.write(some)).decode()
    return list(csv.DictReader(io.StringIO(text, newline="")))


@settings(max_examples=100, deadline=None)
@given(st.lists(books(), max_size=3))
def test_what_is_written_is_read_back(some: list[BookRecord]) -> None:
    assert read(b"".join(TABLE.write(some))) == some


def test_a_row_as_people_see_it() -> None:
    (row,) = rows(whale(description="One.\n\nTwo."))
    assert list(row) == list(COLUMNS)
    assert row["id"] == "7"
    assert row["contributors"].split(" | ") == [
        "Melville, Herman {1819-1891} (author)",
        "Kent, Rockwell {1882-1971} (illustrator)",
        "Penguin Books (editor, body)",
    ]
    assert row["subjects"] == "Whales -- Fiction | Sea stories"
    assert (row["isbn"], row["other_identifiers"]) == ("9780142437247", "PZ3.M498")
    (again,) = read(b"".join(TABLE.write([whale(description="One.\n\nTwo.")])))
    wanted = whale(description="One.\n\nTwo.", book_id=None, created_at=None, updated_at=None)
    assert again == dataclasses.replace(wanted)


def test_rows_end_as_rfc_4180_says() -> None:
    data = b"".join(TABLE.write([whale()]))
    assert data.count(b"\r\n") == data.count(b"\n") == 2


@pytest.mark.parametrize(
    "cell", ["=1+1", "+1", "-1", "@SUM(A1)", "\tx", "\rx", "'=1", "''-", "＝1", "plain", "'quoted'", ""]
)
def test_no_cell_is_a_formula_and_each_comes_back(cell: str) -> None:
    written = neutral(cell)
    assert not written.startswith(tuple("=+-@\t\r\n＝＋－＠"))
    assert restored(written) == cell


@given(st.text("'=+-@\t\r\n＝ a", max_size=5))
@example("'")
def test_neutral_cells_are_restored(cell: str) -> None:
    assert restored(neutral(cell)) == cell
    assert (neutral(cell) != cell) == bool(FORMULA.match(cell))


def test_formulas_in_every_value_are_neutralised() -> None:
    evil = "=HYPERLINK(1)"
    (row,) = rows(
        whale(
            **dict.fromkeys(("title", "subtitle", "publisher", "year_text", "edition", "series", "description"), evil),
            contributors=[ContributorRecord(evil)],
            subjects=[evil],
            identifiers=[IdentifierRecord("other", evil)],
            control_number=evil,
            year=-5,
        )
    )
    assert not [cell for cell in row.values() if cell.startswith(("=", "-"))]
    assert sum(cell.startswith("'=") for cell in row.values()) == 11
    assert row["year"] == "'-5"


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-be"])
@pytest.mark.parametrize("end", ["\r\n", "\n", "\r"])
def test_tables_as_spreadsheets_save_them(delimiter: str, encoding: str, end: str) -> None:
    lines = ["Title", "YEAR ", '"Control-Number"'], ["Mörder", "1851", '"a\u2028b"'], ["Nö", "", "x"]
    text = end.join(delimiter.join(line) for line in lines)
    data = (codecs.BOM_UTF16_BE if encoding == "utf-16-be" else b"") + text.encode(encoding)
    assert read(data) == [
        BookRecord("Mörder", year=1851, control_number="a b"),
        BookRecord("Nö", control_number="x"),
    ]


def test_headings_as_people_write_them() -> None:
    text = "Author;Title;Language Code;number-of-pages;SUBJECT;id;\nVerne, Jules;20 000 lieues;FRE;300;Sea;9;\n"
    assert read(text) == [
        BookRecord(
            "20 000 lieues",
            contributors=[ContributorRecord("Verne, Jules")],
            language="fre",
            pages=300,
            subjects=["Sea"],
        )
    ]


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        ("Verne", ContributorRecord("Verne")),
        ("Verne (translator)", ContributorRecord("Verne", "translator")),
        ("Verne {1828-1905}", ContributorRecord("Verne", dates="1828-1905")),
        ("UN {1945-} (editor, body)", ContributorRecord("UN", "editor", "body", "1945-")),
        ("Verne (author) (author)", ContributorRecord("Verne (author)")),
        (r"A\|B \{c\} \\", ContributorRecord("A|B {c} \\")),
        ("Verne (cook)", ContributorRecord("Verne (cook)")),
    ],
)
def test_contributors(cell: str, expected: ContributorRecord) -> None:
    (book,) = read(f"title,authors\nT,{cell!s}\n" if "," not in cell else f'title,authors\nT,"{cell}"\n')
    assert isinstance(book, BookRecord)
    assert book.contributors == [expected]


@pytest.mark.parametrize(
    ("column", "cell", "reason"),
    [
        ("title", " ", "the row has no title"),
        ("title", "x" * 2001, "title is longer than 2,000 characters"),
        ("year", "about 1900", "year is no whole number from -3,000 to 3,000: 'about 1900'"),
        ("year", "3001", "year is no whole number from -3,000 to 3,000: '3001'"),
        ("pages", "-1", "pages is no whole number from 0 to 2,147,483,647: '-1'"),
        ("pages", "2147483648", "pages is no whole number from 0 to 2,147,483,647: '2147483648'"),
        ("language", "English", "language is no code of three letters, such as eng: 'English'"),
        ("material_type", "Scroll", "material_type is not known: 'Scroll'"),
        ("isbn", "123", "isbn: '123' is no ISBN"),
        ("issn", "0028-0836 | 1", "issn: '1' is no ISSN"),
        ("oclc", "abc", "oclc: 'abc' is no OCLC"),
        ("other_identifiers", "x" * 101, "other_identifiers: a number is longer than 100 characters"),
        ("authors", "{1900}", "a contributor is not written as Name {dates} (role): '{1900}'"),
        ("authors", "A {1} {2}", "a contributor is not written as Name {dates} (role): 'A {1} {2}'"),
        ("subjects", "x" * 501, "subject is longer than 500 characters"),
        ("description", "x" * (LONGEST_CELL + 1), "a cell is longer than 100,000 characters"),
        ("description", "x" * 140_000, "a cell is longer than 100,000 characters, or a quotation mark is not closed"),
    ],
)
def test_a_bad_row_costs_that_row(column: str, cell: str, reason: str) -> None:
    row = {"title": "T", "control_number": "c1"} | {column: cell}
    text = f"{','.join(row)}\n{','.join(row.values())}\n{','.join({**row, column: ''} | {'title': 'Next'})}\n"
    first, *_ = read(text)
    number = "" if reason.startswith("a cell") else "c1"
    assert first == RecordFault(1, reason, number)
    after = read(text + "," * (len(row) - 1) + "\n" + "Next" + "," * (len(row) - 1) + "\n")[-1]
    assert after == BookRecord("Next")


QUOTES = "a quotation mark is not closed, or one within a cell is not doubled; only this line was left out"


def test_a_quotation_mark_that_nothing_closes_costs_its_line() -> None:
    lines = [f"Book {number}," for number in range(1, 1001)]
    lines[9] = '"Book 10,'
    lines[499] = 'Book 500,"'
    lines[599] = '"Book" 600,'
    lines[999] = '"Book 1000'
    items = read("title,description\n" + "\n".join(lines))
    assert len(items) == 1000
    assert sum(isinstance(item, BookRecord) for item in items) == 996
    faults = [item for item in items if isinstance(item, RecordFault)]
    assert faults == [RecordFault(at, QUOTES) for at in (10, 500, 600, 1000)]
    assert [item.title for item in items[10:13] if isinstance(item, BookRecord)] == ["Book 11", "Book 12", "Book 13"]


def test_cells_of_several_lines_below_a_stray_quotation_mark_stay_whole() -> None:
    items = read('title,description\n"A,\nB,"one\ntwo"\nC,"say ""hi""\n"\n')
    assert items == [
        RecordFault(1, QUOTES),
        BookRecord("B", description="one\ntwo"),
        BookRecord("C", description='say "hi"'),
    ]


def test_a_file_of_nothing_but_open_cells_is_read_to_its_end_and_not_for_ever() -> None:
    """Each line, read as the first of a row, leaves a cell open, and each line behind it closes one and opens one."""
    lines = 200_000
    table = Table(io.BytesIO(b"title\n" + b'a","\n' * lines), {"title": "title"}, ["title"])
    found = list(table.rows())
    assert found == [(at, QUOTES) for at in range(1, lines + 1)]


def test_two_stray_quotation_marks_do_not_make_the_rows_between_them_one_cell() -> None:
    rows_of = [f"Book {number},1999" for number in range(1, 101)]
    rows_of[9], rows_of[49] = '"Book 10,1999', 'Book 50,"'
    items = read("title,year\n" + "\n".join(rows_of))
    assert [at for at, item in enumerate(items, 1) if isinstance(item, RecordFault)] == [10, 50]
    assert len(items) == 100


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_a_title_may_have_some_lines_and_a_description_many(end: str) -> None:
    title, description = (end.join(["x"] * number) for number in (10, 200))
    (book,) = read(f'title,description{end}"{title}","{description}"{end}')
    assert book == BookRecord(" ".join(["x"] * 10), description="\n".join(["x"] * 200))


def test_endless_blank_rows_are_told_now_and_then() -> None:
    empty = "this row and the 9,999 before it are empty"
    items = list(read_books(io.BytesIO(b"title,year\n" + b"\n,\n ,\n" * 10_000 + b"End,\n")))
    assert items == [*((at, RecordFault(at, empty)) for at in (10_000, 20_000, 30_000)), (30_001, BookRecord("End"))]
    few = list(read_books(io.BytesIO(b"title\n" + (b"\n" * 9_999 + b"A\n") * 2)))
    assert few == [(10_000, BookRecord("A")), (20_000, BookRecord("A"))]


@settings(max_examples=100, deadline=None)
@given(st.lists(st.text('ab",; ', min_size=1, max_size=8).filter(str.strip), max_size=12))
def test_every_line_with_text_is_in_a_row_or_is_one_that_cannot_be_read(lines: list[str]) -> None:
    # So many columns that no row has more cells.
    names = {f"c{number}": f"c{number}" for number in range(150)}
    table = Table(io.BytesIO(f"{','.join(names)}\n{chr(10).join(lines)}".encode()), names, [])
    seen = 0
    for _, row in table.rows():
        # Within cells the ends of lines are kept.
        seen += 1 if isinstance(row, str) else 1 + sum(cell.count("\n") for cell in row.values())
    with_text = [line for line in lines if line.strip(' ,"')]
    assert len(with_text) <= seen <= len(lines)


# What the API takes for a text: no control characters, and no blanks around it.
free = st.text(st.characters(exclude_categories=["Cs", "Cc"]) | st.sampled_from(" \u00a0\u2003"), max_size=20)


@settings(max_examples=100, deadline=None)
@given(
    books(), free.map(str.strip).filter(clean), free.map(str.strip), st.integers(-3000, 3000), st.integers(0, 2**31 - 1)
)
def test_all_that_the_api_takes_is_read_back(book: BookRecord, title: str, edition: str, year: int, pages: int) -> None:
    """But for blanks: several in a row, and special ones, become one."""
    sent = dataclasses.replace(book, title=title, edition=edition, year=year, pages=pages)
    wanted = dataclasses.replace(sent, title=clean(title), edition=clean(edition))
    assert read(b"".join(TABLE.write([sent]))) == [wanted]


def test_a_row_with_more_cells_than_the_header() -> None:
    faults = read("title,year\nA,1,2\nB,1,\n")
    assert faults == [RecordFault(1, "the row has 3 cells, the header 2"), BookRecord("B", year=1)]


def test_positions_count_rows_below_the_header() -> None:
    text = 'title,description\nA,"two\nlines"\n\n,\nB,\n'
    numbered = list(read_books(io.BytesIO(text.encode())))  # type: ignore[arg-type]
    assert [(at, item.title) for at, item in numbered if isinstance(item, BookRecord)] == [(1, "A"), (4, "B")]


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"title,colour,Shelf Mark\n", r"columns that are not known: 'colour', 'Shelf Mark'\. Known are id, title,"),
        (b"Nachname;Vorname\n", r"columns that are not known: 'Nachname', 'Vorname'\."),
        (b'title,"year\n', r"header of the table cannot be read"),
        (b"year\n1851\n", r"no column title"),
        (b"title,author,Authors\n", r"more than one column for contributors"),
        (b"title" + b",year" * 200, r"more than 200 columns"),
        ("title\nMörder\n".encode("cp1252"), r"not in UTF-8.*save it as CSV"),
        (b"title\n" + b"x" * (LONGEST_LINE + 100_000), r"a line of more than 1,000,000 characters"),
        (b"", r"no column title"),
    ],
)
def test_what_is_no_table_of_books(data: bytes, sentence: str) -> None:
    with pytest.raises(FormatError, match=sentence):
        read(data)


def test_a_wrong_character_at_the_end_is_found_before_the_first_row(tmp_path: Path) -> None:
    path = tmp_path / "books.csv"
    path.write_bytes(b"title\n" + b"Moby-Dick\n" * 50_000 + "Mörder\n".encode("cp1252"))
    with pytest.raises(FormatError, match="not in UTF-8"):
        read_records(path)


def test_nothing_but_faults_comes_of_rubbish(tmp_path: Path) -> None:
    @settings(max_examples=60, deadline=None)
    @given(st.text(st.characters(), max_size=60) | st.text('",\n\r|{}()\\ab', max_size=60))
    def check(text: str) -> None:
        for item in read(b"title,authors,isbn\n" + text.encode("utf-8", "replace")):
            assert isinstance(item, BookRecord | RecordFault)

    check()


@pytest.fixture
def saved(tmp_path: Path) -> Callable[[bytes], Path]:
    def save(data: bytes) -> Path:
        (tmp_path / "books").write_bytes(data)
        return tmp_path / "books"

    return save


def test_a_table_is_read_like_any_file(saved: Callable[[bytes], Path]) -> None:
    path = saved(b"".join(TABLE.write([whale(), whale()])))
    steps: list[int] = []
    titles = [item.title for _, item in read_records(path, steps.append) if isinstance(item, BookRecord)]
    assert titles == ["The whale & co."] * 2
    assert sum(steps) == path.stat().st_size
    assert len(list(read_records(path, format="csv"))) == 2
    with pytest.raises(FormatError, match="has no column title"):
        read_records(saved(b"year\n1851\n"), format="csv")
