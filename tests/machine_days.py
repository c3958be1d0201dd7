"""Days, due dates and fines as the design tells them, day by day: what the state machine holds the rules against.

Nothing of the project is imported here, and nothing is clever: every day is looked at by itself.
"""

from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

DAY, HOUR, SECOND, TICK = timedelta(days=1), timedelta(hours=1), timedelta(seconds=1), timedelta(microseconds=1)
SOON = 400


@dataclass
class Place:
    """A branch: its zone, its hours by weekday (1 is Monday; none at all: always open), days out of the order."""

    id: int
    zone: str
    hours: dict[int, tuple[str, str]]
    pickup: bool = True
    closed: set[date] = field(default_factory=set)
    opened: set[date] = field(default_factory=set)

    def today(self, moment: datetime) -> date:
        return moment.astimezone(ZoneInfo(self.zone)).date()

    def ends(self, day: date) -> datetime:
        return self._at(day, time(23, 59, 59))

    def starts(self, day: date) -> datetime:
        return self._at(day, time())

    def is_open(self, day: date) -> bool:
        if day in self.opened:
            return True
        return day not in self.closed and (not self.hours or day.isoweekday() in self.hours)

    def next_open(self, day: date, weekday: int | None = None) -> date | None:
        days = (day + DAY * more for more in range(SOON))
        return next((one for one in days if self.is_open(one) and weekday in (None, one.isoweekday())), None)

    def spans(self, day: date) -> tuple[datetime, datetime] | None:
        """When it opens and closes on a day."""
        if not self.is_open(day):
            return None
        if day.isoweekday() in self.hours:
            opens, closes = self.hours[day.isoweekday()]
            return self._at(day, time.fromisoformat(opens)), self._at(day, time.fromisoformat(closes))
        return self._at(day, time()), self.ends(day) + SECOND

    def is_open_at(self, moment: datetime) -> bool:
        span = self.spans(self.today(moment))
        return span is not None and span[0] <= moment <= span[1]

    def _at(self, day: date, clock: time) -> datetime:
        return datetime.combine(day, clock, ZoneInfo(self.zone)).astimezone(UTC)


def due(
    start: datetime, now: datetime, length: dict[str, Any], rules: dict[str, Any], place: Place, card: date | None
) -> datetime:
    """When something is due that runs from `start`: period, closed days, hard due date, end of the card.

    What lies before today binds no longer: neither a hard due date nor a card whose expiry was overridden.
    """
    today, number = place.today(now), length["number"]
    if length["unit"] == "hours" and number:
        at = _of_hours(start, now, max(start + number * HOUR, now + SECOND), rules["hours_loan_ends"], place)
    else:
        days = number if length["unit"] == "days" else 0
        day = max(place.today(start) + DAY * days, today)
        at = place.ends(_off_closed(day, days, rules["due_on_closed_day"], place))
    hard = rules["hard_due_on"] and date.fromisoformat(rules["hard_due_on"])
    if hard and today <= hard < place.today(at):
        at = place.ends(hard)
    if card and today <= card < place.today(at):
        while card > today and not place.is_open(card):
            card -= DAY
        at = place.ends(card)
    return at


def _off_closed(day: date, days: int, policy: str, place: Place) -> date:
    if policy == "keep" or place.is_open(day):
        return day
    same = place.next_open(day, day.isoweekday()) if policy == "same_weekday" and days and days % 7 == 0 else None
    return same or place.next_open(day) or day


def _of_hours(start: datetime, now: datetime, at: datetime, policy: str, place: Place) -> datetime:
    if place.is_open_at(at):
        return at
    if policy == "last_closing":
        for back in range(SOON):
            span = place.spans(place.today(at) - DAY * back)
            if span and span[1] <= at:
                if span[1] > max(start, now):
                    return span[1]
                break
    for more in range(SOON):
        span = place.spans(place.today(at) + DAY * more)
        if span and span[0] >= at:
            return span[0]
    return at


def fine(
    rules: dict[str, Any],
    place: Place,
    due_at: datetime,
    until: datetime,
    price: int | None,
    charged: int,
    charged_until: datetime | None,
    pauses: list[tuple[datetime, datetime]],
) -> int:
    """What a loan has cost by a moment, beside what was charged before."""
    rate = rules["fine_rate"]
    if rate is None or until <= due_at:
        return 0
    count = _hours_late if rate["per"] == "hour" else _days_late
    late = count(rules, place, due_at, until, pauses)
    free = rules["grace"]["number"] * (24 if rate["per"] == "hour" else 1)
    if late <= free:
        return 0
    done = count(rules, place, due_at, charged_until, pauses) if charged_until else 0
    first = max(done, 0 if rules["grace_counts"] else free) + 1
    cents = sum(_price(rate, number) for number in range(first, late + 1))
    caps = [rules["fine_cap_cents"], price if rules["cap_at_price"] and price else None]
    left = min((cap - charged for cap in caps if cap is not None), default=cents)
    return max(0, min(cents, left))


def _price(rate: dict[str, Any], number: int) -> int:
    steps = rate.get("steps", [{"from": 1, "cents": rate.get("cents")}])
    return ([0] + [step["cents"] for step in steps if step["from"] <= number])[-1]


def _days_late(
    rules: dict[str, Any], place: Place, due_at: datetime, until: datetime, pauses: list[tuple[datetime, datetime]]
) -> int:
    day, late = place.today(due_at) + DAY, 0
    while day <= place.today(until):
        begins, ends = place.ends(day - DAY) + SECOND, min(place.ends(day) + SECOND - TICK, until)
        counts = rules["fine_on_closed_days"] or place.is_open(day)
        late += counts and not any(first <= begins and ends < last for first, last in pauses)
        day += DAY
    return late


def _hours_late(
    rules: dict[str, Any], place: Place, due_at: datetime, until: datetime, pauses: list[tuple[datetime, datetime]]
) -> int:
    begins, late = due_at + TICK, 0
    while begins <= until:
        ends = min(begins + HOUR - TICK, until)
        counts = rules["fine_on_closed_days"] or place.is_open(place.today(begins))
        late += counts and not any(first <= begins and ends < last for first, last in pauses)
        begins += HOUR
    return late
