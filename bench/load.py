"""The load: which requests are sent, and one round of them by wrk."""

import json
import random
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import jwt

from bench import build, catalogue
from bench.servers import Server

SCRIPT = Path(__file__).parent / "wrk.lua"
# So many requests are drawn; pages up to here, in searches up to there.
LINES, PAGES, PAGES_FOUND, SIZE = 10_000, 200, 3, 20
# Seconds of the first round, which does not count, and of a round of which nothing was answered at first.
WARMING, LONGEST = 1, 60
Line = tuple[int, str, str, str, str]
Settle = Callable[[Server], None]


@dataclass(frozen=True)
class Task:
    """What is asked for in a run: requests as lines, by so many threads and connections of wrk."""

    name: str
    lines: Sequence[Line]
    threads: int = 2
    connections: int = 16
    # Of a storm some may be turned away: how many is a figure of it.
    is_storm: bool = False

    def written(self, path: Path) -> Path:
        """Its requests in a file."""
        path.write_text("".join("\t".join(map(str, line)) + "\n" for line in self.lines), encoding="utf-8")
        return path


@dataclass(frozen=True)
class Figures:
    """One round, or the medians of several: answers a second, ms, µs of processor time a request, % turned away."""

    per_second: float
    p50: float
    p99: float
    processor: float
    refused: float

    @classmethod
    def of(cls, rounds: list["Figures"]) -> "Figures":
        """The medians."""
        return cls(*(median(getattr(one, name) for one in rounds) for name in cls.__dataclass_fields__))


def token(user_id: int, role: str) -> str:
    """An access token of a user; their session has the same number (build.py)."""
    now = int(time.time())
    said = {"sub": str(user_id), "role": role, "iat": now, "exp": now + 86_400, "jti": f"bench-{user_id}"}
    said |= {"aud": "library", "iss": "library", "typ": "access", "sid": user_id, "ver": 1}
    return jwt.encode(said, build.SECRET, "HS256")


def get(path: str, bearer: str = "") -> Line:
    """A read, sent by any thread."""
    return 0, "GET", path, bearer, ""


def searches(words: Sequence[str], most: int = PAGES_FOUND) -> list[Line]:
    """Searches for words that are drawn, and pages of what is found; hardly two are spelt alike."""
    chance = random.Random(catalogue.SEED)
    drawn = ((_in_some_case(chance.choice(words), chance), chance.randint(1, most)) for _ in range(LINES))
    return [get(f"/books?q={word}&page={page}&page_size={SIZE}") for word, page in drawn]


def _in_some_case(word: str, chance: random.Random) -> str:
    return "".join(chance.choice((letter, letter.upper())) for letter in word)


def reads(books: int, words: Sequence[str] = ()) -> Iterator[Task]:
    """The tasks that change nothing; whatever is asked for is drawn with a fixed seed."""
    chance = random.Random(catalogue.SEED)
    pages, readers = min(PAGES, books // SIZE), [token(key, "patron") for key in range(1, build.READERS + 1)]
    drawn = (chance.randint(1, pages) for _ in range(LINES))
    yield Task("list of 20", [get(f"/books?page={page}&page_size={SIZE}") for page in drawn])
    yield Task("one book", [get(f"/books/{chance.randint(1, books)}") for _ in range(LINES)])
    yield Task("search", searches(words, 1) if words else searches(catalogue.rare_words(books)))
    yield Task("me", [get("/users/me", chance.choice(readers)) for _ in range(LINES)])


def desk(desks: int = 8, is_storm: bool = False) -> Task:
    """Each desk, a thread of its own, lends its own copies to its own patrons and takes them back at once."""
    lines: list[Line] = []
    served = build.BORROWERS // desks
    for copy in range(1, build.AT_THE_DESK + 1):
        at = copy % desks
        librarian = token(build.FIRST_LIBRARIAN + at, "librarian")
        patron = build.FIRST_BORROWER + at * served + copy // desks % served
        scanned = {"copy_barcode": build.barcode(copy)}
        lent = json.dumps(scanned | {"patron_barcode": build.card(patron)})
        lines.append((at + 1, "POST", "/loans", librarian, lent))
        lines.append((at + 1, "POST", "/check-ins", librarian, json.dumps(scanned)))
    return Task("check-out + return", lines, desks, desks, is_storm)


EMPTY = Task("empty answer", [get("/empty")])
CACHED_LIST = Task("cached list", [get(f"/books?page=1&page_size={SIZE}")])


def round_of(server: Server, task: Task, file: Path, seconds: int) -> Figures:
    """Let wrk send the requests for some seconds, longer where none is answered; one answered badly ends the run."""
    before = server.processor_seconds()
    options = ["-t", str(task.threads), "-c", str(task.connections), "-d", f"{seconds}s", "--timeout", "30s"]
    command = ["wrk", *options, "-s", str(SCRIPT), f"http://127.0.0.1:{server.port}", "--", str(file)]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found: dict[str, Any] = json.loads(printed.splitlines()[-1])
    if not found["requests"] and seconds < LONGEST:
        return round_of(server, task, file, seconds * 4)
    bad = found["refused"] + found["broken"]
    if (bad and not task.is_storm) or not found["requests"]:
        raise SystemExit(f"{server.kind.name}, {task.name}: {found}\n{server.logged()[-3000:]}")
    processor = (server.processor_seconds() - before) / found["requests"] * 1e6
    good = (found["requests"] - bad) / found["seconds"]
    return Figures(good, found["p50"], found["p99"], processor, bad / found["requests"] * 100)


def interleaved(
    turns: Sequence[tuple[Server, Task]], folder: Path, seconds: int, rounds: int, settle: Settle
) -> list[Figures]:
    """The medians of each turn's rounds; in every round each server has its turn, another one first."""
    files = [task.written(folder / f"{at}.txt") for at, (_, task) in enumerate(turns)]
    found: list[list[Figures]] = [[] for _ in turns]
    for number in range(-1, rounds):
        for step in range(len(turns)):
            at = (number + step) % len(turns)
            server, task = turns[at]
            figures = round_of(server, task, files[at], seconds if number >= 0 else WARMING)
            settle(server)
            if number >= 0:
                found[at].append(figures)
    return [Figures.of(one) for one in found]
