"""The steps of the night one by one: what is due and what is not yet, what is done, and that it is done once."""

from datetime import UTC, date, datetime, timedelta

import pytest
from sqlalchemy import func, insert, select

from library.models import (
    CopyCondition,
    CopyPlace,
    Hold,
    HoldEnding,
    HoldState,
    JobKind,
    Loan,
    LoanClosing,
    Notice,
    Renewal,
    RenewalChannel,
)
from library.rules import ledger, lending, losses, renewals
from library.rules.calendar import end_of_day
from library.rules.desk import Desk
from library.rules.nightly import AT_ONCE, STEPS, Night, steps_of

from .nights import work

DAY, MINUTE, HOUR = timedelta(days=1), timedelta(minutes=1), timedelta(hours=1)
BERLIN = "Europe/Berlin"
# Thursday, noon; in Berlin the day ends at 22:00 UTC.
NOON = datetime(2026, 5, 7, 12, tzinfo=UTC)
TODAY = date(2026, 5, 7)
MIDNIGHT = datetime(2026, 5, 7, 22, tzinfo=UTC)


@pytest.fixture
def told(session):
    """Call it for the occasions that were told, and to whom."""

    def occasions() -> list[tuple[str, int]]:
        return [tuple(row) for row in session.execute(select(Notice.occasion, Notice.patron_id).order_by(Notice.id))]

    return occasions


@pytest.fixture
def loan(make, branch):
    """Call it for an open loan that is due at the end of a local day, so many days from today."""

    def one(days: int = 0, **values) -> Loan:
        copy = values.pop("copy", None) or make.copy(home_branch=branch)
        due_at = values.pop("due_at", end_of_day(TODAY + days * DAY, BERLIN))
        return make.loan(copy=copy, due_at=due_at, checked_out_at=due_at - 28 * DAY, **values)

    return one


# --- Holds that expire --------------------------------------------------------------------------


@pytest.fixture
def ready(make, branch):
    """Call it for a copy that waits on the hold shelf through a local day, for a patron of whom it is told."""

    def one(days: int = 0, pickup=None, home=None, **values) -> Hold:
        pickup = pickup or branch
        day = TODAY + days * DAY
        copy = make.copy(home_branch=home or pickup, current_branch_id=pickup.id)
        until = {"shelf_until_at": end_of_day(day, pickup.time_zone), "shelf_until_on": day}
        return make.hold(assigned_copy=copy, state=HoldState.READY, pickup_branch=pickup, **until, **values)

    return one


def test_what_was_not_collected_goes_to_the_next_in_line(session, make, branch, ready, told):
    hold = ready()
    copy_id = hold.assigned_copy_id
    following = make.hold(book=hold.book, pickup_branch=branch)
    assert work(session, "expire_holds", MIDNIGHT - MINUTE) == (0, 0, 0), "the last day is valid to its end"
    assert work(session, "expire_holds", MIDNIGHT) == (1, 1, 0)
    assert (hold.state, hold.ended_why, hold.ended_at) == (HoldState.EXPIRED, HoldEnding.NOT_COLLECTED, MIDNIGHT)
    assert (hold.ended_by_id, hold.assigned_copy_id) == (None, None)
    assert (following.state, following.assigned_copy_id) == (HoldState.READY, copy_id)
    assert following.shelf_until_on == date(2026, 5, 15)
    occasion = f"hold_ready:{following.id}:{copy_id}:2026-05-15"
    assert sorted(told()) == [(f"hold_expired:{hold.id}", hold.patron_id), (occasion, following.patron_id)]
    assert work(session, "expire_holds", MIDNIGHT) == (0, 0, 0)


def test_what_nobody_waits_for_goes_home(session, make, branch, ready):
    here, from_elsewhere = ready(), ready(home=make.branch())
    copies = here.assigned_copy, from_elsewhere.assigned_copy
    work(session, "expire_holds", MIDNIGHT)
    assert [copy.place for copy in copies] == [CopyPlace.AVAILABLE, CopyPlace.IN_TRANSIT]
    assert copies[1].transit_to_branch_id == copies[1].home_branch_id


