"""What exists in a library that is being fuzzed: keys, barcodes and sums that a call may name and be done."""

import hashlib
import secrets
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import ForeignKey, Select, create_engine, func, insert, select

from library.models import (
    OPEN_STATES,
    AccountEntry,
    Allocation,
    ApiKey,
    Author,
    Base,
    Book,
    Branch,
    CalendarException,
    Copy,
    CopyPlace,
    EntryKind,
    Hold,
    HoldState,
    ItemType,
    Job,
    JobKind,
    JobState,
    Loan,
    OneTimeToken,
    Order,
    PatronBlock,
    PatronCategory,
    Policy,
    Role,
    Subject,
    TokenPurpose,
    TransferLimit,
    User,
    UserSession,
)

NOUNS: dict[str, type[Base]] = {
    "api_key_id": ApiKey,
    "author_id": Author,
    "block_id": PatronBlock,
    "book_id": Book,
    "branch_id": Branch,
    "calendar_exception_id": CalendarException,
    "charge_id": AccountEntry,
    "copy_id": Copy,
    "entry_id": AccountEntry,
    "hold_id": Hold,
    "item_type_id": ItemType,
    "job_id": Job,
    "loan_id": Loan,
    "order_id": Order,
    "patron_category_id": PatronCategory,
    "patron_id": User,
    "policy_id": Policy,
    "session_id": UserSession,
    "subject_id": Subject,
    "transfer_limit_id": TransferLimit,
    "user_id": User,
}
# Other names of a member, and what it names.
NAMED = {"from_branch_id": "branch_id", "to_branch_id": "branch_id", "home_branch_id": "branch_id"}
NAMED |= {"pickup_branch_id": "branch_id", "ids": "book_id", "guarantor_id": "patron_id"}
OWN: dict[Any, Any] = {Loan: Loan.patron_id, Hold: Hold.patron_id, AccountEntry: AccountEntry.patron_id, User: User.id}
# Nobody has another's.
ALWAYS_OWN: dict[Any, Any] = {UserSession: UserSession.user_id, ApiKey: ApiKey.user_id}
# As many as the demo library has branches: what the run makes is named by none of its calls.
DEPTH = 3


