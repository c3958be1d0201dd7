"""What the peers on SQLAlchemy's ORM share, written as its documentation shows it: finding the rows, and the desk."""

from datetime import UTC, date, datetime
from typing import Any
from uuid import uuid4

import jwt
from sqlalchemy import Select, and_, case, cast, column, exists, func, literal_column, or_, select, table
from sqlalchemy.dialects.postgresql import TSQUERY
from sqlalchemy.orm import Session, contains_eager, defer, joinedload, selectinload

from bench import desk
from library.models import (
    AccountEntry,
    AuditEvent,
    AuditOutcome,
    Author,
    Book,
    BookSubject,
    Branch,
    CalendarException,
    Contribution,
    Copy,
    CopyCondition,
    CopyPlace,
    Hold,
    Loan,
    LoanClosing,
    PatronBlock,
    Policy,
    Subject,
    User,
    UserSession,
)
from library.rules import words

SEARCH = table("book_search", column("rowid"))
PARTS = (
    selectinload(Book.contributions).joinedload(Contribution.author),
    selectinload(Book.subject_links).joinedload(BookSubject.subject),
    selectinload(Book.identifiers),
    defer(Book.words),
)


def books(session: Session, page: int, size: int, q: str | None) -> tuple[list[Book], int]:
    """A page of the books, or of those that hold all words of `q`, and how many there are."""
    statement = select(Book).options(*PARTS)
    if q:
        statement = _matching(session, statement, words.query_words(q))
    counted = statement.with_only_columns(func.count(), maintain_column_froms=True).order_by(None)
    total = session.scalar(counted) or 0
    rows = session.scalars(statement.order_by(Book.id).offset((page - 1) * size).limit(size))
    return list(rows), total


def _matching(session: Session, statement: Select[Any], wanted: list[str]) -> Select[Any]:
    """By the full-text index, nearest first: the title itself, its beginning, its words, contributors, subjects."""
    if session.get_bind().dialect.name == "sqlite":
        phrase = " ".join(f'"{word}"' for word in wanted) + "*"
        found = select(SEARCH.c.rowid).where(literal_column("book_search").op("MATCH")(phrase))
        statement = statement.where(Book.id.in_(found))
    else:
        query = " & ".join(f"'{word}'" for word in wanted) + ":*"
        vector = func.words_vector(Book.words)
        statement = statement.where(vector.op("@@")(cast(query, TSQUERY)))

    def holds(key: Any) -> Any:
        return and_(*((" " + key).contains(f" {word}") for word in wanted))

    text = " ".join(wanted)
    by = exists().where(Contribution.book_id == Book.id, Contribution.author_id == Author.id, holds(Author.name_key))
    about = exists().where(
        BookSubject.book_id == Book.id, BookSubject.subject_id == Subject.id, holds(Subject.name_key)
    )
    ranks = ((Book.title_key == text, 0), (Book.title_key.startswith(text), 1), (holds(Book.title_key), 2), (by, 3))
    whole = (" " + Book.words + " ").contains(f" {wanted[-1]} ")
    return statement.order_by(case(*ranks, (about, 4), else_=5), case((whole, 0), else_=1))


def book(session: Session, book_id: int) -> Book | None:
    """One book with its parts."""
    return session.get(Book, book_id, options=PARTS)


def claims_of(token: str, secret: str) -> dict[str, Any] | None:
    """What a good token says."""
    try:
        return jwt.decode(token, secret, algorithms=["HS256"], audience="library", issuer="library")
    except jwt.PyJWTError:
        return None


def user_of(session: Session, claims: dict[str, Any]) -> User | None:
    """The account that a token speaks for, unless account, token or session were ended since."""
    live = (User.id == int(claims["sub"]), User.active, User.token_version == claims["ver"])
    signed_in = (UserSession.id == claims["sid"], UserSession.ended_at.is_(None))
    return session.scalar(select(User).join(User.sessions).where(*live, *signed_in))


def check_out(session: Session, actor: User, copy_barcode: str, patron_barcode: str) -> Loan:
    """Lend a copy: everything under lock, every reason against it, one commit."""
    real_now = datetime.now(UTC)
    patron = session.scalar(select(User).where(User.card_barcode == patron_barcode).with_for_update(key_share=True))
    copy = _locked_copy(session, copy_barcode)
    branch = session.get_one(Branch, actor.home_branch_id)
    moment = _after_last_scan(copy, real_now)
    now = desk.shown(moment)
    facts = _facts(session, patron, copy, branch, moment)
    desk.refuse_if_any(facts, now)
    assert copy is not None
    assert patron is not None
    due_at, due_on, steps = desk.due(facts, now)
    loan = Loan(
        copy=copy,
        patron=patron,
        branch=branch,
        time_zone=branch.time_zone,
        checked_out_at=moment,
        checked_out_by_id=actor.id,
        due_at=datetime.fromisoformat(due_at),
        due_on=date.fromisoformat(due_on),
        due_steps=steps,
    )
    copy.place, copy.transit_to_branch_id = CopyPlace.ON_LOAN, None
    _see(copy, branch, moment)
    session.add_all([loan, _audit(actor, "check_out", 201, "loans", ["copy_barcode", "patron_barcode"], real_now)])
    session.commit()
    loan.renewable, loan.running_fine_cents = desk.RENEWABLE, 0
    return loan


