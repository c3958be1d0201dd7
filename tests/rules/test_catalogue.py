"""The catalogue: books written with their lists, indexed, found, and found anew under a changed heading."""

import io
from datetime import timedelta

import pytest
from sqlalchemy.exc import InvalidRequestError
from sqlalchemy.orm.exc import StaleDataError

from library.database import transaction
from library.exchange.book_tables import read_books
from library.models import (
    Author,
    Book,
    ContributorRole,
    CopyCondition,
    CopyPlace,
    Identifier,
    IdentifierScheme,
    MaterialType,
    OnDuplicate,
    Outcome,
    Subject,
)
from library.rules import catalogue, imports
from library.rules.forms import values_of

from .helping import found, refused_for

AUTHOR, EDITOR = ContributorRole.AUTHOR, ContributorRole.EDITOR
ISBN, OTHER = IdentifierScheme.ISBN, IdentifierScheme.OTHER


@pytest.fixture
def find(session):
    """Call it as find_books for the titles found, in their order."""

    def titles(q=None, **filters) -> list[str]:
        statement = catalogue.find_books(session, q, **filters).order_by(Book.title_key, Book.id)
        return [book.title for book in found(session, statement)]

    return titles


@pytest.mark.parametrize(
    ("scheme", "value", "kept"),
    [
        (ISBN, "978-0-14-143951-8", "9780141439518"),
        (ISBN, " 0 8044 2957 x ", "080442957X"),
        (IdentifierScheme.LCCN, "n 78-890351", "n78890351"),
        (IdentifierScheme.OCLC, "(OCoLC)ocm05853149", "5853149"),
        (ISBN, "978-0-14-143951-8 (pbk.)", "9780141439518"),
        (ISBN, " no 1", "no1"),
        (OTHER, "  urn:x-y Z ", "urn:x-y Z"),
    ],
)
def test_identifiers_are_kept_in_one_form(scheme, value, kept):
    assert catalogue.normal_identifier(scheme, value) == kept


@pytest.mark.parametrize(
    "q", ["n78890351", "N78-890351", "n 78-890351", "5853149", "ocm05853149", "(OCoLC)ocm05853149", "9780141439518"]
)
def test_a_book_is_found_by_its_numbers_in_either_spelling(session, make, find, q):
    numbers = [
        (IdentifierScheme.LCCN, "n 78-890351"),
        (IdentifierScheme.OCLC, "(OCoLC)5853149"),
        (ISBN, "978-0-14-143951-8"),
    ]
    make.book(title="Whale", identifiers=numbers)
    make.book(title="Other", identifiers=[(IdentifierScheme.LCCN, "n78-890352")])
    assert find(q) == ["Whale"]


@pytest.mark.parametrize(
    ("scheme", "value", "cell"),
    [
        (IdentifierScheme.LCCN, "N78-890351", "n 78-890351"),
        (IdentifierScheme.OCLC, "ocm05853149", "(OCoLC)5853149"),
        (ISBN, "978\u20110\u201114\u2011143951\u20118", "978 0 14 143951 8"),
        (IdentifierScheme.ISSN, "2434-561x", "2434561X"),
        (OTHER, "PZ3 \u00a0x", "PZ3  x"),
    ],
)
def test_a_table_knows_the_number_of_a_book_that_was_written_here(session, make, now, scheme, value, cell):
    book = make.book(title="Whale", identifiers=[(scheme, value)])
    column = "other_identifiers" if scheme is OTHER else scheme.value
    rows = list(read_books(io.BytesIO(f"title,{column}\nWhale,{cell}\n".encode())))
    (result,) = imports.import_batch(session, rows, OnDuplicate.SKIP, now)
    assert (result.outcome, result.book_id) == (Outcome.SKIPPED, book.id)


def test_a_new_book_is_written_with_its_moments_and_keys(session, now):
    values = {"title": "Émile, ou De l’éducation", "year": 1762}
    book = catalogue.save_book(session, Book(), values, now)
    session.commit()
    session.refresh(book)
    assert (book.created_at, book.updated_at, book.version) == (now, now, 1)
    assert (book.title_key, book.words) == ("emile ou de leducation", "emile ou de leducation 1762")
    assert (book.material_type, book.contributions, book.identifiers) == (MaterialType.BOOK, [], [])


