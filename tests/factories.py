"""Rows with sensible values, committed at once: `make.loan(copy=…, due_at=…)`."""

import hashlib
import secrets
from datetime import UTC, date, datetime, timedelta
from itertools import count
from typing import Any

from sqlalchemy.orm import Session

from library.models import (
    AccountEntry,
    ApiKey,
    Author,
    Base,
    Book,
    Branch,
    CalendarException,
    ChargeReason,
    ContributorRole,
    Copy,
    CopyPlace,
    Hold,
    HoldState,
    ItemType,
    Loan,
    Order,
    OrderLine,
    PatronCategory,
    Policy,
    PolicyKind,
    Role,
    Subject,
    TransferLimit,
    User,
    UserSession,
)
from library.rules import api_keys, catalogue, ledger, policies, transfers, users, words
from library.rules.calendar import local_day

START = datetime(2026, 3, 2, 10, tzinfo=UTC)
# Of branches and loans: its day is not that of UTC for an hour or two of each night.
ZONE = "Europe/Berlin"


class Factories:
    """Makes rows; what a row needs and is not given is made too."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.numbers = count(1)

    def _kept(self, row: Any) -> Any:
        self.session.add(row)
        self.session.commit()
        return row

    def branch(self, **values: Any) -> Branch:
        number = next(self.numbers)
        return self._kept(Branch(**{"name": f"Branch {number}", "time_zone": ZONE, "hours": []} | values))

    def category(self, **values: Any) -> PatronCategory:
        return self._kept(PatronCategory(**{"name": f"Category {next(self.numbers)}"} | values))

    def item_type(self, **values: Any) -> ItemType:
        return self._kept(ItemType(**{"name": f"Type {next(self.numbers)}"} | values))

    def user(self, **values: Any) -> User:
        number = next(self.numbers)
        defaults = {
            "username": f"user{number}",
            "email": f"user{number}@example.org",
            "card_barcode": f"P{number:06d}",
            "role": Role.PATRON,
            "created_at": START,
        }
        values = defaults | values
        if "password" in values:
            values["password_hash"] = users.hash_password(values.pop("password"))
        user = User(**values)
        user.username_key = users.fold(user.username)
        user.email_key = users.fold(user.email) if user.email else None
        user.words = words.index_words((user.last_name, user.first_name, user.username, user.email, user.card_barcode))
        return self._kept(user)

    def librarian(self, **values: Any) -> User:
        return self.user(**{"role": Role.LIBRARIAN, "home_branch": self.branch()} | values)

    def session_of(self, user: User) -> UserSession:
        now = datetime.now(UTC)
        later = now + timedelta(days=30)
        return self._kept(
            UserSession(
                user_id=user.id,
                refresh_jti=f"jti{next(self.numbers)}",
                started_at=now,
                rotated_at=now,
                expires_at=later,
            )
        )

    def api_key(self, user: User, *scopes: str, **values: Any) -> ApiKey:
        """A key whose text is in its attribute `text`."""
        text = api_keys.PREFIX + secrets.token_urlsafe(32)
        shown = {"prefix": text[: api_keys.SHOWN], "key_hash": hashlib.sha256(text.encode()).hexdigest()}
        values = {"name": "A program", "scopes": list(scopes), "created_at": datetime.now(UTC)} | values
        key = self._kept(ApiKey(user_id=user.id, **shown, **values))
        key.text = text
        return key

    def author(self, **values: Any) -> Author:
        values = {"name": f"Writer, Number {next(self.numbers)}", "dates": ""} | values
        return self._kept(Author(name_key=words.sort_key(values["name"], 500), **values))

    def subject(self, **values: Any) -> Subject:
        values = {"name": f"Subject {next(self.numbers)}"} | values
        return self._kept(Subject(name_key=words.sort_key(values["name"], 500), **values))

    def book(self, *authors: Author, subjects: Any = (), identifiers: Any = (), **values: Any) -> Book:
        values = {"title": f"Book {next(self.numbers)}"} | values
        lists = {
            "contributors": [(author, ContributorRole.AUTHOR) for author in authors],
            "subjects": list(subjects),
            "identifiers": list(identifiers),
        }
        book = catalogue.save_book(self.session, Book(), values | lists, START)
        self.session.commit()
        return book

    def copy(self, **values: Any) -> Copy:
        number = next(self.numbers)
        book = values.pop("book", None) or self.book()
        home = values.pop("home_branch", None) or self.branch()
        values.setdefault("current_branch_id", home.id)
        values = {"barcode": f"C{number:06d}", "created_at": START} | values
        return self._kept(Copy(book_id=book.id, home_branch_id=home.id, **values))

    def loan(self, copy: Copy | None = None, patron: User | None = None, **values: Any) -> Loan:
        copy, patron = copy or self.copy(), patron or self.user()
        due_at = values.pop("due_at", START + timedelta(days=28))
        loan = Loan(
            copy_id=copy.id,
            patron_id=patron.id,
            branch_id=copy.home_branch_id,
            time_zone=ZONE,
            checked_out_at=values.pop("checked_out_at", START),
            due_at=due_at,
            due_on=local_day(due_at, ZONE),
            **values,
        )
        if loan.closed_at is None:
            copy.place = CopyPlace.ON_LOAN
            self.session.add(copy)
        return self._kept(loan)

    def hold(self, book: Book | None = None, patron: User | None = None, **values: Any) -> Hold:
        """A hold that waits, the last in its queue; `assigned_copy=` with a state makes one that was served."""
        patron, copy = patron or self.user(), values.pop("assigned_copy", None)
        book_id = copy.book_id if copy else (book or self.book()).id
        pickup = values.pop("pickup_branch", None) or patron.home_branch or self.branch()
        queued = values.setdefault("state", HoldState.QUEUED) is HoldState.QUEUED
        served = {"assigned_copy_id": copy.id if copy else None, "sort_key": None}
        if values["state"] is HoldState.READY:
            served |= {"shelf_until_at": START + timedelta(days=7), "shelf_until_on": START.date() + timedelta(days=7)}
        values = {"placed_at": START, "placed_on": START.date()} | values
        values |= {"sort_key": next(self.numbers) * 1024} if queued else served | values
        if copy is not None and values["state"] is HoldState.READY:
            copy.place, copy.transit_to_branch_id = CopyPlace.ON_HOLD_SHELF, None
        if copy is not None and values["state"] is HoldState.IN_TRANSIT:
            copy.place, copy.transit_to_branch_id = CopyPlace.IN_TRANSIT, pickup.id
        return self._kept(Hold(patron_id=patron.id, book_id=book_id, pickup_branch_id=pickup.id, **values))

    def charge(
        self,
        patron: User | None = None,
        cents: int = 500,
        reason: ChargeReason = ChargeReason.MANUAL,
        loan: Loan | None = None,
    ) -> AccountEntry:
        """What a patron owes: by hand, or for a loan of theirs."""
        patron_id = loan.patron_id if loan else (patron or self.user()).id
        entry = ledger.charge(self.session, patron_id, cents, reason, START, loan_id=loan.id if loan else None)
        return self._kept(entry)

    def order(self, user: User | None = None, *books: Book) -> Order:
        user = user or self.librarian()
        lines = [OrderLine(book_id=book.id, quantity=1, position=at) for at, book in enumerate(books, 1)]
        return self._kept(Order(user_id=user.id, lines=lines, created_at=START, updated_at=START))

    def policy(
        self,
        kind: str,
        value: Any,
        branch: Branch | None = None,
        patron_category: PatronCategory | None = None,
        item_type: ItemType | None = None,
    ) -> Policy:
        scope = {"branch": branch, "patron_category": patron_category, "item_type": item_type}
        return self._kept(policies.save(self.session, Policy(kind=PolicyKind(kind), value=value), scope))

    def exception(self, from_on: date, to_on: date | None = None, **values: Any) -> CalendarException:
        return self._kept(CalendarException(from_on=from_on, to_on=to_on or from_on, **values))

    def transfer_limit(
        self, from_branch: Branch | None = None, to_branch: Branch | None = None, item_type: ItemType | None = None
    ) -> TransferLimit:
        way = {"from_branch": from_branch or self.branch(), "to_branch": to_branch or self.branch()}
        return self._kept(transfers.save(self.session, TransferLimit(), way | {"item_type": item_type}))

    def row(self, row: Base) -> Any:
        """Any other row."""
        return self._kept(row)
