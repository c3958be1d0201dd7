"""What is measured, and the tables that come of it."""

import gzip
import random
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from statistics import median
from typing import Any

from sqlalchemy import text

from bench import build, catalogue, check, layers, load
from bench.databases import Books, PostgreSQL, SQLite
from bench.load import Figures, Settle, Task
from bench.servers import CACHED, FLOOR, OURS, OURS_ON, Server, command, fastapi, kinds, serving
from bench.tables import figures, head, ratios, row
from library.api.plumbing import cursors
from library.api.plumbing.asking import asked_here

# Looks after a round until all is taken back.
PATIENCE = 40
DESKS = (1, 2, 4, 8, 16, 32)
WORKERS = THREADS = (1, 2, 4)


@dataclass(frozen=True)
class Run:
    """On which kind of database it is measured, where files go, how long and how often, and which tasks alone."""

    database: SQLite | PostgreSQL
    folder: Path
    seconds: int
    rounds: int
    only: Sequence[str] | None = None

    def tasks(self, tasks: Iterable[Task]) -> list[Task]:
        """Those that are to be measured."""
        return [task for task in tasks if self.only is None or any(word in task.name for word in self.only)]

    def figures(self, servers: list[Server], task: Task) -> dict[str, Figures]:
        """The medians of each server, by its name."""
        return self.in_turn([(server, task) for server in servers])

    def in_turn(self, turns: Sequence[tuple[Server, Task]]) -> dict[str, Figures]:
        """The same, each with a task of its own."""
        is_desk = turns[0][1].lines[0][1] == "POST"
        settle: Settle = _take_back if is_desk else lambda _: None
        found = load.interleaved(turns, self.folder, self.seconds, self.rounds, settle)
        named = {server.kind.name: figures for (server, _), figures in zip(turns, found, strict=True)}
        told = ", ".join(f"{name} {one.per_second:,.0f}/s {one.processor:,.0f} µs" for name, one in named.items())
        sys.stderr.write(f"{turns[0][1].name}: {told}\n")
        return named

    @property
    def how(self) -> str:
        """How long and how often, as a line."""
        return f"Medians of {self.rounds} rounds of {self.seconds} s in turn."


def peers(run: Run, books: int) -> Iterator[str]:
    """The library beside the others: ratios first, then the figures."""
    with run.database.filled(books) as url:
        with serving(kinds(url), url, run.folder) as servers:
            compared = check.answers_alike(servers, books, url)
            tasks = run.tasks([*load.reads(books), load.desk()])
            measured = {task.name: run.figures(servers, task) for task in tasks}
        if run.tasks([load.CACHED_LIST]):
            measured[load.CACHED_LIST.name] = _cached(run, url)
    yield from (f"### {run.database.name}, {books:,} books", "")
    yield from ratios("requests a second", measured, lambda one: one.per_second)
    yield from ratios("processor time of the servers", measured, lambda one: 1 / one.processor)
    yield from figures(measured)
    yield f"{compared} answers of the peers were compared with the library's before, and were equal."
    yield run.how


def _cached(run: Run, url: str) -> dict[str, Figures]:
    """The same page again and again: out of kept bytes, and as FastAPI makes it anew, beside an empty answer."""
    ours = [replace(kind, settings={**kind.settings, **CACHED}) for kind in (OURS, OURS_ON)]
    with serving([*ours, fastapi(url), FLOOR], url, run.folder) as servers:
        return run.in_turn([(server, load.EMPTY if server.kind is FLOOR else load.CACHED_LIST) for server in servers])


def _take_back(server: Server) -> None:
    """Take back what the end of a round has left on loan; the last calls may still be on their way."""
    lent = text("SELECT barcode FROM copies WHERE place = 'on_loan' AND id <= :last")
    librarian, quiet = load.token(build.FIRST_LIBRARIAN, "librarian"), 0
    engine = build.engine_of(server.environment["BENCH_DATABASE_URL"])
    for _ in range(PATIENCE):
        time.sleep(0.25)
        with engine.connect() as connection:
            barcodes = connection.scalars(lent, {"last": build.AT_THE_DESK}).all()
        for barcode in barcodes:
            # A call on its way may have taken it back already: the next look tells.
            server.call("POST", "/check-ins", {"copy_barcode": barcode}, librarian)
        quiet = 0 if barcodes else quiet + 1
        if quiet == 2:
            return engine.dispose()
    raise SystemExit(f"{server.kind.name} does not take back {', '.join(barcodes)}\n{server.logged()[-2000:]}")


