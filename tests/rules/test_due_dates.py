"""Due dates: the chain of steps, in every zone whose clocks are set, through any closures."""

import sys
from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from itertools import pairwise
from zoneinfo import ZoneInfo, available_timezones

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from library.models import PolicyKind
from library.rules import due_dates
from library.rules.calendar import DAY, LAST_DAY, SECOND, BranchCalendar, Hours, Out, end_of_day, local_day
from library.rules.policies import ClosedDay, HoursEnd, Length, PolicyTable, Row, Unit

MONDAY = date(2026, 3, 2)
NINE_TO_SIX = [{"weekday": weekday, "opens": "09:00", "closes": "18:00"} for weekday in range(1, 6)]
HOUR = timedelta(hours=1)
# Days that never were: whole islands went over the date line.
ABSENT = {("Pacific/Apia", date(2011, 12, 30)), ("Pacific/Fakaofo", date(2011, 12, 30))}


def rules(**values):
    rows = {PolicyKind(kind): [Row(1, (None, None, None), value)] for kind, value in values.items()}
    return PolicyTable(rows).at(None, None, None)


def days(number):
    return Length(number, Unit.DAYS)


def hours(number):
    return Length(number, Unit.HOURS)


def at(day, clock="12:00", time_zone="UTC"):
    return datetime.combine(day, time.fromisoformat(clock), ZoneInfo(time_zone)).astimezone(UTC)


def closed(first, last=None, reason=None):
    return Out(first, last or first, is_open=False, reason=reason)


def opened(first, last=None, opening=None):
    return Out(first, last or first, is_open=True, hours=opening)


@cache
def clock_changes(time_zone):
    """The UTC days from 2010 to 2030 around which the clocks of a zone are set, to the day."""
    zone, moment, end = ZoneInfo(time_zone), datetime(2010, 1, 1, tzinfo=UTC), datetime(2030, 1, 1, tzinfo=UTC)
    offsets = []
    while moment < end:
        offsets.append((moment, moment.astimezone(zone).utcoffset()))
        moment += timedelta(days=5)
    found = []
    for (start, before), (_, after) in pairwise(offsets):
        if before != after:
            found.append(
                next(start + DAY * n for n in range(6) if (start + DAY * n).astimezone(zone).utcoffset() != before)
            )
    return [moment.date() for moment in found]


CHANGING = [time_zone for time_zone in sorted(available_timezones()) if clock_changes(time_zone)]


def test_many_zones_set_their_clocks():
    assert len(CHANGING) > 150
    assert {"Europe/Berlin", "America/Havana", "Australia/Lord_Howe", "Africa/Cairo", "Antarctica/Troll"} < set(
        CHANGING
    )


# The end of local days, whatever the clocks do.


def ends_its_day(due, day, time_zone):
    """Whether a due date is the last second of that local day: 23:59:59, unless clocks skip it.

    A day that never was has no end, hence the day before.
    """
    if (time_zone, day) in ABSENT:
        return due.on == day - DAY
    zone = ZoneInfo(time_zone)
    local, after = due.at.astimezone(zone), (due.at + SECOND).astimezone(zone)
    usual_end = datetime.combine(day, time(23, 59, 59), zone)
    skipped = usual_end.astimezone(UTC).astimezone(zone).date() != day
    last_second = local.time() == usual_end.time() or skipped
    return due.on == day == local.date() < after.date() and last_second and due.at.tzinfo is UTC


def test_a_last_hour_that_is_skipped_is_no_end():
    """In Nuuk clocks go from 22:59:59 of the Saturday to 0:00 of the Sunday."""
    due = due_dates.due(at(date(2024, 3, 30)), days(0), rules(), BranchCalendar("America/Nuuk"), None)
    assert due.at.astimezone(ZoneInfo("America/Nuuk")).time() == time(22, 59, 59)
    assert ends_its_day(due, date(2024, 3, 30), "America/Nuuk")


