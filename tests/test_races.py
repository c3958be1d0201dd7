"""Many at once, over sockets, through a real server with two workers: what only shows under fire."""

import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from itertools import pairwise

import pytest
from served import ROOT, TWENTY, Answer, Served


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


def library(served: Served, token: str, copies: int, patrons: int) -> tuple[dict, dict, list[dict], list[dict]]:
    """A branch, a book, copies of it and patrons, as they were answered."""
    branch = served.call("POST", "/branches", {"name": "Main"}, token).json
    book = served.call("POST", "/books", {"title": "Wanted"}, token).json
    body = {"book_id": book["id"], "home_branch_id": branch["id"]}
    made = [served.call("POST", "/copies", body, token).json for _ in range(copies)]
    people = [served.call("POST", "/users", {"home_branch_id": branch["id"]}, token).json for _ in range(patrons)]
    return branch, book, made, people


def lay_down(served: Served, token: str, kind: str, value: object) -> None:
    answer = served.call("POST", "/policies", {"kind": kind, "value": value}, token)
    assert answer.status == 201, answer.data


def codes(answer: Answer) -> list[str]:
    return [error["code"] for error in answer.json["errors"] if error["severity"] != "warn"]


def insist(served: Served, token: str, path: str, body: dict) -> Answer:
    """A POST that is made again where the server was too busy, as Retry-After says, and confirmed where it asks."""
    for _ in range(50):
        answer = served.call("POST", path, body, token)
        if answer.status == 409 and answer.json.get("confirm_token"):
            # What was confirmed may have changed meanwhile: then it asks again.
            body = body | {"confirm_token": answer.json["confirm_token"]}
        elif answer.status != 503:
            return answer
    raise AssertionError(answer.data)


def test_fifty_clients_and_five_copies(served: Served, token):
    branch, book, copies, patrons = library(served, token, 5, 50)
    lay_down(served, token, "max_renewals", 3)
    barcodes = {copy["id"]: copy["barcode"] for copy in copies}
    statuses: set[int] = set()

    def post(path: str, body: dict) -> Answer:
        answer = insist(served, token, path, body)
        statuses.add(answer.status)
        return answer

    def come_in(at: int) -> list[int]:
        """Take what is set aside, or any copy, and give it back; or wait for one. The loans that were answered."""
        lent, patron = [], patrons[at]
        for number in range(4):
            ready = served.call("GET", f"/holds?patron_id={patron['id']}&state=ready", token=token).json
            copy_id = ready[0]["assigned_copy_id"] if ready else copies[(at + number) % 5]["id"]
            desk = {"copy_barcode": barcodes[copy_id], "branch_id": branch["id"]}
            answer = post("/loans", desk | {"patron_barcode": patron["card_barcode"]})
            if answer.status == 201:
                lent.append(answer.json["id"])
                post(f"/loans/{lent[-1]}/renewals", {})
                post("/check-ins", desk)
            else:
                post("/holds", {"book_id": book["id"], "patron_id": patron["id"]})
        return lent

    lent = at_once([lambda at=at: come_in(at) for at in range(50)], threads=50)
    assert statuses == {200, 201, 409}
    served.flask("check")
    found = []
    for copy in copies:
        loans = served.call("GET", f"/loans?copy_id={copy['id']}&page_size=100", token=token).json
        found += [loan["id"] for loan in loans]
        # Moments are told in one length: their texts stand in their order.
        spans = sorted((loan["checked_out_at"], loan["id"], loan["closed_at"] or "9999") for loan in loans)
        assert [later for earlier, later in pairwise(spans) if later[0] < earlier[2]] == []
    assert sorted(found) == sorted(loan for each in lent for loan in each)
    assert len(found) > len(copies)


def test_a_limit_is_passed_by_nobody(served: Served, token):
    branch, _, copies, (patron,) = library(served, token, 50, 1)
    lay_down(served, token, "max_loans", 7)
    desk = {"patron_barcode": patron["card_barcode"], "branch_id": branch["id"]}

    lend = [desk | {"copy_barcode": copy["barcode"]} for copy in copies]
    answers = at_once([lambda body=body: insist(served, token, "/loans", body) for body in lend], threads=50)
    assert sorted(answer.status for answer in answers) == [201] * 7 + [409] * 43
    assert all("loan_limit" in codes(answer) for answer in answers if answer.status == 409)
    assert len(served.call("GET", "/loans?status=open&page_size=100", token=token).json) == 7
    served.flask("check")


