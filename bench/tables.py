"""Tables in Markdown, of what was measured: ratios first, then the figures."""

from collections.abc import Callable, Iterator, Mapping

from bench.load import Figures
from bench.servers import FLOOR, OURS, OURS_ON, TUNED

Cells = Mapping[str, Mapping[str, Figures]]


def ratios(what: str, measured: Cells, better: Callable[[Figures], float]) -> Iterator[str]:
    """The library over the others: more than 1 is more than they do."""
    yield from (f"Ratios of {what}", "", *head("", *measured))
    rows = [
        ("times FastAPI", OURS.name, "FastAPI"),
        ("times FastAPI, everything on", OURS_ON.name, "FastAPI"),
        ("times FastAPI, tuned", OURS.name, TUNED.name),
        ("share of the floor", OURS.name, FLOOR.name),
        ("share of the floor, everything on", OURS_ON.name, FLOOR.name),
        ("times Flask, as in guides", OURS.name, "Flask, as in guides"),
        ("the floor, times FastAPI", FLOOR.name, "FastAPI"),
    ]
    for title, ours, other in rows:
        cells = [
            f"{better(of[ours]) / better(of[other]):.2f}" if ours in of and other in of else "–"
            for of in measured.values()
        ]
        yield row(title, *cells)
    yield ""


def figures(measured: Cells) -> Iterator[str]:
    """What each server came to."""
    yield from head("task", "server", "requests/s", "p50, ms", "p99, ms", "processor, µs a request")
    for task, of in measured.items():
        for name, one in of.items():
            yield row(task, name, f"{one.per_second:,.0f}", f"{one.p50:.2f}", f"{one.p99:.2f}", f"{one.processor:,.0f}")
    yield ""


def row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def head(*cells: str) -> Iterator[str]:
    yield from (row(*cells), row(*["---"] * len(cells)))
