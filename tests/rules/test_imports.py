"""Taking records in: each with one outcome, none twice, and a bad one costs itself only."""

from datetime import timedelta

import pytest
from sqlalchemy import update
from sqlalchemy.exc import DBAPIError, OperationalError, PendingRollbackError

from library.database import transaction
from library.exchange.records import BookRecord, ContributorRecord, IdentifierRecord
from library.models import (
    Author,
    AuthorKind,
    Book,
    ContributorRole,
    Copy,
    IdentifierScheme,
    MaterialType,
    OnDuplicate,
    Outcome,
    SourceRecord,
    Subject,
)
from library.rules import catalogue
from library.rules.imports import import_batch
from library.rules.outcomes import Result, is_of_the_database

from .helping import found, impatience

ISBN = "9780141439518"


@pytest.fixture
def take(session, now):
    """Call it with records for their outcomes; they are committed as one batch."""

    def outcomes(*records: BookRecord, on_duplicate="skip", at=now) -> list[str]:
        batch = list(enumerate(records, 1))
        with transaction(session, write=True):
            results = import_batch(session, batch, OnDuplicate(on_duplicate), at)
        session.expunge_all()
        assert [(result.position, result.reference) for result in results] == [
            (position, record.control_number or record.title[:100]) for position, record in batch
        ]
        return [result.outcome.value for result in results]

    return outcomes


@pytest.fixture
def titles(session):
    """Call it for the titles of all books, oldest first."""
    return lambda: [book.title for book in session.query(Book).order_by(Book.id)]


def numbered(number: str, title: str = "Moby-Dick", **more) -> BookRecord:
    return BookRecord(title, control_number=number, **more)


def identified(value: str, title: str = "Moby-Dick", scheme: str = "isbn") -> BookRecord:
    return BookRecord(title, identifiers=[IdentifierRecord(scheme, value)])


def full(**changes) -> BookRecord:
    values = {
        "title": "Moby-Dick",
        "subtitle": "or, The whale",
        "material_type": "map",
        "contributors": [
            ContributorRecord("Melville, Herman", dates="1819-1891"),
            ContributorRecord("Society of whalers", role="editor", kind="body"),
            ContributorRecord("Melville, Herman", role="editor", dates="1819-1891"),
        ],
        "publisher": "Harper",
        "year": 1851,
        "year_text": "c1851",
        "edition": "1st",
        "language": "eng",
        "pages": 635,
        "series": "Classics ; 1",
        "subjects": ["Whales", "Sea stories"],
        "description": "Call me Ishmael.",
        "identifiers": [IdentifierRecord("isbn", ISBN), IdentifierRecord("lccn", "n1")],
        "control_number": "cn1",
        "source_format": "marc21",
        "source": b"\x00raw\xff",
    }
    return BookRecord(**values | changes)


def test_nothing_makes_nothing(take, titles):
    assert take() == []
    assert titles() == []


def test_everything_a_record_says_is_kept(session, take, now):
    assert take(full()) == ["added"]
    book = session.query(Book).one()
    columns = ("title", "subtitle", "publisher", "year", "year_text", "edition", "language", "pages", "series")
    assert {name: getattr(book, name) for name in columns} == {name: getattr(full(), name) for name in columns}
    assert (book.material_type, book.description, book.control_number) == (MaterialType.MAP, "Call me Ishmael.", "cn1")
    assert (book.created_at, book.updated_at, book.version) == (now, now, 1)
    assert [(link.author.name, link.author.dates, link.author.kind, link.role) for link in book.contributions] == [
        ("Melville, Herman", "1819-1891", AuthorKind.PERSON, ContributorRole.AUTHOR),
        ("Society of whalers", "", AuthorKind.BODY, ContributorRole.EDITOR),
        ("Melville, Herman", "1819-1891", AuthorKind.PERSON, ContributorRole.EDITOR),
    ]
    assert [link.subject.name for link in book.subject_links] == ["Whales", "Sea stories"]
    assert [(row.scheme, row.value, row.position) for row in book.identifiers] == [
        (IdentifierScheme.ISBN, ISBN, 1),
        (IdentifierScheme.LCCN, "n1", 2),
    ]
    assert (book.source.format, book.source.content) == ("marc21", b"\x00raw\xff")


