"""Measures the times that docs/security.md shows: who is told apart, what an outage or a flood costs.

    python bench/measure_security.py [--rounds 100] [--database postgresql://…] [--into docs/security.md]

It starts servers and a Redis of its own (redis-server must be installed) and prints tables in Markdown. `--database`
names an empty database to measure on beside one of SQLite. With `--into`, the tables take the place of what stands
between the lines `<!-- measured: begin -->` and `<!-- measured: end -->` of that file. The kinds of a comparison are
asked in turn, in another order each round, so that whatever else the machine does falls on all of them.
"""

import argparse
import http.client
import itertools
import json
import os
import platform
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from statistics import median, quantiles
from typing import Any

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "tests"))

from served import Served, free_port  # noqa: E402

PASSWORD = "wide river under thin ice"
WRONG = "narrow river under thick ice"
FLOOD = 32
# Seconds: over how many the calls of an outage are spread, and after how many a server has found Redis again.
SPREAD, PAUSE = 7, 2.5
Call = Callable[[], int]
addresses = (f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}" for number in itertools.count(1))


class Caller:
    """One connection that is kept open; each call comes from an address of its own, so that no limit is reached."""

    def __init__(self, served: Served) -> None:
        self.port, self.connection = served.port, http.client.HTTPConnection("127.0.0.1", served.port, timeout=60)

    def call(self, method: str, path: str, body: Any = None, token: str = "", address: str = "") -> int:
        """The status of a call, read to its end."""
        headers = {"X-Forwarded-For": address or next(addresses)}
        headers |= {"Authorization": f"Bearer {token}"} if token else {}
        headers |= {"Content-Type": "application/json"} if body is not None else {}
        try:
            self.connection.request(method, path, None if body is None else json.dumps(body), headers)
            answer = self.connection.getresponse()
            answer.read()
        except (http.client.HTTPException, ConnectionError):
            self.connection.close()
            raise
        return answer.status


def timed(call: Call) -> tuple[float, int]:
    """Milliseconds and status of a call."""
    began = time.perf_counter()
    status = call()
    return (time.perf_counter() - began) * 1000, status


def in_turn(kinds: Mapping[str, Call], rounds: int) -> dict[str, tuple[list[float], set[int]]]:
    """The times and statuses of each kind, after a few rounds that do not count."""
    found: dict[str, tuple[list[float], set[int]]] = {kind: ([], set()) for kind in kinds}
    for number in range(-3, rounds):
        for kind in random.sample(list(kinds), len(kinds)):
            milliseconds, status = timed(kinds[kind])
            if number >= 0:
                found[kind][0].append(milliseconds)
                found[kind][1].add(status)
    return found


def comparison(title: str, kinds: Mapping[str, Call], rounds: int) -> Iterator[str]:
    """A table of medians, each beside the first one's."""
    yield from (f"| {title} | status | median, ms | ratio |", "| --- | --- | --- | --- |")
    first = None
    for kind, (times, statuses) in in_turn(kinds, rounds).items():
        first = first or median(times)
        said = ", ".join(map(str, sorted(statuses)))
        yield f"| {kind} | {said} | {median(times):.1f} | {median(times) / first:.3f} |"
    yield ""


@contextmanager
def own_redis(folder: Path) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """A Redis that may be stopped and hung, and its address."""
    port = free_port()
    command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        yield process, f"redis://127.0.0.1:{port}/0"
    finally:
        process.kill()
        process.wait()


@contextmanager
def server(folder: Path, database: str, redis: str, **settings: str) -> Iterator[Served]:
    """A server of one worker that believes one proxy."""
    instance = folder / f"instance-{free_port()}"
    instance.mkdir()
    url = database or f"sqlite:///{instance / 'library.sqlite3'}"
    settings |= {"LIBRARY_REDIS_URL": redis, "LIBRARY_TRUSTED_PROXIES": "1", "LIBRARY_LIMIT_STAFF": "9999999 per hour"}
    served = Served(instance, url, 1, **settings)
    try:
        yield served
    finally:
        served.stop()


