"""The door for files: formats told by their content, memory that stays constant, damage that never raises."""

import contextlib
import gzip
import io
import itertools
import tracemalloc
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from library.exchange.marc import read_marc
from library.exchange.readers import read_records, sniff
from library.exchange.records import BookRecord, FormatError, RecordFault

from .build_twenty import as_mrc, as_xml

# The names of tests hold what they are given: it must not change with the time.
packed = partial(gzip.compress, mtime=0)
MEGABYTE = 1_000_000
MRC, XML = as_mrc(), as_xml()
TWENTY = [item for _, item in read_marc(io.BytesIO(MRC))]


@pytest.fixture
def write(tmp_path: Path) -> Callable[[bytes], Path]:
    """Writes a file and returns where."""

    def write(content: bytes) -> Path:
        path = tmp_path / "records"
        path.write_bytes(content)
        return path

    return write


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (MRC, "marc21"),
        (packed(MRC), "marc21"),
        (b"\xef\xbb\xbf" + MRC, "marc21"),
        (b"\r\n" + MRC, "marc21"),
        (b"broken" + MRC[5:], "marc21"),
        (MRC[:30], "marc21"),
        (XML, "marcxml"),
        (packed(XML), "marcxml"),
        (b"\n " + XML, "marcxml"),
        (XML.decode().encode("utf-8-sig"), "marcxml"),
        (XML.decode().encode("utf-16"), "marcxml"),
        (b"Title;Year\r\nMoby-Dick;1851\r\n", "csv"),
        (packed(b"year,title\n1851,Moby-Dick\n"), "csv"),
        ("title\tyear\n".encode("utf-16"), "csv"),
    ],
)
def test_formats_are_told_by_content(write: Callable[[bytes], Path], content: bytes, expected: str) -> None:
    assert sniff(write(content)) == expected


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "The file is empty."),
        (packed(b""), "The file is empty."),
        (b"name,year\nMoby-Dick,1851\n", "The file is neither MARC 21"),
        (b"12345,title,year and more of the same\n", "columns that are not known: '12345', 'year and more"),
        (b'{"leader": "00000nam"}', "The file is neither MARC 21"),
        (b"\xff\xfet\0i\0t\0l\0", "The file is neither MARC 21"),
        (b"007", "The file is neither MARC 21"),
        (packed(packed(MRC)), "The file is neither MARC 21"),
        (b"\x1f\x8b\x08 no gzip", "The compressed file is damaged and cannot be read."),
    ],
)
def test_anything_else_is_refused_at_once(write: Callable[[bytes], Path], content: bytes, sentence: str) -> None:
    with pytest.raises(FormatError, match=sentence):
        read_records(write(content))


@pytest.mark.parametrize("content", [MRC, XML, packed(MRC), packed(XML), b"\xef\xbb\xbf" + MRC])
def test_the_same_twenty_come_out_of_every_file(write: Callable[[bytes], Path], content: bytes) -> None:
    assert list(read_records(write(content))) == list(enumerate(TWENTY, 1))


@pytest.mark.parametrize("content", [MRC * 30, XML, packed(MRC * 30)])
def test_progress_adds_up_to_the_size_of_the_file(write: Callable[[bytes], Path], content: bytes) -> None:
    steps: list[int] = []
    assert all(isinstance(item, BookRecord) for _, item in read_records(write(content), steps.append))
    assert sum(steps) == len(content)
    assert min(steps) >= 0


def test_progress_runs_along_with_the_reading(write: Callable[[bytes], Path]) -> None:
    steps: list[int] = []
    records = read_records(write(MRC * 100), steps.append)
    next(records)
    assert 0 < sum(steps) < len(MRC) * 20
    records.close()  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "spoil", [lambda data: data[:-3000], lambda data: data[:-8] + b"\0" * 8, lambda data: data + b"x"]
)
def test_damaged_compression_is_one_fault_at_its_place(
    write: Callable[[bytes], Path], spoil: Callable[[bytes], bytes]
) -> None:
    *books, last = read_records(write(spoil(gzip.compress(MRC, compresslevel=1))))
    assert [item for _, item in books] == TWENTY[: len(books)]
    reason = "the compressed file is damaged or ends early; nothing from here on could be read"
    assert last == (len(books) + 1, RecordFault(len(books) + 1, reason))


def test_real_records_are_the_same_in_both_formats(real_data: Path) -> None:
    pairs = itertools.zip_longest(read_records(real_data / "lc_1k.mrc"), read_records(real_data / "lc_1k.xml"))
    assert sum(one == other and isinstance(one[1], BookRecord) for one, other in pairs) == 1000


