"""Finding: the row whose key stands in the path, locked and held to `If-Match` where the call changes it."""

from collections.abc import Callable
from functools import cache, partial, wraps
from typing import Any

from flask import g, request
from sqlalchemy import Select, bindparam, select

from library.api.plumbing import rendering
from library.api.plumbing.errors import Problem
from library.api.plumbing.marks import View, mark, marks_of
from library.extensions import db
from library.models import Base, Versioned
from library.rules import access, locks

_CHANGES = ("PUT", "PATCH", "DELETE")


def key_in_path(kwargs: dict[str, Any]) -> dict[str, int]:
    """The one key of a path."""
    return {"id": kwargs.pop(next(iter(request.view_args or {})))}


def keys_of_part(kwargs: dict[str, Any]) -> dict[str, int]:
    """The keys of a path that leads to a part of something."""
    *outer, inner = request.view_args or {}
    return {"id": kwargs.pop(inner)} | {name: kwargs.pop(name) for name in outer}


def found_first(
    table: type[Base],
    options: Any,
    keys_of: Callable[[dict[str, Any]], dict[str, int]],
    first: Any = None,
    version_of: Any = None,
) -> Callable[[View], View]:
    """Hand a view the row that `keys_of` its path name; see Blueprint.finds."""
    versioned = version_of is not None or issubclass(table, Versioned)

    def decorator(view: View) -> View:
        answer = marks_of(view).get("shape")

        @wraps(view)
        def found(self: Any, *args: Any, **kwargs: Any) -> Any:
            # An action may be held to a version, a change must be.
            asked = versioned and request.method == "POST" and "If-Match" in request.headers
            changes = request.method in _CHANGES or asked
            keys = keys_of(kwargs)
            if not changes and _shows_it(answer, table):
                return view(self, _unread(table, options, keys), *args, **kwargs)
            if changes and first is not None:
                if table in access.OWN_ROWS and not access.is_staff(g.actor):
                    # Nothing around what is somebody else's is locked, and the work is that for a key of nothing.
                    find(table, lock=False, **keys)
                first(db.session, keys["id"])
            row = find(table, *options, lock=changes, **keys)
            if versioned and changes:
                rendering.require_match(version_of(db.session, row) if version_of else row.version)
            elif not versioned and "If-Match" in request.headers and request.method not in ("GET", "HEAD"):
                # Not required here, and not ignored: tags of what has no version begin with 0.
                rendering.require_match(0)
            return view(self, row, *args, **kwargs)

        return mark(finds=table, versioned=versioned)(found)

    return decorator


def _shows_it(answer: rendering.Shown | None, table: type[Base]) -> bool:
    """Whether a mere look is answered with the row as the database renders it, and asks for nothing besides."""
    if answer is None or request.method not in ("GET", "HEAD") or request.args or g.get("format") is not None:
        return False
    return answer.in_sql is not None and answer.in_sql.table is table


def _unread(table: type[Base], options: Any, keys: dict[str, Any]) -> rendering.Unread:
    """The row with those keys, if the actor may see it: rendered without being loaded, where the view returns it."""
    statement = access.visible(_by_keys(table, tuple(keys)), table, g.actor)
    return rendering.Unread(statement, keys, partial(find, table, *options, **keys))


@cache
def _by_keys(table: type[Base], names: tuple[str, ...]) -> Select[Any]:
    return select(table).where(*(getattr(table, name) == bindparam(name) for name in names))


def find(table: type[Base], *options: Any, lock: bool = False, **keys: int) -> Any:
    """The row with those keys, if the actor may see it; 404 for another's exactly as for none."""
    statement = access.visible(select(table).filter_by(**keys).options(*options), table, g.actor)
    row = db.session.scalars(locks.lock_found(statement, table) if lock else statement).one_or_none()
    if row is None:
        raise Problem(404)
    return row
