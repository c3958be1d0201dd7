"""Windows of time, and what was counted in each, in this process's memory: the storage of limits without Redis.

The one that limits brings looks through all its counters a hundred times a second: with 100,000 of them, as a flood
from many addresses makes them, that alone takes most of a processor.
"""

import time
from threading import Lock

from limits.storage import Storage

SCHEME = "windows"
URI = f"{SCHEME}://"
# Seconds after which windows that have ended are looked for.
SWEPT = 60


class Windows(Storage):
    """Counts by key; a window begins with its first count, and another one once it has ended."""

    STORAGE_SCHEME = [SCHEME]
    base_exceptions = ValueError

    def __init__(self, uri: str | None = None, wrap_exceptions: bool = False, **_: float | str | bool) -> None:
        super().__init__(uri, wrap_exceptions)
        self._lock = Lock()
        # The count, and the moment at which the window ends.
        self._windows: dict[str, tuple[int, float]] = {}
        self._sweep_at = time.time() + SWEPT

    def incr(self, key: str, expiry: int, amount: int = 1) -> int:
        """Count, in a window of `expiry` seconds if none is open: what was counted in it so far."""
        now = time.time()
        with self._lock:
            # The clock may have been set back.
            if not 0 < self._sweep_at - now <= SWEPT:
                self._sweep(now)
            count, end = self._windows.get(key, (0, now))
            if end <= now:
                count, end = 0, now + expiry
            self._windows[key] = count + amount, end
        return count + amount

    def get(self, key: str) -> int:
        """What was counted in the window that is open."""
        count, end = self._windows.get(key, (0, 0.0))
        return count if end > time.time() else 0

    def get_expiry(self, key: str) -> float:
        """The moment at which the window ends, in seconds since 1970; now, where none is open."""
        return max(time.time(), self._windows.get(key, (0, 0.0))[1])

    def check(self) -> bool:
        """Memory is always there."""
        return True

    def reset(self) -> int:
        """Forget all: how many windows there were."""
        with self._lock:
            count = len(self._windows)
            self._windows.clear()
        return count

    def clear(self, key: str) -> None:
        """Forget a window."""
        with self._lock:
            self._windows.pop(key, None)

    def _sweep(self, now: float) -> None:
        self._windows = {key: window for key, window in self._windows.items() if window[1] > now}
        self._sweep_at = now + SWEPT