def test_each_branch_has_its_own_midnight(session, make, ready):
    tokyo, york = make.branch(time_zone="Asia/Tokyo"), make.branch(time_zone="America/New_York")
    eastern, western = ready(pickup=tokyo), ready(pickup=york)
    eastern_midnight = datetime(2026, 5, 7, 15, tzinfo=UTC)
    western_midnight = datetime(2026, 5, 8, 4, tzinfo=UTC)
    seen = []
    for moment in (eastern_midnight - MINUTE, eastern_midnight, western_midnight - MINUTE, western_midnight):
        work(session, "expire_holds", moment)
        seen.append((eastern.state.value, western.state.value))
    assert seen == [("ready", "ready"), ("expired", "ready"), ("expired", "ready"), ("expired", "expired")]


@pytest.mark.parametrize(("on_closed_days", "open_today", "expires"), [(True, 0, 1), (False, 0, 0), (False, 1, 1)])
def test_on_closed_days_shelves_are_left_alone_where_the_branch_says_so(
    session, make, branch, ready, on_closed_days, open_today, expires
):
    make.policy("expire_on_closed_days", on_closed_days, branch=branch)
    # Midnight is Friday's.
    branch.hours = [{"weekday": 5 if open_today else 4, "opens": "09:00", "closes": "18:00"}]
    ready()
    waiting = make.hold(pickup_branch=branch, not_needed_after=TODAY)
    assert work(session, "expire_holds", MIDNIGHT) == (1 + expires, 1 + expires, 0)
    assert waiting.state is HoldState.EXPIRED, "what only waits keeps nobody from closing"


@pytest.mark.parametrize("suspended", [False, True])
def test_what_is_no_longer_needed_leaves_the_queue(session, make, branch, suspended, told):
    hold = make.hold(pickup_branch=branch, not_needed_after=TODAY, suspended=suspended)
    other = make.hold(pickup_branch=branch, book=hold.book)
    assert work(session, "expire_holds", MIDNIGHT - MINUTE) == (0, 0, 0)
    assert work(session, "expire_holds", MIDNIGHT) == (1, 1, 0)
    assert (hold.state, hold.ended_why, hold.sort_key) == (HoldState.EXPIRED, HoldEnding.NOT_NEEDED, None)
    assert other.state is HoldState.QUEUED
    assert told() == [(f"hold_expired:{hold.id}", hold.patron_id)]


@pytest.mark.parametrize("anyway", [False, True])
def test_what_is_set_aside_waits_out_its_time_unless_the_branch_says_otherwise(session, make, branch, ready, anyway):
    make.policy("expire_ready_when_not_needed", anyway, branch=branch)
    hold = ready(days=3, not_needed_after=TODAY)
    copy = make.copy(home_branch=make.branch())
    travelling = make.hold(assigned_copy=copy, state=HoldState.IN_TRANSIT, pickup_branch=branch, not_needed_after=TODAY)
    assert work(session, "expire_holds", MIDNIGHT) == ((2, 2, 0) if anyway else (0, 0, 0))
    if anyway:
        assert (hold.ended_why, travelling.ended_why) == (HoldEnding.NOT_NEEDED, HoldEnding.NOT_NEEDED)
        # It is led anew when it arrives.
        assert (copy.place, copy.transit_to_branch_id) == (CopyPlace.IN_TRANSIT, branch.id)


# --- Holds that are resumed ---------------------------------------------------------------------


def test_suspensions_end_after_their_last_day(session, make, branch):
    hold = make.hold(pickup_branch=branch, suspended=True, suspended_until=TODAY)
    endless = make.hold(pickup_branch=branch, suspended=True)
    assert work(session, "resume_holds", MIDNIGHT - MINUTE) == (0, 0, 0)
    version = hold.version
    assert work(session, "resume_holds", MIDNIGHT) == (1, 1, 0)
    assert (hold.suspended, hold.suspended_until, hold.version) == (False, None, version + 1)
    assert endless.suspended
    assert work(session, "resume_holds", MIDNIGHT) == (0, 0, 0)


# --- Loans that age to lost ---------------------------------------------------------------------


def test_nothing_is_lost_where_nobody_says_after_how_long(session, loan):
    loan(-4000)
    assert work(session, "age_to_lost", MIDNIGHT) == (0, 0, 0)