def test_a_book_taken_in_is_indexed_as_one_that_was_written(session, take):
    take(full())
    book = session.query(Book).one()
    assert book.words == catalogue.book_words(book)
    assert book.title_key == "moby dick"
    assert [row.name_key for row in session.query(Author).order_by(Author.id)] == [
        "melville herman",
        "society of whalers",
    ]
    assert found(session, catalogue.find_books(session, "melville whale sea 978")).one().id == book.id


def test_what_a_record_leaves_open_is_unknown(session, take):
    take(BookRecord("Bare"))
    book = session.query(Book).one()
    columns = ("subtitle", "publisher", "year", "year_text", "edition", "language", "pages", "series", "description")
    assert {getattr(book, name) for name in (*columns, "control_number")} == {None}
    assert (book.contributions, book.subject_links, book.identifiers, book.source) == ([], [], [], None)


def test_books_stand_in_the_order_of_their_records(take, titles):
    take(*(numbered(f"n{number}", f"T{number}") for number in range(200)))
    assert titles() == [f"T{number}" for number in range(200)]


def test_headings_are_shared_within_a_batch_across_batches_and_with_the_catalogue(session, make, take):
    make.subject(name="Whales")
    make.author(name="Melville, Herman", dates="1819-1891")
    take(full(control_number="a"), full(control_number="b"))
    take(full(control_number="c"))
    assert session.query(Book).count() == 3
    assert {row.name for row in session.query(Subject)} == {"Whales", "Sea stories"}
    assert session.query(Author).count() == 2


def test_namesakes_are_told_apart_by_their_dates(session, take):
    dates = ("1802-1870", "1824-1895", "")
    take(BookRecord("Dumas", contributors=[ContributorRecord("Dumas, Alexandre", dates=one) for one in dates]))
    assert [link.author.dates for link in session.query(Book).one().contributions] == list(dates)


def test_subjects_and_identifiers_named_twice_are_one(session, take):
    twice = [IdentifierRecord("isbn", ISBN)] * 2
    assert take(BookRecord("Twice", subjects=["Whales", "Sea", "Whales"], identifiers=twice)) == ["added"]
    book = session.query(Book).one()
    assert [(link.subject.name, link.position) for link in book.subject_links] == [("Whales", 1), ("Sea", 2)]
    assert [row.value for row in book.identifiers] == [ISBN]


# --- Duplicates ---------------------------------------------------------------------------------


def test_a_control_number_is_taken_in_once_within_a_batch_and_across(take, titles):
    assert take(numbered("a"), numbered("b"), numbered("a", "Other")) == ["added", "added", "skipped"]
    assert take(numbered("b"), numbered("c"), numbered("a", "Other")) == ["skipped", "added", "skipped"]
    assert titles() == ["Moby-Dick"] * 3


def test_with_a_control_number_title_and_identifiers_do_not_matter(take, titles):
    same = full(control_number="a")
    assert take(same, full(control_number="b")) == ["added", "added"]
    assert take(full(control_number="c")) == ["added"]
    assert len(titles()) == 3


def test_without_one_title_and_an_identifier_in_common_make_a_duplicate(take, titles):
    assert take(identified("1"), identified("1", "MOBY DICK!"), identified("2"), identified("1", "Other")) == [
        "added",
        "skipped",
        "added",
        "added",
    ]
    both = BookRecord("moby dick", identifiers=[IdentifierRecord("isbn", "9"), IdentifierRecord("isbn", "2")])
    assert take(identified("1"), both, identified("9")) == ["skipped", "skipped", "skipped"]
    assert len(titles()) == 3


