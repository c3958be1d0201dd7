"""Statements built once: what is derived from a view's statement is kept, and run with the values of the one at hand.

Building a statement, and looking up what SQLAlchemy made of it, costs more than most statements cost to run.
"""

from collections.abc import Callable, Mapping
from typing import Any

from sqlalchemy import CursorResult, Select

from library.api.plumbing.reading import Reader, Rows, Statement
from library.extensions import db
from library.rules import forms

# Each form of a list, its filters and its order are one statement: more than so many is somebody's play.
MOST = 200
# What a statement that was made of another may differ in.
_PARTS = (
    "_raw_columns",
    "_where_criteria",
    "_from_obj",
    "_setup_joins",
    "_order_by_clauses",
    "_limit_clause",
    "_offset_clause",
)


def form_of(statement: Select[Any]) -> tuple[Any, Mapping[str, Any]]:
    """What is the same for all statements that differ in values only, None where nothing is; and values by name.

    In statements of one form, as rules make them (rules/forms.py), parameters are called alike; in others they only
    stand in the same order.
    """
    form, values = statement.get_execution_options().get("form"), forms.values_of(statement)
    if form is not None and all(getattr(form, part) is getattr(statement, part) for part in _PARTS):
        return form, values
    # The form without the values, which is how SQLAlchemy tells statements apart.
    made = statement._generate_cache_key()
    if made is None:
        return None, values
    return made.key, {**{one.key: one.effective_value for one in made.bindparams}, **values}


class Prepared:
    """The statements derived from what one view returns, by its form and what it was derived for."""

    def __init__(self) -> None:
        self._kept: dict[Any, tuple[Select[Any], Statement, tuple[str, ...]]] = {}

    def run(
        self,
        reader: Reader | None,
        purpose: Any,
        statement: Select[Any],
        derive: Callable[[], Select[Any]],
        **values: Any,
    ) -> CursorResult[Any] | Rows:
        """What the statement that `derive` makes of `statement` finds; `values` are those of its named parameters.

        `derive` is called once for each purpose, form and kind of database: what it makes may depend on nothing else.
        A reader of the fast path runs it, else the session; raises NotPlain where a reader cannot.
        """
        engine = db.engine if reader is None else reader.engine
        form, own = form_of(statement)
        known = self._kept.get((engine.dialect.name, purpose, form)) if form is not None else None
        if known is None:
            derived = derive()
            known = derived, Statement(derived, engine), tuple(own)
            if form is not None:
                self._keep((engine.dialect.name, purpose, form), known)
        derived, read, names = known
        if not isinstance(form, Select):
            own = dict(zip(names, own.values(), strict=True))
        if reader is None:
            return db.session.connection().execute(derived, {**own, **values})
        return reader.rows(read, **own, **values)

    def _keep(self, kind: Any, known: tuple[Select[Any], Statement, tuple[str, ...]]) -> None:
        if len(self._kept) >= MOST:
            self._kept.clear()
        self._kept[kind] = known
