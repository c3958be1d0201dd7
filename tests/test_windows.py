"""Windows: what calls are counted in where there is no Redis."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from limits import parse
from limits.storage import storage_from_string
from limits.strategies import FixedWindowRateLimiter

from library import windows
from library.windows import SWEPT, Windows


@pytest.fixture
def clock(monkeypatch):
    """The moment that it is; `clock.pass_(seconds)` lets time pass."""

    class Clock:
        now = 1_000_000.0

        def time(self) -> float:
            return self.now

        def pass_(self, seconds: float) -> None:
            self.now += seconds

    clock = Clock()
    monkeypatch.setattr(windows, "time", clock)
    return clock


def test_a_window_begins_with_its_first_count_and_ends(clock):
    counts = Windows()
    assert [counts.incr("a", 60), counts.incr("a", 60), counts.incr("b", 60)] == [1, 2, 1]
    clock.pass_(59)
    assert (counts.incr("a", 60), counts.get("a"), counts.get_expiry("a") - clock.now) == (3, 3, 1)
    clock.pass_(1)
    assert (counts.get("a"), counts.get_expiry("a")) == (0, clock.now)
    assert (counts.incr("a", 60), counts.get_expiry("a") - clock.now) == (1, 60)


def test_a_count_can_be_given_back_and_forgotten(clock):
    counts = Windows()
    counts.incr("a", 60, amount=3)
    assert counts.incr("a", 60, amount=-1) == 2
    counts.clear("a")
    counts.clear("a")
    assert counts.get("a") == 0
    counts.incr("b", 60)
    assert (counts.reset(), counts.get("b"), counts.check()) == (1, 0, True)


def test_windows_that_have_ended_do_not_fill_the_memory(clock):
    counts = Windows()
    for number in range(1000):
        counts.incr(f"gone {number}", 10)
    counts.incr("stays", 10 * SWEPT)
    clock.pass_(SWEPT)
    counts.incr("new", 10)
    assert counts._windows.keys() == {"stays", "new"}


def test_a_clock_that_is_set_back_does_not_keep_what_has_ended(clock):
    counts = Windows()
    clock.pass_(-86_400)
    for number in range(100):
        counts.incr(f"gone {number}", 10)
    clock.pass_(SWEPT)
    counts.incr("new", 10)
    assert counts._windows.keys() == {"new"}


def test_windows_are_forgotten_while_others_are_swept():
    counts = Windows()
    keys = [str(number) for number in range(50_000)]
    for key in keys:
        counts.incr(key, 1000)

    def sweep() -> None:
        for _ in range(20):
            counts._sweep_at = 0
            counts.incr("0", 1000)

    with ThreadPoolExecutor(2) as threads:
        done = threads.submit(sweep)
        for key in keys[1:]:
            counts.clear(key)
        done.result()
    assert counts._windows.keys() == {"0"}


def test_threads_lose_no_count():
    counts = Windows()
    with ThreadPoolExecutor(8) as threads:
        told = list(threads.map(lambda _: counts.incr("a", 1000), range(4000)))
    assert sorted(told) == list(range(1, 4001))


def test_limits_finds_it_by_its_name_and_counts_in_it():
    strategy = FixedWindowRateLimiter(storage_from_string(windows.URI))
    assert isinstance(strategy.storage, Windows)
    item = parse("2 per hour")
    assert [strategy.hit(item, "somebody") for _ in range(3)] == [True, True, False]
