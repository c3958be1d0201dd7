"""Erasure: a person is forgotten; what stays of them is a number, to which the ledger and the audit refer."""

import secrets
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, delete, func, select, update
from sqlalchemy.orm import Session

from library.models import AccountEntry, Base, HistoryMode, Hold, Loan, Order, Role, User
from library.rules import access, ledger, locks, privacy, traces
from library.rules.errors import Refusal, refuse_if_any, refuses
from library.rules.users import LastAdmin

# What is set anew in the row that stays; every other column that may be null is null afterwards.
_KEPT = frozenset({"id", "version", "created_at", "erased_at", "token_version"})


class OpenLoans(Refusal):
    """Copies are still with this person."""

    parameters = ("count",)


class OpenHolds(Refusal):
    """Holds of this person are still open."""

    parameters = ("count",)


class OpenAccount(Refusal):
    """Money is still owed, by this person or to them."""

    parameters = ("owed_cents", "credit_cents")


class OpenOrders(Refusal):
    """Orders of this person are still open."""

    parameters = ("count",)


class StillGuarantor(Refusal):
    """This person is the guarantor of others."""

    parameters = ("count",)


@dataclass(frozen=True)
class Erasure:
    """What became of a person: so many loans and holds lead to nobody now, so many lines of the ledger to a number."""

    user_id: int
    erased_at: datetime
    loans: int
    holds: int
    account_entries: int


def require_privacy(actor: User, user: User) -> None:
    """Raise Forbidden where the data of this person are not the actor's business as a whole."""
    if actor.id != user.id:
        access.require(actor, "privacy.all")


@refuses(OpenLoans, OpenHolds, OpenAccount, OpenOrders, StillGuarantor, LastAdmin)
def erase(session: Session, actor: User, user: User, now: datetime) -> Erasure:
    """Forget a person for ever; every reason against it is raised at once.

    Whatever pointed at them goes by its own rule of deletion, as if the account were deleted; their loans and holds
    are cut like those of the night, whatever history they had chosen. The account stays as a pseudonym without a name,
    for the lines of the ledger, whose notes go. `now` is the real moment.
    """
    require_privacy(actor, user)
    # All admins before the one: two who erase one another stand in line.
    admins = locks.lock_admins(session) if user.role is Role.ADMIN else ()
    locks.lock_whole_patron(session, user.id)
    refuse_if_any(_in_the_way(session, user, [admin for admin in admins if admin.id != user.id]))
    loans = locks.lock_found(select(Loan).where(Loan.patron_id == user.id).order_by(Loan.id), Loan)
    holds = locks.lock_found(select(Hold).where(Hold.patron_id == user.id).order_by(Hold.id), Hold)
    ended, waited = session.scalars(loans).all(), session.scalars(holds).all()
    privacy.cut_all(session, user.id, ended)
    privacy.cut_holds(session, user.id, waited)
    traces.forget(session, user)
    _let_go(session, user.id)
    _make_pseudonym(user, now)
    # The trigger of the ledger lets notes go of who is erased.
    session.flush()
    mine = AccountEntry.patron_id == user.id
    session.connection().execute(update(AccountEntry).where(mine, AccountEntry.note.is_not(None)).values(note=None))
    lines = session.scalar(select(func.count()).where(mine)) or 0
    return Erasure(user.id, now, len(ended), len(waited), lines)


def _in_the_way(session: Session, user: User, other_admins: list[User]) -> list[Refusal]:
    reasons: list[Refusal] = []
    counted: tuple[tuple[Any, tuple[ColumnElement[bool], ...]], ...] = (
        (OpenLoans, (Loan.patron_id == user.id, Loan.closed_at.is_(None))),
        (OpenHolds, (Hold.patron_id == user.id, Hold.ended_at.is_(None))),
        (OpenOrders, (Order.user_id == user.id,)),
        (StillGuarantor, (User.guarantor_id == user.id,)),
    )
    for refusal, conditions in counted:
        count = session.scalar(select(func.count()).where(*conditions))
        if count:
            reasons.append(refusal(count=count))
    open_cents = [cents for _, cents in ledger.unsettled(session, user.id)]
    if open_cents or ledger.balance(session, user.id):
        owed, credit = (sum(max(0, sign * cents) for cents in open_cents) for sign in (1, -1))
        reasons.append(OpenAccount(owed_cents=owed, credit_cents=credit))
    if user.role is Role.ADMIN and user.active and not other_admins:
        reasons.append(LastAdmin())
    return reasons


def _let_go(session: Session, user_id: int) -> None:
    """What the database would do to rows that point at an account, were it deleted, is done now."""
    users = Base.metadata.tables["users"]
    for table in reversed(Base.metadata.sorted_tables):
        for key in table.foreign_keys:
            pointing = key.parent == user_id
            if key.column.table is not users:
                continue
            if key.ondelete == "CASCADE":
                session.connection().execute(delete(table).where(pointing))
            elif key.ondelete == "SET NULL":
                session.connection().execute(update(table).where(pointing).values({key.parent: None}))


def _make_pseudonym(user: User, now: datetime) -> None:
    for column in User.__table__.columns:
        if column.nullable and column.name not in _KEPT:
            setattr(user, column.name, None)
    user.username = user.username_key = user.card_barcode = f"erased-{secrets.token_hex(12)}"
    user.words, user.role, user.history = "", Role.PATRON, HistoryMode.CUT
    user.active, user.confirmed = False, False
    user.token_version += 1
    user.created_at, user.erased_at = privacy.day_of(user.created_at), now
