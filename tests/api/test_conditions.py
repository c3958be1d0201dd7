"""Conditional requests: a tag on everything that is read, 304, 412 and 428; merge patches; HEAD."""

import re
from collections.abc import Iterator
from itertools import chain
from typing import Any

import pytest
from documented import DocumentedClient, document_of
from hashing import hash_of_tables
from test_house import operations
from test_refusals import KEY, Operation, body_of, crowd, existing, unsafe  # noqa: F401 - a fixture

from library.extensions import db
from library.models import Role, User

# A stream: its hash would be known at its end only.
UNTAGGED = {"export_books", "export_user"}
QUERIES = {
    "get_summary_by_card": "card_barcode={card}",
    "get_availability": "ids=1",
    "list_open_days": "from_on=2026-05-04&to_on=2026-05-10",
    "get_effective_policies": "branch_id=1",
}
TAG = re.compile(r'"(\d+)-[0-9a-f]{20}"')


@pytest.fixture
def engine(app):
    with app.app_context():
        return db.engine


def readable(app: Any, client: DocumentedClient, session: Any) -> Iterator[tuple[str, Operation]]:
    """An address that answers, and its operation, for every GET."""
    card = session.get_one(User, client.user_id).card_barcode
    # PostgreSQL ends a transaction that stands idle for ten seconds.
    session.rollback()
    for path, method, operation in operations(app):
        if operation["operationId"] in UNTAGGED:
            assert "ETag" not in client.get(path.format(user_id=client.user_id)).headers
        elif method == "get" and "application/json" in operation["responses"]["200"].get("content", {}):
            # There is no list of accounts: every user has one.
            place = existing(client, path.replace("/accounts/{", "/users/{"))
            assert place, f"populate() of test_house makes no rows for {path}"
            place = place.replace("/users/", "/accounts/") if path.startswith("/accounts/") else place
            query = QUERIES.get(operation["operationId"], "").format(card=card)
            yield f"{place}?{query}" if query else place, operation


def test_everything_that_is_read_has_a_tag(app, crowd, session):  # noqa: F811
    seen = set()
    for address, operation in readable(app, crowd, session):
        name = operation["operationId"]
        first = crowd.get(address)
        assert first.status_code == 200, (address, first.text)
        tag = first.headers.get("ETag", "")
        assert TAG.fullmatch(tag), address
        assert "304" in operation["responses"], address
        wide = name in ("get_book", "list_books", "get_library")
        for wanted in (tag, f"W/{tag}", f'"x", {tag}', f'W/"x" ,W/{tag}, "y"', "*")[: None if wide else 2]:
            unchanged = crowd.get(address, headers={"If-None-Match": wanted})
            assert (unchanged.status_code, unchanged.data) == (304, b""), (address, wanted)
            assert unchanged.headers["ETag"] == tag
            for header in ("Cache-Control", "Vary"):
                assert unchanged.headers.get(header) == first.headers.get(header), (address, header)
            assert "Content-Type" not in unchanged.headers
        others = ('"x"', tag.strip('"') + "x", f'"{tag[1:-2]}"', f'W/"9999-{tag.split("-")[1]}')
        for other in others[: None if wide else 1]:
            again = crowd.get(address, headers={"If-None-Match": other})
            assert (again.status_code, again.data) == (200, first.data), (address, other)
        seen.add(name)
    assert {"list_books", "get_book", "get_me", "get_queue", "get_library", "list_loans"} <= seen


def test_head_is_get_without_a_body(app, crowd, session):  # noqa: F811
    for address, _ in readable(app, crowd, session):
        got, head = crowd.get(address), crowd.head(address)
        assert (head.status_code, head.data) == (got.status_code, b""), address
        for header in ("ETag", "Content-Type", "Content-Length", "Link", "X-Total-Count", "X-Pagination", "Vary"):
            assert head.headers.get(header) == got.headers.get(header), (address, header)
        unchanged = crowd.head(address, headers={"If-None-Match": got.headers["ETag"]})
        assert unchanged.status_code == 304, address
    assert crowd.head("/books/999").status_code == 404
    assert crowd.head("/books?x=1").status_code == 422


def test_head_where_nothing_is_read_is_405(app, crowd):  # noqa: F811
    gets = {path for path, method, _ in operations(app) if method == "get"}
    for path, _, _ in unsafe(app):
        if path not in gets:
            answer = crowd.head(KEY.sub("1", path))
            assert answer.status_code == 405, path
            assert "GET" not in answer.headers["Allow"]


