"""The pages in a real browser, served by the real server: drawn, usable, silent, and never calling another host."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

import pytest
from served import TWENTY

pytestmark = pytest.mark.services

PATIENCE = 30
CHROMIUM_FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
# The first of the twenty records, in the order of the list.
TITLE = "Moby-Dick"
PERSON = {"username": "jdoe", "email": "jdoe@example.com", "password": "password123"}


def lacking(sentence: str) -> Any:
    """Skip where a person lacks the browser; fail where the gate does, for it must not pass unseen."""
    (pytest.fail if os.environ.get("CI") else pytest.skip)(sentence)


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def own_environment(instance: Path) -> dict[str, str]:
    """This environment without anybody's settings but a fresh instance's."""
    ours = ("LIBRARY_", "GRANIAN_", "FLASK_", "DATABASE_URL", "SECRET_KEY", "REDIS_URL")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    return kept | {"LIBRARY_ENV": "development", "LIBRARY_INSTANCE": str(instance)}


@contextmanager
def running(command: list[str], environment: dict[str, str], log: Path) -> Iterator[subprocess.Popen]:
    with (
        log.open("w") as file,
        subprocess.Popen(command, env=environment, stdout=file, stderr=subprocess.STDOUT) as process,
    ):
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()


def wait_for(process: subprocess.Popen, port: int, log: Path) -> None:
    """Return once the port takes connections; tell the log of a server that does not come up."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            time.sleep(0.1)
    pytest.fail(f"the server did not start:\n{log.read_text()}")


@pytest.fixture(scope="module")
def server(tmp_path_factory) -> Iterator[str]:
    """The address of a development server with twenty books."""
    folder = tmp_path_factory.mktemp("server")
    environment, log, port = own_environment(folder), folder / "log.txt", free_port()
    flask = [sys.executable, "-m", "flask", "--app", "library:create_app"]
    for words in (["db", "upgrade"], ["catalogue", "import", str(TWENTY)]):
        subprocess.run([*flask, *words], env=environment, check=True, capture_output=True, timeout=60)
    serve = [sys.executable, "-m", "granian", "--interface", "wsgi", "--host", "127.0.0.1", "--port", str(port)]
    with running([*serve, "--factory", "library:create_app"], environment, log) as process:
        wait_for(process, port, log)
        yield f"http://127.0.0.1:{port}"


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """A headless Chromium."""
    path = os.environ.get("LIBRARY_TEST_CHROMIUM") or shutil.which("chromium")
    if not path:
        lacking("There is no Chromium: name one in LIBRARY_TEST_CHROMIUM, or run through .ci/with-services chromium --")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        lacking("Playwright is not installed: pip install -e '.[browser]'")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=CHROMIUM_FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def seen(chromium, server) -> Iterator[SimpleNamespace]:
    """A fresh page, with all it asked for and all it complained of; at the end, nothing may be wrong."""
    context = chromium.new_context(viewport={"width": 1400, "height": 1000}, base_url=server)
    page = context.new_page()
    page.set_default_timeout(PATIENCE * 1000)
    seen = SimpleNamespace(page=page, requests=[], complaints=[])
    context.on("request", lambda request: seen.requests.append(request.url))
    context.on("requestfailed", lambda request: seen.complaints.append(f"{request.url}: {request.failure}"))
    context.on("weberror", lambda error: seen.complaints.append(str(error.error)))
    context.on("console", lambda line: line.type in ("error", "warning") and seen.complaints.append(line.text))
    yield seen
    page.wait_for_load_state("networkidle")
    context.close()
    hosts = {urlsplit(url).netloc for url in seen.requests if not url.startswith(("data:", "blob:"))}
    assert hosts == {urlsplit(server).netloc}
    assert seen.complaints == []


def posted(url: str, body: dict[str, str]) -> dict[str, Any]:
    request = Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urlopen(request, timeout=PATIENCE) as answer:
        return json.load(answer)


@pytest.fixture(scope="module")
def token(server) -> str:
    """The access token of somebody who has just registered."""
    posted(f"{server}/users/register", PERSON)
    login = {name: PERSON[name] for name in ("email", "password")}
    return posted(f"{server}/users/login", login)["access_token"]


@pytest.fixture(scope="module")
def document(server) -> dict[str, Any]:
    with urlopen(f"{server}/openapi.json", timeout=PATIENCE) as answer:
        return json.load(answer)


def operations(document: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        operation
        for methods in document["paths"].values()
        for operation in methods.values()
        if "operationId" in operation
    ]


def shoot(page: Any, folder: Path, name: str, whole: bool = False) -> None:
    """A picture for those who want to judge the looks: `pytest --basetemp=…` keeps it in a place of their choice."""
    page.screenshot(path=folder / f"{name}.png", full_page=whole)


IN_VIEW = """() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => done({
  summaries: [...document.querySelectorAll(".opblock-summary-description")].map(found => found.textContent),
  at_end: window.innerHeight + window.scrollY >= document.documentElement.scrollHeight - 2,
}))))"""


def open_group(page: Any, tag: str) -> None:
    """Open a group of Swagger UI."""
    page.locator(f'h3.opblock-tag[data-tag="{tag}"]').click()
    page.locator(f'h3.opblock-tag[data-tag="{tag}"][data-is-open="true"]').wait_for()


