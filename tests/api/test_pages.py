"""The document and its pages: complete, from this host alone, behind a strict policy, and free of limits."""

import gzip
import re
import subprocess
import sys

import pytest
from openapi_spec_validator import validate

from library import create_app
from library.api.plumbing import pages
from library.api.plumbing.document import TAGS
from library.config import VERSION
from library.models import Role

PERSON = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8"
PAGES = ("/docs", "/redoc")
ASSETS = [f"/docs/assets/{name}" for name in pages.ASSETS]
EVERYTHING = ["/", "/openapi.json", *PAGES, *ASSETS, "/favicon.ico"]


@pytest.fixture(scope="module")
def application(tmp_path_factory):
    """No page needs a table, or any database at all."""
    return create_app("testing", DATABASE_URL=f"sqlite:///{tmp_path_factory.mktemp('pages')}/none.sqlite3")


@pytest.fixture
def browser(application):
    return application.test_client()


def linked(html: str) -> list[str]:
    return re.findall(r'(?:src|href|spec-url|data-document)="([^"]*)"', html)


def directives(response) -> dict[str, str]:
    policy = response.headers["Content-Security-Policy"]
    return dict(part.strip().partition(" ")[::2] for part in policy.split(";"))


def assert_not_found(response):
    assert response.status_code == 404
    assert response.mimetype == "application/problem+json"
    assert response.json["code"] == "not_found"


@pytest.mark.parametrize("path", EVERYTHING)
def test_everything_answers_get_and_head_alike(browser, path):
    got, head = browser.get(path), browser.head(path)
    assert got.status_code == head.status_code == 200
    assert got.data
    assert not head.data
    assert got.content_length == head.content_length
    assert head.content_type == got.content_type


@pytest.mark.parametrize("path", EVERYTHING)
def test_nothing_takes_other_methods(browser, path):
    response = browser.post(path, json={})
    assert response.status_code == 405
    assert response.mimetype == "application/problem+json"
    assert set(response.headers["Allow"].split(", ")) == {"GET", "HEAD", "OPTIONS"}


@pytest.mark.parametrize("path", EVERYTHING)
def test_no_policy_lets_a_script_of_another_origin_run(browser, path):
    response = browser.get(path)
    policy = directives(response)
    assert policy["default-src"] == "'none'"
    assert policy["frame-ancestors"] == "'none'"
    assert policy.get("script-src", "'self'") == "'self'"
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert (len(policy) > 2) == (path in PAGES)


@pytest.mark.parametrize("path", PAGES)
def test_the_policy_of_the_pages(browser, path):
    assert directives(browser.get(path)) == {
        "default-src": "'none'",
        "script-src": "'self'",
        "style-src": "'self' 'unsafe-inline'",
        "font-src": "'self' data:",
        "img-src": "'self' data:",
        "connect-src": "'self'",
        "worker-src": "blob:",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
    }


@pytest.mark.parametrize("path", PAGES)
def test_the_pages_hold_no_script_and_name_no_other_host(browser, path):
    html = browser.get(path).text
    assert re.findall(r"<script[^>]*>([^<]*)</script>", html)
    assert not "".join(re.findall(r"<script[^>]*>([^<]*)</script>", html)).strip()
    assert not re.search(r"\son\w+\s*=", html)
    assert all(re.match(r"/(?!/)", target) for target in linked(html))


@pytest.mark.parametrize("path", PAGES)
def test_what_the_pages_load_is_there_and_kept_forever(browser, path):
    targets = linked(browser.get(path).text)
    assert "/openapi.json" in targets
    for target in targets:
        response = browser.get(target)
        assert response.status_code == 200
        if target != "/openapi.json":
            assert response.headers["Cache-Control"] == "public, max-age=31536000, immutable"


def test_every_asset_is_used(browser):
    loaded = {target.partition("?")[0] for path in PAGES for target in linked(browser.get(path).text)}
    assert set(ASSETS) == loaded - {"/openapi.json"}


def test_pages_are_asked_for_anew(browser):
    assert {browser.get(path).headers["Cache-Control"] for path in PAGES} == {"no-cache"}


def test_the_name_of_the_library_is_escaped(tmp_path):
    app = create_app("testing", DATABASE_URL=f"sqlite:///{tmp_path}/x.sqlite3", NAME="<script>alert(1)</script>")
    for path in PAGES:
        assert "<title>&lt;script&gt;" in app.test_client().get(path).text


