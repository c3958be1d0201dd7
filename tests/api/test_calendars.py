"""Exceptions to opening hours over HTTP, and a branch's days as they come out."""

from datetime import date, timedelta

import pytest

from library.rules.calendar import local_day

MONDAY, DAY = date(2026, 3, 2), timedelta(days=1)
HOURS = [{"weekday": weekday, "opens": "09:00", "closes": "18:00"} for weekday in range(1, 6)]
CLOSED = {"from_on": "2026-04-03", "to_on": "2026-04-06"}


def test_an_exception_from_making_to_deleting(as_admin, make):
    branch = make.branch()
    body = CLOSED | {"branch_id": branch.id, "reason": "Easter"}
    created = as_admin.post("/calendar-exceptions", json=body)
    assert created.status_code == 201, created.text
    rest = {"id": created.json["id"], "is_open": False, "opens": None, "closes": None}
    assert created.json == body | rest
    path = created.headers["Location"]
    read = as_admin.get(path)
    assert (read.json, read.headers["ETag"]) == (created.json, created.headers["ETag"])
    patched = as_admin.change(path, tag=created.headers["ETag"], json={"branch_id": None, "to_on": "2026-04-07"})
    assert patched.json == created.json | {"branch_id": None, "to_on": "2026-04-07"}
    assert as_admin.get(path).headers["ETag"] == patched.headers["ETag"]
    assert as_admin.change(path, tag=created.headers["ETag"], json={}).status_code == 412
    assert as_admin.change(path, "DELETE").status_code == 204
    assert as_admin.get(path).status_code == 404


BAD = [
    ({"to_on": "2026-04-02"}, "/to_on", "out_of_range"),
    ({"is_open": True, "opens": "09:00"}, "/closes", "required"),
    ({"is_open": True, "closes": "09:00"}, "/opens", "required"),
    ({"is_open": True, "opens": "18:00", "closes": "09:00"}, "/closes", "out_of_range"),
    ({"is_open": True, "opens": "09:00", "closes": "09:00"}, "/closes", "out_of_range"),
    ({"opens": "09:00", "closes": "18:00"}, "/opens", "conflict"),
    ({"is_open": True, "opens": "9:00", "closes": "18:00"}, "/opens", "too_short"),
    ({"is_open": True, "opens": "09:60", "closes": "18:00"}, "/opens", "bad_form"),
    ({"from_on": "2026-02-30"}, "/from_on", "invalid_type"),
    ({"branch_id": 77}, "/branch_id", "branch_not_found"),
]


@pytest.mark.parametrize("method", ["POST", "PATCH"])
@pytest.mark.parametrize(("change", "pointer", "code"), BAD)
def test_an_exception_that_makes_no_sense_is_told_where(as_admin, make, method, change, pointer, code):
    path, body = "/calendar-exceptions", CLOSED | change
    if method == "PATCH":
        existing = make.exception(date(2026, 4, 3), date(2026, 4, 6))
        path, body = f"{path}/{existing.id}", change
    answer = as_admin.change(path, method, json=body)
    (error,) = answer.json["errors"]
    assert (answer.status_code, error["pointer"], error["code"]) == (422, pointer, code)


def test_several_faults_are_told_together(as_admin):
    answer = as_admin.post("/calendar-exceptions", json=CLOSED | {"to_on": "2026-01-01", "opens": "09:00"})
    assert {error["pointer"] for error in answer.json["errors"]} == {"/to_on", "/opens", "/closes"}


def test_a_patch_is_held_against_what_it_leaves(as_admin, make):
    opening = make.exception(MONDAY, is_open=True, opens="09:00", closes="12:00")
    path = f"/calendar-exceptions/{opening.id}"
    assert as_admin.change(path, json={"is_open": False}).json["errors"][0]["pointer"] == "/opens"
    assert as_admin.change(path, json={"opens": "13:00"}).json["errors"][0]["pointer"] == "/closes"
    closed = as_admin.change(path, json={"is_open": False, "opens": None, "closes": None})
    assert (closed.status_code, closed.json["is_open"]) == (200, False)


