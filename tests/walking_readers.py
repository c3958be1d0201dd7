"""Everything that can be read, read by one account after another: what was made for one must not reach the next."""

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import date
from itertools import product
from typing import Any

from factories import START, Factories
from sqlalchemy import String, inspect, select
from sqlalchemy.orm import Session

from library.models import (
    AccountEntry,
    ApiKey,
    AuditEvent,
    AuditOutcome,
    Author,
    Base,
    Book,
    Branch,
    CalendarException,
    Copy,
    Hold,
    IdentifierScheme,
    ItemType,
    Job,
    JobKind,
    JobResult,
    Loan,
    Notice,
    NoticeKind,
    Order,
    Outcome,
    Override,
    PatronBlock,
    PatronCategory,
    Policy,
    Renewal,
    RenewalChannel,
    Role,
    Subject,
    TransferLimit,
    User,
    UserSession,
)

# What a key in a path names.
NAMED: dict[str, type[Base]] = {
    "api_key_id": ApiKey,
    "audit_event_id": AuditEvent,
    "author_id": Author,
    "block_id": PatronBlock,
    "book_id": Book,
    "branch_id": Branch,
    "calendar_exception_id": CalendarException,
    "copy_id": Copy,
    "entry_id": AccountEntry,
    "hold_id": Hold,
    "item_type_id": ItemType,
    "job_id": Job,
    "loan_id": Loan,
    "order_id": Order,
    "patron_category_id": PatronCategory,
    "policy_id": Policy,
    "session_id": UserSession,
    "subject_id": Subject,
    "transfer_limit_id": TransferLimit,
    "user_id": User,
}
# Texts of an account that are no person's, or are derived, or whose form a canary would break.
NO_CANARY = {"password_hash", "username_key", "email_key", "language", "words", "username", "email", "card_barcode"}


@dataclass
class Reader:
    """Who reads, and the word that stands in everything that is theirs; `ask(path, headers)` answers as they see it.

    `None` for the user is nobody signed in.
    """

    name: str
    user: User | None
    ask: Callable[..., "Seen"]

    @property
    def canary(self) -> str:
        """A word that occurs in nobody else's data."""
        return f"canary{self.name}"

    @property
    def sees_others(self) -> bool:
        """Whether it is no wonder to find other people's data in what they read."""
        return self.user is not None and self.user.role is not Role.PATRON


@dataclass(frozen=True)
class Seen:
    """An answer: all of it that may depend on the reader."""

    status: int
    body: bytes
    headers: dict[str, str] = field(compare=False)
    tag: str = ""

    def holds(self, word: str) -> bool:
        """Whether a word stands anywhere in the body or in a header."""
        return word.encode() in self.body or any(word in value for value in self.headers.values())


def seen(status: int, headers: Any, body: bytes) -> Seen:
    """What came, without what is another in each answer: the audit grows by what the walk is refused."""
    kept = {name.lower(): value for name, value in headers.items()}
    if body.startswith(b'{"exported_at"'):
        export = json.loads(body)
        body = json.dumps([export[part] for part in sorted(export.keys() - {"exported_at", "audit_events"})]).encode()
    body = re.sub(rb'"request_id":\s?"[^"]*"', b"", body)
    return Seen(status, body, kept, kept.get("etag", ""))


def person(make: Factories, name: str, role: Role = Role.PATRON) -> User:
    """An account in all of whose texts its canary stands."""
    word = f"canary{name}"
    texts = {
        column.key: word
        for column in inspect(User).columns
        if isinstance(column.type, String) and column.type.python_type is str and column.key not in NO_CANARY
        if column.key not in ("role", "history")
    }
    names = {"username": word, "email": f"{word}@example.org", "card_barcode": word}
    return make.user(**texts, **names, role=role, home_branch=make.branch(), patron_category=make.category())


def furnish(make: Factories, people: list[User]) -> None:
    """A library in which everything that can be read exists, and each person has one of all that people have."""
    for number in range(2):
        author, subject = make.author(), make.subject()
        make.book(author, subjects=[subject], identifiers=[(IdentifierScheme.OTHER, f"x{number}")])
        make.policy("max_holds_per_day", 100 + number, branch=make.branch(), patron_category=make.category())
        make.exception(date(2020, 1, 1 + number))
        make.transfer_limit(item_type=make.item_type())
    for person in people:
        word = person.username
        loan = make.loan(copy=make.copy(book=make.book()), patron=person)
        make.charge(loan=loan)
        make.order(person, make.book())
        hold = make.hold(make.book(), person)
        make.session_of(person)
        about = {"loan_id": loan.id, "actor_id": person.id}
        job = make.row(Job(kind=JobKind.NIGHTLY, created_at=START))
        for row in (
            PatronBlock(user_id=person.id, reason=word, created_at=START),
            Notice(patron_id=person.id, kind=NoticeKind.HOLD_READY, occasion=word, hold_id=hold.id, created_at=START),
            AuditEvent(at=START, action="log_in", outcome=AuditOutcome.DONE, codes=[], members=[], actor_id=person.id),
            JobResult(job_id=job.id, position=1, outcome=Outcome.ADDED),
            Override(action="renew", code="held", reason=word, made_at=START, **about),
            Renewal(loan_id=loan.id, channel=RenewalChannel.DESK, renewed_at=START, was_due_at=START, due_at=START),
            ApiKey(
                user_id=person.id, name=word, prefix=word[:20], key_hash=word, scopes=["loans.read"], created_at=START
            ),
        ):
            make.row(row)


