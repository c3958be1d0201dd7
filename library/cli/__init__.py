"""The commands: `flask users`, `catalogue`, `circulation`, `jobs`, `mail`, `openapi`, `check` and `quickstart`."""

from flask import Flask

from library.cli import openapi  # noqa: F401 - its commands belong to flask-smorest's group, which is registered already
from library.cli.catalogue import catalogue
from library.cli.check import check
from library.cli.circulation import circulation
from library.cli.jobs import jobs
from library.cli.mail import mail
from library.cli.quickstart import quickstart
from library.cli.users import users


def init_app(app: Flask) -> None:
    """Register every group of commands."""
    for command in (users, catalogue, circulation, jobs, mail, check, quickstart):
        app.cli.add_command(command)
