"""A command of the project that gets a signal at its n-th commit, in the middle of it or right after it.

Run as a script: the signal, `before` or `after`, n, and the words of the command.
"""

import itertools
import os
import signal
import sys
from typing import Any

from flask.cli import main
from sqlalchemy import Engine, event
from sqlalchemy.orm import Session


def strike_at(number: int, blow: signal.Signals, when: str) -> None:
    """Send this process the signal at a commit; what is written after it is another's to do."""
    commits = itertools.count(1)

    def strike(_: Any) -> None:
        if next(commits) == number:
            os.kill(os.getpid(), blow)

    event.listen(*((Engine, "commit") if when == "before" else (Session, "after_commit")), strike)


if __name__ == "__main__":
    name, when, number, *words = sys.argv[1:]
    strike_at(int(number), signal.Signals[name], when)
    sys.argv = ["flask", "--app", "library", *words]
    main()
