"""The patron's page: all that the desk, or the patron, wants to see at a glance, in a fixed number of statements."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Select, select
from sqlalchemy.orm import Session, joinedload

from library.models import (
    OPEN_STATES,
    BlockScope,
    Book,
    Branch,
    Copy,
    Hold,
    Loan,
    PatronBlock,
    PolicyKind,
    User,
)
from library.rules import calendar, ledger, policies, running, standing
from library.rules.borrowing import LoanLimit
from library.rules.errors import Refusal
from library.rules.holdability import NOWHERE, HoldLimit
from library.rules.ledger import Account
from library.rules.policies import PolicyTable
from library.rules.standing import PatronUnconfirmed, Standing


@dataclass(frozen=True)
class Summary:
    """The patron's page.

    `against` are the reasons that would stop every loan and every hold: a bad standing, and limits that are reached.
    """

    user: User
    blocks: Sequence[PatronBlock]
    against: list[Refusal]
    loans: Sequence[Loan]
    holds: Sequence[Hold]
    account: Account


def summary_of(session: Session, user: User, now: datetime, self_registered_may_borrow: bool = False) -> Summary:
    """The page of a patron; a branch's policies are those of their home branch."""
    home = session.get(Branch, user.home_branch_id) if user.home_branch_id is not None else None
    table = policies.load(session)
    known = standing.load(session, [user], table, now)[user.id]
    loans = session.scalars(_open_loans(user)).all()
    holds = session.scalars(_open_holds(user)).all()
    fines = running.fines_of(session, loans, table, now)
    against = _against(known, home or NOWHERE, table, len(holds), now)
    if not user.confirmed and not self_registered_may_borrow:
        against.append(PatronUnconfirmed())
    today = calendar.local_day(now, (home or NOWHERE).time_zone)
    blocks = [block for block in known.blocks if block.until_on is None or today <= block.until_on]
    account = ledger.account_of(session, user.id, sum(fine.cents for fine in fines.values()))
    return Summary(user, blocks, against, loans, holds, account)


def _open_loans(user: User) -> Select[Any]:
    return (
        select(Loan)
        .where(Loan.patron_id == user.id, Loan.closed_at.is_(None))
        .options(
            joinedload(Loan.copy).joinedload(Copy.item_type),
            joinedload(Loan.copy).joinedload(Copy.book).load_only(Book.title),
            joinedload(Loan.patron),
            joinedload(Loan.branch),
        )
        .order_by(Loan.due_at, Loan.id)
    )


def _open_holds(user: User) -> Select[Any]:
    return (
        select(Hold)
        .where(Hold.patron_id == user.id, Hold.state.in_(OPEN_STATES))
        .options(joinedload(Hold.book).load_only(Book.title), joinedload(Hold.pickup_branch))
        .order_by(Hold.placed_at, Hold.id)
    )


def _against(known: Standing, branch: Branch, table: PolicyTable, holds: int, now: datetime) -> list[Refusal]:
    reasons: dict[tuple[str, str], Refusal] = {}
    rules = table.at(branch.id, known.patron.patron_category_id, None)
    for scope in BlockScope:
        for reason in standing.against(known, scope, branch, rules, now, pointer=None):
            reasons[reason.code, str(reason.params)] = reason
    for reason in _reached(known, table, branch):
        reasons[reason.code, str(reason.params)] = reason
    limit = rules[PolicyKind.MAX_LOANS]
    if limit is not None and known.open_loans >= limit:
        reasons["loans", ""] = LoanLimit(scope=PolicyKind.MAX_LOANS.value, count=known.open_loans, limit=limit)
    limit = rules[PolicyKind.MAX_HOLDS]
    if limit is not None and holds >= limit:
        reasons["holds", ""] = HoldLimit(scope="all", count=holds, limit=limit)
    for reason in reasons.values():
        reason.pointer = None
    return list(reasons.values())


def _reached(known: Standing, table: PolicyTable, branch: Branch) -> Iterator[Refusal]:
    """The limits of single item types and owners that are reached; `of` is which."""
    category_id = known.patron.patron_category_id
    for item_type_id, count in known.loans_by_type.items():
        kind = PolicyKind.MAX_LOANS_PER_ITEM_TYPE
        limit = table.at(branch.id, category_id, item_type_id)[kind]
        if limit is not None and count >= limit:
            yield LoanLimit(scope=kind.value, count=count, limit=limit, of=item_type_id)
    for owner_id, count in known.loans_by_owner.items():
        kind = PolicyKind.MAX_LOANS_PER_OWNER
        limit = table.at(branch.id, category_id, None)[kind]
        if limit is not None and count >= limit:
            yield LoanLimit(scope=kind.value, count=count, limit=limit, of=owner_id)
