"""Local days and opening hours: clocks that are set never move a date, exceptions overlap, closures last decades."""

from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from zoneinfo import ZoneInfo, available_timezones

import pytest
from hypothesis import given
from hypothesis import strategies as st

from library.rules import calendar
from library.rules.calendar import LAST_DAY, BranchCalendar, DayReason, Hours, Out

ZONES = sorted(available_timezones())
SECOND, DAY = timedelta(seconds=1), timedelta(days=1)
# Days that never were: whole islands went over the date line.
ABSENT = {("Pacific/Apia", date(2011, 12, 30)), ("Pacific/Fakaofo", date(2011, 12, 30))}

moments = st.integers(0, 41 * 366 * 86400).map(lambda seconds: datetime(1996, 1, 1, tzinfo=UTC) + seconds * SECOND)


@cache
def changes_of_clocks(time_zone: str) -> list[date]:
    """The UTC days of 2007 to 2037 in which the clocks of a zone are set."""
    zone, found = ZoneInfo(time_zone), []
    moment, step = datetime(2007, 1, 1, tzinfo=UTC), timedelta(days=7)
    while moment < datetime(2037, 1, 1, tzinfo=UTC):
        if moment.astimezone(zone).utcoffset() != (moment + step).astimezone(zone).utcoffset():
            found += [moment.date() + DAY * count for count in range(8)]
        moment += step
    return found


def ends_its_day(day: date, time_zone: str) -> bool:
    zone, end = ZoneInfo(time_zone), calendar.end_of_day(day, time_zone)
    return end.astimezone(zone).date() == day and (end + SECOND).astimezone(zone).date() == day + DAY


def test_zones_change_their_clocks():
    assert sum(bool(changes_of_clocks(time_zone)) for time_zone in ZONES) > 150


def test_in_every_zone_each_day_around_a_change_of_clocks_ends_with_its_last_second():
    wrong = {
        (time_zone, day)
        for time_zone in ZONES
        for day in changes_of_clocks(time_zone)
        if not ends_its_day(day, time_zone)
    }
    assert {(time_zone, day) for time_zone, day in wrong if (time_zone, day + DAY) not in ABSENT} == ABSENT


@given(st.sampled_from(ZONES), st.dates(date(1990, 1, 1), date(2037, 12, 31)))
def test_on_any_day_the_end_is_in_utc_and_never_after_the_day(time_zone, day):
    end = calendar.end_of_day(day, time_zone)
    assert end.tzinfo is UTC
    assert end.astimezone(ZoneInfo(time_zone)).date() <= day
    assert (end + SECOND).astimezone(ZoneInfo(time_zone)).date() > day


@pytest.mark.parametrize(
    ("time_zone", "day", "end"),
    [
        ("Europe/Berlin", date(2026, 3, 28), "2026-03-28T22:59:59+00:00"),
        ("Europe/Berlin", date(2026, 3, 29), "2026-03-29T21:59:59+00:00"),
        ("Europe/Berlin", date(2026, 10, 25), "2026-10-25T22:59:59+00:00"),
        ("UTC", date(2028, 2, 29), "2028-02-29T23:59:59+00:00"),
        ("Asia/Kathmandu", date(2026, 1, 1), "2026-01-01T18:14:59+00:00"),
        ("Pacific/Kiritimati", date(2026, 1, 1), "2026-01-01T09:59:59+00:00"),
    ],
)
def test_the_end_of_a_day(time_zone, day, end):
    assert calendar.end_of_day(day, time_zone) == datetime.fromisoformat(end)


@pytest.mark.parametrize(
    ("time_zone", "day"), [("America/Havana", date(2026, 3, 7)), ("Africa/Cairo", date(2026, 4, 23))]
)
def test_a_day_ends_where_the_midnight_after_it_is_skipped(time_zone, day):
    end = calendar.end_of_day(day, time_zone).astimezone(ZoneInfo(time_zone))
    assert (end.date(), end.hour, end.minute, end.second) == (day, 23, 59, 59)
    after = (calendar.end_of_day(day, time_zone) + SECOND).astimezone(ZoneInfo(time_zone))
    assert (after.date(), after.hour) == (day + DAY, 1)


