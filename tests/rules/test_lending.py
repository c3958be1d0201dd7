"""Check-out without HTTP: the loan, every reason against it, limits, and many desks at once."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest
from sqlalchemy.exc import IntegrityError

from library.database import transaction
from library.models import (
    BlockScope,
    Book,
    Branch,
    Copy,
    CopyCondition,
    CopyPlace,
    HoldState,
    Loan,
    LoanClosing,
    PatronBlock,
    Role,
    User,
)
from library.rules import lending, returns
from library.rules.desk import Desk
from library.rules.errors import Refused, Severity
from library.rules.routing import RouteAction

from .helping import at_once, refused_for

NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)
TODAY = date(2026, 5, 4)
DAY, HOUR, SECOND = timedelta(days=1), timedelta(hours=1), timedelta(seconds=1)


@pytest.fixture
def now():
    return NOON


@pytest.fixture
def block(make):
    """Call it to block a patron."""

    def bar(patron: User, scope=BlockScope.ALL, until_on=None, reason="Lost her card.") -> PatronBlock:
        row = PatronBlock(user_id=patron.id, scope=scope, until_on=until_on, reason=reason, created_at=NOON)
        return make.row(row)

    return bar


# --- The loan -----------------------------------------------------------------------------------


def test_a_copy_is_lent(session, desk, branch, copy, patron, lend):
    loan = lend()
    session.commit()
    session.expire_all()
    assert (loan.copy_id, loan.patron_id, loan.branch_id) == (copy.id, patron.id, branch.id)
    assert (loan.checked_out_at, loan.checked_out_by_id, loan.time_zone) == (NOON, desk.actor.id, "Europe/Berlin")
    assert (loan.closed_at, loan.closed_as, loan.book_id, loan.renewals) == (None, None, copy.book_id, 0)
    assert (copy.place, copy.last_seen_at) == (CopyPlace.ON_LOAN, NOON)
    assert (copy.last_seen_branch_id, copy.current_branch_id) == (branch.id, branch.id)


def test_it_is_due_at_the_end_of_a_local_day_and_says_how_that_came(lend):
    loan = lend()
    assert (loan.due_on, loan.due_at) == (date(2026, 6, 1), datetime(2026, 6, 1, 21, 59, 59, tzinfo=UTC))
    (step,) = loan.due_steps
    assert (step["step"], step["due_on"], step["number"], step["unit"]) == ("period", "2026-06-01", 28, "days")


@pytest.mark.parametrize(
    ("time_zone", "lent", "due_at", "due_on"),
    [
        ("Europe/Berlin", "2026-02-20T12:00:00Z", "2026-03-20T22:59:59Z", date(2026, 3, 20)),
        ("Europe/Berlin", "2026-03-10T12:00:00Z", "2026-04-07T21:59:59Z", date(2026, 4, 7)),
        ("Europe/Berlin", "2026-03-09T23:30:00Z", "2026-04-07T21:59:59Z", date(2026, 4, 7)),
        ("Europe/Berlin", "2026-10-01T22:30:00Z", "2026-10-30T22:59:59Z", date(2026, 10, 30)),
        ("Pacific/Auckland", "2026-06-01T13:00:00Z", "2026-06-30T11:59:59Z", date(2026, 6, 30)),
        ("America/Los_Angeles", "2026-06-02T03:00:00Z", "2026-06-30T06:59:59Z", date(2026, 6, 29)),
        ("Africa/Cairo", "2026-10-01T12:00:00Z", "2026-10-29T21:59:59Z", date(2026, 10, 29)),
    ],
)
def test_the_day_is_that_of_the_branch_that_lends(make, desk, lend, time_zone, lent, due_at, due_on):
    here = Desk(desk.actor, make.branch(time_zone=time_zone))
    loan = lend(desk=here, now=datetime.fromisoformat(lent))
    assert (loan.due_at, loan.due_on) == (datetime.fromisoformat(due_at), due_on)
    assert (loan.time_zone, loan.branch_id) == (time_zone, here.branch.id)


def test_policies_and_closed_days_of_the_lending_branch_count(make, desk, branch, lend):
    elsewhere = make.branch()
    make.policy("loan_period", {"number": 14, "unit": "days"}, branch=branch)
    make.policy("loan_period", {"number": 7, "unit": "days"}, branch=elsewhere)
    make.exception(date(2026, 5, 18), date(2026, 5, 19), branch_id=branch.id)
    loan = lend()
    assert loan.due_on == date(2026, 5, 20)
    assert [step["step"] for step in loan.due_steps] == ["period", "closed_day"]
    assert lend(copy=make.copy(home_branch=branch), desk=Desk(desk.actor, elsewhere)).due_on == date(2026, 5, 11)


def test_staff_may_name_the_due_date_and_its_day_is_local(lend):
    loan = lend(due_at=datetime(2026, 5, 5, 22, 30, tzinfo=UTC))
    assert (loan.due_at, loan.due_on) == (datetime(2026, 5, 5, 22, 30, tzinfo=UTC), date(2026, 5, 6))
    assert [step["step"] for step in loan.due_steps] == ["named"]


def test_a_due_date_lies_after_the_moment_of_lending(lend):
    for due_at in (NOON, NOON - SECOND):
        with refused_for("due_in_the_past") as caught:
            lend(due_at=due_at)
    assert caught.value.reasons[0].pointer == "/due_at"
    assert lend(due_at=NOON + SECOND).due_at == NOON + SECOND


def test_a_scan_happens_after_the_one_before_it(make, branch, lend):
    scanned = make.copy(home_branch=branch, last_seen_at=NOON + HOUR)
    assert lend(copy=scanned).checked_out_at == NOON + HOUR


def test_staff_borrow_too(desk, lend):
    assert lend(patron=desk.actor).patron_id == desk.actor.id


def test_a_copy_of_another_branch_is_lent_with_a_remark(make, desk, lend):
    elsewhere = make.branch()
    lend(copy=make.copy(home_branch=elsewhere))
    (remark,) = desk.remarks
    assert (remark.code, remark.severity, remark.pointer) == ("other_branch", Severity.WARN, "/copy_barcode")
    assert remark.params == {"home_branch_id": elsewhere.id}


# --- What speaks against it ---------------------------------------------------------------------


def test_unknown_barcodes_are_reasons_and_what_can_be_judged_is_judged(session, desk, make):
    fixed = make.copy(not_for_loan=True, check_note="2 CDs")
    with refused_for("item_not_found", "patron_not_found", "due_in_the_past"):
        lending.check_out(session, desk, "nope", "nobody", NOON, NOON)
    with refused_for("patron_not_found", "not_for_loan", "check_note", "other_branch"):
        lending.check_out(session, desk, fixed.barcode, "nobody", NOON)
    with refused_for("patron_inactive", "item_not_found", "patron_unconfirmed"):
        lending.check_out(session, desk, "nope", make.user(active=False, confirmed=False).card_barcode, NOON)


def test_all_reasons_come_at_once_the_gravest_first_and_nothing_changes(session, make, lend, block):
    bad = make.copy(home_branch=make.branch(), not_for_loan=True, check_note="2 CDs")
    somebody = make.user(active=False, confirmed=False, expires_on=date(2020, 1, 1))
    block(somebody, until_on=TODAY)
    make.charge(somebody, 501)
    make.loan(make.copy(book=bad.book), somebody, due_at=NOON - DAY)
    make.loan(bad, due_at=NOON - DAY)
    make.hold(bad.book)
    bad.condition = CopyCondition.LOST
    session.commit()
    for kind, limit in (("max_debt_cents", 500), ("max_overdue", 0), ("max_loans", 1), ("minimum_age", 18)):
        make.policy(kind, limit)
    expected = {
        "patron_inactive": ("block", "/patron_barcode", {}),
        "item_on_loan": ("block", "/copy_barcode", {}),
        "due_in_the_past": ("block", "/due_at", {}),
        "patron_unconfirmed": ("override", "/patron_barcode", {}),
        "patron_expired": ("override", "/patron_barcode", {"expires_on": "2020-01-01"}),
        "patron_blocked": ("override", "/patron_barcode", {"until": "2026-05-04", "reason": "Lost her card."}),
        "debt_limit": ("override", "/patron_barcode", {"owed_cents": 501, "limit_cents": 500}),
        "overdue_limit": ("override", "/patron_barcode", {"count": 1, "limit": 0}),
        "age_restricted": ("override", "/patron_barcode", {"minimum_age": 18}),
        "loan_limit": ("override", "/patron_barcode", {"scope": "max_loans", "count": 1, "limit": 1}),
        "not_for_loan": ("override", "/copy_barcode", {}),
        "bad_condition": ("override", "/copy_barcode", {"condition": "lost"}),
        "same_title_on_loan": ("confirm", "/copy_barcode", {}),
        "wanted_by_others": ("confirm", "/copy_barcode", {"waiting": 1, "free": 0}),
        "check_note": ("confirm", "/copy_barcode", {"note": "2 CDs"}),
        "other_branch": ("warn", "/copy_barcode", {"home_branch_id": bad.home_branch_id}),
    }
    with refused_for(*expected) as caught:
        lend(copy=bad, patron=somebody, due_at=NOON)
    told = {reason.code: (reason.severity.value, reason.pointer, reason.params) for reason in caught.value.reasons}
    assert told == expected
    assert caught.value.confirm_token is None
    assert not session.new
    assert not session.dirty
    assert session.query(Loan).count() == 2


@pytest.mark.parametrize("condition", ["damaged", "missing", "lost", "withdrawn"])
def test_only_a_usable_copy_is_lent(make, lend, condition):
    with refused_for("bad_condition", "other_branch") as caught:
        lend(copy=make.copy(condition=CopyCondition(condition)))
    assert caught.value.reasons[0].params == {"condition": condition}


@pytest.mark.parametrize("place", [CopyPlace.IN_PROCESS, CopyPlace.ON_ORDER])
def test_what_is_not_at_hand_yet_is_not_lent(make, branch, lend, place):
    with refused_for("bad_condition") as caught:
        lend(copy=make.copy(home_branch=branch, place=place))
    assert caught.value.reasons[0].params == {"condition": place.value}


def test_a_copy_on_its_way_home_is_lent(session, make, branch, lend):
    copy = make.copy(place=CopyPlace.IN_TRANSIT, home_branch=branch, transit_to_branch_id=branch.id)
    lend(copy=copy)
    session.commit()
    session.refresh(copy)
    assert (copy.place, copy.transit_to_branch_id) == (CopyPlace.ON_LOAN, None)


def test_a_copy_is_lent_once_and_who_has_it_is_pointed_to_the_renewal(make, lend):
    loan = lend()
    with refused_for("item_on_loan") as caught:
        lend(patron=make.user())
    assert caught.value.reasons[0].params == {}
    with refused_for("item_on_loan") as caught:
        lend()
    assert caught.value.reasons[0].params == {"loan_id": loan.id}


def test_a_copy_stays_in_the_house_by_itself_or_by_its_type(make, branch, lend):
    reference, normal = make.item_type(not_for_loan=True), make.item_type()
    for values in ({"not_for_loan": True}, {"item_type_id": reference.id}):
        with refused_for("not_for_loan"):
            lend(copy=make.copy(home_branch=branch, **values))
    assert lend(copy=make.copy(home_branch=branch, item_type_id=normal.id))


@pytest.mark.parametrize(
    ("time_zone", "moment", "valid"),
    [
        ("Europe/Berlin", "2026-05-01T21:59:58Z", True),
        ("Europe/Berlin", "2026-05-01T22:00:00Z", False),
        ("Pacific/Honolulu", "2026-05-02T09:59:58Z", True),
        ("Pacific/Auckland", "2026-05-01T12:00:00Z", False),
    ],
)
def test_a_card_is_valid_through_its_last_local_day(make, desk, lend, time_zone, moment, valid):
    card, here = make.user(expires_on=date(2026, 5, 1)), Desk(desk.actor, make.branch(time_zone=time_zone))
    asked = {"desk": here, "patron": card, "copy": make.copy(home_branch=here.branch)}
    asked["now"] = datetime.fromisoformat(moment)
    if valid:
        assert lend(**asked).due_on == card.expires_on
    else:
        with refused_for("patron_expired"):
            lend(**asked)


def test_who_registered_themselves_borrows_once_seen_or_where_the_library_allows_it(make, desk, branch, lend):
    unseen = make.user(confirmed=False)
    with refused_for("patron_unconfirmed"):
        lend(patron=unseen)
    assert lend(patron=unseen, desk=Desk(desk.actor, branch, self_registered_may_borrow=True))


def test_a_block_counts_for_what_it_is_about_and_through_its_last_local_day(patron, lend, block):
    block(patron, BlockScope.HOLDS)
    block(patron, BlockScope.RENEWALS)
    block(patron, BlockScope.LOANS, until_on=TODAY - DAY)
    last = block(patron, BlockScope.LOANS, until_on=TODAY, reason="Noise.")
    # It is past midnight in Berlin.
    with refused_for("patron_blocked") as caught:
        lend(now=datetime(2026, 5, 4, 21, 59, tzinfo=UTC))
    assert caught.value.reasons[0].params == {"until": "2026-05-04", "reason": last.reason}
    assert lend(now=datetime(2026, 5, 4, 22, 0, tzinfo=UTC))


def test_every_block_is_told(patron, lend, block):
    block(patron, BlockScope.LOANS)
    block(patron, reason="Noise.")
    with refused_for("patron_blocked", "patron_blocked") as caught:
        lend()
    assert [reason.params["reason"] for reason in caught.value.reasons] == ["Lost her card.", "Noise."]


# --- Limits -------------------------------------------------------------------------------------


@pytest.mark.parametrize("limit", [0, 1, 3])
@pytest.mark.parametrize("kind", ["max_loans", "max_loans_per_item_type", "max_loans_per_owner"])
def test_a_limit_of_k_allows_the_kth_loan_and_no_more(make, desk, branch, lend, kind, limit):
    film = make.item_type()
    make.policy(kind, limit)
    for number in range(1, limit + 1):
        lend(copy=make.copy(home_branch=branch, item_type_id=film.id))
        reached = [{"scope": kind, "count": limit, "limit": limit}] if number == limit else []
        assert [remark.params for remark in desk.remarks] == reached
    with refused_for("loan_limit") as caught:
        lend(copy=make.copy(home_branch=branch, item_type_id=film.id))
    assert caught.value.reasons[0].params == {"scope": kind, "count": limit, "limit": limit}
    assert caught.value.reasons[0].pointer == "/patron_barcode"


def test_without_a_limit_there_is_none_and_null_lifts_a_wider_one(make, branch, lend):
    for _ in range(3):
        lend(copy=make.copy(home_branch=branch))
    make.policy("max_loans", 0)
    with refused_for("loan_limit"):
        lend(copy=make.copy(home_branch=branch))
    make.policy("max_loans", None, branch=branch)
    assert lend(copy=make.copy(home_branch=branch))


def test_each_limit_counts_its_own_loans_and_all_that_are_set_apply(make, branch, lend):
    film, game, elsewhere = make.item_type(), make.item_type(), make.branch()
    make.policy("max_loans_per_item_type", 1, item_type=film)
    make.policy("max_loans_per_owner", 2)

    def copy_of(kind=None, home=branch) -> Copy:
        return make.copy(home_branch=home, item_type_id=kind.id if kind else None)

    lend(copy=copy_of(film))
    with refused_for("loan_limit", "other_branch") as caught:
        lend(copy=copy_of(film, elsewhere))
    assert caught.value.reasons[0].params["scope"] == "max_loans_per_item_type"
    lend(copy=copy_of(game))
    with refused_for("loan_limit") as caught:
        lend(copy=copy_of(game))
    assert caught.value.reasons[0].params["scope"] == "max_loans_per_owner"
    with refused_for("loan_limit", "loan_limit") as caught:
        lend(copy=copy_of(film))
    assert lend(copy=copy_of(None, elsewhere))


def test_limits_count_open_loans_that_are_not_claimed_to_be_back(session, make, branch, patron, lend):
    make.policy("max_loans", 1)
    make.loan(patron=patron, closed_at=NOON, closed_as=LoanClosing.RETURNED)
    make.loan()
    claimed = make.loan(patron=patron, claimed_at=NOON)
    claimed.copy.condition = CopyCondition.CLAIMED_RETURNED
    session.commit()
    assert lend()
    with refused_for("loan_limit"):
        lend(copy=make.copy(home_branch=branch))


def test_a_lost_copy_counts_until_it_is_paid_for(session, make, patron, lend):
    make.policy("max_loans", 1)
    lost = make.loan(patron=patron, lost_at=NOON)
    lost.copy.condition = CopyCondition.LOST
    session.commit()
    with refused_for("loan_limit"):
        lend()


@pytest.mark.parametrize(("late", "limit", "allowed"), [(0, 0, True), (1, 0, False), (2, 2, True), (3, 2, False)])
def test_so_many_may_be_overdue(make, patron, lend, late, limit, allowed):
    make.policy("max_overdue", limit)
    for _ in range(late):
        make.loan(patron=patron, due_at=NOON - SECOND)
    make.loan(patron=patron, due_at=NOON)
    if allowed:
        assert lend()
    else:
        with refused_for("overdue_limit") as caught:
            lend()
        assert caught.value.reasons[0].params == {"count": late, "limit": limit}


@pytest.mark.parametrize(
    ("cents", "limit", "allowed"), [(0, 0, True), (1, 0, False), (500, 500, True), (501, 500, False)]
)
def test_so_much_may_be_owed(make, patron, lend, cents, limit, allowed):
    make.policy("max_debt_cents", limit)
    if cents:
        make.charge(patron, cents)
    if allowed:
        assert lend()
    else:
        with refused_for("debt_limit"):
            lend()


def test_running_fines_are_debt_only_where_the_policy_says_so(make, branch, patron, lend):
    make.policy("fine_rate", {"cents": 100, "per": "day"})
    make.policy("fine_on_closed_days", True)
    make.policy("max_debt_cents", 299)
    make.charge(patron, 200)
    make.loan(make.copy(home_branch=branch), patron, due_at=datetime(2026, 5, 3, 21, 59, 59, tzinfo=UTC))
    assert lend()
    make.policy("running_fines_count_as_debt", True)
    with refused_for("debt_limit") as caught:
        lend(copy=make.copy(home_branch=branch))
    assert caught.value.reasons[0].params == {"owed_cents": 300, "limit_cents": 299}


@pytest.mark.parametrize(
    ("born", "allowed"),
    [
        (date(2008, 5, 4), True),
        (date(2008, 5, 5), False),
        (date(1950, 1, 1), True),
        (None, False),
    ],
)
def test_who_is_too_young_or_of_unknown_age_does_not_borrow(make, branch, lend, born, allowed):
    film = make.item_type()
    make.policy("minimum_age", 18, item_type=film)
    young = make.user(birth_date=born)
    if allowed:
        assert lend(copy=make.copy(home_branch=branch, item_type_id=film.id), patron=young)
    else:
        with refused_for("age_restricted"):
            lend(copy=make.copy(home_branch=branch, item_type_id=film.id), patron=young)
    assert lend(copy=make.copy(home_branch=branch), patron=young)


def test_who_was_born_on_a_leap_day_is_older_on_the_first_of_march(make, lend):
    make.policy("minimum_age", 18)
    leaping = make.user(birth_date=date(2008, 2, 29))
    with refused_for("age_restricted"):
        lend(patron=leaping, now=datetime(2026, 2, 28, 12, tzinfo=UTC))
    assert lend(patron=leaping, now=datetime(2026, 3, 1, 12, tzinfo=UTC))


# --- Many at once -------------------------------------------------------------------------------


def test_the_index_has_the_last_word_where_the_copy_claims_to_be_in(session, make, copy, patron, lend):
    make.loan(copy)
    copy.place = CopyPlace.AVAILABLE
    # A hold of the patron's own is ended with the loan: the race is noticed before that.
    make.hold(copy.book, patron)
    session.commit()
    with refused_for("item_on_loan"):
        lend()
    session.rollback()
    assert session.query(Loan).count() == 1


def test_a_branch_that_went_meanwhile_is_no_copy_on_loan(session, another, make, desk, lend):
    gone, other = make.branch(), another()
    with transaction(other, write=True):
        other.delete(other.get_one(Branch, gone.id))
    with pytest.raises(IntegrityError):
        lend(desk=Desk(desk.actor, gone))
    session.rollback()
    assert session.query(Loan).count() == 0


@pytest.fixture
def desks(another, desk):
    """Call it with a copy's and a card's barcode to lend at a desk of its own, in a transaction of its own."""
    actor_id, branch_id = desk.actor.id, desk.branch.id

    def lend_there(barcode: str, card: str) -> int:
        mine = another()
        with transaction(mine, write=True):
            here = Desk(mine.get_one(User, actor_id), mine.get_one(Branch, branch_id))
            return lending.check_out(mine, here, barcode, card, NOON).id

    return lend_there


def test_a_desk_that_looked_before_another_lent_the_copy_is_told(session, desks, copy, make, lend):
    rival = make.user()
    desks(copy.barcode, rival.card_barcode)
    assert copy.place is CopyPlace.AVAILABLE
    with refused_for("item_on_loan"), transaction(session, write=True):
        lend()
    assert session.query(Loan).one().patron_id == rival.id


def test_of_desks_that_lend_one_copy_at_the_same_moment_one_succeeds(session, desks, make, copy):
    barcode, cards = copy.barcode, [make.user().card_barcode for _ in range(8)]
    answers = at_once([lambda card=card: desks(barcode, card) for card in cards])
    won = [answer for answer in answers if isinstance(answer, int)]
    lost = [answer for answer in answers if isinstance(answer, Refused)]
    assert (len(won), len(lost)) == (1, 7), answers
    assert {reason.code for refused in lost for reason in refused.reasons} == {"item_on_loan"}
    assert session.query(Loan).one().id == won[0]


@pytest.mark.parametrize("limit", [None, 3])
def test_one_patron_at_many_desks_passes_a_limit_of_k_by_exactly_k(session, desks, make, branch, patron, limit):
    if limit is not None:
        make.policy("max_loans", limit)
    barcodes, card = [make.copy(home_branch=branch).barcode for _ in range(8)], patron.card_barcode
    answers = at_once([lambda barcode=barcode: desks(barcode, card) for barcode in barcodes])
    won = [answer for answer in answers if isinstance(answer, int)]
    lost = [answer for answer in answers if isinstance(answer, Refused)]
    assert (len(won), len(lost)) == (limit or 8, 8 - (limit or 8)), answers
    assert {reason.code for refused in lost for reason in refused.reasons} <= {"loan_limit"}
    assert session.query(Loan).filter_by(patron_id=patron.id, closed_at=None).count() == (limit or 8)


def test_a_patron_who_was_blocked_meanwhile_is_blocked(session, another, patron, lend):
    assert patron.active
    other = another()
    with transaction(other, write=True):
        other.get_one(User, patron.id).active = False
    with refused_for("patron_inactive"), transaction(session, write=True):
        lend()


def test_a_hold_that_was_trapped_meanwhile_is_seen(make, branch, copy, lend):
    hold = make.hold(assigned_copy=copy, state=HoldState.READY, pickup_branch=branch)
    with refused_for("held_for_another") as caught:
        lend()
    assert (caught.value.reasons[0].pointer, caught.value.reasons[0].params) == ("/copy_barcode", {})
    assert hold.state is HoldState.READY


def test_the_desk_may_belong_to_an_admin(make, branch, lend):
    assert lend(desk=Desk(make.user(role=Role.ADMIN), branch)).checked_out_by_id


def test_what_was_asked_for_is_not_changed_by_the_desk(desk, lend):
    # A desk is a value: what one action let pass does not go on to the next.
    lend()
    assert (desk.overrides, desk.confirm_token) == ({}, None)
    assert replace(desk).remarks == []


# --- Where two rules of lending meet --------------------------------------------------------------


@pytest.mark.parametrize("condition", [CopyCondition.DAMAGED, CopyCondition.WITHDRAWN])
def test_an_unfit_copy_that_was_lent_all_the_same_comes_back_unfit(session, desk, patron, copy, condition):
    copy.condition = condition
    session.commit()
    letting_pass = Desk(desk.actor, desk.branch, overrides={"bad_condition": "Needed for the exam"})
    lending.check_out(session, letting_pass, copy.barcode, patron.card_barcode, NOON)
    answer = returns.check_in(session, desk, copy.barcode, NOON + DAY)
    session.commit()
    assert (copy.place, copy.condition) == (CopyPlace.AVAILABLE, condition)
    assert answer.route.action is RouteAction.SET_ASIDE
    assert [(warning.code, warning.params) for warning in answer.warnings] == [
        ("not_fit", {"condition": condition.value})
    ]


def test_a_reason_has_letters_or_figures(session, make, desk, copy):
    expired = make.user(expires_on=(NOON - DAY).date())
    for nothing in ("", " ", "​", "…"):
        with refused_for("override_reason_missing", "patron_expired"):
            silent = Desk(desk.actor, desk.branch, overrides={"patron_expired": nothing})
            lending.check_out(session, silent, copy.barcode, expired.card_barcode, NOON)


def test_who_waits_for_this_very_copy_is_served_by_no_other(session, make, desk, patron, copy, branch):
    book = session.get_one(Book, copy.book_id)
    make.copy(book=book, home_branch=branch)
    make.copy(book=book, home_branch=branch)
    make.hold(book, copy_id=copy.id)
    with refused_for("wanted_by_others") as caught:
        lending.check_out(session, desk, copy.barcode, patron.card_barcode, NOON)
    assert caught.value.reasons[0].params == {"waiting": 1, "free": 3}


def test_a_confirmation_is_good_for_the_copy_as_it_stood_and_the_date_that_was_asked(
    session, make, branch, patron, copy
):
    copy.check_note = "2 CDs"
    session.commit()

    def desk(token=None) -> Desk:
        return Desk(
            make.librarian(username="same", home_branch=branch),
            branch,
            confirm_token=token,
            signatures=lambda text: [text],
        )

    asking = desk()
    with pytest.raises(Refused) as caught:
        lending.check_out(session, asking, copy.barcode, patron.card_barcode, NOON)
    token = caught.value.confirm_token
    agreed = Desk(asking.actor, branch, confirm_token=token, signatures=lambda text: [text])
    with refused_for("check_note"):
        lending.check_out(session, agreed, copy.barcode, patron.card_barcode, NOON, NOON + 90 * DAY)
    lending.check_out(session, agreed, copy.barcode, patron.card_barcode, NOON)
    returns.check_in(session, asking, copy.barcode, NOON + DAY)
    session.commit()
    with refused_for("check_note"):
        lending.check_out(session, agreed, copy.barcode, patron.card_barcode, NOON + 2 * DAY)


def test_the_desk_is_told_of_the_copy_that_was_set_aside_in_vain(session, make, desk, patron, copy, branch):
    book = session.get_one(Book, copy.book_id)
    other = make.copy(book=book, home_branch=branch)
    make.hold(book, patron, assigned_copy=copy, state=HoldState.READY, pickup_branch=branch)
    lending.check_out(session, desk, other.barcode, patron.card_barcode, NOON)
    session.commit()
    assert copy.place is CopyPlace.AVAILABLE
    assert [(remark.code, remark.params) for remark in desk.remarks] == [
        ("set_aside_freed", {"action": "shelve", "branch_id": branch.id})
    ]
