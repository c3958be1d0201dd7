"""Tables as text (CSV): writing them so that no spreadsheet runs them, and reading what people save and send."""

import codecs
import csv
import io
import re
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from io import BufferedIOBase
from itertools import chain, repeat

from library.exchange.frames import BLOCK
from library.exchange.records import FormatError

LONGEST_LINE = 1_000_000  # characters
LONGEST_CELL = 100_000
LONGEST_ROW = 1_000_000  # characters, over all lines of a row
MOST_COLUMNS = 200
# A cell of more lines is no cell: a quotation mark that was not meant was closed by another, and rows between them.
MOST_LINES = 10
TEXTS_OF_LINES = frozenset(("description", "address"))
# Spreadsheets write hundreds of thousands of rows without text; whoever waits for rows must hear of them now and then.
BLANK_ROWS = 10_000
# Characters that are read a second time, behind quotation marks that nothing closes; then rows end with their lines.
MOST_READ_AGAIN = 10_000_000
DELIMITERS = ",;\t"

# A spreadsheet takes a cell that begins like this for a formula and runs it (full-width signs too).
FORMULA = re.compile("'*[=+\\-@\t\r\n＝＋－＠]")
_MARKED = re.compile("'+[=+\\-@\t\r\n＝＋－＠]")
_UTF16_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
# Lines end as on Windows, Unix or an old Mac; Unicode's other line ends are text.
_LINE_END = re.compile(r"\r?\n|\r(?=[^\n])")
_BAD_QUOTES = "a quotation mark is not closed, or one within a cell is not doubled; only this line was left out"
NOT_UTF8 = (
    "The table is not in UTF-8: in a spreadsheet, save it as CSV with the character set UTF-8"
    " (other character sets, such as Windows-1252, are not guessed at)."
)


def neutral(cell: str) -> str:
    """The cell so that no spreadsheet runs it: an apostrophe goes before what would begin a formula."""
    return "'" + cell if FORMULA.match(cell) else cell


def restored(cell: str) -> str:
    """The cell as it was before `neutral`."""
    return cell[1:] if _MARKED.match(cell) else cell


def written(rows: Iterable[Sequence[str]]) -> Iterator[bytes]:
    """Yield rows as RFC 4180 has them, in UTF-8, formulas neutralised."""
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    for row in rows:
        writer.writerow([neutral(cell).replace("\0", "") for cell in row])
        yield text.getvalue().encode("utf-8", "replace")
        text.seek(0)
        text.truncate()


class Table:
    """A table that is read as a stream: its columns at once, its rows one by one."""

    def __init__(self, stream: BufferedIOBase, names: Mapping[str, str], required: Sequence[str]) -> None:
        """Read the header; `names` tells the column behind each heading it may have.

        Raises FormatError for a column that is not known, one that is there twice, and one that is required and absent.
        """
        self._lines = _lines(stream)
        self._again: deque[str] = deque()
        self._may_read_again = MOST_READ_AGAIN
        header = next(self._lines, "")
        self._delimiter = delimiter_of(header, names)
        self.columns = _columns(self._cells([header]), names, required)

    def rows(self) -> Iterator[tuple[int, dict[str, str] | str]]:
        """Yield position (from 1, below the header) and cells of every row by column, or why it cannot be read.

        Rows without any text are passed over, but counted, and told where they are a great many. A row that cannot be
        read is one line: the next one begins below it, wherever a quotation mark would close.
        """
        position = blank = 0
        while (cells := self._next()) is not None:
            position += 1
            if isinstance(cells, str):
                blank = 0
                yield position, cells
            elif any(cell.strip() for cell in cells):
                blank = 0
                yield position, self._row(cells)
            else:
                blank += 1
                if blank % BLANK_ROWS == 0:
                    yield position, f"this row and the {BLANK_ROWS - 1:,} before it are empty"

    def _next(self) -> list[str] | str | None:
        """The cells of the next row, or why it cannot be read; None at the end."""
        line = self._line()
        if line is None:
            return None
        if '"' not in line and len(line) <= LONGEST_CELL:
            # Most rows are as simple as that, and empty ones may be millions.
            return line.rstrip("\r\n").split(self._delimiter)
        self._again.appendleft(line)
        taken: list[str] = []
        try:
            cells = next(csv.reader(self._taking(taken), delimiter=self._delimiter, strict=True))
            if len(taken) <= MOST_LINES or not self._holds_rows(cells):
                return cells
        except csv.Error:
            pass
        self._again.extendleft(reversed(taken[1:]))
        self._may_read_again -= sum(map(len, taken[1:]))
        if len(taken) == 1 and len(taken[0]) > LONGEST_CELL:
            return f"a cell is longer than {LONGEST_CELL:,} characters, or a quotation mark is not closed"
        return _BAD_QUOTES

    def _holds_rows(self, cells: list[str]) -> bool:
        """Whether a cell has more lines than texts of its kind have."""
        named = zip(cells, chain(self.columns, repeat("")), strict=False)
        return any(len(_LINE_END.findall(cell)) >= MOST_LINES for cell, name in named if name not in TEXTS_OF_LINES)

    def _line(self) -> str | None:
        return self._again.popleft() if self._again else next(self._lines, None)

    def _taking(self, taken: list[str]) -> Iterator[str]:
        """Hand out lines and keep them at hand, until they are too many for one row."""
        size = 0
        while size <= LONGEST_ROW and (not taken or self._may_read_again > 0):
            line = self._line()
            if line is None:
                return
            taken.append(line)
            size += len(line)
            yield line

    def _row(self, cells: list[str]) -> dict[str, str] | str:
        if any(cell.strip() for cell in cells[len(self.columns) :]):
            return f"the row has {len(cells)} cells, the header {len(self.columns)}"
        if any(len(cell) > LONGEST_CELL for cell in cells):
            return f"a cell is longer than {LONGEST_CELL:,} characters"
        return {name: restored(cell.strip(" ")) for name, cell in zip(self.columns, cells, strict=False)}

    def _cells(self, lines: list[str]) -> list[str]:
        try:
            return next(csv.reader(lines, delimiter=self._delimiter, strict=True), [])
        except csv.Error as error:
            raise FormatError("The header of the table cannot be read.") from error