@pytest.mark.parametrize(
    ("time_zone", "day"),
    [
        ("Africa/Cairo", date(2026, 10, 29)),
        ("Asia/Beirut", date(2026, 10, 24)),
        ("America/Asuncion", date(2023, 3, 25)),
        ("America/St_Johns", date(2010, 11, 6)),
    ],
)
def test_where_the_last_hour_comes_twice_the_day_ends_with_the_second(time_zone, day):
    zone = ZoneInfo(time_zone)
    end = calendar.end_of_day(day, time_zone)
    hour_before = (end - timedelta(hours=1)).astimezone(zone)
    assert end.astimezone(zone).replace(tzinfo=None, fold=0) == hour_before.replace(tzinfo=None, fold=0)
    assert ends_its_day(day, time_zone)


def test_a_day_that_never_was_ends_with_the_day_before():
    for time_zone, day in ABSENT:
        assert calendar.end_of_day(day, time_zone) == calendar.end_of_day(day - DAY, time_zone)


@given(moments, st.sampled_from(ZONES))
def test_a_moment_lies_between_the_ends_of_two_days(moment, time_zone):
    day = calendar.local_day(moment, time_zone)
    assert moment < calendar.end_of_day(day, time_zone) + SECOND


@given(moments, st.sampled_from(ZONES), st.sampled_from(ZONES))
def test_the_day_depends_on_the_moment_not_on_the_zone_it_is_written_in(moment, written_in, time_zone):
    assert calendar.local_day(moment.astimezone(ZoneInfo(written_in)), time_zone) == calendar.local_day(
        moment, time_zone
    )


# Opening hours.

MONDAY = date(2026, 3, 2)
WEEK_DAYS = [{"weekday": weekday, "opens": "09:00", "closes": "18:00"} for weekday in range(1, 6)]
NINE_TO_SIX = Hours("09:00", "18:00")


def at(day, clock, time_zone="UTC"):
    return datetime.combine(day, time.fromisoformat(clock), ZoneInfo(time_zone)).astimezone(UTC)


def test_a_branch_without_hours_is_open_every_day_and_all_day():
    branch = BranchCalendar("Europe/Berlin")
    assert branch.on(MONDAY) == calendar.OpenDay(MONDAY, True, [Hours("00:00", "24:00")], DayReason.HOURS, None)
    for clock in ("00:00:00", "12:00:00", "23:59:59"):
        assert branch.is_open_at(at(MONDAY + DAY * 6, clock, "Europe/Berlin"))
    assert branch.next_opening(at(MONDAY, "00:00", "Europe/Berlin")) == at(MONDAY, "00:00", "Europe/Berlin")
    assert branch.last_closing(at(MONDAY, "12:00", "Europe/Berlin"), at(MONDAY - DAY, "12:00")) == at(
        MONDAY, "00:00", "Europe/Berlin"
    )


def test_hours_by_weekday():
    saturday = MONDAY + DAY * 5
    branch = BranchCalendar("UTC", WEEK_DAYS)
    assert branch.hours_on(MONDAY) == [NINE_TO_SIX]
    assert branch.on(saturday) == calendar.OpenDay(saturday, False, [], DayReason.WEEKDAY, None)
    assert list(branch.open_days(MONDAY + DAY * 3, MONDAY + DAY * 8)) == [MONDAY + DAY * n for n in (3, 4, 7, 8)]
    assert list(branch.open_days(saturday, saturday)) == []


def test_spans_that_overlap_or_touch_are_one():
    spans = [("14:00", "18:00"), ("09:00", "12:00"), ("10:00", "11:00"), ("12:00", "13:00")]
    hours = [{"weekday": 1, "opens": opens, "closes": closes} for opens, closes in spans]
    branch = BranchCalendar("UTC", hours)
    assert branch.hours_on(MONDAY) == [Hours("09:00", "13:00"), Hours("14:00", "18:00")]
    assert branch.last_closing(at(MONDAY, "13:30"), at(MONDAY, "08:00")) == at(MONDAY, "13:00")
    assert branch.next_opening(at(MONDAY, "13:30")) == at(MONDAY, "14:00")


