"""Change control: which changes of the document break clients, and whether the changelog tells of them."""

import json
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from library.cli.breaking import Change, breaking_changes
from library.cli.openapi import derived, is_announced, stored_form

BOOK = {
    "type": "object",
    "required": ["id", "title"],
    "properties": {
        "id": {"type": "integer"},
        "title": {"type": "string", "maxLength": 100},
        "kind": {"type": "string", "enum": ["book", "map"]},
        "year": {"type": ["integer", "null"]},
        "due_on": {"type": "string", "format": "date"},
        "branch": {"anyOf": [{"$ref": "#/components/schemas/Branch"}, {"type": "null"}]},
        "owner": {"$ref": "#/components/schemas/Owner"},
        "heir": {"anyOf": [{"$ref": "#/components/schemas/Heir"}, {"type": "null"}], "readOnly": True},
        "place": {"oneOf": [{"type": "string", "maxLength": 9}, {"type": "integer"}]},
        "marks": {"type": "array", "items": {"type": "string"}},
        "counts": {"type": "object", "additionalProperties": {"type": "integer"}},
        "series": {"allOf": [{"type": "object"}, {"properties": {"volume": {"type": "integer"}}}]},
        "state": {"type": "string", "default": "here"},
    },
}
INPUT = {
    "type": "object",
    "required": ["title"],
    "additionalProperties": False,
    "properties": {
        "title": {"type": "string", "maxLength": 100},
        "kind": {"type": "string", "enum": ["book", "map"]},
        "pages": {"type": ["integer", "null"], "minimum": 0},
        "tags": {"type": "array", "items": {"type": "string"}, "maxItems": 10},
        "price": {"type": "number"},
        "notes": {"type": "array"},
        "more": {"type": "object"},
        "sizes": {"type": "object", "additionalProperties": {"type": "integer"}},
        "owner": {"anyOf": [{"$ref": "#/components/schemas/Owner"}, {"type": "integer"}, {"type": "null"}]},
        "shelf": {"oneOf": [{"type": "string"}, {"type": "integer"}]},
        "state": {"type": "string", "default": "here"},
    },
}
DOCUMENT: dict[str, Any] = {
    "openapi": "3.1.0",
    "info": {"title": "Things", "version": "1.0"},
    "security": [{"bearer": []}],
    "paths": {
        "/books/{book_id}": {
            "parameters": [{"in": "path", "name": "book_id", "required": True, "schema": {"type": "integer"}}],
            "put": {
                "operationId": "replace_book",
                "tags": ["Books"],
                "parameters": [
                    {"in": "query", "name": "page", "schema": {"type": "integer", "maximum": 100}},
                    {"$ref": "#/components/parameters/Sort"},
                    {"in": "query", "name": "ids", "schema": {"type": "array", "items": {"type": "integer"}}},
                ],
                "requestBody": {
                    "content": {
                        "application/json": {"schema": {"$ref": "#/components/schemas/BookInput"}},
                        "application/merge-patch+json": {"schema": {"$ref": "#/components/schemas/BookInput"}},
                    }
                },
                "responses": {
                    "200": {
                        "headers": {"ETag": {"schema": {"type": "string"}}},
                        "content": {
                            "application/json": {
                                "schema": {"type": "array", "items": {"$ref": "#/components/schemas/Book"}}
                            },
                            "text/csv": {"schema": {"type": "string"}},
                        },
                    },
                    "304": {"description": "Not modified"},
                    "404": {"description": "None"},
                },
            },
            "get": {"operationId": "get_book", "security": [{"bearer": []}, {}], "responses": {"204": {}}},
        }
    },
    "components": {
        "parameters": {"Sort": {"in": "query", "name": "sort", "schema": {"type": "string", "enum": ["a", "b"]}}},
        "schemas": {
            "Book": BOOK,
            "BookInput": INPUT,
            "Branch": {"type": "object", "properties": {"name": {"type": "string"}}},
            "Heir": {"type": "object"},
            "Owner": {
                "type": "object",
                "properties": {"name": {"type": "string"}, "heir": {"$ref": "#/components/schemas/Owner"}},
            },
        },
        "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}},
    },
}
PUT = ("paths", "/books/{book_id}", "put")
ANSWER = (*PUT, "responses", "200")
GET = ("paths", "/books/{book_id}", "get")
IN, OUT = ("components", "schemas", "BookInput"), ("components", "schemas", "Book")
BRANCH, OWNER = "#/components/schemas/Branch", {"$ref": "#/components/schemas/Owner"}
TEXT, NUMBER, LIST = [{"type": "string"}], [{"type": "integer"}], [{"type": "array"}]
GONE = object()


