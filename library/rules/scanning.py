"""Scanning: what is known of a copy and a patron whose barcodes were scanned at a desk."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

from sqlalchemy import bindparam, literal, select
from sqlalchemy.orm import Session, aliased, attributes

from library.models import Branch, CalendarException, Copy, Hold, ItemType, Loan, Moment, User
from library.rules import borrowing, calendar, holds, ledger, policies, queues, standing
from library.rules.borrowing import Case, Facts
from library.rules.calendar import BranchCalendar
from library.rules.gathering import Entity, Gathering, Rows, Value
from library.rules.policies import Effective, PolicyTable
from library.rules.standing import Standing

_PATRON, _COPY, _TYPE, _HERE = aliased(User), aliased(Copy), aliased(ItemType), aliased(Branch)
_DECIDES = ("id", "active", "confirmed", "expires_on", "birth_date", "patron_category_id")
# All that decides whether a copy is lent to a patron at a branch, by their barcodes; either may be unknown.
SCANNED = Gathering(
    select()
    .select_from(select(literal(1)).subquery())
    .outerjoin(_HERE, _HERE.id == bindparam("branch_id"))
    .outerjoin(_PATRON, _PATRON.card_barcode == bindparam("card"))
    .outerjoin(_COPY, _COPY.barcode == bindparam("barcode"))
    .outerjoin(_TYPE, _TYPE.id == _COPY.item_type_id),
    patron=Entity(_PATRON, *_DECIDES),
    copy=Entity(_COPY),
    item_type=Entity(_TYPE),
    policies=Rows(policies.ROWS),
    blocks=Rows(standing.blocks_of(_PATRON.id), _PATRON),
    owed_cents=Value(ledger.balance_of(_PATRON.id)),
    open_loans=Rows(standing.open_loans_of(Loan.patron_id == _PATRON.id, bindparam("now", type_=Moment())), _PATRON),
    own_loans=Rows(borrowing.lent(_PATRON.id, Copy.book_id == _COPY.book_id), _PATRON, _COPY),
    branch=Entity(_HERE, "id", "time_zone", "hours"),
    own_holds=Rows(holds.keys_of(_PATRON.id, _COPY.book_id), _PATRON, _COPY),
    served=Rows(borrowing.served(Hold.assigned_copy_id == _COPY.id), _COPY),
    waiting=Rows(queues.waiting_for(Hold.book_id == _COPY.book_id), _COPY),
    free_copies=Rows(queues.free_copies_of(Copy.book_id == _COPY.book_id), _COPY),
    exceptions=Rows(
        calendar.exceptions_of(CalendarException.branch_id == bindparam("branch_id")).where(
            CalendarException.to_on >= bindparam("since")
        )
    ),
)


def after_last_scan(copy: Copy | None, now: datetime) -> datetime:
    """The moment of this scan: a request that waited for another's lock happened after it, whenever it set out."""
    return max(now, copy.last_seen_at) if copy is not None and copy.last_seen_at is not None else now


@dataclass(frozen=True)
class Scan:
    """What was scanned at a branch, and all that is known of it; lock it first to act on it."""

    copy: Copy | None
    patron: User | None
    branch: Branch
    now: datetime
    table: PolicyTable
    standing: Standing | None
    facts: Facts | None
    exceptions: Sequence[Any]

    @classmethod
    def of(
        cls, session: Session, barcode: str | None, card_barcode: str | None, branch: Branch, now: datetime
    ) -> "Scan":
        """Look it up, in one statement and, where the patron waits for the book themselves, two more."""
        scanned = {"barcode": barcode, "card": card_barcode, "branch_id": branch.id}
        gathered = SCANNED.of(session, **scanned, now=now, since=now.astimezone(UTC).date() - calendar.DAY)
        copy, patron = gathered.copy, gathered.patron
        if after_last_scan(copy, now) > now:
            return cls.of(session, barcode, card_barcode, branch, after_last_scan(copy, now))
        if copy is not None:
            attributes.set_committed_value(copy, "item_type", gathered.item_type)
        table = policies.table_of(gathered.policies)
        return cls(
            copy,
            patron,
            branch,
            now,
            table,
            standing.standing_of(session, patron, gathered, table, now) if patron else None,
            Facts.of(session, patron, copy, gathered, now) if copy else None,
            gathered.exceptions,
        )

    @cached_property
    def days(self) -> BranchCalendar:
        """When the branch is open, from today on."""
        return calendar.calendar_of(self.branch, self.exceptions)

    @property
    def rules(self) -> Effective:
        """The policies for what is known of it."""
        category_id = self.patron.patron_category_id if self.patron else None
        return self.table.at(self.branch.id, category_id, self.copy.item_type_id if self.copy else None)

    @cached_property
    def case(self) -> Case | None:
        """The case, where both are known."""
        if self.copy is None or self.patron is None:
            return None
        assert self.standing is not None and self.facts is not None
        return Case(self.copy, self.patron, self.branch, self.now, self.standing, self.rules, self.facts)
