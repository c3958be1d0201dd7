"""A process that gets a signal at its n-th commit, in the middle of it or right after it."""

import itertools
import os
import signal
from typing import Any

from sqlalchemy import Engine, event
from sqlalchemy.orm import Session


def strike_at(name: str, when: str, number: int) -> None:
    """Send this process the signal at a commit, `before` or `after` it; what is written after it is another's to do."""
    commits = itertools.count(1)

    def strike(_: Any) -> None:
        if next(commits) == number:
            os.kill(os.getpid(), signal.Signals[name])

    event.listen(*((Engine, "commit") if when == "before" else (Session, "after_commit")), strike)