def where_time_goes(run: Run, books: int) -> Iterator[str]:
    """The processor time of a call of the library, by layer, as it ships but for kept pages."""
    with run.database.filled(books) as url:
        asked = [(task, 1) for task in load.reads(books)] + [(load.desk(1), 2)]
        measured = {task.name: layers.layers(url, task.lines, calls) for task, calls in asked}
    yield from (f"### {run.database.name}, {books:,} books, where the time of the library goes", "")
    yield from head("µs of processor time", *measured)
    for layer in next(iter(measured.values())):
        yield row(layer, *(f"{of[layer]:,.0f}" for of in measured.values()))
    yield from ("", "In one process, without a server; check-out + return is both calls.")
    yield f"So many calls, or pairs of them, were measured: {layers.PROFILED}; and as many profiled."


def storm(run: Run, books: int) -> Iterator[str]:
    """Many desks at once: what all of them get done, and how long one waits."""
    with run.database.filled(books) as url, serving([OURS_ON, fastapi(url), FLOOR], url, run.folder) as servers:
        measured = {str(desks): run.figures(servers, load.desk(desks, True)) for desks in DESKS}
    yield from (f"### {run.database.name}, {books:,} books, a storm at the desks", "")
    yield from head("desks", "server", "done/s", "p50, ms", "p99, ms", "turned away, %")
    for desks, of in measured.items():
        for name, one in of.items():
            yield row(desks, name, f"{one.per_second:,.0f}", f"{one.p50:.2f}", f"{one.p99:.2f}", f"{one.refused:.2f}")
    yield from (
        "",
        "Half of what is asked lends a copy, half takes it back; each desk waits for its answer. Turned away:",
    )
    yield f"calls that waited too long for a lock, and returns of copies that were not on loan. {run.how}"


def web_servers(run: Run, books: int) -> Iterator[str]:
    """The library behind granian and behind gunicorn, with so many workers of so many threads."""
    sizes = [*product(WORKERS, THREADS), (OURS_ON.workers, OURS_ON.threads), (4, 8)]
    chosen = [
        replace(OURS_ON, name=f"{name}, {workers} × {threads}", server=name, workers=workers, threads=threads)
        for name, (workers, threads) in product(("granian", "gunicorn"), sizes)
    ]
    with run.database.filled(books) as url, serving(chosen, url, run.folder) as servers:
        tasks = [task for task in load.reads(books) if task.name in ("list of 20", "me")]
        measured = {task.name: run.figures(servers, task) for task in [*tasks, load.desk()]}
    yield from (f"### {run.database.name}, {books:,} books, web servers", "")
    yield from head("requests/s, processor in µs a request, workers × threads", *measured)
    for kind in chosen:
        cells = (of[kind.name] for of in measured.values())
        yield row(kind.name, *(f"{one.per_second:,.0f}/s, {one.processor:,.0f} µs" for one in cells))
    yield from ("", run.how)


def growth(run: Run, many: Sequence[Books]) -> Iterator[str]:
    """The library alone, one request at a time, as the tables grow; a file stands for the records in it."""
    titles = [books.name if isinstance(books, Path) else f"{books:,} books" for books in many]
    with ExitStack() as stack:
        asked: dict[str, list[tuple[Server, Task]]] = {}
        for title, books in zip(titles, many, strict=True):
            url = stack.enter_context(run.database.filled(books))
            kind = replace(OURS, name=title, workers=1)
            (server,) = stack.enter_context(serving([kind], url, run.folder))
            for task in run.tasks(_alone(books, url)):
                asked.setdefault(task.name, []).append((server, task))
        measured = {name: run.in_turn(turns) for name, turns in asked.items()}
    yield from (f"### {run.database.name}, growth", "")
    made = [title for title, books in zip(titles, many, strict=True) if isinstance(books, int)]
    yield from head("median answer, ms", *titles, "last to first, of those made")
    for name, of in measured.items():
        times = [f"{of[title].p50:.3f}" if title in of else "–" for title in titles]
        yield row(name, *times, f"{of[made[-1]].p50 / of[made[0]].p50:.2f}")
    yield from ("", f"One worker, one connection. {run.how}")


