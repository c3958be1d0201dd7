"""The application for a WSGI server: built once, or refused with one clear line."""

import gc
import os
import sys

from flask import Flask
from sqlalchemy.exc import SQLAlchemyError

from library import create_app
from library.config import ConfigurationError
from library.database import schema_is_at_head
from library.extensions import db, migrations_folder


def load() -> Flask:
    """Build the application of `LIBRARY_ENV`; ends the process with status 1 where it would not be safe to serve."""
    # What is built stays: to look through it for garbage while it grows is a fifth of the start.
    gc.disable()
    try:
        app = create_app()
        # The commands must run on an old database: they are what brings it to the newest migration.
        if app.config["ENVIRONMENT"] == "production" and os.environ.get("FLASK_RUN_FROM_CLI") != "true":
            _refuse_old_database(app)
    except ConfigurationError as error:
        sys.exit(f"library: {error}")
    finally:
        gc.enable()
    # Nor is it looked through ever after.
    gc.freeze()
    return app


def _refuse_old_database(app: Flask) -> None:
    with app.app_context():
        try:
            with db.engine.connect() as connection:
                at_head = schema_is_at_head(connection, migrations_folder())
        except SQLAlchemyError as error:
            raise ConfigurationError(f"the database cannot be reached ({type(error).__name__})") from error
        finally:
            # A worker that is forked later must not inherit an open connection.
            db.engine.dispose()
    if not at_head:
        raise ConfigurationError("the database is not at the newest migration: run flask db upgrade")
