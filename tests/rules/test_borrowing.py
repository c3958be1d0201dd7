"""What is let pass at check-out and what is asked there, and the holds that a loan serves."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest

from library.models import (
    BlockScope,
    CopyCondition,
    CopyPlace,
    HoldEnding,
    HoldState,
    Loan,
    LoanClosing,
    Notice,
    Override,
    PatronBlock,
    Role,
)
from library.rules.desk import Desk

from .helping import refused_for

NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)
TODAY = date(2026, 5, 4)
DAY = timedelta(days=1)


@pytest.fixture
def now():
    return NOON


@pytest.fixture
def desk(make, branch) -> Desk:
    """A desk whose signature is the text itself."""
    return Desk(make.librarian(home_branch=branch), branch, signatures=lambda text: [f"signed {text}"])


@pytest.fixture
def recorded(session):
    """Call it for what was let pass, as it stands in the database."""

    def rows() -> list[Override]:
        return session.query(Override).order_by(Override.code, Override.id).all()

    return rows


# --- Overrides ----------------------------------------------------------------------------------


def test_whatever_may_be_let_pass_is_let_pass_together_and_each_is_recorded(
    session, make, desk, branch, lend, recorded
):
    somebody = make.user(expires_on=date(2020, 1, 1), confirmed=False, birth_date=None)
    make.row(PatronBlock(user_id=somebody.id, scope=BlockScope.LOANS, reason="Noise.", created_at=NOON))
    make.charge(somebody, 501)
    make.loan(patron=somebody, due_at=NOON - DAY)
    for kind, limit in (("max_debt_cents", 500), ("max_overdue", 0), ("max_loans", 1), ("minimum_age", 18)):
        make.policy(kind, limit)
    bad = make.copy(home_branch=branch, not_for_loan=True, condition=CopyCondition.DAMAGED)
    codes = (
        "patron_unconfirmed",
        "patron_expired",
        "patron_blocked",
        "debt_limit",
        "overdue_limit",
        "age_restricted",
        "loan_limit",
        "not_for_loan",
        "bad_condition",
    )
    asked = {"copy": bad, "patron": somebody, "due_at": NOON + DAY}
    with refused_for(*codes):
        lend(**asked)
    loan = lend(**asked, desk=replace(desk, overrides={code: f"Because of {code}." for code in codes}))
    session.commit()
    assert [(row.code, row.reason) for row in recorded()] == [(code, f"Because of {code}.") for code in sorted(codes)]
    told = {(row.action, row.actor_id, row.loan_id, row.hold_id, row.made_at) for row in recorded()}
    assert told == {("check_out", desk.actor.id, loan.id, None, NOON)}
    assert (loan.due_at, bad.place, bad.condition) == (NOON + DAY, CopyPlace.ON_LOAN, CopyCondition.USABLE)


@pytest.mark.parametrize(
    ("code", "prepare"),
    [
        ("patron_inactive", lambda make, copy, patron: setattr(patron, "active", False)),
        ("item_on_loan", lambda make, copy, patron: make.loan(copy)),
        ("held_for_another", lambda make, copy, patron: make.hold(assigned_copy=copy, state=HoldState.READY)),
    ],
)
def test_what_nobody_may_let_pass_stays_refused(session, make, desk, copy, patron, lend, code, prepare):
    prepare(make, copy, patron)
    session.commit()
    admin = replace(desk, actor=make.user(role=Role.ADMIN), overrides={code: "Please."})
    with refused_for("override_not_possible", code):
        lend(desk=admin)
    assert session.query(Override).count() == 0


def test_a_due_date_in_the_past_is_let_pass_by_nobody(desk, lend):
    with refused_for("override_not_possible", "due_in_the_past"):
        lend(desk=replace(desk, overrides={"due_in_the_past": "Please."}), due_at=NOON)


def test_an_override_without_a_reason_or_without_the_right_to_it_lends_nothing(session, make, desk, branch, lend):
    expired = make.user(expires_on=TODAY - DAY)
    with refused_for("override_reason_missing", "patron_expired"):
        lend(patron=expired, desk=replace(desk, overrides={"patron_expired": " "}))
    herself = Desk(expired, branch, overrides={"patron_expired": "I will renew it."})
    with refused_for("override_not_permitted", "patron_expired"):
        lend(patron=expired, desk=herself)
    assert session.query(Loan).count() == session.query(Override).count() == 0


def test_what_stays_in_the_house_leaves_it_only_until_a_named_date(make, desk, branch, lend, recorded):
    reference = make.copy(home_branch=branch, not_for_loan=True)
    over_night = replace(desk, overrides={"not_for_loan": "Over night."})
    with refused_for("override_due_date_missing") as caught:
        lend(copy=reference, desk=over_night)
    assert caught.value.reasons[0].pointer == "/due_at"
    with refused_for("not_for_loan"):
        lend(copy=reference, due_at=NOON + DAY)
    with refused_for("due_in_the_past"):
        lend(copy=reference, desk=over_night, due_at=NOON)
    assert lend(copy=reference, desk=over_night, due_at=NOON + DAY).due_at == NOON + DAY
    assert [row.code for row in recorded()] == ["not_for_loan"]


def test_an_expired_card_that_was_let_pass_does_not_shorten_the_loan(make, desk, lend):
    expired = make.user(expires_on=TODAY - DAY)
    loan = lend(patron=expired, desk=replace(desk, overrides={"patron_expired": "Renews it tomorrow."}))
    assert loan.due_on == date(2026, 6, 1)


def test_a_card_that_ends_soon_does(make, lend):
    loan = lend(patron=make.user(expires_on=TODAY + DAY))
    assert loan.due_on == TODAY + DAY
    assert [step["step"] for step in loan.due_steps] == ["period", "card_end"]


def test_a_card_that_ends_soon_does_whatever_else_was_let_pass(make, desk, lend):
    make.policy("max_loans", 0)
    lenient = replace(desk, overrides={"loan_limit": "She travels tomorrow."})
    assert lend(patron=make.user(expires_on=TODAY + DAY), desk=lenient).due_on == TODAY + DAY


# --- Questions ----------------------------------------------------------------------------------


def confirmed(lend, desk, *codes: str, **asked) -> Loan:
    """Try, be asked for exactly these codes, and try again with the token."""
    with refused_for(*codes) as caught:
        lend(**asked)
    return lend(**asked, desk=replace(desk, confirm_token=caught.value.confirm_token))


def test_another_copy_of_a_title_the_patron_has_is_asked_for(make, desk, copy, patron, lend):
    make.loan(make.copy(book=copy.book), patron, closed_at=NOON, closed_as=LoanClosing.RETURNED)
    make.loan(make.copy(book=copy.book))
    make.loan(make.copy(book=copy.book), patron)
    assert confirmed(lend, desk, "same_title_on_loan")


def test_a_check_note_is_read_before_the_copy_leaves(make, desk, branch, lend):
    noted = make.copy(home_branch=branch, check_note="2 CDs")
    assert confirmed(lend, desk, "check_note", copy=noted).copy_id == noted.id


@pytest.mark.parametrize(
    ("waiting", "free", "asked"), [(0, 1, False), (1, 1, True), (1, 2, False), (2, 2, True), (2, 1, True)]
)
def test_as_many_who_wait_as_copies_are_free_is_asked(make, desk, branch, copy, lend, waiting, free, asked):
    for _ in range(free - 1):
        make.copy(book=copy.book, home_branch=branch)
    for _ in range(waiting):
        make.hold(copy.book)
    if asked:
        with refused_for("wanted_by_others") as caught:
            lend()
        assert caught.value.reasons[0].params == {"waiting": waiting, "free": free}
        assert lend(desk=replace(desk, confirm_token=caught.value.confirm_token))
    else:
        assert lend()


def test_only_copies_that_can_be_had_are_free(session, make, branch, copy, lend):
    others = [make.copy(book=copy.book, home_branch=branch) for _ in range(6)]
    others[0].condition = CopyCondition.DAMAGED
    others[1].not_for_loan = True
    others[2].item_type_id = make.item_type(holdable=False).id
    others[3].place, others[3].transit_to_branch_id = CopyPlace.IN_TRANSIT, branch.id
    make.loan(others[4])
    make.hold(assigned_copy=others[5], state=HoldState.READY)
    session.commit()
    make.hold(copy.book)
    with refused_for("wanted_by_others") as caught:
        lend()
    assert caught.value.reasons[0].params == {"waiting": 1, "free": 1}


def test_only_holds_that_this_copy_could_serve_now_are_in_want_of_it(make, branch, copy, lend):
    other = make.copy(book=copy.book, home_branch=branch)
    make.hold(copy.book, copy_id=other.id)
    make.hold(copy.book, suspended=True)
    make.hold(copy.book, suspended=True, suspended_until=TODAY)
    make.hold(copy.book, not_needed_after=TODAY - DAY)
    make.hold(state=HoldState.CANCELLED, book=copy.book, ended_at=NOON, ended_why=HoldEnding.CANCELLED_BY_STAFF)
    assert lend()
    make.hold(other.book, copy_id=other.id)
    with refused_for("same_title_on_loan", "wanted_by_others") as caught:
        lend(copy=other)
    assert caught.value.reasons[1].params == {"waiting": 2, "free": 1}


@pytest.mark.parametrize(("sooner", "asked"), [(0, False), (1, True)])
def test_whose_turn_it_is_takes_nothing_from_those_who_come_later(make, copy, patron, lend, sooner, asked):
    for _ in range(sooner):
        make.hold(copy.book)
    # They come sooner as well, and are passed over.
    make.hold(copy.book, suspended=True)
    make.hold(copy.book, not_needed_after=TODAY - DAY)
    make.hold(copy.book, copy_id=make.copy(book=copy.book, condition=CopyCondition.DAMAGED).id)
    own = make.hold(copy.book, patron)
    make.hold(copy.book)
    if asked:
        with refused_for("wanted_by_others") as caught:
            lend()
        assert caught.value.reasons[0].params == {"waiting": 1, "free": 1}
    else:
        assert lend()
        assert own.state is HoldState.FULFILLED


def test_all_questions_come_together_and_have_one_answer(make, desk, branch, patron, lend):
    noted = make.copy(home_branch=branch, check_note="2 CDs")
    make.loan(make.copy(book=noted.book), patron)
    make.hold(noted.book)
    assert confirmed(lend, desk, "same_title_on_loan", "wanted_by_others", "check_note", copy=noted)


@pytest.mark.parametrize("other", ["actor", "patron", "copy", "branch"])
def test_an_answer_holds_for_who_gave_it_and_what_it_was_about(session, make, desk, branch, lend, other):
    noted = make.copy(home_branch=branch, check_note="2 CDs")
    with refused_for("check_note") as caught:
        lend(copy=noted)
    answered = replace(desk, confirm_token=caught.value.confirm_token)
    changed = {
        "actor": {"desk": replace(answered, actor=make.librarian(home_branch=branch))},
        "patron": {"patron": make.user(), "desk": answered},
        "copy": {"copy": make.copy(home_branch=branch, check_note="2 CDs"), "desk": answered},
        "branch": {"desk": replace(answered, branch=make.branch())},
    }[other]
    with refused_for("check_note", *(["other_branch"] if other == "branch" else [])):
        lend(**({"copy": noted} | changed))
    assert session.query(Loan).count() == 0
    assert lend(copy=noted, desk=answered)


def test_when_something_changed_the_answer_fits_no_more(session, make, desk, branch, lend):
    noted = make.copy(home_branch=branch, check_note="2 CDs")
    make.hold(noted.book)
    with refused_for("wanted_by_others", "check_note") as caught:
        lend(copy=noted)
    make.hold(noted.book)
    answered = replace(desk, confirm_token=caught.value.confirm_token)
    with refused_for("wanted_by_others", "check_note") as caught:
        lend(copy=noted, desk=answered)
    noted.check_note = "3 CDs"
    session.commit()
    answered = replace(desk, confirm_token=caught.value.confirm_token)
    with refused_for("wanted_by_others", "check_note") as caught:
        lend(copy=noted, desk=answered)
    assert lend(copy=noted, desk=replace(desk, confirm_token=caught.value.confirm_token))


def test_a_question_beside_a_refusal_is_asked_once_that_is_let_pass(make, desk, branch, lend, recorded):
    expired, noted = make.user(expires_on=TODAY - DAY), make.copy(home_branch=branch, check_note="2 CDs")
    asked = {"copy": noted, "patron": expired}
    with refused_for("patron_expired", "check_note") as caught:
        lend(**asked)
    assert caught.value.confirm_token is None
    lenient = replace(desk, overrides={"patron_expired": "Renewed."})
    with refused_for("check_note") as caught:
        lend(**asked, desk=lenient)
    assert recorded() == []
    assert lend(**asked, desk=replace(lenient, confirm_token=caught.value.confirm_token))
    assert [row.code for row in recorded()] == ["patron_expired"]


# --- Holds that a loan serves -------------------------------------------------------------------


@pytest.mark.parametrize("state", [HoldState.READY, HoldState.IN_TRANSIT])
def test_a_copy_set_aside_or_travelling_is_lent_to_whom_it_is_for_at_any_desk(
    session, make, desk, branch, copy, patron, lend, state
):
    hold = make.hold(assigned_copy=copy, patron=patron, state=state, pickup_branch=make.branch())
    make.hold(copy.book)
    with refused_for("held_for_another", "wanted_by_others"):
        lend(patron=make.user())
    loan = lend()
    session.commit()
    session.expire_all()
    assert (hold.state, hold.ended_why, hold.ended_at) == (HoldState.FULFILLED, HoldEnding.BORROWED, NOON)
    assert (hold.ended_by_id, hold.assigned_copy_id) == (desk.actor.id, None)
    assert (copy.place, copy.transit_to_branch_id, loan.branch_id) == (CopyPlace.ON_LOAN, None, branch.id)


def test_a_hold_for_this_very_copy_is_served_by_it(make, copy, patron, lend):
    hold = make.hold(copy.book, patron, copy_id=copy.id)
    lend()
    assert hold.state is HoldState.FULFILLED


def test_a_hold_for_another_copy_is_not_served_by_this_one(make, branch, copy, patron, lend):
    other = make.copy(book=copy.book, home_branch=branch)
    hold = make.hold(copy.book, patron, copy_id=other.id)
    lend()
    assert hold.state is HoldState.QUEUED


def test_a_copy_set_aside_that_was_not_taken_passes_to_the_next_in_line(session, make, branch, copy, patron, lend):
    shelved = make.copy(book=copy.book, home_branch=branch)
    own = make.hold(assigned_copy=shelved, patron=patron, state=HoldState.READY, pickup_branch=branch)
    following = make.hold(copy.book, pickup_branch=branch)
    lend()
    session.commit()
    session.expire_all()
    assert (own.state, shelved.place) == (HoldState.FULFILLED, CopyPlace.ON_HOLD_SHELF)
    assert (following.state, following.assigned_copy_id) == (HoldState.READY, shelved.id)
    assert (following.ready_at, following.shelf_until_on) == (NOON, TODAY + 7 * DAY)
    assert [notice.patron_id for notice in session.query(Notice)] == [following.patron_id]


def test_or_home_where_nobody_waits(make, branch, copy, patron, lend):
    shelved = make.copy(book=copy.book, home_branch=branch)
    make.hold(assigned_copy=shelved, patron=patron, state=HoldState.READY, pickup_branch=branch)
    lend()
    assert shelved.place is CopyPlace.AVAILABLE


def test_or_stays_on_its_way_until_it_is_scanned(session, make, branch, copy, patron, lend, take_back):
    travelling, elsewhere = make.copy(book=copy.book, home_branch=branch), make.branch()
    make.hold(assigned_copy=travelling, patron=patron, state=HoldState.IN_TRANSIT, pickup_branch=elsewhere)
    lend()
    session.commit()
    assert (travelling.place, travelling.transit_to_branch_id) == (CopyPlace.IN_TRANSIT, elsewhere.id)
    assert take_back(copy=travelling).route.hold is None
    assert travelling.place is CopyPlace.AVAILABLE
