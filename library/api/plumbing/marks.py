"""Marks: what the decorators of a view say of it, for the gate and for the document."""

from collections.abc import Callable
from typing import Any

View = Callable[..., Any]


def marks_of(view: View) -> dict[str, Any]:
    """What the decorators have said of a view so far."""
    return dict(getattr(view, "_marks", {}))


def mark(**marks: Any) -> Callable[[View], View]:
    """Say something of a view; `refusals` add up, anything else is replaced."""

    def decorator(view: View) -> View:
        known = marks_of(view)
        if "refusals" in marks:
            marks["refusals"] = tuple(dict.fromkeys((*known.get("refusals", ()), *marks["refusals"])))
        view._marks = known | marks  # type: ignore[attr-defined]
        return view

    return decorator
