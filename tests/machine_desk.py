"""Does each thing twice, in the model and by the rules, and compares: the same refusals, the same library after it."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import date, datetime
from typing import Any

from hypothesis import note
from machine_cast import START, Cast
from machine_model import Counter, Item, Lent, Person, Wish
from machine_money import Act, Debt, No
from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from library.database import WRITES, make_session
from library.models import (
    AccountEntry,
    Allocation,
    BlockScope,
    Book,
    Branch,
    ChargeLoan,
    Copy,
    Hold,
    HoldState,
    JobKind,
    Loan,
    PatronBlock,
    PaymentMethod,
    Policy,
    PolicyKind,
    TransferLimit,
    User,
)
from library.rules import accounts, holds, lending, loans, losses, marking, queues, renewals, returns
from library.rules.accounts import PayoutMethod
from library.rules.desk import Desk
from library.rules.errors import Refused, Severity
from library.rules.invariants import check_invariants
from library.rules.losses import ClaimOutcome
from library.rules.marking import Mark
from library.rules.nightly import STEPS, Night

HISTORY_DAYS = 10


class TwoDesks:
    """A model and a database that must agree after every step; a step is one transaction to the rules."""

    def __init__(self, cast: Cast) -> None:
        self.session = make_session(cast.engine)
        self.session.connection(execution_options={WRITES: True})
        self.model = cast.model(self.session)
        self.patrons = [person for person in self.model.people.values() if person.role == "patron"]
        self.staff = [person for person in self.model.people.values() if person.role != "patron"]
        self.places = list(self.model.places.values())
        self.items = list(self.model.items.values())
        self.barcodes = dict(self.session.execute(select(Copy.id, Copy.barcode)).all())
        self.cards = dict(self.session.execute(select(User.id, User.card_barcode)).all())
        self.last_entry = self.session.scalar(select(func.max(AccountEntry.id))) or 0
        self.steps = 0

    def close(self) -> None:
        """Leave no trace."""
        self.session.rollback()
        self.session.close()

    @property
    def now(self) -> datetime:
        return self.model.now

    def note(self, said: str) -> None:
        """Count a step, and tell it where a run has failed."""
        self.steps += 1
        note(said)

    # --- Both at once ------------------------------------------------------------------------------

    def both(
        self,
        said: str,
        counter: Counter,
        expect: Callable[[Counter], Any],
        perform: Callable[[Session, Desk], Any],
        confirms: bool = False,
    ) -> None:
        """Do it in the model and by the rules, again with the token where they only ask to confirm it."""
        self.note(f"{self.now:%d %b %H:%M} {said}")
        token = self._once(counter, expect, perform, None)
        if token and confirms:
            self._once(replace(counter, confirms=True), expect, perform, token)

    def _once(self, counter: Counter, expect: Any, perform: Any, token: str | None) -> str | None:
        expected, codes = None, set()
        try:
            expected = expect(counter)
        except No as no:
            codes = no.codes
        self.session.expunge_all()
        desk = Desk(
            actor=self.session.get(User, counter.actor.id) if counter.actor else None,
            branch=self.session.get(Branch, counter.place.id) if counter.place else None,
            overrides=dict.fromkeys(counter.overrides, "They asked for it."),
            confirm_token=token,
            signatures=lambda text: [text],
        )
        try:
            with self.session.begin_nested():
                made = perform(self.session, desk)
        except Refused as refused:
            found = {reason.code for reason in refused.reasons if reason.severity is not Severity.WARN}
            note(f"    refused: {', '.join(sorted(found))}")
            assert found == codes, f"refused for {sorted(found)}, expected {sorted(codes) or 'that it is done'}"
            return refused.confirm_token
        assert not codes, f"was done, expected {sorted(codes)}"
        if isinstance(expected, Lent | Wish):
            expected.id = made.id
        # A refused step was rolled back: there is nothing new to look at.
        self._compare()
        return None

    def _compare(self) -> None:
        assert check_invariants(self.session) == []
        self._compare_copies()
        self._compare_loans()
        self._compare_holds()
        self._compare_entries()
        self._compare_charges()

    def _rows(self, statement: Any) -> Sequence[Any]:
        # Past the session: there is nothing of it left to be written, and this is what takes the time of a run.
        return self.session.connection().execute(statement).all()

    def _compare_copies(self) -> None:
        columns = (Copy.id, Copy.place, Copy.condition, Copy.current_branch_id, Copy.transit_to_branch_id)
        found = {key: tuple(row) for key, *row in self._rows(select(*columns))}
        agree("copies", found, {item.id: (item.place, item.condition, item.here, item.to) for item in self.items})

    def _compare_loans(self) -> None:
        columns = (Loan.id, Loan.patron_id, Loan.due_at, Loan.due_on, Loan.renewals, Loan.lost_at, Loan.claimed_at)
        found = {key: tuple(row) for key, *row in self._rows(select(*columns, Loan.closed_at, Loan.closed_as))}
        expected = {
            loan.id: (
                key_of(loan.patron),
                loan.due_at,
                loan.due_on,
                loan.renewals,
                loan.lost_at,
                loan.claimed_at,
                loan.closed_at,
                loan.closed_as,
            )
            for loan in self.model.loans
        }
        agree("loans", found, expected)

    def _compare_holds(self) -> None:
        columns = (Hold.id, Hold.book_id, Hold.patron_id, Hold.state, Hold.assigned_copy_id, Hold.pickup_branch_id)
        days = (Hold.suspended, Hold.suspended_until, Hold.not_needed_after, Hold.shelf_until_at)
        rows = self._rows(select(*columns, *days).order_by(Hold.sort_key))
        expected = {
            hold.id: (
                key_of(hold.patron),
                hold.state,
                key_of(hold.taken),
                hold.pickup.id,
                hold.suspended,
                hold.suspended_until,
                hold.needed_until,
                hold.shelf_until if hold.state == "ready" else None,
            )
            for hold in self.model.holds
        }
        # Until when it lay on the shelf may be told of a hold that has ended.
        shelf = {row.id: row.shelf_until_at if row.state is HoldState.READY else None for row in rows}
        agree("holds", {row.id: (*row[2:-1], shelf[row.id]) for row in rows}, expected)
        queued: dict[int, list[int]] = {}
        for row in rows:
            if row.state is HoldState.QUEUED:
                queued.setdefault(row.book_id, []).append(row.id)
        agree(
            "queues", queued, {book: [hold.id for hold in queue] for book, queue in self.model.queues.items() if queue}
        )

    def _compare_entries(self) -> None:
        """The lines of the ledger that came with this step."""
        columns = (AccountEntry.id, AccountEntry.patron_id, AccountEntry.kind, AccountEntry.amount_cents)
        new = select(*columns, AccountEntry.reason, ChargeLoan.loan_id).where(AccountEntry.id > self.last_entry)
        joined = new.outerjoin(ChargeLoan, ChargeLoan.entry_id == AccountEntry.id).order_by(AccountEntry.id)
        rows, expected = self._rows(joined), [entry for entry in self.model.money.entries if not entry.id]
        told = [
            (entry.patron, "charge", entry.amount, entry.reason, key_of(entry.loan))
            if isinstance(entry, Debt)
            else (entry.patron, entry.kind, entry.amount, None, None)
            for entry in expected
        ]
        found = [tuple(row[1:]) for row in rows]
        assert found == told, f"new entries are {found}, expected {told}"
        for row, entry in zip(rows, expected, strict=True):
            entry.id = self.last_entry = row.id

    def _compare_charges(self) -> None:
        """What each charge and each account stands at."""
        summed = func.sum(Allocation.amount_cents)
        settled = self._rows(select(Allocation.charge_id, summed).group_by(Allocation.charge_id))
        expected = {debt.id: debt.settled for debt in self.model.money.debts if debt.settled}
        agree("settled", {key: cents for key, cents in settled if cents}, expected)
        owed = select(AccountEntry.patron_id, func.sum(AccountEntry.amount_cents)).group_by(AccountEntry.patron_id)
        expected = {person.id: cents for person in self.patrons if (cents := self.model.money.balance(person.id))}
        agree("balances", {key: cents for key, cents in self._rows(owed) if cents}, expected)

    # --- The desk ----------------------------------------------------------------------------------

    def check_out(self, counter: Counter, item: Item, person: Person, due_at: datetime | None, confirms: bool) -> None:
        self.both(
            f"check out copy {item.id} to patron {person.id}, {told(counter)}" + (f", due {due_at}" if due_at else ""),
            counter,
            lambda counter: self.model.check_out(counter, item, person, due_at),
            lambda session, desk: lending.check_out(
                session, desk, self.barcodes[item.id], self.cards[person.id], self.now, due_at
            ),
            confirms,
        )

    def check_in(self, counter: Counter, item: Item, returned_at: datetime | None) -> None:
        self.both(
            f"check in copy {item.id}, {told(counter)}" + (f", back at {returned_at}" if returned_at else ""),
            counter,
            lambda counter: self.model.check_in(counter, item, returned_at),
            lambda session, desk: returns.check_in(session, desk, self.barcodes[item.id], self.now, returned_at),
        )

    def renew(self, counter: Counter, loan: Lent) -> None:
        self.both(
            f"renew loan {loan.id}, {told(counter)}",
            counter,
            lambda counter: self.model.renew(counter, loan),
            lambda session, desk: renewals.renew(session, desk, session.get(Loan, loan.id), self.now),
        )

    def change_due_date(self, counter: Counter, loan: Lent, due_at: datetime) -> None:
        self.both(
            f"loan {loan.id} is due at {due_at}",
            counter,
            lambda counter: self.model.change_due_date(loan, due_at),
            lambda session, desk: loans.change_due_date(
                session, desk, session.get(Loan, loan.id), due_at, "They are ill.", self.now
            ),
        )

    def mark(self, counter: Counter, item: Item, mark: Mark) -> None:
        self.both(
            f"mark copy {item.id} as {mark.value}",
            counter,
            lambda counter: self.model.mark(item, mark.value),
            lambda session, desk: marking.mark(session, desk, session.get(Copy, item.id), mark, "Seen.", self.now),
        )

    def declare_lost(self, counter: Counter, loan: Lent, price: int | None) -> None:
        self.both(
            f"declare loan {loan.id} lost" + (f" for {price}" if price is not None else ""),
            counter,
            lambda counter: self.model.declare_lost(loan, price),
            lambda session, desk: losses.declare_lost(session, desk, session.get(Loan, loan.id), self.now, price),
        )

    def claim_returned(self, counter: Counter, loan: Lent) -> None:
        self.both(
            f"loan {loan.id} is claimed to be back",
            counter,
            lambda counter: self.model.claim_returned(loan),
            lambda session, desk: losses.claim_returned(session, session.get(Loan, loan.id), self.now),
        )

    def resolve_claim(self, counter: Counter, loan: Lent, outcome: ClaimOutcome) -> None:
        self.both(
            f"loan {loan.id} is {outcome.value}, {told(counter)}",
            counter,
            lambda counter: self.model.resolve_claim(counter, loan, outcome is ClaimOutcome.FOUND),
            lambda session, desk: returns.resolve_claim(session, desk, session.get(Loan, loan.id), outcome, self.now),
        )

    # --- Holds -------------------------------------------------------------------------------------

    def place_hold(
        self, counter: Counter, person: Person, book: int, item: Item | None, pickup: int | None, day: date | None
    ) -> None:
        def perform(session: Session, desk: Desk) -> Hold:
            copy = session.get(Copy, item.id) if item else None
            patron, title = session.get(User, person.id), session.get(Book, book)
            return holds.place_hold(session, desk, patron, title, self.now, copy, pickup, day)

        wanted = f"book {book}" + (f" (copy {item.id})" if item else "")
        self.both(
            f"patron {person.id} wants {wanted} at {pickup}, until {day}, {told(counter)}",
            counter,
            lambda counter: self.model.place_hold(counter, person, book, item, pickup, day),
            perform,
        )

    def cancel_hold(self, counter: Counter, hold: Wish) -> None:
        self.both(
            f"cancel hold {hold.id}",
            counter,
            lambda counter: self.model.cancel(hold),
            lambda session, desk: holds.cancel_hold(session, desk, session.get(Hold, hold.id), self.now),
        )

    def change_hold(self, counter: Counter, hold: Wish, name: str, value: Any) -> None:
        expect, values = {
            "suspend": (self.model.suspend, {"suspended": True, "suspended_until": value}),
            "resume": (lambda hold, _: self.model.resume(hold), {"suspended": False}),
            "need_until": (self.model.need_until, {"not_needed_after": value}),
            "change_pickup": (self.model.change_pickup, {"pickup_branch_id": getattr(value, "id", None)}),
        }[name]
        self.both(
            f"hold {hold.id}: {values}",
            counter,
            lambda counter: expect(hold, value),
            lambda session, desk: holds.change_hold(session, session.get(Hold, hold.id), values, self.now),
        )

    def suspend_all(self, counter: Counter, person: Person, until: date | None) -> None:
        self.both(
            f"suspend the holds of patron {person.id} until {until}",
            counter,
            lambda counter: self.model.suspend_all(person, until),
            lambda session, desk: holds.suspend_all(session, session.get(User, person.id), self.now, until),
        )

    def resume_all(self, counter: Counter, person: Person) -> None:
        self.both(
            f"resume the holds of patron {person.id}",
            counter,
            lambda counter: self.model.resume_all(person),
            lambda session, desk: holds.resume_all(session, session.get(User, person.id)),
        )

    def reorder_queue(self, counter: Counter, book: int, order: list[Wish]) -> None:
        keys = [hold.id for hold in order]
        self.both(
            f"the queue of book {book} is {keys}",
            counter,
            lambda counter: self.model.reorder(book, order),
            lambda session, desk: queues.reorder_queue(session, session.get(Book, book), keys),
        )

    # --- Money -------------------------------------------------------------------------------------

    def charge(self, counter: Counter, person: Person, cents: int) -> None:
        self.both(
            f"charge patron {person.id} {cents}",
            counter,
            lambda counter: self.model.money.charge(person.id, cents, "manual", self.now),
            lambda session, desk: accounts.create_charge(session, desk, session.get(User, person.id), cents, self.now),
        )

    def _settle(self, said: str, counter: Counter, expect: Any, perform: Callable[[Session, Desk], Any]) -> None:
        """A change of the ledger, and what becomes of the losses that it settles."""

        def settled(session: Session, desk: Desk) -> None:
            losses.close_settled(session, perform(session, desk).charge_ids, self.now)

        self.both(said, counter, lambda counter: self.model.settle(expect()), settled)

    def pay(self, counter: Counter, person: Person, cents: int, method: str, named: list[Debt] | None) -> None:
        def perform(session: Session, desk: Desk) -> Any:
            charges = None if named is None else [session.get(AccountEntry, debt.id) for debt in named]
            patron = session.get(User, person.id)
            return accounts.pay(session, desk, patron, cents, PaymentMethod(method), self.now, charges)

        self._settle(
            f"patron {person.id} pays {cents} by {method} for {named and [debt.id for debt in named]}",
            counter,
            lambda: self.model.money.pay(person.id, cents, method, named, self.now),
            perform,
        )

    def waive(self, counter: Counter, debt: Debt, cents: int | None) -> None:
        self._settle(
            f"waive {cents} of charge {debt.id}",
            counter,
            lambda: self.model.money.waive(key_of(counter.actor), debt, cents, self.now),
            lambda session, desk: accounts.waive(
                session, desk, session.get(AccountEntry, debt.id), "Out of kindness.", self.now, cents
            ),
        )

    def refund(self, counter: Counter, debt: Debt, cents: int) -> None:
        self._settle(
            f"refund {cents} of charge {debt.id}",
            counter,
            lambda: self.model.money.refund(key_of(counter.actor), debt, cents, self.now),
            lambda session, desk: accounts.refund(
                session, desk, session.get(AccountEntry, debt.id), cents, PayoutMethod.CASH, self.now
            ),
        )

    def reverse(self, counter: Counter, entry: Debt | Act) -> None:
        self._settle(
            f"reverse entry {entry.id}",
            counter,
            lambda: self.model.money.reverse(key_of(counter.actor), entry, self.now),
            lambda session, desk: accounts.reverse(
                session, desk, session.get(AccountEntry, entry.id), "A slip.", self.now
            ),
        )

    # --- Time and the house ------------------------------------------------------------------------

    def work_at_night(self, step: JobKind) -> None:
        expect = {
            JobKind.EXPIRE_HOLDS: self.model.expire_holds,
            JobKind.RESUME_HOLDS: self.model.resume_holds,
            JobKind.AGE_TO_LOST: self.model.age_to_lost,
            JobKind.RENEW: self.model.renew_by_itself,
            JobKind.CUT_HISTORY: lambda: self.model.cut_history(HISTORY_DAYS),
            JobKind.WRITE_NOTICES: lambda: None,
            JobKind.PURGE: lambda: None,
        }[step]
        night = Night(self.now, self.now, HISTORY_DAYS, 3)
        self.both(step.value, Counter(None), lambda counter: expect(), lambda session, desk: work(session, step, night))

    def lay_down(self, kind: str, value: Any, place: int | None, category: int | None, item_type: int | None) -> None:
        self.note(f"policy {kind} at {place}, {category}, {item_type}: {value}")
        scope = {"branch_id": place, "patron_category_id": category, "item_type_id": item_type}
        key = "-".join(str(one or 0) for one in scope.values())
        self.session.execute(delete(Policy).where(Policy.kind == kind, Policy.scope_key == key))
        self.session.add(Policy(kind=PolicyKind(kind), scope_key=key, value=value, **scope))
        self.session.flush()
        self.model.policies[kind, place, category, item_type] = value

    def forbid_or_allow(self, start: int, end: int, item_type: int | None) -> None:
        way, key = (start, end, item_type), f"{start}-{end}-{item_type or 0}"
        self.note(
            f"transfers from {start} to {end} for {item_type}: {'allowed' if way in self.model.no_way else 'not'}"
        )
        if way in self.model.no_way:
            self.session.execute(delete(TransferLimit).where(TransferLimit.scope_key == key))
        else:
            limit = TransferLimit(from_branch_id=start, to_branch_id=end, item_type_id=item_type, scope_key=key)
            self.session.add(limit)
        self.model.no_way ^= {way}
        self.session.flush()

    def change_patron(self, person: Person, name: str, value: Any) -> None:
        self.note(f"patron {person.id}: {name} is {value}")
        setattr(person, name, value)
        setattr(self.session.get_one(User, person.id), name, value)
        self.session.flush()

    def block(self, person: Person, scope: BlockScope, until: date | None) -> None:
        self.note(f"block patron {person.id}: {scope.value} until {until}")
        person.blocks.append((scope.value, until))
        block = PatronBlock(user_id=person.id, scope=scope, until_on=until, reason="Loud.", created_at=START)
        self.session.add(block)
        self.session.flush()

    def unblock(self, person: Person) -> None:
        self.note(f"patron {person.id} is blocked no more")
        person.blocks.clear()
        self.session.execute(delete(PatronBlock).where(PatronBlock.user_id == person.id))


def agree(what: str, found: dict[Any, Any], expected: dict[Any, Any]) -> None:
    """The same in both; else only what differs is told."""
    keys = [key for key in {**found, **expected} if found.get(key) != expected.get(key)]
    told = [f"{key} is {found.get(key)}, expected {expected.get(key)}" for key in keys]
    assert not told, f"{what}: {'; '.join(told)}"


def key_of(thing: Any) -> int | None:
    """The key of something that may be missing."""
    return None if thing is None else thing.id


def told(counter: Counter) -> str:
    """Who does it where."""
    actor = f"{counter.actor.role} {counter.actor.id}" if counter.actor else "the house"
    place = f" at {counter.place.id}" if counter.place else ""
    return f"by {actor}{place}{', overriding' if counter.overrides else ''}"


def work(session: Session, step: JobKind, night: Night) -> None:
    """One step of the night, record by record."""
    for part in STEPS[step]:
        after: int | None = 0
        while after is not None:
            keys, after = part.due(session, night, after)
            for key in keys:
                part.do(session, night, key)
                session.flush()
                session.expunge_all()