def test_lists_keep_the_order_in_which_they_were_given(session, make, now):
    authors = [make.author() for _ in range(3)]
    subjects = [make.subject() for _ in range(3)]
    values = {
        "title": "Order",
        "contributors": [(authors[2], AUTHOR), (authors[0], EDITOR), (authors[2], EDITOR)],
        "subjects": [subjects[1], subjects[2], subjects[0]],
        "identifiers": [(ISBN, "2"), (OTHER, "1"), (ISBN, "1")],
    }
    book = catalogue.save_book(session, Book(), values, now)
    session.commit()
    session.expire_all()
    assert [(link.author, link.role, link.position) for link in book.contributions] == [
        (authors[2], AUTHOR, 1),
        (authors[0], EDITOR, 2),
        (authors[2], EDITOR, 3),
    ]
    assert [(link.subject, link.position) for link in book.subject_links] == [
        (subjects[1], 1),
        (subjects[2], 2),
        (subjects[0], 3),
    ]
    assert [(row.scheme, row.value, row.position) for row in book.identifiers] == [
        (ISBN, "2", 1),
        (OTHER, "1", 2),
        (ISBN, "1", 3),
    ]


def test_known_rows_of_lists_keep_their_ids_when_reordered(session, make, now):
    authors, subjects = [make.author(), make.author()], [make.subject(), make.subject()]
    book = make.book(*authors, subjects=subjects, identifiers=[(ISBN, "1"), (ISBN, "2")])
    before = {row.id for row in (*book.contributions, *book.subject_links, *book.identifiers)}
    contributor, subject, identifier = book.contributions[0].id, book.subject_links[0].id, book.identifiers[0].id
    values = {
        "contributors": [(authors[1], AUTHOR), (make.author(), EDITOR), (authors[0], AUTHOR)],
        "subjects": [subjects[1], subjects[0]],
        "identifiers": [(ISBN, "3"), (ISBN, "2"), (ISBN, "1")],
    }
    catalogue.save_book(session, book, values, now)
    session.commit()
    session.expire_all()
    assert [link.author_id for link in book.contributions][::2] == [authors[1].id, authors[0].id]
    assert [link.subject_id for link in book.subject_links] == [subjects[1].id, subjects[0].id]
    assert [row.value for row in book.identifiers] == ["3", "2", "1"]
    assert (book.contributions[2].id, book.subject_links[1].id, book.identifiers[2].id) == (
        contributor,
        subject,
        identifier,
    )
    assert before <= {row.id for row in (*book.contributions, *book.subject_links, *book.identifiers)}


def test_a_role_changed_in_place_is_a_new_row(session, make, now):
    writer = make.author()
    book = make.book(writer)
    old = book.contributions[0].id
    catalogue.save_book(session, book, {"contributors": [(writer, EDITOR)]}, now)
    session.commit()
    assert [(link.role, link.id == old) for link in book.contributions] == [(EDITOR, False)]


def test_lists_that_are_not_given_stay_and_empty_ones_empty(session, make, now):
    book = make.book(make.author(), subjects=[make.subject()], identifiers=[(ISBN, "1")])
    catalogue.save_book(session, book, {"title": "New", "subjects": []}, now)
    session.commit()
    session.expire_all()
    assert (len(book.contributions), len(book.subject_links), len(book.identifiers)) == (1, 0, 1)
    catalogue.save_book(session, book, {"contributors": [], "identifiers": []}, now)
    session.commit()
    session.expire_all()
    assert (book.contributions, book.identifiers) == ([], [])
    assert session.query(Identifier).count() == 0


def test_the_same_identifier_written_twice_is_one(session, make):
    book = make.book(identifiers=[(ISBN, "978-0-14-143951-8"), (OTHER, "9780141439518"), (ISBN, "9780141439518")])
    assert [(row.scheme, row.value) for row in book.identifiers] == [(ISBN, "9780141439518"), (OTHER, "9780141439518")]


def test_what_is_named_twice_stands_once(session, make, now):
    writer, subject = make.author(), make.subject()
    values = {"title": "Twice", "contributors": [(writer, AUTHOR), (writer, AUTHOR)], "subjects": [subject, subject]}
    book = catalogue.save_book(session, make.book(), values, now)
    assert [link.position for link in book.contributions] == [1]
    assert [link.position for link in book.subject_links] == [1]


def test_a_change_keeps_the_moment_of_making_and_counts_the_version(session, make, now):
    book = make.book()
    made = book.created_at
    catalogue.save_book(session, book, {"title": "Later"}, now + timedelta(days=1))
    session.commit()
    assert (book.created_at, book.updated_at, book.version) == (made, now + timedelta(days=1), 2)


def test_a_change_of_a_list_alone_counts_the_version(session, make, now):
    book = make.book()
    catalogue.save_book(session, book, {"subjects": [make.subject()]}, now)
    session.commit()
    assert book.version == 2


