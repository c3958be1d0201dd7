"""The commands: `flask users …`, `flask catalogue …`, `flask quickstart`."""

from flask import Flask

from library.cli.catalogue import catalogue
from library.cli.quickstart import quickstart
from library.cli.users import users


def init_app(app: Flask) -> None:
    """Register every group of commands."""
    for command in (users, catalogue, quickstart):
        app.cli.add_command(command)
