"""The house inspects itself: its laws hold for every route, every refusal, every setting, every list."""

import ast
import inspect
import re
import subprocess
import sys
from datetime import date
from pathlib import Path

import marshmallow as ma
import pytest
from documented import document_of
from factories import START
from flask import Flask
from flask.views import MethodView
from openapi_spec_validator import validate
from walking_lists import lists, words_of

from library.api import RESOURCES
from library.api.plumbing.blueprint import Blueprint, Unmarked
from library.api.plumbing.document import LargestId
from library.api.plumbing.fields import Choices, Coded, ListOf, Nested
from library.api.plumbing.schemas import QuerySchema, RequestSchema
from library.config import Default, settings_of
from library.exchange import records
from library.models import (
    AuditEvent,
    AuditOutcome,
    AuthorKind,
    Base,
    ContributorRole,
    IdentifierScheme,
    Job,
    JobKind,
    JobResult,
    MaterialType,
    Notice,
    NoticeKind,
    Outcome,
    Override,
    PatronBlock,
    Renewal,
    RenewalChannel,
    Role,
)
from library.rules import access, errors
from library.rules.errors import Refusal, Refused, UndeclaredRefusal, refuses

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "library"


def operations(app: Flask):
    """(path, method, operation) of everything the document describes."""
    for path, methods in document_of(app)["paths"].items():
        for method, operation in methods.items():
            if isinstance(operation, dict) and "responses" in operation:
                yield path, method, operation


def views():
    """(rule, method, view function) of every route of every resource."""
    for blp in RESOURCES:
        for deferred in blp._docs.values():
            yield from ((method, doc) for method, doc in deferred.items() if method != "parameters")


def test_the_document_is_valid_openapi_31(shared_app):
    document = document_of(shared_app)
    assert document["openapi"] == "3.1.0"
    validate(document)


def test_every_operation_is_named_told_and_guarded(shared_app):
    names = []
    for path, method, operation in operations(shared_app):
        names.append(operation["operationId"])
        assert operation["summary"].endswith("."), (path, method)
        assert operation["tags"], (path, method)
        assert "security" in operation, (path, method)
        assert any(status.startswith("2") for status in operation["responses"]), (path, method)
    assert len(names) == len(set(names))


def test_every_route_of_a_resource_is_documented(shared_app):
    documented = {(path, method.upper()) for path, method, _ in operations(shared_app)}
    for rule in shared_app.url_map.iter_rules():
        view = shared_app.view_functions[rule.endpoint]
        if not hasattr(view, "view_class"):
            continue
        path = re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule)
        for method in rule.methods - {"HEAD", "OPTIONS"}:
            assert (path, method) in documented


def test_a_view_without_a_permission_stops_the_start():
    blp = Blueprint("things", "thing", "Things")

    class Things(MethodView):
        def get(self) -> None:
            """List things."""

    with pytest.raises(Unmarked, match="GET /things"):
        blp.route("/things")(Things)


def test_permissions_are_granted_and_used():
    used = {doc["library"]["permission"] for _, doc in views()}
    granted = set().union(*access.PERMISSIONS.values())
    # What a rule asks for by itself, beside the views.
    rules = "".join((PACKAGE / "rules" / f"{name}.py").read_text() for name in ("users", "erasure"))
    asked = set(re.findall(r'(?:may|require)\(actor, "([\w.]+)"\)', rules))
    overriding = {refusal.permission for refusal in Refusal.catalogue.values() if refusal.permission}
    assert used | asked | overriding | ({*access.PERSONAL.values()} - {"nobody"}) == granted


def test_an_undeclared_refusal_is_an_error_in_tests():
    class Surprising(Refusal):
        """Nobody expected this."""

    try:

        @refuses()
        def rule() -> None:
            raise Refused([Surprising()])

        with pytest.raises(UndeclaredRefusal, match="surprising"):
            rule()
    finally:
        del Refusal.catalogue["surprising"]
    assert errors.strict


