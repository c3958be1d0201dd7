"""Redis: what several workers share through it, and what goes on without it."""

import os
import pickle
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from served import Served, free_port

from library import create_app
from library.config import ConfigurationError
from library.extensions import Storage, cache

PASSWORD = "correct horse battery"
DEADLINE = 60
Serve = Callable[..., Served]


class OwnRedis:
    """A Redis that a test may kill, hang and fill; what `.ci/with-services` started is left alone."""

    def __init__(self, folder: Path) -> None:
        self.port, self.folder = free_port(), folder
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self.socket = folder / "redis.socket"
        self.start()

    def start(self) -> None:
        """Start it, empty, on the port it always had, and wait for its first answer."""
        options = ["--port", str(self.port), "--bind", "127.0.0.1", "--unixsocket", str(self.socket), "--save", ""]
        command = ["redis-server", *options, "--dir", str(self.folder)]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        eventually(self._answers)

    def _answers(self) -> bool:
        from redis import ConnectionError as NoConnection

        try:
            return self.ask(lambda client: client.ping())
        except NoConnection:
            return False

    def ask(self, question: Callable[[Any], Any]) -> Any:
        """What a client of its own answers to a question."""
        from redis import Redis  # an extra: these tests are collected where it is missing

        with Redis.from_url(self.url) as client:
            return question(client)

    def keys(self, pattern: str) -> list[bytes]:
        """The names of what it holds."""
        return sorted(self.ask(lambda client: client.keys(pattern)))

    def end(self) -> None:
        """Kill it, as a crash would."""
        self.process.kill()
        self.process.wait(30)

    def fail(self, way: str) -> None:
        """Let it die, hang (it accepts connections and never answers), or refuse every write for want of memory."""
        if way == "killed":
            self.end()
        elif way == "hung":
            self.process.send_signal(signal.SIGSTOP)
        else:
            self.ask(lambda client: client.config_set("maxmemory", "1"))

    def recover(self, way: str) -> None:
        """Take back what `fail` did."""
        if way == "killed":
            self.start()
        elif way == "hung":
            self.process.send_signal(signal.SIGCONT)
        else:
            self.ask(lambda client: client.config_set("maxmemory", "0"))


def eventually(seen: Callable[[], Any]) -> None:
    """Ask until it is so."""
    end = time.monotonic() + DEADLINE
    while not seen():
        assert time.monotonic() < end, "it never came to that"
        time.sleep(0.05)


def own_redis(folder: Path) -> OwnRedis:
    """A Redis of the tests' own; a machine without one skips and says so, CI does not."""
    if not os.environ.get("LIBRARY_TEST_REDIS_URL"):
        sentence = "LIBRARY_TEST_REDIS_URL is not set: run through .ci/with-services redis --"
        pytest.fail(sentence) if os.environ.get("CI") else pytest.skip(sentence)
    return OwnRedis(folder)


def start(folder: Path, database_url: str, redis: OwnRedis, workers: int, **settings: str) -> Served:
    """A server on that Redis, with limits small enough to reach."""
    common = {
        "LIBRARY_REDIS_URL": redis.url,
        "LIBRARY_SECRET_KEY": "one key for all workers of a library",
        "LIBRARY_LIMIT_ANONYMOUS": "100 per day",
    }
    return Served(folder, database_url, workers, **common | settings)


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[OwnRedis]:
    redis = own_redis(tmp_path)
    yield redis
    redis.end()


@pytest.fixture
def serve(new_database, tmp_path: Path, redis: OwnRedis) -> Iterator[Serve]:
    """Call it with settings for a server, of one worker, on a database of its own and the test's Redis."""
    running: list[Served] = []

    def serve(workers: int = 1, **settings: str) -> Served:
        folder = tmp_path / f"instance-{len(running)}"
        folder.mkdir()
        running.append(start(folder, new_database(), redis, workers, **settings))
        return running[-1]

    yield serve
    for served in running:
        served.stop()


@dataclass
class Desks:
    """Two servers of one library, the first with two workers: a test can choose another worker."""

    redis: OwnRedis
    both: list[Served]
    token: str


