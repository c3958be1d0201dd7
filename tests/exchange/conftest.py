"""Where the tests of the carriers find their data."""

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def twenty() -> Path:
    """The folder with twenty.mrc and twenty.xml."""
    return ROOT / "tests" / "data"


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder with the records of the Library of Congress, which are not in this repository."""
    folder = ROOT / os.environ.get("LIBRARY_TEST_DATA", "../shared/data")
    if not (folder / "lc_10k.mrc.gz").exists():
        sentence = "The real records are not there: set LIBRARY_TEST_DATA to the folder with lc_10k.mrc.gz."
        if os.environ.get("CI"):
            pytest.fail(sentence)
        pytest.skip(sentence)
    return folder