def test_the_same_digits_of_another_scheme_are_no_duplicate(take):
    assert take(identified("1"), identified("1", scheme="issn")) == ["added", "added"]
    assert take(identified("1", scheme="lccn"), identified("1", scheme="issn")) == ["added", "skipped"]


def test_a_record_without_a_number_finds_a_book_that_has_one(take, titles):
    take(full())
    assert take(identified(ISBN)) == ["skipped"]
    assert take(identified(ISBN, "Another title")) == ["added"]
    assert titles() == ["Moby-Dick", "Another title"]


def test_without_any_number_title_subtitle_first_contributor_and_year_make_a_duplicate(take, titles):
    melville, other = ContributorRecord("Melville, Herman"), ContributorRecord("Other, An")
    first = BookRecord("Whale", subtitle="a tale", contributors=[melville, other], year=1851)
    same = BookRecord("WHALE!", subtitle="a tale", contributors=[melville], year=1851)
    others = [
        BookRecord("Whale", subtitle="a tale", contributors=[melville], year=1852),
        BookRecord("Whale", contributors=[melville], year=1851),
        BookRecord("Whale", subtitle="a tale", contributors=[other, melville], year=1851),
        BookRecord("Whale", subtitle="a tale", year=1851),
        BookRecord("Whales", subtitle="a tale", contributors=[melville], year=1851),
    ]
    assert take(first, same, *others) == ["added", "skipped"] + ["added"] * 5
    assert take(same, first, *others) == ["skipped"] * 7
    assert take(BookRecord("Whale"), BookRecord("Whale")) == ["added", "skipped"]
    assert len(titles()) == 7


def test_a_record_without_any_number_is_no_duplicate_of_a_book_with_a_control_number(take):
    assert take(numbered("a"), BookRecord("Moby-Dick")) == ["added", "added"]
    assert take(BookRecord("Moby-Dick")) == ["skipped"]


def test_a_book_written_by_hand_is_known_by_its_control_number(make, take):
    make.book(title="By hand", control_number="a")
    assert take(numbered("a")) == ["skipped"]


def test_to_add_takes_every_record_in(take, titles):
    assert take(numbered("a"), numbered("a"), on_duplicate="add") == ["added", "added"]
    assert take(numbered("a"), identified("1"), identified("1"), on_duplicate="add") == ["added"] * 3
    assert len(titles()) == 5


def test_to_skip_leaves_the_book_as_it_was(session, take, now):
    take(full())
    take(full(title="New", subjects=[]), at=now + timedelta(days=1))
    book = session.query(Book).one()
    assert (book.title, book.updated_at, len(book.subject_links)) == ("Moby-Dick", now, 2)


def test_to_update_writes_the_record_over_the_book(session, take, now):
    take(full())
    old = session.query(Book).one()
    kept = (old.id, old.subject_links[1].id, old.identifiers[0].id)
    session.rollback()
    session.expunge_all()
    later = now + timedelta(days=1)
    new = BookRecord(
        "The whale",
        contributors=[ContributorRecord("Doe, Jane", role="translator")],
        subjects=["Sea stories", "Ships"],
        identifiers=[IdentifierRecord("issn", "12345678"), IdentifierRecord("isbn", ISBN)],
        control_number="cn1",
        source_format="marcxml",
        source=b"new",
    )
    assert take(new, on_duplicate="update", at=later) == ["updated"]
    book = session.query(Book).one()
    assert (book.title, book.title_key, book.subtitle, book.year, book.description) == (
        "The whale",
        "the whale",
        None,
        None,
        None,
    )
    assert (book.created_at, book.updated_at, book.version, book.material_type) == (now, later, 2, MaterialType.BOOK)
    assert [(link.author.name, link.role.value) for link in book.contributions] == [("Doe, Jane", "translator")]
    assert [link.subject.name for link in book.subject_links] == ["Sea stories", "Ships"]
    assert [row.value for row in book.identifiers] == ["12345678", ISBN]
    assert (book.source.format, book.source.content) == ("marcxml", b"new")
    assert (book.id, book.subject_links[0].id, book.identifiers[1].id) == kept
    assert session.query(SourceRecord).count() == 1
    assert book.words == catalogue.book_words(book)
    assert found(session, catalogue.find_books(session, "doe ships")).one().id == book.id
    assert found(session, catalogue.find_books(session, "melville")).all() == []