def test_what_is_late_for_long_is_lost_and_charged_once(session, make, branch, loan, charged, told):
    make.policy("lost_after", {"number": 30, "unit": "days"})
    make.policy("fine_rate", {"cents": 20, "per": "day"})
    make.policy("processing_fee_cents", 300)
    late = loan(-30, copy=make.copy(home_branch=branch, price_cents=1500))
    not_yet = loan(-29)
    # The days since are counted at midnight.
    assert work(session, "age_to_lost", MIDNIGHT - DAY - MINUTE) == (0, 0, 0)
    assert work(session, "age_to_lost", NOON) == (1, 1, 0)
    assert (late.lost_at, late.closed_at, late.copy.condition) == (NOON, None, CopyCondition.LOST)
    assert not_yet.lost_at is None
    assert charged(late.patron) == [("overdue", 600), ("replacement", 1500), ("processing", 300)]
    assert told() == [(f"lost:{late.id}", late.patron_id)]
    assert work(session, "age_to_lost", NOON) == (0, 0, 0)
    assert work(session, "age_to_lost", NOON + DAY) == (1, 1, 0)
    assert len(charged(late.patron)) == 3


def test_after_hours_too_and_each_branch_for_itself(session, make, branch, loan):
    make.policy("lost_after", {"number": 36, "unit": "hours"}, branch=branch)
    late = loan(due_at=NOON - 36 * HOUR)
    elsewhere = make.loan(copy=make.copy(home_branch=make.branch()), due_at=NOON - 36 * HOUR)
    assert work(session, "age_to_lost", NOON - MINUTE) == (0, 0, 0)
    assert work(session, "age_to_lost", NOON) == (1, 1, 0)
    assert (late.lost_at, elsewhere.lost_at) == (NOON, None)


def test_zero_days_is_once_it_is_late(session, make, loan):
    make.policy("lost_after", {"number": 0, "unit": "days"})
    loan(0)
    assert work(session, "age_to_lost", MIDNIGHT - MINUTE) == (0, 0, 0)
    assert work(session, "age_to_lost", MIDNIGHT) == (1, 1, 0)


def test_what_is_lost_claimed_or_back_does_not_age(session, make, desk, loan):
    make.policy("lost_after", {"number": 10, "unit": "days"})
    lost, claimed = loan(-20), loan(-20)
    losses.declare_lost(session, desk, lost, NOON - DAY)
    losses.claim_returned(session, claimed, NOON - DAY)
    loan(-20, closed_at=NOON - DAY, closed_as=LoanClosing.RETURNED)
    assert work(session, "age_to_lost", NOON) == (0, 0, 0)
    assert ledger.balance(session, claimed.patron_id) == 0


# --- Loans that renew themselves ----------------------------------------------------------------


@pytest.fixture
def renewing(make):
    make.policy("auto_renew", True)


def test_nothing_renews_itself_where_nobody_says_so(session, loan):
    loan(0)
    assert work(session, "renew", NOON) == (0, 0, 0)


@pytest.mark.usefixtures("renewing")
def test_a_loan_renews_itself_on_its_last_day(session, loan, told):
    last, later = loan(0), loan(1)
    assert work(session, "renew", NOON) == (1, 1, 0)
    assert (last.due_on, last.renewals, later.renewals) == (TODAY + 28 * DAY, 1, 0)
    renewal = session.scalars(select(Renewal)).one()
    assert (renewal.channel, renewal.actor_id, renewal.renewed_at) == (RenewalChannel.AUTOMATIC, None, NOON)
    assert told() == [(f"renewed:{last.id}:{last.due_on}", last.patron_id)]
    assert work(session, "renew", NOON) == (0, 0, 0)


@pytest.mark.usefixtures("renewing")
def test_what_is_refused_is_told_once_for_each_due_date(session, make, loan, told):
    make.policy("max_renewals", 1)
    refused = loan(0, renewals=1)
    assert work(session, "renew", NOON) == (1, 0, 1)
    assert work(session, "renew", NOON + DAY) == (1, 0, 1)
    assert (refused.due_on, refused.renewals) == (TODAY, 1)
    assert told() == [(f"not_renewed:{refused.id}:{TODAY}", refused.patron_id)]
    refused.due_at, refused.due_on = NOON + 9 * DAY, TODAY + 9 * DAY
    session.commit()
    work(session, "renew", NOON + 9 * DAY)
    assert len(told()) == 2