def changed(*edits: tuple[tuple[Any, ...], Any]) -> dict[str, Any]:
    """The document with other values at some places, or without them."""
    document = deepcopy(DOCUMENT)
    for place, value in edits:
        holder = document
        for key in place[:-1]:
            holder = holder[key]
        if value is GONE:
            del holder[place[-1]]
        else:
            holder[place[-1]] = value
    return document


@pytest.mark.parametrize(
    ("place", "value", "where", "what", "how"),
    [
        (("paths", "/books/{book_id}"), GONE, "get_book", "get_book", "is gone"),
        (GET, GONE, "get_book", "get_book", "(GET /books/{book_id}) is gone"),
        ((*GET, "operationId"), "read_book", "get_book", "get_book", "is now called `read_book`"),
        ((*GET, "security"), [{"bearer": []}], "get_book", "security", "stricter"),
        ((*GET, "security"), GONE, "get_book", "security", "stricter"),
        ((*PUT, "security"), [{"bearer": [], "key": []}], "replace_book", "security", "stricter"),
        (
            (*PUT, "parameters", 0),
            {"$ref": "#/components/parameters/Sort"},
            "replace_book",
            "page",
            "no longer a query",
        ),
        (
            (*PUT, "parameters", 0, "required"),
            True,
            "replace_book",
            "page",
            "is now a query parameter that is required",
        ),
        ((*PUT, "parameters", 0, "schema", "maximum"), 50, "replace_book", "page", "narrower maximum"),
        ((*PUT, "parameters", 0, "schema", "minimum"), 1, "replace_book", "page", "narrower minimum"),
        (("components", "parameters", "Sort", "schema", "enum"), ["a"], "replace_book", "sort", "fewer words"),
        ((*PUT, "requestBody", "required"), True, "replace_book", "requestBody", "is now required"),
        (
            (*PUT, "requestBody", "content", "application/merge-patch+json"),
            GONE,
            "replace_book",
            "application/merge-patch+json",
            "no longer taken",
        ),
        ((*IN, "required"), ["title", "kind"], "BookInput", "kind", "is now required"),
        ((*IN, "properties", "pages"), GONE, "BookInput", "pages", "no longer taken"),
        ((*IN, "properties", "pages", "type"), "integer", "BookInput", "pages", "fewer kinds"),
        ((*IN, "properties", "title", "maxLength"), 50, "BookInput", "title", "narrower maxLength"),
        ((*IN, "properties", "title", "pattern"), "^a", "BookInput", "title", "narrower pattern"),
        ((*IN, "properties", "title", "enum"), ["a"], "BookInput", "title", "fewer words"),
        ((*IN, "properties", "kind", "enum"), ["book"], "BookInput", "kind", "fewer words"),
        ((*IN, "properties", "tags", "maxItems"), 5, "BookInput", "tags", "narrower maxItems"),
        ((*IN, "properties", "tags", "items", "minLength"), 1, "BookInput", "tags", "narrower minLength"),
        ((*PUT, "responses", "304"), GONE, "replace_book", "304", "no longer answered"),
        ((*ANSWER, "headers", "ETag"), GONE, "replace_book", "ETag", "no longer a header"),
        ((*ANSWER, "content", "text/csv"), GONE, "replace_book", "text/csv", "no longer answered"),
        ((*OUT, "properties", "year"), GONE, "Book", "year", "no longer answered"),
        ((*OUT, "required"), ["id"], "Book", "title", "no longer always"),
        ((*OUT, "properties", "id", "type"), ["integer", "string"], "Book", "id", "another kind"),
        ((*OUT, "properties", "id"), {}, "Book", "id", "another kind"),
        ((*OUT, "properties", "id", "type"), ["integer", "null"], "Book", "id", "another kind"),
        ((*OUT, "properties", "kind", "enum"), ["book", "map", "score"], "Book", "kind", "word that it never was"),
        ((*OUT, "properties", "kind"), {"type": "string"}, "Book", "kind", "word that it never was"),
        ((*OUT, "properties", "due_on", "format"), "date-time", "Book", "due_on", "another format"),
        (("components", "schemas", "Branch", "properties"), {}, "Branch", "name", "no longer answered"),
        ((*PUT, "tags"), ["Volumes"], "replace_book", "tags", "has changed"),
        ((*PUT, "callbacks"), {"done": {}}, "replace_book", "callbacks", "has changed"),
        (("components", "securitySchemes", "bearer", "scheme"), "basic", "bearer", "bearer", "another scheme"),
        # How parameters are written, and headers
        ((*PUT, "parameters", 2, "style"), "pipeDelimited", "replace_book", "ids", "written another way"),
        ((*PUT, "parameters", 2, "explode"), False, "replace_book", "ids", "written another way"),
        ((*PUT, "parameters", 2, "allowReserved"), True, "replace_book", "ids", "another allowReserved"),
        ((*PUT, "parameters", 2, "schema", "uniqueItems"), True, "replace_book", "ids", "narrower uniqueItems"),
        ((*ANSWER, "headers", "ETag", "schema", "type"), "integer", "replace_book", "ETag", "another kind"),
        ((*ANSWER, "headers", "ETag", "style"), "form", "replace_book", "ETag", "another style"),
        ((*PUT, "responses", "202"), {"description": "Later"}, "replace_book", "202", "is now answered too"),
        # Keywords of requests
        ((*IN, "properties", "more", "additionalProperties"), False, "BookInput", "more", "no further members"),
        ((*IN, "properties", "sizes", "additionalProperties"), False, "BookInput", "sizes", "no further members"),
        ((*IN, "properties", "sizes", "additionalProperties", "minimum"), 1, "BookInput", "sizes", "narrower minimum"),
        ((*IN, "properties", "more", "minProperties"), 1, "BookInput", "more", "narrower minProperties"),
        ((*IN, "properties", "more", "maxProperties"), 9, "BookInput", "more", "narrower maxProperties"),
        ((*IN, "properties", "price", "exclusiveMinimum"), 0, "BookInput", "price", "narrower exclusiveMinimum"),
        ((*IN, "properties", "price", "exclusiveMaximum"), 9, "BookInput", "price", "narrower exclusiveMaximum"),
        ((*IN, "properties", "price", "multipleOf"), 0.5, "BookInput", "price", "narrower multipleOf"),
        ((*IN, "properties", "title", "const"), "Emma", "BookInput", "title", "fewer words"),
        ((*IN, "properties", "notes", "items"), {"type": "string"}, "BookInput", "notes", "fewer kinds"),
        ((*IN, "properties", "state", "default"), "gone", "BookInput", "state", "another default"),
        ((*IN, "properties", "state", "default"), GONE, "BookInput", "state", "another default"),
        ((*IN, "properties", "shelf", "oneOf"), [{"type": "string"}], "BookInput", "shelf", "one of its alternatives"),
        ((*IN, "properties", "shelf", "oneOf", 1), {"type": "boolean"}, "BookInput", "shelf", "fewer kinds"),
        ((*IN, "properties", "shelf"), {"type": "string"}, "BookInput", "shelf", "one of its alternatives"),
        ((*IN, "properties", "owner", "anyOf", 0), {"type": "null"}, "BookInput", "owner", "one of its alternatives"),
        ((*IN, "properties", "owner", "anyOf", 2), {"type": "boolean"}, "BookInput", "owner", "taken as null"),
        ((*IN, "properties", "more", "propertyNames"), {"maxLength": 3}, "BookInput", "more", "another propertyNames"),
        ((*IN, "properties", "title", "not"), {"const": "x"}, "BookInput", "title", "another not"),
        # Keywords of answers
        ((*OUT, "properties", "marks", "items"), GONE, "Book", "marks", "another kind"),
        ((*OUT, "properties", "counts", "additionalProperties", "type"), "string", "Book", "counts", "another kind"),
        ((*OUT, "properties", "counts", "additionalProperties"), GONE, "Book", "counts", "another kind"),
        ((*OUT, "properties", "counts", "additionalProperties"), False, "Book", "counts", "no further members"),
        ((*OUT, "properties", "series", "allOf", 1), {}, "Book", "volume", "no longer answered"),
        ((*OUT, "properties", "series", "allOf", 1, "properties", "volume"), {}, "Book", "volume", "another kind"),
        ((*OUT, "properties", "state", "default"), "gone", "Book", "state", "another default"),
        ((*OUT, "properties", "place", "oneOf"), [*TEXT, *NUMBER, *LIST], "Book", "place", "a new alternative"),
        ((*OUT, "properties", "branch", "anyOf", 0), {"type": "string"}, "Book", "branch", "another kind"),
        ((*OUT, "properties", "owner"), {"anyOf": [OWNER, {"type": "null"}]}, "Book", "owner", "may be null"),
        ((*OUT, "properties", "owner"), {"$ref": BRANCH}, "Book", "owner", "is now a `Branch`, no longer a `Owner`"),
        ((*OUT, "discriminator"), {"propertyName": "kind"}, "Book", "Book", "another discriminator"),
    ],
)
def test_what_breaks_clients_is_named(place, value, where, what, how):
    (first, *others) = [
        change for change in breaking_changes(DOCUMENT, changed((place, value))) if change.where == where
    ]
    assert (first.where, first.what) == (where, what)
    assert how in str(first)
    assert others == []


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("paths", "/authors"), {"get": {"operationId": "list_authors", "responses": {}}}),
        ((*PUT, "parameters", 0, "schema", "maximum"), 200),
        ((*PUT, "parameters", 0, "description"), "Number of the page."),
        ((*PUT, "security"), [{"bearer": []}, {"key": []}]),
        ((*PUT, "responses", "404"), GONE),
        ((*PUT, "responses", "409"), {"description": "Refused"}),
        ((*IN, "properties", "note"), {"type": "string"}),
        ((*IN, "required"), []),
        ((*IN, "properties", "kind", "enum"), ["book", "map", "score"]),
        ((*IN, "properties", "pages", "type"), ["number", "null"]),
        ((*IN, "properties", "title", "maxLength"), GONE),
        ((*OUT, "properties", "subtitle"), {"type": "string"}),
        ((*OUT, "required"), ["id", "title", "year"]),
        ((*OUT, "properties", "kind", "enum"), ["book"]),
        ((*OUT, "properties", "year", "type"), "integer"),
        ((*OUT, "properties", "title", "maxLength"), 200),
        ((*PUT, "parameters", 2, "style"), "form"),
        ((*PUT, "parameters", 2, "explode"), True),
        ((*PUT, "parameters", 0, "schema", "default"), 1),
        ((*PUT, "parameters", 0, "schema", "examples"), [1]),
        ((*PUT, "summary"), "Replace a book."),
        ((*PUT, "deprecated"), True),
        ((*PUT, "x-badge"), "new"),
        ((*ANSWER, "headers", "Link"), {"schema": {"type": "string"}}),
        ((*ANSWER, "headers", "ETag", "description"), "The version."),
        ((*ANSWER, "content", "text/plain"), {"schema": {"type": "string"}}),
        ((*PUT, "requestBody", "content", "text/csv"), {"schema": {"type": "string"}}),
        ((*IN, "additionalProperties"), True),
        ((*IN, "properties", "sizes", "additionalProperties"), {"type": "number"}),
        ((*IN, "properties", "sizes", "additionalProperties"), {}),
        ((*IN, "properties", "more", "additionalProperties"), {}),
        ((*IN, "properties", "tags", "items"), GONE),
        ((*IN, "properties", "tags", "uniqueItems"), False),
        ((*IN, "properties", "shelf", "oneOf"), [{"type": "array"}, {"type": "integer"}, {"type": "string"}]),
        ((*IN, "properties", "title"), {"anyOf": [{"type": "string", "maxLength": 100}, {"type": "null"}]}),
        ((*IN, "properties", "title", "description"), "The title."),
        ((*OUT, "properties", "due_on"), {"allOf": [{"type": "string"}, {"format": "date"}]}),
        ((*OUT, "properties", "place", "oneOf"), [{"type": "string", "maxLength": 5}]),
        ((*OUT, "properties", "branch"), {"$ref": "#/components/schemas/Branch"}),
        ((*OUT, "properties", "owner", "description"), "Whose it is."),
        ((*OUT, "properties", "year"), {"anyOf": [{"type": "integer"}, {"type": "null"}]}),
        ((*OUT, "properties", "marks", "items", "maxLength"), 5),
        ((*OUT, "properties", "counts", "additionalProperties", "minimum"), 0),
        ((*OUT, "title"), "A book"),
        (("components", "schemas", "Lending"), {"type": "object"}),
    ],
)
def test_what_breaks_nobody_is_not(place, value):
    assert breaking_changes(DOCUMENT, changed((place, value))) == []


