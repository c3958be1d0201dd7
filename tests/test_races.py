"""Many at once, over sockets, through a real server with two workers: what only shows under fire."""

from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from functools import partial
from itertools import pairwise
from typing import Any

import pytest
from forked import Command
from served import TWENTY, Answer, Served


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
    patrons = [served.call("POST", "/users", {}, token).json["card_barcode"] for _ in range(50)]
    with ProcessPoolExecutor(5) as processes:
        for _ in range(3):
            # Of a book of its own: who has won one copy would be asked to confirm another of the same title.
            book = served.call("POST", "/books", {"title": "Wanted"}, token).json
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

    def write(method: str, path: str, tag: dict[str, str], **more: int) -> list[int]:
        """The statuses of fifty writers, each of whom would write something else."""
        bodies = [None if method == "DELETE" else {"title": "Won", "year": year} | more for year in range(1900, 1950)]
        calls = [partial(served.call, method, path, body, token, tag) for body in bodies]
        return sorted(answer.status for answer in at_once(calls, threads=50))

    assert write("PATCH", path, tag) == [200] + [412] * 49
    tag = {"If-Match": served.call("GET", path, token=token).headers["ETag"]}
    assert write("PUT", path, tag) == [200] + [412] * 49
    # Who comes after a deletion finds nothing to compare with.
    tag = {"If-Match": served.call("GET", path, token=token).headers["ETag"]}
    assert write("DELETE", path, tag) == [204] + [404] * 49
    assert served.call("GET", "/books", token=token).json == []


def test_fifty_actions_with_one_tag(served: Served, token):
    """What is optional on an action holds as well, where its rows are locked in another order by others."""
    branch = served.call("POST", "/branches", {"name": "Main"}, token).json["id"]
    book = served.call("POST", "/books", {"title": "Marked"}, token).json["id"]
    copy = served.call("POST", "/copies", {"book_id": book, "home_branch_id": branch}, token)
    tag, path = {"If-Match": copy.headers["ETag"]}, copy.headers["Location"]
    bodies = [{"as": kind, "reason": "Wet"} for kind in ("damaged", "missing")] * 25
    calls = [partial(served.call, "POST", f"{path}/mark", body, token, tag) for body in bodies]
    assert sorted(answer.status for answer in at_once(calls, threads=50)) == [200] + [412] * 49


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
    words = ("--app", "library", "catalogue", "import", str(TWENTY))
    ends = [command.end(120) for command in [Command(words, served.environment) for _ in range(3)]]
    assert [status for status, *_ in ends] == [0, 0, 0], ends
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


def insisted(call: Any) -> Answer:
    """The answer of a call that is made again while too many others want the same."""
    while "Retry-After" in (answer := call()).headers:
        pass
    return answer


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("PATCH", "/users/{}", {"role": "librarian"}),
        ("PATCH", "/users/{}", {"active": False}),
        ("POST", "/users/{}/erase", {"password": "password123"}),
    ],
    ids=["demoted", "deactivated", "erased"],
)
def test_of_twenty_admins_who_all_go_at_once_one_stays(served: Served, method: str, path: str, body: dict):
    names = [f"admin{number}" for number in range(20)]
    first = served.admin("password123")
    for name in names[1:]:
        made = served.call("POST", "/users", {"username": name, "password": "password123", "role": "admin"}, first)
        assert made.status == 201
    tokens = [first, *(served.log_in(name, "password123") for name in names[1:])]
    ids = [served.call("GET", "/users/me", token=token).json["id"] for token in tokens]
    calls = [
        partial(served.call, method, path.format(key), body, token, {"If-Match": "*"})
        for key, token in zip(ids, tokens, strict=True)
    ]
    answers = at_once([partial(insisted, call) for call in calls], threads=20)
    assert sorted(answer.status for answer in answers) == [200] * 19 + [409]
    kept = next(at for at, answer in enumerate(answers) if answer.status == 409)
    assert [reason["code"] for reason in answers[kept].json["errors"]] == ["last_admin"]
    left = served.call("GET", "/users?role=admin&active=true", token=tokens[kept]).json
    assert [user["id"] for user in left] == [ids[kept]]


