"""All rows of a database as one graph: each foreign key that holds a value is a way, to be gone in both directions."""

from collections import defaultdict, deque
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from library.models import Base

Row = tuple[str, int]

# What everybody shares leads nowhere: that two people live near one branch says nothing of either.
PLACES = ("branches", "item_types", "patron_categories")
# What a patron read, or wanted to.
READ = ("books", "copies", "holds", "loans")


def all_ways(session: Session) -> dict[Row, set[Row]]:
    """Which rows each row is joined to by a foreign key, its own or the other's."""
    ways: dict[Row, set[Row]] = defaultdict(set)
    for table in Base.metadata.tables.values():
        for row in session.execute(select(table)).mappings():
            for column in table.columns:
                for key in column.foreign_keys:
                    assert key.column.name == "id", f"{table.name}.{column.name} points at no key"
                    if row[column.name] is not None:
                        here, there = (table.name, row["id"]), (key.column.table.name, row[column.name])
                        ways[here].add(there)
                        ways[there].add(here)
    return ways


def way_from(session: Session, patron_id: int) -> list[Row] | None:
    """The shortest way from a patron to a row of what was read, None where there is none.

    It does not go on through another person's row: whatever a librarian did at the desk, or one's guarantor borrowed,
    joins them to it, not the patron.
    """
    ways, start = all_ways(session), ("users", patron_id)
    before: dict[Row, Row | None] = {start: None}
    queue = deque([start])
    while queue:
        here = queue.popleft()
        if here[0] in READ:
            return _way_back(before, here)
        if here[0] in PLACES or (here[0] == "users" and here != start):
            continue
        for there in sorted(ways[here] - before.keys()):
            before[there] = here
            queue.append(there)
    return None


def _way_back(before: dict[Row, Row | None], row: Row) -> list[Row]:
    way = [row]
    while (previous := before[way[0]]) is not None:
        way.insert(0, previous)
    return way


def said_of(session: Session, patron_id: int) -> str:
    """Every text, number and JSON in the rows that point at a patron, as one text."""
    found: list[Any] = []
    for table in Base.metadata.tables.values():
        pointing = [key.parent for key in table.foreign_keys if key.column.table.name == "users"]
        for column in pointing:
            found += session.execute(select(table).where(column == patron_id)).all()
    return repr(found)