def test_a_parameter_may_move_into_the_components():
    moved = changed(((*PUT, "parameters", 1), DOCUMENT["components"]["parameters"]["Sort"]))
    assert breaking_changes(DOCUMENT, moved) == breaking_changes(moved, DOCUMENT) == []


def test_schemas_may_refer_to_themselves():
    book = {"$ref": "#/components/schemas/Book"}
    for parent in (book, {"anyOf": [book, {"type": "null"}], "default": None}, {"allOf": [{"maxProperties": 9}, book]}):
        ring = changed(((*OUT, "properties", "parent"), parent))
        assert breaking_changes(ring, deepcopy(ring)) == []
    outer = changed(((*OUT, "properties", "parent"), {"type": "object", "properties": {"parent": book}}))
    inner = changed(((*OUT, "properties", "parent"), book))
    assert breaking_changes(outer, inner) == breaking_changes(DOCUMENT, inner) == []
    assert {change.how for change in breaking_changes(inner, outer)} == {"is no longer answered"}


def renamed(name: str, other: str) -> dict[str, Any]:
    """The document with another name for a schema, by which everything refers to it."""
    document = json.loads(json.dumps(DOCUMENT).replace(f'schemas/{name}"', f'schemas/{other}"'))
    schemas = document["components"]["schemas"]
    schemas[other] = schemas.pop(name)
    return document


