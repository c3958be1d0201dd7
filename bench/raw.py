"""The API on the bare driver: every answer as a generator, which asks for statements and is sent their rows.

Whoever runs it decides how the rows are fetched: the floor waits for them, the tuned FastAPI awaits them.
"""

import os
import sqlite3
import time
from collections.abc import Generator
from datetime import UTC, datetime
from typing import Any, NamedTuple
from uuid import uuid4

import jwt
import orjson

from bench import desk
from bench.statements import POSTGRESQL, SQLITE, Statements
from library.rules import words

URL, SECRET = os.environ.get("BENCH_DATABASE_URL", ""), os.environ.get("BENCH_SECRET", "")
IS_SQLITE = not URL.startswith("postgresql")
STATEMENTS = Statements(SQLITE if IS_SQLITE else POSTGRESQL)
POSTGRESQL_OPTIONS: dict[str, Any] = {"autocommit": True, "prepare_threshold": 0, "options": "-c timezone=UTC"}
TOTAL_SECONDS, TOKENS_KEPT = 1, 10_000


class Answer(NamedTuple):
    """Status and body, and for lists the total."""

    status: int
    body: bytes
    total: int | None = None


Work = Generator[tuple[str, dict[str, Any]], list[Any], Answer]
Claims = dict[str, int] | None
NOT_FOUND = Answer(404, b'{"status":404,"code":"not_found"}')
UNAUTHORIZED = Answer(401, b'{"status":401,"code":"unauthorized"}')
FORBIDDEN = Answer(403, b'{"status":403,"code":"forbidden"}')
NOT_VALID = Answer(422, b'{"status":422,"code":"validation_failed"}')


def connect_sqlite() -> sqlite3.Connection:
    """A connection that is as safe as the library's own."""
    path = URL.removeprefix("sqlite:///")
    connection = sqlite3.connect(path, timeout=5, isolation_level=None, check_same_thread=False, cached_statements=256)
    pragmas = ("journal_mode=WAL", "foreign_keys=ON", "synchronous=FULL", "secure_delete=ON", "recursive_triggers=ON")
    # As many KB as the library gives its connections that read.
    pragmas += ("cache_size=-8000",)
    for pragma in pragmas:
        connection.execute(f"PRAGMA {pragma}")
    return connection


_total: tuple[float, int] = (0, 0)
_tokens: dict[str, tuple[float, dict[str, int]]] = {}


def books(page: int, size: int, q: str | None = None) -> Work:
    """A page of the books, or of those that hold all words of `q`."""
    global _total
    wanted = words.query_words(q) if q else []
    where = {"size": size, "skip": (page - 1) * size}
    if wanted:
        asked = {f"w{at}": word for at, word in enumerate(wanted)} | {"query": STATEMENTS.query(wanted)}
        rows = yield STATEMENTS.search(len(wanted)), where | asked
        return Answer(200, _array(rows), rows[0][1] if rows else 0)
    # What it costs to count is more than what the page costs: the total may be a second old.
    if time.monotonic() - _total[0] > TOTAL_SECONDS:
        counted = yield STATEMENTS.total, {}
        _total = (time.monotonic(), counted[0][0])
    rows = yield STATEMENTS.page, where
    return Answer(200, _array(rows), _total[1])


def _array(rows: list[Any]) -> bytes:
    return ("[" + ",".join([row[0] for row in rows]) + "]").encode()


def book(book_id: int) -> Work:
    """One book."""
    rows = yield STATEMENTS.book, {"id": book_id}
    return Answer(200, rows[0][0].encode()) if rows else NOT_FOUND


def claims_of(authorization: str) -> Claims:
    """Whom a token names; one that was verified is remembered until it ends. Whether it holds, the tables know."""
    known = _tokens.get(authorization)
    if known is None:
        token = authorization.removeprefix("Bearer ")
        try:
            said = jwt.decode(token, SECRET, ["HS256"], audience="library", issuer="library")
        except jwt.PyJWTError:
            return None
        if len(_tokens) >= TOKENS_KEPT:
            _tokens.clear()
        known = said["exp"], {"user": int(said["sub"]), "session": said["sid"], "version": said["ver"]}
        _tokens[authorization] = known
    return known[1] if time.time() < known[0] else None


def me(claims: Claims) -> Work:
    """The account that a token speaks for."""
    rows = (yield STATEMENTS.me, claims) if claims else []
    return Answer(200, rows[0][0].encode()) if rows else UNAUTHORIZED


def check_out(claims: Claims, body: bytes) -> Work:
    """Lend a copy."""
    return (yield from _at_the_desk(claims, body, ("copy_barcode", "patron_barcode"), _lend))


def check_in(claims: Claims, body: bytes) -> Work:
    """Take a copy back."""
    return (yield from _at_the_desk(claims, body, ("copy_barcode",), _take_back))