def _alone(books: Books, url: str) -> Iterator[Task]:
    """What is asked for one by one: the reads, pages by cursor, and a search that finds very many."""
    ids, found = _looked_at(books, url)
    for task in load.reads(len(ids), found):
        yield Task(task.name, task.lines, 1, 1)
    chance = random.Random(catalogue.SEED)
    for share in (0, 50, 99):
        # A hundred places around that depth.
        depth = len(ids) * share // 100
        places = [ids[min(depth + chance.randrange(1000), len(ids) - load.SIZE)] for _ in range(100)]
        lines = [load.get(f"/books?cursor={cursor}&page_size={load.SIZE}") for cursor in _cursors(url, places)]
        yield Task(f"cursor, {share} % deep", lines, 1, 1)
    if isinstance(books, int):
        yield Task("search, a word in every tenth title", load.searches([catalogue.COMMON_WORD]), 1, 1)


def _looked_at(books: Books, url: str) -> tuple[Sequence[int], list[str]]:
    """The keys of the books, and of records of a file words of titles that are drawn."""
    if isinstance(books, int):
        return range(1, books + 1), []
    engine = build.engine_of(url)
    with engine.connect() as connection:
        rows = connection.execute(text("SELECT id, title_key FROM books ORDER BY id")).all()
    engine.dispose()
    drawn = random.Random(catalogue.SEED).sample(rows, min(catalogue.RARE_WORDS, len(rows)))
    return [row.id for row in rows], sorted({max(row.title_key.split(), key=len) for row in drawn if row.title_key})


def _cursors(url: str, book_ids: Sequence[int]) -> list[str]:
    """The cursors that stand on books, as the library signs them."""
    with build.make_app(url).test_request_context("/books"):
        asked = asked_here()
        return [cursors.written(type("Row", (), {"id": key}), (), asked) for key in book_ids]


def imported(run: Run, file: Path) -> Iterator[str]:
    """A file of records in, and out again, by the commands; a tenth of it first, to see whether memory grows."""
    yield from (f"### {run.database.name}, {file.name} in and out", "")
    yield from head("", "records", "records/s", "processor, records/s a core", "memory, MB")
    given = run.folder / "out.mrc"
    for part in (_tenth(file, run.folder), file):
        with run.database.empty() as url:
            build.migrate(url)
            for name, path in (("import", part), ("export", given)):
                line = ["-m", "flask", "--app", "library", "catalogue", name, str(path)]
                seconds, processor, memory, _ = command(url, run.folder, line)
                books = _count(url)
                yield row(name, f"{books:,}", f"{books / seconds:,.0f}", f"{books / processor:,.0f}", f"{memory:,.0f}")
    yield from ("", "Each once; what PostgreSQL itself uses is not in it.")


def _tenth(file: Path, folder: Path) -> Path:
    """The first tenth of a file of MARC records, each of which begins with its length."""
    part = folder / f"tenth-of-{file.name.removesuffix('.gz')}"
    with gzip.open(file) if file.suffix == ".gz" else file.open("rb") as source:
        whole: Any = source.read()
    at = 0
    while at < len(whole) // 10:
        at += int(whole[at : at + 5])
    part.write_bytes(whole[:at])
    return part


def _count(url: str) -> int:
    engine = build.engine_of(url)
    with engine.connect() as connection:
        count = connection.scalar(text("SELECT count(*) FROM books")) or 0
    engine.dispose()
    return count


CREATE = """import time; began = time.perf_counter(), time.process_time()
from library import create_app
create_app(); print(time.perf_counter() - began[0], time.process_time() - began[1])"""


def start(run: Run, books: int) -> Iterator[str]:
    """`create_app` with what it imports; and from nothing to the first answer of one worker, beside others."""
    found: dict[str, list[tuple[float, ...]]] = {}
    with run.database.filled(books) as url:
        for _, kind in product(range(run.rounds), (None, OURS_ON, fastapi(url), FLOOR)):
            if kind is None:
                printed = command(url, run.folder, ["-c", CREATE])[-1]
                found.setdefault("`create_app()`, with imports", []).append(tuple(map(float, printed.split())))
                continue
            with serving([replace(kind, workers=1)], url, run.folder) as (server,):
                times = (server.started_in, server.processor_seconds())
            found.setdefault(f"{kind.name}, to the first answer", []).append(times)
    yield from (f"### {run.database.name}, start", "")
    yield from head("", "seconds", "seconds of processor time")
    for name, times_of in found.items():
        yield row(name, *(f"{median(column):.2f}" for column in zip(*times_of, strict=True)))
    yield from ("", f"Medians of {run.rounds}, in turn, with one worker.")
