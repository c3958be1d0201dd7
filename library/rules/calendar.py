"""Local days and opening hours: when a day ends at a branch, and when the branch is open."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from sqlalchemy import ColumnElement, Select, select
from sqlalchemy.orm import Session, raiseload

from library.models import Branch, CalendarException

DAY, SECOND = timedelta(days=1), timedelta(seconds=1)
# Where the calendar ends: what is closed until then never opens again.
LAST_DAY = date(2200, 12, 31)
MIDNIGHT = "24:00"


class Hours(NamedTuple):
    """Local times of opening and closing, HH:MM; 24:00 is the end of the day."""

    opens: str
    closes: str


ALL_DAY = Hours("00:00", MIDNIGHT)


def local_day(moment: datetime, time_zone: str) -> date:
    """The calendar day of an aware moment in an IANA time zone."""
    return moment.astimezone(ZoneInfo(time_zone)).date()


def end_of_day(day: date, time_zone: str) -> datetime:
    """The last second (23:59:59) of a local day, in UTC; where clocks are set back it is the second time round."""
    return datetime.combine(day, time(23, 59, 59, fold=1), ZoneInfo(time_zone)).astimezone(UTC)


class DayReason(StrEnum):
    """Why a day is open or closed.

    * `hours`: the usual hours of the weekday
    * `weekday`: a weekday without hours
    * `closure`: an exception closes it
    * `opening`: an exception opens it
    """

    HOURS = "hours"
    WEEKDAY = "weekday"
    CLOSURE = "closure"
    OPENING = "opening"


@dataclass(frozen=True)
class OpenDay:
    """One day of a branch as it comes out; `reason` is what staff wrote of an exception."""

    on: date
    is_open: bool
    hours: list[Hours]
    why: DayReason
    reason: str | None


@dataclass(frozen=True)
class Out:
    """Days out of the usual order: closed, or open (with hours of their own)."""

    first: date
    last: date
    is_open: bool
    hours: Hours | None = None
    reason: str | None = None


class _Spells:
    """Spells of days that neither touch nor overlap, in order."""

    def __init__(self, spells: Iterable[tuple[date, date]]) -> None:
        self.firsts: list[date] = []
        self.lasts: list[date] = []
        for first, last in sorted(spells):
            if self.lasts and first <= self.lasts[-1] + DAY:
                self.lasts[-1] = max(self.lasts[-1], last)
            else:
                self.firsts.append(first)
                self.lasts.append(last)

    def last_of(self, day: date) -> date | None:
        """The last day of the spell that holds this day; None where none does."""
        at = bisect_right(self.firsts, day) - 1
        return self.lasts[at] if at >= 0 and day <= self.lasts[at] else None

    def first_of(self, day: date) -> date | None:
        """The first day of the spell that holds this day; None where none does."""
        at = bisect_right(self.firsts, day) - 1
        return self.firsts[at] if at >= 0 and day <= self.lasts[at] else None

    def from_day(self, day: date) -> Iterator[tuple[date, date]]:
        """What is left of the spells from a day on, the nearest first."""
        for at in range(bisect_left(self.lasts, day), len(self.lasts)):
            yield max(self.firsts[at], day), self.lasts[at]

    def until_day(self, day: date) -> date | None:
        """The latest day in any spell, up to a day."""
        at = bisect_right(self.firsts, day) - 1
        return min(self.lasts[at], day) if at >= 0 else None


class BranchCalendar:
    """When one branch is open: its weekdays and hours, and the exceptions to them.

    An exceptional opening beats every closure and weekday. No hours at all mean open every day, all day.
    """

    def __init__(self, time_zone: str, hours: Sequence[Mapping[str, Any]] = (), out: Iterable[Out] = ()) -> None:
        self.time_zone = time_zone
        self.out = list(out)
        weekly = {weekday: [_pair(span) for span in hours if span["weekday"] == weekday] for weekday in range(1, 8)}
        self.weekly = {weekday: _merged(spans) if hours else [ALL_DAY] for weekday, spans in weekly.items()}
        self.closures = _Spells((one.first, one.last) for one in self.out if not one.is_open)
        self.openings = _Spells((one.first, one.last) for one in self.out if one.is_open)

    def is_open_on(self, day: date) -> bool:
        """Whether the branch opens on a local day."""
        if self.openings.last_of(day) is not None:
            return True
        return bool(self.weekly[day.isoweekday()]) and self.closures.last_of(day) is None

    def is_open_at(self, moment: datetime) -> bool:
        """Whether the branch is open at an aware moment, that of closing included."""
        return any(opens <= moment <= closes for opens, closes in self._spans(local_day(moment, self.time_zone)))

    def hours_on(self, day: date) -> list[Hours]:
        """Opening hours of a local day, in order and without overlaps; none where the branch is closed."""
        if not self.is_open_on(day):
            return []
        named = [one.hours for one in self._out_on(day, True) if one.hours]
        return _merged(named) or self.weekly[day.isoweekday()] or [ALL_DAY]

    def on(self, day: date) -> OpenDay:
        """A day as it comes out, with its hours and why."""
        is_open = self.is_open_on(day)
        exceptions = self._out_on(day, is_open)
        usual = DayReason.HOURS if is_open else DayReason.WEEKDAY
        why = usual if not exceptions else DayReason.OPENING if is_open else DayReason.CLOSURE
        reason = next((one.reason for one in exceptions if one.reason), None)
        return OpenDay(day, is_open, self.hours_on(day), why, reason)

    def next_open_day(self, day: date, weekday: int | None = None) -> date | None:
        """The first open day from `day` on, that day included; None where the branch never opens again.

        `weekday` (1 is Monday) asks for such a day only. Closures are jumped over, however long.
        """
        usual = self._next_usual_day(day, weekday)
        for first, last in self.openings.from_day(day):
            if usual is not None and first >= usual:
                break
            extra = first + DAY * ((weekday - first.isoweekday()) % 7 if weekday else 0)
            if extra <= last:
                return extra if usual is None else min(extra, usual)
        return usual

    def _next_usual_day(self, day: date, weekday: int | None) -> date | None:
        weekdays = [number for number, spans in self.weekly.items() if spans and weekday in (None, number)]
        while weekdays and day <= LAST_DAY:
            day += DAY * min((number - day.isoweekday()) % 7 for number in weekdays)
            closed_until = self.closures.last_of(day)
            if closed_until is None:
                return day if day <= LAST_DAY else None
            day = closed_until + DAY
        return None

    def last_open_day(self, day: date, not_before: date) -> date | None:
        """The last open day up to `day`, that day included; None where there is none from `not_before` on."""
        extra = self.openings.until_day(day)
        usual = day
        while usual >= not_before:
            closed_since = self.closures.first_of(usual)
            if closed_since is None and self.weekly[usual.isoweekday()]:
                break
            usual = (closed_since or usual) - DAY
        return max((one for one in (extra, usual) if one is not None and one >= not_before), default=None)

    def open_days(self, first: date, last: date) -> Iterator[date]:
        """The open days from `first` to `last`, both included."""
        day = self.next_open_day(first)
        while day is not None and day <= last:
            yield day
            day = self.next_open_day(day + DAY)

    def next_opening(self, moment: datetime) -> datetime | None:
        """When the branch opens next, from a moment on; None where it never does."""
        day = self.next_open_day(local_day(moment, self.time_zone))
        while day is not None:
            for opens, _ in self._spans(day):
                if opens >= moment:
                    return opens
            day = self.next_open_day(day + DAY)
        return None

    def last_closing(self, moment: datetime, after: datetime) -> datetime | None:
        """When the branch closed last up to a moment; None where it did not since `after`."""
        since = local_day(after, self.time_zone)
        day = self.last_open_day(local_day(moment, self.time_zone), since)
        while day is not None:
            for _, closes in reversed(self._spans(day)):
                if closes <= moment:
                    return closes if closes > after else None
            day = self.last_open_day(day - DAY, since)
        return None

    def _out_on(self, day: date, is_open: bool) -> list[Out]:
        return [one for one in self.out if one.is_open is is_open and one.first <= day <= one.last]

    def _spans(self, day: date) -> list[tuple[datetime, datetime]]:
        hours = self.hours_on(day)
        return [(self._moment(day, opens), self._moment(day, closes, closing=True)) for opens, closes in hours]

    def _moment(self, day: date, clock: str, closing: bool = False) -> datetime:
        """The moment of a local time; an hour that comes twice opens with the first and closes with the second."""
        if clock == MIDNIGHT:
            return end_of_day(day, self.time_zone) + SECOND
        if clock == ALL_DAY.opens:
            return end_of_day(day - DAY, self.time_zone) + SECOND
        wall = datetime.combine(day, time.fromisoformat(clock), ZoneInfo(self.time_zone))
        # In an hour that is skipped it is the first reading that comes later.
        return max(wall.replace(fold=fold).astimezone(UTC) for fold in ((0, 1) if closing else (0,)))


def _pair(span: Mapping[str, Any]) -> Hours:
    return Hours(span["opens"], span["closes"])


def _merged(spans: Iterable[Hours]) -> list[Hours]:
    """Spans of one day in order, those that overlap or touch as one."""
    merged: list[Hours] = []
    for opens, closes in sorted(spans):
        if merged and opens <= merged[-1].closes:
            merged[-1] = Hours(merged[-1].opens, max(merged[-1].closes, closes))
        else:
            merged.append(Hours(opens, closes))
    return merged


EXCEPTION_SORTS = {"from_on": CalendarException.from_on, "to_on": CalendarException.to_on}


def find_exceptions(from_on: date | None = None, to_on: date | None = None, **filters: Any) -> Select[Any]:
    """Exceptions by branch and kind that reach into the days from `from_on` to `to_on`."""
    statement = select(CalendarException).options(raiseload("*")).filter_by(**filters)
    if from_on is not None:
        statement = statement.where(CalendarException.to_on >= from_on)
    if to_on is not None:
        statement = statement.where(CalendarException.from_on <= to_on)
    return statement.order_by(CalendarException.from_on)


def load(session: Session, branches: Iterable[Branch]) -> dict[int, BranchCalendar]:
    """The calendars of branches by their keys, in one statement."""
    found = {branch.id: branch for branch in branches}
    rows = session.execute(exceptions_of(CalendarException.branch_id.in_(found))).all()
    return {key: calendar_of(branch, rows) for key, branch in found.items()}


def exceptions_of(branch: ColumnElement[bool]) -> Select[Any]:
    """The exceptions of some branches, and those of all."""
    shown = ("branch_id", "from_on", "to_on", "is_open", "opens", "closes", "reason")
    columns = [getattr(CalendarException, name) for name in shown]
    return select(*columns).where(CalendarException.branch_id.is_(None) | branch).order_by(CalendarException.id)


def calendar_of(branch: Branch, rows: Iterable[Any]) -> BranchCalendar:
    """The calendar of a branch, out of exceptions of several."""
    out = [
        Out(row.from_on, row.to_on, row.is_open, Hours(row.opens, row.closes) if row.opens else None, row.reason)
        for row in rows
        if row.branch_id in (None, branch.id)
    ]
    return BranchCalendar(branch.time_zone, branch.hours, out)