def _at_the_desk(claims: Claims, body: bytes, names: tuple[str, ...], act: Any) -> Work:
    """What staff do with the codes that they scan, in a transaction that writes."""
    yield "BEGIN IMMEDIATE" if IS_SQLITE else "BEGIN", {}
    actor = (yield STATEMENTS.actor, claims) if claims else []
    if not actor:
        answer = UNAUTHORIZED
    elif actor[0][1] not in desk.STAFF:
        answer = FORBIDDEN
    elif (scanned := _members(body, names)) is None:
        answer = NOT_VALID
    else:
        try:
            answer = yield from act(actor[0], scanned, {"members": orjson.dumps(names).decode()})
        except desk.Refused as refused:
            answer = Answer(409, orjson.dumps(refused.problem))
        except desk.NotOfTheBench as error:
            answer = Answer(501, orjson.dumps({"status": 501, "detail": str(error)}))
    yield "COMMIT" if answer.status < 400 else "ROLLBACK", {}
    return answer


def _members(body: bytes, names: tuple[str, ...]) -> dict[str, str] | None:
    """The members of a body, if it has exactly these and all are texts."""
    try:
        found = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    fits = isinstance(found, dict) and found.keys() == set(names)
    return found if fits and all(isinstance(value, str) for value in found.values()) else None


def _lend(actor: tuple[int, str, int], scanned: dict[str, str], audited: dict[str, Any]) -> Work:
    branch_id, real_now = actor[2], desk.shown(datetime.now(UTC))
    where = {"barcode": scanned["copy_barcode"], "card": scanned["patron_barcode"]}
    for lock in STATEMENTS.locks:
        yield lock, where
    where |= {"branch": branch_id, "now": _stored(real_now), "today": real_now[:10]}
    facts = orjson.loads((yield STATEMENTS.facts, where)[0][0])
    copy, branch = facts["copy"], facts["branch"]
    now = max(real_now, (copy and copy["last_seen_at"]) or "")
    desk.refuse_if_any(facts, now)
    due_at, due_on, steps = desk.due(facts, now)
    loan = {"id": None, "copy_id": copy["id"], "book_id": copy["book_id"], "patron_id": facts["patron"]["id"]}
    loan |= {"branch_id": branch_id, "checked_out_at": now, "due_at": due_at, "due_on": due_on}
    loan |= {"time_zone": branch["time_zone"], "due_steps": desk.shown_steps(steps), "closed_at": None}
    loan |= {"closed_as": None, "returned_branch_id": None, "renewals": 0, "renewable": desk.RENEWABLE}
    loan |= {"running_fine_cents": 0, "lost_at": None, "claimed_at": None, "claim_note": None}
    values = {"copy": copy["id"], "patron": facts["patron"]["id"], "zone": branch["time_zone"], "now": _stored(now)}
    values |= {"due_at": _stored(due_at), "due_on": due_on, "steps": orjson.dumps(steps).decode(), "branch": branch_id}
    values |= audited | _done("check_out", 201, "loans", actor, real_now)
    rows = []
    for statement in STATEMENTS.lend:
        rows.append((yield statement, values))
    return Answer(201, orjson.dumps(loan | {"id": rows[0][0][0]}))


def _take_back(actor: tuple[int, str, int], scanned: dict[str, str], audited: dict[str, Any]) -> Work:
    branch_id, real_now, where = actor[2], desk.shown(datetime.now(UTC)), {"barcode": scanned["copy_barcode"]}
    for lock in STATEMENTS.locks[1:]:
        yield lock, where
    found = yield STATEMENTS.lent, where
    facts = orjson.loads(found[0][0]) if found else {"copy": None, "loan": None}
    copy, loan = facts["copy"], facts["loan"]
    now = max(real_now, (copy and copy["last_seen_at"]) or "")
    desk.refuse_unusual_return(facts, branch_id, now)
    values = {"copy": copy["id"], "loan": loan["id"], "branch": branch_id, "now": _stored(now)}
    values |= audited | _done("check_in", 200, None, actor, real_now)
    for statement in STATEMENTS.take_back:
        yield statement, values
    del loan["lent_condition"]
    loan |= {"closed_at": now, "closed_as": "returned", "returned_branch_id": branch_id, "running_fine_cents": 0}
    loan |= {"renewable": desk.LOAN_CLOSED, "due_steps": desk.shown_steps(loan["due_steps"])}
    copy |= {
        "place": "available",
        "current_branch_id": branch_id,
        "last_seen_branch_id": branch_id,
        "last_seen_at": now,
    }
    answer = {"copy": copy, "loan": loan, "hold": None, "route": desk.route_home(branch_id)}
    return Answer(200, orjson.dumps(answer | {"charges": [], "warnings": []}))


def _done(action: str, status: int, kind: str | None, actor: tuple[int, str, int], real_now: str) -> dict[str, Any]:
    """What the audit keeps."""
    said = {"action": action, "status": status, "kind": kind, "actor": actor[0], "role": actor[1]}
    return said | {"real_now": _stored(real_now), "request": uuid4().hex}


def _stored(moment: str) -> str:
    """A moment as SQLite keeps it; PostgreSQL reads it in the session's time zone, UTC."""
    return moment[:10] + " " + moment[11:26]