def test_every_change_of_what_has_a_version_is_held_to_it(app, crowd, engine, session):  # noqa: F811
    """428 without a tag, 412 with a stale one, on each PUT, PATCH and DELETE that the tags of a GET are for."""
    before, tried = hash_of_tables(engine), set()
    reads = {path for path, method, _ in operations(app) if method == "get"}
    for path, method, operation in unsafe(app):
        if method == "post":
            continue
        place = existing(crowd, path)
        assert place, path
        asked = {parameter.get("name"): parameter.get("required") for parameter in operation.get("parameters", [])}
        version = TAG.fullmatch(crowd.get(place).headers["ETag"])[1] if path in reads else "0"
        if version == "0":
            # Never changed, only made and deleted: there is nothing to lose.
            assert asked["If-Match"] is False, path
            continue
        assert asked["If-Match"] is True, path
        sends = {} if body_of(app, operation) is None else {"json": {}}
        assert crowd.open(place, method=method.upper(), **sends).status_code == 428, (method, path)
        stales = (f'"{int(version) + 1}-x"', f'W/"{int(version) + 1}-x"', '"x"', f'"{version}x"', "", '"-"')
        for stale in stales[: None if operation["operationId"] == "patch_book" else 1]:
            answer = crowd.open(place, method=method.upper(), headers={"If-Match": stale}, **sends)
            assert answer.status_code == 412, (method, path, stale)
        tried.add(operation["operationId"])
    assert hash_of_tables(engine) == before
    assert {"patch_book", "replace_book", "delete_book", "patch_me", "reorder_queue", "delete_policy"} <= tried


def test_every_action_on_what_has_a_version_may_be_held_to_it(app, crowd, engine):  # noqa: F811
    before, tried = hash_of_tables(engine), set()
    for path, method, operation in unsafe(app):
        names = [parameter.get("name") for parameter in operation.get("parameters", [])]
        if method != "post" or "If-Match" not in names:
            continue
        assert {"412"} <= operation["responses"].keys()
        assert "428" not in operation["responses"]
        place = existing(crowd, path)
        for stale in ('"999-x"', 'W/"999-x"', '"x"', ""):
            answer = crowd.post(place, json={}, headers={"If-Match": stale})
            assert (answer.status_code, answer.json["code"]) == (412, "precondition_failed"), path
        if "requestBody" not in operation:
            continue
        for fresh in ("*", None):
            headers = {"If-Match": fresh} if fresh else {}
            assert crowd.post(place, json={"surprise": 1}, headers=headers).status_code == 422, path
        tried.add(operation["operationId"])
    assert hash_of_tables(engine) == before
    assert tried >= {"renew", "mark_copy", "cancel_hold", "declare_lost", "claim_returned", "resolve_claim"}
    assert tried >= {"create_block", "preview_renew"}


def test_an_action_goes_through_with_the_tag_that_was_read(as_librarian, make):
    hold, copy = make.hold(), make.copy()
    for place, action, body in (
        (f"/holds/{hold.id}", "cancel", {}),
        (f"/copies/{copy.id}", "mark", {"as": "damaged", "reason": "Wet"}),
    ):
        tag = {"If-Match": as_librarian.get(place).headers["ETag"]}
        shown = as_librarian.post(f"{place}/{action}/preview", json=body, headers=tag)
        assert shown.json["ok"] is True
        assert as_librarian.post(f"{place}/{action}", json=body, headers=tag).status_code == 200
        assert as_librarian.post(f"{place}/{action}", json=body, headers=tag).status_code == 412


def test_a_tag_of_any_representation_serves(as_librarian, make, app):
    loan, query = make.loan(), ""
    parameters = document_of(app)["paths"]["/loans/{loan_id}"]["get"].get("parameters", [])
    for parameter in parameters:
        if parameter.get("name") == "expand":
            items = parameter["schema"]["items"]["enum"]
            query = "&".join(f"expand={name}" for name in items)
    plain = as_librarian.get(f"/loans/{loan.id}").headers["ETag"]
    for tag in (
        plain,
        f"W/{plain}",
        f'"x", {plain}',
        as_librarian.get(f"/loans/{loan.id}?{query}").headers["ETag"],
        '"1-of-a-proxy-0"',
        "*",
    ):
        answer = as_librarian.post(f"/loans/{loan.id}/claim-returned/preview", json={}, headers={"If-Match": tag})
        assert answer.status_code == (412 if tag == '"1-of-a-proxy-0"' else 200), tag


