"""What the rules are tested with: further sessions on the same database, and hypothesis without a clock."""

from collections.abc import Callable, Iterator

import pytest
from hypothesis import settings
from sqlalchemy.orm import Session

from library.database import make_session

settings.register_profile("rules", deadline=None)


@pytest.fixture(autouse=True, scope="package")
def _without_a_clock() -> Iterator[None]:
    """How long an example takes says nothing about the rule."""
    before = settings.get_current_profile_name()
    settings.load_profile("rules")
    yield
    settings.load_profile(before)


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
