"""Every writer: bytes, one record at a time, the same memory for any number."""

import tracemalloc
from collections.abc import Iterator

import pytest

from library.exchange.records import BookRecord
from library.exchange.writers import BLOCK, WRITERS, Writer

from .books import whale

EACH = pytest.mark.parametrize("writer", WRITERS.values(), ids=WRITERS)


def counted(number: int, taken: list[int]) -> Iterator[BookRecord]:
    """So many books, each told of as it is taken."""
    for at in range(number):
        taken.append(at)
        yield whale(book_id=at)


def test_the_names_of_the_formats() -> None:
    assert {writer.media_type: writer.suffix for writer in WRITERS.values()} == {
        "application/marc": ".mrc",
        "application/marcxml+xml": ".xml",
        "application/marc-in-json": ".marc.json",
        "text/csv": ".csv",
        "application/x-bibtex": ".bib",
        "application/x-research-info-systems": ".ris",
        "application/vnd.citationstyles.csl+json": ".csl.json",
    }
    assert all(writer.content_type.startswith(media_type) for media_type, writer in WRITERS.items())
    assert WRITERS["text/csv"].content_type == "text/csv; charset=utf-8; header=present"


@EACH
def test_records_are_taken_only_as_they_are_written(writer: Writer) -> None:
    taken: list[int] = []
    blocks = writer.write(counted(100_000, taken))
    assert taken == []
    first = next(blocks)
    assert isinstance(first, bytes)
    assert len(first) >= BLOCK
    assert 0 < len(taken) < 500
    blocks.close()  # type: ignore[attr-defined]


@EACH
def test_memory_does_not_grow_with_the_number(writer: Writer) -> None:
    tracemalloc.start()
    try:
        sizes = [len(block) for block in writer.write(counted(700, []))]
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert sum(sizes) > 200_000
    assert max(sizes) < 2 * BLOCK
    assert peak < 1_000_000


@EACH
def test_no_records_are_a_document(writer: Writer) -> None:
    assert all(isinstance(block, bytes) for block in writer.write([]))


@EACH
def test_one_record_is_a_document(writer: Writer) -> None:
    assert b"whale" in writer.one(whale())