@pytest.mark.parametrize("name", ["Book", "Branch", "Heir", "Owner"])
def test_a_schema_after_which_classes_are_named_keeps_its_name(name):
    (change,) = breaking_changes(DOCUMENT, renamed(name, "Lending"))
    assert str(change) == f"`{name}` is now called `Lending`."


def test_a_schema_that_refers_to_itself_is_compared_under_its_new_name_too():
    after = renamed("Owner", "Keeper")
    del after["components"]["schemas"]["Keeper"]["properties"]["name"]
    changes = [str(change) for change in breaking_changes(DOCUMENT, after)]
    assert changes == [
        "`Owner` is now called `Keeper`.",
        "`Owner`: `name` is no longer answered.",
        "`Owner`: `name` is no longer taken.",
    ]


def test_a_schema_that_is_written_out_where_it_was_named_is_told():
    after = changed((("components", "schemas", "Branch"), GONE))
    after["components"]["schemas"]["Book"]["properties"]["branch"]["anyOf"][0] = DOCUMENT["components"]["schemas"][
        "Branch"
    ]
    assert [str(change) for change in breaking_changes(DOCUMENT, after)] == [
        "`Branch` is no longer a schema of its own."
    ]


def test_what_this_project_has_stored_breaks_nothing_of_itself():
    stored = json.loads((Path(__file__).parents[2] / "docs" / "openapi.json").read_text(encoding="utf-8"))
    assert breaking_changes(stored, deepcopy(stored)) == []


