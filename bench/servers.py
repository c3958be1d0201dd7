"""The servers: ours and the peers, each in processes of its own, and the processor time that they have used."""

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from bench import build

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "tests"))

from served import Served, free_port  # noqa: E402

DEADLINE = 60
TICK = os.sysconf("SC_CLK_TCK")
PLENTY = "1000000000 per hour"
OPEN = {"LIBRARY_ENV": "production", "LIBRARY_PUBLIC_CATALOGUE": "true", "LIBRARY_CACHE_SECONDS": "0"}
BARE = OPEN | {"LIBRARY_LIMITS_ENABLED": "false", "LIBRARY_LOG_REQUESTS": "false"}
EVERYTHING = OPEN | {f"LIBRARY_LIMIT_{name}": PLENTY for name in ("ANONYMOUS", "PATRON", "STAFF")}
CACHED = {"LIBRARY_CACHE_SECONDS": "3600"}


@dataclass(frozen=True)
class Kind:
    """A way to answer: its name in the tables, where its application is, its settings, and what serves it."""

    name: str
    target: str = "library.serving:load"
    settings: Mapping[str, str] = field(default_factory=dict)
    # It looks for a text with LIKE, so it finds the same only where the tables are made so.
    is_tutorial: bool = False
    server: str = "granian"
    workers: int = 2
    threads: int = 8

    @property
    def interface(self) -> str:
        """FastAPI is asynchronous, all others are not."""
        return "asgi" if "fastapi" in self.target else "wsgi"

    def command(self, port: int) -> list[str]:
        """The command line that serves it."""
        words = [sys.executable, "-m", self.server, "--workers", str(self.workers), "--log-level", "warning"]
        is_factory = self.target.endswith(":load")
        if self.server == "gunicorn":
            words += ["--bind", f"127.0.0.1:{port}", "--worker-class", "gthread", "--threads", str(self.threads)]
            words.append("--no-control-socket")
            return [*words, f"{self.target}()" if is_factory else self.target]
        words += ["--port", str(port), "--interface", self.interface, "--workers-kill-timeout", "5"]
        words += ["--blocking-threads", str(self.threads)] if self.interface == "wsgi" else []
        return [*words, *(["--factory"] if is_factory else []), self.target]


OURS = Kind("library, bare", settings=BARE)
OURS_ON = Kind("library, everything on", settings=EVERYTHING)
FLOOR = Kind("floor", "bench.floor:app")
FASTAPI = Kind("FastAPI", "bench.peer_fastapi:app")
FASTAPI_ASYNC = Kind("FastAPI", "bench.peer_fastapi_async:app")
TUNED = Kind("FastAPI, tuned", "bench.peer_fastapi_tuned:app")
FLASK = Kind("Flask, as in guides", "bench.peer_flask:app", is_tutorial=True)


def fastapi(database: str) -> Kind:
    """FastAPI as it is documented for that database."""
    return FASTAPI if database.startswith("sqlite") else FASTAPI_ASYNC


def kinds(database: str) -> list[Kind]:
    """Those that are compared on a database, ours first."""
    return [OURS, OURS_ON, FLOOR, fastapi(database), TUNED, FLASK]


def environment(database: str, folder: Path, **settings: str) -> dict[str, str]:
    """What a process of ours or of a peer finds in its environment, and nothing of the settings around."""
    # A start finds compiled what an earlier one has compiled, whatever is usual here.
    strange = ("LIBRARY_", "FLASK_", "PYTHONDONTWRITEBYTECODE")
    inherited = {key: value for key, value in os.environ.items() if not key.startswith(strange)}
    return inherited | {
        "PYTHONPATH": str(ROOT),
        "BENCH_DATABASE_URL": database,
        "BENCH_SECRET": build.SECRET,
        "LIBRARY_INSTANCE": str(folder),
        "LIBRARY_DATABASE_URL": database,
        "LIBRARY_SECRET_KEY": build.SECRET,
        **settings,
    }


class Server(Served):
    """One running server; it has answered when it is made, `started_in` seconds later."""

    def __init__(self, kind: Kind, database: str, folder: Path) -> None:
        self.kind, self.port = kind, free_port()
        self.environment = environment(database, folder, **kind.settings)
        self.log = (folder / f"server-{self.port}.log").open("w+")
        command = kind.command(self.port)
        began = time.monotonic()
        self.process = subprocess.Popen(command, cwd=ROOT, env=self.environment, stdout=self.log, stderr=self.log)
        self._wait()
        self.started_in = time.monotonic() - began

    def _wait(self) -> None:
        end = time.monotonic() + DEADLINE
        while time.monotonic() < end and self.process.poll() is None:
            try:
                if self.call("GET", "/books?page_size=1").status == 200:
                    return
            except OSError:
                time.sleep(0.005)
        self.stop()
        raise SystemExit(f"{self.kind.name} does not answer:\n{self.logged()}")

    def processor_seconds(self) -> float:
        """What the server and its workers have used so far, of the user's and of the system's."""
        return sum(_used(pid) for pid in _family(self.process.pid))


def _stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat behind the name, which may hold blanks: state, parent, …"""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def _used(pid: int) -> float:
    fields = _stat(pid)
    return (int(fields[11]) + int(fields[12])) / TICK


def _most_memory(pid: int) -> float:
    """The most memory that a process has had at once, in MB."""
    status = Path(f"/proc/{pid}/status").read_text()
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    return int(found[1]) / 1024 if found else 0.0


def _family(pid: int) -> Iterator[int]:
    """A process and all that it has started."""
    yield pid
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if int(_stat(int(folder.name))[1]) == pid:
                yield from _family(int(folder.name))
        except (FileNotFoundError, ProcessLookupError):
            continue


@contextmanager
def serving(chosen: Sequence[Kind], database: str, folder: Path) -> Iterator[list[Server]]:
    """Servers that run side by side on one database."""
    running: list[Server] = []
    with ExitStack() as stack:
        for kind in chosen:
            running.append(Server(kind, database, folder))
            stack.callback(running[-1].stop)
        yield running


def command(url: str, folder: Path, arguments: Sequence[str]) -> tuple[float, float, float, str]:
    """Run Python: seconds, seconds of processor time, its most memory in MB, and what it printed."""
    given = environment(url, folder, LIBRARY_ENV="production")
    began = time.monotonic()
    with (folder / "command.out").open("w+") as out:
        process = subprocess.Popen([sys.executable, *arguments], cwd=ROOT, env=given, stdout=out)
        memory, status = 0.0, None
        while status is None:
            # What `wait4` says of memory begins with that of this process.
            memory = max(memory, _most_memory(process.pid))
            time.sleep(0.02)
            found, said, used = os.wait4(process.pid, os.WNOHANG)
            status = said if found else None
        process.returncode = os.waitstatus_to_exitcode(status)
        seconds = time.monotonic() - began
        if process.returncode:
            raise SystemExit(f"{' '.join(arguments)} ended with {process.returncode}")
        out.seek(0)
        return seconds, used.ru_utime + used.ru_stime, memory, out.read()
