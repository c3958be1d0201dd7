"""Commands in processes of their own, on a database that a test can look into."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from flask import Flask
from served import DEADLINE, ROOT
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from library.database import make_session
from library.extensions import db

KILLING = Path(__file__).parent.parent / "killing.py"


class Commands:
    """Starts commands of the project on the database of an application, in a sandbox."""

    def __init__(self, app: Flask, folder: Path) -> None:
        with app.app_context():
            self.engine: Engine = db.engine
        inherited = {key: value for key, value in os.environ.items() if not key.startswith(("LIBRARY_", "FLASK_"))}
        self.environment = inherited | {
            "DATABASE_URL": app.config["DATABASE_URL"],
            "LIBRARY_INSTANCE": str(folder),
            "LIBRARY_SANDBOX_CLOCK": "true",
            "PYTHONPATH": str(ROOT),
        }

    def session(self) -> Session:
        """A session of the test's own on the same database."""
        return make_session(self.engine)

    def start(self, *words: str, **options: Any) -> subprocess.Popen[str]:
        """Start a command and leave it to the test."""
        return self._start(["-m", "flask", "--app", "library", *words], **options)

    def run(self, *words: str) -> str:
        """Run a command to its good end; what it printed."""
        return self._printed(self.start(*words))

    def run_at_once(self, number: int, *words: str) -> list[str]:
        """Run the same command so many times at once."""
        return [self._printed(process) for process in [self.start(*words) for _ in range(number)]]

    def strike(self, signal: str, when: str, number: int, *words: str) -> int:
        """Run a command that gets a signal at its n-th commit; the status with which it ends."""
        process = self._start([str(KILLING), signal, when, str(number), *words])
        process.communicate(timeout=DEADLINE)
        return process.returncode

    def _start(self, words: list[str], **options: Any) -> subprocess.Popen[str]:
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True} | options
        return subprocess.Popen([sys.executable, *words], cwd=ROOT, env=self.environment, **pipes)

    @staticmethod
    def _printed(process: subprocess.Popen[str]) -> str:
        printed, complained = process.communicate(timeout=DEADLINE)
        assert process.returncode == 0, complained
        assert complained == ""
        return printed