def furnish(served: Served) -> tuple[Caller, str]:
    """Accounts of every kind that a log-in meets; a caller and an admin's token."""
    caller, token = Caller(served), served.admin(PASSWORD)
    for name in ("known", "disabled"):
        body = {"username": name, "email": f"{name}@example.org", "password": PASSWORD}
        assert caller.call("POST", "/users", body, token) == 201
    bare = {"username": "without", "email": "without@example.org"}
    assert caller.call("POST", "/users", bare, token) == 201
    (row,) = served.call("GET", "/users?q=disabled", token=token).json
    change = served.call("PATCH", f"/users/{row['id']}", {"active": False}, token, {"If-Match": "*"})
    assert change.status == 200, change.data
    unverified = {"username": "unverified", "email": "unverified@example.org", "password": PASSWORD}
    assert caller.call("POST", "/users/register", unverified) == 202
    for number in range(20):
        assert caller.call("POST", "/books", {"title": f"Book {number}"}, token) == 201
    return caller, token


def told_apart(served: Served, caller: Caller, rounds: int) -> Iterator[str]:
    """Log-in, a forgotten password and registration: whether time tells what the answer does not."""

    def log_in(name: str, password: str, address: str = "") -> Call:
        return lambda: caller.call("POST", "/users/login", {"email": name, "password": password}, address=address)

    fresh = itertools.count(1)
    kinds = {
        "unknown": lambda: log_in(f"nobody{next(fresh)}", WRONG)(),
        "known, wrong password": log_in("known", WRONG),
        "disabled, wrong password": log_in("disabled", WRONG),
        "disabled, right password": log_in("disabled", PASSWORD),
        "without a password": log_in("without", WRONG),
        "address not verified, wrong password": log_in("unverified", WRONG),
        "address not verified, right password": log_in("unverified", PASSWORD),
    }
    yield from comparison("log-in", kinds, rounds)
    locked = {"unknown": log_in("nobody", WRONG, "10.255.0.1"), "known": log_in("known", WRONG, "10.255.0.1")}
    for call in locked.values():
        for _ in range(5):
            call()
    yield from comparison("log-in, too many before", locked, rounds)

    def forgotten(name: str) -> Call:
        return lambda: caller.call("POST", "/password-resets", {"email": f"{name}@example.org"})

    kinds = {"unknown": lambda: forgotten(f"nobody{next(fresh)}")()}
    kinds |= {name: forgotten(name) for name in ("known", "disabled", "without", "unverified")}
    yield from comparison("forgotten password", kinds, rounds)

    def register(name: str | None, email: str | None) -> Call:
        def call() -> int:
            free = f"somebody{next(fresh)}"
            body = {"username": name or free, "email": f"{email or free}@example.org", "password": PASSWORD}
            return caller.call("POST", "/users/register", body)

        return call

    kinds = {"both free": register(None, None), "name taken": register("known", None)}
    kinds |= {"address taken": register(None, "known"), "both taken": register("known", "known")}
    yield from comparison("registration, addresses are verified", kinds, rounds)


def without_redis(caller: Caller, token: str, process: subprocess.Popen[bytes], rounds: int) -> Iterator[str]:
    """What calls take while Redis runs, while it hangs, and once it is gone."""
    calls: dict[str, Call] = {
        "list of books": lambda: caller.call("GET", "/books", token=token),
        "log-in": lambda: caller.call("POST", "/users/login", {"email": "nobody", "password": WRONG}),
    }
    yield from ("| Redis | call | status | median, ms | longest, ms | longest added, ms |", "| --- " * 6 + "|")
    usual: dict[str, float] = {}
    for call in calls.values():
        call()
    for state, sign in (("runs", None), ("hangs (SIGSTOP)", signal.SIGSTOP), ("is gone", signal.SIGKILL)):
        for name, call in calls.items():
            if sign:
                process.send_signal(sign)
            times, statuses = [], set()
            for _ in range(rounds):
                milliseconds, status = timed(call)
                times.append(milliseconds)
                statuses.add(status)
                # So that the server has time enough to ask for Redis again, every two seconds.
                time.sleep(SPREAD / rounds)
            usual.setdefault(name, median(times))
            said = ", ".join(map(str, sorted(statuses)))
            added = max(times) - usual[name]
            yield f"| {state} | {name} | {said} | {median(times):.1f} | {max(times):.0f} | {added:.0f} |"
            if sign == signal.SIGSTOP:
                process.send_signal(signal.SIGCONT)
                time.sleep(PAUSE)
                call()
    yield ""


