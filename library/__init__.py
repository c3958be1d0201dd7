"""Library: an integrated library system as one REST API. `create_app` builds the application."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flask import Flask


def create_app(config_name: str | None = None, **settings: Any) -> Flask:
    """Build the application for an environment: `development`, `testing` or `production`.

    `config_name` None takes `LIBRARY_ENV`, unset means development; a tutorial's class name
    (`ProductionConfig`) is understood too. `settings` override every other source.
    Raises library.config.ConfigurationError where a setting is missing, unsafe or unreadable.
    """
    # Imported here, so that models and rules load without Flask.
    from flask import Flask

    from library import api, cli, config, extensions

    instance = config.instance_folder()
    app = Flask("library", instance_path=str(instance), static_folder=None)
    config.configure(app.config, config_name, instance, settings)
    extensions.init_app(app)
    api.init_app(app)
    cli.init_app(app)
    return app