class Desk:
    """A branch of a real library, open to everybody at once: with a book, its copies and patrons."""

    def __init__(self, served: Served, token: str, name: str, copies: int, patrons: int, **policies: object) -> None:
        self.served, self.token = served, token
        self.branch_id = self.made("/branches", {"name": name})["id"]
        self.book_id = self.made("/books", {"title": name})["id"]
        copy = {"book_id": self.book_id, "home_branch_id": self.branch_id}
        self.copies = [self.made("/copies", copy) for _ in range(copies)]
        self.patrons = [self.made("/users", {"home_branch_id": self.branch_id}) for _ in range(patrons)]
        for kind, value in policies.items():
            self.made("/policies", {"kind": kind, "value": value, "branch_id": self.branch_id})

    def get(self, path: str) -> Any:
        return self.served.call("GET", path, token=self.token).json

    def post(self, path: str, body: dict) -> Answer:
        """Again where the server was too busy, as Retry-After says, and confirmed where it asks for that."""
        for _ in range(50):
            answer = self.served.call("POST", path, body, self.token)
            if answer.status == 409 and answer.json.get("confirm_token"):
                # What was confirmed may have changed meanwhile: then it asks again.
                body = body | {"confirm_token": answer.json["confirm_token"]}
            elif answer.status != 503:
                return answer
        raise AssertionError(answer.data)

    def made(self, path: str, body: dict) -> Any:
        """What a POST makes."""
        answer = self.post(path, body)
        assert answer.status == 201, answer.data
        return answer.json

    def lend(self, copy: dict, patron: dict) -> Answer:
        barcodes = {"copy_barcode": copy["barcode"], "patron_barcode": patron["card_barcode"]}
        return self.post("/loans", barcodes | {"branch_id": self.branch_id})

    def take_back(self, copy: dict) -> Answer:
        return self.post("/check-ins", {"copy_barcode": copy["barcode"], "branch_id": self.branch_id})

    def loans(self, query: str) -> list[dict]:
        return self.get(f"/loans?branch_id={self.branch_id}&page_size=100&{query}")


@pytest.fixture(scope="module")
def open_desk(new_database, tmp_path_factory):
    """Call it for a desk; all of them are at one server, and everything must fit together when they close."""
    served = Served(tmp_path_factory.mktemp("desks"), new_database())
    admin = served.admin()
    yield partial(Desk, served, admin)
    try:
        assert "well" in served.flask("check")
    finally:
        served.stop()


def codes(answer: Answer) -> list[str]:
    return [error["code"] for error in answer.json["errors"] if error["severity"] != "warn"]


def test_fifty_clients_and_five_copies(open_desk):
    desk = open_desk("Fifty", copies=5, patrons=50, max_renewals=3)
    copies = {copy["id"]: copy for copy in desk.copies}
    statuses: set[int] = set()

    def come_in(at: int) -> list[int]:
        """Take what is set aside, or any copy, and give it back; or wait for one. The loans that were answered."""
        lent, patron = [], desk.patrons[at]
        for number in range(4):
            ready = desk.get(f"/holds?patron_id={patron['id']}&state=ready")
            copy = copies[ready[0]["assigned_copy_id"]] if ready else desk.copies[(at + number) % 5]
            answers = [desk.lend(copy, patron)]
            if answers[0].status == 201:
                lent.append(answers[0].json["id"])
                answers += [desk.post(f"/loans/{lent[-1]}/renewals", {}), desk.take_back(copy)]
            else:
                answers += [desk.post("/holds", {"book_id": desk.book_id, "patron_id": patron["id"]})]
            statuses.update(answer.status for answer in answers)
        return lent

    lent = at_once([lambda at=at: come_in(at) for at in range(50)], threads=50)
    assert statuses == {200, 201, 409}
    assert "well" in desk.served.flask("check")
    found = []
    for key in copies:
        loans = desk.loans(f"copy_id={key}")
        found += [loan["id"] for loan in loans]
        # Moments are told in one length: their texts stand in their order.
        spans = sorted((loan["checked_out_at"], loan["id"], loan["closed_at"] or "9999") for loan in loans)
        assert [later for earlier, later in pairwise(spans) if later[0] < earlier[2]] == []
    assert sorted(found) == sorted(loan for each in lent for loan in each)
    assert len(found) > len(copies)