def test_the_tag_of_a_change_is_the_next_ones(as_librarian, make):
    path = f"/books/{make.book().id}"
    tag = as_librarian.get(path).headers["ETag"]
    for year in (1900, 1901, 1902):
        answer = as_librarian.patch(path, json={"year": year}, headers={"If-Match": tag})
        assert answer.status_code == 200
        assert as_librarian.get(path).headers["ETag"] == answer.headers["ETag"] != tag
        assert as_librarian.patch(path, json={"year": 1}, headers={"If-Match": tag}).status_code == 412
        tag = answer.headers["ETag"]
    assert as_librarian.delete(path, headers={"If-Match": tag}).status_code == 204


PATCH = {"If-Match": "*", "Content-Type": "application/merge-patch+json"}


def test_a_merge_patch_changes_what_it_names(as_librarian, make):
    author, subjects = make.author(), [make.subject() for _ in range(3)]
    path = f"/books/{make.book(author, subjects=subjects[:2], year=1999, edition='2nd').id}"
    before = as_librarian.get(path).json
    after = as_librarian.patch(path, data='{"year": 2000, "edition": null}', headers=PATCH).json
    assert (after["year"], after["edition"]) == (2000, None)
    same = [name for name in before if name not in ("year", "edition", "updated_at")]
    assert [after[name] for name in same] == [before[name] for name in same]
    # Lists are replaced as they are, never merged.
    one = as_librarian.patch(path, data=f'{{"subject_ids": [{subjects[2].id}]}}', headers=PATCH).json
    assert [subject["subject_id"] for subject in one["subjects"]] == [subjects[2].id]
    assert len(one["contributors"]) == 1
    none = as_librarian.patch(path, data='{"subject_ids": [], "contributors": []}', headers=PATCH).json
    assert (none["subjects"], none["contributors"]) == ([], [])
    assert as_librarian.patch(path, data="{}", headers=PATCH).json["year"] == 2000


@pytest.mark.parametrize(
    "kind", ["application/merge-patch+json", "application/json", "application/json; charset=utf-8"]
)
def test_a_patch_is_a_merge_patch_by_either_name(as_librarian, make, kind):
    path = f"/books/{make.book().id}"
    answer = as_librarian.patch(path, data='{"year": 1999}', headers=PATCH | {"Content-Type": kind})
    assert answer.json["year"] == 1999


def test_null_takes_out_what_may_be_absent(app, crowd):  # noqa: F811
    """Every member of every PATCH: null where the document says so, else 422 (which never changes anything)."""
    tried = set()
    for path, method, operation in unsafe(app):
        if method != "patch":
            continue
        assert set(operation["requestBody"]["content"]) == {"application/json", "application/merge-patch+json"}
        place = existing(crowd, path)
        for name, member in body_of(app, operation)["properties"].items():
            answer = crowd.patch(place, data=f'{{"{name}": null}}', headers=PATCH)
            if not _may_be_null(member):
                assert answer.status_code == 422, (path, name)
            elif answer.status_code == 200:
                if name in answer.json:
                    assert answer.json[name] is None, (path, name)
                tried.add(f"{operation['operationId']}.{name}")
            else:
                # The rest of the record, or a rule, is against it.
                assert answer.status_code in (409, 422), (path, name, answer.text)
    assert {"patch_book.year", "patch_me.phone", "patch_copy.shelf_mark", "patch_branch.address"} <= tried


def _may_be_null(member: dict[str, Any]) -> bool:
    kinds = member.get("type", [])
    options = chain(member.get("oneOf", []), member.get("anyOf", []))
    return "null" in kinds or any("null" in option.get("type", []) for option in options)


def test_no_member_of_a_patch_is_an_object(app):
    """A merge patch would have to be merged into it; none has to, so far."""
    for path, method, operation in unsafe(app):
        if method == "patch":
            for name, member in body_of(app, operation)["properties"].items():
                name_of = member.get("$ref", "").rsplit("/", 1)[-1]
                described = document_of(app)["components"]["schemas"].get(name_of, member)
                assert "object" not in described.get("type", []), (path, name)


