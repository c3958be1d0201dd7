"""Forms: what calls with the same filters share is a statement built once, and each brings its values by name."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Select

# Each set of filters is a form: more than so many are somebody's play.
MOST = 256


@dataclass(frozen=True)
class Ranking:
    """How a search is ranked: its hits up to `most`, by key, are candidates, and pages show them the closest first.

    `keys` selects the key, as `id`, of every candidate, in the order of a page; `count` counts the hits, one further
    than `most` at the furthest. A statement has it as the execution option `ranking`.
    """

    keys: Select[Any]
    count: Any
    most: int


def with_values(form: Select[Any], values: Mapping[str, Any]) -> Select[Any]:
    """The form with the values of a call: it remembers both, and runs with `values_of` it."""
    return form.execution_options(form=form, values=values)


def values_of(statement: Select[Any]) -> Mapping[str, Any]:
    """The values of the named parameters of a statement, also of one that was made of it."""
    values: Mapping[str, Any] = statement.get_execution_options().get("values", {})
    return values