@pytest.mark.parametrize(
    ("clock", "is_open"), [("08:59:59", False), ("09:00", True), ("18:00", True), ("18:00:01", False), ("23:00", False)]
)
def test_open_from_opening_to_closing(clock, is_open):
    branch = BranchCalendar("Europe/Berlin", WEEK_DAYS)
    assert branch.is_open_at(at(MONDAY, clock, "Europe/Berlin")) is is_open
    assert not branch.is_open_at(at(MONDAY - DAY, clock, "Europe/Berlin"))


def test_exceptions():
    out = [
        Out(MONDAY, MONDAY + DAY * 3, is_open=False, reason="Stock-taking"),
        Out(MONDAY + DAY * 2, MONDAY + DAY * 20, is_open=False),
        Out(MONDAY + DAY * 5, MONDAY + DAY * 5, is_open=True, hours=Hours("10:00", "12:00"), reason="Book sale"),
        Out(MONDAY + DAY * 5, MONDAY + DAY * 5, is_open=True, hours=Hours("11:00", "13:00")),
        Out(MONDAY + DAY * 6, MONDAY + DAY * 7, is_open=True),
    ]
    branch = BranchCalendar("UTC", WEEK_DAYS, out)
    shown = {day: (one.hours, one.why, one.reason) for day in range(9) for one in [branch.on(MONDAY + DAY * day)]}
    closure = ([], DayReason.CLOSURE)
    assert shown == {
        0: (*closure, "Stock-taking"),
        1: (*closure, "Stock-taking"),
        2: (*closure, "Stock-taking"),
        3: (*closure, "Stock-taking"),
        4: (*closure, None),
        5: ([Hours("10:00", "13:00")], DayReason.OPENING, "Book sale"),
        6: ([Hours("00:00", "24:00")], DayReason.OPENING, None),
        7: ([NINE_TO_SIX], DayReason.OPENING, None),
        8: (*closure, None),
    }
    assert branch.next_open_day(MONDAY) == MONDAY + DAY * 5
    assert branch.last_open_day(MONDAY + DAY * 18, MONDAY) == MONDAY + DAY * 7
    assert branch.next_opening(at(MONDAY, "10:00")) == at(MONDAY + DAY * 5, "10:00")
    assert branch.last_closing(at(MONDAY + DAY * 10, "10:00"), at(MONDAY, "00:00")) == at(MONDAY + DAY * 7, "18:00")


def test_a_branch_that_never_opens_again():
    branch = BranchCalendar("UTC", WEEK_DAYS, [Out(MONDAY, LAST_DAY, is_open=False)])
    assert branch.next_open_day(MONDAY) is None
    assert branch.next_opening(at(MONDAY, "10:00")) is None
    assert branch.last_closing(at(MONDAY + DAY, "10:00"), at(MONDAY, "10:00")) is None
    assert branch.next_open_day(LAST_DAY + DAY) is None
    assert list(branch.open_days(MONDAY, LAST_DAY)) == []
    assert branch.last_open_day(LAST_DAY, MONDAY) is None
    assert branch.last_open_day(LAST_DAY, MONDAY - DAY * 9) == MONDAY - DAY * 3


def test_a_last_opening_amid_a_closure_is_found():
    party = LAST_DAY - DAY * 3
    out = [Out(MONDAY, LAST_DAY, is_open=False), Out(party, party, is_open=True)]
    branch = BranchCalendar("UTC", WEEK_DAYS, out)
    assert branch.next_open_day(MONDAY) == party
    assert branch.next_open_day(MONDAY, party.isoweekday()) == party
    assert branch.next_open_day(MONDAY, party.isoweekday() % 7 + 1) is None
    assert branch.next_open_day(party + DAY) is None