@pytest.mark.usefixtures("renewing")
def test_a_night_that_was_missed_is_made_up_for_with_its_fine(session, make, loan, charged):
    make.policy("fine_rate", {"cents": 20, "per": "day"})
    late = loan(-3)
    assert work(session, "renew", NOON) == (1, 1, 0)
    assert late.due_on == TODAY + 25 * DAY
    assert charged(late.patron) == [("overdue", 60)]


@pytest.mark.usefixtures("renewing")
def test_what_is_held_lost_or_claimed_is_not_renewed(session, make, branch, desk, loan):
    held, lost, claimed = loan(0), loan(0), loan(0)
    make.hold(book=held.copy.book, pickup_branch=branch)
    losses.declare_lost(session, desk, lost, NOON - DAY)
    losses.claim_returned(session, claimed, NOON - DAY)
    assert work(session, "renew", NOON) == (1, 0, 1), "only of the first one it is asked at all"
    assert held.renewals == lost.renewals == claimed.renewals == 0


def test_only_the_types_that_do_renew_themselves(session, make, branch, loan):
    film = make.item_type()
    make.policy("auto_renew", True, item_type=film)
    renews, ends = loan(0, copy=make.copy(home_branch=branch, item_type_id=film.id)), loan(0)
    assert work(session, "renew", NOON) == (1, 1, 0)
    assert (renews.renewals, ends.renewals) == (1, 0)


@pytest.mark.usefixtures("renewing")
def test_a_loan_of_hours_renews_itself_once_a_day(session, make, loan):
    make.policy("loan_period", {"number": 2, "unit": "hours"})
    short = loan(due_at=NOON + HOUR)
    assert work(session, "renew", NOON) == (1, 1, 0)
    assert (short.due_at, short.due_on) == (NOON + 3 * HOUR, TODAY)
    assert work(session, "renew", NOON + HOUR) == (0, 0, 0)
    assert work(session, "renew", MIDNIGHT) == (1, 1, 0), "the next day begins"


@pytest.mark.usefixtures("renewing")
def test_what_patrons_renew_themselves_does_not_keep_the_house_from_it(session, patron, make, loan):
    make.policy("loan_period", {"number": 2, "unit": "hours"})
    mine = loan(due_at=NOON + HOUR, patron=patron)
    renewals.renew(session, Desk(patron), mine, NOON)
    assert work(session, "renew", NOON) == (1, 1, 0)
    assert mine.renewals == 2


# --- Notices ------------------------------------------------------------------------------------


def days_told(session, told, first: int, last: int, **settings) -> dict[int, list[str]]:
    """What is written on each day from the first to the last, in order, seen from today."""
    written = {}
    for day in range(first, last + 1):
        before = len(told())
        work(session, "write_notices", NOON + day * DAY, **settings)
        session.commit()
        if new := [occasion for occasion, _ in told()[before:]]:
            written[day] = new
    return written


def test_what_is_due_soon_and_what_is_late_is_told_on_its_days(session, loan, told):
    one = loan(0)
    assert days_told(session, told, -6, 30) == {
        -3: [f"due_soon:{one.id}:{TODAY}"],
        1: [f"overdue:{one.id}:{TODAY}:1"],
        7: [f"overdue:{one.id}:{TODAY}:7"],
        14: [f"overdue:{one.id}:{TODAY}:14"],
    }
    assert {patron_id for _, patron_id in told()} == {one.patron_id}
    assert set(session.scalars(select(Notice.loan_id))) == {one.id}


def test_how_soon_is_a_setting(session, loan, told):
    one = loan(0)
    assert days_told(session, told, -6, 0, due_soon_days=0) == {0: [f"due_soon:{one.id}:{TODAY}"]}


def test_nights_that_were_missed_are_made_up_for_by_the_last_word(session, loan, told):
    one = loan(0)
    assert days_told(session, told, 9, 12) == {9: [f"overdue:{one.id}:{TODAY}:7"]}
    assert days_told(session, told, 400, 401) == {400: [f"overdue:{one.id}:{TODAY}:14"]}


def test_a_renewed_loan_is_told_of_anew(session, loan, told):
    one = loan(0)
    work(session, "write_notices", NOON)
    one.due_at, one.due_on = NOON + 28 * DAY, TODAY + 28 * DAY
    assert work(session, "write_notices", NOON + 26 * DAY) == (1, 1, 0)
    assert told()[-1][0] == f"due_soon:{one.id}:2026-06-04"