def delimiter_of(header: str, names: Mapping[str, str]) -> str:
    """The delimiter with which most headings are known, else the one that parts most."""

    def fit(one: str) -> tuple[int, int]:
        cells = header.split(one)
        return sum(name_of(cell) in names for cell in cells), len(cells)

    return max(DELIMITERS, key=fit)


def name_of(heading: str) -> str:
    """A heading without regard to case, blanks, hyphens and what quotes it."""
    return re.sub(r"[\s_-]+", "_", restored(heading.strip().strip('"').strip()).casefold())


def _columns(headings: list[str], names: Mapping[str, str], required: Sequence[str]) -> list[str]:
    while headings and not headings[-1].strip():
        headings.pop()
    if len(headings) > MOST_COLUMNS:
        raise FormatError(f"The table has more than {MOST_COLUMNS} columns.")
    unknown = [heading.strip()[:50] for heading in headings if name_of(heading) not in names]
    if unknown:
        raise FormatError(
            f"The table has columns that are not known: {', '.join(repr(one) for one in unknown[:10])}."
            f" Known are {', '.join(dict.fromkeys(names.values()))}."
        )
    columns = [names[name_of(heading)] for heading in headings]
    doubles = sorted({column for column in columns if columns.count(column) > 1})
    if doubles:
        raise FormatError(f"The table has more than one column for {', '.join(doubles)}.")
    missing = [column for column in required if column not in columns]
    if missing:
        raise FormatError(f"The table has no column {', '.join(missing)}.")
    return columns


def check_encoding(stream: BufferedIOBase) -> None:
    """Read a whole stream; raises FormatError where it is not in UTF-8, or in UTF-16 with its mark."""
    for _ in _texts(stream):
        pass


def _lines(stream: BufferedIOBase) -> Iterator[str]:
    """Yield the lines of a stream, their ends kept; raises FormatError for one that is far too long."""
    rest = ""
    for text in _texts(stream):
        rest += text
        start = 0
        for end in _LINE_END.finditer(rest):
            yield rest[start : end.end()]
            start = end.end()
        rest = rest[start:]
        if len(rest) > LONGEST_LINE:
            raise FormatError(f"The table has a line of more than {LONGEST_LINE:,} characters.")
    if rest:
        yield rest


def _texts(stream: BufferedIOBase) -> Iterator[str]:
    block = stream.read1(BLOCK)
    decoder = codecs.getincrementaldecoder("utf-16" if block.startswith(_UTF16_MARKS) else "utf-8-sig")()
    try:
        while block:
            yield decoder.decode(block)
            block = stream.read1(BLOCK)
        yield decoder.decode(b"", final=True)
    except UnicodeError as error:
        raise FormatError(NOT_UTF8) from error
