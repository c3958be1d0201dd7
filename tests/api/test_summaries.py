"""The patron's page: everything at a glance, in as many statements for much as for little."""

from datetime import timedelta

import pytest

from library.models import BlockScope, PatronBlock, PolicyKind

DAY = timedelta(days=1)


@pytest.fixture
def branch(make):
    return make.branch(name="Centre")


@pytest.fixture
def patron(make, branch):
    return make.user(username="jane", home_branch=branch)


def fill(make, patron, branch, now, count):
    for number in range(count):
        book = make.book(title=f"Borrowed {number}")
        loan = make.loan(make.copy(book=book, home_branch=branch), patron, due_at=now + (number - 2) * DAY)
        make.charge(patron, cents=100 + number, loan=loan)
        make.hold(make.book(title=f"Wanted {number}"), patron, pickup_branch=branch)


def test_a_patron_sees_their_own_page(signed_in, make, patron, branch, now):
    fill(make, patron, branch, now, 3)
    page = signed_in(patron).get("/users/me/summary").json
    assert page["user"]["username"] == "jane"
    assert [loan["title"] for loan in page["loans"]] == ["Borrowed 0", "Borrowed 1", "Borrowed 2"]
    assert all(loan["renewable"] == {"ok": True, "errors": []} for loan in page["loans"][:1])
    assert {(hold["title"], hold["position"], hold["queue_length"]) for hold in page["holds"]} == {
        (f"Wanted {number}", 1, 1) for number in range(3)
    }
    assert {hold["pickup_branch"] for hold in page["holds"]} == {"Centre"}
    assert page["account"]["balance_cents"] == 303
    assert len(page["account"]["open_charges"]) == 3
    assert (page["blocks"], page["against"]) == ([], [])


def test_the_desk_sees_the_page_of_the_card_it_scans(as_librarian, as_patron, make, patron, branch, now):
    fill(make, patron, branch, now, 1)
    scanned = as_librarian.get(f"/users/summary?card_barcode={patron.card_barcode}")
    assert (scanned.status_code, scanned.json["user"]["id"]) == (200, patron.id)
    assert as_librarian.get("/users/summary?card_barcode=nobody").status_code == 404
    assert as_librarian.get("/users/summary").status_code == 422
    assert as_patron.get(f"/users/summary?card_barcode={patron.card_barcode}").status_code == 403


def test_blocks_and_reached_limits_stand_on_it(signed_in, make, patron, branch, now):
    fill(make, patron, branch, now, 2)
    make.policy(PolicyKind.MAX_LOANS, 2)
    make.policy(PolicyKind.MAX_HOLDS, 2)
    make.policy(PolicyKind.MAX_DEBT_CENTS, 100)
    ended, holds = (
        make.row(PatronBlock(user_id=patron.id, scope=scope, reason="Because", created_at=now, until_on=until))
        for scope, until in ((BlockScope.ALL, now.date() - 3 * DAY), (BlockScope.HOLDS, None))
    )
    page = signed_in(patron).get("/users/me/summary").json
    assert ended.id != holds.id
    assert [block["id"] for block in page["blocks"]] == [holds.id]
    against = {reason["code"] for reason in page["against"]}
    assert against == {"patron_blocked", "debt_limit", "loan_limit", "hold_limit"}
    assert {error["code"] for error in page["loans"][0]["renewable"]["errors"]} == {"debt_limit"}


def test_the_page_costs_as_much_for_many_as_for_few(signed_in, make, patron, branch, now, statements):
    client = signed_in(patron)
    counts = []
    for more in (2, 6):
        fill(make, patron, branch, now, more)
        statements.clear()
        assert client.get("/users/me/summary").status_code == 200
        counts.append(len(statements))
    assert counts[0] == counts[1], counts
