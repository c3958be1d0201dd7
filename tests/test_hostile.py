"""Hostile values in every place of every operation, through the real server, on both databases at once.

No answer is an error of the server, every refusal has the one form, and both databases answer with the same status. The
values are seeded; a short run draws some for each place, `--long` sends all of them. Needs PostgreSQL.
"""

import json
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from fuzz_facts import Facts
from fuzz_reach import Reach
from hostile import CORPUS, Kind, Value
from hostile_calls import Call, Wire
from hostile_places import HEADERS, Document, Place
from problems import FORM
from served import ROOT, Answer, Served

pytestmark = pytest.mark.fuzz

SEED = "1876"
# In parts, so that a long run can be: `-k loans`.
TAGS = sorted({tag["name"] for tag in json.loads((ROOT / "docs" / "openapi.json").read_text("utf-8"))["tags"]})
# Values for each place in a short run, and in a long one for headers that an operation does not speak of.
SHORT = 5
SETTINGS = {"LIBRARY_LIMITS_ENABLED": "false", "LIBRARY_LOCK_TIMEOUT_SECONDS": "60"}
TRIES = 8
# What an operation ends, another must have begun.
BEGUN_BY = {"cancel_hold": "place_hold", "check_in": "check_out", "declare_lost": "check_out", "renew": "check_out"}
BEGUN_BY |= dict.fromkeys(("cancel_job", "get_job", "list_job_results"), "create_import")
BEGUN_BY |= {"pay": "create_charge", "resolve_claim": "claim_returned", "waive": "create_charge"}
# What nobody outside may read in an answer.
INSIDE = (b"Traceback", b"sqlalchemy", b"psycopg", b"sqlite3", b"IntegrityError", b"site-packages", b" FROM ")


class Lane:
    """One library on one database, and who calls it: one call after another, so that both lanes see the same."""

    def __init__(self, server: Served) -> None:
        self.server = server
        kept = Path(server.environment["LIBRARY_INSTANCE"], "quickstart.json")
        passwords = json.loads(kept.read_text(encoding="utf-8"))
        self.name, self.password = "admin", passwords["admin"]
        session = self.log_in()
        self.token = session["access_token"]
        self.wire = Wire(server.port)
        self.facts = Facts(server.environment["DATABASE_URL"], session["user"]["id"], staff=True)
        self.reach = Reach(self.facts, self)
        # Of the tag at hand.
        self.statuses: dict[str, int] = {}
        self.faults: list[str] = []
        self.undone: dict[str, Answer] = {}
        self.operations: dict[str, Any] = {}

    def log_in(self) -> dict[str, Any]:
        """A new pair of tokens."""
        return self.server.call("POST", "/users/login", {"email": self.name, "password": self.password}).json

    def close(self) -> None:
        """Let go of the server and the database."""
        self.wire.close()
        self.facts.engine.dispose()

    def run(self, document: Document, tag: str, most: int | None) -> None:
        """Send everything to every place of every operation under a tag."""
        self.statuses, self.faults, self.undone = {}, [], {}
        self.operations = {one[2]["operationId"]: one for one in document.operations()}
        for method, path, operation in document.operations():
            if tag not in operation["tags"]:
                continue
            call = self.done_once(document, method, path, operation)
            for place in document.places(operation):
                strange = place.where == "header" and place.name in HEADERS
                seed = f"{SEED} {operation['operationId']} {place}"
                for value in document.values(place, seed, (1 if most else SHORT) if strange else most):
                    answer = self.sent(call, place, value)
                    self.judge(f"{call.operation}: {place}: {value.name}", place, answer)
                    if method != "get" and 200 <= answer.status < 300:
                        call = self.valid(document, method, path, operation)

    def valid(self, document: Document, method: str, path: str, operation: dict[str, Any]) -> Call:
        """A call that can be done as things stand now."""
        if (first := BEGUN_BY.get(operation["operationId"])) is not None:
            self.sent(self.valid(document, *self.operations[first]))
        call = Call(document, method, path, operation)
        self.facts.looks += 1
        self.reach.make_valid(call.operation, call)
        if method == "delete":
            self.reach.make_deletable(call.operation, call)
        return call

    def done_once(self, document: Document, method: str, path: str, operation: dict[str, Any]) -> Call:
        """Do the operation, so that what is hostile later meets what it can break; a call that can be done."""
        for _ in range(TRIES):
            call = self.valid(document, method, path, operation)
            answer = self.sent(call)
            if 200 <= answer.status < 300:
                break
            self.faults += [f"{call.operation}: {answer.status}"] if answer.status >= 500 else []
        else:
            self.undone[call.operation] = answer
        return self.valid(document, method, path, operation)

    def sent(self, call: Call, place: Place | None = None, value: Value | None = None) -> Answer:
        """The answer to a call; made again where a call before it has ended the session."""
        answer = self.wire.send(call.spelled(self.token, place, value), call.method)
        if answer.status == 401 and not (place is not None and place.name == "Authorization"):
            self.token = self.log_in()["access_token"]
            answer = self.wire.send(call.spelled(self.token, place, value), call.method)
        if 200 <= answer.status < 300:
            self.remember(call, place, value, answer)
        return answer

    def remember(self, call: Call, place: Place | None, value: Value | None, answer: Answer) -> None:
        """What the caller is called now, and with which password."""
        if call.operation == "patch_me":
            self.name = answer.json["username"] or answer.json["card_barcode"]
        if call.operation == "change_password":
            hostile = place is not None and value is not None and place.name == "new_password"
            self.password = json.loads(value.json) if hostile and value else call.body["new_password"]

    def judge(self, name: str, place: Place, answer: Answer) -> None:
        """Note the answer, and what is wrong with it."""
        self.statuses[name] = answer.status
        self.faults += [f"{name}: {fault}: {answer.data[:500]!r}" for fault in faults_of(place, answer)]