def test_every_refusal_has_a_test_and_is_listed(client):
    texts = "\n".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py") if path.name != "test_house.py")
    listed = {row["code"] for row in client.get("/refusals").json}
    assert listed == set(Refusal.catalogue)
    # Reached only by a desk without a branch, which the API answers with 422 before: tests/rules names it.
    for code, refusal in Refusal.catalogue.items():
        assert code in texts or refusal.__name__ in texts, f"no test names {code}"
        assert refusal.sentence().endswith("."), code


def fields_of(schema: ma.Schema, seen: frozenset[type] = frozenset()):
    """(where, field) of every field that a request is read by, those within lists and other schemas too."""
    for name, field in schema.load_fields.items():
        yield from _within(f"{type(schema).__name__}.{name}", field, seen | {type(schema)})


def _within(where: str, field: ma.fields.Field, seen: frozenset[type]):
    yield where, field
    if isinstance(field, ma.fields.List) and not isinstance(field, Choices):
        yield from _within(f"{where}[]", field.inner, seen)
    if isinstance(field, ma.fields.Nested) and type(field.schema) not in seen:
        yield from fields_of(field.schema, seen)


def test_request_schemas_use_our_fields_only(shared_app):
    looked_at = set()
    for schema in [*subclasses(RequestSchema), *subclasses(QuerySchema)]:
        for where, field in fields_of(schema()):
            assert isinstance(field, Coded), f"{where} is a bare {type(field).__name__}"
            looked_at.add(type(field).__name__)
    assert {"Text", "Whole", "Ref", "QueryWhole", "QueryList", "Nested", "ListOf", "Day", "MomentField"} <= looked_at


def test_a_bare_field_is_seen_wherever_it_stands():
    class Inner(ma.Schema):
        bare = ma.fields.Integer()

    class Outer(ma.Schema):
        in_list = ListOf(ma.fields.DateTime())
        inner = Nested(Inner)

    bare = [where for where, field in fields_of(Outer()) if not isinstance(field, Coded)]
    assert bare == ["Outer.in_list[]", "Inner.bare"]


def test_what_a_view_takes_is_one_of_our_schemas(shared_app):
    taken = 0
    for method, doc in views():
        for described in doc.get("arguments", {}).get("parameters", ()):
            schema = described["schema"]
            schema = schema if isinstance(schema, ma.Schema) else schema()
            wanted = QuerySchema if described["in"] == "query" else RequestSchema
            assert isinstance(schema, wanted), (doc["library"]["operation"], method)
            taken += 1
            for where, field in fields_of(schema):
                inner = getattr(field, "schema", None)
                assert inner is None or inner.unknown == ma.RAISE, where
    assert taken > 100


def test_a_path_holds_nothing_but_keys(shared_app):
    for rule in shared_app.url_map.iter_rules():
        if hasattr(shared_app.view_functions[rule.endpoint], "view_class"):
            assert all(isinstance(kind, LargestId) for kind in rule._converters.values()), rule.rule


def test_request_schemas_refuse_unknown_members():
    for schema in subclasses(RequestSchema):
        assert schema.Meta.unknown == ma.RAISE, schema.__name__


def subclasses(base: type) -> list[type]:
    return [found for child in base.__subclasses__() for found in (child, *subclasses(child))]


def test_no_import_hides_in_a_function():
    allowed = {PACKAGE / "__init__.py"}
    for path in PACKAGE.rglob("*.py"):
        if path in allowed or path.parent == PACKAGE / "cli":
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef):
                hidden = [inner for inner in ast.walk(node) if isinstance(inner, ast.Import | ast.ImportFrom)]
                assert not hidden, f"{path.name}: {node.name} imports"


def test_modules_stay_short_and_say_what_they_are():
    for path in (*PACKAGE.rglob("*.py"), *(PACKAGE.parent / "bench").glob("*.py")):
        text = path.read_text(encoding="utf-8")
        assert len(text.splitlines()) <= 300, path
        assert ast.get_docstring(ast.parse(text)), path