def test_to_update_without_a_source_leaves_none(session, take):
    take(full())
    take(full(source=b""), on_duplicate="update")
    assert session.query(SourceRecord).count() == 0


def test_to_update_adds_what_is_not_known_yet(take, titles):
    take(numbered("a"))
    assert take(numbered("b", "New"), numbered("a", "Changed"), on_duplicate="update") == ["added", "updated"]
    assert titles() == ["Changed", "New"]


def test_to_update_keeps_the_copies_loans_and_orders_of_a_book(session, make, take):
    book = make.book(title="Old", control_number="a")
    loan = make.loan(copy=make.copy(book=book))
    order = make.order(None, book)
    ids = (book.id, loan.copy_id, loan.id, order.id)
    assert take(numbered("a", "New"), on_duplicate="update") == ["updated"]
    assert session.query(Copy).one().book_id == ids[0]
    assert session.query(Book).one().title == "New"
    assert (session.get_one(type(loan), ids[2]).copy_id, len(session.get_one(type(order), ids[3]).lines)) == (ids[1], 1)


def test_a_known_book_is_updated_by_each_record_the_last_winning(take, titles):
    take(numbered("a"))
    assert take(numbered("a", "First"), numbered("a", "Second"), on_duplicate="update") == ["updated", "updated"]
    assert titles() == ["Second"]


# --- Records that the database refuses ----------------------------------------------------------

# The database or the model refuses these, on both sides.
REFUSED = [
    pytest.param({"title": ""}, id="no title"),
    pytest.param({"contributors": [ContributorRecord("Some, One", "boss")]}, id="no such role"),
    pytest.param({"material_type": "brick"}, id="no such material"),
    pytest.param({"description": "\ud800"}, id="half a character"),
]
# PostgreSQL refuses these, SQLite takes them as they are.
TOO_LONG = [
    pytest.param({"title": "x" * 2001}, id="title"),
    pytest.param({"language": "engl"}, id="language"),
    pytest.param({"publisher": "x" * 501}, id="publisher"),
    pytest.param({"contributors": [ContributorRecord("x" * 501)]}, id="name"),
    pytest.param({"subjects": ["x" * 501]}, id="subject"),
    pytest.param({"identifiers": [IdentifierRecord("other", "1" * 101)]}, id="identifier"),
    pytest.param({"control_number": "x" * 101}, id="control number"),
    pytest.param({"year": 2**31}, id="year"),
    pytest.param({"title": "a\x00b"}, id="NUL"),
]


@pytest.mark.parametrize("on_duplicate", list(OnDuplicate))
@pytest.mark.parametrize("fault", REFUSED)
def test_a_record_that_the_database_refuses_costs_that_record_only(take, titles, fault, on_duplicate):
    bad = full(**{"title": "Bad"} | fault)
    answer = take(numbered("a", "A"), bad, numbered("b", "B"), on_duplicate=on_duplicate)
    assert answer == ["added", "failed", "added"]
    assert titles() == ["A", "B"]


@pytest.mark.parametrize("fault", TOO_LONG)
def test_what_one_database_refuses_costs_that_record_only_and_the_other_keeps_it_whole(
    take, titles, on_postgres, fault
):
    bad = full(**{"title": "Bad"} | fault)
    answer = take(numbered("a", "A"), bad, numbered("b", "B"))
    assert answer == ["added", "failed" if on_postgres else "added", "added"]
    assert titles() == (["A", "B"] if on_postgres else ["A", bad.title, "B"])


