"""The whole catalogue as one stream: every book once, in little memory, and in nobody's way."""

import itertools
import json
import socket
import tracemalloc
from contextlib import closing
from http.client import HTTPConnection
from xml.etree import ElementTree

import pytest
from pymarc import Field, Indicators, MARCReader, Record, Subfield
from sqlalchemy import event, insert
from werkzeug.test import create_environ, run_wsgi_app

from library.api.exports import _json
from library.api.plumbing.streaming import INCOMPLETE, begun
from library.database import make_session, transaction
from library.exchange.writers import WRITERS
from library.exporting import walk
from library.extensions import db
from library.models import Book, BookSubject, Subject
from library.rules import exports

EVERY = ["application/json", *WRITERS]


def marc(number: int) -> bytes:
    record = Record(leader="00000nam a2200000 a 4500")
    record.add_field(Field("001", data=f"n{number}"))
    record.add_field(Field("245", Indicators("0", "0"), [Subfield("a", f"Book {number}")]))
    return record.as_marc()


def export(client, media_type: str = "application/json", query: str = ""):
    return client.get(f"/books/export{query}", headers={"Accept": media_type})


@pytest.fixture
def many(session, now):
    """Call it to have so many books more."""

    def add(number: int, words: int = 1) -> None:
        rows = [
            {
                "title": f"Book {key}",
                "title_key": f"book {key}",
                "material_type": "book",
                "words": f"book {key}",
                "version": 1,
                "created_at": now,
                "updated_at": now,
                "description": "Long " * words,
            }
            for key in range(number)
        ]
        session.execute(insert(Book.__table__), rows)
        session.commit()

    return add


@pytest.mark.parametrize("media_type", EVERY)
def test_every_book_is_there_once_in_every_format(as_librarian, many, media_type):
    many(exports.AT_ONCE * 2 + 1)
    answer = export(as_librarian, media_type)
    assert (answer.status_code, answer.mimetype) == (200, media_type)
    for number in (0, exports.AT_ONCE - 1, exports.AT_ONCE, exports.AT_ONCE * 2):
        text = answer.data.decode("utf-8")
        assert sum(text.count(f"Book {number}{end}") for end in ('"', "\x1e", "<", ",", "}", "\r", "\n")) == 1
    suffix = ".json" if media_type == "application/json" else WRITERS[media_type].suffix
    assert answer.headers["Content-Disposition"] == f'attachment; filename="books{suffix}"'
    assert answer.headers["Cache-Control"] == "private, no-store"
    assert "ETag" not in answer.headers


@pytest.mark.parametrize("media_type", EVERY)
def test_an_empty_catalogue_is_a_whole_document(as_librarian, media_type):
    answer = export(as_librarian, media_type)
    assert answer.status_code == 200
    if media_type.endswith("json"):
        assert json.loads(answer.data) == []
    elif media_type.endswith("xml"):
        assert list(ElementTree.fromstring(answer.data)) == []
    elif media_type == "text/csv":
        assert len(answer.data.splitlines()) == 1
    else:
        assert answer.data == b""


def test_in_json_it_is_the_array_of_the_books_as_they_are_listed(as_librarian, make):
    make.book(make.author(), subjects=[make.subject()])
    make.book(title="Zürich “quoted”")
    assert export(as_librarian).json == as_librarian.get("/books?sort=created_at").json


def test_the_filters_of_the_list_select(as_librarian, make):
    make.book(title="Whales", year=1851)
    make.book(title="More whales", year=1951)
    make.book(title="Mice", year=1851)
    for query, titles in (
        ("?q=whale", ["Whales", "More whales"]),
        ("?year_max=1900", ["Whales", "Mice"]),
        ("?q=whale&year_max=1900", ["Whales"]),
        ("?q=%22", []),
        ("?ids=2&ids=3", ["More whales", "Mice"]),
    ):
        assert [book["title"] for book in export(as_librarian, query=query).json] == titles
    records = list(MARCReader(export(as_librarian, "application/marc", "?q=mice").data))
    assert [record["245"]["a"].rstrip(" /:.") for record in records] == ["Mice"]
    for query, code in (("?page=2", "unknown_parameter"), ("?year_max=x", "invalid_type")):
        answer = export(as_librarian, query=query)
        assert (answer.status_code, answer.json["errors"][0]["code"]) == (422, code)


def test_the_catalogue_as_a_whole_is_for_staff(as_patron, client):
    assert export(as_patron).status_code == 403
    assert export(client).status_code == 401


def test_it_walks_in_short_transactions_past_whoever_writes(app, make, many, session):
    many(exports.AT_ONCE * 3)
    with app.app_context(), make_session(db.engine) as reading:
        books = walk(reading, {}, exports.records_of)
        first = list(itertools.islice(books, exports.AT_ONCE))
        # Nothing is held while the client takes its time: others delete, change and add.
        for key in (1, exports.AT_ONCE + 2):
            session.delete(session.get_one(Book, key))
        session.get_one(Book, exports.AT_ONCE + 1).title = "Changed"
        session.commit()
        added = make.book(title="Added").id
        rest = list(books)
    keys = [record.book_id for record in (*first, *rest)]
    assert keys == sorted(set(keys))
    assert set(keys) == {*range(1, exports.AT_ONCE * 3 + 1), added} - {exports.AT_ONCE + 2}
    assert rest[0].title == "Changed"


