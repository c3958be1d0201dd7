"""Deprecation: what of the API will go away, said in the document and in every answer (RFC 9745, RFC 8594)."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

from flask import Flask, Response, current_app, request
from werkzeug.http import http_date

LINK = (
    "Where the deprecation is told (`rel=deprecation`) and, where there is one, what to call instead "
    "(`rel=successor-version`)."
)


@dataclass(frozen=True)
class Deprecation:
    """Since when an operation is deprecated, the last day on which it is there, and the operation to call instead.

    Days are those of UTC: `Sunset` is the first moment at which it may be gone, the midnight that ends its last day.
    Nothing happens by itself when that day comes: whoever removes the operation removes the view.
    """

    since: date
    sunset: date | None = None
    instead: str | None = None

    def sentence(self) -> str:
        """What the document says of it."""
        parts = [f"Deprecated since {self.since.isoformat()}"]
        parts += [f"it may be gone after {self.sunset.isoformat()} (UTC)"] if self.sunset else []
        parts += [f"use `{self.instead}` instead"] if self.instead else []
        return "; ".join(parts) + "."

    def tell(self, response: Response) -> Response:
        """Put the headers on an answer, whatever its status."""
        response.headers["Deprecation"] = f"@{int(_midnight(self.since).timestamp())}"
        if self.sunset:
            response.headers["Sunset"] = http_date(_midnight(self.sunset) + timedelta(days=1))
        response.headers.add("Link", '</redoc>; rel="deprecation"; type="text/html"')
        if successor := self._successor():
            response.headers.add("Link", f'<{successor}>; rel="successor-version"')
        return response

    def _successor(self) -> str | None:
        """The address of the operation to call instead, where this call's address tells all that it needs."""
        for rule in current_app.url_map.iter_rules() if self.instead else ():
            view = getattr(current_app.view_functions[rule.endpoint], "view_class", None)
            named = [_said_of(view, method).get("operation") for method in rule.methods or ()]
            if self.instead in named and rule.arguments <= set(request.view_args or {}):
                values = {name: value for name, value in (request.view_args or {}).items() if name in rule.arguments}
                built = rule.build(values)
                return built[1] if built else None
        return None


def link_header(of_list: dict[str, Any] | None) -> dict[str, Any]:
    """What the document says of the `Link` of a deprecated operation, and of the one it has anyway as a list."""
    description = f"{of_list['description']} {LINK}" if of_list else LINK
    return {"description": description, "schema": {"type": "string"}, "example": '</books>; rel="successor-version"'}


def init_app(app: Flask) -> None:
    """Tell of it on every answer of a deprecated operation, also where the call came no further than the edge."""
    app.after_request(_tell)


def _tell(response: Response) -> Response:
    rule = request.url_rule
    view = getattr(current_app.view_functions[rule.endpoint], "view_class", None) if rule else None
    deprecation = _said_of(view, "GET" if request.method == "HEAD" else request.method).get("deprecation")
    return deprecation.tell(response) if deprecation else response


def _said_of(view: Any, method: str) -> dict[str, Any]:
    """What the marks say of a method of a view."""
    return getattr(getattr(view, method.lower(), None), "_apidoc", {}).get("library", {})


def _midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)
