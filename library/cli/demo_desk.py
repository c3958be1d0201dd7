"""What is going on at the demo library's desk: its policies, a queue, ready and travelling holds, fines, losses."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from library.models import (
    BlockScope,
    Branch,
    CalendarException,
    Copy,
    CopyPlace,
    ItemType,
    Loan,
    PatronCategory,
    PaymentMethod,
    Policy,
    PolicyKind,
    User,
)
from library.rules import (
    accounts,
    blocks,
    calendar,
    changes,
    holds,
    ledger,
    lending,
    losses,
    marking,
    policies,
    returns,
)
from library.rules.desk import Desk
from library.rules.marking import Mark

DAY = timedelta(days=1)
# What holds for everybody, in every branch.
EVERYWHERE: Mapping[PolicyKind, Any] = {
    PolicyKind.MAX_LOANS: 30,
    PolicyKind.MAX_HOLDS: 10,
    PolicyKind.MAX_RENEWALS: 3,
    PolicyKind.MAX_DEBT_CENTS: 2500,
    PolicyKind.MAX_OVERDUE: 5,
    PolicyKind.FINE_RATE: {"cents": 20, "per": "day"},
    PolicyKind.FINE_CAP_CENTS: 1000,
    PolicyKind.CAP_AT_PRICE: True,
    PolicyKind.PROCESSING_FEE_CENTS: 300,
}


def lay_down_policies(
    session: Session, categories: Mapping[str, PatronCategory], types: Mapping[str, ItemType], year: int
) -> None:
    """The rules of lending: children pay no fines, films go out for a week; and Christmas is a holiday."""
    rows: list[dict[str, Any]] = [{"kind": kind, "value": value} for kind, value in EVERYWHERE.items()]
    child, film = {"patron_category": categories["Child"]}, {"item_type": types["Film and audio"]}
    rows += [
        {"kind": PolicyKind.FINE_RATE, "value": None} | child,
        {"kind": PolicyKind.MAX_LOANS, "value": 12} | child,
        {"kind": PolicyKind.LOAN_PERIOD, "value": {"number": 7, "unit": "days"}} | film,
        {"kind": PolicyKind.MAX_LOANS_PER_ITEM_TYPE, "value": 5} | film,
    ]
    for values in rows:
        policies.save(session, Policy(), values)
    first = date(year, 12, 24)
    holiday = CalendarException(from_on=first, to_on=first + 2 * DAY, reason="Christmas")
    changes.save(session, holiday, {})


class Scenes:
    """One scene after the other, each with a copy of its own that nobody has had before."""

    def __init__(
        self, session: Session, librarian: User, branches: Sequence[Branch], patrons: Sequence[User], now: datetime
    ) -> None:
        self.session, self.librarian, self.now = session, librarian, now
        self.main, self.harbour, *_ = branches
        self.demo, *self.others = [user for user in patrons if user.patron_category.name == "Adult"]  # type: ignore[union-attr]
        self.copies = {branch.id: self._untouched(branch) for branch in (self.main, self.harbour)}

    def _untouched(self, branch: Branch) -> Iterator[Copy]:
        lent = select(Loan.copy_id)
        at_home = (Copy.home_branch_id == branch.id, Copy.place == CopyPlace.AVAILABLE, Copy.id.not_in(lent))
        # The harbour has second copies only.
        several = select(Copy.book_id).group_by(Copy.book_id).having(func.count() > 1)
        alone = Copy.book_id.not_in(several) if branch is self.main else Copy.book_id.in_(several)
        for_loan = Copy.item_type.has(ItemType.not_for_loan.is_(False))
        return iter(self.session.scalars(select(Copy).where(*at_home, alone, for_loan).order_by(Copy.id.desc())).all())

    def desk(self, branch: Branch | None = None) -> Desk:
        """The librarian at a branch."""
        return Desk(self.librarian, branch or self.main)

    def ago(self, days: float) -> datetime:
        """A moment so many days ago."""
        return self.now - days * DAY

    def lent(self, patron: User, days_ago: float, branch: Branch | None = None) -> Loan:
        """A copy of its own that somebody borrowed so many days ago."""
        copy = next(self.copies[(branch or self.main).id])
        moment = self.ago(days_ago)
        return lending.check_out(self.session, self.desk(branch), copy.barcode, patron.card_barcode, moment)

    def back(self, loan: Loan, days_ago: float, branch: Branch | None = None) -> None:
        """It comes back so many days ago."""
        returns.check_in(self.session, self.desk(branch), loan.copy.barcode, self.ago(days_ago))

    def wanted(self, copy: Copy, patron: User, days_ago: float, branch: Branch | None = None) -> Any:
        """Somebody waits for the book since so many days."""
        moment = self.ago(days_ago)
        return holds.place_hold(
            self.session, self.desk(), patron, copy.book, moment, pickup_branch_id=(branch or self.main).id
        )

    def play(self) -> None:
        """All of it, for the demo patron and for others."""
        self._queue()
        self._ready_and_travelling()
        self._money()
        self._losses()
        self._marks()

    def _queue(self) -> None:
        loan = self.lent(self.others[0], 11)
        waiting = [
            self.wanted(loan.copy, user, 9 - at)
            for at, user in enumerate([self.others[1], self.demo, *self.others[2:5]])
        ]
        holds.change_hold(self.session, waiting[3], {"suspended": True}, self.ago(1))
        # It stands on the shelf: on the pick list.
        self.wanted(next(self.copies[self.main.id]), self.others[6], 0.1)

    def _ready_and_travelling(self) -> None:
        ready = self.lent(self.others[5], 20)
        self.wanted(ready.copy, self.demo, 8)
        self.back(ready, 1)
        travelling = self.lent(self.others[7], 15, self.harbour)
        self.wanted(travelling.copy, self.others[8], 6)
        self.back(travelling, 0.2, self.harbour)

    def _money(self) -> None:
        late = self.lent(self.demo, 45)
        self.back(late, 6)
        settled = self.lent(self.others[9], 60)
        self.back(settled, 20)
        owed = ledger.balance(self.session, self.others[9].id)
        accounts.pay(self.session, self.desk(), self.others[9], owed, PaymentMethod.CASH, self.ago(20))

    def _losses(self) -> None:
        lost = self.lent(self.others[10], 90)
        losses.declare_lost(self.session, self.desk(), lost, self.ago(9))
        claimed = self.lent(self.others[11], 40)
        losses.claim_returned(self.session, claimed, self.ago(2), "Put into the book drop on Sunday.")
        until = calendar.local_day(self.now, self.main.time_zone) + 30 * DAY
        values = {"scope": BlockScope.LOANS, "until_on": until, "reason": "Replacement is not paid yet."}
        blocks.create(self.session, self.librarian, self.others[10], values, self.ago(9))

    def _marks(self) -> None:
        for mark_as, why in ((Mark.DAMAGED, "Coffee on page 12."), (Mark.MISSING, "Not on its shelf since spring.")):
            copy = next(self.copies[self.main.id])
            marking.mark(self.session, self.desk(), copy, mark_as, why, self.ago(3))