def in_a_flood(served: Served, token: str, rounds: int) -> Iterator[str]:
    """What a reader waits while many log in at once, each from another address, and nothing limits them."""
    caller, over = Caller(served), False
    statuses: list[int] = []

    def attack() -> None:
        attacker = Caller(served)
        while not over:
            body = {"email": f"name{random.random()}", "password": WRONG}
            statuses.append(attacker.call("POST", "/users/login", body))

    def read() -> list[float]:
        times = [timed(lambda: caller.call("GET", "/books", token=token)) for _ in range(rounds * 3)]
        assert {status for _, status in times} == {200}
        return [milliseconds for milliseconds, _ in times]

    yield from ("| readers | median, ms | 95 of 100 below, ms | longest, ms |", "| --- " * 4 + "|")
    alone = read()
    with ThreadPoolExecutor(FLOOD) as threads:
        try:
            flood = [threads.submit(attack) for _ in range(FLOOD)]
            time.sleep(1)
            crowded = read()
        finally:
            over = True
    for one in flood:
        one.result()
    for name, times in (("alone", alone), (f"while {FLOOD} log in without a pause", crowded)):
        yield f"| {name} | {median(times):.1f} | {quantiles(times, n=20)[-1]:.1f} | {max(times):.0f} |"
    shares = ", ".join(f"{statuses.count(status)} × {status}" for status in sorted(set(statuses)))
    yield from ("", f"The flood was answered: {shares}.", "")


def measure(database: str, rounds: int) -> Iterator[str]:
    """All tables of one kind of database."""
    yield from (f"### {'PostgreSQL' if database else 'SQLite'}", "")
    with tempfile.TemporaryDirectory() as name, own_redis(Path(name)) as (process, redis):
        outbox = {"LIBRARY_REQUIRE_EMAIL_VERIFICATION": "true", "LIBRARY_MAIL_URL": "console:"}
        with server(Path(name), database, redis, **outbox) as served:
            caller, token = furnish(served)
            yield from told_apart(served, caller, rounds)
            yield from in_a_flood(served, token, rounds)
            # The server has closed the first caller's connection by now: it was silent through the flood.
            yield from without_redis(Caller(served), token, process, rounds)


def put(lines: list[str], path: Path) -> None:
    """Write the tables between the two marks of a file."""
    before, begin, rest = path.read_text(encoding="utf-8").partition("<!-- measured: begin -->\n")
    _, end, after = rest.partition("<!-- measured: end -->")
    if not (begin and end):
        sys.exit(f"{path} has not both marks, <!-- measured: begin --> and <!-- measured: end -->")
    path.write_text(before + begin + "\n" + "\n".join(lines) + end + after, encoding="utf-8")


def main() -> None:
    """Measure and show."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=100, help="calls of each kind")
    parser.add_argument("--database", default="", help="URL of an empty PostgreSQL database, to measure on too")
    parser.add_argument("--into", type=Path, help="the page whose marked place takes the tables")
    asked = parser.parse_args()
    lines = []
    machine = (
        f"Python {platform.python_version()}, {os.cpu_count()} cores, one worker; {asked.rounds} calls of each kind."
    )
    tables = [measure("", asked.rounds), *([measure(asked.database, asked.rounds)] if asked.database else [])]
    for line in itertools.chain((machine, ""), *tables):
        sys.stdout.write(f"{line}\n")
        lines.append(line)
    if asked.into:
        put(lines, asked.into)


if __name__ == "__main__":
    main()
