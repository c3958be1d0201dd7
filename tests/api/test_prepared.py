"""Forms of statements: what may share a statement, and which values it runs with."""

from sqlalchemy import select

from library.api.plumbing.prepared import form_of
from library.models import Book
from library.rules import catalogue


def test_calls_with_the_same_filters_have_one_form(session):
    first, values = form_of(catalogue.find_books(session, "moby whale", year_min=1851))
    second, others = form_of(catalogue.find_books(session, "the sea", year_min=1900))
    assert first is second
    assert (values["year_min"], others["year_min"]) == (1851, 1900)
    assert {*values} == {*others}
    for q, filters in (("whale", {"year_min": 1851}), ("moby whale", {}), ("moby whale", {"year_max": 1851})):
        assert form_of(catalogue.find_books(session, q, **filters))[0] is not first


def test_what_is_asked_for_and_what_is_not_are_two_forms(session):
    forms = {form_of(catalogue.find_books(session, available=wanted))[0] for wanted in (True, False)}
    assert len(forms) == 2


def test_a_form_that_was_narrowed_is_another(session):
    statement = catalogue.find_books(session, year_min=1851)
    form, _ = form_of(statement)
    others = (statement.where(Book.pages > 7), statement.order_by(Book.year), statement.limit(1), statement.offset(1))
    for other in others:
        narrowed, values = form_of(other)
        assert narrowed != form
        assert values["year_min"] == 1851


def test_statements_without_a_form_are_alike_but_for_their_values():
    (first, values), (second, others) = (form_of(select(Book).where(Book.year > year)) for year in (1851, 1900))
    assert first == second
    assert ([*values.values()], [*others.values()]) == ([1851], [1900])
    assert form_of(select(Book).where(Book.year < 1851))[0] != first
