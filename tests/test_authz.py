"""Who may call what, whose things they reach by it and what of them they see: held against tables reviewed by hand."""

import csv
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from authz_calls import calls_of, good_call, naming_parameters, objects_of, schema_of, speaker, thing
from authz_world import ACTORS, NOBODY, World
from documented import document_of
from factories import Factories
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from library.api.plumbing import errors
from library.models import Base

TESTS = Path(__file__).parent


def table(name: str) -> list[dict[str, str]]:
    """The rows of a reviewed table."""
    with (TESTS / name).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


MATRIX = table("authz.csv")
_worlds: dict[Flask, World] = {}


@pytest.fixture
def world(app: Flask, make: Factories) -> World:
    """The library as it was when it was filled; that is done once."""
    if app not in _worlds:
        _worlds[app] = World(app, make)
    else:
        _worlds[app].restore()
    return _worlds[app]


# --- Operations × actors ------------------------------------------------------------------------


def test_every_operation_stands_in_the_matrix_once(shared_app):
    assert sorted(row["operation"] for row in MATRIX) == sorted(calls_of(shared_app))


@pytest.mark.parametrize("row", MATRIX, ids=lambda row: row["operation"])
def test_who_may_call_it(world, row):
    answered = {}
    for actor in ACTORS:
        call, client = good_call(world, row["operation"], actor), world.client(speaker(row["operation"], actor))
        bad, good = call.spoilt().send(client).status_code, call.send(client).status_code
        if good < 400 and call.changes:
            world.restore()
        answered[actor] = str(good) if good == bad else f"{good}/{bad}"
    assert answered == {actor: row[actor] for actor in ACTORS}


def test_head_is_as_guarded_as_get(world):
    for row in MATRIX:
        call = good_call(world, row["operation"], "patron")
        if call.method == "GET":
            call.method = "HEAD"
            for actor in ("anonymous", "patron", "disabled"):
                status = call.send(world.client(actor)).status_code
                assert str(status) == row[actor].split("/")[0], (row["operation"], actor)


# Reviewed by hand: the catalogue, the house as a building, and nobody's name.
OPEN_CATALOGUE = {"list_books", "get_book", "get_book_facets", "get_availability", "list_copies", "get_copy"}
OPEN_CATALOGUE |= {"list_authors", "get_author", "list_subjects", "get_subject", "list_item_types", "get_item_type"}
OPEN_CATALOGUE |= {
    "list_branches",
    "get_branch",
    "list_open_days",
    "list_calendar_exceptions",
    "get_calendar_exception",
}


@pytest.mark.parametrize(
    ("setting", "actor", "opened"),
    [
        ("PUBLIC_CATALOGUE", "anonymous", OPEN_CATALOGUE),
        ("SELF_CHECKOUT", "patron", {"check_out", "preview_check_out"}),
    ],
)
def test_a_setting_opens_what_it_says_and_nothing_else(world, monkeypatch, setting, actor, opened):
    monkeypatch.setitem(world.app.config, setting, True)
    found = set()
    for row in MATRIX:
        call = good_call(world, row["operation"], actor).spoilt()
        if str(call.send(world.client(speaker(row["operation"], actor))).status_code) not in row[actor]:
            found.add(row["operation"])
    assert found == opened


def test_an_open_catalogue_is_closed_to_tokens_that_are_not_good(world, monkeypatch):
    monkeypatch.setitem(world.app.config, "PUBLIC_CATALOGUE", True)
    for operation in OPEN_CATALOGUE:
        call = good_call(world, operation, "patron")
        statuses = [call.send(world.client(actor)).status_code for actor in ("expired", "revoked", "disabled")]
        assert statuses == [401, 401, 401], operation


# --- Parameters × things ------------------------------------------------------------------------

OBJECTS = table("authz_objects.csv")


def test_every_parameter_that_names_a_thing_stands_in_the_table_once(shared_app):
    """Of the calls a patron may make; staff reach all there is."""
    patrons = {row["operation"] for row in MATRIX if row["patron"][0] != "4"}
    named = [key for key in naming_parameters(shared_app) if key[0] in patrons]
    assert sorted((row["operation"], row["place"], row["name"]) for row in OBJECTS) == sorted(named)


@pytest.mark.parametrize("held", [False, True], ids=["", "held"])
@pytest.mark.parametrize("row", OBJECTS, ids=lambda row: f"{row['operation']}-{row['name']}")
def test_whose_things_a_patron_reaches(world, statements, row, held):
    """What is somebody else's is answered exactly as what is not there, with the same work."""
    call, client = good_call(world, row["operation"], "patron"), world.client(speaker(row["operation"], "patron"))
    answers, work = {}, {}
    if held and not (call.method == "POST" and row["place"] == "path"):
        # Only an action on something may be held to its version without having to be.
        return
    for whose in ("own", "other", "none"):
        value = thing(world, row, call, whose)
        statements.clear()
        answers[whose] = call.naming(row["place"], row["name"], value).send(client, held)
        work[whose] = list(statements)
        if answers[whose].status_code < 400 and call.changes:
            world.restore()
    assert {whose: str(answer.status_code) for whose, answer in answers.items()} == {
        whose: row[whose] for whose in answers
    }
    if row["private"]:
        assert told(answers["other"]) == told(answers["none"])
        assert work["other"] == work["none"]