def test_a_limit_is_passed_by_nobody(open_desk):
    desk = open_desk("Limit", copies=50, patrons=1, max_loans=7)
    answers = at_once([lambda copy=copy: desk.lend(copy, desk.patrons[0]) for copy in desk.copies], threads=50)
    assert sorted(answer.status for answer in answers) == [201] * 7 + [409] * 43
    assert all("loan_limit" in codes(answer) for answer in answers if answer.status == 409)
    assert len(desk.loans("status=open")) == 7


def test_twenty_holds_at_once_stand_one_behind_another(open_desk):
    desk = open_desk("Twenty", copies=1, patrons=20)
    place = [{"book_id": desk.book_id, "patron_id": patron["id"]} for patron in desk.patrons]
    answers = at_once([lambda body=body: desk.post("/holds", body) for body in place], threads=20)
    assert [answer.status for answer in answers] == [201] * 20
    queue = desk.get(f"/books/{desk.book_id}/queue")["holds"]
    assert [(hold["position"], hold["queue_length"]) for hold in queue] == [(at, 20) for at in range(1, 21)]
    assert {hold["patron_id"] for hold in queue} == {patron["id"] for patron in desk.patrons}
    # Half of them go, all at once: those who stay move up.
    cancel = [lambda key=hold["id"]: desk.post(f"/holds/{key}/cancel", {}) for hold in queue[::2]]
    assert {answer.status for answer in at_once(cancel)} == {200}
    left = desk.get(f"/books/{desk.book_id}/queue")["holds"]
    assert [hold["id"] for hold in left] == [hold["id"] for hold in queue[1::2]]
    assert [hold["position"] for hold in left] == list(range(1, 11))


def test_of_parallel_payments_of_one_charge_one_wins(open_desk):
    desk = open_desk("Money", copies=0, patrons=1)
    about = {"patron_id": desk.patrons[0]["id"], "branch_id": desk.branch_id}
    charge, _ = (desk.made("/charges", about | {"amount_cents": 500}) for _ in range(2))
    pay = about | {"amount_cents": 500, "method": "cash", "charge_ids": [charge["id"]]}
    answers = at_once([lambda: desk.post("/payments", pay)] * 16)
    assert sorted(answer.status for answer in answers) == [201] + [409] * 15
    assert {tuple(codes(answer)) for answer in answers if answer.status == 409} == {("exceeds_open_amount",)}
    account = desk.get(f"/accounts/{about['patron_id']}")
    assert (account["balance_cents"], account["credit_cents"]) == (500, 0)


def test_the_night_comes_while_desks_are_at_work(open_desk):
    days = {"unit": "days"}
    # Lent until the end of today, each of them renews itself tonight.
    lengths = {"loan_period": days | {"number": 0}, "renewal_period": days | {"number": 7}}
    desk = open_desk("Night", copies=12, patrons=12, auto_renew=True, **lengths)

    def work(copy: dict, patron: dict) -> set[int]:
        statuses = {desk.lend(copy, patron).status}
        for _ in range(4):
            statuses |= {desk.take_back(copy).status, desk.lend(copy, patron).status}
        return statuses

    night = ("--app", "library", "circulation", "nightly")
    nights = [Command(night, desk.served.environment) for _ in range(3)]
    pairs = list(zip(desk.copies, desk.patrons, strict=True))
    statuses = at_once([lambda pair=pair: work(*pair) for pair in pairs], threads=12)
    ends = [command.end(120) for command in nights]
    assert [status for status, *_ in ends] == [0, 0, 0], ends
    assert set().union(*statuses) == {200, 201}
    desk.served.flask("circulation", "nightly")
    # Once a loan, however many nights there were.
    assert [loan["renewals"] for loan in desk.loans("status=open")] == [1] * 12
