"""The page on security says what the code says: tests, settings, operations, tables and times that it names exist."""

import ast
import re
from datetime import timedelta

import pytest
from documented import document_of
from served import ROOT

from library.config import Default
from library.models import Base, TokenPurpose
from library.rules import sessions
from library.rules.one_time_tokens import LIFETIMES

PAGE = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")
TESTS = re.compile(r"`(tests/[\w/]+\.py)(?:::(\w+))?`")
RISKS = re.findall(r"^\| \*\*(API\d+)\*\* (.*?) \| (.*?) \| (.*?) \|$", PAGE, re.MULTILINE)
FETCHED = re.compile(r"(^|_)(ur[il]|href|link|callback|webhook|host)s?$")


def cells(heading: str) -> list[list[str]]:
    """The rows of the table below a heading."""
    below = PAGE.partition(f"\n## {heading}")[2].partition("\n## ")[0]
    return [[cell.strip() for cell in row.strip("| ").split(" | ")] for row in below.splitlines() if row[:2] == "| "][
        2:
    ]


def cases_of(path: str) -> set[str]:
    return {
        node.name
        for node in ast.walk(ast.parse((ROOT / path).read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    }


@pytest.mark.parametrize(("path", "name"), sorted(set(TESTS.findall(PAGE))))
def test_every_test_that_is_named_exists(path, name):
    assert cases_of(path) >= ({name} if name else set())
    assert cases_of(path)


def test_every_risk_of_the_ten_is_answered_and_tested():
    assert [risk for risk, *_ in RISKS] == [f"API{number}" for number in range(1, 11)]
    assert all(title and answer and TESTS.search(proof) for _, title, answer, proof in RISKS)


def test_every_setting_that_is_named_exists():
    named = {
        name.removeprefix("LIBRARY_").removesuffix("_FILE") for name in re.findall(r"`([A-Z]+(?:_[A-Z]+)+)`", PAGE)
    }
    assert {"SECRET_KEY", "TRUSTED_PROXIES"} < named
    assert named - set(Default.__annotations__) == set()


def test_every_operation_that_is_named_exists(app):
    paths = document_of(app)["paths"]
    named = re.findall(r"`(GET|POST|PUT|PATCH|DELETE) (/\S+?)`", PAGE)
    assert named
    assert [(method, path) for method, path in named if method.lower() not in paths.get(path, {})] == []


def test_every_file_that_is_named_exists():
    linked = set(re.findall(r"\]\((?!#|http)([^)#]+)", PAGE))
    assert [path for path in linked if not (ROOT / "docs" / path).exists()] == []
    named = re.findall(r"`(?:python )?((?:bench|\.ci)/[\w./]+)", PAGE)
    assert named
    assert [path for path in named if not (ROOT / path).exists()] == []


def test_whatever_leads_to_a_person_stands_in_the_table_of_privacy():
    told = set(re.findall(r"`(\w+)`", " ".join(row[1] for row in cells("Privacy"))))
    tables = Base.metadata.tables
    assert told <= tables.keys() | {"GET"}
    # A member of staff who did something for somebody is named by number, and let go of by the database.
    theirs = {
        table.name
        for table in tables.values()
        for key in table.foreign_keys
        if key.column.table.name == "users"
        and (key.ondelete != "SET NULL" or key.parent.name in ("patron_id", "user_id"))
    }
    assert theirs - told == set()


def test_times_are_those_of_the_code():
    lives = {row[0]: row[2] for row in cells("Accounts")}
    assert lives["reset by mail"] == f"{LIFETIMES[TokenPurpose.PASSWORD_RESET] // timedelta(minutes=1)} minutes"
    assert lives["verification by mail"] == f"{LIFETIMES[TokenPurpose.EMAIL_VERIFICATION] // timedelta(hours=1)} hours"
    assert f"later than {sessions.REUSE_GRACE.seconds} s after" in PAGE
    assert (Default.ACCESS_TOKEN_SECONDS, Default.REFRESH_TOKEN_SECONDS) == (3600, 30 * 24 * 3600)
    assert {"one hour", "thirty days"} <= {words for life in lives.values() for words in life.split(", ")}


def test_the_readme_leads_there():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert readme.count("(docs/security.md)") == 1


def test_no_request_takes_an_address_to_fetch(app):
    """What is fetched for somebody else could be within the library's own walls."""
    document = document_of(app)
    suspects = []
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            if method == "parameters":
                continue
            named = {
                parameter.get("name", ""): parameter.get("schema", {}) for parameter in operation.get("parameters", ())
            }
            for media in operation.get("requestBody", {}).get("content", {}).values():
                named |= members(document, media["schema"])
            suspects += [
                (method, path, name)
                for name, schema in named.items()
                if FETCHED.search(name) or schema.get("format") in ("uri", "url", "iri", "hostname", "ipv4")
            ]
    assert suspects == []


def members(document: dict, schema: dict) -> dict[str, dict]:
    """Every member of a body, nested ones by their paths' ends."""
    if "$ref" in schema:
        schema = document["components"]["schemas"][schema["$ref"].rsplit("/", 1)[1]]
    found = dict(schema.get("properties", {}))
    for inner in (
        *schema.get("properties", {}).values(),
        schema.get("items"),
        *schema.get("allOf", ()),
        *schema.get("anyOf", ()),
    ):
        if isinstance(inner, dict):
            found |= members(document, inner)
    return found