@pytest.mark.parametrize("number", [0, 1, 21])
def test_a_change_of_clocks_never_moves_the_local_date_in_any_zone(number):
    """Loans that begin, run over, or end on every day around every change, in every zone that has one."""
    wrong = []
    for time_zone in CHANGING:
        open_always = BranchCalendar(time_zone)
        for changed in clock_changes(time_zone):
            for day in (changed - DAY * 2, changed - DAY, changed, changed + DAY):
                for start in (at(day, "00:30", time_zone), at(day, "23:30", time_zone)):
                    today = local_day(start, time_zone)
                    due = due_dates.due(start, days(number), rules(), open_always, None)
                    if not ends_its_day(due, today + DAY * number, time_zone):
                        wrong.append((time_zone, start, due))
    assert wrong == []


@given(
    seconds=st.integers(0, 35 * 366 * 86400),
    length=st.integers(0, 800),
    policy=st.sampled_from(ClosedDay),
)
def test_in_every_zone_a_loan_is_due_at_the_end_of_its_local_day(seconds, length, policy):
    start = datetime(2003, 1, 1, tzinfo=UTC) + SECOND * seconds
    chosen = rules(due_on_closed_day=policy.value)
    for time_zone in CHANGING:
        today = local_day(start, time_zone)
        if start >= end_of_day(today, time_zone):
            continue
        due = due_dates.due(start, days(length), chosen, BranchCalendar(time_zone), None)
        assert ends_its_day(due, today + DAY * length, time_zone), time_zone
        assert due.at > start


@pytest.mark.parametrize("microseconds", [0, 1, 999_999])
def test_in_the_last_second_of_a_day_a_loan_is_still_due_after_it_began(microseconds):
    start = end_of_day(MONDAY, "Europe/Berlin") + timedelta(microseconds=microseconds)
    due = due_dates.due(start, days(0), rules(hard_due_on=MONDAY.isoformat()), BranchCalendar("Europe/Berlin"), MONDAY)
    assert due.at == start + SECOND
    assert due.on == MONDAY + DAY
    assert len(due.steps) == 1


def test_a_day_that_was_left_out_is_due_with_the_day_before():
    start = at(date(2011, 12, 20), "12:00", "Pacific/Apia")
    due = due_dates.due(start, days(10), rules(), BranchCalendar("Pacific/Apia"), None)
    assert due.on == date(2011, 12, 29)


# Closed days, held against a model that walks day by day.

weekdays = st.sets(st.integers(1, 7), min_size=1)
spells = st.lists(st.tuples(st.integers(-10, 120), st.integers(0, 40)), max_size=6)
openings = st.lists(st.tuples(st.integers(-10, 160), st.integers(0, 3)), max_size=4)
zones = st.sampled_from(
    ["Europe/Berlin", "America/Havana", "Australia/Lord_Howe", "Asia/Kathmandu", "Pacific/Kiritimati"]
)


@st.composite
def calendars(draw, clocks=("09:00", "18:00")):
    """A branch's calendar, and the same as a plain question about a day."""
    time_zone, open_on = draw(zones), draw(weekdays)
    closures = [(MONDAY + DAY * start, MONDAY + DAY * (start + more)) for start, more in draw(spells)]
    extra = [(MONDAY + DAY * start, MONDAY + DAY * (start + more)) for start, more in draw(openings)]
    weekly = [{"weekday": weekday, "opens": clocks[0], "closes": clocks[1]} for weekday in open_on]
    out = [closed(*spell) for spell in closures] + [opened(*spell) for spell in extra]

    def is_open(day):
        if any(first <= day <= last for first, last in extra):
            return True
        return day.isoweekday() in open_on and not any(first <= day <= last for first, last in closures)

    return BranchCalendar(time_zone, weekly, out), is_open


def first_open(is_open, day, step=1):
    """The first open day from a day on, walked to."""
    for number in range(0, 1000, step):
        if is_open(day + DAY * number):
            return day + DAY * number
    return None


