"""Measures how fast the library is, beside the floor and beside peers over the same tables.

    python -m bench [PART …] [--books 100000] [--most 1000000] [--real FILE] [--rounds 5] [--seconds 3] [--short]
                    [--only WORD …] [--postgres postgresql://…] [--folder FOLDER] [--into bench/RESULTS.md]

It needs the extra `bench` and wrk; `.ci/with-services wrk durable-postgres -- python -m bench` brings wrk, and a
PostgreSQL that waits for the disk. Without `--postgres` (or LIBRARY_TEST_POSTGRES_URL) it measures on SQLite alone.
The parts, of which `peers` is measured if none is named:

* `peers`: the library, the floor and the peers on one database. First all must answer alike and write the same rows: a
  difference ends the run.
* `layers`: where the processor time of the library's calls goes.
* `storm`: check-outs and returns of ever more desks at once.
* `servers`: the library behind granian and behind gunicorn, with so many workers of so many threads.
* `start`: from nothing to the first answer, and `create_app`.
* `growth`: the library alone on 10,000 books, on 100,000 and on 1,000,000, and on those of a file (`--real`).
* `import`: a file of MARC 21 records (`--real`) taken in and given out.

Tables are printed as Markdown; with `--into`, each takes the place of the same one in that file too. `--folder` keeps
the SQLite databases that are made, and takes those that are there.
"""

import argparse
import os
import platform
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from pathlib import Path

from bench import parts
from bench.databases import PostgreSQL, SQLite

PACKAGES = ("Flask", "Werkzeug", "flask-smorest", "SQLAlchemy", "granian", "gunicorn", "orjson")
PACKAGES += ("fastapi", "pydantic", "uvloop", "asyncpg")
MANY = (10_000, 100_000, 1_000_000)
PARTS: dict[str, Callable[[parts.Run, argparse.Namespace], Iterator[str]]] = {
    "peers": lambda run, asked: parts.peers(run, asked.books),
    "layers": lambda run, asked: parts.where_time_goes(run, asked.books),
    "storm": lambda run, asked: parts.storm(run, asked.books),
    "servers": lambda run, asked: parts.web_servers(run, asked.books),
    "start": lambda run, asked: parts.start(run, asked.books),
    "growth": lambda run, asked: parts.growth(run, [*(many for many in MANY if many <= asked.most), *real(asked)]),
    "import": lambda run, asked: parts.imported(run, asked.real),
}


def real(asked: argparse.Namespace) -> list[Path]:
    """The file of records, if one is named."""
    return [asked.real.absolute()] if asked.real else []


def machine(run: parts.Run, part: str, asked: argparse.Namespace) -> str:
    """Where, when, with what and by which command these figures were measured, in one line."""
    model = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    packages = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    wrk = subprocess.run(["wrk", "-v"], capture_output=True, text=True).stdout.split(" [")[0]
    return (
        f"{datetime.now(UTC):%Y-%m-%d}; {os.cpu_count()} cores ({model[1] if model else platform.machine()}), which wrk"
        f" and the database share; Python {platform.python_version()}, {run.database.described()}, {packages}, {wrk}."
        f" `{command(part, asked)}`"
    )


def command(part: str, asked: argparse.Namespace) -> str:
    """The command by which others measure the same; where their folders and databases are is theirs to say."""
    words = ["python -m bench", part, f"--rounds {asked.rounds} --seconds {asked.seconds}"]
    words += [f"--most {asked.most}"] if part == "growth" else [f"--books {asked.books}"] if part != "import" else []
    words += [f"--real {asked.real.name}"] if asked.real and part in ("growth", "import") else []
    return " ".join([*words, *(["--only", *asked.only] if asked.only else [])])


def put(name: str, lines: list[str], path: Path) -> None:
    """Write a table between its two marks, or at the end of the file where it stands for the first time."""
    begin, end = f"<!-- {name}: begin -->\n", f"<!-- {name}: end -->\n"
    before, found, rest = (path.read_text(encoding="utf-8") if path.exists() else "").partition(begin)
    after = rest.partition(end)[2] if found else ""
    path.write_text(f"{before}{'' if found else chr(10)}{begin}{chr(10).join(lines)}\n{end}{after}", encoding="utf-8")


def main() -> None:
    """Measure what is asked for."""
    parser = argparse.ArgumentParser(
        prog="python -m bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("parts", nargs="*", metavar="part", help=", ".join(PARTS))
    parser.add_argument("--books", type=int, default=100_000, help="books of the database, but for growth")
    parser.add_argument("--most", type=int, default=MANY[-1], help="books of the largest database of growth")
    parser.add_argument("--real", type=Path, help="a file of MARC 21 records, for growth and import")
    parser.add_argument("--rounds", type=int, default=5, help="rounds of each server, of which the median counts")
    parser.add_argument("--seconds", type=int, default=3, help="length of a round")
    parser.add_argument(
        "--only", nargs="*", metavar="WORD", help="only tasks with such a word: list, check-out, cursor"
    )
    parser.add_argument("--short", action="store_true", help="a look: at most 10,000 books, one round of 1 s")
    parser.add_argument("--postgres", default=os.environ.get("LIBRARY_TEST_POSTGRES_URL", ""), help="a superuser's URL")
    parser.add_argument("--folder", type=Path, help="where the SQLite databases are kept")
    parser.add_argument("--into", type=Path, help="the page that takes the tables")
    asked = parser.parse_args()
    asked.parts = asked.parts or ["peers"]
    if unknown := set(asked.parts) - PARTS.keys():
        parser.error(f"there is no part {', '.join(sorted(unknown))}")
    if "import" in asked.parts and asked.real is None:
        parser.error("import needs --real FILE")
    if asked.short:
        asked.books, asked.most, asked.rounds, asked.seconds = MANY[0], MANY[0], 1, 1
    with tempfile.TemporaryDirectory() as temporary:
        folder = (asked.folder or Path(temporary)).absolute()
        folder.mkdir(parents=True, exist_ok=True)
        measure(asked, folder)


def measure(asked: argparse.Namespace, folder: Path) -> None:
    """Every part on every database."""
    for make in (SQLite, *([partial(PostgreSQL, asked.postgres)] if asked.postgres else [])):
        with make(folder) as database, tempfile.TemporaryDirectory(dir=folder) as scratch:
            run = parts.Run(database, Path(scratch), asked.seconds, asked.rounds, asked.only)
            for part in asked.parts:
                shown = []
                for line in (*PARTS[part](run, asked), machine(run, part, asked), ""):
                    sys.stdout.write(f"{line}\n")
                    sys.stdout.flush()
                    shown.append(line)
                if asked.into:
                    put(f"{part} on {database.name}", shown, asked.into)


if __name__ == "__main__":
    main()
