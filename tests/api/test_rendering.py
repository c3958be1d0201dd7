"""Rendering: what the database renders is, byte for byte, what the schema dumps."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import marshmallow as ma
import pytest
from flask import Flask, g
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rows import keys_of, write_row
from sqlalchemy import select, text
from sqlalchemy.orm import Session
from test_house import populate
from walking_lists import lists, operations, walk, words_of

from library.api.plumbing import finding, prepared
from library.api.plumbing.errors import Problem
from library.api.plumbing.rendering import Shown, dump_json
from library.api.plumbing.sql_json import Rendering, rendering_of
from library.database import transaction
from library.extensions import db
from library.models import Author, IdentifierScheme, Role, User

from .test_sql_json import why_not

# The answers whose rows the database renders.
RENDERED = (
    "AuthorSchema",
    "BlockSchema",
    "BookSchema",
    "CalendarExceptionSchema",
    "CopySchema",
    "ItemTypeSchema",
    "JobResultSchema",
    "JobSchema",
    "NoticeSchema",
    "OrderSchema",
    "OverrideMadeSchema",
    "PatronCategorySchema",
    "RenewalSchema",
    "SessionSchema",
    "SubjectSchema",
    "TransferLimitSchema",
    "UserSchema",
)
# The answers that are dumped in Python though they show rows of a table, and why.
DUMPED = {
    "AccountEntrySchema": "AccountEntrySchema is prepared in Python by _complete",
    "ApiKeySchema": "ApiKeySchema.scopes lists values of a column",
    "AuditEventSchema": "AuditEventSchema.codes lists values of a column",
    "BranchSchema": "BranchSchema.hours is kept in a column or made in Python, and no relation",
    "HoldSchema": "HoldSchema is prepared in Python by _count",
    "LoanSchema": "LoanSchema is prepared in Python by _look_ahead",
    "PolicySchema": "PolicySchema.value is kept in a column of JSON, which SQL writes otherwise",
    "RenewedSchema": "LoanSchema is prepared in Python by _look_ahead",
}
# The answers that no one table has; previews beside them.
COMPOSED = {
    "AccountSchema",
    "AvailabilitySchema",
    "BookFacetsSchema",
    "CancelledHoldSchema",
    "CheckInSchema",
    "DossierSchema",
    "EffectivePolicySchema",
    "ErasureSchema",
    "HealthSchema",
    "HoldVerdictsSchema",
    "LibrarySchema",
    "LostSchema",
    "MadeApiKeySchema",
    "MarkedSchema",
    "MovesSchema",
    "OpenDaySchema",
    "PickSchema",
    "QueueSchema",
    "RefusalSchema",
    "ResolutionSchema",
    "SummarySchema",
    "TokensSchema",
    "VerdictsSchema",
}


def shown(app: Flask) -> Iterator[Shown]:
    """How every operation shows what it answers."""
    for rule in app.url_map.iter_rules():
        view = getattr(app.view_functions[rule.endpoint], "view_class", None)
        for method in getattr(view, "methods", None) or ():
            marks = getattr(getattr(view, method.lower()), "_marks", {})
            if "listing" in marks:
                yield marks["listing"].shape
            if marks.get("shape") is not None:
                yield marks["shape"]


def schemas_of(app: Flask) -> dict[str, ma.Schema]:
    return {type(shape.schema).__name__: shape.schema for shape in shown(app)}


def test_what_is_dumped_in_python_and_why(shared_app):
    reasons = {name: why_not(schema) for name, schema in schemas_of(shared_app).items()}
    composed = {name for name, reason in reasons.items() if reason == f"{name} shows no row of one table"}
    assert {name for name in composed if not name.endswith("PreviewSchema")} == COMPOSED
    assert {name: why for name, why in reasons.items() if why and name not in composed} == DUMPED
    assert tuple(sorted(name for name, why in reasons.items() if why is None)) == RENDERED


# Rows


@pytest.fixture
def world(make) -> Any:
    """Rows to refer to, several of each kind."""
    librarian = make.librarian()
    populate(make, librarian)
    return librarian


@contextmanager
def undone(session: Session) -> Iterator[None]:
    try:
        yield
    finally:
        session.rollback()


def in_sql_and_dumped(session: Session, rendering: Rendering, schema: ma.Schema, keys: list[int]) -> None:
    table = rendering.table
    statement = rendering.select(table.id, rendering.version).where(table.id.in_(keys))
    found = {row.id: row for row in session.connection().execute(statement)}
    session.expire_all()
    for row in session.scalars(select(table).where(table.id.in_(keys))):
        assert found[row.id].rendered.encode() == dump_json(schema.dump(row, many=False))
        assert found[row.id].version == getattr(row, "version", 0)
    assert found.keys() == {*keys}


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(data=st.data())
@pytest.mark.parametrize("name", RENDERED)
def test_the_database_renders_any_row_as_its_schema_dumps_it(app, session, world, name, data):
    """Rows of everything that the columns of the table admit."""
    keys, schema = keys_of(session), schemas_of(app)[name]
    rendering = rendering_of(schema)
    session.rollback()
    with app.test_request_context():
        g.actor = User(role=data.draw(st.sampled_from([Role.PATRON, Role.LIBRARIAN])))
        g.session_id = data.draw(st.sampled_from([None, *keys["user_sessions"]]))
        with undone(session):
            rows = [write_row(data.draw, session, rendering.table, keys) for _ in range(2)]
            known = session.scalars(select(rendering.table.id).limit(3)).all()
            in_sql_and_dumped(session, rendering, schema, [*rows, *known])


def test_a_moment_written_by_hand_has_its_six_digits_too(app, session, make):
    author = make.author()
    book = make.book(author)
    if session.bind.dialect.name != "sqlite":
        pytest.skip("PostgreSQL keeps no texts")
    session.execute(text("UPDATE books SET created_at = '2026-03-02 10:00:00'"))
    schema = schemas_of(app)["BookSchema"]
    with undone(session):
        in_sql_and_dumped(session, rendering_of(schema), schema, [book.id])


# Answers


@pytest.fixture
def dumped(monkeypatch) -> Any:
    """Call it, and nothing is rendered by the database any more."""
    return lambda: monkeypatch.setattr(Shown, "in_sql", property(lambda _: None))


def addresses(app: Flask, user_id: int) -> Iterator[str]:
    """Every list in its orders, by pages and by steps, and every single record."""
    for path, operation in lists(app, user_id).items():
        yield from (f"{path}?page_size=5", f"{path}?page_size=5&page=2", f"{path}?page_size=5&cursor=start")
        for sort in words_of(operation, "sort"):
            yield from (f"{path}?page_size=4&page=2&sort={sort}", f"{path}?page_size=4&cursor=start&sort={sort}")
    for path, _ in operations(app):
        if path.count("{") == 1 and path.endswith("_id}"):
            yield f"{path.split('{')[0]}1"
    yield from ("/users/me", "/books?q=book&page_size=5", "/books?language=eng", "/books?ids=1&ids=2&sort=-year")


def test_both_renderings_answer_the_same(app, signed_in, make, dumped):
    """Body, tag and links of every list and every record, a second step of each walk included."""
    admin = make.librarian(role=Role.ADMIN)
    client = signed_in(admin)
    populate(make, admin)

    def answers() -> dict[str, Any]:
        found = {}
        for address in addresses(app, admin.id):
            while address:
                answer = client.get(address)
                told = {name: answer.headers.get(name) for name in ("ETag", "Link", "X-Pagination", "X-Next-Cursor")}
                found[address] = answer.status_code, answer.data, told
                onward = told["X-Next-Cursor"] if "cursor=start" in address else None
                address = address.replace("cursor=start", f"cursor={onward}") if onward else ""
        return found

    app.config["CACHE_SECONDS"], seconds = 0, app.config["CACHE_SECONDS"]
    try:
        rendered = answers()
        dumped()
        assert answers() == rendered
    finally:
        app.config["CACHE_SECONDS"] = seconds
    assert len(rendered) > 150
    assert sum(status == 200 and len(body) > 10 for status, body, _ in rendered.values()) > 140


def test_what_is_written_read_and_listed_is_the_same_text(signed_in, make):
    client = signed_in(make.librarian(role=Role.ADMIN))
    authors, subject = [make.author(name=name) for name in ("B", "A", 'Ä "quoted"')], make.subject()
    body = {
        "title": "Moby-Dick \u2028 \U0001f4da",
        "contributors": [{"author_id": author.id, "role": "editor"} for author in reversed(authors)],
        "subject_ids": [subject.id],
        "identifiers": [{"scheme": "isbn", "value": "978-0-14-243724-7"}],
    }
    made = client.post("/books", json=body)
    assert [one["name"] for one in made.json["contributors"]] == ['Ä "quoted"', "A", "B"]
    path = made.headers["Location"]
    for change in (None, {"contributors": body["contributors"][:1]}, {"year": 1851, "identifiers": []}):
        if change is not None:
            made = client.change(path, json=change)
            assert made.status_code == 200
        read = client.get(path)
        assert (read.data, read.headers["ETag"]) == (made.data, made.headers["ETag"])
        assert client.get("/books").data == b"[" + made.data + b"]"
        assert client.get("/books?cursor=start").data == b"[" + made.data + b"]"
    whole = client.change(path, "PUT", json={"title": "Typee"})
    assert whole.json["contributors"] == whole.json["subjects"] == []
    assert (client.get(path).data, client.get("/books?q=typee").data) == (whole.data, b"[" + whole.data + b"]")


def test_what_patrons_may_not_see_is_not_rendered_for_them(as_patron, as_librarian, make):
    path = f"/copies/{make.copy(check_note='2 CDs', condition_note='Wet').id}"
    for _ in range(2):
        assert (as_librarian.get(path).json["check_note"], as_patron.get(path).json["check_note"]) == ("2 CDs", None)
        notes = [client.get("/copies").json[0]["condition_note"] for client in (as_patron, as_librarian)]
        assert notes == [None, "Wet"]


def test_a_kept_statement_asks_for_the_values_at_hand(signed_in, make):
    """The same form of a list, for other readers and other values: nobody gets what somebody before them asked for."""
    patrons = [make.user() for _ in range(3)]
    clients = [signed_in(patron) for patron in patrons]
    books = [make.book(language=language) for language in ("eng", "ger", "ger")]
    orders = {patron.id: make.order(patron, book).id for patron, book in zip(patrons, books, strict=True)}
    for _ in range(2):
        for patron, client in zip(patrons, clients, strict=True):
            (order,) = client.get("/orders").json
            assert (order["id"], order["user_id"]) == (orders[patron.id], patron.id)
            assert client.get("/users/me").json["id"] == patron.id
            found = {key: client.get(f"/orders/{key}") for key in orders.values()}
            assert {key for key, answer in found.items() if answer.status_code != 404} == {order["id"]}
            assert found[order["id"]].json == order
    client = clients[0]
    assert [len(client.get(f"/books?language={code}").json) for code in ("eng", "ger", "fre")] == [1, 2, 0]
    assert [len(client.get("/books", query_string={"ids": keys}).json) for keys in ([1], [1, 2], [2, 3, 9])] == [
        1,
        2,
        2,
    ]
    assert [client.get(f"/books?page_size=1&page={page}").json[0]["id"] for page in (1, 2, 3)] == [1, 2, 3]


def test_a_walk_goes_on_among_those_without_a_value(as_patron, make):
    keys = [make.book(year=year).id for year in (1851, 1851, None, None, None)]
    for sort, found in (("year", keys), ("-year", [*keys[1::-1], *keys[:1:-1]])):
        steps = [*walk(as_patron, "/books", size=1, sort=sort)]
        assert [row["id"] for step in steps for row in step] == found


def test_many_forms_of_a_list_are_not_all_kept(app, as_patron, make, monkeypatch):
    monkeypatch.setattr(prepared, "MOST", 3)
    # What other tests have asked for is known already.
    for shape in shown(app):
        shape.prepared._kept.clear()
    book = make.book(year=1851, language="eng")
    for query in ("", "year_min=1850", "year_max=1860", "language=eng", "q=book", "sort=year", "sort=-year", "ids=1"):
        assert [row["id"] for row in as_patron.get(f"/books?{query}").json] == [book.id]
    (listing,) = {shape for shape in shown(app) if type(shape.schema).__name__ == "BookSchema" and shape.schema.many
                  and shape.prepared._kept}  # fmt: skip
    assert 0 < len(listing.prepared._kept) <= 3


def test_a_list_is_counted_once_and_then_costs_one_statement_as_a_record_does(as_patron, make, statements):
    for number in range(12):
        identifiers = [(IdentifierScheme.OTHER, f"x{number}")]
        make.book(make.author(), make.author(), subjects=[make.subject()], identifiers=identifiers)
    for address, most in (
        ("/books?page_size=10&sort=title", 2),
        ("/books?page_size=10&page=2", 1),
        ("/books?page_size=10&q=book", 1),
        ("/books?page_size=10&language=eng&page=1", 1),
        ("/books?page_size=10&cursor=start", 1),
        ("/books?page_size=10&page=9", 2),
        ("/books/3", 1),
    ):
        statements.clear()
        assert as_patron.get(address).status_code == 200
        assert len([one for one in statements if "books" in one]) == most, statements
        # Who asks, and the generation under which pages are kept.
        assert len(statements) <= most + 2, statements


def test_a_change_is_answered_in_one_statement(as_librarian, make, statements):
    path = f"/authors/{make.author().id}"
    statements.clear()
    assert as_librarian.change(path, json={"dates": "1775-1817"}).status_code == 200
    looks = [one for one in statements if "FROM authors" in one and "json" in one]
    assert len(looks) == 1
    assert statements.index(looks[0]) > max(at for at, one in enumerate(statements) if one.startswith("UPDATE authors"))


def test_a_row_that_is_gone_is_not_found(as_librarian, make):
    author = make.author()
    path = f"/authors/{author.id}"
    assert as_librarian.get(path).status_code == 200
    assert as_librarian.change(path, "DELETE").status_code == 204
    assert as_librarian.get(path).status_code == 404


def test_a_view_that_looks_into_what_it_found_gets_the_row(app, session, make):
    author = make.author(name="Melville, Herman")
    with app.test_request_context(), transaction(db.session, write=False):
        g.actor = make.librarian()
        unread = finding._unread(Author, (), {"id": author.id})
        assert (unread.name, unread.version) == ("Melville, Herman", 1)
        nobody = finding._unread(Author, (), {"id": 99})
        with pytest.raises(Problem) as problem:
            nobody.name  # noqa: B018
        assert problem.value.status == 404


def test_what_stands_in_no_transaction_is_dumped(app, session, make):
    """A view that has committed by itself answers what it holds: nothing more is asked of the database."""
    author, shape = make.author(), Shown(schemas_of(app)["AuthorSchema"])
    with app.test_request_context():
        assert shape.rendered(Author(name="New")) is None
        assert not session.in_transaction()
        assert shape.rendered(author) is None
        assert shape.rendered({"name": "No row"}) is None