def test_it_begins_before_the_last_book_is_read_and_ends_when_the_client_goes(app, as_librarian, many, statements):
    many(exports.AT_ONCE * 20)
    headers = {"Authorization": f"Bearer {as_librarian.token}", "Accept": "application/marc"}
    statements.clear()
    blocks, status, _ = run_wsgi_app(app, create_environ("/books/export", headers=headers), buffered=False)
    assert status == "200 OK"
    assert next(iter(blocks))
    begun = len(statements)
    blocks.close()
    assert len(statements) == begun, "a client that has gone is not read for"
    assert begun < 60
    # Nothing of it holds the database: a write goes through at once.
    with app.app_context(), make_session(db.engine) as other, transaction(other, write=True):
        other.get_one(Book, 1).title = "Still here"


def test_what_goes_wrong_at_once_is_no_stream_cut_short():
    def broken():
        raise LookupError("nothing there")
        yield b""

    with pytest.raises(LookupError):
        begun(broken())
    assert b"".join(begun(iter([b"a", b"b"]))) == b"ab"
    assert b"".join(begun(iter([]))) == b""
    assert b"".join(_json([])) == b"[]\n"


def test_a_stream_that_breaks_off_says_so_at_its_end(many, app, caplog):
    many(exports.AT_ONCE + 1, words=100)

    def breaking():
        with app.app_context(), make_session(db.engine) as reading:
            for number, record in enumerate(walk(reading, {}, exports.records_of), 1):
                if number > exports.AT_ONCE:
                    raise LookupError("the database is gone")
                yield record

    data = b"".join(begun(WRITERS["application/marc"].write(breaking())))
    assert data.endswith(INCOMPLETE)
    assert "an export broke off" in caplog.text
    read = list(MARCReader(data))
    assert 10 < len(read) <= exports.AT_ONCE + 1
    assert read[-1] is None, "a reader sees that something is wrong"


def test_a_real_server_sends_and_takes_streams(served):
    token = served.admin()
    file = b"".join(map(marc, range(1, 601)))
    head = b'--x\r\nContent-Disposition: form-data; name="file"; filename="books.mrc"\r\n\r\n'
    body = head + file + b"\r\n--x--\r\n"
    sent = {"Authorization": f"Bearer {token}", "Content-Type": "multipart/form-data; boundary=x"}
    with closing(HTTPConnection("127.0.0.1", served.port, timeout=60)) as connection:
        # In chunks, its length not told.
        pieces = (body[at : at + 10_000] for at in range(0, len(body), 10_000))
        connection.request("POST", "/imports", pieces, sent, encode_chunked=True)
        answer = connection.getresponse()
        assert (answer.status, json.loads(answer.read())["import"]["size"]) == (202, len(file))
    served.flask("jobs", "run", "--once")
    wanted = {"Authorization": f"Bearer {token}", "Accept": "application/marc"}
    for _ in range(10):
        # More clients than the server has threads begin to read, and go away.
        with socket.create_connection(("127.0.0.1", served.port), timeout=60) as client:
            lines = [f"{name}: {value}" for name, value in {"Host": "x", **wanted}.items()]
            client.sendall("\r\n".join(["GET /books/export HTTP/1.1", *lines, "", ""]).encode())
            assert client.recv(12) == b"HTTP/1.1 200"
    with closing(HTTPConnection("127.0.0.1", served.port, timeout=60)) as connection:
        connection.request("GET", "/books/export", headers=wanted)
        answer = connection.getresponse()
        assert (answer.status, answer.headers["Transfer-Encoding"]) == (200, "chunked")
        assert len(list(MARCReader(answer.read()))) == 600


@pytest.mark.parametrize("media_type", ["application/json", "application/marc"])
def test_ten_times_the_books_take_no_more_memory(app, as_librarian, many, media_type):
    peaks, lengths = [], []
    for more in (250, 2250):
        many(more, words=600)
        headers = {"Authorization": f"Bearer {as_librarian.token}", "Accept": media_type}
        tracemalloc.start()
        try:
            blocks, status, _ = run_wsgi_app(app, create_environ("/books/export", headers=headers), buffered=False)
            lengths.append(sum(len(block) for block in blocks))
            peaks.append(tracemalloc.get_traced_memory()[1])
        finally:
            tracemalloc.stop()
        assert status == "200 OK"
    # What was not yet collected counts too: a part of what was made, and never all of it.
    assert peaks[1] - peaks[0] < (lengths[1] - lengths[0]) / 3, (peaks, lengths)
    assert lengths[1] > 7_000_000


def test_a_book_that_is_changed_while_it_is_read_comes_whole(session, make):
    """Its title is one statement and its subjects another: both are of the same moment."""
    book = make.book(title="Old")
    session.commit()
    engine = session.get_bind()
    changed: list[str] = []

    def change(_connection, _cursor, statement, *_) -> None:
        if "FROM book_subjects" in statement and not changed:
            changed.append(statement)
            with make_session(engine) as other, transaction(other, write=True):
                subject = Subject(name="New", name_key="new")
                other.add(subject)
                other.flush()
                other.add(BookSubject(book_id=book.id, subject_id=subject.id, position=1))

    event.listen(engine, "before_cursor_execute", change)
    try:
        with make_session(engine) as reader:
            (record,) = walk(reader, {}, exports.records_of)
            (again,) = walk(reader, {}, exports.records_of)
    finally:
        event.remove(engine, "before_cursor_execute", change)
    assert changed
    assert (record.subjects, again.subjects) == ([], ["New"])