def test_real_records_are_read_in_constant_memory(real_data: Path) -> None:
    """All ten thousand are read in test_round_trip.py, where nothing counts every byte of memory."""
    count, peak = measured(itertools.islice(read_records(real_data / "lc_10k.mrc.gz"), 3000))
    assert count == 3000
    assert peak < 2 * MEGABYTE


def test_forty_megabytes_of_compressed_filler_do_not_fill_the_memory(write: Callable[[bytes], Path]) -> None:
    for filler in (b"\0", b"x", b"\n"):
        path = write(gzip.compress(MRC + filler * 40 * MEGABYTE + b"\x1d" + MRC, compresslevel=1))
        tracemalloc.start()
        items = [item for _, item in read_records(path)]
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert [item for item in items if isinstance(item, BookRecord)] == TWENTY * 2
        assert peak < 8 * MEGABYTE


def measured(records: Iterator[tuple[int, BookRecord | RecordFault]]) -> tuple[int, int]:
    """How many books come without a fault, and how many bytes were in use at most."""
    tracemalloc.start()
    try:
        count = sum(isinstance(item, BookRecord) for _, item in records)
        return count, tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@settings(max_examples=300, deadline=None)
@given(st.integers(0, len(MRC) - 1), st.integers(0, 255))
def test_one_broken_byte_costs_one_record_at_most(place: int, value: int) -> None:
    broken = MRC[:place] + bytes([value]) + MRC[place + 1 :]
    items = [item for _, item in read_marc(io.BytesIO(broken))]
    assert len(items) == 20
    assert sum(item == sound for item, sound in zip(items, TWENTY, strict=True)) >= 19


@settings(max_examples=100, deadline=None)
@given(st.integers(1, len(MRC) - 1))
def test_every_record_before_a_cut_arrives(length: int) -> None:
    items = [item for _, item in read_marc(io.BytesIO(MRC[:length]))]
    whole = MRC[: length + 1].count(b"\x1d")  # the end mark itself may be missing
    assert items[:whole] == TWENTY[:whole]
    assert len(items) == whole + (MRC[length - 1 : length] != b"\x1d" and MRC[length : length + 1] != b"\x1d")


flips = st.lists(st.tuples(st.integers(0, 100_000), st.integers(0, 255)), min_size=1, max_size=40)


@settings(max_examples=250, deadline=None)
@given(st.sampled_from([MRC, XML, packed(MRC), packed(XML)]), flips, st.integers(0, 100_000))
def test_nothing_but_a_format_error_is_ever_raised(
    tmp_path_factory: pytest.TempPathFactory, whole: bytes, flips: list[tuple[int, int]], length: int
) -> None:
    spoilt = bytearray(whole)
    for place, value in flips:
        spoilt[place % len(spoilt)] = value
    path = tmp_path_factory.getbasetemp() / "fuzz"
    path.write_bytes(spoilt if length % 2 else spoilt[: length % len(spoilt)])
    items = []
    with contextlib.suppress(FormatError):
        items = list(read_records(path))
    assert [position for position, _ in items] == list(range(1, len(items) + 1))
    for position, item in items:
        assert isinstance(item, BookRecord | RecordFault)
        assert isinstance(item, BookRecord) or (item.position == position and item.reason)


def test_of_a_compressed_file_no_more_is_unpacked_than_may_be(write: Callable[[bytes], Path]) -> None:
    path = write(gzip.compress(MRC * 200))
    *books, last = read_records(path, limit=len(MRC) * 100)
    assert [item for _, item in books] == (TWENTY * 100)[: len(books)]
    assert len(books) > 1500
    reason = f"the compressed file holds more than {len(MRC) * 100:,} bytes; nothing from here on was read"
    assert last == (len(books) + 1, RecordFault(len(books) + 1, reason))
    assert len(list(read_records(path, limit=len(MRC) * 200))) == 4000


def test_a_bomb_of_a_table_ends_at_the_limit(write: Callable[[bytes], Path]) -> None:
    path = write(gzip.compress(b"title\n" + b"x\n" * MEGABYTE, compresslevel=1))
    tracemalloc.start()
    try:
        items = list(itertools.islice(read_records(path, limit=20_000), 100_000))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len(items) < 10_003
    assert isinstance(items[-1][1], RecordFault)
    assert peak < 10 * MEGABYTE


def test_one_can_say_what_a_file_is(write: Callable[[bytes], Path]) -> None:
    assert list(read_records(write(MRC), format="marc21")) == list(enumerate(TWENTY, 1))
    with pytest.raises(FormatError, match="The XML cannot be read"):
        list(read_records(write(MRC), format="marcxml"))