@pytest.mark.parametrize(
    ("path", "content_type"),
    [
        ("redoc.js", "text/javascript; charset=utf-8"),
        ("swagger_style.css", "text/css; charset=utf-8"),
        ("icon.svg", "image/svg+xml"),
    ],
)
def test_content_types(browser, path, content_type):
    assert browser.get(f"/docs/assets/{path}").content_type == content_type


def test_redoc_is_served_without_its_makers_logos(browser):
    original = (pages.vendor_folder() / "redoc.js").read_bytes()
    for picture in pages.FOREIGN_PICTURES:
        assert original.count(picture) == 1, "another version of the package: look at what it fetches"
    served = browser.get("/docs/assets/redoc.js").data
    assert served.count(b"`data:,`") == original.count(b"`data:,`") + len(pages.FOREIGN_PICTURES)
    # No picture or style of another host is left to fetch.
    for name in ("redoc.js", "swagger_bundle.js", "swagger_style.css"):
        assert re.findall(rb"https?://[^\s\"'`)]+\.(?:svg|png|jpe?g|gif|ico|css)\b", asset_body(browser, name)) == []


def asset_body(browser, name: str) -> bytes:
    return browser.get(f"/docs/assets/{name}").data


def test_redoc_is_told_to_send_no_telemetry(browser):
    # The attribute counts only with the value "true", and the bundle must still know it.
    assert 'disable-telemetry="true"' in browser.get("/redoc").text
    assert b"disableTelemetry" in asset_body(browser, "redoc.js")


@pytest.mark.parametrize("path", ["/openapi.json", *ASSETS])
def test_bodies_are_compressed_for_those_who_take_it(browser, path):
    plain = browser.get(path)
    packed = browser.get(path, headers={"Accept-Encoding": "br, gzip"})
    refused = browser.get(path, headers={"Accept-Encoding": "gzip;q=0, identity"})
    assert packed.headers["Content-Encoding"] == "gzip"
    assert "Content-Encoding" not in plain.headers
    assert "Content-Encoding" not in refused.headers
    assert gzip.decompress(packed.data) == plain.data == refused.data
    for response in (plain, packed, refused):
        assert response.headers["Vary"] == "Accept-Encoding"
        assert response.headers["ETag"] == plain.headers["ETag"]


@pytest.mark.parametrize("path", ["/openapi.json", *ASSETS, "/favicon.ico"])
def test_a_known_tag_is_not_sent_again(browser, path):
    tag = browser.get(path).headers["ETag"]
    for known in (tag, tag.removeprefix("W/"), f'"other", {tag}', "*"):
        response = browser.get(path, headers={"If-None-Match": known})
        assert response.status_code == 304
        assert not response.data
        assert response.headers["ETag"] == tag
        assert response.headers["Vary"] == "Accept-Encoding"
    assert browser.get(path, headers={"If-None-Match": '"other"'}).status_code == 200


def test_an_address_of_another_version_is_not_kept(browser):
    for query in ("", "?v=", "?v=older"):
        assert browser.get(f"/docs/assets/redoc.js{query}").headers["Cache-Control"] == "no-cache"


@pytest.mark.parametrize(
    "name",
    [
        "../redoc.js",
        "..%2fplumbing%2fpages.py",
        "%2e%2e/%2e%2e/config.py",
        "....//redoc.js",
        "..%5credoc.js",
        "/etc/passwd",
        "%2fetc%2fpasswd",
        "redoc.js%00.css",
        "REDOC.JS",
        "docs.html",
        "scalar.js",
        "__init__.py",
        "",
    ],
)
def test_nothing_else_is_served(browser, name):
    response = browser.get(f"/docs/assets/{name}")
    if "%00" in name:
        assert response.status_code == 400
    else:
        assert_not_found(response)


def test_no_trailing_slashes(browser):
    for path in PAGES:
        assert_not_found(browser.get(f"{path}/"))


def test_the_document_is_valid_and_complete(browser, application):
    response = browser.get("/openapi.json")
    assert response.mimetype == "application/json"
    assert response.headers["Cache-Control"] == "public, max-age=60"
    document = response.json
    assert document["openapi"].startswith("3.1.")
    assert document["info"]["title"] == application.config["NAME"]
    assert document["info"]["version"] == VERSION
    validate(document)
    assert "/books" in document["paths"]
    assert not set(EVERYTHING) & set(document["paths"])


