"""Renewals without HTTP: the new due date, every reason against it, fines, many at once."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest

from library.database import transaction
from library.models import (
    BlockScope,
    Book,
    CopyCondition,
    CopyPlace,
    HoldState,
    Loan,
    LoanClosing,
    Override,
    PatronBlock,
    PolicyKind,
    Renewal,
    RenewalChannel,
    Role,
    User,
)
from library.rules import renewals
from library.rules.desk import Desk
from library.rules.errors import Refused

from .helping import at_once, refused_for

NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)
TODAY = date(2026, 5, 4)
DAY, HOUR = timedelta(days=1), timedelta(hours=1)
SUNDAY = datetime(2026, 5, 10, 21, 59, 59, tzinfo=UTC)


@pytest.fixture
def now():
    return NOON


@pytest.fixture
def loan(make, copy, patron) -> Loan:
    """A loan that is due on Sunday; today is Monday before."""
    return make.loan(copy, patron, checked_out_at=SUNDAY - 28 * DAY, due_at=SUNDAY)


@pytest.fixture
def late(session, loan) -> Loan:
    """The loan, that was due on Friday."""
    loan.due_at, loan.due_on = SUNDAY - 9 * DAY, date(2026, 5, 1)
    session.commit()
    return loan


@pytest.fixture
def renew(session, desk, loan):
    """Call it to renew the loan at the desk, now."""

    def renew_loan(**changes) -> Renewal:
        asked = {"desk": desk, "loan": loan, "now": NOON, "channel": None} | changes
        return renewals.renew(session, asked["desk"], asked["loan"], asked["now"], asked["channel"])

    return renew_loan


# --- The renewal --------------------------------------------------------------------------------


def test_a_renewal_moves_the_due_date_and_keeps_the_loan(session, desk, loan, renew):
    was, key = loan.due_at, loan.id
    renewal = renew()
    session.commit()
    session.expire_all()
    assert session.query(Loan).one() is loan
    assert (loan.id, loan.renewals, loan.due_on) == (key, 1, date(2026, 6, 7))
    assert (loan.due_at, loan.closed_at) == (datetime(2026, 6, 7, 21, 59, 59, tzinfo=UTC), None)
    assert [step["step"] for step in loan.due_steps] == ["period"]
    assert (renewal.loan_id, renewal.renewed_at, renewal.was_due_at, renewal.due_at) == (key, NOON, was, loan.due_at)
    assert (renewal.actor_id, renewal.channel) == (desk.actor.id, RenewalChannel.DESK)


def test_it_says_by_which_channel_it_came(patron, renew):
    assert renew(desk=Desk(patron)).channel is RenewalChannel.OWN
    automatic = renew(desk=Desk(None), channel=RenewalChannel.AUTOMATIC)
    assert (automatic.channel, automatic.actor_id) == (RenewalChannel.AUTOMATIC, None)


def test_a_renewal_lasts_its_own_period_else_the_loans(make, loan, renew):
    make.policy("loan_period", {"number": 14, "unit": "days"})
    renew()
    assert loan.due_on == date(2026, 5, 24)
    make.policy("renewal_period", {"number": 7, "unit": "days"})
    renew()
    assert loan.due_on == date(2026, 5, 31)


def test_it_counts_from_the_due_date_or_from_today(make, loan, renew):
    make.policy("renew_from", "today")
    renew()
    assert loan.due_on == date(2026, 6, 1)


def test_policies_and_calendar_are_those_of_the_branch_that_lent(make, desk, branch, patron, loan, renew):
    elsewhere = make.branch()
    make.policy("renewal_period", {"number": 14, "unit": "days"}, branch=branch)
    make.policy("renewal_period", {"number": 3, "unit": "days"}, branch=elsewhere)
    make.policy("max_renewals", 0, branch=elsewhere)
    make.exception(date(2026, 5, 24), date(2026, 5, 25), branch_id=branch.id)
    renew(desk=Desk(desk.actor, elsewhere))
    assert loan.due_on == date(2026, 5, 26)
    assert [step["step"] for step in loan.due_steps] == ["period", "closed_day"]
    renew(desk=Desk(patron))
    assert loan.due_on == date(2026, 6, 9)


def test_a_loan_of_hours_is_renewed_by_hours(session, make, branch, loan, renew):
    branch.hours = [{"weekday": 1, "opens": "08:00", "closes": "18:00"}]
    loan.due_at, loan.due_on = NOON + HOUR, TODAY
    session.commit()
    make.policy("renewal_period", {"number": 2, "unit": "hours"})
    renew()
    assert (loan.due_at, loan.due_on) == (NOON + 3 * HOUR, TODAY)
    # The branch closes at 18:00, which is 16:00 UTC; a closing that is past is none to end with.
    renew()
    assert loan.due_at == NOON + 4 * HOUR
    renew()
    assert loan.due_at == datetime(2026, 5, 11, 6, tzinfo=UTC)


def test_a_card_that_ends_soon_shortens_it(session, patron, loan, renew):
    patron.expires_on = date(2026, 5, 20)
    session.commit()
    renew()
    assert loan.due_on == date(2026, 5, 20)
    assert [step["step"] for step in loan.due_steps] == ["period", "card_end"]
    with refused_for("would_not_extend") as caught:
        renew()
    assert caught.value.reasons[0].params == {"due_on": "2026-05-20"}


def test_an_expired_card_that_was_let_pass_does_not(session, desk, patron, loan, renew):
    patron.expires_on = TODAY - DAY
    session.commit()
    with refused_for("patron_expired"):
        renew()
    renew(desk=replace(desk, overrides={"patron_expired": "Renews it tomorrow."}))
    assert loan.due_on == date(2026, 6, 7)


@pytest.mark.parametrize(("hard_due_on", "due_on"), [("2026-06-01", date(2026, 6, 1)), ("2026-05-10", None)])
def test_no_renewal_goes_beyond_the_hard_due_date(make, loan, renew, hard_due_on, due_on):
    make.policy("hard_due_on", hard_due_on)
    if due_on:
        renew()
        assert loan.due_on == due_on
    else:
        with refused_for("would_not_extend") as caught:
            renew()
        assert caught.value.reasons[0].params == {"due_on": "2026-05-10"}
        assert loan.renewals == 0


def test_what_would_be_due_sooner_is_not_renewed(make, loan, renew):
    make.policy("renew_from", "today")
    make.policy("renewal_period", {"number": 6, "unit": "days"})
    with refused_for("would_not_extend"):
        renew()
    make.policy("renewal_period", {"number": 7, "unit": "days"}, branch=loan.branch)
    renew()
    assert (loan.renewals, loan.due_on) == (1, date(2026, 5, 11))


def test_what_is_so_late_that_the_period_is_over_is_due_today(late, make, renew):
    make.policy("renewal_period", {"number": 2, "unit": "days"})
    renew()
    assert late.due_on == TODAY


# --- What speaks against it ---------------------------------------------------------------------


def test_all_reasons_come_at_once_and_nothing_changes(session, make, patron, copy, late, renew):
    patron.active, patron.expires_on = False, TODAY - DAY
    copy.condition, copy.not_for_loan = CopyCondition.LOST, True
    late.renewals, late.lost_at = 2, NOON - DAY
    session.commit()
    make.row(PatronBlock(user_id=patron.id, scope=BlockScope.RENEWALS, reason="Noise.", created_at=NOON))
    make.charge(patron, 501)
    make.hold(copy.book)
    for kind, limit in (("max_debt_cents", 500), ("max_overdue", 0), ("max_renewals", 2), ("minimum_age", 18)):
        make.policy(kind, limit)
    make.policy("renew_overdue", "refuse_loan")
    expected = {
        "patron_inactive": ("block", {}),
        "not_renewable": ("block", {"condition": "lost"}),
        "loan_of_another": ("block", {}),
        "patron_expired": ("override", {"expires_on": "2026-05-03"}),
        "patron_blocked": ("override", {"until": None, "reason": "Noise."}),
        "debt_limit": ("override", {"owed_cents": 501, "limit_cents": 500}),
        "overdue_limit": ("override", {"count": 1, "limit": 0}),
        "age_restricted": ("override", {"minimum_age": 18}),
        "not_for_loan": ("override", {}),
        "renewal_limit": ("override", {"count": 2, "max": 2}),
        "held": ("override", {"waiting": 1}),
        "overdue": ("override", {"scope": "loan"}),
    }
    with refused_for(*expected) as caught:
        renew(desk=Desk(make.user()))
    assert {reason.code: (reason.severity.value, reason.params) for reason in caught.value.reasons} == expected
    assert {reason.pointer for reason in caught.value.reasons} == {None}
    assert not session.new
    assert not session.dirty


@pytest.mark.parametrize("limit", [0, 1, 3])
def test_a_limit_of_k_allows_the_kth_renewal_and_no_more(make, loan, renew, limit):
    make.policy("max_renewals", limit)
    for _ in range(limit):
        renew()
    with refused_for("renewal_limit") as caught:
        renew()
    assert caught.value.reasons[0].params == {"count": limit, "max": limit}
    assert loan.renewals == limit


@pytest.mark.parametrize(
    ("days", "moment", "early"),
    [
        (6, "2026-05-03T21:59:59Z", True),
        (6, "2026-05-03T22:00:00Z", False),
        (0, "2026-05-09T12:00:00Z", True),
        (0, "2026-05-10T12:00:00Z", False),
    ],
)
def test_it_may_be_too_soon(make, renew, days, moment, early):
    make.policy("renew_too_soon_days", days)
    if early:
        with refused_for("too_soon") as caught:
            renew(now=datetime.fromisoformat(moment))
        assert caught.value.reasons[0].params == {"earliest": str(date(2026, 5, 10) - days * DAY)}
    else:
        assert renew(now=datetime.fromisoformat(moment))


@pytest.mark.parametrize(("policy", "mine", "others"), [
    ("allow", True, True),
    ("refuse_loan", False, True),
    ("refuse_all", False, False),
])  # fmt: skip
def test_what_is_overdue_may_keep_itself_or_all_from_being_renewed(
    make, branch, patron, late, renew, policy, mine, others
):
    make.policy("renew_overdue", policy)
    other = make.loan(make.copy(home_branch=branch), patron, due_at=SUNDAY)
    scope = "patron" if policy == "refuse_all" else "loan"
    for loan, allowed in ((other, others), (late, mine)):
        if allowed:
            renew(loan=loan)
        else:
            with refused_for("overdue") as caught:
                renew(loan=loan)
            assert caught.value.reasons[0].params == {"scope": scope}


def test_a_loan_is_not_late_in_its_very_last_moment(make, renew):
    make.policy("renew_overdue", "refuse_loan")
    assert renew(now=SUNDAY)


@pytest.mark.parametrize(("allowed", "codes"), [(False, ("debt_limit",)), (True, ())])
def test_debt_keeps_from_renewing_unless_the_policy_lets_it(make, patron, renew, allowed, codes):
    make.policy("max_debt_cents", 500)
    make.policy("renew_when_debt", allowed)
    make.charge(patron, 501)
    if codes:
        with refused_for(*codes):
            renew()
    else:
        assert renew()


@pytest.mark.parametrize("scope", list(BlockScope))
def test_a_block_counts_where_it_is_about_renewals(make, patron, renew, scope):
    make.row(PatronBlock(user_id=patron.id, scope=scope, reason="Noise.", created_at=NOON))
    if scope in (BlockScope.ALL, BlockScope.RENEWALS):
        with refused_for("patron_blocked"):
            renew()
    else:
        assert renew()


@pytest.mark.parametrize(
    ("condition", "since"), [(CopyCondition.LOST, "lost_at"), (CopyCondition.CLAIMED_RETURNED, "claimed_at")]
)
def test_what_is_lost_or_claimed_to_be_back_is_not_renewed(session, desk, copy, loan, renew, condition, since):
    copy.condition = condition
    setattr(loan, since, NOON)
    session.commit()
    with refused_for("override_not_possible", "not_renewable") as caught:
        renew(desk=replace(desk, overrides={"not_renewable": "Please."}))
    assert caught.value.reasons[1].params == {"condition": condition.value}


def test_what_has_ended_is_not_renewed(make, renew):
    with refused_for("loan_closed"):
        renew(loan=make.loan(closed_at=NOON, closed_as=LoanClosing.RETURNED))


def test_patrons_renew_their_own_loans_only(make, patron, loan, renew):
    with refused_for("loan_of_another"):
        renew(desk=Desk(make.user()))
    assert renew(desk=Desk(patron))


def test_what_is_let_pass_is_recorded(session, make, desk, patron, loan, renew):
    make.policy("max_renewals", 0)
    with refused_for("override_not_permitted", "renewal_limit"):
        renew(desk=Desk(patron, overrides={"renewal_limit": "Please."}))
    renew(desk=replace(desk, overrides={"renewal_limit": "She is on the last page."}))
    session.commit()
    row = session.query(Override).one()
    assert (row.action, row.code, row.reason) == ("renew", "renewal_limit", "She is on the last page.")
    assert (row.actor_id, row.loan_id, row.made_at) == (desk.actor.id, loan.id, NOON)


# --- While others wait --------------------------------------------------------------------------


def test_a_title_that_others_wait_for_is_not_renewed(make, copy, renew):
    make.copy(book=copy.book)
    make.hold(copy.book)
    make.hold(copy.book)
    with refused_for("held") as caught:
        renew()
    assert caught.value.reasons[0].params == {"waiting": 2}


def test_holds_that_want_nothing_now_stop_nothing(make, copy, renew):
    make.hold(copy.book, suspended=True)
    make.hold(copy.book, not_needed_after=TODAY - DAY)
    make.hold(assigned_copy=make.copy(book=copy.book), state=HoldState.READY)
    assert renew()


def test_a_hold_on_a_copy_stops_that_copy_only_whatever_its_flags(session, make, copy, renew):
    make.policy("renew_when_held", "copies_suffice")
    other = make.copy(book=copy.book)
    make.hold(copy.book, copy_id=other.id)
    assert renew()
    make.hold(copy.book, copy_id=copy.id)
    copy.not_for_loan = True
    session.commit()
    with refused_for("not_for_loan", "held") as caught:
        renew()
    assert caught.value.reasons[1].params == {"waiting": 1}


@pytest.mark.parametrize(("waiting", "free", "allowed"), [(1, 1, True), (2, 1, False), (2, 2, True), (1, 0, False)])
def test_where_free_copies_suffice_for_those_who_wait_it_may_be_renewed(make, copy, renew, waiting, free, allowed):
    make.policy("renew_when_held", "copies_suffice")
    for _ in range(free):
        make.copy(book=copy.book)
    for _ in range(waiting):
        make.hold(copy.book)
    if allowed:
        assert renew()
    else:
        with refused_for("held") as caught:
            renew()
        assert caught.value.reasons[0].params == {"waiting": waiting}


@pytest.mark.parametrize("kept", ["set aside", "on loan", "travelling", "damaged", "in the house", "not holdable"])
def test_copies_that_cannot_be_had_do_not_suffice(session, make, branch, copy, renew, kept):
    make.policy("renew_when_held", "copies_suffice")
    other = make.copy(book=copy.book, home_branch=branch)
    if kept == "set aside":
        make.hold(assigned_copy=other, state=HoldState.READY)
    elif kept == "on loan":
        make.loan(other)
    elif kept == "travelling":
        other.place, other.transit_to_branch_id = CopyPlace.IN_TRANSIT, branch.id
    elif kept == "damaged":
        other.condition = CopyCondition.DAMAGED
    elif kept == "in the house":
        other.not_for_loan = True
    else:
        other.item_type_id = make.item_type(holdable=False).id
    session.commit()
    make.hold(copy.book)
    with refused_for("held"):
        renew()


def test_who_waits_is_let_down_only_by_those_who_may(session, make, desk, branch, copy, renew):
    make.hold(copy.book)
    overrides = {"held": "She is on the last page."}
    with refused_for("override_not_permitted", "held") as caught:
        renew(desk=replace(desk, overrides=overrides))
    assert caught.value.reasons[0].params["permission"] == "circulation.override_held"
    assert renew(desk=Desk(make.user(role=Role.ADMIN), branch, overrides=overrides))
    assert session.query(Override).one().code == "held"


# --- Fines --------------------------------------------------------------------------------------


def test_a_fine_that_runs_is_charged_first(session, make, patron, late, charged, renew, take_back):
    make.policy("fine_rate", {"cents": 20, "per": "day"})
    renew()
    session.commit()
    assert charged(patron) == [("overdue", 60)]
    assert (late.fined_until_at, late.due_on) == (NOON, date(2026, 5, 29))
    take_back(now=NOON + 26 * DAY)
    assert charged(patron) == [("overdue", 60), ("overdue", 20)]


def test_what_a_renewal_charged_is_told_with_it(session, make, late, renew):
    make.policy("fine_rate", {"cents": 20, "per": "day"})
    first = renewals.renewed(session, renew())
    assert ([charge.amount_cents for charge in first.charges], first.loan_id) == ([60], late.id)
    second = renewals.renewed(session, renew(now=NOON + HOUR))
    assert (second.charges, second.renewed_at) == ([], NOON + HOUR)


def test_a_fine_may_be_forgiven_and_is_not_charged_later(make, patron, late, charged, renew, take_back):
    make.policy("fine_rate", {"cents": 20, "per": "day"})
    make.policy("forgive_on_renewal", True)
    renew()
    take_back(now=NOON + DAY)
    assert charged(patron) == []


def test_a_renewal_that_is_refused_charges_nothing(make, patron, late, charged, renew):
    make.policy("fine_rate", {"cents": 20, "per": "day"})
    make.policy("max_renewals", 0)
    with refused_for("renewal_limit"):
        renew()
    assert (charged(patron), late.fined_until_at) == ([], None)


@pytest.mark.parametrize("renew_from", ["due_date", "today"])
@pytest.mark.parametrize(
    "days", [(3,), (7,), (8,), (10, 10), (8, 15), (10, 17, 24), (30, 31, 40), (30, 30, 30, 60), (9, 12, 30, 33, 70)]
)
def test_each_late_day_is_charged_once_over_any_renewals_and_the_return(
    session, make, patron, copy, charged, lend, renew, take_back, renew_from, days
):
    # A loan of a week that is renewed so many days after it was lent, and comes back on the last of them.
    for kind, value in (
        ("loan_period", {"number": 7, "unit": "days"}),
        ("fine_rate", {"cents": 1, "per": "day"}),
        ("renew_from", renew_from),
    ):
        make.policy(kind, value)
    another_copy = make.copy(home_branch=copy.home_branch)
    loan = lend(copy=another_copy)
    due, late_days = 7, 0
    for day in days[:-1]:
        following = day + 7 if renew_from == "today" else max(due + 7, day)
        if following <= due:
            with refused_for("would_not_extend"):
                renew(loan=loan, now=NOON + day * DAY)
            continue
        late_days, due = late_days + max(0, day - due), following
        renew(loan=loan, now=NOON + day * DAY)
        assert loan.due_on == TODAY + due * DAY
    take_back(copy=another_copy, now=NOON + days[-1] * DAY)
    session.commit()
    assert sum(cents for _, cents in charged(patron)) == late_days + max(0, days[-1] - due)


def test_the_cap_holds_over_all_charges_of_the_loan(make, patron, late, charged, renew, take_back):
    make.policy("fine_rate", {"cents": 20, "per": "day"})
    make.policy("fine_cap_cents", 100)
    renew()
    take_back(now=NOON + 60 * DAY)
    assert charged(patron) == [("overdue", 60), ("overdue", 40)]


# --- Several ------------------------------------------------------------------------------------


def test_each_of_several_has_its_verdict_and_one_that_is_refused_leaves_the_others(
    session, make, desk, branch, patron, loan, charged
):
    make.policy("fine_rate", {"cents": 20, "per": "day"})
    copies = [make.copy(home_branch=branch) for _ in range(2)]
    held = make.loan(copies[0], patron, due_at=SUNDAY - 9 * DAY)
    make.hold(copies[0].book)
    free = make.loan(copies[1], patron, due_at=SUNDAY - 9 * DAY)
    verdicts = renewals.renew_many(session, desk, [held, loan, free], NOON)
    session.commit()
    session.expire_all()
    assert [(one.index, one.loan, one.ok) for one in verdicts] == [(0, held, False), (1, loan, True), (2, free, True)]
    assert [[reason.code for reason in one.errors] for one in verdicts] == [["held"], [], []]
    assert [found.renewals for found in (held, loan, free)] == [0, 1, 1]
    # What was refused was not charged either.
    assert charged(patron) == [("overdue", 60)]


def test_all_open_loans_of_a_patron_or_those_named_are_to_be_renewed(session, make, branch, patron, loan):
    sooner = make.loan(make.copy(home_branch=branch), patron, due_at=SUNDAY - DAY)
    closed = make.loan(patron=patron, closed_at=NOON, closed_as=LoanClosing.RETURNED)
    other = make.loan()
    assert list(renewals.loans_to_renew(session, patron, None, 9)) == [sooner, loan]
    assert list(renewals.loans_to_renew(session, patron, None, 1)) == [sooner]
    assert list(renewals.loans_to_renew(session, patron, [closed.id, other.id], 9)) == [closed]
    assert set(renewals.loans_to_renew(session, None, [closed.id, other.id], 9)) == {closed, other}


def test_many_loans_cost_no_more_statements_to_judge_than_one(session, make, branch, patron, statements):
    def statements_to_judge() -> int:
        session.expire_all()
        loans = renewals.loans_to_renew(session, patron, None, 99)
        statements.clear()
        outlook = renewals.Outlook.load(session, loans, NOON)
        assert all(not outlook.reasons(found) for found in loans)
        return len(statements)

    make.policy("renew_overdue", "refuse_loan")
    make.loan(make.copy(home_branch=branch), patron, due_at=SUNDAY)
    one = statements_to_judge()
    for _ in range(5):
        make.loan(make.copy(home_branch=branch), patron, due_at=SUNDAY)
    assert statements_to_judge() == one


def test_of_renewals_at_the_same_moment_as_many_succeed_as_are_allowed(session, another, make, patron, loan):
    make.policy("max_renewals", 2)
    patron_id, loan_id = patron.id, loan.id

    def renew_there() -> str:
        mine = another()
        with transaction(mine, write=True):
            herself = Desk(mine.get_one(User, patron_id))
            return renewals.renew(mine, herself, mine.get_one(Loan, loan_id), NOON).channel.value

    answers = at_once([renew_there] * 6)
    assert sum(answer == "own" for answer in answers) == 2, answers
    lost = [answer for answer in answers if isinstance(answer, Refused)]
    assert [[reason.code for reason in refused.reasons] for refused in lost] == [["renewal_limit"]] * 4
    session.expire_all()
    assert (loan.renewals, session.query(Renewal).count(), loan.due_on) == (2, 2, date(2026, 7, 5))


# --- Where two rules of renewing meet -------------------------------------------------------------


def test_a_card_that_has_not_ended_is_not_let_pass(session, make, desk, patron, copy):
    patron.expires_on = (NOON + 3 * DAY).date()
    session.commit()
    loan = make.loan(copy, patron, checked_out_at=NOON, due_at=NOON + DAY)
    eager = Desk(desk.actor, desk.branch, overrides={"patron_expired": "Comes soon"})
    renewal = renewals.renew(session, eager, loan, NOON)
    session.commit()
    assert renewal.due_at.date() == patron.expires_on
    assert session.query(Override).count() == 0


def test_ones_own_other_hold_stops_no_renewal(session, make, desk, patron, copy):
    book = session.get_one(Book, copy.book_id)
    loan = make.loan(copy, patron, checked_out_at=NOON, due_at=NOON + DAY)
    make.hold(book, patron)
    assert renewals.renew(session, desk, loan, NOON)
    make.hold(book)
    session.commit()
    with refused_for("held") as caught:
        renewals.renew(session, desk, loan, NOON + DAY)
    assert caught.value.reasons[0].params == {"waiting": 1}


def test_a_free_copy_that_somebody_asks_for_by_name_suffices_for_nobody_else(session, make, desk, patron, copy, branch):
    make.policy(PolicyKind.RENEW_WHEN_HELD, "copies_suffice")
    book = session.get_one(Book, copy.book_id)
    loan = make.loan(copy, patron, checked_out_at=NOON, due_at=NOON + DAY)
    named = make.copy(book=book, home_branch=branch)
    make.hold(book)
    make.hold(book, copy_id=named.id)
    with refused_for("held"):
        renewals.renew(session, desk, loan, NOON)


def test_what_stays_in_the_house_is_not_renewed_from_home(session, make, desk, patron, copy):
    copy.not_for_loan = True
    loan = make.loan(copy, patron, checked_out_at=NOON, due_at=NOON + DAY)
    with refused_for("not_for_loan"):
        renewals.renew(session, Desk(patron), loan, NOON)
