"""The application of a server whose worker dies at a commit: between what was done and the answer, or before both."""

import os

from flask import Flask
from killing import strike_at

from library import serving


def load() -> Flask:
    """The application as it is served; LIBRARY_TEST_BLOW says what strikes, when, and at which commit."""
    name, when, number = os.environ["LIBRARY_TEST_BLOW"].split()
    strike_at(name, when, int(number))
    return serving.load()
