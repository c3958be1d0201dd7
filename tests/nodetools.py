"""The programs of tests/clients/package.json, which `.ci/with-services node` installs."""

import os
import subprocess
from pathlib import Path

import pytest


def installed() -> Path:
    """The folder of the programs' packages; skips where a person lacks them, fails where the gate does."""
    folder = os.environ.get("LIBRARY_TEST_NODE")
    if not folder:
        sentence = "The programs of tests/clients/package.json are not there: run through .ci/with-services node --"
        (pytest.fail if os.environ.get("CI") else pytest.skip)(sentence)
    return Path(folder)


def run(program: str, *arguments: str, cwd: Path, timeout: int = 120) -> str:
    """What a program printed; an exit code other than 0 fails the test."""
    command = [str(installed() / ".bin" / program), *arguments]
    ran = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=timeout)
    assert ran.returncode == 0, f"{program} {' '.join(arguments)}\n{ran.stdout}{ran.stderr}"
    return ran.stdout + ran.stderr
