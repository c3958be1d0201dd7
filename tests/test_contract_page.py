"""The page on the contract says what the code says: which headers other origins read, which records go beside which."""

import re

from documented import document_of
from served import ROOT

from library.api.plumbing import cors

PAGE = (ROOT / "docs" / "contract.md").read_text(encoding="utf-8")


def words(text: str) -> list[str]:
    return re.findall(r"`([^`]+)`", text)


def test_the_headers_that_a_page_of_another_origin_may_send_and_read():
    [sent, read] = re.findall(r"Pages may send (.*?), and read, on errors too, (.*?)\.\n", PAGE, re.DOTALL)[0]
    assert words(sent) == cors.SENDABLE.split(", ")
    assert words(read) == cors.READABLE.split(", ")


def test_the_records_that_a_list_expands(app):
    rows = re.findall(r"^\| (`/\S+`) \| (`.*) \|$", PAGE, re.MULTILINE)
    told = {words(path)[0]: words(places) for path, places in rows}
    others = {"/users/me": "/users", "/users/{user_id}/orders": "/orders"}
    found: dict[str, list[str]] = {}
    for path, operations in document_of(app)["paths"].items():
        for parameter in operations.get("get", {}).get("parameters", ()):
            if parameter.get("name") == "expand":
                row = others.get(path, re.sub(r"/\{\w+\}$", "", path))
                found.setdefault(row, parameter["schema"]["items"]["enum"])
                assert parameter["schema"]["items"]["enum"] == told[row], path
    assert found == told
