"""Short words for what many tests of rules ask."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Barrier
from typing import Any

import pytest

from library.rules.errors import Refused


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