@pytest.fixture(scope="module")
def running_desks(new_database, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desks]:
    redis, database_url = own_redis(tmp_path_factory.mktemp("redis")), new_database()
    both = [start(tmp_path_factory.mktemp("instance"), database_url, redis, workers) for workers in (2, 1)]
    yield Desks(redis, both, both[0].admin(PASSWORD))
    for desk in both:
        desk.stop()
    redis.end()


@pytest.fixture
def desks(running_desks: Desks) -> Desks:
    """The desks of a library that has counted and kept nothing yet; books of other tests stand in it."""
    running_desks.redis.ask(lambda client: client.flushdb())
    return running_desks


def log_in(served: Served, password: str, name: str = "root") -> int:
    """The status of a log-in."""
    return served.call("POST", "/users/login", {"email": name, "password": password}).status


def in_parallel(calls: int, call: Callable[[int], Any]) -> list[Any]:
    """The sorted answers of that many calls, eight at a time."""
    with ThreadPoolExecutor(8) as threads:
        return sorted(threads.map(call, range(calls)))


@pytest.mark.services
def test_a_limit_holds_over_workers(desks: Desks):
    both = desks.both
    statuses = in_parallel(160, lambda number: both[number % 2].call("GET", "/library").status)
    assert statuses == [200] * 100 + [429] * 60
    over = both[1].call("GET", "/library")
    assert (over.status, over.headers["X-RateLimit-Remaining"]) == (429, "0")
    assert 0 < int(over.headers["Retry-After"]) <= 86400


@pytest.mark.services
def test_log_ins_are_counted_and_cleared_over_workers(desks: Desks):
    both = desks.both
    for success in (both[0], both[1], both[0]):
        assert [log_in(both[number % 2], "wrong") for number in range(4)] == [401] * 4
        assert log_in(success, PASSWORD) == 200
    assert in_parallel(20, lambda number: log_in(both[number % 2], "wrong")) == [401] * 5 + [429] * 15
    assert [log_in(desk, PASSWORD) for desk in both] == [429, 429]
    assert log_in(both[1], "wrong", "somebody else") == 401


@pytest.mark.services
@pytest.mark.parametrize("proxies", [0, 1, 2])
def test_over_workers_and_behind_proxies_each_address_counts_for_itself(serve: Serve, proxies):
    served = serve(2, LIBRARY_TRUSTED_PROXIES=str(proxies), LIBRARY_LIMIT_ANONYMOUS="20 per day")

    def status(address: str, number: int) -> int:
        # Each proxy adds who called it, in a line of its own or behind what there is; none of them is on this machine.
        chain = [address, "10.9.9.1"][:proxies]
        said = [f"198.51.100.{number}", *chain]
        lines = [f"X-Forwarded-For: {one}" for one in said] if number % 2 else [f"X-Forwarded-For: {', '.join(said)}"]
        others = [f"{name}: 198.51.100.{number}" for name in ("X-Real-IP", "True-Client-IP", "CF-Connecting-IP")]
        lines += [*others, f"Forwarded: for=198.51.100.{number}", "Connection: close", "Host: localhost"]
        answer = served.raw("\r\n".join(["GET /library HTTP/1.1", *lines, "", ""]).encode())
        return int(answer.split()[1])

    assert in_parallel(32, lambda number: status("203.0.113.9", number)) == [200] * 20 + [429] * 12
    neighbours = [status("203.0.113.10", number) for number in range(2)]
    assert neighbours == ([200, 200] if proxies else [429, 429])


@pytest.mark.services
def test_neither_addresses_nor_names_stand_in_redis(serve: Serve, redis: OwnRedis):
    served = serve(LIBRARY_TRUSTED_PROXIES="1")
    body, said = {"email": "canary@example.org", "password": "wrong"}, {"X-Forwarded-For": "203.0.113.99"}
    assert [served.call("POST", "/users/login", body, headers=said).status for _ in range(6)] == [401] * 5 + [429]
    keys = redis.keys("*")
    assert len(keys) == 2
    dumped = keys + [redis.ask(lambda client, key=key: client.dump(key)) for key in keys]
    for word in (b"canary", b"example", b"203.0.113"):
        assert not [one for one in dumped if word in one]
    assert all(0 < redis.ask(lambda client, key=key: client.ttl(key)) <= 600 for key in keys)