CHANGE = Change("list_books", "isbn", "is no longer a query parameter")


@pytest.mark.parametrize(
    ("changelog", "announced"),
    [
        ("# Changelog\n\n## Unreleased\n\n- Gone: `isbn` of\n  `list_books`, ask with `q`.\n", True),
        ("# Changelog\n\n## Unreleased\n\n- Other.\n\n## 1.0 (2026-12-01)\n\n- Gone: `isbn` of `list_books`.\n", True),
        ("# Changelog\n\n## Unreleased\n\n- Gone: isbn of `list_books`.\n", False),
        ("# Changelog\n\n## Unreleased\n\n- Gone: `isbn`.\n- New: `list_books`.\n", False),
        ("# Changelog\n\n## Unreleased\n\n## 0.9\n\n- Gone: `isbn` of `list_books`.\n", False),
        ("", False),
    ],
)
def test_the_changelog_tells_of_a_change_in_one_entry_of_what_is_not_released(changelog, announced):
    assert is_announced(CHANGE, changelog, "1.0") is announced


@pytest.fixture
def before(app, tmp_path: Path) -> Path:
    """A document of earlier days, in which books could be burnt."""
    with app.app_context():
        document = derived()
    document["paths"]["/books"]["delete"] = {"operationId": "burn_books", "responses": {"204": {}}}
    path = tmp_path / "before.json"
    path.write_text(json.dumps(document), encoding="utf-8")
    return path