@given(calendars(), st.integers(0, 200), st.sampled_from(ClosedDay), st.integers(0, 23))
def test_a_due_date_moves_off_closed_days_as_the_policy_says(pair, length, policy, hour):
    branch, is_open = pair
    start = at(MONDAY, f"{hour:02d}:15", branch.time_zone)
    due = due_dates.due(start, days(length), rules(due_on_closed_day=policy.value), branch, None)
    day = MONDAY + DAY * length
    if policy is ClosedDay.KEEP:
        expected = day
    elif policy is ClosedDay.SAME_WEEKDAY and length and length % 7 == 0:
        expected = first_open(is_open, day, step=7) or first_open(is_open, day)
    else:
        expected = first_open(is_open, day)
    assert due.on == expected
    assert ends_its_day(due, expected, branch.time_zone)
    again = due_dates.due(due.at - HOUR, days(0), rules(due_on_closed_day=policy.value), branch, None)
    assert again.on == due.on


@given(calendars(), st.integers(0, 120), st.integers(0, 120), st.sampled_from(ClosedDay))
def test_a_card_that_ends_sooner_draws_the_due_date_back_to_an_open_day(pair, length, card_days, policy):
    branch, is_open = pair
    start, card_ends_on = at(MONDAY, "08:00", branch.time_zone), MONDAY + DAY * card_days
    chosen = rules(due_on_closed_day=policy.value)
    without = due_dates.due(start, days(length), chosen, branch, None)
    due = due_dates.due(start, days(length), chosen, branch, card_ends_on)
    if without.on <= card_ends_on:
        assert due == without
        return
    earlier = [MONDAY + DAY * number for number in range(card_days, -1, -1) if is_open(MONDAY + DAY * number)]
    assert due.on == (earlier[0] if earlier else MONDAY)
    assert ends_its_day(due, due.on, branch.time_zone)
    assert due.steps[:-1] == without.steps
    assert due.steps[-1]["step"] == "card_end"


@given(
    calendars(),
    st.integers(0, 120),
    st.none() | st.integers(-20, 120),
    st.none() | st.integers(-20, 120),
    st.sampled_from(Unit),
)
def test_the_order_of_the_steps(pair, number, hard_days, card_days, unit):
    branch, _ = pair
    start = at(MONDAY, "11:00", branch.time_zone)
    hard_due_on = None if hard_days is None else MONDAY + DAY * hard_days
    card_ends_on = None if card_days is None else MONDAY + DAY * card_days
    chosen = rules(hard_due_on=hard_due_on and hard_due_on.isoformat())
    due = due_dates.due(start, Length(number, unit), chosen, branch, card_ends_on)
    names = [step["step"] for step in due.steps]
    assert names == [name for name in due_dates.DueStep if name in names]
    assert names[0] == "period"
    last = due.steps[-1]
    assert (datetime.fromisoformat(last["due_at"]), last["due_on"]) == (due.at, due.on.isoformat())
    assert due.at > start
    assert due.on == local_day(due.at, branch.time_zone)
    for limit in (hard_due_on, card_ends_on):
        assert limit is None or limit < MONDAY or due.on <= limit


# Named cases.


def test_the_steps_are_told():
    easter = [closed(date(2026, 4, 3), date(2026, 4, 6), "Easter"), closed(date(2026, 4, 5), date(2026, 4, 8))]
    branch = BranchCalendar("Europe/Berlin", NINE_TO_SIX, easter)
    due = due_dates.due(at(date(2026, 3, 6)), days(28), rules(), branch, date(2026, 4, 7))
    assert due.steps == [
        {
            "step": "period",
            "due_at": "2026-04-03T21:59:59.000000Z",
            "due_on": "2026-04-03",
            "number": 28,
            "unit": "days",
        },
        {
            "step": "closed_day",
            "due_at": "2026-04-09T21:59:59.000000Z",
            "due_on": "2026-04-09",
            "policy": "next_open",
        },
        {
            "step": "card_end",
            "due_at": "2026-04-02T21:59:59.000000Z",
            "due_on": "2026-04-02",
            "card_ends_on": "2026-04-07",
        },
    ]


def test_an_exceptional_opening_beats_closures_and_weekdays():
    saturday = MONDAY + DAY * 5
    branch = BranchCalendar("UTC", NINE_TO_SIX, [closed(MONDAY, MONDAY + DAY * 30), opened(saturday)])
    assert due_dates.due(at(MONDAY), days(2), rules(), branch, None).on == saturday