def test_exceptions_are_read_by_all_and_written_by_admins(as_patron, as_librarian, make):
    row = make.exception(MONDAY)
    path = f"/calendar-exceptions/{row.id}"
    assert as_patron.get("/calendar-exceptions").json[0]["id"] == as_patron.get(path).json["id"] == row.id
    assert as_librarian.post("/calendar-exceptions", json=CLOSED).status_code == 403
    assert as_librarian.change(path, json={}).status_code == 403
    assert as_librarian.change(path, "DELETE").status_code == 403


def test_exceptions_are_narrowed_and_sorted(as_patron, make):
    branch = make.branch()
    later = make.exception(MONDAY + DAY * 9, branch=branch, is_open=True)
    sooner = make.exception(MONDAY, MONDAY + DAY * 3)

    def found(query):
        return [row["id"] for row in as_patron.get(f"/calendar-exceptions?{query}").json]

    assert found("") == [sooner.id, later.id]
    assert found("sort=-to_on") == [later.id, sooner.id]
    assert found("is_open=false") == [sooner.id]
    assert found(f"branch_id={branch.id}") == [later.id]
    assert found("from_on=2026-03-05&to_on=2026-03-10") == [sooner.id]
    assert found("from_on=2026-03-06&to_on=2026-03-11") == [later.id]


def test_the_days_of_a_branch(as_patron, make):
    branch = make.branch(hours=HOURS)
    make.exception(MONDAY + DAY, reason="Strike")
    make.exception(MONDAY + DAY * 5, branch=branch, is_open=True, opens="10:00", closes="12:00")
    make.exception(MONDAY, branch=make.branch())
    answer = as_patron.get(f"/branches/{branch.id}/days?from_on=2026-03-02&to_on=2026-03-08")
    usual = [{"opens": "09:00", "closes": "18:00"}]
    days = [tuple(day[name] for name in ("on", "is_open", "hours", "why", "reason")) for day in answer.json]
    assert days == [
        ("2026-03-02", True, usual, "hours", None),
        ("2026-03-03", False, [], "closure", "Strike"),
        ("2026-03-04", True, usual, "hours", None),
        ("2026-03-05", True, usual, "hours", None),
        ("2026-03-06", True, usual, "hours", None),
        ("2026-03-07", True, [{"opens": "10:00", "closes": "12:00"}], "opening", None),
        ("2026-03-08", False, [], "weekday", None),
    ]


def test_the_days_of_a_branch_without_hours(as_patron, make):
    path = f"/branches/{make.branch().id}/days"
    (day,) = as_patron.get(f"{path}?from_on=2026-03-02&to_on=2026-03-02").json
    assert (day["is_open"], day["hours"]) == (True, [{"opens": "00:00", "closes": "24:00"}])


def test_thirty_days_from_today_on_unless_named(as_patron, make, now):
    branch = make.branch(time_zone="Pacific/Kiritimati")
    days = as_patron.get(f"/branches/{branch.id}/days").json
    today = local_day(now, "Pacific/Kiritimati")
    assert days[0]["on"] in (today.isoformat(), (today + DAY).isoformat())
    assert len(days) == 31
    assert len(as_patron.get(f"/branches/{branch.id}/days?from_on=2028-02-29").json) == 31


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("from_on=2026-03-02&to_on=2026-03-01", "out_of_range"),
        ("from_on=2026-03-02&to_on=2027-03-03", "out_of_range"),
        ("to_on=1999-01-01", "out_of_range"),
        ("to_on=soon", "invalid_type"),
    ],
)
def test_days_are_asked_in_order_and_for_a_year_at_most(as_patron, make, query, code):
    answer = as_patron.get(f"/branches/{make.branch().id}/days?{query}")
    (error,) = answer.json["errors"]
    assert (answer.status_code, error["parameter"], error["code"]) == (422, "to_on", code)


def test_a_year_of_days_costs_few_statements(as_patron, make, statements):
    path = f"/branches/{make.branch(hours=HOURS).id}/days?from_on=2026-03-02&to_on=2027-03-02"
    statements.clear()
    assert len(as_patron.get(path).json) == 366
    assert len(statements) == 3


def test_the_days_of_no_branch(as_patron):
    assert as_patron.get("/branches/9999/days").status_code == 404


def test_the_calendar_is_closed_where_the_catalogue_is(client, make):
    assert client.get(f"/branches/{make.branch().id}/days").status_code == 401
