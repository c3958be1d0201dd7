"""The application behind a real WSGI server, in processes of its own, spoken to over a socket."""

import itertools
import json
import os
import shlex
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from forked import Command

ROOT = Path(__file__).parent.parent
DEADLINE = 60
TWENTY = Path(__file__).parent / "data" / "twenty.mrc"


def free_port() -> int:
    """A port nobody listens on just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Answer:
    """Status, headers and body of an answer."""

    def __init__(self, status: int, headers: Any, data: bytes) -> None:
        self.status, self.headers, self.data = status, headers, data

    @property
    def json(self) -> Any:
        return json.loads(self.data)


class Served:
    """One running server on a database of its own; `flask(…)` runs a command beside it."""

    application = "library.serving:load"

    def __init__(self, instance: Path, database_url: str, workers: int = 2, **settings: str) -> None:
        self.port = free_port()
        inherited = {key: value for key, value in os.environ.items() if not key.startswith(("LIBRARY_", "FLASK_"))}
        self.environment = inherited | {
            "LIBRARY_ENV": "development",
            "LIBRARY_INSTANCE": str(instance),
            "DATABASE_URL": database_url,
            "LIBRARY_LOG_REQUESTS": "false",
        }
        if database_url.startswith("sqlite"):
            # Writers queue, and no machine of the tests is promised to be quick.
            self.environment["LIBRARY_LOCK_TIMEOUT_SECONDS"] = "60"
        self.environment |= settings
        self.flask("db", "upgrade")
        self.log = (instance / "server.log").open("w+")
        options = ["--interface", "wsgi", "--factory", "--port", str(self.port), "--workers", str(workers)]
        options += ["--blocking-threads", "8", "--workers-kill-timeout", "5"]
        command = [sys.executable, "-m", "granian", *options, self.application]
        self.process = subprocess.Popen(command, cwd=ROOT, env=self.environment, stdout=self.log, stderr=self.log)
        self._wait()

    def _wait(self) -> None:
        end = time.monotonic() + DEADLINE
        while time.monotonic() < end and self.process.poll() is None:
            try:
                if self.call("GET", "/health/ready").status == 200:
                    return
            except OSError:
                time.sleep(0.05)
        self.stop()
        raise AssertionError(f"the server does not answer:\n{(Path(self.log.name)).read_text()}")

    def stop(self) -> None:
        """End the server and its workers."""
        self.process.terminate()
        self.process.wait(30)
        self.log.close()

    def flask(self, *arguments: str) -> str:
        """Run a command of the project on the same database; what it printed."""
        status, printed, complained = Command(("--app", "wsgi", *arguments), self.environment).end(300)
        assert status == 0, printed + complained
        return printed

    def call(self, method: str, path: str, body: Any = None, token: str = "", headers: Any = ()) -> Answer:
        """One request over the socket."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", data, dict(headers), method=method)
        if data is not None:
            request.add_header("Content-Type", "application/json")
        if token:
            request.add_header("Authorization", f"Bearer {token}")
        return _sent(request)

    def raw(self, sent: bytes) -> bytes:
        """Send these very bytes; all that comes back until the server hangs up."""
        with socket.create_connection(("127.0.0.1", self.port), DEADLINE) as connection:
            connection.sendall(sent)
            return b"".join(iter(lambda: connection.recv(65536), b""))

    def logged(self) -> str:
        """What the server has written so far, once it writes no more: lines of the log are written in bundles."""
        log, said, quiet_since = Path(self.log.name), "", time.monotonic()
        while time.monotonic() < quiet_since + 1:
            time.sleep(0.05)
            if log.read_text() != said:
                said, quiet_since = log.read_text(), time.monotonic()
        return said

    def log_in(self, name: str, password: str) -> str:
        """The access token of an account."""
        answer = self.call("POST", "/users/login", {"email": name, "password": password})
        assert answer.status == 200, answer.data
        return answer.json["access_token"]

    def admin(self, password: str = "correct horse battery") -> str:
        """Make the first admin from the command line; their token."""
        self.flask("users", "create-admin", "--username", "root", "--email", "root@example.org", "--password", password)
        return self.log_in("root", password)

    def curl(self, line: str) -> Answer:
        """Run a curl call as it is printed, against this server: with curl where it is installed, else by hand."""
        words = shlex.split(line.replace("localhost:5000", f"127.0.0.1:{self.port}"))
        if shutil.which("curl"):
            command = [*words[:1], "-s", "-w", "\n%{http_code}", *words[1:]]
            printed = subprocess.run(command, capture_output=True, check=True, timeout=30).stdout
            body, _, status = printed.rpartition(b"\n")
            return Answer(int(status), {}, body)
        options = list(itertools.pairwise(words))
        url = next(word for word in words if word.startswith("127.0.0.1"))
        data = next((value.encode() for option, value in options if option == "-d"), None)
        headers = dict(value.split(": ", 1) for option, value in options if option == "-H")
        return _sent(urllib.request.Request(f"http://{url}", data, headers))


def _sent(request: urllib.request.Request) -> Answer:
    try:
        with urllib.request.urlopen(request, timeout=30) as response:
            return Answer(response.status, response.headers, response.read())
    except urllib.error.HTTPError as error:
        with error:
            return Answer(error.code, error.headers, error.read())
