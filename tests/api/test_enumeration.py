"""Nobody learns by log-in, reset or registration who has an account: same answer, same hashes, same statements."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import argon2
import pytest
from conftest import empty
from documented import DocumentedClient
from factories import START, Factories
from flask import Flask
from sqlalchemy import event

from library.database import make_session
from library.extensions import db
from library.models import PatronBlock, Role

RIGHT, WRONG = "password123", "password321"
# What a request is called by itself, and the second of its answer.
OF_THE_REQUEST = {"X-Request-ID", "Date", "X-RateLimit-Reset", "RateLimit", "Retry-After"}


@dataclass
class Work:
    """What a call has cost: its hashes, and its statements by transaction."""

    hashes: list[str] = field(default_factory=list)
    statements: list[str] = field(default_factory=list)


@pytest.fixture(scope="module")
def verifying(migrated) -> Flask:
    """A library where addresses must be proven, and counters too large to reach."""
    return migrated(REQUIRE_EMAIL_VERIFICATION=True)


@pytest.fixture
def work(verifying: Flask, monkeypatch: pytest.MonkeyPatch) -> Iterator[Work]:
    """What is done while the test runs."""
    done = Work()
    with verifying.app_context():
        engine = db.engine
    listeners: dict[str, Callable[..., None]] = {
        "before_cursor_execute": lambda _connection, _cursor, statement, *_: done.statements.append(statement),
        "begin": lambda _connection: done.statements.append("begin"),
        "commit": lambda _connection: done.statements.append("commit"),
        "rollback": lambda _connection: done.statements.append("rollback"),
    }
    for name, listener in listeners.items():
        event.listen(engine, name, listener)
    for name in ("hash", "verify"):
        real = getattr(argon2.PasswordHasher, name)

        def counted(self, first, *rest, _name=name, _real=real, **options):
            # The cost stands in the hash that is verified, that of nobody too.
            done.hashes.append(f"{_name} {'$'.join(first.split('$')[1:4]) if _name == 'verify' else ''}")
            return _real(self, first, *rest, **options)

        monkeypatch.setattr(argon2.PasswordHasher, name, counted)
    yield done
    for name, listener in listeners.items():
        event.remove(engine, name, listener)


@pytest.fixture
def people(verifying: Flask) -> None:
    """Accounts of every kind, in a library of their own."""
    with verifying.app_context():
        empty(db.engine)
        with make_session(db.engine) as session:
            make = Factories(session)
            make.category(self_registration=True)
            for name, values in {
                "known": {},
                "staff": {"role": Role.ADMIN},
                "disabled": {"active": False},
                "unverified": {"confirmed": False},
                "verified": {"confirmed": False, "email_verified_at": START},
                "passwordless": {"password_hash": None},
                "blocked": {},
            }.items():
                values = {"password": RIGHT} | values if "password_hash" not in values else values
                user = make.user(username=name, email=f"{name}@example.org", **values)
                if name == "blocked":
                    make.row(PatronBlock(user_id=user.id, reason="Because", created_at=START))
            make.user(username="with-card", card_barcode="CARD77", email=None)


@pytest.fixture
def seen(verifying: Flask, people: None, work: Work):
    """Call it with a call for all that can be seen of it, and all that it did."""
    client: DocumentedClient = verifying.test_client()
    # The first statement of a process may ask the database for more than the next.
    client.post("/password-resets", json={"email": "warm@example.org"})
    client.post("/users/login", json={"email": "warm@example.org", "password": WRONG})

    def look(path: str, **body: str) -> dict[str, Any]:
        work.hashes.clear()
        work.statements.clear()
        answer = client.post(path, json=body)
        told = {key: value for key, value in (answer.get_json(silent=True) or {}).items() if key != "request_id"}
        return {
            "status": answer.status_code,
            "body": told or answer.data,
            "headers": {name: value for name, value in answer.headers if name not in OF_THE_REQUEST},
            "names": sorted(answer.headers.keys()),
            "hashes": list(work.hashes),
            "statements": list(work.statements),
        }

    return look


def assert_alike(looks: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """All of them are the same, whose is the first."""
    first, *others = looks.items()
    for name, look in others:
        for what, value in look.items():
            assert value == first[1][what], f"{what} tells {name} from {first[0]}"
    return first[1]


LOG_INS = {
    "nobody": ("nobody@example.org", RIGHT),
    "known": ("known@example.org", WRONG),
    "known by name": ("known", WRONG),
    "known by card": ("CARD77", WRONG),
    "nearly known by card": ("card77", WRONG),
    "staff": ("staff@example.org", WRONG),
    "disabled": ("disabled@example.org", RIGHT),
    "unverified": ("unverified@example.org", RIGHT),
    "verified": ("verified@example.org", WRONG),
    "passwordless": ("passwordless@example.org", RIGHT),
    "blocked": ("blocked@example.org", WRONG),
}


def test_failed_log_ins_are_all_alike(seen):
    looks = {who: seen("/users/login", email=name, password=password) for who, (name, password) in LOG_INS.items()}
    look = assert_alike(looks)
    assert (look["status"], look["hashes"]) == (401, ["verify argon2id$v=19$m=19456,t=2,p=1"])
    assert any("FROM users" in statement for statement in look["statements"])


def test_only_a_success_looks_otherwise(seen):
    for name in ("known", "verified", "staff", "blocked"):
        assert seen("/users/login", email=name, password=RIGHT)["status"] == 200


def test_asking_for_a_new_password_is_always_alike(seen):
    names = ["nobody", "known", "staff", "disabled", "unverified", "verified", "passwordless", "blocked"]
    look = assert_alike({name: seen("/password-resets", email=f"{name}@example.org") for name in names})
    assert (look["status"], look["body"], look["hashes"]) == (202, b"", [])
    assert look["statements"].count("commit") == 1
    assert sum(statement.startswith("INSERT INTO mails") for statement in look["statements"]) == 1


def test_registrations_are_all_alike_where_addresses_must_be_proven(seen):
    wanted = {
        "free": ("free", "free@example.org"),
        "username taken": ("KNOWN", "free2@example.org"),
        "address taken": ("free3", "Known@Example.org"),
        "both taken": ("known", "known@example.org"),
        "by two": ("known", "staff@example.org"),
        "of a disabled account": ("free4", "disabled@example.org"),
        "of an unverified account": ("free5", "unverified@example.org"),
        "of a blocked patron": ("free6", "blocked@example.org"),
        "somebody's card": ("CARD77", "free7@example.org"),
        "somebody's card in small letters": ("card77", "free9@example.org"),
        "just registered": ("free8", "free@example.org"),
    }
    looks = {
        who: seen("/users/register", username=username, email=email, password=RIGHT)
        for who, (username, email) in wanted.items()
    }
    look = assert_alike(looks)
    assert (look["status"], look["body"], look["hashes"]) == (202, b"", ["hash "])
    assert look["statements"].count("commit") == 1


def test_who_tried_too_often_looks_alike_whether_there_is_an_account_or_not(migrated):
    app = migrated(LIMITS_ENABLED=True, REQUIRE_EMAIL_VERIFICATION=True, LIMIT_LOGIN_ADDRESS="500 per 10 minutes")
    with app.app_context(), make_session(db.engine) as session:
        Factories(session).user(username="known", email="known@example.org", password=RIGHT)
    client = app.test_client()

    def tries(path: str, **body: str) -> list[tuple[int, Any, list[str]]]:
        answers = [client.post(path, json=body) for _ in range(7)]
        return [
            (answer.status_code, answer.headers.get("X-RateLimit-Remaining"), sorted(answer.headers.keys()))
            for answer in answers
        ]

    known = tries("/users/login", email="known@example.org", password=WRONG)
    assert known == tries("/users/login", email="nobody@example.org", password=WRONG)
    assert [status for status, _, _ in known] == [401] * 5 + [429] * 2
    known = tries("/password-resets", email="known@example.org")
    assert known == tries("/password-resets", email="nobody@example.org")
    assert [status for status, _, _ in known] == [202] * 3 + [429] * 4