def check_in(session: Session, actor: User, copy_barcode: str) -> dict[str, Any]:
    """Take a copy back: what the desk answers."""
    real_now = datetime.now(UTC)
    copy = _locked_copy(session, copy_barcode)
    branch = session.get_one(Branch, actor.home_branch_id)
    moment = _after_last_scan(copy, real_now)
    loan = None
    if copy is not None:
        still_open = select(Loan).where(Loan.copy_id == copy.id, Loan.closed_at.is_(None))
        loan = session.scalar(still_open.with_for_update(key_share=True))
    losses = select(func.count(Loan.id)).where(Loan.copy_id == (copy and copy.id), Loan.lost_at.is_not(None))
    facts = {
        "copy": copy and _plain(copy, "condition place check_note home_branch_id"),
        "loan": loan and {"due_at": desk.shown(loan.due_at), "lent_condition": loan.lent_condition},
        "waiting": copy and _waiting(session, copy.book_id),
        "lost": session.scalar(losses),
    }
    desk.refuse_unusual_return(facts, branch.id, desk.shown(moment))
    assert copy is not None
    assert loan is not None
    loan.closed_at, loan.closed_as, loan.closed_by_id = moment, LoanClosing.RETURNED, actor.id
    loan.returned_branch_id, copy.place = branch.id, CopyPlace.AVAILABLE
    _see(copy, branch, moment)
    session.add(_audit(actor, "check_in", 200, None, ["copy_barcode"], real_now))
    session.commit()
    loan.renewable, loan.running_fine_cents = desk.LOAN_CLOSED, 0
    answer = {"copy": copy, "loan": loan, "hold": None, "route": desk.route_home(branch.id)}
    return answer | {"charges": [], "warnings": []}


def _locked_copy(session: Session, barcode: str) -> Copy | None:
    """The copy with that barcode, locked behind its book."""
    if session.get_bind().dialect.name != "sqlite":
        book_of = select(Book.id).join(Book.copies).where(Copy.barcode == barcode)
        session.execute(book_of.with_for_update(key_share=True, of=Book))
    found = select(Copy).where(Copy.barcode == barcode).options(joinedload(Copy.item_type))
    return session.scalar(found.with_for_update(key_share=True, of=Copy))


def _after_last_scan(copy: Copy | None, now: datetime) -> datetime:
    return max(now, copy.last_seen_at) if copy and copy.last_seen_at else now


def _see(copy: Copy, branch: Branch, now: datetime) -> None:
    copy.current_branch_id = copy.last_seen_branch_id = branch.id
    copy.last_seen_at = now


def _audit(
    actor: User, action: str, status: int, kind: str | None, members: list[str], real_now: datetime
) -> AuditEvent:
    return AuditEvent(
        at=real_now,
        action=action,
        outcome=AuditOutcome.DONE,
        status=status,
        codes=[],
        actor_id=actor.id,
        actor_role=actor.role.value,
        object_kind=kind,
        members=members,
        request_id=uuid4().hex,
    )


def _facts(session: Session, patron: User | None, copy: Copy | None, branch: Branch, now: datetime) -> dict[str, Any]:
    """Everything that lending depends on (desk.py), a statement for each table."""
    facts: dict[str, Any] = {"patron": None, "copy": None, "branch": _plain(branch, "time_zone hours"), "waiting": 0}
    facts |= {"blocks": [], "owed": 0, "loans": []}
    if copy is not None:
        stays = copy.not_for_loan or (copy.item_type is not None and copy.item_type.not_for_loan)
        facts["copy"] = _plain(copy, "id book_id place condition item_type_id check_note") | {"stays": stays}
        facts["waiting"] = _waiting(session, copy.book_id)
    if patron is not None:
        facts["patron"] = _plain(patron, "id active confirmed expires_on")
        blocks = session.scalars(select(PatronBlock).where(PatronBlock.user_id == patron.id))
        facts["blocks"] = [_plain(block, "scope until_on") for block in blocks]
        owed = select(func.sum(AccountEntry.amount_cents)).where(AccountEntry.patron_id == patron.id)
        facts["owed"] = session.scalar(owed) or 0
        still_open = select(Loan).join(Loan.copy).where(Loan.patron_id == patron.id, Loan.closed_at.is_(None))
        counted = still_open.where(Copy.condition != CopyCondition.CLAIMED_RETURNED)
        loans = session.scalars(counted.options(contains_eager(Loan.copy)))
        facts["loans"] = [_plain(loan.copy, "book_id item_type_id") | _lent(loan, now) for loan in loans]
    named = {
        Policy.branch_id: branch.id,
        Policy.patron_category_id: patron and patron.patron_category_id,
        Policy.item_type_id: copy and copy.item_type_id,
    }
    fits = (or_(name.is_(None), name == key) for name, key in named.items())
    # The narrower ones later.
    policies = session.scalars(select(Policy).where(*fits).order_by(*(name.is_not(None) for name in named)))
    facts["policies"] = [(policy.kind.value, policy.value) for policy in policies]
    here = or_(CalendarException.branch_id.is_(None), CalendarException.branch_id == branch.id)
    today = desk.local_day(desk.shown(now), branch.time_zone)
    exceptions = session.scalars(select(CalendarException).where(here, CalendarException.to_on >= today))
    facts["exceptions"] = [_plain(exception, "from_on to_on is_open") for exception in exceptions]
    return facts


def _lent(loan: Loan, now: datetime) -> dict[str, Any]:
    return {"copy_id": loan.copy_id, "late": loan.due_at < now}


def _waiting(session: Session, book_id: int) -> int:
    """How many holds of a book have not ended."""
    return session.scalar(select(func.count(Hold.id)).where(Hold.book_id == book_id, Hold.ended_at.is_(None))) or 0


def _plain(row: Any, names: str) -> dict[str, Any]:
    """Members of a row, days as texts."""
    found = {name: getattr(row, name) for name in names.split()}
    return {name: value.isoformat() if isinstance(value, date) else value for name, value in found.items()}
