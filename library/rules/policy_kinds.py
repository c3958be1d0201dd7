"""What each kind of policy may hold: its form, its meaning and unit, and what holds where no row speaks."""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from itertools import pairwise
from typing import Any

from library.models import PolicyKind

LONGEST, MOST, DEAREST_STEP = 36_500, 2**31 - 1, 1_000_000
MOST_STEPS = 20
_DAY = re.compile(r"(19|20|21)\d\d-\d\d-\d\d|2200-\d\d-\d\d", re.ASCII)


class Unit(StrEnum):
    """What a length is counted in."""

    DAYS = "days"
    HOURS = "hours"


class RenewFrom(StrEnum):
    """From when a renewal counts."""

    DUE_DATE = "due_date"
    TODAY = "today"


class RenewOverdue(StrEnum):
    """What an overdue loan keeps from being renewed."""

    ALLOW = "allow"
    REFUSE_LOAN = "refuse_loan"
    REFUSE_ALL = "refuse_all"


class RenewWhenHeld(StrEnum):
    """Whether a loan of a book that others wait for is renewed."""

    NEVER = "never"
    COPIES_SUFFICE = "copies_suffice"


class ClosedDay(StrEnum):
    """Where a due date moves that falls on a closed day."""

    NEXT_OPEN = "next_open"
    SAME_WEEKDAY = "same_weekday"
    KEEP = "keep"


class HoursEnd(StrEnum):
    """Where the end of a loan of hours moves while the branch is closed."""

    LAST_CLOSING = "last_closing"
    NEXT_OPENING = "next_opening"


class LostRefund(StrEnum):
    """What is given back when a lost copy is found."""

    REFUND = "refund"
    UNPAID_PART = "unpaid_part"
    KEEP = "keep"


@dataclass(frozen=True)
class Length:
    """So many days or hours."""

    number: int
    unit: Unit


@dataclass(frozen=True)
class FineRate:
    """Cents for each day or hour late; `steps` are (first one, cents of each from there on), ascending."""

    per: Unit
    steps: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Shape:
    """The form of a kind's values: `read` makes of stored JSON what rules use, or raises ValueError."""

    meaning: str
    expected: str
    read: Callable[[Any], Any]
    default: Any = None
    may_be_null: bool = False

    @property
    def shown_default(self) -> str:
        """What holds where no row speaks, as JSON text."""
        return json.dumps(self.default)