def test_the_groups_have_the_words_of_a_library_and_leave_no_operation_out(browser):
    document = browser.get("/openapi.json").json
    named = [tag["name"] for tag in document["tags"]]
    assert named == list(TAGS)
    assert all(tag["description"] for tag in document["tags"])
    operations = [
        operation for path in document["paths"].values() for key, operation in path.items() if key != "parameters"
    ]
    assert all(len(operation["tags"]) == 1 for operation in operations)
    assert {operation["tags"][0] for operation in operations} == set(named)


def test_a_newcomer_is_told_the_first_steps(browser):
    document = browser.get("/openapi.json").json
    told = document["info"]["description"]
    for path, method in (
        ("/users/register", "post"),
        ("/users/login", "post"),
        ("/books", "get"),
        ("/refusals", "get"),
    ):
        assert method in document["paths"][path]
        assert f"`{method.upper()} {path}`" in told
    assert [row for row in Role if f"\n| {row} |" not in told] == []


def test_nothing_is_filled_in_that_narrows_a_list_or_names_two_calls_alike(browser):
    # Swagger UI fills in what a parameter has for example; the `*` of If-Match fits any version.
    paths = browser.get("/openapi.json").json["paths"].values()
    operations = [operation for path in paths for key, operation in path.items() if key != "parameters"]
    optional = [one for operation in operations for one in operation.get("parameters", ()) if not one.get("required")]
    assert {one["name"] for one in optional} > {"q", "cursor", "Idempotency-Key"}
    assert {one["name"] for one in optional if "example" in {*one, *one["schema"]}} <= {"If-Match"}


@pytest.mark.parametrize("accept", [None, "*/*", "application/json", "application/json, text/html;q=0.9", "image/png"])
def test_a_machine_gets_an_index_of_places_that_exist(browser, application, accept):
    response = browser.get("/", headers={"Accept": accept} if accept else {})
    assert response.status_code == 200
    assert response.headers["Vary"] == "Accept"
    index = response.json
    assert (index.pop("name"), index.pop("version")) == (application.config["NAME"], VERSION)
    assert index.pop("first_calls") == {"register": "/users/register", "log_in": "/users/login", "books": "/books"}
    assert index == {
        "openapi": "/openapi.json",
        "docs": "/docs",
        "redoc": "/redoc",
        "library": "/library",
        "health": "/health/ready",
    }
    assert browser.get(index["library"]).status_code == 200


@pytest.mark.parametrize("accept", [PERSON, "text/html"])
def test_a_person_is_sent_to_the_documentation(browser, accept):
    response = browser.get("/", headers={"Accept": accept})
    assert response.status_code == 302
    assert response.location == "/docs"
    assert response.headers["Vary"] == "Accept"


def test_below_a_prefix_every_address_follows(browser):
    under = {"SCRIPT_NAME": "/library-api"}
    assert browser.get("/", environ_overrides=under).json["docs"] == "/library-api/docs"
    for path in PAGES:
        targets = linked(browser.get(path, environ_overrides=under).text)
        assert all(target.startswith("/library-api/") for target in targets)


def test_pages_do_not_count_against_the_limit(tmp_path):
    app = create_app(
        "testing", DATABASE_URL=f"sqlite:///{tmp_path}/x.sqlite3", LIMITS_ENABLED=True, LIMIT_ANONYMOUS="2 per day"
    )
    client = app.test_client()
    for path in EVERYTHING * 3:
        response = client.get(path)
        assert response.status_code == 200
        assert "RateLimit" not in response.headers
    statuses = [client.get("/library").status_code for _ in range(3)]
    assert statuses == [200, 200, 429]
    assert client.get("/docs").status_code == 200


def test_the_package_of_the_assets_is_never_imported():
    # It reads 8 MB as it is imported.
    code = (
        "import sys; from library import create_app;"
        "app = create_app('testing', DATABASE_URL='sqlite://');"
        "print(app.test_client().get('/docs').status_code, 'offapi' in sys.modules)"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.split() == ["200", "False"]


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setattr(pages, "VENDOR", "a_package_that_is_not_there")
    with pytest.raises(ModuleNotFoundError, match="a_package_that_is_not_there"):
        pages.vendor_folder()
