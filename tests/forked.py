"""Commands of the project in processes of their own, forked from one that has imported everything already."""

import contextlib
import multiprocessing
import multiprocessing.forkserver
import os
import sys
from collections.abc import Mapping
from functools import cache
from multiprocessing.process import BaseProcess
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from flask.cli import main
from killing import strike_at

ROOT = Path(__file__).parent.parent
PRELOADED = ["library.api", "library.cli", "flask_migrate", "sqlalchemy.dialects.sqlite", "psycopg"]


@cache
def _server() -> Any:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    # It imports from where it is started: the package of this clone, whatever else is installed.
    with contextlib.chdir(ROOT):
        multiprocessing.forkserver.ensure_running()
    return context


class Command:
    """One run of `flask …`; `blow` are the signal, `before` or `after`, and the commit at which it strikes."""

    def __init__(
        self, words: tuple[str, ...], environment: Mapping[str, str], blow: tuple[str, str, int] | None = None
    ) -> None:
        self._folder = TemporaryDirectory()
        arguments = (words, dict(environment), self._folder.name, blow)
        self._process: BaseProcess = _server().Process(target=_run, args=arguments)
        self._process.start()

    def end(self, deadline: float) -> tuple[int, str, str]:
        """Wait for it: its status, what it printed, and what it complained of. One that hangs is an assertion."""
        self._process.join(deadline)
        hangs = self._process.is_alive()
        self._process.kill()
        self._process.join()
        printed, complained = (Path(self._folder.name, name).read_text() for name in ("1", "2"))
        self._folder.cleanup()
        assert not hangs, f"it does not end:\n{printed}\n{complained}"
        assert self._process.exitcode is not None
        return self._process.exitcode, printed, complained


def _run(words: tuple[str, ...], environment: dict[str, str], folder: str, blow: tuple[str, str, int] | None) -> None:
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(ROOT)
    for stream in (1, 2):
        os.dup2(os.open(f"{folder}/{stream}", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), stream)
    if blow is not None:
        strike_at(*blow)
    sys.argv = ["flask", *words]
    main()
