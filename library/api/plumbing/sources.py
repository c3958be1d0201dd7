"""Where a list comes from: the statement of a view, counted, and read by pages or by steps of a walk."""

from collections.abc import Callable
from typing import Any

from sqlalchemy import Integer, Select, UnaryExpression, bindparam, func, literal_column, select
from sqlalchemy.sql import operators

from library.api.plumbing import cursors, totals
from library.api.plumbing.asking import Asked
from library.api.plumbing.prepared import Prepared
from library.api.plumbing.reading import Reader
from library.api.plumbing.sql_json import Rendering
from library.extensions import db
from library.rules.forms import Ranking, values_of

_TURNED = {
    operators.asc_op: lambda column: column.asc(),
    operators.desc_op: lambda column: column.desc(),
    operators.nulls_first_op: lambda column: column.nulls_first(),
    operators.nulls_last_op: lambda column: column.nulls_last(),
}


class Source:
    """The rows of a statement in an order: as the database renders them where it is `told` how, else loaded.

    What was rendered are rows too: of the text, called `rendered`, the key, and the columns of the order. A `reader` of
    the fast path reads them, where there is one, else the session.
    """

    def __init__(
        self,
        statement: Select[Any],
        order: cursors.Order,
        prepared: Prepared,
        told: Rendering | None,
        asked: Asked,
        reader: Reader | None = None,
    ) -> None:
        self.statement, self.order, self.told, self.asked = statement, order, told, asked
        self._prepared, self._reader = prepared, reader
        self._engine = db.engine if reader is None else reader.engine
        self.noun = statement.column_descriptions[0]["entity"] if told is None else told.table
        ranking = statement.get_execution_options().get("ranking")
        self.ranking: Ranking | None = None if order else ranking
        self.in_walking_order = bool(order) or not (ranking or statement._order_by_clauses)
        self._ways = tuple((column.key, down) for column, down in order)

    def reach(self, deepest: int) -> int:
        """Up to which row pages are turned, and rows counted, where `deepest` is so for other lists."""
        return min(deepest, self.ranking.most) if self.ranking else deepest

    def page(self, size: int, start: int, most: int) -> tuple[list[Any], int]:
        """So many rows from a place on, and how many there are in all, counted no further than `most`."""
        if self.told is None:
            return self._loaded(size, start), self.count(most)
        amounts = _amounts(size, start)
        kept = totals.are_kept(self.statement, self.noun)
        if kept:
            rows = [*self._run(("page", self._ways), lambda: self._page(totals.generation()), **amounts)]
        else:
            rows = [*self._run(("page", self._ways), lambda: self._page(self._number()), **amounts, most=most)]
        if not rows:
            # Behind the last row nothing is said of those before it.
            return rows, self.count(most) if start else 0
        if kept:
            return rows, totals.kept(self.asked.app, self.noun, most, rows[0].generation, lambda: self.count(most))
        return rows, min(rows[0].total, most)

    def count(self, most: int) -> int:
        """How many rows there are, counted no further than `most`: places are counted, not rows."""
        purpose = ("count", self.ranking is not None)
        return self._run(purpose, lambda: select(self._number()), most=most).scalar() or 0

    def after(self, position: cursors.Position | None, most: int) -> list[Any]:
        """The next rows of a walk, None being its start."""
        if self.told is None:
            statement = cursors.rows_after(self.statement, self.noun, self.order, position, most)
            return [*db.session.scalars(statement, values_of(self.statement)).unique()]
        if position is None:
            return [*self._run(("start", self._ways), lambda: self._after(None), page_size=most)]
        columns = [*(column for column, _ in self.order), self.noun.id]
        marks = tuple(
            None if value is None else bindparam(f"at_{place}", type_=column.type)
            for place, (value, column) in enumerate(zip(position, columns, strict=True))
        )
        values = {f"at_{place}": value for place, value in enumerate(position) if value is not None}
        purpose = ("after", self._ways, tuple(mark is None for mark in marks))
        return [*self._run(purpose, lambda: self._after(marks), page_size=most, **values)]

    def _run(self, purpose: Any, derive: Callable[[], Select[Any]], **values: Any) -> Any:
        return self._prepared.run(self._reader, purpose, self.statement, derive, **values)

    def _number(self) -> Any:
        if self.ranking is not None:
            return self.ranking.count.label("total")
        one: Any = literal_column("1").label("one")
        rows = (
            self.statement.with_only_columns(one, maintain_column_froms=True).order_by(None).limit(self._amount("most"))
        )
        return select(func.count()).select_from(rows.subquery()).scalar_subquery().label("total")

    def _page(self, also: Any) -> Select[Any]:
        assert self.told is not None
        return self._of_page(self.told.select(*self._columns(), also))

    def _of_page(self, shown: Select[Any]) -> Select[Any]:
        """Only the keys are walked along; what a page shows is looked up for its own rows."""
        key, walked = self.noun.id, self.ranking.keys if self.ranking else self.statement
        clauses = cursors.in_order(self.order, key) if self.order else [*walked._order_by_clauses]
        clauses += [] if self.order or self.ranking else [key]
        labels = [_bare(clause).label(f"order_{place}") for place, clause in enumerate(clauses)]
        if any(down and column.nullable for column, down in self.order):
            # No index of PostgreSQL has the last first and what has no value last: each stretch has one.
            keys = select(cursors.first_of(walked, self.order, key, self._amount("page_end"), labels))
            labels = [*keys.selected_columns]
        else:
            keys = walked.with_only_columns(*labels, maintain_column_froms=True).order_by(None)
        page = (
            keys.order_by(*map(_as, clauses, labels))
            .limit(self._amount("page_size"))
            .offset(self._amount("page_start"))
            .subquery("page")
        )
        return shown.join(page, [*page.c][-1] == key).order_by(*map(_as, clauses, page.c))

    def _loaded(self, size: int, start: int) -> list[Any]:
        values = {**values_of(self.statement), **_amounts(size, start)}
        statement = self._of_page(select(self.noun).options(*self.statement._with_options))
        return [*db.session.scalars(statement, values).unique()]

    def _after(self, position: cursors.Position | None) -> Select[Any]:
        assert self.told is not None
        key = self.noun.id
        keys = cursors.keys_after(self.statement, self.noun, self.order, position, self._amount("page_size"))
        shown = self.told.select(*self._columns()).where(key.in_(keys))
        return shown.order_by(*cursors.in_order(self.order, key)).limit(self._amount("page_size"))

    def _amount(self, name: str) -> Any:
        """A number of rows, written into the statement on PostgreSQL: it plans once for all where it knows how few."""
        return bindparam(name, type_=Integer(), literal_execute=self._engine.dialect.name == "postgresql")

    def _columns(self) -> list[Any]:
        return [self.noun.id, *(column for column, _ in self.order)]


def _bare(clause: Any) -> Any:
    """What a clause of an order looks at."""
    while isinstance(clause, UnaryExpression) and clause.modifier in _TURNED:
        clause = clause.element
    return clause


def _as(clause: Any, column: Any) -> Any:
    """A column in the direction of a clause."""
    if isinstance(clause, UnaryExpression) and clause.modifier in _TURNED:
        return _TURNED[clause.modifier](_as(clause.element, column))
    return column


def _amounts(size: int, start: int) -> dict[str, int]:
    return {"page_size": size, "page_start": start, "page_end": start + size}
