"""Short words for what many tests of rules ask."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Barrier
from typing import Any

import pytest
from sqlalchemy import ScalarResult, Select
from sqlalchemy.orm import Session

from library.rules.errors import Refused
from library.rules.forms import values_of


@contextmanager
def refused_for(*codes: str) -> Iterator[Any]:
    """The block refuses for exactly these reasons, in this order; `value.reasons` holds them afterwards."""
    with pytest.raises(Refused) as caught:
        yield caught
    assert tuple(reason.code for reason in caught.value.reasons) == codes


def at_once(tasks: Sequence[Callable[[], Any]]) -> list[Any]:
    """Run each task in a thread of its own, all let loose together; what they give, or the exception they raise."""
    barrier = Barrier(len(tasks))

    def run(task: Callable[[], Any]) -> Any:
        barrier.wait()
        try:
            return task()
        except Exception as error:
            return error

    with ThreadPoolExecutor(len(tasks)) as pool:
        return list(pool.map(run, tasks))


@contextmanager
def impatience(session: Session) -> Iterator[None]:
    """In the block the session's connection hardly waits for a lock; afterwards it does, whoever gets it next."""
    connection = session.connection()
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql("SET LOCAL lock_timeout = '100ms'")
        yield
        return
    # Past SQLAlchemy: its transaction may be broken by then.
    driver = connection.connection.driver_connection
    assert driver is not None
    (usual,) = driver.execute("PRAGMA busy_timeout").fetchone()
    driver.execute("PRAGMA busy_timeout = 50")
    try:
        yield
    finally:
        driver.execute(f"PRAGMA busy_timeout = {usual}")


def found(session: Session, statement: Select[Any]) -> ScalarResult[Any]:
    """What a statement finds that has the values of its parameters with it."""
    return session.scalars(statement, values_of(statement))
