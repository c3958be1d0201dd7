"""Local days in statements: which day it is in the time zone that a column names."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import ColumnElement, Date, case, literal, select
from sqlalchemy.orm import Session

from library.models import Branch, Moment
from library.rules.calendar import local_day

# No local day is longer, whatever the clocks do; nowhere is the date further behind.
LONGEST_DAY, FURTHEST_BEHIND = timedelta(hours=25), timedelta(hours=12)


@dataclass(frozen=True)
class LocalDays:
    """Today at every branch, as seen at one moment.

    For the zone of a branch that has moved since it is told a little late, never too early.
    """

    now: datetime
    time_zones: tuple[str, ...]

    @classmethod
    def load(cls, session: Session, now: datetime) -> "LocalDays":
        """Read in which time zones there are branches."""
        zones = session.scalars(select(Branch.time_zone).distinct().order_by(Branch.time_zone))
        return cls(now, tuple(zones))

    def today(self, time_zone: Any, later: int = 0) -> ColumnElement[date]:
        """The local day, or one so many days later, where the column `time_zone` says."""
        days = {zone: self._day(zone, later) for zone in self.time_zones}
        return self._by_zone(time_zone, days, (self.now - FURTHEST_BEHIND).date() + timedelta(days=later), Date())

    def start(self, time_zone: Any, earlier: int = 0) -> ColumnElement[datetime]:
        """When the local day began, or the one so many days earlier, where the column `time_zone` says."""
        starts = {
            zone: datetime.combine(self._day(zone, -earlier), time(), ZoneInfo(zone)).astimezone(UTC)
            for zone in self.time_zones
        }
        return self._by_zone(time_zone, starts, self.now - timedelta(days=earlier) - LONGEST_DAY, Moment())

    def _day(self, time_zone: str, later: int) -> date:
        return local_day(self.now, time_zone) + timedelta(days=later)

    @staticmethod
    def _by_zone(time_zone: Any, values: dict[str, Any], otherwise: Any, kind: Any) -> ColumnElement[Any]:
        by_zone = {zone: literal(value, kind) for zone, value in values.items()}
        return case(by_zone, value=time_zone, else_=literal(otherwise, kind)) if by_zone else literal(otherwise, kind)
