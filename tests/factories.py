"""Rows with sensible values, committed at once: `make.loan(copy=…, due_at=…)`."""

from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

from sqlalchemy.orm import Session

from library.models import (
    Author,
    Base,
    Book,
    Branch,
    ContributorRole,
    Copy,
    CopyPlace,
    ItemType,
    Loan,
    Order,
    OrderLine,
    PatronCategory,
    Role,
    Subject,
    User,
    UserSession,
)
from library.rules import catalogue, users, words

START = datetime(2026, 3, 2, 10, tzinfo=UTC)


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
        return self._kept(Branch(**{"name": f"Branch {number}", "time_zone": "Europe/Berlin", "hours": []} | values))

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
            time_zone="Europe/Berlin",
            checked_out_at=values.pop("checked_out_at", START),
            due_at=due_at,
            due_on=due_at.date(),
            **values,
        )
        if loan.closed_at is None:
            copy.place = CopyPlace.ON_LOAN
            self.session.add(copy)
        return self._kept(loan)

    def order(self, user: User | None = None, *books: Book) -> Order:
        user = user or self.librarian()
        lines = [OrderLine(book_id=book.id, quantity=1, position=at) for at, book in enumerate(books, 1)]
        return self._kept(Order(user_id=user.id, lines=lines, created_at=START, updated_at=START))

    def row(self, row: Base) -> Any:
        """Any other row."""
        return self._kept(row)