def _whole(value: Any, low: int, high: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise ValueError(value)
    return value


def _members(value: Any, *names: str) -> list[Any]:
    if not isinstance(value, dict) or set(value) != set(names):
        raise ValueError(value)
    return [value[name] for name in names]


def _read_flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError(value)
    return value


def _read_length(value: Any) -> Length:
    number, unit = _members(value, "number", "unit")
    return Length(_whole(number, 0, LONGEST), Unit(unit))


def _read_day(value: Any) -> date:
    if not isinstance(value, str) or not _DAY.fullmatch(value):
        raise ValueError(value)
    return date.fromisoformat(value)


_PER = {"day": Unit.DAYS, "hour": Unit.HOURS}


def _read_rate(value: Any) -> FineRate:
    if isinstance(value, dict) and "steps" in value:
        per, listed = _members(value, "per", "steps")
    else:
        per, cents = _members(value, "per", "cents")
        listed = [{"from": 1, "cents": cents}]
    if not isinstance(per, str) or per not in _PER:
        raise ValueError(per)
    if not isinstance(listed, list) or not 1 <= len(listed) <= MOST_STEPS:
        raise ValueError(listed)
    pairs = [_members(step, "from", "cents") for step in listed]
    steps = tuple((_whole(first, 1, LONGEST), _whole(cents, 0, DEAREST_STEP)) for first, cents in pairs)
    if any(first >= second for (first, _), (second, _) in pairwise(steps)):
        raise ValueError(listed)
    return FineRate(_PER[per], steps)


def _limit(meaning: str, default: int | None = None, most: int = MOST) -> Shape:
    expected = f"a whole number from 0 to {most}, or null for no limit"
    return Shape(meaning, expected, lambda value: _whole(value, 0, most), default, may_be_null=True)


def _number(meaning: str, default: int) -> Shape:
    return Shape(meaning, f"a whole number from 0 to {MOST}", lambda value: _whole(value, 0, MOST), default)


def _length(meaning: str, days: int | None) -> Shape:
    expected = f'a length such as {{"number": 14, "unit": "days"}}: at most {LONGEST}, days or hours'
    default = None if days is None else {"number": days, "unit": "days"}
    return Shape(meaning, expected + (", or null" if days is None else ""), _read_length, default, days is None)


def _flag(meaning: str, default: bool = False) -> Shape:
    return Shape(meaning, "true or false", _read_flag, default)


def _choice(meaning: str, default: StrEnum) -> Shape:
    words = type(default)

    def read(value: Any) -> StrEnum:
        if not isinstance(value, str):
            raise ValueError(value)
        return words(value)

    return Shape(meaning, f"one of: {', '.join(words)}", read, default.value)


_RATE = (
    'cents for each day or hour, {"per": "day", "cents": 20}, or steps that ascend,'
    ' {"per": "day", "steps": [{"from": 1, "cents": 10}, {"from": 8, "cents": 50}]}, or null for no fines'
)

SHAPES: dict[PolicyKind, Shape] = {
    PolicyKind.MAX_LOANS: _limit("Open loans a patron may have."),
    PolicyKind.MAX_LOANS_PER_ITEM_TYPE: _limit("Open loans a patron may have of the copy's item type."),
    PolicyKind.MAX_LOANS_PER_OWNER: _limit("Open loans a patron may have of copies of the copy's home branch."),
    PolicyKind.MAX_OVERDUE: _limit("Overdue loans with which a patron may still borrow."),
    PolicyKind.MAX_DEBT_CENTS: _limit("Cents a patron may owe and still borrow."),
    PolicyKind.MAX_HOLDS: _limit("Open holds a patron may have."),
    PolicyKind.MAX_HOLDS_PER_DAY: _limit("Holds a patron may place on one local day."),
    PolicyKind.MAX_HOLDS_PER_BOOK: _limit("Open holds a patron may have on one book.", 1),
    PolicyKind.LOAN_PERIOD: _length("How long a loan lasts; 0 is until the end of the day.", 28),
    PolicyKind.RENEWAL_PERIOD: _length("How long a renewal lasts; null is as long as a loan.", None),
    PolicyKind.SHELF_PERIOD: _length("How long a copy waits on the hold shelf; 0 is until the end of the day.", 7),
    PolicyKind.MAX_RENEWALS: _limit("Renewals of one loan."),
    PolicyKind.RENEW_FROM: _choice("From when a renewal counts.", RenewFrom.DUE_DATE),
    PolicyKind.RENEW_OVERDUE: _choice("What an overdue loan keeps from being renewed.", RenewOverdue.ALLOW),
    PolicyKind.RENEW_WHEN_DEBT: _flag("Whether a patron above the debt limit may renew."),
    PolicyKind.RENEW_WHEN_HELD: _choice(
        "Whether a loan is renewed while others wait: never, or while the free copies suffice for them.",
        RenewWhenHeld.NEVER,
    ),
    PolicyKind.RENEW_TOO_SOON_DAYS: _limit("Days before the due date from which on a loan is renewed.", most=LONGEST),
    PolicyKind.AUTO_RENEW: _flag("Whether loans renew themselves at night."),
    PolicyKind.FORGIVE_ON_RENEWAL: _flag("Whether a renewal lets the running fine go."),
    PolicyKind.DUE_ON_CLOSED_DAY: _choice("Where a due date on a closed day moves.", ClosedDay.NEXT_OPEN),
    PolicyKind.HOURS_LOAN_ENDS: _choice(
        "Where the end of a loan of hours moves while the branch is closed.", HoursEnd.LAST_CLOSING
    ),
    PolicyKind.HARD_DUE_ON: Shape(
        "The local day after which no loan is due.",
        "a day such as 2026-06-30 from 1900 to 2200, or null",
        _read_day,
        may_be_null=True,
    ),
    PolicyKind.HOLDS_ALLOWED: _flag("Whether holds may be placed.", True),
    PolicyKind.HOLDS_ON_SHELF: _flag("Whether a book may be held while a copy stands on the shelf.", True),
    PolicyKind.EXPIRE_READY_WHEN_NOT_NEEDED: _flag("Whether a ready hold ends after its last day of need."),
    PolicyKind.EXPIRE_ON_CLOSED_DAYS: _flag("Whether holds expire on days on which the branch is closed.", True),
    PolicyKind.FINE_RATE: Shape("The fine for each day or hour late, in cents.", _RATE, _read_rate, may_be_null=True),
    PolicyKind.GRACE: _length("How long after the due date nothing is charged.", 0),
    PolicyKind.GRACE_COUNTS: _flag("Whether days of grace are charged once they are past.", True),
    PolicyKind.FINE_CAP_CENTS: _limit("Cents that the fines of one loan never pass."),
    PolicyKind.CAP_AT_PRICE: _flag("Whether the fines of one loan never pass the price of the copy."),
    PolicyKind.FINE_ON_CLOSED_DAYS: _flag("Whether closed days are charged."),
    PolicyKind.LOST_AFTER: _length("How long after the due date a copy counts as lost; null is never.", None),
    PolicyKind.PROCESSING_FEE_CENTS: _number("Cents charged for the work with a lost copy.", 0),
    PolicyKind.PROCESSING_FEE_REFUNDABLE: _flag("Whether that fee is given back when the copy is found."),
    PolicyKind.LOST_REFUND: _choice("What is given back when a lost copy is found.", LostRefund.REFUND),
    PolicyKind.LOST_REFUND_DAYS: _limit("Days within which a found copy is given money for.", 90, LONGEST),
    PolicyKind.FINE_ON_LOST_RETURN: _flag("Whether a found copy is charged the fine of its late days."),
    PolicyKind.RUNNING_FINES_COUNT_AS_DEBT: _flag("Whether fines that still run count as debt."),
    PolicyKind.MINIMUM_AGE: _limit("Years a patron must be old to borrow.", most=150),
}


def value_of(kind: PolicyKind, stored: Any) -> Any:
    """What rules use, from the stored form: a number, Length, flag, day, word or FineRate, None for null.

    Raises ValueError with what the kind expects.
    """
    shape = SHAPES[kind]
    if stored is None and shape.may_be_null:
        return None
    try:
        return shape.read(stored)
    except ValueError:
        raise ValueError(shape.expected) from None
