"""No kept page is ever older than a write that was answered before it was asked for: several processes write and read.

A short run; `--long` reads 100,000 pages.
"""

import http.client
import json
import mmap
import struct
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from served import Served
from test_redis import own_redis, start

WRITERS, READERS = 2, 3
NUMBER = struct.Struct("<q")


class Board:
    """Numbers that several processes see at once: for each book the last edition that its writer was told is kept."""

    def __init__(self, path: Path) -> None:
        if not path.exists():
            path.write_bytes(bytes(NUMBER.size * (WRITERS + 1)))
        with path.open("r+b") as file:
            self._kept = mmap.mmap(file.fileno(), 0)

    def __getitem__(self, place: int) -> int:
        return NUMBER.unpack_from(self._kept, place * NUMBER.size)[0]

    def __setitem__(self, place: int, number: int) -> None:
        NUMBER.pack_into(self._kept, place * NUMBER.size, number)


class Caller:
    """One connection to a server."""

    def __init__(self, port: int, token: str) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        self._headers = {"Authorization": f"Bearer {token}"}

    def call(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, str, bytes]:
        """Status, tag and body."""
        sent = None if body is None else json.dumps(body)
        content = {} if body is None else {"Content-Type": "application/json"}
        said = {name.replace("_", "-"): value for name, value in headers.items()}
        self._connection.request(method, path, sent, self._headers | content | said)
        answer = self._connection.getresponse()
        return answer.status, answer.headers.get("ETag", ""), answer.read()


def write(port: int, token: str, path: Path, place: int) -> int:
    """Give a book one edition after the other until all is read; how many there were."""
    caller, board, edition = Caller(port, token), Board(path), 0
    while board[WRITERS] < READERS:
        edition += 1
        status, _, body = caller.call("PATCH", f"/books/{place + 1}", {"edition": str(edition)}, If_Match="*")
        assert status == 200, body
        board[place] = edition
        time.sleep(0.01)
    return edition


def read(port: int, token: str, path: Path, times: int) -> tuple[int, int]:
    """Read the page so often; how often it was not modified, and how often it was."""
    caller, board, tag, page, same = Caller(port, token), Board(path), '"none"', [0] * WRITERS, 0
    for _ in range(times):
        least = [board[place] for place in range(WRITERS)]
        status, tag, body = caller.call("GET", "/books?sort=title", If_None_Match=tag)
        if status == 200:
            page = [int(book["edition"]) for book in json.loads(body)]
        else:
            assert status == 304, body
            same += 1
        assert all(seen >= known for seen, known in zip(page, least, strict=True)), (page, least, status)
    return same, times - same


def storm(served: Served, folder: Path, times: int) -> None:
    token, path = served.admin(), folder / "board"
    for place in range(WRITERS):
        served.call("POST", "/books", {"title": f"Book {place}", "edition": "0"}, token)
    board = Board(path)
    with ProcessPoolExecutor(WRITERS + READERS) as processes:
        writers = [processes.submit(write, served.port, token, path, place) for place in range(WRITERS)]
        readers = [processes.submit(read, served.port, token, path, times // READERS) for _ in range(READERS)]
        try:
            same, changed = (sum(figures) for figures in zip(*(job.result() for job in readers), strict=True))
        finally:
            board[WRITERS] = READERS
        editions = [job.result() for job in writers]
    # Pages were read out of what is kept and anew, while both books went on changing.
    assert same > times / 10
    assert changed > READERS
    assert min(editions) > 5
    # Seen with -s.
    sys.stdout.write(f"{same + changed} pages read, {changed} of them changed, by {sum(editions)} writes\n")


@pytest.fixture
def times(request) -> int:
    return 100_000 if request.config.getoption("--long") else 3000


def test_no_kept_page_is_stale_in_memory(served: Served, tmp_path, times):
    storm(served, tmp_path, times)


@pytest.mark.services
def test_no_kept_page_is_stale_in_redis(new_database, tmp_path, times):
    redis = own_redis(tmp_path)
    served = start(tmp_path, new_database(), redis, 2, LIBRARY_LIMITS_ENABLED="false")
    try:
        storm(served, tmp_path, times)
    finally:
        served.stop()
        redis.end()