@pytest.mark.parametrize("policy", ClosedDay)
def test_a_branch_that_never_opens_leaves_the_due_date_where_it_is(policy):
    branch = BranchCalendar("UTC", NINE_TO_SIX, [closed(date(1900, 1, 1), LAST_DAY)])
    due = due_dates.due(at(MONDAY), days(14), rules(due_on_closed_day=policy.value), branch, None)
    assert (due.on, [step["step"] for step in due.steps]) == (MONDAY + DAY * 14, ["period"])
    short = due_dates.due(at(MONDAY), hours(3), rules(), branch, None)
    assert (short.at, len(short.steps)) == (at(MONDAY, "15:00"), 1)
    assert due_dates.shelf_until(at(MONDAY), rules(), branch).on == MONDAY + DAY * 7


def test_the_same_weekday_only_where_weeks_are_whole():
    branch = BranchCalendar("UTC", NINE_TO_SIX, [closed(MONDAY + DAY * 14)])
    same = rules(due_on_closed_day="same_weekday")
    assert due_dates.due(at(MONDAY), days(14), same, branch, None).on == MONDAY + DAY * 21
    assert due_dates.due(at(MONDAY - DAY), days(15), same, branch, None).on == MONDAY + DAY * 15
    sunday = MONDAY - DAY
    assert due_dates.due(at(sunday), days(14), same, branch, None).on == MONDAY + DAY * 15
    assert due_dates.due(at(sunday), days(0), same, branch, None).on == MONDAY
    assert due_dates.due(at(MONDAY + DAY * 14), days(0), same, branch, None).on == MONDAY + DAY * 15


def test_a_hard_due_date_binds_until_it_is_past():
    branch = BranchCalendar("UTC", NINE_TO_SIX)
    saturday = MONDAY + DAY * 5
    hard = rules(hard_due_on=saturday.isoformat())
    assert due_dates.due(at(MONDAY), days(28), hard, branch, None).on == saturday
    assert due_dates.due(at(MONDAY), days(2), hard, branch, None).on == MONDAY + DAY * 2
    assert due_dates.due(at(saturday), days(28), hard, branch, None).on == saturday
    assert due_dates.due(at(saturday + DAY), days(1), hard, branch, None).on == MONDAY + DAY * 7


def test_a_card_that_has_ended_binds_no_longer():
    branch = BranchCalendar("UTC")
    assert due_dates.due(at(MONDAY), days(9), rules(), branch, MONDAY).on == MONDAY
    assert due_dates.due(at(MONDAY), days(9), rules(), branch, MONDAY - DAY).on == MONDAY + DAY * 9


def test_a_renewal_from_the_due_date_looks_at_the_day_of_renewing():
    branch, was_due = BranchCalendar("UTC"), end_of_day(MONDAY + DAY * 20, "UTC")
    hard = rules(hard_due_on=(MONDAY + DAY * 10).isoformat())
    now = at(MONDAY)
    assert due_dates.due(was_due, days(14), hard, branch, None, now).on == MONDAY + DAY * 10
    assert due_dates.due(was_due, days(14), rules(), branch, MONDAY + DAY * 10, now).on == MONDAY + DAY * 10
    assert due_dates.due(was_due, days(14), rules(), branch, None, now).on == MONDAY + DAY * 34
    long_overdue = due_dates.due(at(MONDAY - DAY * 90), days(14), rules(), branch, None, now)
    assert (long_overdue.on, long_overdue.at) == (MONDAY, end_of_day(MONDAY, "UTC"))
    weekly, sunday = BranchCalendar("UTC", NINE_TO_SIX), at(MONDAY - DAY)
    assert due_dates.due(at(MONDAY - DAY * 90), days(14), rules(), weekly, None, sunday).on == MONDAY


def test_nothing_is_due_after_the_end_of_the_calendar():
    branch = BranchCalendar("UTC")
    for length in (days(36_500), hours(36_500)):
        due = due_dates.due(at(LAST_DAY - DAY * 9), length, rules(), branch, None)
        assert due.at == end_of_day(LAST_DAY, "UTC")


def test_a_named_due_date_is_its_own_step():
    due = due_dates.named(at(MONDAY, "15:00"), "Pacific/Kiritimati")
    assert due.at == at(MONDAY, "15:00")
    assert due.on == MONDAY + DAY
    assert due.steps == [{"step": "named", "due_at": "2026-03-02T15:00:00.000000Z", "due_on": "2026-03-03"}]


