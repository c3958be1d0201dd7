"""The application with views that fall over, for a real server: `falling:load`."""

from collections.abc import Iterator

from flask import Flask, Response, request
from sqlalchemy import text

from library import create_app
from library.extensions import db

SECRET = "the cook has the key"


def load() -> Flask:
    """The application as it is served, and five ways to fail."""
    app = create_app()
    app.add_url_rule("/crash_with", view_func=crash_with, methods=["POST"])
    for view in (crash, wrong_statement, first_part, later_part):
        app.add_url_rule(f"/{view.__name__}", view_func=view)
    return app


def crash() -> None:
    """An error that nobody foresaw."""
    raise RuntimeError(SECRET)


def crash_with() -> None:
    """An error that quotes what was sent."""
    raise ValueError(f"cannot make sense of {request.get_data(as_text=True)}")


def wrong_statement() -> None:
    """An error of the database that names what it ran."""
    db.session.execute(text("SELECT key_of_the_cook FROM house"))


def first_part() -> Response:
    """A stream that never begins."""
    return Response(parts(0))


def later_part() -> Response:
    """A stream that breaks off."""
    return Response(parts(3))


def parts(number: int) -> Iterator[bytes]:
    """So many parts, and then no more."""
    for _ in range(number):
        yield b"part\n" * 1000
    raise RuntimeError(SECRET)
