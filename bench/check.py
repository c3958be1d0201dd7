"""The check that comes first: every peer answers what the library answers, and writes the rows that it writes."""

import json
import random
import re
from collections.abc import Iterator
from difflib import unified_diff
from itertools import islice
from typing import Any

from sqlalchemy import text

from bench import build, catalogue, load
from bench.servers import Server
from library.config import Default
from library.rules import words

# Made anew by each call.
PASSING = re.compile(r"(id|at|.*_at|request_id)")
MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")
SEARCHED = re.compile(r"[?&]q=([^&]*)")
DRAWN = 10
Call = tuple[str, str, Any, str]


class Different(SystemExit):
    """A peer does not answer what the library does: no figure of this run would count."""


def answers_alike(servers: list[Server], books: int, url: str) -> int:
    """Hold every server's answers against the first one's; how many were compared."""
    first, *peers = servers
    compared = 0
    for call in _reads(books):
        expected, searched = _shown(first, *call), SEARCHED.search(call[1])
        for peer in peers:
            # Of words that the runs do not look for, LIKE knows less.
            if not (peer.kind.is_tutorial and searched and searched[1].lower() not in catalogue.rare_words(books)):
                _compare(peer, f"{call[0]} {call[1]}", expected, _shown(peer, *call))
                compared += 1
    expected = _at_the_desk(first, url)
    for peer in peers:
        found = _at_the_desk(peer, url)
        for name, answer in expected.items():
            _compare(peer, name, answer, found[name])
            compared += 1
    return compared


def _compare(peer: Server, call: str, expected: Any, found: Any) -> None:
    if found != expected:
        texts = (json.dumps(one, ensure_ascii=False, indent=1, default=str).split("\n") for one in (expected, found))
        lines = unified_diff(*texts, "the library", peer.kind.name, lineterm="", n=1)
        said = peer.logged()[-2000:]
        raise Different("\n".join((f"{peer.kind.name} answers {call} otherwise:", *islice(lines, 40), said)))


def _reads(books: int) -> Iterator[Call]:
    """What the runs ask for, drawn as they draw it, and the edges of that."""
    reader, last = load.token(1, "patron"), books // load.SIZE
    # Pages that lie too deep the library refuses.
    for page in (1, 2, last, min(last + 1, Default.DEEPEST_ROW // load.SIZE)):
        yield "GET", f"/books?page={page}&page_size={load.SIZE}", None, ""
    for key in (1, 7, 210, books, books + 1):
        yield "GET", f"/books/{key}", None, ""
    rare = catalogue.rare_words(books)
    for q in (f"{catalogue.COMMON_WORD} {rare[-1]}", *_phrases(books), "nosuchword"):
        yield "GET", f"/books?q={q.replace(' ', '+')}&page_size={load.SIZE}", None, ""
    for task in load.reads(books):
        for _, method, path, bearer, _ in random.Random(catalogue.SEED).sample(task.lines, DRAWN):
            yield method, path, None, bearer
    for bearer in ("not.a.token", ""):
        yield "GET", "/users/me", None, bearer
    scanned = {"copy_barcode": build.barcode(1)}
    bodies = {"/loans": scanned | {"patron_barcode": build.card(build.FIRST_BORROWER)}, "/check-ins": scanned}
    for path, body in bodies.items():
        yield "POST", path, body, ""
        yield "POST", path, body, reader


def _phrases(books: int) -> Iterator[str]:
    """Beginnings and words of titles, names and subjects of the first books: what is ranked by where it stands."""
    drawn = catalogue.Catalogue(books)
    yield words.sort_key(drawn.authors[0])
    title = drawn.book(3, random.Random(catalogue.SEED * 3))["title"]
    yield title
    yield " ".join(title.split()[:2])
    yield " ".join(title.split()[1:])


def _shown(server: Server, *call: Any) -> Any:
    """What counts of an answer: status, total, and the body of a good one, or the codes of the reasons."""
    answer = server.call(*call)
    if answer.status == 409:
        reasons = answer.json["errors"]
        return answer.status, sorted(one["code"] for one in reasons if one.get("severity") != "warn")
    good = answer.status < 400
    return answer.status, answer.headers.get("X-Total-Count") if good else None, answer.json if good else None


def _at_the_desk(server: Server, url: str) -> dict[str, Any]:
    """A check-out, a return and every refusal; and the rows that the two have written."""
    librarian = load.token(build.FIRST_LIBRARIAN, "librarian")

    def scan(path: str, copy: int, **patron: str) -> Any:
        body = {"copy_barcode": build.barcode(copy)} | patron
        return _lasting(_shown(server, "POST", path, body, librarian))

    def lend(copy: int, user: int) -> Any:
        return scan("/loans", copy, patron_barcode=build.card(user))

    borrower = build.FIRST_BORROWER + 1
    seen = {
        "check-out": lend(11, borrower),
        "check-out of what is on loan": lend(11, borrower),
        "check-out of what another has": lend(11, borrower + 1),
        "check-in": scan("/check-ins", 11),
    }
    refused = {"blocked": build.BLOCKED, "expired": build.EXPIRED, "inactive": build.INACTIVE}
    refused |= {"in debt": build.INDEBTED, "at the limit": build.LADEN, "unknown": 9_999_999}
    seen |= {f"check-out, {name}": lend(12, user) for name, user in refused.items()}
    return seen | {
        "check-out of an unknown copy": lend(99_999_999, borrower),
        "check-out, all unknown": lend(99_999_999, 9_999_999),
        "check-in of an unknown copy": scan("/check-ins", 99_999_999),
        **_rows(url),
    }


def _rows(url: str) -> dict[str, Any]:
    """The last rows that were written, without what is made anew each time."""
    statements = {
        "the loan": "SELECT * FROM loans ORDER BY id DESC LIMIT 1",
        "the copy": f"SELECT * FROM copies WHERE barcode = '{build.barcode(11)}'",
        "the audit": "SELECT * FROM audit_events WHERE outcome = 'done' ORDER BY id DESC LIMIT 2",
    }
    engine = build.engine_of(url)
    with engine.connect() as connection:
        found = {name: connection.execute(text(sql)).mappings().all() for name, sql in statements.items()}
    engine.dispose()
    return {f"rows of {name}": [_steady(dict(row)) for row in rows] for name, rows in found.items()}


def _steady(row: dict[str, Any]) -> dict[str, Any]:
    """A row without what is made anew, but for whether it is set; JSON by what it says."""
    row.pop("version", None)
    return {
        name: value is not None if PASSING.fullmatch(name) else json.loads(value) if _is_json(value) else value
        for name, value in row.items()
    }


def _is_json(value: Any) -> bool:
    return isinstance(value, str) and value[:1] in ("[", "{")


def _lasting(shown: Any) -> Any:
    """An answer with every moment that was made just now in the same words, once its form is looked at."""
    if isinstance(shown, dict):
        return {name: _masked(name, value) for name, value in shown.items()}
    return [_lasting(part) for part in shown] if isinstance(shown, list | tuple) else shown


def _masked(name: str, value: Any) -> Any:
    if name == "id" or (name.endswith("_at") and isinstance(value, str) and value > "2021" and name != "due_at"):
        return "a moment" if isinstance(value, str) and MOMENT.fullmatch(value) else "a number"
    return _lasting(value)
