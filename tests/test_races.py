"""Many at once, over sockets, through a real server with two workers: what only shows under fire."""

import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from itertools import pairwise

import pytest
from served import ROOT, TWENTY, Served


@pytest.fixture
def token(served: Served) -> str:
    """An admin's."""
    return served.admin()


def at_once(calls: list, threads: int = 16) -> list:
    """What the calls return, made in parallel."""
    with ThreadPoolExecutor(threads) as pool:
        return [job.result() for job in [pool.submit(call) for call in calls]]


def test_kept_pages_are_never_stale_on_another_worker(served: Served, token):
    for number in range(30):
        served.call("POST", "/books", {"title": f"Book {number}"}, token)
        for _ in range(4):
            assert served.call("GET", "/books", token=token).headers["X-Total-Count"] == str(number + 1)


def storm(port: int, token: str, bodies: list[dict]) -> list[tuple[int, str]]:
    """Send check-outs in parallel from this process; status and code of each answer."""
    served = Served.__new__(Served)
    served.port = port
    with ThreadPoolExecutor(len(bodies)) as threads:
        answers = list(threads.map(lambda body: served.call("POST", "/loans", body, token), bodies))
    return [(answer.status, "" if answer.status == 201 else answer.json["errors"][0]["code"]) for answer in answers]


def test_fifty_desks_lend_one_copy_once(served: Served, token):
    branch = served.call("POST", "/branches", {"name": "Main"}, token).json
    book = served.call("POST", "/books", {"title": "Wanted"}, token).json
    patrons = [served.call("POST", "/users", {}, token).json["card_barcode"] for _ in range(50)]
    with ProcessPoolExecutor(5) as processes:
        for _ in range(3):
            copy = served.call("POST", "/copies", {"book_id": book["id"], "home_branch_id": branch["id"]}, token).json
            bodies = [
                {"copy_barcode": copy["barcode"], "patron_barcode": patron, "branch_id": branch["id"]}
                for patron in patrons
            ]
            jobs = [processes.submit(storm, served.port, token, bodies[at::5]) for at in range(5)]
            answers = sorted(answer for job in jobs for answer in job.result())
            assert answers == [(201, "")] + [(409, "item_on_loan")] * 49
    loans = served.call("GET", "/loans?status=open&page_size=100", token=token).json
    assert len(loans) == 3


def test_fifty_writers_with_one_tag(served: Served, token):
    book = served.call("POST", "/books", {"title": "Contested"}, token)
    tag, path = {"If-Match": book.headers["ETag"]}, book.headers["Location"]
    with ThreadPoolExecutor(50) as threads:
        jobs = [threads.submit(served.call, "PATCH", path, {"year": year}, token, tag) for year in range(1900, 1950)]
        statuses = sorted(job.result().status for job in jobs)
    assert statuses == [200] + [412] * 49


def test_loans_of_one_copy_never_overlap(served: Served, token):
    branch = served.call("POST", "/branches", {"name": "Main"}, token).json
    book = served.call("POST", "/books", {"title": "Passed on"}, token).json
    copy = served.call("POST", "/copies", {"book_id": book["id"], "home_branch_id": branch["id"]}, token).json
    patrons = [served.call("POST", "/users", {}, token).json["card_barcode"] for _ in range(8)]
    desk = {"copy_barcode": copy["barcode"], "branch_id": branch["id"]}

    def borrow_and_return(patron: str) -> list[int]:
        lent = served.call("POST", "/loans", desk | {"patron_barcode": patron}, token)
        return [lent.status, served.call("POST", "/check-ins", desk, token).status]

    answers = at_once([lambda patron=patron: borrow_and_return(patron) for patron in patrons * 15], threads=8)
    assert {status for lent, _ in answers for status in [lent]} <= {201, 409}
    # A check-in that names no date is never refused, however late its turn comes.
    assert {back for _, back in answers} == {200}
    loans = served.call("GET", f"/loans?copy_id={copy['id']}&sort=checked_out_at&page_size=100", token=token).json
    assert len(loans) == sum(lent == 201 for lent, _ in answers)
    assert len(loans) > 1
    for earlier, later in pairwise(sorted(loans, key=lambda loan: (loan["checked_out_at"], loan["id"]))):
        assert earlier["closed_at"] <= later["checked_out_at"]


def test_two_imports_of_one_file_double_nothing(served: Served, token):
    command = [sys.executable, "-m", "flask", "--app", "wsgi", "catalogue", "import", str(TWENTY)]
    options = {"cwd": ROOT, "env": served.environment, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    running = [subprocess.Popen(command, **options) for _ in range(3)]
    printed = [process.communicate(timeout=120)[0].decode() for process in running]
    assert [process.returncode for process in running] == [0, 0, 0], printed
    assert served.call("GET", "/books", token=token).headers["X-Total-Count"] == "20"


def test_a_renamed_author_is_found_by_all_books_written_meanwhile(served: Served, token):
    author = served.call("POST", "/authors", {"name": "Name zero"}, token).json
    path, tag = f"/authors/{author['id']}", {"If-Match": "*"}
    by = {"contributors": [{"author_id": author["id"]}]}
    calls = []
    for number in range(12):
        calls.append(lambda n=number: served.call("POST", "/books", {"title": f"Book {n}"} | by, token))
        calls.append(lambda n=number: served.call("PATCH", path, {"name": f"Name {n}"}, token, tag))
    assert {answer.status for answer in at_once(calls)} == {200, 201}
    served.call("PATCH", path, {"name": "Finally"}, token, tag)
    assert served.call("GET", "/books?q=finally", token=token).headers["X-Total-Count"] == "12"
    assert served.call("GET", "/books?q=name", token=token).headers["X-Total-Count"] == "0"


def test_parallel_refreshes_have_one_winner(served: Served):
    body = {"username": "jdoe", "email": "jdoe@example.com", "password": "password123"}
    served.call("POST", "/users/register", body)
    pair = served.call("POST", "/users/login", {"email": "jdoe", "password": "password123"}).json
    refresh = {"refresh_token": pair["refresh_token"]}
    answers = at_once([lambda: served.call("POST", "/users/refresh", refresh)] * 12)
    assert sorted(answer.status for answer in answers) == [200] + [401] * 11


def test_two_admins_who_demote_each_other_leave_one(served: Served, token):
    second = {"username": "second", "password": "password123", "role": "admin"}
    served.call("POST", "/users", second, token)
    tokens = [token, served.log_in("second", "password123")]
    ids = [served.call("GET", "/users/me", token=each).json["id"] for each in tokens]
    demote, tag = {"role": "patron"}, {"If-Match": "*"}
    calls = [
        lambda: served.call("PATCH", f"/users/{ids[1]}", demote, tokens[0], tag),
        lambda: served.call("PATCH", f"/users/{ids[0]}", demote, tokens[1], tag),
    ]
    assert sorted(answer.status for answer in at_once(calls))[0] == 200
    served.flask(
        "users", "create-admin", "--username", "third", "--email", "t@example.org", "--password", "password123"
    )
    admins = served.call("GET", "/users?role=admin", token=served.log_in("third", "password123")).json
    assert len(admins) == 2