def test_a_lock_that_another_holds_is_no_fault_of_a_record(session, make, another, now):
    book = make.book(title="Old", control_number="n1")
    session.commit()
    other = another()
    # SQLite has one writer: this one begins as a reader, and has to wait for its first word only.
    with transaction(other, write=True, keep=False):
        other.execute(update(Book).where(Book.id == book.id).values(title="Other"))
        with transaction(session, write=False), impatience(session), pytest.raises(OperationalError):
            import_batch(session, [(1, numbered("n1", "New"))], OnDuplicate.UPDATE, now)


@pytest.mark.parametrize(
    ("orig", "lost", "is_its_fault"),
    [
        ({"sqlstate": "40P01"}, False, False),
        ({"sqlstate": "53100"}, False, False),
        ({"sqlstate": "57014"}, False, False),
        ({"sqlstate": "08006"}, False, False),
        ({"sqlstate": None}, True, False),
        ({"sqlite_errorcode": 5}, False, False),
        ({"sqlite_errorcode": 517}, False, False),
        ({"sqlstate": "22001"}, False, True),
        ({"sqlite_errorcode": 18}, False, True),
    ],
)
def test_what_is_a_fault_of_the_database(orig, lost, is_its_fault):
    cause = type("Cause", (Exception,), orig)()
    assert is_of_the_database(DBAPIError("INSERT", {}, cause, connection_invalidated=lost)) is not is_its_fault
    assert is_of_the_database(PendingRollbackError())
    assert not is_of_the_database(ValueError())


def test_a_failure_says_where_and_why(session, now):
    with transaction(session, write=True):
        results = import_batch(session, [(7, numbered("a", "A")), (8, numbered("b", ""))], OnDuplicate.SKIP, now)
    assert results == [
        Result(7, Outcome.ADDED, "a", book_id=1),
        Result(8, Outcome.FAILED, "b", "the database refused the record"),
    ]


def test_headings_of_a_refused_record_do_not_stay(session, take):
    nobody = ContributorRecord("Nobody, N")
    assert take(BookRecord("", contributors=[nobody], subjects=["Nothing"])) == ["failed"]
    assert (session.query(Author).count(), session.query(Subject).count()) == (0, 0)


def test_what_a_record_names_twice_stands_once(session, take):
    same = ContributorRecord("Same, One")
    record = BookRecord("Twice", control_number="n", contributors=[same, same], subjects=["S", "S"])
    assert take(record) == ["added"]
    assert take(record, on_duplicate="update") == ["updated"]
    book = session.query(Book).one()
    assert (len(book.contributions), len(book.subject_links)) == (1, 1)


def test_of_two_in_one_batch_the_later_wins_an_update(take, titles):
    batch = (numbered("a", "First"), numbered("a", "Second"), numbered("b", "Other"))
    assert take(*batch, on_duplicate="update") == ["added", "updated", "added"]
    assert sorted(titles()) == ["Other", "Second"]


def test_after_a_refused_record_duplicates_of_the_batch_are_still_known(take, titles):
    answer = take(numbered("a"), numbered("x", ""), numbered("a"), identified("1"), identified("1"))
    assert answer == ["added", "failed", "skipped", "added", "skipped"]
    assert len(titles()) == 2


def test_a_refused_update_leaves_the_book_as_it_was(session, take, titles, on_postgres):
    take(numbered("a", "A"), numbered("b", "B"))
    answer = take(numbered("a", "New"), numbered("b", "x" * 2001), on_duplicate="update")
    assert answer == ["updated", "failed" if on_postgres else "updated"]
    assert titles() == ["New", "B" if on_postgres else "x" * 2001]


def test_a_batch_of_nothing_but_refused_records_writes_nothing(take, titles):
    assert take(numbered("a", ""), numbered("b", "")) == ["failed", "failed"]
    assert titles() == []


def test_a_batch_is_part_of_its_callers_transaction(session, take, titles, now):
    with transaction(session, write=False):
        assert import_batch(session, [(1, numbered("a"))], OnDuplicate.SKIP, now)[0].outcome is Outcome.ADDED
    assert titles() == []
    session.rollback()
    assert take(numbered("a")) == ["added"]
