"""What the rules are tested with: further sessions on the same database, hypothesis without a clock, a desk."""

from collections.abc import Callable, Iterator

import pytest
from hypothesis import settings
from sqlalchemy import select
from sqlalchemy.orm import Session

from library.database import make_session
from library.models import AccountEntry, Loan, User
from library.rules import lending, returns
from library.rules.desk import Desk

# How long an example takes says nothing about the rule. A test takes its settings when it is defined: hence here.
settings.register_profile("unhurried", settings(), deadline=None)
settings.load_profile("unhurried")


@pytest.fixture
def another(session: Session) -> Iterator[Callable[[], Session]]:
    """Call it for one more session, with a connection of its own, as a second desk has."""
    opened: list[Session] = []

    def open_one() -> Session:
        opened.append(make_session(session.get_bind()))
        return opened[-1]

    yield open_one
    for one in opened:
        one.close()


@pytest.fixture
def on_postgres(session: Session) -> bool:
    return session.get_bind().dialect.name == "postgresql"


# --- A desk -------------------------------------------------------------------------------------


@pytest.fixture
def branch(make):
    return make.branch()


@pytest.fixture
def desk(make, branch) -> Desk:
    """A librarian's desk at the branch."""
    return Desk(make.librarian(home_branch=branch), branch)


@pytest.fixture
def patron(make, branch):
    return make.user(home_branch=branch)


@pytest.fixture
def copy(make, branch):
    return make.copy(home_branch=branch)


@pytest.fixture
def lend(session, desk, copy, patron, now):
    """Call it to lend the copy to the patron, at the desk, now; every part of that can be named."""

    def check_out(**changes) -> Loan:
        asked = {"desk": desk, "copy": copy, "patron": patron, "now": now, "due_at": None} | changes
        barcodes = asked["copy"].barcode, asked["patron"].card_barcode
        return lending.check_out(session, asked["desk"], *barcodes, asked["now"], asked["due_at"])

    return check_out


@pytest.fixture
def take_back(session, desk, copy, now):
    """Call it to take the copy back at the desk, now."""

    def check_in(**changes) -> returns.CheckIn:
        asked = {"desk": desk, "copy": copy, "now": now, "returned_at": None} | changes
        return returns.check_in(session, asked["desk"], asked["copy"].barcode, asked["now"], asked["returned_at"])

    return check_in


@pytest.fixture
def charged(session):
    """Call it for what the account of a patron says: reason (or kind) and cents of each entry, in their order."""

    def entries(patron: User) -> list[tuple[str, int]]:
        mine = select(AccountEntry).where(AccountEntry.patron_id == patron.id).order_by(AccountEntry.id)
        return [((entry.reason or entry.kind).value, entry.amount_cents) for entry in session.scalars(mine)]

    return entries
