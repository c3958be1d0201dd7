"""Lists seen from outside: what the document says can be listed, and how a list is walked or turned page by page."""

import re
from collections.abc import Iterator
from typing import Any

from documented import document_of
from flask import Flask

# Keys in the paths of lists below a record: those of the first rows of test_house.populate.
KEYS = {"loan_id": 1, "job_id": 1}


def operations(app: Flask) -> Iterator[tuple[str, dict[str, Any]]]:
    """(path, operation) of every GET that the document describes."""
    for path, methods in document_of(app)["paths"].items():
        if "get" in methods:
            yield path, methods["get"]


def lists(app: Flask, user_id: int) -> dict[str, dict[str, Any]]:
    """Address → operation of every list."""
    return {
        path.format(user_id=user_id, **KEYS): operation
        for path, operation in operations(app)
        if "X-Next-Cursor" in operation["responses"]["200"].get("headers", {})
    }


def words_of(operation: dict[str, Any], parameter: str) -> list[str]:
    """The enumeration of a parameter that takes several words; none where there is no such parameter."""
    schemas = {one["name"]: one["schema"] for one in operation.get("parameters", []) if "name" in one}
    return schemas[parameter]["items"]["enum"] if parameter in schemas else []


def links_of(answer: Any) -> dict[str, str]:
    """Relation → address of the `Link` header."""
    return {name: address for address, name in re.findall(r'<([^>]*)>; rel="(\w+)"', answer.headers.get("Link", ""))}


def walk(client: Any, path: str, size: int = 100, **query: Any) -> Iterator[list[dict[str, Any]]]:
    """The rows of each step of a walk from start to end."""
    cursor: str | None = "start"
    while cursor:
        answer = client.get(path, query_string={**query, "cursor": cursor, "page_size": size})
        assert answer.status_code == 200, answer.text
        assert "X-Total-Count" not in answer.headers
        assert "X-Pagination" not in answer.headers
        yield answer.json
        cursor = answer.headers.get("X-Next-Cursor")


def turned(client: Any, path: str, **query: Any) -> list[dict[str, Any]]:
    """The rows of all pages, following the links."""
    answer = client.get(path, query_string={**query, "page_size": 100})
    rows = list(answer.json)
    while "next" in links_of(answer):
        answer = client.get(links_of(answer)["next"])
        rows += answer.json
    return rows
