"""Previews: what an action would do, found out by doing it and undoing it."""

from collections.abc import Callable, Iterable
from functools import wraps
from typing import Any

import marshmallow as ma
from flask import g

from library.api.plumbing.errors import refusal_errors
from library.api.plumbing.problem import ProblemErrorSchema
from library.rules.errors import Refusal, Refused


class Unpreviewable(Exception):
    """A view is marked as previewed and cannot be: the application does not start."""


class Rendered(ma.fields.Nested):
    """Another schema's answer that is JSON already."""

    def _serialize(self, nested_obj: Any, attr: Any, obj: Any, **kwargs: Any) -> Any:  # type: ignore[override]
        return nested_obj


def schema_of(operation: str, answer: ma.Schema) -> type[ma.Schema]:
    """The answer of the preview of an operation that answers `answer`: a schema with a name of its own."""
    name = "".join(word.capitalize() for word in operation.split("_"))
    result = {"description": "What the action would answer, null where it is refused; keys in it are not final."}
    errors = {"description": "The refusals; where the action would be done, what it would remark."}
    token = {"description": "Where all refusals only want to be confirmed: the token to send along with the action."}
    members = {
        "__doc__": f"What `{operation}` would do; nothing of it was done.",
        "ok": ma.fields.Boolean(metadata={"description": "Whether the action would be done."}),
        "errors": ma.fields.List(ma.fields.Nested(ProblemErrorSchema), metadata=errors),
        "confirm_token": ma.fields.String(allow_none=True, metadata=token),
        "result": Rendered(type(answer), many=bool(answer.many), allow_none=True, metadata=result),
    }
    return type(f"{name}PreviewSchema", (ma.Schema,), members)


def description_of(refusals: Iterable[type[Refusal]]) -> str:
    """What the document says of a preview's answer."""
    sentences = "".join(f"\n* `{refusal.code}`: {refusal.sentence()}" for refusal in refusals)
    return f"What would happen; `errors` may hold:{sentences}" if sentences else "What would happen"


def shown(act: Callable[..., Any]) -> Callable[..., dict[str, Any]]:
    """An action's view as a preview: it answers the verdict. The gate undoes what the action did.

    What is wrong before the action is judged (the body, the address) is answered as it would be for the action.
    """

    @wraps(act)
    def show(*args: Any, **kwargs: Any) -> dict[str, Any]:
        try:
            response = act(*args, **kwargs)
        except Refused as refused:
            errors, token = refusal_errors(refused.reasons), refused.confirm_token
            verdict = {"ok": False, "errors": errors, "confirm_token": token, "result": None}
        else:
            errors, result = refusal_errors(g.remarks), response.get_json()
            verdict = {"ok": True, "errors": errors, "confirm_token": None, "result": result}
        # Remarks stand in this answer, not in its header.
        g.remarks = []
        return verdict

    show.__doc__ = f"Preview: {(act.__doc__ or '').strip()}"
    return show