class Facts:
    """Looks into the database beside the server; one look after the other finds another of the first few rows.

    What was there first is named again and again; what the run itself has made stays free to be deleted.
    """

    def __init__(self, database_url: str, own_id: int | None, staff: bool) -> None:
        self.engine = create_engine(database_url)
        self.own_id, self.staff = own_id, staff
        self.looks = 0

    def ask(self, statement: Select[Any]) -> Sequence[Any]:
        """The rows of a statement, in a transaction that ends at once."""
        with self.engine.connect() as connection:
            return connection.execute(statement).all()

    def one(self, statement: Select[Any]) -> Any:
        """Now this, now that row of a statement; None where it has none."""
        rows = self.ask(statement.limit(DEPTH))
        self.looks += 1
        return rows[self.looks % len(rows)] if rows else None

    def key(self, name: str) -> int | None:
        """The key of something that a member, parameter or part of a path of that name may name."""
        name = NAMED.get(name, name)
        noun: Any = NOUNS.get(name)
        if noun is None:
            return None
        return self._first(self._some(name, noun))

    def _first(self, statement: Select[Any]) -> Any:
        found = self.one(statement)
        return found and found[0]

    def _some(self, name: str, noun: Any) -> Select[Any]:
        statement = select(noun.id).order_by(noun.id)
        if noun is User:
            # Nobody whose log-in a run speaks for: a changed password would end it. Who was erased is nobody.
            statement = statement.where(User.role == Role.PATRON, User.card_barcode != "P0001")
            statement = statement.where(User.erased_at.is_(None))
        if noun in OWN and not self.staff:
            statement = select(noun.id).order_by(noun.id).where(OWN[noun] == self.own_id)
        if noun in ALWAYS_OWN:
            mine = (ALWAYS_OWN[noun] == self.own_id, noun.ended_at.is_(None))
            statement = select(noun.id).where(*mine).order_by(noun.id.desc())
        if name == "charge_id":
            statement = statement.where(AccountEntry.kind == EntryKind.CHARGE)
        return statement

    def unused(self, name: str) -> int | None:
        """The key of something that nothing refers to, so that it can be deleted."""
        noun: Any = NOUNS[name]
        referring = [
            select(column).where(column.is_not(None))
            for table in Base.metadata.sorted_tables
            for column in table.columns
            if table is not noun.__table__ and any(_holds_fast(key, noun) for key in column.foreign_keys)
        ]
        unused = self._some(name, noun).where(*(noun.id.not_in(keys) for keys in referring))
        return self._first(unused.order_by(None).order_by(noun.id.desc()))

    def copy_at_home(self) -> Any:
        """The barcode of a copy that stands on its shelf and may be lent."""
        waited_for = select(Hold.book_id).where(Hold.state == HoldState.QUEUED)
        statement = select(Copy.barcode).outerjoin(ItemType).where(Copy.book_id.not_in(waited_for))
        lendable = (
            Copy.place == CopyPlace.AVAILABLE,
            Copy.not_for_loan.is_(False),
            Copy.check_note.is_(None),
            _not_kept,
        )
        return self._first(statement.where(*lendable).order_by(Copy.id.desc()))

    def copy_on_loan(self) -> Any:
        """The barcode of a copy that somebody has."""
        statement = select(Copy.barcode).join(Loan, Loan.copy_id == Copy.id)
        return self._first(statement.where(Loan.closed_at.is_(None)).order_by(Loan.due_at.desc(), Loan.id))

    def card(self) -> Any:
        """The card of a patron who owes little enough to borrow."""
        able = (User.role == Role.PATRON, User.active, User.confirmed, User.expires_on.is_not(None))
        owing = select(AccountEntry.patron_id).where(AccountEntry.kind == EntryKind.CHARGE)
        blocked = select(PatronBlock.user_id)
        statement = select(User.card_barcode).where(*able, User.id.not_in(owing), User.id.not_in(blocked))
        return self._first(statement.where(User.expires_on > func.current_date()).order_by(User.id.desc()))

    def loan(self, *conditions: Any) -> int | None:
        """An open loan, the one that is due last before all others."""
        statement = select(Loan.id).where(Loan.closed_at.is_(None), *conditions)
        if not self.staff:
            statement = statement.where(Loan.patron_id == self.own_id)
        return self._first(statement.order_by(Loan.due_at.desc(), Loan.id))

    def hold(self, *conditions: Any) -> int | None:
        """An open hold."""
        statement = select(Hold.id).where(Hold.state.in_(OPEN_STATES), *conditions)
        if not self.staff:
            statement = statement.where(Hold.patron_id == self.own_id)
        return self._first(statement.order_by(Hold.id))

    def waiting_import(self) -> int | None:
        """The job of a file that nobody has begun to take in."""
        kinds = (JobKind.IMPORT_BOOKS, JobKind.IMPORT_USERS)
        waiting = select(Job.id).where(Job.kind.in_(kinds), Job.state == JobState.QUEUED)
        return self._first(waiting.order_by(Job.id.desc()))

    def policy(self, kind: str) -> Sequence[Any] | None:
        """A row of rules of a kind: its key, branch, category of patrons and item type."""
        columns = (Policy.id, Policy.branch_id, Policy.patron_category_id, Policy.item_type_id)
        return self.one(select(*columns).where(Policy.kind == kind).order_by(Policy.id))

    def mailed_token(self, purpose: TokenPurpose) -> str | None:
        """A token as somebody's mail would hold it: written beside the server, as no mail can be read here."""
        key = self._first(select(User.id).where(User.role == Role.PATRON, User.active, User.card_barcode != "P0001"))
        if key is None:
            return None
        text, now = secrets.token_urlsafe(32), datetime.now(UTC)
        hashed = {"nonce": "unknown", "token_hash": hashlib.sha256(text.encode()).hexdigest()}
        times = {"created_at": now, "expires_at": now + timedelta(hours=1)}
        with self.engine.begin() as connection:
            connection.execute(insert(OneTimeToken).values(user_id=key, purpose=purpose, **hashed, **times))
        return text

    def queue(self) -> tuple[int, list[int]] | None:
        """The book for which most wait, and its waiting holds."""
        waiting = select(Hold.book_id).where(Hold.state == HoldState.QUEUED).group_by(Hold.book_id)
        book_id = self._first(waiting.order_by(func.count().desc(), Hold.book_id))
        if book_id is None:
            return None
        of_book = (Hold.book_id == book_id, Hold.state == HoldState.QUEUED)
        return book_id, [row[0] for row in self.ask(select(Hold.id).where(*of_book).order_by(Hold.id))]

    def open_charge(self) -> tuple[int, int, int] | None:
        """A charge that nothing was paid of: its key, its patron, its cents."""
        settled = select(Allocation.charge_id)
        reversed_ = select(AccountEntry.reverses_id).where(AccountEntry.reverses_id.is_not(None))
        open_ = (AccountEntry.kind == EntryKind.CHARGE, AccountEntry.id.not_in(settled.union(reversed_)))
        columns = (AccountEntry.id, AccountEntry.patron_id, AccountEntry.amount_cents)
        return self.one(select(*columns).where(*open_).order_by(AccountEntry.id.desc()))

    def paid_charge(self) -> tuple[int, int, int] | None:
        """A charge of which something was paid: its key, its patron, its cents."""
        columns = (AccountEntry.id, AccountEntry.patron_id, AccountEntry.amount_cents)
        paid = select(Allocation.charge_id).join(AccountEntry, Allocation.entry_id == AccountEntry.id)
        paid = paid.where(AccountEntry.kind == EntryKind.PAYMENT)
        return self.one(select(*columns).where(AccountEntry.id.in_(paid)).order_by(AccountEntry.id.desc()))

    def part(self, column: Any, outer: Any) -> tuple[int, int] | None:
        """Something that is part of something: the key of the whole, and its own."""
        return self.one(select(outer, column).order_by(column.desc()))


def _holds_fast(key: ForeignKey, noun: Any) -> bool:
    return key.column is noun.__table__.c.id and key.ondelete != "CASCADE"


_not_kept = (ItemType.id.is_(None)) | (ItemType.not_for_loan.is_(False))
_waited_for = select(Copy.id).join(Hold, Hold.book_id == Copy.book_id).where(Hold.state == HoldState.QUEUED)
NOT_WAITED_FOR = Loan.copy_id.not_in(_waited_for)
