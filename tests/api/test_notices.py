"""Notices over HTTP: staff see all, patrons their own."""

from datetime import timedelta

import pytest
from factories import START

from library.models import Notice, NoticeKind


@pytest.fixture
def write(make):
    """Call it with a patron's key and what differs."""

    def one(patron_id: int, occasion: str, **values) -> Notice:
        defaults = {"kind": NoticeKind.OVERDUE, "created_at": START}
        return make.row(Notice(patron_id=patron_id, occasion=occasion, **defaults | values))

    return one


def test_a_notice_says_to_whom_why_and_about_what(as_librarian, make, write):
    loan = make.loan()
    notice = write(loan.patron_id, "a", loan_id=loan.id)
    assert as_librarian.get("/notices").json == [
        {
            "id": notice.id,
            "patron_id": loan.patron_id,
            "kind": "overdue",
            "loan_id": loan.id,
            "hold_id": None,
            "created_at": "2026-03-02T10:00:00.000000Z",
            "sent_at": None,
        }
    ]


def test_notices_are_narrowed_and_sorted(as_librarian, make, write):
    pat, sam = make.user(), make.user()
    first = write(pat.id, "a", created_at=START + timedelta(days=2), sent_at=START + timedelta(days=3))
    second = write(sam.id, "b", kind=NoticeKind.DUE_SOON)
    third = write(sam.id, "c", created_at=START + timedelta(days=1))

    def found(query: str) -> list[int]:
        return [row["id"] for row in as_librarian.get(f"/notices?{query}").json]

    assert found(f"patron_id={sam.id}") == [second.id, third.id]
    assert found("kind=overdue") == [first.id, third.id]
    assert found("waiting=true") == [second.id, third.id]
    assert found("waiting=false") == [first.id]
    assert found("sort=-created_at") == [first.id, third.id, second.id]
    assert found(f"patron_id={sam.id}&kind=overdue&waiting=true") == [third.id]
    assert as_librarian.get("/notices?kind=gossip").status_code == 422


def test_patrons_see_their_own(as_patron, make, write, client):
    other = make.user()
    write(other.id, "a")
    mine = write(as_patron.user_id, "b")
    assert [row["id"] for row in as_patron.get("/notices").json] == [mine.id]
    assert [row["id"] for row in as_patron.get(f"/notices?patron_id={as_patron.user_id}").json] == [mine.id]
    # Somebody else's and nobody's are answered alike.
    for key in (other.id, 10**6):
        answer = as_patron.get(f"/notices?patron_id={key}")
        assert (answer.status_code, answer.json["errors"][0]["code"]) == (422, "user_not_found")
    assert client.get("/notices").status_code == 401
