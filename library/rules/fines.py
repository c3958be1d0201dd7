"""Fines: what a late loan costs, by policies and calendar alone, so that each late day is charged once.

Lateness is counted in whole units: local days after the due day, or hours begun since the due moment. A fine is the
cost of all units begun until its end, less those charged before.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from typing import Any

from library.models import PolicyKind
from library.rules.calendar import DAY, SECOND, BranchCalendar, end_of_day, local_day
from library.rules.policies import Effective, FineRate, Length, Unit

HOUR, TICK = timedelta(hours=1), datetime.resolution
HOURS_A_DAY = 24
# What one line of the ledger can hold.
MOST_CENTS = 2**31 - 1
# The first and the last of moments, days or units.
Moments = tuple[datetime, datetime]
Units = tuple[int, int]


@dataclass(frozen=True)
class Fine:
    """What is to be charged; the steps of its computation are kept with the charge.

    Who writes or forgives it notes until when (`fined_until_at`). Where there is nothing to charge they do not: days
    of grace count again once the grace is over.
    """

    cents: int
    steps: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True)
class Lateness:
    """Counts the late units of a loan; closed days may not count, and what lies wholly in a pause does not."""

    per: Unit
    days: BranchCalendar
    closed_days_count: bool
    due_at: datetime
    due_on: date
    pauses: list[Moments]

    def until(self, moment: datetime) -> int:
        """How many units have begun by a moment."""
        return sum(self._counted(*units) for units in self._begun(moment))

    def before_day(self, day: date) -> int:
        """How many units have begun before a local day."""
        return self.until(self._midnight(day) - TICK)

    def _running(self, until: datetime) -> Iterator[Moments]:
        """The spans in which the loan was late and no pause held, up to a moment."""
        start = self.due_at + TICK
        for first, last in sorted(self.pauses):
            if first > until:
                break
            if start < first:
                yield start, first - TICK
            start = max(start, last)
        if start <= until:
            yield start, until

    def _begun(self, until: datetime) -> Iterator[Units]:
        """Numbers of the units that such spans touch, none twice."""
        done = 0
        for start, end in self._running(until):
            first, last = max(self._number(start), done + 1), self._number(end)
            if first <= last:
                yield first, last
                done = last

    def _number(self, moment: datetime) -> int:
        """Which late unit a moment falls into, from 1; 0 is still the due day."""
        if self.per is Unit.DAYS:
            return (local_day(moment, self.days.time_zone) - self.due_on).days
        return -((self.due_at - moment) // HOUR)

    def _counted(self, first: int, last: int) -> int:
        if self.closed_days_count:
            return last - first + 1
        if self.per is Unit.DAYS:
            return sum(1 for _ in self.days.open_days(self.due_on + first * DAY, self.due_on + last * DAY))
        # An hour belongs to the day on which it begins.
        from_day, to_day = (local_day(self._begins(hour), self.days.time_zone) for hour in (first, last))
        hours = 0
        for day in self.days.open_days(from_day, to_day):
            begins, ends = (self._number(self._midnight(one) - TICK) + 1 for one in (day, day + DAY))
            hours += min(last + 1, ends) - max(first, begins)
        return hours

    def _begins(self, hour: int) -> datetime:
        return self.due_at + (hour - 1) * HOUR + TICK

    def _midnight(self, day: date) -> datetime:
        return end_of_day(day - DAY, self.days.time_zone) + SECOND


def fine(
    rules: Effective,
    days: BranchCalendar,
    due_at: datetime,
    due_on: date,
    until: datetime,
    price_cents: int | None,
    already_cents: int,
    fined_until_at: datetime | None,
    pauses: Iterable[Mapping[str, str]],
) -> Fine:
    """The fine of a loan until a moment, beside what was charged or forgiven until `fined_until_at`.

    `already_cents` is the sum of the loan's earlier charges, for the caps. `pauses` are spans in which fines stood
    still: `from` and `to` in ISO 8601. A price of None or 0 is not known.
    """
    rate: FineRate | None = rules[PolicyKind.FINE_RATE]
    # Moments of one local zone are compared by the clock on its wall, which is set back once a year.
    due_at, until = due_at.astimezone(UTC), until.astimezone(UTC)
    if rate is None or until <= due_at:
        return Fine(0)
    spans = [(_moment(one["from"]), _moment(one["to"])) for one in pauses]
    late = Lateness(rate.per, days, rules[PolicyKind.FINE_ON_CLOSED_DAYS], due_at, due_on, spans)
    units, free = late.until(until), _units_of_grace(rules[PolicyKind.GRACE], late, until)
    if units <= free:
        return Fine(0)
    before = late.until(fined_until_at.astimezone(UTC)) if fined_until_at is not None else 0
    steps = [_step("late", rate.per, units, 0)]
    if rules[PolicyKind.GRACE_COUNTS]:
        free = 0
    elif free:
        steps.append(_step("grace", rate.per, free, 0))
    if before:
        steps.append(_step("charged_before", rate.per, before, 0))
    cents = 0
    for count, each in _priced(rate, max(before, free) + 1, units):
        cents += count * each
        steps.append(_step("rate", rate.per, count, cents, each))
    for name, limit in _limits(rules, price_cents):
        if already_cents + cents > limit:
            cents = max(0, limit - already_cents)
            steps.append(_step(name, None, None, cents, limit))
    return Fine(cents, steps) if cents else Fine(0)


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


def _units_of_grace(grace: Length, late: Lateness, until: datetime) -> int:
    """How many units are within the grace: as many as there are, where it is not over yet."""
    if grace.unit is late.per:
        return grace.number
    if grace.unit is Unit.DAYS:
        return grace.number * HOURS_A_DAY
    ends = late.due_at + grace.number * HOUR
    return late.until(until) if until <= ends else late.before_day(local_day(ends, late.days.time_zone))


def _priced(rate: FineRate, first: int, last: int) -> Iterator[tuple[int, int]]:
    """How many units from the first to the last cost how much each."""
    for (begins, each), (next_begins, _) in pairwise([*rate.steps, (last + 1, 0)]):
        count = min(next_begins - 1, last) - max(begins, first) + 1
        if count > 0 and each:
            yield count, each


def _limits(rules: Effective, price_cents: int | None) -> Iterator[tuple[str, int]]:
    """What the overdue charges of one loan come to at most, and by which rule."""
    if rules[PolicyKind.FINE_CAP_CENTS] is not None:
        yield "fine_cap", rules[PolicyKind.FINE_CAP_CENTS]
    if rules[PolicyKind.CAP_AT_PRICE] and price_cents:
        yield "price_cap", price_cents
    yield "largest_amount", MOST_CENTS


def _step(name: str, per: Unit | None, count: int | None, amount: int, cents: int | None = None) -> dict[str, Any]:
    """One line of the computation: so many units at so many cents, or a limit; what the fine stands at after it."""
    return {"step": name, "per": per and per.value, "count": count, "cents": cents, "amount_cents": amount}
