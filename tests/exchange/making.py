"""Short ways to make MARC records for the tests of this folder."""

import io

from pymarc import Field, Indicators, Record, Subfield

from library.exchange.marc import read_marc
from library.exchange.records import BookRecord, RecordFault

LEADER = "00000nam a2200000 a 4500"


def field(line: str) -> Field:
    """A field from "245 10 $aTitle :$bsubtitle." ("_" is a blank indicator), or from "001 data"."""
    tag, _, rest = line.partition(" ")
    if tag < "010":
        return Field(tag, data=rest)
    indicators, _, text = rest.partition(" ")
    first, second = indicators[0].replace("_", " "), indicators[1].replace("_", " ")
    # "/$1" names the East Asian script in $6 and starts no subfield.
    parts = text.replace("/$1", "/\0").split("$")[1:]
    return Field(tag, Indicators(first, second), [Subfield(part[0], part[1:].replace("\0", "$1")) for part in parts])


def record(*lines: str, leader: str = LEADER) -> Record:
    """A record of these fields."""
    made = Record(leader=leader)
    made.add_field(*map(field, lines))
    return made


def titled(title: str, *lines: str, leader: str = LEADER) -> Record:
    """A record with that title and these further fields."""
    return record(*lines, f"245 00 $a{title}", leader=leader)


def read(data: bytes) -> list[BookRecord | RecordFault]:
    """Everything in these bytes of ISO 2709, its positions checked."""
    numbered = list(read_marc(io.BytesIO(data)))
    assert [position for position, _ in numbered] == list(range(1, len(numbered) + 1))
    return [item for _, item in numbered]
