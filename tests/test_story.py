"""The first story: real records come in, one is found, lent, refused to the next, and taken back; over a socket."""

import re

import pytest
from served import ROOT, TWENTY, Served

CURL = re.compile(r"^curl .*$", re.MULTILINE)


def counted(summary: str) -> dict[str, int]:
    """The outcomes of an import as its summary prints them."""
    return {
        word: int(number.replace(",", ""))
        for word, number in re.findall(r"(added|updated|skipped|failed)\D+([\d,]+)", summary)
    }


@pytest.mark.parametrize(("source", "records", "q"), [("twenty", 20, ""), ("real", 10_000, "history")])
def test_from_a_file_to_a_loan_and_back(served: Served, request, source, records, q):
    path = TWENTY if source == "twenty" else request.getfixturevalue("real_data") / "lc_10k.mrc.gz"
    assert counted(served.flask("catalogue", "import", str(path)))["added"] == records
    again = counted(served.flask("catalogue", "import", str(path)))
    assert (again.get("added", 0), again["skipped"]) == (0, records)

    admin = served.admin()
    book = walk_to_the_last(served, admin, q, records if not q else None)
    title = book["title"]
    found = served.call("GET", f"/books?control_number={book['control_number']}", token=admin).json
    assert [row["title"] for row in found] == [title]

    branch = served.call("POST", "/branches", {"name": "Main", "time_zone": "America/New_York"}, admin).json
    copy = served.call("POST", "/copies", {"book_id": book["id"], "home_branch_id": branch["id"]}, admin).json
    patrons = [
        served.call("POST", "/users", {"username": name, "password": "password123"}, admin).json
        for name in ("ada", "bob")
    ]

    def check_out(patron):
        body = {"copy_barcode": copy["barcode"], "patron_barcode": patron["card_barcode"], "branch_id": branch["id"]}
        return served.call("POST", "/loans", body, admin)

    lent = check_out(patrons[0])
    assert lent.status == 201
    ada = served.log_in("ada", "password123")
    assert [loan["id"] for loan in served.call("GET", "/loans?status=open", token=ada).json] == [lent.json["id"]]
    refused = check_out(patrons[1])
    assert (refused.status, [error["code"] for error in refused.json["errors"]]) == (409, ["item_on_loan"])
    back = served.call("POST", "/check-ins", {"copy_barcode": copy["barcode"], "branch_id": branch["id"]}, admin)
    assert (back.status, back.json["route"]["action"], back.json["loan"]["id"]) == (200, "shelve", lent.json["id"])
    assert served.call("GET", "/loans?status=open", token=ada).json == []


def walk_to_the_last(served: Served, token: str, q: str, total: int | None) -> dict:
    """Page through a search by `Link` alone; the last book."""
    path, seen, last = f"/books?q={q}&sort=title&page_size=100", 0, None
    while path:
        answer = served.call("GET", path, token=token)
        assert answer.status == 200, answer.data
        seen, last = seen + len(answer.json), answer.json[-1]
        link = re.search(r'<([^>]*)>; rel="next"', answer.headers["Link"])
        path = link[1] if link else None
    assert seen == int(answer.headers["X-Total-Count"])
    assert seen == total or (total is None and seen > 100)
    return last


def test_the_three_calls_of_the_readme(served: Served):
    calls = CURL.findall((ROOT / "README.md").read_text(encoding="utf-8"))[:3]
    assert calls[:2] == [
        "curl -X POST localhost:5000/users/register -H 'Content-Type: application/json' "
        '-d \'{"username": "jdoe", "email": "jdoe@example.com", "password": "password123"}\'',
        "curl -X POST localhost:5000/users/login    -H 'Content-Type: application/json' "
        '-d \'{"email": "jdoe@example.com", "password": "password123"}\'',
    ]
    assert served.curl(calls[0]).status == 201
    logged_in = served.curl(calls[1])
    assert logged_in.json.keys() == {"access_token", "refresh_token", "token_type", "expires_in", "user"}
    token = re.sub(r"<.*>", logged_in.json["access_token"], calls[2])
    books = served.curl(token)
    assert (books.status, books.json) == (200, [])
    wrong = served.curl(calls[1].replace("password123", "password124"))
    assert (wrong.status, wrong.json["code"]) == (401, "unauthorized")
