"""Half a year at the desk of the demo library: loans that came back, that are out, that are late."""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from zoneinfo import ZoneInfo

from sqlalchemy.orm import Session

from library.models import Branch, Copy, User
from library.rules import calendar, lending, returns
from library.rules.desk import Desk


@dataclass(frozen=True)
class Kind:
    """A number of loans of one kind: when they began, and how long they lasted, in days; `kept` None is still out."""

    count: int
    by_demo_patron: int
    began: tuple[int, int]
    kept: tuple[int, int] | None = None
    elsewhere: bool = False


KINDS = (
    Kind(57, 3, began=(50, 180), kept=(4, 38)),
    # Given back yesterday at another branch: on the way home.
    Kind(3, 0, began=(12, 20), kept=(9, 10), elsewhere=True),
    Kind(30, 2, began=(1, 22)),
    Kind(8, 1, began=(32, 70)),
)


@dataclass(frozen=True)
class Visit:
    """One copy in one patron's hands, as the desk will see it."""

    copy: Copy
    patron: User
    out_at: datetime
    back_at: datetime | None
    back_to: Branch


def lend(
    session: Session,
    chance: random.Random,
    librarian: User,
    copies: Sequence[Copy],
    patrons: Sequence[User],
    branches: Sequence[Branch],
    now: datetime,
) -> None:
    """Let the desk lend and take back, in the order of time; the first of the patrons is the demo account's."""
    visits = _visits(chance, copies, patrons, branches, now)
    for visit in sorted(visits, key=lambda visit: visit.out_at):
        desk = Desk(librarian, visit.copy.home_branch)
        lending.check_out(session, desk, visit.copy.barcode, visit.patron.card_barcode, visit.out_at)
        if visit.back_at is not None:
            returns.check_in(session, Desk(librarian, visit.back_to), visit.copy.barcode, visit.back_at)


def _visits(
    chance: random.Random, copies: Sequence[Copy], patrons: Sequence[User], branches: Sequence[Branch], now: datetime
) -> Iterator[Visit]:
    picked = iter(chance.sample(copies, sum(kind.count for kind in KINDS)))
    for kind in KINDS:
        for index in range(kind.count):
            copy = next(picked)
            patron = patrons[0] if index < kind.by_demo_patron else chance.choice(patrons[1:])
            home = copy.home_branch
            others = [branch for branch in branches if branch is not home]
            back_to = chance.choice(others) if kind.elsewhere else home
            began = chance.randint(*kind.began)
            back_at = None
            if kind.kept is not None:
                back_at = _opening_moment(chance, back_to, now, max(1, began - chance.randint(*kind.kept)))
            yield Visit(copy, patron, _opening_moment(chance, home, now, began), back_at, back_to)


def _opening_moment(chance: random.Random, branch: Branch, now: datetime, days_ago: int) -> datetime:
    """A moment so many days ago, or a little earlier, at which the branch was open."""
    hours = {row["weekday"]: row for row in branch.hours}
    day = calendar.local_day(now, branch.time_zone) - timedelta(days=days_ago)
    while day.isoweekday() not in hours:
        day -= timedelta(days=1)
    row = hours[day.isoweekday()]
    zone = ZoneInfo(branch.time_zone)
    opens, closes = (datetime.combine(day, time.fromisoformat(row[name]), zone) for name in ("opens", "closes"))
    return opens + timedelta(seconds=chance.randrange(int((closes - opens).total_seconds())))
