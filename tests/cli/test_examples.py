"""What the document prints can be tried: each example, sent as it stands, does something in the demo library."""

import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from werkzeug.test import TestResponse

from library.cli.demo_people import ADMIN
from library.cli.openapi import derived
from library.extensions import db

# What has to be there first, and by which example it is made.
MADE_BY = {"/transfer-limits/": "create_transfer_limit", "/jobs/": "start_job", "/users/login": "register"}
# A secret cannot stand in a document.
NEEDS_A_SECRET = {"refresh": 401, "change_password": 422, "redeem_password_reset": 422, "verify_email": 422}
NEEDS_A_SECRET |= {"create_api_key": 422, "get_api_key": 404, "delete_api_key": 404}
# The demo library has nothing but what is in use.
REFUSED = {"delete_patron_category", "delete_book", "delete_author", "delete_subject", "delete_branch"}
REFUSED |= {"delete_item_type"}
# A file comes from whoever tries it.
NEEDS_A_FILE = {"create_import"}


class Trial:
    """The demo library, in which every call finds everything as it was when it was filled."""

    def __init__(self, app: Flask, folder: Path, password: str) -> None:
        self.app, self.client = app, app.test_client()
        self.path = folder / "library.sqlite3"
        with app.app_context():
            self.document = derived()
        answer = self.client.post("/users/login", json={"email": ADMIN.username, "password": password})
        self.token = answer.json["access_token"]
        with app.app_context():
            db.engine.dispose()
        with closing(sqlite3.connect(self.path)) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        self.kept = shutil.copy(self.path, folder / "kept.sqlite3")

    def start_over(self) -> None:
        """Put back what the last call has changed."""
        with self.app.app_context():
            db.engine.dispose()
        for suffix in ("-wal", "-shm"):
            self.path.with_name(self.path.name + suffix).unlink(missing_ok=True)
        shutil.copy(self.kept, self.path)

    def call(self, name: str) -> TestResponse:
        """Send the example of an operation."""
        path, method, operation, shared = next(found for found in self.operations() if found[2]["operationId"] == name)
        query, headers = {}, {"Authorization": f"Bearer {self.token}"}
        for parameter in [*shared, *operation.get("parameters", [])]:
            example = parameter.get("example", parameter.get("schema", {}).get("example"))
            assert example is not None or not parameter.get("required"), f"{name}: {parameter['name']} has no example"
            if parameter["in"] == "path":
                path = path.replace(f"{{{parameter['name']}}}", str(example))
            elif example is not None:
                (query if parameter["in"] == "query" else headers)[parameter["name"]] = example
        content = operation.get("requestBody", {}).get("content", {})
        body = {"json": content["application/json"]["example"]} if "application/json" in content else {}
        return self.client.open(path, method=method.upper(), query_string=query, headers=headers, **body)

    def operations(self) -> list[tuple[str, str, dict[str, Any], list[Any]]]:
        """(path, method, operation, parameters of its path) of everything."""
        return [
            (path, method, operation, methods.get("parameters", []))
            for path, methods in self.document["paths"].items()
            for method, operation in methods.items()
            if method != "parameters"
        ]


@pytest.fixture
def trial(app_in: Callable[..., Flask], instance: Path) -> Trial:
    printed = (instance / "printed").read_text(encoding="utf-8")
    password = next(line.split()[-1] for line in printed.splitlines() if line.split()[1:2] == [ADMIN.username])
    return Trial(app_in(instance, LIMITS_ENABLED=False), instance, password)


def test_every_example_can_be_tried_in_the_demo_library(trial):
    failed = {}
    for path, method, operation, _ in trial.operations():
        name = operation["operationId"]
        if name in NEEDS_A_FILE:
            continue
        made_by = [maker for prefix, maker in MADE_BY.items() if path.startswith(prefix)]
        for maker in made_by:
            assert trial.call(maker).status_code < 300, maker
        answer = trial.call(name)
        expected = 409 if name in REFUSED else NEEDS_A_SECRET.get(name)
        if not (answer.status_code == expected if expected else 200 <= answer.status_code < 300):
            failed[name] = answer.status_code, answer.get_json(silent=True)
        if made_by or method != "get":
            trial.start_over()
    assert failed == {}
