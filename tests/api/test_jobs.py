"""Jobs over HTTP: asked for, then watched; the work itself is a worker's."""

import pytest

from library.models import JobKind

KINDS = [kind.value for kind in JobKind if not kind.value.startswith("import_")]


def test_a_job_is_asked_for_and_watched(as_admin, as_librarian):
    answer = as_admin.post("/jobs", json={"kind": "nightly"})
    assert answer.status_code == 202, answer.text
    assert {name: answer.json[name] for name in ("kind", "state", "created_by_id", "found", "done", "skipped")} == {
        "kind": "nightly",
        "state": "queued",
        "created_by_id": as_admin.user_id,
        "found": 0,
        "done": 0,
        "skipped": 0,
    }
    assert all(answer.json[name] is None for name in ("runs_as_of", "started_at", "ended_at", "error"))
    where = answer.headers["Location"]
    assert where == f"/jobs/{answer.json['id']}"
    read = as_librarian.get(where)
    assert (read.json, read.headers["ETag"]) == (answer.json, answer.headers["ETag"])


@pytest.mark.parametrize("kind", KINDS)
def test_every_step_can_be_asked_for(as_admin, kind):
    assert as_admin.post("/jobs", json={"kind": kind}).json["kind"] == kind


def test_jobs_are_listed_by_kind_and_state(as_admin):
    for kind in ("renew", "nightly", "renew"):
        as_admin.post("/jobs", json={"kind": kind})
    assert [job["id"] for job in as_admin.get("/jobs?kind=renew").json] == [1, 3]
    assert len(as_admin.get("/jobs?state=queued").json) == 3
    assert as_admin.get("/jobs?state=done").json == []
    assert [job["id"] for job in as_admin.get("/jobs?sort=-created_at").json] == [3, 2, 1]


def test_what_is_no_job_is_refused(as_admin):
    for body, code in (
        ({}, "required"),
        ({"kind": "dance"}, "unknown_value"),
        ({"kind": "import_books"}, "unknown_value"),
    ):
        answer = as_admin.post("/jobs", json=body)
        assert (answer.status_code, answer.json["errors"][0]["code"]) == (422, code)
    assert as_admin.get("/jobs/1").status_code == 404


def test_librarians_watch_and_admins_start(as_librarian, as_patron, client):
    assert as_librarian.post("/jobs", json={"kind": "renew"}).status_code == 403
    assert as_librarian.get("/jobs").status_code == 200
    assert as_patron.get("/jobs").status_code == 403
    assert client.get("/jobs").status_code == 401


def test_in_a_sandbox_a_job_takes_the_moment_of_the_call(as_admin, app, monkeypatch):
    monkeypatch.setitem(app.config, "SANDBOX_CLOCK", True)
    answer = as_admin.post("/jobs", json={"kind": "nightly"}, headers={"Sandbox-Now": "2031-12-24T10:00:00Z"})
    assert answer.json["runs_as_of"] == "2031-12-24T10:00:00.000000Z"
    assert answer.json["created_at"] < "2031"
