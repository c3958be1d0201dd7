"""What the library stands on: no floor with a known hole in it, and an audit that never calls nothing good."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from configparser import ConfigParser
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from threading import Thread

import pytest
from served import ROOT, free_port

CLEAN, FOUND, BROKEN, UNAVAILABLE = 0, 1, 2, 69

# Package: the first version without a known hole, and the newest advisories that it mends. Looked up on 2026-11-23 in
# the advisories and the changelogs of each; older advisories of the same package are mended below that version too.
MENDED = {
    "aiosmtpd": ("1.4.6", "CVE-2024-27305, CVE-2024-34083"),
    "fastapi": ("0.109.1", "CVE-2024-24762, CVE-2021-32677"),
    "flask": ("3.1.3", "GHSA-68rp-wp8r-4726, GHSA-4grg-w6v8-c28g"),
    "flask-caching": ("2.3.1", "CVE-2021-33026 names pickles in a shared cache: ours keeps bytes (extensions.AsIs)"),
    "gunicorn": ("22.0.0", "CVE-2024-1135, CVE-2024-6827"),
    "granian": ("2.7.4", "GHSA-vrg7-482j-p6f6"),
    "jinja2": ("3.1.6", "GHSA-cpwx-vrp4-4pq7"),
    "lxml": ("6.1.0", "GHSA-vfmq-68hx-4jfw"),
    "mako": ("1.4.2", "GHSA-2h4p-vjrc-8xpq, and the drive letters of issue 441"),
    "marshmallow": ("4.1.2", "GHSA-428g-f7cq-pgp5"),
    "openapi-python-client": ("0.5.3", "CVE-2020-15141, CVE-2020-15142"),
    "orjson": ("3.11.6", "CVE-2025-67221, CVE-2024-27454"),
    "pyjwt": ("2.15.0", "GHSA-752w-5fwx-jx9f, GHSA-w7vc-732c-9m39, GHSA-hxm8-2xgr-2p9m, GHSA-8wjv-2p76-3863"),
    "pytest": ("9.0.3", "CVE-2025-71176"),
    "redis": ("4.5.4", "GHSA-24wv-mv5m-xv4h, GHSA-8fww-64cx-x8p5"),
    "requests": ("2.33.0", "CVE-2024-47081, CVE-2026-25645"),
    "setuptools": ("78.1.1", "GHSA-5rjg-fvgr-3xxf"),
    "sqlalchemy": ("1.3.0", "CVE-2019-7164, CVE-2019-7548"),
    "starlette": ("1.3.1", "CVE-2025-62727, CVE-2026-48710, CVE-2026-48817, CVE-2026-54282, CVE-2026-54283"),
    "urllib3": ("2.8.0", "GHSA-8988-9cw3-xx77, GHSA-vxq7-64xx-v4gw, GHSA-gh4c-6fx4-qh6g"),
    "webargs": ("5.5.3", "CVE-2020-7965, CVE-2019-9710"),
    "werkzeug": ("3.1.9", "GHSA-g6x2-hccm-hh4m, GHSA-29vq-49wr-vm6x, GHSA-q34m-jh98-gwm2"),
}
NOTHING_KNOWN = {
    "alembic",
    "apispec",
    "argon2-cffi",
    "asyncpg",
    "bibtexparser",
    "build",
    "citeproc-py",
    "coverage",
    "defusedxml",
    "flask-jwt-extended",
    "flask-limiter",
    "flask-migrate",
    "flask-smorest",
    "flask-sqlalchemy",
    "greenlet",
    "httpx2",
    "hypothesis",
    "import-linter",
    "itsdangerous",
    "jsonschema",
    "limits",
    "marshmallow-sqlalchemy",
    "mypy",
    "offapi",
    "openapi-spec-validator",
    "pip-audit",
    "playwright",
    "psycopg",
    "pymarc",
    "pytest-cov",
    "pytest-xdist",
    "rispy",
    "ruff",
    "schemathesis",
    "trustme",
    "tzdata",
    "uvloop",
}
# They build the package and are gone by the time it runs.
OF_THE_BUILD = {"setuptools"}


def numbers(text: str) -> tuple[int, ...]:
    """A version to compare by; 3.1 is 3.1.0."""
    found = [int(part) for part in re.match(r"[\d.]+", text)[0].strip(".").split(".")]
    return tuple(found + [0] * (4 - len(found)))


def floors() -> dict[str, str]:
    """Every requirement, of the library, its extras and its build, and its floor."""
    setup = ConfigParser()
    setup.read(ROOT / "setup.cfg")
    lists = [setup["options"]["install_requires"], *setup["options.extras_require"].values()]
    lists += re.findall(r'^requires = \["(.*)"\]', (ROOT / "pyproject.toml").read_text(encoding="utf-8"), re.MULTILINE)
    found = {}
    for line in "\n".join(lists).split():
        name, floor = re.match(r"([\w.-]+)(?:\[\w+\])?[>=]=([\w.]+)", line).groups()
        found[name.lower()] = floor
    return found


def test_no_floor_lets_a_known_hole_in():
    low = {
        f"{name}>={floor}: {MENDED[name][1]}, mended in {MENDED[name][0]}"
        for name, floor in floors().items()
        if name in MENDED and numbers(floor) < numbers(MENDED[name][0])
    }
    assert low == set()


def test_every_requirement_was_looked_up():
    assert {*MENDED}.isdisjoint(NOTHING_KNOWN)
    assert floors().keys() - MENDED.keys() - NOTHING_KNOWN == set()
    assert {*MENDED, *NOTHING_KNOWN} - floors().keys() == set()
    assert all(re.search(r"(GHSA(-\w{4}){3}|CVE-\d{4}-\d{4,})", advisory) for _, advisory in MENDED.values())


def test_what_is_installed_has_no_known_hole():
    holes = {}
    for name in MENDED.keys() - OF_THE_BUILD:
        try:
            if numbers(version(name)) < numbers(MENDED[name][0]):
                holes[name] = version(name)
        except PackageNotFoundError:  # of an extra that is not installed
            continue
    assert holes == {}


def package(name: str, *holes: dict, **members: str) -> dict:
    return {"name": name, "version": "1.0", "vulns": [*holes], **members}


def left_out(name: str) -> dict:
    # As pip-audit 2.10 words it where its index has no page of advisories for the package.
    reason = f"Dependency not found on PyPI and could not be audited: {name} (1.0)"
    return {"name": name, "skip_reason": reason}


HOLE = {
    "id": "PYSEC-2026-1",
    "fix_versions": ["1.1", "2.0"],
    "aliases": ["CVE-2026-0001"],
    "description": "It opens by itself.",
}
UNMENDED = {"id": "GHSA-aaaa-bbbb-cccc", "fix_versions": [], "description": "Nobody knows how to close it."}


def audit(*arguments: object) -> tuple[int, str]:
    """The exit code of `.ci/audit`, and what it printed."""
    command = [sys.executable, str(ROOT / ".ci" / "audit"), *map(str, arguments)]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert ran.stderr == ""
    return ran.returncode, ran.stdout


def read(folder: Path, *packages: dict) -> tuple[int, str]:
    path = folder / "report.json"
    path.write_text(json.dumps({"dependencies": packages, "fixes": []}), encoding="utf-8")
    return audit("--report", path)


def test_everything_was_audited_and_nothing_is_known(tmp_path):
    code, printed = read(tmp_path, package("flask"), package("werkzeug"), left_out("library-api"))
    assert (code, printed) == (CLEAN, "2 of 2 packages audited: nothing is known against them\n")


def test_a_hole_is_told_with_the_versions_that_mend_it(tmp_path):
    code, printed = read(tmp_path, package("flask", HOLE, UNMENDED), package("werkzeug"))
    assert code == FOUND
    assert printed.splitlines() == [
        "flask 1.0: PYSEC-2026-1, CVE-2026-0001, mended in 1.1 or 2.0",
        "flask 1.0: GHSA-aaaa-bbbb-cccc, mended in no version yet",
        "2 of 2 packages audited",
    ]


def test_what_was_left_out_was_not_audited(tmp_path):
    code, printed = read(tmp_path, package("flask"), left_out("werkzeug"), {"name": "jinja2"})
    assert code == FOUND
    assert "werkzeug: NOT AUDITED: Dependency not found on PyPI" in printed
    assert "jinja2: NOT AUDITED: no reason given" in printed
    assert printed.endswith("1 of 3 packages audited\n")


def test_a_report_in_which_everything_was_left_out_is_no_audit(tmp_path):
    """What pip-audit calls good, with status 0, where its service is missing."""
    code, printed = read(tmp_path, left_out("flask"), left_out("werkzeug"), left_out("library-api"))
    assert (code, printed) == (UNAVAILABLE, "NOT AUDITED: none of 2 packages could be looked up\n")


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"dependencies": null}', '{"dependencies": []}', "No known holes"])
def test_what_is_no_report_is_no_audit(text, tmp_path):
    path = tmp_path / "report.json"
    path.write_text(text, encoding="utf-8")
    code, printed = audit("--report", path)
    assert code == BROKEN
    assert printed.startswith("NOT AUDITED: ")


class Advisories(BaseHTTPRequestHandler):
    """A service that speaks as OSV does: one hole in one package, and whatever status it is told to answer with."""

    status = 200

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["package"]["name"]
        events = [{"introduced": "0"}, {"fixed": "99999"}]
        affected = {
            "package": {"name": asked, "ecosystem": "PyPI"},
            "ranges": [{"type": "ECOSYSTEM", "events": events}],
        }
        hole = {"id": "GHSA-aaaa-bbbb-cccc", "summary": "A hole.", "details": "Wide open.", "affected": [affected]}
        body = json.dumps({"vulns": [hole]} if asked == "packaging" else {}).encode()
        self.send_response(self.status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *words: object) -> None:
        """Say nothing."""


@pytest.fixture
def service() -> Iterator[str]:
    """The address of a service of advisories."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Advisories) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/v1/query"
        server.shutdown()


@pytest.mark.services
def test_pip_audit_itself_with_a_service_that_answers(service):
    code, printed = audit("--vulnerability-service=osv", f"--osv-url={service}")
    assert code == FOUND
    *told, count = printed.splitlines()
    assert [line for line in told if "NOT AUDITED" not in line] == [
        f"packaging {version('packaging')}: GHSA-aaaa-bbbb-cccc, mended in 99999"
    ]
    assert int(count.split()[0]) > 50


@pytest.mark.services
def test_pip_audit_itself_with_a_service_that_fails(service, monkeypatch):
    monkeypatch.setattr(Advisories, "status", 503)
    code, printed = audit("--vulnerability-service=osv", f"--osv-url={service}")
    assert (code, printed[:13]) == (UNAVAILABLE, "NOT AUDITED: ")


@pytest.mark.services
def test_pip_audit_itself_without_a_service():
    code, printed = audit("--vulnerability-service=osv", f"--osv-url=http://127.0.0.1:{free_port()}/v1/query")
    assert (code, printed[:13]) == (UNAVAILABLE, "NOT AUDITED: ")