@pytest.mark.parametrize("kind", ["text/plain", "application/json-patch+json", "application/xml", ""])
def test_a_patch_of_another_kind_is_415(as_librarian, make, kind):
    path = f"/books/{make.book().id}"
    answer = as_librarian.patch(path, data='{"year": 1999}', headers=PATCH | {"Content-Type": kind})
    assert answer.status_code == 415
    assert answer.headers["Accept-Patch"] == "application/merge-patch+json, application/json"


@pytest.mark.parametrize("method", ["POST", "PUT"])
def test_what_is_no_patch_is_no_merge_patch(as_librarian, make, method):
    path = {"POST": "/books", "PUT": f"/books/{make.book().id}"}[method]
    answer = as_librarian.open(path, method=method, data='{"title": "A"}', headers=PATCH)
    assert (answer.status_code, "Accept-Patch" in answer.headers) == (415, False)


def test_what_was_made_has_the_tag_under_which_it_is_read(app, signed_in, make):
    """tag(POST) == tag(GET), for the plain nouns and what desks make."""
    client = signed_in(make.user(role=Role.ADMIN, home_branch=make.branch()))
    bodies = {
        "/authors": {"name": "Melville, Herman"},
        "/books": {"title": "Moby-Dick", "year": 1851},
        "/branches": {"name": "Harbour"},
        "/calendar-exceptions": {"from_on": "2027-01-01", "to_on": "2027-01-01", "is_open": False, "reason": "New"},
        "/copies": {"book_id": make.book().id, "home_branch_id": make.branch().id},
        "/holds": {"book_id": make.copy().book_id, "patron_id": make.user(home_branch=make.branch()).id},
        "/item-types": {"name": "DVD"},
        "/loans": {"copy_barcode": make.copy().barcode, "patron_barcode": make.user().card_barcode},
        "/orders": {"lines": [{"book_id": make.book().id, "quantity": 1}]},
        "/patron-categories": {"name": "Children"},
        "/policies": {"kind": "max_loans", "value": 3},
        "/subjects": {"name": "Whales"},
        "/transfer-limits": {"from_branch_id": make.branch().id, "to_branch_id": make.branch().id},
        "/users": {"first_name": "Jane"},
    }
    for path, body in bodies.items():
        made = client.post(path, json=body)
        assert made.status_code == 201, (path, made.text)
        assert client.get(made.headers["Location"]).headers["ETag"] == made.headers["ETag"], path


def test_what_has_no_version_heeds_if_match_too(as_admin, make):
    here, there = make.branch(), make.branch()
    limit = as_admin.post("/transfer-limits", json={"from_branch_id": here.id, "to_branch_id": there.id}).json
    path = f"/transfer-limits/{limit['id']}"
    stale = as_admin.change(path, "DELETE", '"77-x"')
    assert (stale.status_code, stale.json["errors"][0]["code"]) == (412, "stale_version")
    tag = as_admin.get(path).headers["ETag"]
    assert as_admin.change(path, "DELETE", tag).status_code == 204


def test_only_what_can_be_read_again_has_a_tag(as_librarian, make):
    copy = make.copy()
    marked = as_librarian.post(f"/copies/{copy.id}/mark", json={"as": "damaged", "reason": "Wet"})
    assert marked.status_code == 200
    assert "ETag" not in marked.headers
    made = as_librarian.post("/authors", json={"name": "A"})
    assert as_librarian.get(made.headers["Location"]).headers["ETag"] == made.headers["ETag"]
    told = {one["operationId"]: one["responses"] for _, _, one in operations(as_librarian.application)}
    assert "ETag" in told["create_author"]["201"]["headers"]
    assert "ETag" in told["patch_author"]["200"]["headers"]
    assert "ETag" not in told["mark_copy"]["200"]["headers"]


def test_a_key_in_a_path_has_one_spelling(as_patron, make):
    book = make.book()
    for other in (f"0{book.id}", f"+{book.id}", f"{book.id}.0", "٣"):
        assert as_patron.get(f"/books/{other}").status_code == 404


def test_a_patch_that_says_nothing_makes_nobodys_tag_stale(as_librarian, make):
    path = f"/books/{make.book().id}"
    tag = as_librarian.get(path).headers["ETag"]
    assert as_librarian.change(path, json={}).headers["ETag"] == tag
