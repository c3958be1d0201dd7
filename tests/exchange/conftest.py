"""Where the tests of the carriers find their data."""

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def twenty() -> Path:
    """The folder with twenty.mrc and twenty.xml."""
    return ROOT / "tests" / "data"
