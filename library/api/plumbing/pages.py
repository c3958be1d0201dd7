"""The document and the pages that show it."""

from flask import Flask

from library.api.plumbing.document import Api


def init_app(app: Flask, api: Api) -> None:
    """Serve the document at /openapi.json."""