def test_twenty_holds_at_once_stand_one_behind_another(served: Served, token):
    _, book, _, patrons = library(served, token, 1, 20)
    place = [{"book_id": book["id"], "patron_id": patron["id"]} for patron in patrons]
    answers = at_once([lambda body=body: served.call("POST", "/holds", body, token) for body in place], threads=20)
    assert [answer.status for answer in answers] == [201] * 20
    queue = served.call("GET", f"/books/{book['id']}/queue", token=token).json["holds"]
    assert [(hold["position"], hold["queue_length"]) for hold in queue] == [(at, 20) for at in range(1, 21)]
    assert {hold["patron_id"] for hold in queue} == {patron["id"] for patron in patrons}
    # Half of them go, all at once: those who stay move up.
    leaving = [hold["id"] for hold in queue[::2]]
    cancel = [lambda key=key: served.call("POST", f"/holds/{key}/cancel", {}, token) for key in leaving]
    assert {answer.status for answer in at_once(cancel)} == {200}
    left = served.call("GET", f"/books/{book['id']}/queue", token=token).json["holds"]
    assert [hold["id"] for hold in left] == [hold["id"] for hold in queue[1::2]]
    assert [hold["position"] for hold in left] == list(range(1, 11))
    served.flask("check")


def test_of_parallel_payments_of_one_charge_one_wins(served: Served, token):
    branch, _, _, (patron,) = library(served, token, 0, 1)
    about = {"patron_id": patron["id"], "branch_id": branch["id"]}
    charges = [served.call("POST", "/charges", about | {"amount_cents": 500}, token).json for _ in range(2)]
    pay = about | {"amount_cents": 500, "method": "cash", "charge_ids": [charges[0]["id"]]}
    answers = at_once([lambda: served.call("POST", "/payments", pay, token)] * 16)
    assert sorted(answer.status for answer in answers) == [201] + [409] * 15
    assert {tuple(codes(answer)) for answer in answers if answer.status == 409} == {("exceeds_open_amount",)}
    account = served.call("GET", f"/accounts/{patron['id']}", token=token).json
    assert (account["balance_cents"], account["credit_cents"]) == (500, 0)
    served.flask("check")


def test_the_night_comes_while_desks_are_at_work(served: Served, token):
    branch, _, copies, patrons = library(served, token, 12, 12)
    # Lent until the end of today, they all renew themselves tonight; nobody may for long.
    lay_down(served, token, "loan_period", {"number": 0, "unit": "days"})
    lay_down(served, token, "renewal_period", {"number": 7, "unit": "days"})
    lay_down(served, token, "auto_renew", True)
    desks = [
        {"copy_barcode": copy["barcode"], "patron_barcode": patron["card_barcode"], "branch_id": branch["id"]}
        for copy, patron in zip(copies, patrons, strict=True)
    ]

    def work(desk: dict) -> list[int]:
        back = {name: desk[name] for name in ("copy_barcode", "branch_id")}
        done = []
        for _ in range(4):
            done += [insist(served, token, "/loans", desk).status]
            done += [insist(served, token, "/check-ins", back).status]
        return [*done, insist(served, token, "/loans", desk).status]

    night = [sys.executable, "-m", "flask", "--app", "wsgi", "circulation", "nightly"]
    options = {"cwd": ROOT, "env": served.environment, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    nights = [subprocess.Popen(night, **options) for _ in range(3)]
    statuses = at_once([lambda desk=desk: work(desk) for desk in desks], threads=12)
    printed = [process.communicate(timeout=120)[0].decode() for process in nights]
    assert [process.returncode for process in nights] == [0, 0, 0], printed
    assert {status for each in statuses for status in each} == {200, 201}
    served.flask("circulation", "nightly")
    served.flask("check")
    # Once a loan, however many nights there were.
    loans = served.call("GET", "/loans?status=open&page_size=100", token=token).json
    assert [loan["renewals"] for loan in loans] == [1] * 12
