"""Totals that do not count: how many rows a table of the catalogue has is counted once for each of its generations."""

import time
from collections.abc import Callable
from typing import Any

from flask import Flask
from sqlalchemy import Select, select

from library.database import CATALOGUE, CATALOGUE_TABLES
from library.models import Base, Generation

# What was written past the generations, by hand, is seen after so many seconds all the same.
SECONDS = 60


def are_kept(statement: Select[Any], noun: type[Base]) -> bool:
    """Whether a statement is of all rows of a table whose every change begins a generation."""
    narrowed = statement._where_criteria or statement._setup_joins or statement._limit_clause is not None
    return noun in CATALOGUE_TABLES and not narrowed


def generation() -> Any:
    """The column that says with a page of which generation it is: it costs no statement, nor any writer a row."""
    return select(Generation.number).where(Generation.name == CATALOGUE).scalar_subquery().label("generation")


def kept(app: Flask, noun: type[Base], most: int, generation: int, count: Callable[[], int]) -> int:
    """How many rows there are in that generation, `most` at the most."""
    known = app.extensions.setdefault("library_totals", {})
    number, until, total = known.get((noun, most), (None, 0.0, 0))
    if number != generation or until < time.monotonic():
        total = count()
        known[noun, most] = generation, time.monotonic() + SECONDS, total
    return int(total)
