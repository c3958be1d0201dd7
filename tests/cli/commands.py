"""Commands in processes of their own, on a database that a test can look into."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from flask import Flask
from forked import Command
from served import DEADLINE, ROOT
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from library.database import make_session
from library.extensions import db


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

    def start(self, *words: str) -> subprocess.Popen[str]:
        """Start a command and leave it to the test."""
        command = [sys.executable, "-m", "flask", "--app", "library", *words]
        pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        return subprocess.Popen(command, cwd=ROOT, env=self.environment, **pipes)

    def run(self, *words: str) -> str:
        """Run a command to its good end; what it printed."""
        return self.run_at_once(1, *words)[0]

    def run_at_once(self, number: int, *words: str) -> list[str]:
        """Run the same command so many times at once, all to their good ends; what each printed."""
        ends = [command.end(DEADLINE) for command in [self._command(words) for _ in range(number)]]
        assert [(status, complained) for status, _, complained in ends] == [(0, "")] * number
        return [printed for _, printed, _ in ends]

    def strike(self, signal: str, when: str, number: int, *words: str) -> int:
        """Run a command that gets a signal at its n-th commit; the status with which it ends."""
        return self._command(words, (signal, when, number)).end(DEADLINE)[0]

    def _command(self, words: tuple[str, ...], blow: tuple[str, str, int] | None = None) -> Command:
        return Command(("--app", "library", *words), self.environment, blow)
