"""The formats in which books go out, by media type: each writes a stream of records as a stream of bytes."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from library.exchange import bibtex, book_tables, csl, marc_writers, ris
from library.exchange.records import BookRecord

BLOCK = 1 << 16


@dataclass(frozen=True)
class Writer:
    """One format: its names, and how records become bytes.

    `pieces` gives the whole document, head and tail included, in as many pieces as it likes; `alone` gives a document
    of one record where that is written in another way than a list of one.
    """

    media_type: str
    suffix: str
    pieces: Callable[[Iterable[BookRecord]], Iterator[bytes]]
    alone: Callable[[BookRecord], bytes] | None = None
    parameters: str = ""

    @property
    def content_type(self) -> str:
        """The media type with its parameters, as the header names it."""
        return self.media_type + self.parameters

    def write(self, records: Iterable[BookRecord]) -> Iterator[bytes]:
        """Yield a document of all records in blocks, taking the records one by one; none make a valid document too."""
        block = bytearray()
        for piece in self.pieces(records):
            block += piece
            if len(block) >= BLOCK:
                yield bytes(block)
                block.clear()
        if block:
            yield bytes(block)

    def one(self, record: BookRecord) -> bytes:
        """The document of a single record."""
        return self.alone(record) if self.alone else b"".join(self.pieces([record]))


_UTF8 = "; charset=utf-8"
WRITERS = {
    writer.media_type: writer
    for writer in (
        Writer("application/marc", ".mrc", marc_writers.iso2709_pieces),
        Writer("application/marcxml+xml", ".xml", marc_writers.marcxml_pieces),
        Writer("application/marc-in-json", ".marc.json", marc_writers.marc_json_pieces, marc_writers.marc_json_alone),
        Writer("text/csv", ".csv", book_tables.csv_pieces, parameters=_UTF8 + "; header=present"),
        Writer("application/x-bibtex", ".bib", bibtex.bibtex_pieces, parameters=_UTF8),
        Writer("application/x-research-info-systems", ".ris", ris.ris_pieces, parameters=_UTF8),
        Writer("application/vnd.citationstyles.csl+json", ".csl.json", csl.csl_pieces, csl.csl_alone),
    )
}