# Loans of hours.


@pytest.mark.parametrize(
    ("start", "number", "policy", "end"),
    [
        ("2026-03-02T10:00", 3, "last_closing", "2026-03-02T13:00"),
        ("2026-03-02T15:00", 3, "last_closing", "2026-03-02T18:00"),
        ("2026-03-02T15:00", 3, "next_opening", "2026-03-02T18:00"),
        ("2026-03-02T17:00", 3, "last_closing", "2026-03-02T18:00"),
        ("2026-03-02T17:00", 3, "next_opening", "2026-03-03T09:00"),
        ("2026-03-06T17:00", 20, "next_opening", "2026-03-09T09:00"),
        ("2026-03-06T17:00", 48, "last_closing", "2026-03-06T18:00"),
        # Lent after closing: no closing lies between, so that the next opening is the end.
        ("2026-03-02T18:00", 3, "last_closing", "2026-03-03T09:00"),
        ("2026-03-02T19:00", 72, "last_closing", "2026-03-05T18:00"),
        ("2026-03-02T10:00", 0, "last_closing", "2026-03-02T23:59:59"),
    ],
)
def test_a_loan_of_hours_ends_while_the_branch_is_open(start, number, policy, end):
    branch = BranchCalendar("UTC", NINE_TO_SIX)
    began = datetime.fromisoformat(start).replace(tzinfo=UTC)
    due = due_dates.due(began, hours(number), rules(hours_loan_ends=policy), branch, None)
    assert due.at == datetime.fromisoformat(end).replace(tzinfo=UTC)


@pytest.mark.parametrize("written_in", ["UTC", "Europe/Berlin", "Asia/Kathmandu"])
def test_the_hours_of_a_loan_are_real_ones_when_clocks_are_set(written_in):
    night = BranchCalendar("Europe/Berlin")
    start = datetime(2026, 3, 28, 23, 30, tzinfo=UTC)
    due = due_dates.due(start.astimezone(ZoneInfo(written_in)), hours(4), rules(), night, None)
    assert due.at - start == HOUR * 4
    assert due.at.tzinfo is UTC
    assert due.at.astimezone(ZoneInfo("Europe/Berlin")).hour == 5


def test_a_card_and_a_hard_due_date_end_loans_of_hours_too():
    branch = BranchCalendar("UTC", NINE_TO_SIX)
    start = at(MONDAY, "10:00")
    assert due_dates.due(start, hours(26), rules(), branch, MONDAY).at == end_of_day(MONDAY, "UTC")
    hard = rules(hard_due_on=MONDAY.isoformat())
    assert due_dates.due(start, hours(26), hard, branch, None).at == end_of_day(MONDAY, "UTC")
    assert due_dates.due(start, hours(2), hard, branch, MONDAY).at == at(MONDAY, "12:00")


@st.composite
def opening_hours(draw):
    """One or two spans for a day, in minutes that are easy to walk to."""
    clocks = sorted(draw(st.sets(st.integers(7 * 4, 21 * 4), min_size=2, max_size=4)))
    return [
        Hours(*(f"{quarter // 4:02d}:{quarter % 4 * 15:02d}" for quarter in pair))
        for pair in zip(clocks[::2], clocks[1::2], strict=False)
    ]


