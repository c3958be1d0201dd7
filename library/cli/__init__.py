"""The commands: `flask users …`, `flask catalogue …`, `flask quickstart`."""

from flask import Flask


def init_app(app: Flask) -> None:
    """Register every group of commands."""
