"""How a list is asked for: what its pages, links and cursors depend on beside its statement."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from urllib.parse import urlencode

from flask import Flask, current_app, request


@dataclass(frozen=True)
class Asked:
    """A call of a list: its address, and its parameters as they came."""

    app: Flask
    path: str
    pairs: tuple[tuple[str, str], ...]

    @property
    def settings(self) -> Mapping[str, Any]:
        """The settings of the application that was called."""
        return self.app.config

    @cached_property
    def place(self) -> str:
        """How the address of every part of the list begins: its filters are kept."""
        kept = urlencode(self.but("page", "page_size", "per_page", "cursor"))
        return f"{self.path}?{kept}&" if kept else f"{self.path}?"

    def but(self, *names: str) -> list[tuple[str, str]]:
        """The parameters without those of these names."""
        return [pair for pair in self.pairs if pair[0] not in names]


def asked_here() -> Asked:
    """The call at hand."""
    app: Any = current_app
    return Asked(app._get_current_object(), request.path, tuple(request.args.items(multi=True)))