def faults_of(place: Place, answer: Answer) -> Iterator[str]:
    """What is wrong with an answer to something hostile in a place."""
    ours = "X-Request-ID" in answer.headers
    if answer.status >= 500:
        yield f"{answer.status}"
    if not ours and not (place.where in ("header", "path", "query") and answer.status in (400, 414, 431)):
        # The server itself may refuse a line that is no HTTP, and nothing else.
        yield f"{answer.status} without our headers"
    if ours and answer.status >= 400:
        form = answer.json.keys() - {"confirm_token"}
        if form != FORM or answer.headers["Content-Type"] != "application/problem+json":
            yield f"{answer.status} in another form"
    if answer.status >= 400 and any(word in answer.data for word in INSIDE):
        yield "tells of the inside"


@pytest.fixture(scope="module")
def lanes(new_database, tmp_path_factory, request) -> Iterator[tuple[Lane, Lane]]:
    """The demo library on SQLite and on PostgreSQL, each behind a server of its own."""
    if request.config.getoption("--database") != "postgres":
        pytest.fail("both databases are needed: run it with --database=postgres")
    sqlite = f"sqlite:///{tmp_path_factory.mktemp('hostile') / 'library.sqlite3'}"
    servers: list[Served] = []
    try:
        for url in (sqlite, new_database()):
            servers.append(Served(tmp_path_factory.mktemp("hostile"), url, workers=1, **SETTINGS))
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(lambda server: server.flask("quickstart", "--no-serve"), servers))
        lanes = Lane(servers[0]), Lane(servers[1])
        yield lanes
        for lane in lanes:
            lane.close()
    finally:
        for server in servers:
            server.stop()


def test_there_are_values_of_every_kind():
    assert len(CORPUS) >= 300
    assert len({value.json for value in CORPUS}) >= 300
    assert {value.kind for value in CORPUS} == set(Kind)


@pytest.mark.parametrize(
    ("where", "status", "told", "fault"),
    [
        ("body", 500, b"{}", "500"),
        ("body", 503, b"{}", "503"),
        ("header", 0, b"", "0 without our headers"),
        ("body", 400, b"", "400 without our headers"),
        ("query", 422, b'{"message": "no"}', "422 in another form"),
        ("query", 422, b'{"detail": "sqlite3 said no"}', "tells of the inside"),
    ],
)
def test_what_is_wrong_is_seen(where, status, told, fault):
    headers = {"X-Request-ID": "x", "Content-Type": "application/problem+json"} if told else {}
    assert fault in list(faults_of(Place(where, "x"), Answer(status, headers, told)))


@pytest.mark.parametrize("tag", TAGS)
def test_nothing_hostile_breaks_either_database(lanes, tag, request):
    sqlite, postgres = lanes
    document = Document(sqlite.server.call("GET", "/openapi.json").json)
    most = None if request.config.getoption("--long") else SHORT

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda lane: lane.run(document, tag, most), lanes))

    wrong = [f"never done: {name}: {last.data!r}" for lane in lanes for name, last in lane.undone.items()]
    wrong += [fault for lane in lanes for fault in lane.faults]
    assert sqlite.statuses.keys() == postgres.statuses.keys()
    wrong += [
        f"{name}: {status} on SQLite, {postgres.statuses[name]} on PostgreSQL"
        for name, status in sqlite.statuses.items()
        if status != postgres.statuses[name]
    ]
    # Seen with -s: what a long run has come to.
    sys.stdout.write(f"{tag}: {len(sqlite.statuses)} values, {len(wrong)} faults\n")
    assert sqlite.statuses
    assert not wrong, "\n".join([f"{len(wrong)} of {len(sqlite.statuses)}", *wrong[:300]])
    assert not any("Traceback" in lane.server.logged() for lane in lanes)
