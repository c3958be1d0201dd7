"""What a desk lets pass: overrides with a written reason, confirmations by token, remarks."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from library.models import Override, Role, User
from library.rules.borrowing import CheckNote, ItemOnLoan, NotForLoan, OtherBranch, SameTitleOnLoan, WantedByOthers
from library.rules.desk import Desk, record
from library.rules.renewals import Held
from library.rules.standing import OVERRIDE, PatronBlocked, PatronExpired

from .helping import refused_for

NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)
EXPIRED, NOTED = PatronExpired(expires_on="2020-01-01"), CheckNote(note="2 CDs")


def desk_of(role: Role | None = Role.LIBRARIAN, key: int = 7, **more) -> Desk:
    """A desk whose signature is the text itself."""
    return Desk(User(id=key, role=role) if role else None, signatures=lambda text: [f"signed {text}"], **more)


def token_for(desk: Desk, *reasons, action: str = "check_out", about=(1, 2, 3)) -> str | None:
    with refused_for(*(reason.code for reason in reasons)) as caught:
        desk.permit(action, about, reasons)
    return caught.value.confirm_token


# --- Overrides ----------------------------------------------------------------------------------


def test_where_nothing_speaks_against_it_nothing_is_let_pass():
    desk = desk_of(overrides={"patron_expired": "It is her birthday."})
    assert (desk.permit("check_out", [1], []), desk.remarks) == ([], [])


def test_a_remark_stops_nobody_and_is_kept():
    desk, remark = desk_of(), OtherBranch(home_branch_id=3)
    assert desk.permit("check_out", [1], [remark]) == []
    assert desk.remarks == [remark]


def test_a_reason_is_let_pass_by_who_may_and_writes_why():
    desk = desk_of(overrides={"patron_expired": "Renewed on Monday."})
    (override,) = desk.permit("check_out", [1], [EXPIRED])
    assert (override.action, override.code, override.reason) == ("check_out", "patron_expired", "Renewed on Monday.")
    assert desk.remarks == []


def test_each_reason_of_a_code_is_let_pass_together():
    blocks = [PatronBlocked(until=None, reason="Lost card."), PatronBlocked(until="2026-06-01", reason="Noise.")]
    passed = desk_of(overrides={"patron_blocked": "Sorted out."}).permit("renew", [1], blocks)
    assert [override.code for override in passed] == ["patron_blocked", "patron_blocked"]


def test_what_is_not_named_still_stands():
    with refused_for("patron_expired", "not_for_loan"):
        desk_of().permit("check_out", [1], [NotForLoan(), EXPIRED])
    with refused_for("not_for_loan"):
        desk_of(overrides={"patron_expired": "Renewed."}).permit("check_out", [1], [NotForLoan(), EXPIRED])


@pytest.mark.parametrize("blank", ["", "  \t"])
def test_an_override_without_a_reason_is_none(blank):
    with refused_for("override_reason_missing", "patron_expired") as caught:
        desk_of(overrides={"patron_expired": blank}).permit("check_out", [1], [EXPIRED])
    fault = caught.value.reasons[0]
    assert (fault.pointer, fault.params) == ("/overrides", {"override": "patron_expired"})


@pytest.mark.parametrize("role", [Role.PATRON, None])
def test_an_override_wants_its_permission(role):
    with refused_for("override_not_permitted", "patron_expired") as caught:
        desk_of(role, overrides={"patron_expired": "Please."}).permit("renew", [1], [EXPIRED])
    fault = caught.value.reasons[0]
    assert (fault.pointer, fault.params) == ("/overrides", {"override": "patron_expired", "permission": OVERRIDE})


def test_the_general_override_does_not_lift_a_hold():
    overrides = {"held": "She is on the last page."}
    with refused_for("override_not_permitted", "held") as caught:
        desk_of(overrides=overrides).permit("renew", [1], [Held(waiting=1)])
    assert caught.value.reasons[0].params == {"override": "held", "permission": "circulation.override_held"}
    assert len(desk_of(Role.ADMIN, overrides=overrides).permit("renew", [1], [Held(waiting=1)])) == 1


@pytest.mark.parametrize("reason", [ItemOnLoan(), NOTED], ids=["a block", "a question"])
def test_what_nobody_may_override_is_not_overridden(reason):
    with refused_for("override_not_possible", reason.code) as caught:
        desk_of(Role.ADMIN, overrides={reason.code: "Please."}).permit("check_out", [1], [reason])
    assert caught.value.reasons[0].params == {"override": reason.code}


def test_remarks_are_told_with_the_refusal_and_not_kept():
    desk = desk_of()
    with refused_for("item_on_loan", "other_branch"):
        desk.permit("check_out", [1], [OtherBranch(home_branch_id=3), ItemOnLoan()])
    assert desk.remarks == []


def test_what_was_let_pass_is_written_down(session, make, desk):
    loan = make.loan()
    passed = replace(desk, overrides={"patron_expired": "Renewed."}).permit("check_out", [loan.id], [EXPIRED])
    record(session, desk, passed, NOON, loan_id=loan.id)
    session.commit()
    row = session.query(Override).one()
    assert (row.action, row.code, row.reason) == ("check_out", "patron_expired", "Renewed.")
    assert (row.actor_id, row.made_at, row.loan_id, row.hold_id) == (desk.actor.id, NOON, loan.id, None)


@pytest.mark.parametrize("role", [Role.LIBRARIAN, Role.ADMIN])
def test_nobody_lets_anything_pass_for_themselves(role):
    overrides = {"patron_expired": "It is only me."}
    with refused_for("not_for_oneself", "patron_expired") as caught:
        desk_of(role, overrides=overrides).serving(7).permit("check_out", [1], [EXPIRED])
    fault = caught.value.reasons[0]
    assert (fault.pointer, fault.params) == ("/overrides", {"override": "patron_expired"})
    assert len(desk_of(role, overrides=overrides).serving(8).permit("check_out", [1], [EXPIRED])) == 1
    # The house itself, at night, is nobody.
    assert not desk_of(None).serving(None).serves_oneself


# --- Confirmations ------------------------------------------------------------------------------


def test_a_question_that_is_answered_stops_nobody():
    token = token_for(desk_of(), NOTED)
    assert desk_of(confirm_token=token).permit("check_out", (1, 2, 3), [CheckNote(note="2 CDs")]) == []


def test_several_questions_have_one_token_in_whatever_order_they_come():
    wanted = WantedByOthers(waiting=2, free=1)
    token = token_for(desk_of(), wanted, NOTED)
    assert desk_of(confirm_token=token).permit("check_out", (1, 2, 3), [NOTED, wanted]) == []


def test_a_remark_beside_a_question_needs_no_answer_and_changes_no_token():
    token, remark = token_for(desk_of(), NOTED), OtherBranch(home_branch_id=3)
    answered = desk_of(confirm_token=token)
    answered.permit("check_out", (1, 2, 3), [remark, NOTED])
    assert answered.remarks == [remark]
    assert token == token_for(desk_of(), NOTED, remark)


@pytest.mark.parametrize("changed", ["actor", "action", "thing", "code", "figure", "more", "less"])
def test_a_token_fits_nothing_else(changed):
    wanted = WantedByOthers(waiting=2, free=1)
    token = token_for(desk_of(), wanted, NOTED)
    desk = desk_of(key=8 if changed == "actor" else 7, confirm_token=token)
    action = "renew" if changed == "action" else "check_out"
    about = (1, 2, 4) if changed == "thing" else (1, 2, 3)
    reasons = {
        "code": [wanted, SameTitleOnLoan()],
        "figure": [WantedByOthers(waiting=3, free=1), NOTED],
        "more": [wanted, NOTED, SameTitleOnLoan()],
        "less": [NOTED],
    }.get(changed, [wanted, NOTED])
    told = {reason.code for reason in reasons}
    order = [code for code in ("same_title_on_loan", "wanted_by_others", "check_note") if code in told]
    with refused_for(*order) as caught:
        desk.permit(action, about, reasons)
    assert caught.value.confirm_token not in (None, token)


def test_a_question_beside_something_graver_has_no_token():
    assert token_for(desk_of(), ItemOnLoan(), NOTED) is None
    assert token_for(desk_of(), EXPIRED, NOTED) is None


def test_once_the_graver_is_let_pass_the_question_is_asked():
    desk = desk_of(overrides={"patron_expired": "Renewed."})
    with refused_for("check_note") as caught:
        desk.permit("check_out", (1, 2, 3), [EXPIRED, NOTED])
    answered = replace(desk, confirm_token=caught.value.confirm_token)
    assert [override.code for override in answered.permit("check_out", (1, 2, 3), [EXPIRED, NOTED])] == [
        "patron_expired"
    ]


def test_a_patron_confirms_nothing():
    token = token_for(desk_of(), NOTED)
    patron = desk_of(Role.PATRON, confirm_token=token)
    assert token_for(patron, NOTED) is None
    assert token_for(desk_of(Role.PATRON, confirm_token=""), NOTED) is None


def test_a_desk_that_cannot_sign_confirms_nothing():
    for token in (None, ""):
        with refused_for("check_note") as caught:
            Desk(User(id=7, role=Role.LIBRARIAN), confirm_token=token).permit("check_out", [1], [NOTED])
        assert caught.value.confirm_token is None