def test_of_two_who_change_the_same_version_one_is_told(session, another, make, now):
    book_id = make.book().id
    first, second = another(), another()
    slow = second.get_one(Book, book_id)
    second.commit()
    with transaction(first, write=True):
        catalogue.save_book(first, first.get_one(Book, book_id), {"title": "First"}, now)
    with pytest.raises(StaleDataError), transaction(second, write=True):
        catalogue.save_book(second, slow, {"title": "Second"}, now)


def test_all_words_of_a_book_are_indexed(session, make, now):
    book = make.book(
        make.author(name="Melville, Herman", dates="1819-1891"),
        subjects=[make.subject(name="Whales -- Fiction")],
        identifiers=[(ISBN, "978-0-14-243724-7")],
        title="Moby-Dick",
        subtitle="or, The Whale",
        series="Penguin classics",
        publisher="Penguin",
        year=2003,
        year_text="c2003",
        description="Call me Ishmael.",
        language="eng",
        edition="2nd",
    )
    assert book.words == (
        "moby dick or the whale penguin classics c2003 2003 melville herman whales fiction 9780142437247"
    )


def test_words_follow_every_change(session, make, find, now):
    old, new = make.author(name="Old"), make.author(name="New")
    book = make.book(old, title="Alpha", identifiers=[(ISBN, "111")])
    values = {"title": "Beta", "contributors": [(new, AUTHOR)], "identifiers": [(ISBN, "222")]}
    catalogue.save_book(session, book, values, now)
    session.commit()
    assert [find(q) for q in ("alpha", "old", "111")] == [[], [], []]
    assert [find(q) for q in ("beta", "new", "222")] == [["Beta"], ["Beta"], ["Beta"]]


def test_a_deleted_book_is_found_no_more(session, make, find):
    book = make.book(title="Gone")
    assert find("gone") == ["Gone"]
    session.delete(book)
    session.commit()
    assert find("gone") == []


def test_all_words_must_occur_and_the_last_may_be_begun(make, find):
    austen = make.author(name="Austen, Jane")
    make.book(austen, title="Emma")
    make.book(austen, title="Persuasion")
    assert find("austen emma") == ["Emma"]
    assert find("emma aus") == ["Emma"]
    assert find("aus emma") == []
    assert find("Áusten JANE") == ["Emma", "Persuasion"]
    assert find("austen bronte") == []


def test_no_query_finds_all_and_a_query_without_words_nothing(make, find):
    make.book(title="One")
    assert find() == find("") == find("   ") == ["One"]
    assert find("...") == find("\x00") == find("\ud800") == []


@pytest.mark.parametrize(
    ("title", "q"),
    [
        ("C++ primer", "c++"),
        ("C# in depth", "C#"),
        ("Преступление", "преступл"),
        ("日本", "日本"),
        ("Straße", "STRASSE"),
        ("x" * 70, "x" * 65),
        ("١٢", "١٢"),
        ("not or and", "and or not"),
    ],
)
def test_the_database_cuts_no_word_anew(make, find, title, q):
    make.book(title="Other")
    make.book(title=title)
    assert find(q) == [title]


def test_the_closest_title_comes_first(session, make):
    whale = make.subject(name="Whale")
    for title in ("Zoo", "The whale rider", "Whale songs", "Whale", "Whaler"):
        make.book(title=title, subjects=[whale] if title == "Zoo" else [])
    statement = catalogue.find_books(session, "whale")
    ranking = statement.get_execution_options()["ranking"]
    keys = session.scalars(ranking.keys, values_of(statement))
    titles = [session.get_one(Book, key).title for key in keys]
    assert titles == ["Whale", "Whale songs", "Whaler", "The whale rider", "Zoo"]


def test_books_are_narrowed_by_each_filter(make, find):
    writer, subject = make.author(), make.subject()
    make.book(title="Plain", year=1990)
    book = make.book(
        writer,
        title="Wanted",
        subjects=[subject],
        identifiers=[(ISBN, "080442957X"), (OTHER, "1")],
        language="ger",
        year=2001,
        material_type=MaterialType.MAP,
        control_number="cn1",
    )
    for filters in (
        {"ids": [book.id, 99999]},
        {"author_id": writer.id},
        {"subject_id": subject.id},
        {"isbn": "0-8044-2957-x"},
        {"language": "ger"},
        {"material_type": MaterialType.MAP},
        {"year_min": 2001},
        {"control_number": "cn1"},
        {"year_min": 1991, "year_max": 2001},
    ):
        assert find(**filters) == ["Wanted"], filters
    assert find(year_max=1990) == ["Plain"]
    assert find(isbn="1") == find(ids=[]) == find("plain", language="ger") == []
    assert find("wanted", language="ger") == ["Wanted"]


