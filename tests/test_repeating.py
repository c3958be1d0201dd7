"""Calls sent again under their idempotency key, through a real server: many at once, and after it was killed."""

import os
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPException
from pathlib import Path
from typing import Any

import pytest
from served import Answer, Served
from sqlalchemy import create_engine, text

from library.config import database_url

KEY = {"Idempotency-Key": "one-key-for-all"}
REPLAYED = "Idempotency-Replayed"
TESTS = str(Path(__file__).parent)


@pytest.fixture
def token(served: Served) -> str:
    """An admin's."""
    return served.admin()


def all_together(call: Any, times: int = 50) -> list[Answer]:
    """Answers to a call that is made many times at the same moment."""
    ready = threading.Barrier(times)

    def one() -> Answer:
        ready.wait(30)
        return call()

    with ThreadPoolExecutor(times) as pool:
        return [job.result() for job in [pool.submit(one) for _ in range(times)]]


def one_effect(answers: list[Answer]) -> Answer:
    """The answer that all have got who got any; the others were told to ask again.

    On SQLite they may have stood in line too long before they could look at the key.
    """
    good = [answer for answer in answers if 200 <= answer.status < 300]
    for answer in answers:
        if answer not in good:
            assert (answer.status, answer.json["code"]) in ((409, "idempotency_key_in_use"), (503, "unavailable"))
            assert int(answer.headers["Retry-After"]) >= 1
    for header in ("ETag", "Location", "Content-Type", "X-Remarks"):
        assert len({answer.headers.get(header) for answer in good}) == 1, header
    assert len({(answer.status, answer.data) for answer in good}) == 1
    assert Counter(answer.headers.get(REPLAYED) for answer in good) == {None: 1, "true": len(good) - 1}
    return good[0]


def test_fifty_calls_with_one_key_have_one_effect(served: Served, token):
    made = one_effect(all_together(lambda: served.call("POST", "/books", {"title": "Once"}, token, KEY)))
    assert served.call("GET", "/books", token=token).json == [made.json]
    # A desk that scans twice makes one loan.
    branch = served.call("POST", "/branches", {"name": "Main"}, token).json["id"]
    copy = served.call("POST", "/copies", {"book_id": made.json["id"], "home_branch_id": branch}, token).json
    card = served.call("POST", "/users", {}, token).json["card_barcode"]
    scan = {"copy_barcode": copy["barcode"], "patron_barcode": card, "branch_id": branch}
    loan = one_effect(all_together(lambda: served.call("POST", "/loans", scan, token, KEY)))
    assert [row["id"] for row in served.call("GET", "/loans", token=token).json] == [loan.json["id"]]
    # Of calls that all mean something else, one is made; the others are told.
    titles = iter(range(50))
    answers = all_together(
        lambda: served.call("POST", "/authors", {"name": f"A{next(titles)}"}, token, {"Idempotency-Key": "k"})
    )
    codes = Counter((answer.status, answer.json.get("code", "")) for answer in answers)
    assert codes[(201, "")] == 1
    assert set(codes) <= {(201, ""), (422, "idempotency_key_reused"), (409, "idempotency_key_in_use")}
    assert len(served.call("GET", "/authors", token=token).json) == 1


def test_who_waits_too_long_is_told_to_ask_again(served: Served, token):
    """The first call with the key is still at work: here, a transaction that holds it and does not end."""
    url = database_url(served.environment["DATABASE_URL"], Path())
    if not url.startswith("postgresql"):
        pytest.skip("SQLite's writers stand in line before they look at the key")
    body = {"name": "Slow"}
    engine = create_engine(url)
    with engine.connect() as other:
        held = (
            "INSERT INTO idempotency_keys (user_id, call, key, fingerprint, created_at)"
            " VALUES (1, 'POST /authors', 'one-key-for-all', 'f', now())"
        )
        other.execute(text(held))
        waited = served.call("POST", "/authors", body, token, KEY)
        assert (waited.status, waited.json["code"]) == (409, "idempotency_key_in_use")
        assert waited.headers["Retry-After"] == "1"
        # Others are not held up.
        assert served.call("POST", "/authors", {"name": "Quick"}, token, {"Idempotency-Key": "k"}).status == 201
        other.rollback()
    engine.dispose()
    assert served.call("POST", "/authors", body, token, KEY).status == 201


class Doomed(Served):
    """A server whose only worker is killed at a commit of its own, with SIGKILL."""

    application = "doomed:load"

    def __init__(self, instance: Path, url: str, when: str) -> None:
        path = os.pathsep.join(filter(None, [TESTS, os.environ.get("PYTHONPATH")]))
        super().__init__(instance, url, workers=1, LIBRARY_TEST_BLOW=f"SIGKILL {when} 1", PYTHONPATH=path)


def test_killed_between_commit_and_answer_the_retry_replays(new_database, tmp_path):
    url = new_database()
    served = Served(tmp_path, url)
    token = served.admin()
    served.stop()
    for when in ("after", "before"):
        doomed = Doomed(tmp_path, url, when)
        try:
            # The worker dies, and nobody is there to answer.
            with pytest.raises((HTTPException, OSError)):
                doomed.call("POST", "/books", {"title": when}, token, {"Idempotency-Key": when})
        finally:
            doomed.stop()
    served = Served(tmp_path, url)
    try:
        (stands,) = served.call("GET", "/books", token=token).json
        assert stands["title"] == "after"
        told = served.call("GET", "/audit-events?action=create_book", token=token).json
        assert [(row["outcome"], row["object_id"]) for row in told] == [("done", stands["id"])], (
            "none without its change"
        )
        again = served.call("POST", "/books", {"title": "after"}, token, {"Idempotency-Key": "after"})
        assert (again.status, again.headers[REPLAYED], again.json) == (201, "true", stands)
        read = served.call("GET", again.headers["Location"], token=token)
        assert read.headers["ETag"] == again.headers["ETag"]
        # What had not been committed is done now, and once.
        made = served.call("POST", "/books", {"title": "before"}, token, {"Idempotency-Key": "before"})
        assert (made.status, made.headers.get(REPLAYED)) == (201, None)
        books = served.call("GET", "/books", token=token).json
        assert len(books) == 2
        told = served.call("GET", "/audit-events?action=create_book", token=token).json
        assert [row["object_id"] for row in told] == [book["id"] for book in books]
    finally:
        served.stop()