def test_models_and_rules_load_without_flask():
    code = (
        "import sys, library.models, library.rules.orders, library.rules.imports, library.database, library.working;"
        "import library.importing, library.exporting;"
        "print([name for name in ('flask', 'marshmallow', 'werkzeug') if name in sys.modules])"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert ran.stdout.strip() == "[]"


@pytest.fixture
def contracts(tmp_path):
    """Call it with a file and a line to break the house with, in a copy; the answer of the import linter."""
    import shutil

    house = tmp_path / "house"
    shutil.copytree(PACKAGE, house / "library", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "setup.cfg", house / "setup.cfg")

    def lint(name: str = "", line: str = "") -> subprocess.CompletedProcess:
        if name:
            with (house / "library" / name).open("a") as file:
                file.write(f"\n{line}\n")
        command = "import sys; sys.path.insert(0, '.'); from importlinter.cli import lint_imports_command as c; c()"
        return subprocess.run([sys.executable, "-c", command, "--no-cache"], cwd=house, capture_output=True, text=True)

    return lint


def test_the_laws_are_kept(contracts):
    ran = contracts()
    assert ran.returncode == 0, ran.stdout


@pytest.mark.parametrize(
    ("name", "line", "broken"),
    [
        ("rules/calendar.py", "import flask", "No HTTP below the API BROKEN"),
        ("rules/holdings.py", "import library.rules.loans", "Each verb leans only on verbs ranked below it BROKEN"),
        ("models/loans.py", "import library.models.users", "Nouns know one another only by name BROKEN"),
        ("exchange/marc.py", "import sqlalchemy", "Formats know no database BROKEN"),
        ("api/plumbing/gate.py", "import library.api.books", "Plumbing knows no resource BROKEN"),
        ("rules/words.py", "import library.extensions", "API and commands stand on rules, rules on models"),
    ],
)
def test_a_broken_law_is_seen(contracts, name, line, broken):
    ran = contracts(name, line)
    assert ran.returncode != 0
    assert broken in ran.stdout


def test_every_setting_stands_in_the_readme_with_its_default():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| `([A-Z_]+)` \| ([^|]*) \|", readme, re.MULTILINE))
    assert set(rows) == set(settings_of(Default))
    for name, default in settings_of(Default).items():
        written = str(default).lower() if isinstance(default, bool) else str(default)
        assert rows[name].strip().strip("`") == written, name


def test_the_neutral_record_speaks_the_words_of_the_models():
    record = inspect.getdoc(records.ContributorRecord) or ""
    assert "ContributorRole" in record
    assert records.BookRecord("x").material_type in list(MaterialType)
    assert records.ContributorRecord("x").role in list(ContributorRole)
    assert records.ContributorRecord("x").kind in list(AuthorKind)
    assert "isbn" in list(IdentifierScheme)


# Statements of a list of many rows, the gate's own look-up included; a new list gets its own line here.
PINNED = {
    "/account-entries": 5,
    "/api-keys": 3,
    "/audit-events": 3,
    "/authors": 4,
    "/books": 4,
    "/branches": 4,
    "/calendar-exceptions": 2,
    "/copies": 2,
    "/item-types": 4,
    "/holds": 4,
    "/jobs": 2,
    "/jobs/{job_id}/results": 3,
    "/loans": 12,
    "/loans/{loan_id}/overrides": 3,
    "/loans/{loan_id}/renewals": 3,
    "/notices": 2,
    "/orders": 2,
    "/patron-categories": 2,
    "/policies": 3,
    "/subjects": 4,
    "/transfer-limits": 2,
    "/users": 2,
    "/users/me/sessions": 2,
    "/users/{user_id}/blocks": 3,
    "/users/{user_id}/orders": 3,
}


def populate(make, owner) -> None:
    for number in range(12):
        author, subject = make.author(), make.subject()
        book = make.book(author, subjects=[subject], identifiers=[(IdentifierScheme.OTHER, f"x{number}")])
        make.charge(loan=make.loan(copy=make.copy(book=book, item_type_id=make.item_type().id)))
        make.order(owner, book)
        make.policy("max_holds_per_day", 100 + number, branch=make.branch(), patron_category=make.category())
        make.exception(date(2020, 1, 1 + number))
        make.transfer_limit()
        hold = make.hold(make.book(), owner)
        make.row(PatronBlock(user_id=owner.id, reason="Because", created_at=START))
        occasion = {"occasion": f"told {number}", "hold_id": hold.id, "created_at": START}
        make.row(Notice(patron_id=owner.id, kind=NoticeKind.HOLD_READY, **occasion))
        make.row(Job(kind=JobKind.NIGHTLY, created_at=START))
        make.row(AuditEvent(at=START, action="renew", outcome=AuditOutcome.DONE, codes=[], members=[]))
        make.session_of(owner)
        make.api_key(owner)
        make.row(JobResult(job_id=1, position=number, outcome=Outcome.ADDED))
        renewal = {"loan_id": 1, "channel": RenewalChannel.DESK, "renewed_at": START}
        make.row(Override(action="renew", code="held", reason="Because", loan_id=1, made_at=START))
        make.row(Renewal(was_due_at=START, due_at=START, **renewal))


def test_lists_have_a_pinned_number_of_statements(app, signed_in, make, statements):
    librarian = make.librarian(role=Role.ADMIN)
    client = signed_in(librarian)
    populate(make, librarian)
    counts = {}
    for path, method, operation in operations(app):
        if method == "get" and "X-Pagination" in operation["responses"]["200"].get("headers", {}):
            statements.clear()
            answer = client.get(path.format(user_id=librarian.id, loan_id=1, job_id=1) + "?page_size=10")
            assert len(answer.json) >= 10 or path == "/users/{user_id}/orders", path
            counts[path] = len(statements)
    assert counts == PINNED


def test_a_step_of_a_walk_counts_nothing(app, signed_in, make, statements):
    librarian = make.librarian(role=Role.ADMIN)
    client = signed_in(librarian)
    populate(make, librarian)
    for path, operation in lists(app, librarian.id).items():
        for sort in words_of(operation, "sort")[1:2]:
            query = {"page_size": 6, "sort": sort}
            first = client.get(path, query_string=query | {"cursor": "start"})
            statements.clear()
            client.get(path, query_string=query)
            page = len(statements)
            assert [one for one in statements if " AS total" in one], path
            statements.clear()
            assert client.get(path, query_string=query | {"cursor": first.headers["X-Next-Cursor"]}).json
            assert not [one for one in statements if " AS total" in one], path
            assert len(statements) <= page, path


# What showing all records in full adds to a list, however many rows it has; the rows are counted and loaded then.
EXPANDED = {
    "/account-entries": 11,
    "/copies": 8,
    "/holds": 6,
    "/loans": 7,
    "/orders": 7,
    "/users": 3,
    "/users/{user_id}/orders": 7,
}


def test_showing_records_in_full_costs_a_pinned_number_of_statements(app, signed_in, make, statements):
    librarian = make.librarian(role=Role.ADMIN, patron_category=make.category())
    client = signed_in(librarian)
    populate(make, librarian)
    counts = {}
    for path, method, operation in operations(app):
        words = ",".join(words_of(operation, "expand")) if method == "get" else ""
        if words and "X-Next-Cursor" in operation["responses"]["200"]["headers"]:
            path_here, costs = path.format(user_id=librarian.id), []
            for query in ("page_size=12", "page_size=3", f"page_size=12&expand={words}", f"page_size=3&expand={words}"):
                statements.clear()
                client.get(f"{path_here}?{query}")
                costs.append(len(statements))
            assert costs[2] - costs[0] == costs[3] - costs[1], path
            counts[path] = costs[2] - costs[0]
    assert counts == EXPANDED


def test_every_table_has_rows_that_never_come_back():
    for table in Base.metadata.tables.values():
        assert table.kwargs["sqlite_autoincrement"] is True
