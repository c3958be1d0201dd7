"""The parts of JSON as SQL functions, each compiled for SQLite and for PostgreSQL; compact, with members in order."""

from typing import Any

from sqlalchemy import Text
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement


class Object(FunctionElement[str]):
    """An object: names, as quoted literals, and values by turns."""

    name = "json_object_of"
    type = Text()
    inherit_cache = True


class Items(FunctionElement[str]):
    """A list of the objects that a scalar sub-select finds, in its order; its column is called `item`."""

    name = "json_items_of"
    type = Text()
    inherit_cache = True


class Item(FunctionElement[str]):
    """The one object that a scalar sub-select finds, or null."""

    name = "json_item_of"
    type = Text()
    inherit_cache = True


class Flag(FunctionElement[str]):
    """A boolean column as true, false or null."""

    name = "json_flag_of"
    type = Text()
    inherit_cache = True


class MomentText(FunctionElement[str]):
    """A moment in UTC with six fractional digits and `Z`."""

    name = "json_moment_of"
    type = Text()
    inherit_cache = True


def _only(element: Any, compiler: Any, options: Any) -> str:
    """What the function is about."""
    (clause,) = element.clauses
    return str(compiler.process(clause, **options))


@compiles(Object, "sqlite")
def _object_on_sqlite(element: Any, compiler: Any, **options: Any) -> str:
    return f"json_object({', '.join(compiler.process(clause, **options) for clause in element.clauses)})"


@compiles(Object, "postgresql")
def _object_on_postgresql(element: Any, compiler: Any, **options: Any) -> str:
    # json_build_object puts blanks around its colons; a row has none, and its members are called by its columns.
    parts = [compiler.process(clause, **options) for clause in element.clauses]
    columns = (f'{value} AS "{name[1:-1]}"' for name, value in zip(parts[::2], parts[1::2], strict=True))
    return f"(SELECT row_to_json(members) FROM (SELECT {', '.join(columns)}) AS members)"


@compiles(Items, "sqlite")
def _items_on_sqlite(element: Any, compiler: Any, **options: Any) -> str:
    # The order of a sub-select holds for the aggregate around it. What comes out of one is text until json() reads it.
    listed = "'[' || coalesce(group_concat(item, ','), '') || ']'"
    return f"json((SELECT {listed} FROM {_only(element, compiler, options)}))"


@compiles(Items, "postgresql")
def _items_on_postgresql(element: Any, compiler: Any, **options: Any) -> str:
    # json_agg breaks lines between its items.
    return f"array_to_json(ARRAY{_only(element, compiler, options)})"


@compiles(Item, "sqlite")
def _item_on_sqlite(element: Any, compiler: Any, **options: Any) -> str:
    return f"json({_only(element, compiler, options)})"


@compiles(Item, "postgresql")
def _item_on_postgresql(element: Any, compiler: Any, **options: Any) -> str:
    return _only(element, compiler, options)


@compiles(Flag, "sqlite")
def _flag_on_sqlite(element: Any, compiler: Any, **options: Any) -> str:
    column = _only(element, compiler, options)
    return f"json(CASE ({column}) WHEN 1 THEN 'true' WHEN 0 THEN 'false' END)"


@compiles(Flag, "postgresql")
def _flag_on_postgresql(element: Any, compiler: Any, **options: Any) -> str:
    return _only(element, compiler, options)


@compiles(MomentText, "sqlite")
def _moment_on_sqlite(element: Any, compiler: Any, **options: Any) -> str:
    column = _only(element, compiler, options)
    # Kept as a text in UTC, with six fractional digits or, written by hand, without any.
    return f"(substr({column}, 1, 10) || 'T' || substr(substr({column}, 12) || '.000000', 1, 15) || 'Z')"


@compiles(MomentText, "postgresql")
def _moment_on_postgresql(element: Any, compiler: Any, **options: Any) -> str:
    column = _only(element, compiler, options)
    return f"to_char({column} AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')"
