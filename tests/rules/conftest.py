"""What the rules are tested with: further sessions on the same database, and hypothesis without a clock."""

from collections.abc import Callable, Iterator

import pytest
from hypothesis import settings
from sqlalchemy.orm import Session

from library.database import make_session

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