def test_available_is_what_can_be_borrowed_now(session, make, find):
    make.copy(book=make.book(title="Free"))
    make.loan(copy=make.copy(book=make.book(title="Out")))
    make.copy(book=make.book(title="Damaged"), condition=CopyCondition.DAMAGED)
    make.copy(book=make.book(title="Reference"), not_for_loan=True)
    make.copy(book=make.book(title="Office"), place=CopyPlace.IN_PROCESS)
    make.book(title="None")
    both = make.book(title="Both")
    make.loan(copy=make.copy(book=both))
    make.copy(book=both)
    assert find(available=True) == ["Both", "Free"]
    assert find(available=False) == ["Damaged", "None", "Office", "Out", "Reference"]


def test_headings_are_found_by_beginnings_of_words(session, make):
    make.author(name="Austen, Jane", dates="1775-1817")
    make.author(name="Musäus, Johann")
    assert [row.name for row in found(session, catalogue.find_headings(Author, "jan AUS"))] == ["Austen, Jane"]
    assert [row.name for row in found(session, catalogue.find_headings(Author, "musaus"))] == ["Musäus, Johann"]
    assert found(session, catalogue.find_headings(Author, "usten")).all() == []
    assert len(found(session, catalogue.find_headings(Author)).all()) == 2
    assert len(found(session, catalogue.find_headings(Author, "?!")).all()) == 2
    make.subject(name="Ships % sails")
    assert [row.name for row in found(session, catalogue.find_headings(Subject, "sails"))] == ["Ships % sails"]


def test_a_renamed_author_is_found_anew_with_all_books_and_their_versions_stay(session, make, find):
    writer, other = make.author(name="Clemens, Samuel"), make.author(name="Clemens, Other")
    books = [make.book(writer, title="A"), make.book(other, writer, title="B")]
    make.book(other, title="C")
    catalogue.save_heading(session, writer, {"name": "Twain, Mark"})
    session.commit()
    session.expire_all()
    assert find("twain") == ["A", "B"]
    assert find("samuel") == []
    assert find("clemens") == ["B", "C"]
    assert [book.version for book in books] == [1, 1]
    assert (writer.name_key, writer.version) == ("twain mark", 2)


def test_a_renamed_subject_is_found_anew(session, make, find):
    subject = make.subject(name="Aeroplanes")
    make.book(title="Wings", subjects=[subject])
    catalogue.save_heading(session, subject, {"name": "Airplanes"})
    session.commit()
    assert (find("airplanes"), find("aeroplanes")) == (["Wings"], [])


def test_many_books_are_reindexed_by_and_by(session, make, find, monkeypatch):
    monkeypatch.setattr(catalogue, "REINDEX_AT_ONCE", 2)
    writer = make.author(name="Before")
    for title in "ABCDE":
        make.book(writer, title=title)
    catalogue.save_heading(session, writer, {"name": "After"})
    session.commit()
    assert find("after") == list("ABCDE")
    assert find("before") == []


def test_a_heading_that_exists_already_is_refused(session, make):
    make.subject(name="Whales")
    with refused_for("already_exists") as caught:
        catalogue.save_heading(session, Subject(), {"name": "Whales"})
    assert caught.value.reasons[0].pointer == "/name"


def test_a_new_heading_and_dates_alone_need_no_new_words(session, make):
    writer = Author()
    catalogue.save_heading(session, writer, {"name": "Dumas, Alexandre", "dates": "1802-1870"})
    catalogue.save_heading(session, writer, {"dates": "1802-70"})
    session.commit()
    assert (writer.name_key, writer.dates) == ("dumas alexandre", "1802-70")


def test_a_list_of_books_loads_what_is_shown_and_nothing_unasked(session, make):
    make.book(make.author(name="A"), subjects=[make.subject(name="S")])
    session.expunge_all()
    book = found(session, catalogue.find_books(session)).one()
    assert [link.author.name for link in book.contributions] == ["A"]
    assert [link.subject.name for link in book.subject_links] == ["S"]
    with pytest.raises(InvalidRequestError, match="copies"):
        assert book.copies


def test_search_uses_its_index_on_postgresql(session, make, on_postgres):
    if not on_postgres:
        pytest.skip("the plan of SQLite's full text cannot be otherwise")
    make.book(title="Whale")
    session.connection().exec_driver_sql("SET LOCAL enable_seqscan = off")
    whales = catalogue.find_books(session, "whale").with_only_columns(Book.id)
    asked = whales.params(values_of(whales)).compile(session.get_bind())
    plan = session.connection().exec_driver_sql(f"EXPLAIN {asked}", asked.params)
    assert "ix_books_words" in "\n".join(plan.scalars())
