"""Local days: clocks that are set forward and back never move a date."""

from datetime import UTC, date, datetime, timedelta
from functools import cache
from zoneinfo import ZoneInfo, available_timezones

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from library.rules import calendar

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


@given(moments, st.integers(0, 400), st.sampled_from(ZONES))
def test_clocks_in_between_never_move_the_day_on_which_a_loan_is_due(moment, days, time_zone):
    due_on = calendar.due_on(moment, days, time_zone)
    assert due_on == moment.astimezone(ZoneInfo(time_zone)).date() + timedelta(days=days)
    assume((time_zone, due_on) not in ABSENT)
    assert calendar.local_day(calendar.end_of_day(due_on, time_zone), time_zone) == due_on


@given(moments, st.sampled_from(ZONES))
def test_a_moment_lies_between_the_ends_of_two_days(moment, time_zone):
    day = calendar.local_day(moment, time_zone)
    assert moment < calendar.end_of_day(day, time_zone) + SECOND


@given(moments, st.sampled_from(ZONES), st.sampled_from(ZONES))
def test_the_day_depends_on_the_moment_not_on_the_zone_it_is_written_in(moment, written_in, time_zone):
    assert calendar.local_day(moment.astimezone(ZoneInfo(written_in)), time_zone) == calendar.local_day(
        moment, time_zone
    )