def test_of_a_loan_of_hours_that_is_over_nothing_is_said_today(session, loan, told):
    loan(due_at=NOON - HOUR)
    assert work(session, "write_notices", NOON) == (0, 0, 0)
    assert work(session, "write_notices", NOON + DAY) == (1, 1, 0)


def test_of_what_is_lost_claimed_or_back_nobody_is_reminded(session, desk, loan):
    lost, claimed = loan(-20), loan(-20)
    losses.declare_lost(session, desk, lost, NOON - DAY)
    losses.claim_returned(session, claimed, NOON - DAY)
    loan(-20, closed_at=NOON - DAY, closed_as=LoanClosing.RETURNED)
    assert work(session, "write_notices", NOON) == (0, 0, 0)


# --- The night as a whole -----------------------------------------------------------------------


def test_the_order_of_the_night():
    others = {JobKind.NIGHTLY, JobKind.IMPORT_BOOKS, JobKind.IMPORT_USERS}
    assert steps_of(JobKind.NIGHTLY) == list(STEPS) == [kind for kind in JobKind if kind not in others]
    assert steps_of(JobKind.RENEW) == [JobKind.RENEW]


@pytest.mark.usefixtures("renewing")
def test_what_was_renewed_is_not_said_to_be_due(session, loan, told):
    loan(0)
    work(session, "nightly", NOON)
    assert [occasion.partition(":")[0] for occasion, _ in told()] == ["renewed"]


def test_a_copy_that_is_lost_is_not_renewed_and_not_reminded_of(session, make, loan, told):
    make.policy("auto_renew", True)
    make.policy("lost_after", {"number": 7, "unit": "days"})
    loan(-7)
    work(session, "nightly", NOON)
    assert [occasion.partition(":")[0] for occasion, _ in told()] == ["lost"]


def test_more_than_fit_into_one_batch_are_all_done(session, make, branch):
    patron, copy = make.user(), make.copy(home_branch=branch)
    row = {
        "copy_id": copy.id,
        "patron_id": patron.id,
        "branch_id": branch.id,
        "time_zone": BERLIN,
        "checked_out_at": NOON - 9 * DAY,
        "due_at": NOON,
        "due_on": TODAY,
        "closed_at": NOON - 2 * DAY,
        "closed_as": LoanClosing.RETURNED,
    }
    number = 2 * AT_ONCE + 1
    session.execute(insert(Loan), [row] * number)
    assert work(session, "cut_history", NOON) == (number, number, 0)
    assert session.scalar(select(func.count()).where(Loan.patron_id.is_not(None))) == 0


@pytest.mark.parametrize("kind", list(STEPS))
def test_what_is_no_longer_due_or_no_longer_there_is_left(session, kind):
    for part in STEPS[kind]:
        assert part.do(session, Night(NOON, NOON, 30, 3), 10**6) is False


def test_what_comes_back_while_the_night_looks_on_is_not_lost(session, make, desk, loan, another):
    make.policy("lost_after", {"number": 7, "unit": "days"})
    late = loan(-7)
    (part,) = STEPS[JobKind.AGE_TO_LOST]
    at_night = Night(NOON, NOON, 30, 3)
    assert part.due(session, at_night) == ([late.id], None)
    late.closed_at, late.closed_as, late.copy.place = NOON, LoanClosing.RETURNED, CopyPlace.AVAILABLE
    session.commit()
    assert part.do(another(), at_night, late.id) is False


def test_a_copy_lent_from_the_shelf_in_time_is_not_passed_on(session, desk, ready, another):
    hold = ready()
    (part,) = STEPS[JobKind.EXPIRE_HOLDS]
    at_night = Night(MIDNIGHT, MIDNIGHT, 30, 3)
    assert part.due(session, at_night) == ([hold.id], None)
    copy, card = hold.assigned_copy, hold.patron.card_barcode
    lending.check_out(session, desk, copy.barcode, card, MIDNIGHT)
    session.commit()
    assert part.do(another(), at_night, hold.id) is False
    assert (hold.state, copy.place) == (HoldState.FULFILLED, CopyPlace.ON_LOAN)
