"""Caches never serve across identities: every account reads everything, before and after every other."""

from collections.abc import Iterator
from typing import Any

import pytest
from documented import document_of
from factories import Factories
from flask import Flask
from sqlalchemy import event
from test_redis import eventually, own_redis
from walking_readers import Reader, Seen, Walk, addresses, furnish, person, seen

from library.database import make_session
from library.extensions import cache, db, storage
from library.models import Role, User

ROLES = {"ann": Role.PATRON, "bob": Role.PATRON, "lib": Role.LIBRARIAN, "adm": Role.ADMIN}
# Out of these one is given what another has asked for, if both may see the same.
KEPT = {"get_book_facets", "list_authors", "list_books", "list_branches", "list_item_types", "list_subjects"}


@pytest.fixture(params=["memory", pytest.param("redis", marks=pytest.mark.services)])
def open_catalogue(request, migrated, tmp_path) -> Iterator[Flask]:
    """An application whose catalogue is open, which keeps its pages in memory or in Redis."""
    redis = own_redis(tmp_path) if request.param == "redis" else None
    yield migrated(PUBLIC_CATALOGUE=True, REDIS_URL=redis.url if redis else "")
    if redis:
        redis.end()


class Readers:
    """The accounts of a furnished library, each with a client, and nobody signed in."""

    def __init__(self, app: Flask) -> None:
        self.app, self.statements = app, 0
        with app.app_context():
            self.session = make_session(db.engine)
            event.listen(db.engine, "before_cursor_execute", self._count)
        self.make = Factories(self.session)
        self.people = [person(self.make, name, role) for name, role in ROLES.items()]
        furnish(self.make, self.people)
        self.all = [*(self._reader(name, user) for name, user in zip(ROLES, self.people, strict=True))]
        # The librarian's program sees the catalogue and no person.
        program = self.make.api_key(self.people[2], "catalogue.read")
        self.all += [self._reader("program", self.people[2], program.text), self._reader("nobody", None)]

    def _count(self, *_: Any) -> None:
        self.statements += 1

    def _reader(self, name: str, user: User | None, key: str = "") -> Reader:
        client: Any = self.app.test_client()
        if key:
            client.token = key
        elif user:
            client.sign_in(user, self.make.session_of(user))

        def ask(address: str, headers: Any = None) -> Seen:
            answer = client.get(address, headers=headers)
            return seen(answer.status_code, answer.headers, answer.data)

        return Reader(name, user, ask)

    def cool(self) -> None:
        """Forget every kept page, and wait until pages are kept again where a slow machine made Redis late."""
        with self.app.app_context():
            eventually(lambda: storage(self.app).ask(lambda: [cache.clear()], list))

    def cost(self, address: str, *readers: Reader) -> int:
        """The statements that the last of them costs, who ask in turn; the fast path's go past the engine."""
        self.cool()
        self.app.extensions["library_fast_path"].enabled = False
        for one in readers:
            self.statements = 0
            one.ask(address)
        self.app.extensions["library_fast_path"].enabled = True
        return self.statements


def test_no_account_gets_what_was_made_for_another(open_catalogue):
    readers, document = Readers(open_catalogue), document_of(open_catalogue)
    walk = Walk(readers.all, readers.cool)
    ann, bob = readers.all[:2]
    operations = {said["get"]["operationId"]: said["get"] for said in document["paths"].values() if "get" in said}
    kept = set()
    asked = list(addresses(readers.session, document, readers.people))
    readers.session.close()
    for operation, address in asked:
        walk.read(operation, address, bool(operations[operation]["security"]))
        if operation not in kept and readers.cost(address, ann, bob) < readers.cost(address, bob):
            kept.add(operation)
    # The cache was warm indeed: what a reader of the same role has asked for costs less.
    assert kept == KEPT
    assert operations.keys() - walk.answered.keys() == set(), "nobody was answered"