@pytest.mark.services
def test_a_flood_of_log_ins_leaves_the_readers_theirs(serve: Serve):
    served = serve(LIBRARY_TRUSTED_PROXIES="1")
    token = served.admin(PASSWORD)

    def attack(number: int) -> int:
        # Each from an address of its own: no limit stops them.
        said = {"X-Forwarded-For": f"203.0.113.{number}"}
        return served.call("POST", "/users/login", {"email": f"name {number}", "password": "x"}, headers=said).status

    with ThreadPoolExecutor(32) as threads:
        flood = [threads.submit(attack, number) for number in range(160)]
        read = [served.call("GET", "/books", token=token).status for _ in range(20)]
    statuses = {one.result() for one in flood}
    assert read == [200] * 20
    assert statuses == {401, 429}
    assert log_in(served, PASSWORD) == 200


@pytest.mark.services
def test_a_page_made_by_one_worker_is_served_by_the_others(desks: Desks):
    both, token, path = desks.both, desks.token, "/books?q=printed"
    both[0].call("POST", "/books", {"title": "Printed"}, token)
    cold = both[0].call("GET", path, token=token)
    [key] = desks.redis.keys("*:page:*")
    # What stands in no database can be read only by those who ask Redis and not for books.
    planted = desks.redis.ask(lambda client: client.get(key)).replace(b"Printed", b"Planted")
    desks.redis.ask(lambda client: client.set(key, planted, keepttl=True))
    for desk in both * 10:
        warm = desk.call("GET", path, token=token)
        assert ([book["title"] for book in warm.json], warm.headers["ETag"]) == (["Planted"], cold.headers["ETag"])
        assert warm.headers["X-Total-Count"] == "1"
    assert 0 < desks.redis.ask(lambda client: client.ttl(key)) <= 60


@pytest.mark.services
def test_a_write_is_never_followed_by_a_stale_read_on_another_worker(desks: Desks):
    both, token = desks.both, desks.token

    def newest() -> list[str]:
        path = "/books?q=volume&sort=-title&page_size=1"
        return [desk.call("GET", path, token=token).json[0]["title"] for desk in both]

    for number in range(50):
        writer, other = both[number % 2], both[1 - number % 2]
        book = writer.call("POST", "/books", {"title": f"Volume {number:02}"}, token)
        assert newest() == [f"Volume {number:02}"] * 2
        tag = {"If-Match": book.headers["ETag"]}
        changed = other.call("PATCH", book.headers["Location"], {"title": f"Volume {number:02}, revised"}, token, tag)
        assert (changed.status, newest()) == (200, [f"Volume {number:02}, revised"] * 2)


@pytest.mark.services
def test_reads_in_the_middle_of_writes_are_never_stale(desks: Desks):
    both, token = desks.both, desks.token
    acknowledged: list[int] = []

    def write() -> None:
        for number in range(50):
            acknowledged.append(both[number % 2].call("POST", "/books", {"title": f"Stream {number}"}, token).status)

    def stale_reads(number: int) -> list[tuple[int, int]]:
        stale = []
        while not writing.done():
            expected = len(acknowledged)
            seen = int(both[number % 2].call("GET", "/books?q=stream", token=token).headers["X-Total-Count"])
            if seen < expected:
                stale.append((seen, expected))
        return stale

    with ThreadPoolExecutor(7) as threads:
        writing = threads.submit(write)
        readers = [threads.submit(stale_reads, number) for number in range(6)]
    assert [reader.result() for reader in readers] == [[]] * 6
    assert acknowledged == [201] * 50


@pytest.mark.services
def test_two_libraries_on_one_redis_know_nothing_of_each_other(serve: Serve, redis: OwnRedis):
    libraries = [serve(LIBRARY_LIMIT_ANONYMOUS="5 per day", LIBRARY_LIMIT_STAFF="9 per hour") for _ in range(2)]
    tokens = [library.admin() for library in libraries]
    for library, token, title in zip(libraries, tokens, ("Ours", "Theirs"), strict=True):
        assert library.call("POST", "/books", {"title": title}, token).status == 201
        for _ in range(2):
            assert [book["title"] for book in library.call("GET", "/books", token=token).json] == [title]
    assert len(redis.keys("*:page:*")) == 2
    # Both have an account 1 and a stranger at 127.0.0.1: each with a count of their own.
    first, second = libraries
    assert [first.call("GET", "/library").status for _ in range(6)] == [200] * 5 + [429]
    assert [first.call("GET", "/users/me", token=tokens[0]).status for _ in range(8)] == [200] * 6 + [429] * 2
    assert second.call("GET", "/library").status == second.call("GET", "/users/me", token=tokens[1]).status == 200


