"""Ten thousand real records, in and out again: what the Library of Congress wrote is what goes out."""

import gzip
import hashlib
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from lxml import etree
from pymarc import JSONReader, MARCReader, Record, parse_xml_to_array

from library.exchange.readers import read_records
from library.exchange.records import BookRecord
from library.exchange.writers import WRITERS

MARC, MARCXML, MARC_JSON = "application/marc", "application/marcxml+xml", "application/marc-in-json"
# The places of the leader that hold lengths, which MARCXML and MARC-in-JSON do not tell: nothing else is lost.
LENGTHS = {f"leader/{at:02}" for at in (*range(5), *range(12, 17))}


def books(path: Path) -> Iterator[BookRecord]:
    for _, item in read_records(path):
        assert isinstance(item, BookRecord)
        yield item


def pymarc_records(data: bytes) -> list[Record]:
    """The records as pymarc reads them, none of which it finds broken."""
    records = list(MARCReader(data))
    assert all(record is not None for record in records)
    return records


def export(media_type: str, some: Iterable[BookRecord]) -> bytes:
    return b"".join(WRITERS[media_type].write(some))


def differences(before: Iterable[Record], after: Iterable[Record]) -> Counter[str]:
    """What differs, by tag, or by place of the leader; every indicator and subfield counts, and the order."""
    found: Counter[str] = Counter()
    for one, other in zip(before, after, strict=True):
        if str(one.leader) != str(other.leader):
            pairs = enumerate(zip(str(one.leader), str(other.leader), strict=True))
            found.update(f"leader/{at:02}" for at, (mine, yours) in pairs if mine != yours)
        if content(one) != content(other):
            found.update(tag for tag, *_ in set(content(one)) ^ set(content(other)))
            found["order or number of fields"] += 1
    return found


def content(record: Record) -> list[tuple]:
    return [
        (field.tag, field.data)
        if field.control_field
        else (field.tag, field.indicator1, field.indicator2, *map(tuple, field.subfields))
        for field in record.fields
    ]


@pytest.fixture(scope="module")
def thousand(real_data: Path) -> tuple[list[Record], list[BookRecord]]:
    """The records of lc_1k.mrc as pymarc reads them, and as books."""
    path = real_data / "lc_1k.mrc"
    return pymarc_records(path.read_bytes()), list(books(path))


@pytest.mark.parametrize("media_type", [MARC, MARCXML, MARC_JSON])
def test_a_thousand_records_go_through_each_format(
    thousand: tuple[list[Record], list[BookRecord]], media_type: str, tmp_path: Path
) -> None:
    before, some = thousand
    data = export(media_type, some)
    if media_type == MARC_JSON:
        again = list(JSONReader(data.decode()))
    else:
        (tmp_path / "export").write_bytes(data)
        # Once more through our own reader, and out as ISO 2709.
        taken_in = list(books(tmp_path / "export"))
        assert taken_in == some
        again = pymarc_records(export(MARC, taken_in))
    assert set(differences(before, again)) <= (LENGTHS if media_type == MARC_JSON else set())


def test_ten_thousand_records_come_out_to_the_last_byte(real_data: Path) -> None:
    path = real_data / "lc_10k.mrc.gz"
    before, after = gzip.decompress(path.read_bytes()), export(MARC, books(path))
    assert before.count(b"\x1d") == 10_000
    assert hashlib.sha256(after).digest() == hashlib.sha256(before).digest()


def test_the_file_of_xml_comes_out_as_the_same_document(real_data: Path, tmp_path: Path) -> None:
    path = real_data / "lc_1k.xml"
    (tmp_path / "export.xml").write_bytes(export(MARCXML, books(path)))
    before, after = parse_xml_to_array(str(path)), parse_xml_to_array(str(tmp_path / "export.xml"))
    assert set(differences(before, after)) <= LENGTHS


def test_the_export_keeps_the_rules_of_marcxml(thousand: tuple[list[Record], list[BookRecord]]) -> None:
    schema = etree.XMLSchema(etree.parse(Path(__file__).parents[1] / "data" / "marcxml.xsd"))
    schema.assertValid(etree.fromstring(export(MARCXML, thousand[1])))


@pytest.mark.services
@pytest.mark.parametrize(("media_type", "name"), [(MARC, "marc"), (MARCXML, "marcxml")])
def test_yaz_reads_the_export(
    thousand: tuple[list[Record], list[BookRecord]], media_type: str, name: str, tmp_path: Path
) -> None:
    program = shutil.which("yaz-marcdump")
    assert program, "yaz-marcdump is not there: run through .ci/with-services yaz --"
    before, some = thousand
    fresh = [
        BookRecord(**{key: getattr(one, key) for key in ("title", "contributors", "year", "pages")}) for one in some
    ]
    (tmp_path / "export").write_bytes(export(media_type, [*some, *fresh]))
    command = [program, "-i", name, "-o", "marc", "-f", "utf-8", "-t", "utf-8", tmp_path / "export"]
    done = subprocess.run(command, capture_output=True, check=True, timeout=60)
    assert done.stderr == b""
    dumped = pymarc_records(done.stdout)
    assert len(dumped) == 2 * len(before)
    assert set(differences(before, dumped[: len(before)])) <= LENGTHS
    told = subprocess.run([program, "-i", name, "-n", tmp_path / "export"], capture_output=True, check=True, timeout=60)
    assert (told.stdout, told.stderr) == (b"", b"")