@given(
    weekly=st.dictionaries(st.integers(1, 7), opening_hours(), min_size=1),
    closures=st.lists(st.tuples(st.integers(0, 9), st.integers(0, 2)), max_size=2),
    time_zone=zones,
    start=st.integers(0, 24 * 4 - 1),
    number=st.integers(1, 100),
    policy=st.sampled_from(HoursEnd),
)
@example({1: [Hours("09:00", "18:00")]}, [], "Europe/Berlin", 40, 48, HoursEnd.NEXT_OPENING)
def test_a_loan_of_hours_held_against_a_walk_by_the_quarter(weekly, closures, time_zone, start, number, policy):
    """Around the end of March and of October, when clocks are set: at night, while the branch is closed."""
    zone, first = ZoneInfo(time_zone), date(2026, 10, 20)
    out = [closed(first + DAY * begin, first + DAY * (begin + more)) for begin, more in closures]
    spans = [{"weekday": weekday, **span._asdict()} for weekday, listed in weekly.items() for span in listed]
    branch = BranchCalendar(time_zone, spans, out)
    began = at(first, "00:00", time_zone) + timedelta(minutes=15) * start
    end = began + HOUR * number

    def is_open(moment):
        local = moment.astimezone(zone)
        if any(one.first <= local.date() <= one.last for one in out):
            return False
        return any(span.opens <= f"{local:%H:%M}" <= span.closes for span in weekly.get(local.isoweekday(), ()))

    quarter = timedelta(minutes=15)
    expected, before, after = None, end, end
    while policy is HoursEnd.LAST_CLOSING and expected is None and before > began:
        expected = before if is_open(before) else None
        before -= quarter
    while expected is None:
        expected = after if is_open(after) else None
        after += quarter
    assume(is_open(end) or expected != began)
    due = due_dates.due(began, hours(number), rules(hours_loan_ends=policy.value), branch, None)
    assert due.at == (end if is_open(end) else expected)
    assert due.on == due.at.astimezone(zone).date()


# The hold shelf.


def test_the_shelf_ends_on_an_open_day_whatever_loans_do():
    branch = BranchCalendar("Europe/Berlin", NINE_TO_SIX, [closed(MONDAY + DAY * 7, MONDAY + DAY * 8)])
    until = due_dates.shelf_until(at(MONDAY), rules(due_on_closed_day="keep"), branch)
    assert (until.on, until.at) == (MONDAY + DAY * 9, end_of_day(MONDAY + DAY * 9, "Europe/Berlin"))
    of_hours = rules(shelf_period={"number": 10, "unit": "hours"}, hours_loan_ends="last_closing")
    assert due_dates.shelf_until(at(MONDAY), of_hours, branch).at == at(MONDAY + DAY, "09:00", "Europe/Berlin")


# How far a due date may be to walk: counted in calls, for time says nothing on a busy machine.


def calls_of(function):
    """What a function gives, and how many calls of functions it took."""
    count = 0

    def note(_frame, event, _argument):
        nonlocal count
        count += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        result = function()
    finally:
        sys.setprofile(before)
    return result, count


@pytest.mark.parametrize("policy", [ClosedDay.NEXT_OPEN, ClosedDay.SAME_WEEKDAY])
@pytest.mark.parametrize("last", [MONDAY + DAY * 365 * 60, LAST_DAY])
def test_decades_of_closure_are_jumped_over(policy, last):
    branch = BranchCalendar("UTC", NINE_TO_SIX, [closed(MONDAY, last), closed(MONDAY + DAY * 99, last)])
    chosen = rules(due_on_closed_day=policy.value)
    due, calls = calls_of(lambda: due_dates.due(at(MONDAY), days(28), chosen, branch, None))
    assert due.on == MONDAY + DAY * 28 if last == LAST_DAY else due.on > last
    assert calls < 200
    back, calls = calls_of(lambda: due_dates.due(at(MONDAY - DAY), days(28), rules(), branch, last - DAY))
    assert back.on in (MONDAY - DAY * 3, MONDAY + DAY * 27, MONDAY - DAY)
    assert calls < 200


def test_a_thousand_closed_mondays_are_a_thousand_steps():
    mondays = [closed(MONDAY + DAY * 7 * number) for number in range(1000)]
    branch = BranchCalendar("UTC", NINE_TO_SIX[:1], mondays)
    due, calls = calls_of(lambda: due_dates.due(at(MONDAY), days(7), rules(), branch, None))
    assert due.on == MONDAY + DAY * 7000
    assert 1000 < calls < 20_000


def test_closed_days_in_a_row_are_one_step():
    branch = BranchCalendar("UTC", NINE_TO_SIX, [closed(MONDAY + DAY * number) for number in range(1000)])
    due, calls = calls_of(lambda: due_dates.due(at(MONDAY), days(7), rules(), branch, None))
    assert due.on == MONDAY + DAY * 1001
    assert calls < 200