@pytest.mark.services
def test_applications_in_one_process_count_for_themselves(migrated, redis: OwnRedis):
    apps = [migrated(LIMITS_ENABLED=True, LIMIT_ANONYMOUS="2 per day", REDIS_URL=url) for url in (redis.url, "", "")]
    for app in apps:
        assert [app.test_client().get("/library").status_code for _ in range(3)] == [200, 200, 429]
    assert len(redis.keys("*anonymous*")) == 1


@pytest.mark.services
def test_redis_behind_a_socket_of_the_file_system(migrated, redis: OwnRedis):
    app = migrated(LIMITS_ENABLED=True, LIMIT_ANONYMOUS="2 per day", REDIS_URL=f"unix://{redis.socket}")
    assert [app.test_client().get("/library").status_code for _ in range(3)] == [200, 200, 429]
    assert len(redis.keys("*anonymous*")) == 1


class Planted:
    """Pickled, it makes a file when it is read."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


@pytest.mark.services
def test_what_others_write_to_redis_is_never_run(desks: Desks, tmp_path: Path):
    desk, token, path = desks.both[0], desks.token, "/books?q=bound"
    desk.call("POST", "/books", {"title": "Bound"}, token)
    desk.call("GET", path, token=token)
    [key] = desks.redis.keys("*:page:*")
    trace = tmp_path / "it was run"
    for planted in (b"!" + pickle.dumps(Planted(trace)), b"1", b'["x"]\n[]', b""):
        desks.redis.ask(lambda client, value=planted: client.set(key, value))
        answer = desk.call("GET", path, token=token)
        assert (answer.status, [book["title"] for book in answer.json]) == (200, ["Bound"])
    assert not trace.exists()


def told(served: Served) -> list[str]:
    """What the server's log says of its storage, in order."""
    return re.findall(r"storage: (no answer|answers again)", Path(served.log.name).read_text())


def uses(redis: OwnRedis, served: Served, token: str, page_size: int) -> bool:
    """Whether a page of that size, asked for now, is kept in Redis, where it was not before."""
    before = redis.keys("*:page:*")
    assert served.call("GET", f"/books?page_size={page_size}", token=token).status == 200
    return len(redis.keys("*:page:*")) == len(before) + 1


@pytest.mark.services
@pytest.mark.parametrize("way", ["killed", "hung", "full"])
def test_without_redis_all_is_answered_and_limits_hold_in_memory(serve: Serve, redis: OwnRedis, way):
    served = serve()
    token = served.admin(PASSWORD)
    assert uses(redis, served, token, 5)
    for outage in (1, 2):
        redis.fail(way)
        for number in range(10):
            assert served.call("POST", "/books", {"title": f"Book {outage} {number}"}, token).status == 201
            page = served.call("GET", "/books", token=token)
            assert (page.status, page.headers["X-Total-Count"]) == (200, str(10 * (outage - 1) + number + 1))
        assert [log_in(served, "wrong", f"name {outage}") for _ in range(7)] == [401] * 5 + [429] * 2
        assert [log_in(served, "wrong") for _ in range(4)] == [401] * 4
        assert log_in(served, PASSWORD) == 200
        redis.recover(way)
        eventually(lambda size=10 + outage: uses(redis, served, token, size))
        if way == "full":  # then it still answers questions that write nothing
            assert told(served)[-2:] == ["no answer", "answers again"]
        else:
            assert told(served) == ["no answer", "answers again"] * outage
    assert [log_in(served, "wrong", "a third name") for _ in range(7)] == [401] * 5 + [429] * 2