def test_closing_in_an_hour_that_comes_twice_or_not_at_all():
    late = [{"weekday": weekday, "opens": "02:15", "closes": "02:45"} for weekday in range(1, 8)]
    branch = BranchCalendar("Europe/Berlin", late)
    twice, skipped = date(2026, 10, 25), date(2026, 3, 29)
    assert branch.is_open_at(datetime(2026, 10, 25, 0, 15, tzinfo=UTC))
    assert branch.last_closing(at(twice, "12:00"), at(twice - DAY, "12:00")) == datetime(
        2026, 10, 25, 1, 45, tzinfo=UTC
    )
    opening = branch.next_opening(at(skipped, "00:00"))
    closing = branch.last_closing(at(skipped, "12:00"), at(skipped - DAY, "12:00"))
    assert closing - opening == timedelta(minutes=30)


spells = st.lists(st.tuples(st.integers(0, 60), st.integers(0, 30)), max_size=6)


@given(
    st.sets(st.integers(1, 7)), spells, spells, st.integers(0, 90), st.integers(0, 90), st.none() | st.integers(1, 7)
)
def test_open_days_are_those_that_a_walk_finds(open_on, closures, openings, first, second, wanted):
    def out(found, is_open):
        return [Out(MONDAY + DAY * begin, MONDAY + DAY * (begin + more), is_open) for begin, more in found]

    hours = [{"weekday": weekday, "opens": "09:00", "closes": "18:00"} for weekday in open_on]
    branch = BranchCalendar("UTC", hours, out(closures, False) + out(openings, True))

    def is_open(day):
        number = (day - MONDAY).days
        if any(begin <= number <= begin + more for begin, more in openings):
            return True
        closed = any(begin <= number <= begin + more for begin, more in closures)
        return not closed and (not open_on or day.isoweekday() in open_on)

    horizon = [MONDAY + DAY * number for number in range(200)]
    assert [day for day in horizon if branch.is_open_on(day)] == [day for day in horizon if is_open(day)]
    assert all(branch.on(day).is_open == bool(branch.hours_on(day)) == is_open(day) for day in horizon)
    low, high = sorted((MONDAY + DAY * first, MONDAY + DAY * second))
    found = [day for day in horizon if low <= day <= high and is_open(day)]
    assert list(branch.open_days(low, high)) == found
    assert branch.last_open_day(high, low) == (found[-1] if found else None)
    asked = [day for day in horizon if day >= low and is_open(day) and wanted in (None, day.isoweekday())]
    assert branch.next_open_day(low, wanted) == (asked[0] if asked else None)


def test_calendars_are_read_in_one_statement(session, make, statements):
    open_always, weekly = make.branch(), make.branch(hours=WEEK_DAYS, time_zone="America/Havana")
    other = make.branch()
    make.exception(MONDAY, MONDAY + DAY * 2, reason="Holidays")
    make.exception(MONDAY + DAY, branch=weekly, is_open=True, opens="10:00", closes="11:00")
    make.exception(MONDAY + DAY * 3, branch=other)
    statements.clear()
    found = calendar.load(session, [open_always, weekly])
    assert len(statements) == 1
    assert set(found) == {open_always.id, weekly.id}
    assert found[weekly.id].time_zone == "America/Havana"
    open_on = {
        key: [number for number in range(6) if days.is_open_on(MONDAY + DAY * number)] for key, days in found.items()
    }
    assert open_on == {open_always.id: [3, 4, 5], weekly.id: [1, 3, 4]}
    assert found[weekly.id].hours_on(MONDAY + DAY) == [Hours("10:00", "11:00")]
    assert found[open_always.id].on(MONDAY).reason == "Holidays"


def test_the_exceptions_that_reach_into_some_days(session, make):
    rows = [make.exception(MONDAY + DAY * number, MONDAY + DAY * (number + 2)) for number in (9, 0, 3)]
    ours = make.exception(MONDAY + DAY * 50, branch=make.branch(), is_open=True)

    def found(**filters):
        return [row.id for row in session.scalars(calendar.find_exceptions(**filters))]

    assert found() == [rows[1].id, rows[2].id, rows[0].id, ours.id]
    assert found(from_on=MONDAY + DAY * 5, to_on=MONDAY + DAY * 9) == [rows[2].id, rows[0].id]
    assert found(from_on=MONDAY + DAY * 6, to_on=MONDAY + DAY * 8) == []
    assert found(branch_id=ours.branch_id, is_open=True) == [ours.id]