def test_check_names_what_is_not_told_and_fails(app, before, tmp_path):
    changelog = tmp_path / "CHANGELOG.md"
    changelog.write_text("## Unreleased\n\n- Nothing.\n", encoding="utf-8")
    call = ["openapi", "check", "--against", str(before), "--changelog", str(changelog)]
    result = app.test_cli_runner().invoke(args=call)
    assert result.exit_code == 1
    assert "not in the changelog: `burn_books` (DELETE /books) is gone." in result.output
    changelog.write_text("## Unreleased\n\n- Gone: `burn_books`.\n", encoding="utf-8")
    result = app.test_cli_runner().invoke(args=call)
    assert result.exit_code == 0, result.output
    assert "told: `burn_books` (DELETE /books) is gone." in result.output


@pytest.mark.parametrize(("text", "complaint"), [(None, "cannot be read"), ("{", "is no JSON")])
def test_check_says_in_a_line_what_it_cannot_compare(app, tmp_path, text, complaint):
    path = tmp_path / "before.json"
    if text is not None:
        path.write_text(text)
    result = app.test_cli_runner().invoke(args=["openapi", "check", "--against", str(path)])
    assert result.exit_code == 1
    assert complaint in result.output


def test_what_is_written_is_sorted_and_what_was_derived(app, tmp_path):
    path = tmp_path / "openapi.json"
    result = app.test_cli_runner().invoke(args=["openapi", "write", str(path)])
    assert result.exit_code == 0, result.output
    with app.app_context():
        document = derived()
    text = path.read_text(encoding="utf-8")
    assert text == stored_form(document)
    assert json.loads(text) == document
    assert list(json.loads(text)["paths"]) == sorted(document["paths"])