@pytest.mark.parametrize("operation", ["end_session", "get_api_key", "delete_api_key"])
@pytest.mark.parametrize("actor", ["librarian", "admin"])
def test_how_others_get_in_is_no_business_of_staff_either(world, operation, actor):
    """But for an admin, who ends the keys of programs."""
    call, client = good_call(world, operation, actor), world.client(actor)
    *_, name = call.keys
    theirs, nobodys = (call.naming("path", name, key).send(client) for key in (world.of["other"][name], NOBODY))
    if (actor, name) == ("admin", "api_key_id"):
        assert (theirs.status_code, nobodys.status_code) == (204 if call.changes else 200, 404)
    else:
        assert theirs.status_code == 404
        assert told(theirs) == told(nobodys)


def told(answer: TestResponse) -> tuple[bytes, list[tuple[str, str]]]:
    """Body and headers of an answer, without the name of the request."""
    name = answer.headers["X-Request-ID"]
    headers = sorted((key, value) for key, value in answer.headers if key not in ("X-Request-ID", "Date"))
    return answer.data.replace(name.encode(), b""), headers


# --- Members ------------------------------------------------------------------------------------

SPELLINGS: list[Callable[[str], str]] = [
    str,
    str.upper,
    lambda name: f"{name}_id",
    lambda name: name.replace("_", "-"),
    lambda name: re.sub(r"_(\w)", lambda found: found[1].upper(), name),
    lambda name: name.title().replace("_", ""),
    lambda name: f"{name}.id",
    lambda name: f"{name}[]",
    lambda name: f"_{name}",
    lambda name: f"__{name}__",
]


def smuggled() -> list[str]:
    """Every column and relationship of every table in many spellings, and who owns it before it."""
    names, dotted = set(), set()
    for mapper in Base.registry.mappers:
        found = set(mapper.attrs.keys()) | {column.name for column in mapper.local_table.columns}
        names |= found
        dotted |= {
            f"{owner}{mark}{name}" for name in found for owner in ("user", mapper.local_table.name) for mark in "./"
        }
    return sorted({spell(name) for name in names for spell in SPELLINGS} | dotted | {"__class__", "constructor"})


def test_no_member_slips_in_by_whatever_spelling(world, monkeypatch):
    """Of every body, and of every object inside one: what is not documented is refused by its name."""
    names, tried = smuggled(), set()
    monkeypatch.setattr(errors, "MOST_ERRORS", 2 * len(names))
    assert {"role", "password_hash", "tokenVersion", "user.role", "ROLE", "created-at"} <= set(names)
    for operation, (_, _, described) in calls_of(world.app).items():
        if "application/json" not in described.get("requestBody", {}).get("content", {}):
            continue
        call, client = good_call(world, operation, "admin"), FlaskClient(world.app)
        client.environ_base["HTTP_AUTHORIZATION"] = f"Bearer {world.tokens['admin']}"
        for where, known, wrap in objects_of(world.app, schema_of(world.app, described)):
            strange = [name for name in names if name not in known]
            call.body = wrap(dict.fromkeys(strange, 1))
            answer = call.send(client)
            assert answer.status_code == 422, f"{operation}{where}: {answer.status_code}"
            refused = {reason["pointer"] for reason in answer.json["errors"] if reason["code"] == "unknown_member"}
            assert refused == {f"{where}/{name.replace('/', '~1')}" for name in strange}, operation
            tried.add(f"{operation}{where}")
    assert {"patch_user", "create_order/lines/0", "check_out/overrides/0", "register"} <= tried


# --- Fields -------------------------------------------------------------------------------------

FIELDS = table("authz_fields.csv")
# What no answer and no body has in whatever place.
SECRET = {"password_hash", "username_key", "email_key", "token_version", "words", "refresh_jti", "jti", "nonce"}
SECRET |= {"key_hash", "token_hash", "body_hash", "request_hash", "answer", "secret"}


def test_what_is_shown_and_taken_was_reviewed(shared_app):
    """A member that comes or goes wants a look at the table: who may see it, who may write it?"""
    schemas = document_of(shared_app)["components"]["schemas"]
    found = {name: sorted(schema.get("properties", {})) for name, schema in schemas.items()}
    listed = {row["schema"]: sorted(f"{row['members']} {row['staff_only']}".split()) for row in FIELDS}
    assert {name: members for name, members in found.items() if members} == listed


def test_no_secret_is_a_member_of_anything():
    members = [(name, row["schema"]) for row in FIELDS for name in row["members"].split()]
    assert not [found for found in members if found[0] in SECRET]
    # Of what staff note of somebody, and what was asked of a program, that person alone is told, in the export.
    assert [schema for name, schema in members if name == "staff_note"] == ["ToldAccount"]


@pytest.mark.parametrize("row", [row for row in FIELDS if row["staff_only"]], ids=lambda row: row["schema"])
def test_what_only_staff_see_is_null_for_patrons(world, row):
    """As the same call shows it to both."""
    shown = {}
    for actor in ("patron", "librarian"):
        answer = world.client(actor).get(row["seen_at"].format_map(world.keys | world.of["patron"]))
        assert answer.status_code == 200
        shown[actor] = {name: answer.json[name] for name in row["staff_only"].split()}
    assert set(shown["patron"].values()) == {None}
    assert None not in shown["librarian"].values()