@pytest.mark.services
@pytest.mark.parametrize("way", ["killed", "hung"])
def test_several_workers_without_redis_hold_each_a_log_in_limit(serve: Serve, redis: OwnRedis, way):
    workers = 2
    served = serve(workers)
    token = served.admin(PASSWORD)
    redis.fail(way)
    statuses = in_parallel(40, lambda _: log_in(served, "wrong"))
    guessed = statuses.count(401)
    assert statuses == [401] * guessed + [429] * (40 - guessed)
    assert 5 <= guessed <= 5 * workers
    assert {served.call("GET", "/books", token=token).status for _ in range(20)} == {200}
    redis.recover(way)


@pytest.mark.services
def test_no_client_waits_long_or_tries_again():
    app = create_app("testing", DATABASE_URL="sqlite://", REDIS_URL="redis://nowhere/3")
    counters = app.extensions["library_counters"].shared
    for client in (app.extensions["cache"][cache]._read_client, counters.storage.get_connection()):
        options = client.get_connection_kwargs()
        assert (options["db"], options["socket_timeout"], options["socket_connect_timeout"]) == (3, 0.2, 0.1)
        assert not {"retry", "retry_on_error", "retry_on_timeout"} & set(options)
        connection = client.connection_pool.make_connection()
        assert (connection.socket_timeout, connection.socket_connect_timeout) == (0.2, 0.1)
        assert connection.retry.get_retries() == 0


@pytest.mark.services
def test_redis_is_lost_by_many_requests_at_once(serve: Serve, redis: OwnRedis):
    served = serve()
    token = served.admin()
    with ThreadPoolExecutor(8) as threads:
        running = [threads.submit(served.call, "GET", f"/books?page={page}", None, token) for page in range(1, 401)]
        eventually(lambda: sum(call.done() for call in running) > 100)
        redis.fail("hung")
        assert [call.result().status for call in running] == [200] * 400
    assert told(served) == ["no answer"]


@pytest.mark.services
@pytest.mark.parametrize("way", ["killed", "hung"])
def test_a_server_starts_without_redis_and_uses_it_once_it_is_there(serve: Serve, redis: OwnRedis, way):
    redis.fail(way)
    served = serve()
    token = served.admin()
    assert [log_in(served, "wrong", "somebody") for _ in range(6)] == [401] * 5 + [429]
    assert told(served) == ["no answer"]
    redis.recover(way)
    eventually(lambda: uses(redis, served, token, 3))


def test_one_database_url_on_two_hosts_is_two_libraries(tmp_path: Path):
    same = {"DATABASE_URL": f"sqlite:///{tmp_path / 'library.sqlite3'}"}
    apps = [create_app("testing", SECRET_KEY=key * 16, **same) for key in ("ours", "theirs", "ours")]
    prefixes = [app.config["CACHE_KEY_PREFIX"] for app in apps]
    assert prefixes[0] == prefixes[2] != prefixes[1]


@pytest.mark.parametrize("url", ["localhost:6379", "http://localhost", "redis://localhost:many/0"])
def test_a_url_that_is_none_of_redis_is_told_in_one_line(url):
    with pytest.raises(ConfigurationError, match=r"REDIS_URL"):
        create_app("testing", DATABASE_URL="sqlite://", REDIS_URL=url)


def test_a_storage_that_fails_is_left_alone_and_then_tried_by_one(app, caplog):
    asked = []

    def fail() -> str:
        asked.append("once more")
        raise ConnectionError

    with app.app_context():
        storage = Storage(app.logger)
        assert [storage.ask(fail, lambda: "spare") for _ in range(5)] == ["spare"] * 5
        assert (len(asked), len(caplog.messages)) == (1, 1)
        storage = Storage(app.logger)
        storage.PAUSE_SECONDS = 0
        answers = [storage.ask(question, lambda: "spare") for question in (fail, fail, lambda: "shared", fail)]
        assert answers == ["spare", "spare", "shared", "spare"]
    assert [" ".join(message.split()[1:3]) for message in caplog.messages[1:]] == [
        "no answer",
        "answers again",
        "no answer",
    ]


@pytest.mark.services
def test_ready_says_that_redis_is_lost(migrated):
    app = migrated(REDIS_URL="redis://127.0.0.1:1/0", LIMITS_ENABLED=True)
    client = app.test_client()
    client.get("/library")
    assert client.get("/health/ready").json == {"status": "degraded"}
