"""Due dates: from the length of a loan to the moment it is due, step by step."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from typing import Any

from library.models import PolicyKind
from library.rules.calendar import DAY, LAST_DAY, SECOND, BranchCalendar, end_of_day, local_day
from library.rules.policies import ClosedDay, Effective, HoursEnd, Length, Unit

WEEK = 7


class DueStep(StrEnum):
    """What moves a due date, in the order in which it does; or it was named by staff.

    * `period`: the length of the loan
    * `closed_day`: the branch is closed on it
    * `closing_time`: a loan of hours would end while the branch is closed
    * `hard_due_date`: no loan is due after that day
    * `card_end`: the library card ends before
    * `named`: staff named it
    """

    PERIOD = "period"
    CLOSED_DAY = "closed_day"
    CLOSING_TIME = "closing_time"
    HARD_DUE_DATE = "hard_due_date"
    CARD_END = "card_end"
    NAMED = "named"


@dataclass(frozen=True)
class Due:
    """When something is due: the moment in UTC, the local day of it, and the steps that led there, as JSON."""

    at: datetime
    on: date
    steps: list[dict[str, Any]]


class _Reckoning:
    """A due date on its way, and the steps taken so far."""

    def __init__(self, now: datetime, days: BranchCalendar) -> None:
        self.days, self.now = days, now.astimezone(UTC)
        self.today = local_day(now, days.time_zone)
        self.at = self.now
        self.steps: list[dict[str, Any]] = []

    @property
    def on(self) -> date:
        """The local day reached so far."""
        return local_day(self.at, self.days.time_zone)

    def move(self, step: DueStep, to: datetime, **why: Any) -> None:
        """Take a step; one that stays where it is leaves no trace, except the first."""
        if self.steps and to == self.at:
            return
        self.at = to
        shown = to.astimezone(UTC).isoformat(timespec="microseconds")[:26] + "Z"
        self.steps.append({"step": step.value, "due_at": shown, "due_on": self.on.isoformat(), **why})

    def move_to_end_of(self, step: DueStep, day: date, **why: Any) -> None:
        """Take a step to the end of a local day: never past the calendar, always after now."""
        end = end_of_day(max(min(day, LAST_DAY), self.today), self.days.time_zone)
        # In the very last second of a day its end has come already.
        self.move(step, max(end, self.now + SECOND), **why)

    def done(self) -> Due:
        """What came out."""
        return Due(self.at, self.on, self.steps)


def due(
    start: datetime,
    length: Length,
    rules: Effective,
    days: BranchCalendar,
    card_ends_on: date | None,
    now: datetime | None = None,
) -> Due:
    """When a loan is due that runs from `start`: the period, closed days, the hard due date, the end of the card.

    `now` is the moment of lending or renewing, `start` where it is not named: nothing is due before its day ends, and
    a hard due date or a card that ended before its day binds no longer. Days end at 23:59:59 local time.
    """
    # Hours are added to moments in UTC: those of a local zone would be moved by the clock on its wall.
    start = start.astimezone(UTC)
    reckoning = _Reckoning(now or start, days)
    _add_period(reckoning, start, length, rules[PolicyKind.DUE_ON_CLOSED_DAY], rules[PolicyKind.HOURS_LOAN_ENDS])
    hard_due_on = rules[PolicyKind.HARD_DUE_ON]
    if hard_due_on is not None and reckoning.today <= hard_due_on < reckoning.on:
        reckoning.move_to_end_of(DueStep.HARD_DUE_DATE, hard_due_on)
    if card_ends_on is not None and reckoning.today <= card_ends_on < reckoning.on:
        day = days.last_open_day(card_ends_on, not_before=reckoning.today) or reckoning.today
        reckoning.move_to_end_of(DueStep.CARD_END, day, card_ends_on=card_ends_on.isoformat())
    return reckoning.done()


def named(due_at: datetime, time_zone: str) -> Due:
    """A due date that staff name, at a moment of their own."""
    reckoning = _Reckoning(due_at, BranchCalendar(time_zone))
    reckoning.move(DueStep.NAMED, reckoning.now)
    return reckoning.done()


def shelf_until(start: datetime, rules: Effective, days: BranchCalendar) -> Due:
    """How long a copy waits on the hold shelf from `start` on: until an open day, where the branch ever opens."""
    start = start.astimezone(UTC)
    reckoning, length = _Reckoning(start, days), rules[PolicyKind.SHELF_PERIOD]
    _add_period(reckoning, start, length, ClosedDay.NEXT_OPEN, HoursEnd.NEXT_OPENING)
    return reckoning.done()


def _add_period(
    reckoning: _Reckoning, start: datetime, length: Length, closed_day: ClosedDay, hours_end: HoursEnd
) -> None:
    said = {"number": length.number, "unit": length.unit.value}
    if length.unit is Unit.HOURS and length.number:
        end = min(start + timedelta(hours=length.number), end_of_day(LAST_DAY, reckoning.days.time_zone))
        reckoning.move(DueStep.PERIOD, max(end, reckoning.now + SECOND), **said)
        _roll_hours(reckoning, start, hours_end)
        return
    days_more = length.number if length.unit is Unit.DAYS else 0
    day = local_day(start, reckoning.days.time_zone) + DAY * days_more
    reckoning.move_to_end_of(DueStep.PERIOD, day, **said)
    rolled = _open_day(max(day, reckoning.today), days_more, closed_day, reckoning.days)
    if rolled is not None:
        reckoning.move_to_end_of(DueStep.CLOSED_DAY, rolled, policy=closed_day.value)


def _open_day(day: date, number: int, policy: ClosedDay, days: BranchCalendar) -> date | None:
    """Where a day moves that is closed; None where it stays."""
    if policy is ClosedDay.KEEP or days.is_open_on(day):
        return None
    if policy is ClosedDay.SAME_WEEKDAY and number and number % WEEK == 0:
        same = days.next_open_day(day, day.isoweekday())
        if same is not None:
            return same
    return days.next_open_day(day)


def _roll_hours(reckoning: _Reckoning, start: datetime, policy: HoursEnd) -> None:
    """A loan of hours ends while the branch is open: with the last closing since it began, or the next opening."""
    days, end = reckoning.days, reckoning.at
    if days.is_open_at(end):
        return
    moved = days.last_closing(end, after=max(start, reckoning.now)) if policy is HoursEnd.LAST_CLOSING else None
    if moved is None:
        moved, policy = days.next_opening(end), HoursEnd.NEXT_OPENING
    if moved is not None:
        reckoning.move(DueStep.CLOSING_TIME, moved, policy=policy.value)
