"""Local days: when a day ends at a branch, and which day a moment falls on there."""

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo


def local_day(moment: datetime, time_zone: str) -> date:
    """The calendar day of an aware moment in an IANA time zone."""
    return moment.astimezone(ZoneInfo(time_zone)).date()


def end_of_day(day: date, time_zone: str) -> datetime:
    """The last second (23:59:59) of a local day, in UTC; where clocks are set back it is the second time round."""
    return datetime.combine(day, time(23, 59, 59, fold=1), ZoneInfo(time_zone)).astimezone(UTC)


def due_on(moment: datetime, days: int, time_zone: str) -> date:
    """The local day so many days after a moment; a change of clocks in between never moves it."""
    return local_day(moment, time_zone) + timedelta(days=days)