def scroll_down(page: Any) -> Iterator[dict[str, Any]]:
    """Swagger UI draws only what is in view: what that is, screen by screen."""
    page.locator(".opblock").first.wait_for()
    page.mouse.move(700, 500)
    at_end = 0
    while at_end < 5:
        view = page.evaluate(IN_VIEW)
        yield view
        at_end = at_end + 1 if view["at_end"] else 0
        page.mouse.wheel(0, 500)


def test_swagger_ui_shows_the_groups_at_a_glance(seen, document, tmp_path):
    page = seen.page
    page.goto("/docs")
    page.locator("h3.opblock-tag").last.wait_for()
    shoot(page, tmp_path, "docs", whole=True)
    assert page.title() == f"{document['info']['title']}: Swagger UI"
    assert page.locator("h3.opblock-tag").evaluate_all("tags => tags.map(tag => tag.dataset.tag)") == [
        tag["name"] for tag in document["tags"]
    ]
    assert page.locator(".opblock").count() == 0


def test_swagger_ui_draws_every_operation(seen, document, tmp_path):
    page = seen.page
    page.goto("/docs")
    page.locator("h3.opblock-tag").last.wait_for()
    for tag in reversed(document["tags"]):
        open_group(page, tag["name"])
    page.evaluate("window.scrollTo(0, 0)")
    summaries: set[str] = set()
    for view in scroll_down(page):
        summaries |= set(view["summaries"])
    assert summaries == {operation["summary"] for operation in operations(document) if "summary" in operation}


def test_a_link_to_an_operation_opens_it(seen, tmp_path):
    page = seen.page
    page.goto("/docs#/Circulation/check_out")
    opened = page.locator(".opblock.is-open")
    opened.get_by_role("button", name="Execute").wait_for()
    assert opened.count() == 1
    assert opened.locator(".opblock-summary-path").inner_text().replace("\u200b", "") == "/loans"
    shoot(page, tmp_path, "operation")


def test_swagger_ui_authorizes_and_lists_books(seen, token, tmp_path):
    page = seen.page
    page.goto("/docs")
    page.locator("button.authorize.unlocked").first.click()
    dialog = page.locator(".modal-ux")
    dialog.get_by_label("auth-bearer-value").fill(token)
    dialog.get_by_role("button", name="Apply credentials").click()
    shoot(page, tmp_path, "authorized")
    dialog.get_by_role("button", name="Close").first.click()
    open_group(page, "Catalogue")
    operation = page.locator(".opblock", has=page.get_by_text("List or search books.", exact=True))
    operation.locator(".opblock-summary-control").click()
    with page.expect_response("**/books*") as answered:
        operation.get_by_role("button", name="Execute").click()
    assert answered.value.status == 200
    assert answered.value.request.headers["authorization"] == f"Bearer {token}"
    status = operation.locator(".live-responses-table tbody .response-col_status")
    status.get_by_text("200", exact=True).wait_for()
    body = operation.locator(".live-responses-table tbody .response-col_description pre").first
    body.get_by_text(TITLE).first.wait_for()
    status.scroll_into_view_if_needed()
    shoot(page, tmp_path, "executed")


def test_swagger_ui_remembers_the_token(seen, token):
    page = seen.page
    page.goto("/docs")
    page.locator("button.authorize.unlocked").first.click()
    page.locator(".modal-ux").get_by_label("auth-bearer-value").fill(token)
    page.locator(".modal-ux").get_by_role("button", name="Apply credentials").click()
    page.reload()
    page.locator("button.authorize.locked").first.wait_for()


def test_redoc_draws_the_document(seen, document, tmp_path):
    page = seen.page
    page.goto("/redoc")
    page.get_by_role("heading", name=document["info"]["title"]).first.wait_for()
    for tag in document["tags"]:
        page.get_by_text(tag["name"], exact=True).first.wait_for()
    shoot(page, tmp_path, "redoc")
    books = next(operation for operation in operations(document) if operation["operationId"] == "list_books")
    page.get_by_text(books["tags"][0], exact=True).first.click()
    page.get_by_text(books["summary"], exact=True).first.wait_for()
    shoot(page, tmp_path, "redoc-books")
    # Its menu would send the document to chat services.
    assert page.get_by_test_id("page-actions").count() > 0
    assert not any(menu.is_visible() for menu in page.get_by_test_id("page-actions").all())


def test_a_link_of_redoc_opens_the_operation(seen, tmp_path):
    page = seen.page
    page.goto("/redoc#/holds/place_hold")
    page.get_by_role("heading", name="Place a hold on a book, or on one copy of it.").first.wait_for()
    shoot(page, tmp_path, "redoc-operation")


def test_redoc_searches(seen, tmp_path):
    page = seen.page
    page.goto("/redoc")
    page.get_by_role("heading", level=1).first.wait_for()
    page.keyboard.press("Control+k")
    page.keyboard.type("check a copy out")
    page.get_by_text("to a patron.").first.wait_for()
    shoot(page, tmp_path, "redoc-search")


def test_a_person_who_opens_the_root_lands_on_the_documentation(seen, server):
    seen.page.goto("/")
    assert seen.page.url == f"{server}/docs"
    open_group(seen.page, "Catalogue")