def addresses(session: Session, document: dict[str, Any], people: list[User]) -> Iterator[tuple[str, str]]:
    """(operationId, address) of everything that can be read, for each key, in full and narrowed by other's names."""
    cards = [person.card_barcode for person in people]
    needed = {
        "get_availability": ["ids=1&ids=2"],
        "get_summary_by_card": [f"card_barcode={card}" for card in cards],
        "list_open_days": [""],
        # Not what the walk itself leaves there.
        "list_audit_events": [f"at_max=2026-03-03T00:00:00Z&actor_id={person.id}" for person in people],
        "get_effective_policies": [f"patron_id={person.id}" for person in people],
    }
    for path, methods in document["paths"].items():
        if "get" in methods:
            operation = methods["get"]
            for keys in product(*(_keys(session, name) for name in re.findall(r"{(\w+)}", path))):
                address = re.sub(r"{\w+}", "{}", path).format(*keys)
                for query in needed.get(operation["operationId"], _queries(operation, people)):
                    yield operation["operationId"], f"{address}?{query}".removesuffix("?")


def _keys(session: Session, name: str) -> list[int]:
    assert name in NAMED, f"walking_readers.NAMED does not know what {{{name}}} names"
    keys = session.scalars(select(NAMED[name].id).order_by(NAMED[name].id)).all()
    personal = hasattr(NAMED[name], "patron_id") or hasattr(NAMED[name], "user_id") or NAMED[name] is User
    return list(keys[:3] if personal else keys[:1])


def _queries(operation: dict[str, Any], people: list[User]) -> Iterator[str]:
    yield ""
    parameters = {one["name"]: one["schema"] for one in operation.get("parameters", ()) if "name" in one}
    if "expand" in parameters:
        yield "expand=" + ",".join(parameters["expand"]["items"]["enum"])
    if "q" in parameters:
        yield f"q={people[1].username}"
    for name in {"patron_id", "user_id", "actor_id"} & parameters.keys():
        yield from (f"{name}={person.id}" for person in people[:2])


class Walk:
    """Reads addresses by several readers, one after another, and holds each answer against a cold one.

    `cool` empties the cache.
    """

    def __init__(self, readers: list[Reader], cool: Callable[[], None]) -> None:
        self.readers, self.cool = readers, cool
        # operationId → names of those who were answered 200.
        self.answered: dict[str, set[str]] = {}

    def read(self, operation: str, address: str, private: bool) -> None:
        """Each reader alone, then all in turn and in the other order, with what the others have left in the cache."""
        cold = {}
        for reader in self.readers:
            self.cool()
            cold[reader.name] = self._ask(reader, address, private)
            if cold[reader.name].status == 200:
                self.answered.setdefault(operation, set()).add(reader.name)
        for order in (self.readers, self.readers[::-1]):
            self.cool()
            for reader in order:
                warm = self._ask(reader, address, private)
                assert warm == cold[reader.name], f"{reader.name} is served another {address} after {order[0].name}"
        self._ask_with_tags(address, cold)

    def _ask(self, reader: Reader, address: str, private: bool) -> Seen:
        answer = reader.ask(address)
        assert answer.status < 500, (reader.name, address, answer)
        foreign = [] if reader.sees_others else [other for other in self.readers if other is not reader]
        # What they searched for themselves stands in the links of the answer.
        for other in foreign:
            if answer.holds(other.canary):
                assert other.canary in address, f"{reader.name} finds {other.canary} in {address}"
                assert other.canary.encode() not in answer.body, f"{reader.name} finds {other.canary} in {address}"
        personal = private or any(answer.holds(one.canary) for one in self.readers)
        if personal:
            assert "no-store" in answer.headers.get("cache-control", ""), (address, answer.headers)
        if personal and answer.status == 200:
            assert "Authorization" in answer.headers.get("vary", ""), (address, answer.headers)
        return answer

    def _ask_with_tags(self, address: str, cold: dict[str, Seen]) -> None:
        """The tag of what one was shown is good for nothing to somebody who is shown something else."""
        for reader in self.readers:
            own = cold[reader.name]
            tags = {one.tag for one in cold.values() if one.tag and one.body != own.body}
            if own.status == 200 and tags:
                answer = reader.ask(address, {"If-None-Match": ", ".join(sorted(tags))})
                assert answer == own, f"{reader.name} is told that {address} has not changed"
