"""Deprecation: what of the API will go away, said in the document and in every answer (RFC 9745, RFC 8594)."""

from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

from flask import Response, current_app, request
from werkzeug.http import http_date


@dataclass(frozen=True)
class Deprecation:
    """Since when an operation is deprecated, the day after which it may go, and the operation to call instead.

    Nothing happens by itself when that day comes: whoever removes the operation removes the view.
    """

    since: date
    sunset: date | None = None
    instead: str | None = None

    def sentence(self) -> str:
        """What the document says of it."""
        parts = [f"Deprecated since {self.since.isoformat()}"]
        parts += [f"it may be gone after {self.sunset.isoformat()}"] if self.sunset else []
        parts += [f"use `{self.instead}` instead"] if self.instead else []
        return "; ".join(parts) + "."

    def tell(self, response: Response) -> Response:
        """Put the headers on an answer, whatever its status."""
        response.headers["Deprecation"] = f"@{int(_midnight(self.since).timestamp())}"
        if self.sunset:
            response.headers["Sunset"] = http_date(_midnight(self.sunset))
        response.headers.add("Link", '</redoc>; rel="deprecation"; type="text/html"')
        if successor := self._successor():
            response.headers.add("Link", f'<{successor}>; rel="successor-version"')
        return response

    def _successor(self) -> str | None:
        """The address of the operation to call instead, where this call's address tells all that it needs."""
        for rule in current_app.url_map.iter_rules() if self.instead else ():
            view = getattr(current_app.view_functions[rule.endpoint], "view_class", None)
            named = [_operation(getattr(view, method.lower(), None)) for method in rule.methods or ()]
            if self.instead in named and rule.arguments <= set(request.view_args or {}):
                values = {name: value for name, value in (request.view_args or {}).items() if name in rule.arguments}
                built = rule.build(values)
                return built[1] if built else None
        return None


def _operation(view: Any) -> str | None:
    return getattr(view, "_apidoc", {}).get("library", {}).get("operation")


def _midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)
