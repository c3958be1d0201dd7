"""Money without HTTP: payments, waivers, refunds and reversals, in any order and from many desks."""

from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import func, select

from library.database import transaction
from library.models import AccountEntry, Allocation, Branch, ChargeReason, EntryKind, PaymentMethod, User
from library.rules import accounts, ledger
from library.rules.accounts import PayoutMethod
from library.rules.desk import Desk
from library.rules.errors import Refused

from .helping import at_once, refused_for

CASH, CREDIT = PaymentMethod.CASH, PaymentMethod.CREDIT


@pytest.fixture
def desk(make):
    librarian = make.librarian()
    return Desk(librarian, librarian.home_branch)


@pytest.fixture
def patron(make):
    return make.user()


@pytest.fixture
def pay(session, desk, patron, now):
    """Call it with cents for what the patron pays at the desk."""

    def paid(cents, *charges, method=CASH, **more):
        return accounts.pay(session, desk, patron, cents, method, now, charges or None, **more)

    return paid


@pytest.fixture
def waive(session, desk, now):
    return lambda charge, cents=None: accounts.waive(session, desk, charge, "Kindness", now, cents)


@pytest.fixture
def refund(session, desk, now):
    return lambda charge, cents: accounts.refund(session, desk, charge, cents, PayoutMethod.CASH, now)


@pytest.fixture
def reverse(session, desk, now):
    return lambda entry: accounts.reverse(session, desk, entry, "A mistake", now)


@pytest.fixture
def open_cents(session):
    """Call it with charges for what is open of each."""

    def told(*charges):
        found = ledger.open_cents_of(session, [charge.id for charge in charges])
        return [found[charge.id] for charge in charges]

    return told


def shares(session, entry) -> dict[int, int]:
    return {part.charge_id: part.amount_cents for part in session.query(Allocation).filter_by(entry_id=entry.id)}


# --- Charges ------------------------------------------------------------------------------------


def test_a_charge_by_hand(session, make, desk, patron, now):
    loan = make.loan(patron=patron)
    entry = accounts.create_charge(session, desk, patron, 250, now, "New card", loan)
    assert (entry.kind, entry.reason, entry.amount_cents) == (EntryKind.CHARGE, ChargeReason.MANUAL, 250)
    assert (entry.branch_id, entry.actor_id, entry.note, entry.made_at) == (
        desk.here.id,
        desk.actor_id,
        "New card",
        now,
    )
    assert ledger.charges_of_loan(session, loan.id) == [entry]
    assert accounts.create_charge(session, desk, patron, 1, now).loan_link is None


def test_a_charge_is_not_tied_to_the_loan_of_another(session, make, desk, patron, now):
    with refused_for("not_their_loan") as caught:
        accounts.create_charge(session, desk, patron, 250, now, loan=make.loan())
    assert caught.value.reasons[0].pointer == "/loan_id"
    assert session.query(AccountEntry).count() == 0


# --- Payments -----------------------------------------------------------------------------------


def test_a_payment_settles_the_oldest_charge_first(session, make, desk, patron, pay, open_cents, now):
    first, second, third = (make.charge(patron, cents) for cents in (300, 200, 100))
    settlement = pay(400, note="In coins")
    entry = settlement.entry
    assert (entry.kind, entry.amount_cents, entry.method) == (EntryKind.PAYMENT, -400, CASH)
    assert (entry.branch_id, entry.actor_id, entry.note, entry.made_at) == (
        desk.here.id,
        desk.actor_id,
        "In coins",
        now,
    )
    assert shares(session, entry) == {first.id: 300, second.id: 100}
    assert settlement == accounts.Settlement(entry, (first.id, second.id))
    assert open_cents(first, second, third) == [0, 100, 100]
    pay(200)
    assert ledger.balance(session, patron.id) == 0


def test_a_payment_settles_named_charges_in_their_order(session, make, patron, pay, open_cents):
    first, second, third = (make.charge(patron, cents) for cents in (300, 200, 100))
    assert shares(session, pay(150, third, second, third).entry) == {third.id: 100, second.id: 50}
    assert open_cents(first, second, third) == [300, 150, 0]


def test_a_payment_of_more_than_is_open_is_refused(session, make, patron, pay):
    first, second = make.charge(patron, 300), make.charge(patron, 200)
    for cents, named, open_cents in ((501, (), 500), (201, (second,), 200), (2**31 - 1, (first, second), 500)):
        with refused_for("exceeds_open_amount") as caught:
            pay(cents, *named)
        assert caught.value.reasons[0].params == {"open_cents": open_cents, "amount_cents": cents}
        assert caught.value.reasons[0].pointer == "/amount_cents"
    pay(500)
    with refused_for("exceeds_open_amount"):
        pay(1)
    assert ledger.balance(session, patron.id) == 0


def test_a_payment_of_no_charges_at_all_is_refused(session, make, desk, patron, now):
    make.charge(patron, 300)
    with refused_for("exceeds_open_amount"):
        accounts.pay(session, desk, patron, 1, CASH, now, [])


def test_only_charges_of_the_patron_are_paid(session, make, patron, pay):
    mine, others = make.charge(patron, 300), make.charge(cents=300)
    payment = pay(10, mine).entry
    for named in (others, payment):
        with refused_for("charge_not_found", "exceeds_open_amount") as caught:
            pay(20, named)
        assert caught.value.reasons[0].pointer == "/charge_ids"
    with refused_for("charge_not_found"):
        pay(20, mine, others)
    assert ledger.balance(session, others.patron_id) == 300


def test_staff_pay_what_they_owe_at_their_own_desk(session, make, desk, now):
    make.charge(desk.actor, 300)
    accounts.pay(session, desk, desk.actor, 300, CASH, now)
    assert ledger.balance(session, desk.actor_id) == 0


def test_a_credit_pays_another_charge_and_the_balance_stands(session, make, patron, pay, reverse, open_cents):
    mistaken, later, older = make.charge(patron, 500), make.charge(patron, 400), make.charge(patron, 90)
    pay(590, mistaken, older)
    reverse(older)
    reverse(mistaken)
    assert ledger.balance(session, patron.id) == 400 - 590
    settlement = pay(400, method=CREDIT)
    assert (settlement.entry.method, settlement.along.method) == (CREDIT, CREDIT)
    assert (settlement.entry.kind, settlement.along.kind) == (EntryKind.PAYMENT, EntryKind.REFUND)
    assert (settlement.entry.amount_cents, settlement.along.amount_cents) == (-400, 400)
    assert shares(session, settlement.along) == {mistaken.id: -400}
    assert shares(session, settlement.entry) == {later.id: 400}
    assert ledger.balance(session, patron.id) == 400 - 590
    assert open_cents(mistaken, later, older) == [0, 0, 0]
    assert ledger.account_of(session, patron.id).credit_cents == 190


def test_a_credit_is_taken_from_several_charges(session, make, patron, pay, reverse):
    first, second = make.charge(patron, 30), make.charge(patron, 40)
    make.charge(patron, 60)
    pay(70, first, second)
    reverse(first)
    reverse(second)
    along = pay(60, method=CREDIT).along
    assert shares(session, along) == {first.id: -30, second.id: -30}
    assert ledger.account_of(session, patron.id).credit_cents == 10


def test_no_more_credit_is_used_than_there_is(session, make, patron, pay, reverse):
    mistaken, owed = make.charge(patron, 50), make.charge(patron, 400)
    pay(50, mistaken)
    reverse(mistaken)
    with refused_for("exceeds_refundable") as caught:
        pay(51, owed, method=CREDIT)
    assert caught.value.reasons[0].params == {"refundable_cents": 50, "amount_cents": 51}
    with refused_for("exceeds_open_amount", "exceeds_refundable"):
        pay(401, owed, method=CREDIT)
    assert ledger.balance(session, patron.id) == 350


# --- Waivers ------------------------------------------------------------------------------------


def test_a_waiver_lets_a_patron_off_a_part_or_all(session, make, patron, waive, open_cents):
    charge = make.charge(patron, 300)
    settlement = waive(charge, 100)
    entry = settlement.entry
    assert (entry.kind, entry.amount_cents, entry.note) == (EntryKind.WAIVER, -100, "Kindness")
    assert (shares(session, entry), settlement.charge_ids) == ({charge.id: 100}, (charge.id,))
    assert open_cents(charge) == [200]
    assert waive(charge).entry.amount_cents == -200
    assert ledger.balance(session, patron.id) == 0


def test_no_more_is_waived_than_is_open(session, make, patron, pay, waive):
    charge = make.charge(patron, 300)
    pay(250)
    with refused_for("exceeds_open_amount") as caught:
        waive(charge, 51)
    assert caught.value.reasons[0].params == {"open_cents": 50, "amount_cents": 51}
    waive(charge)
    with refused_for("exceeds_open_amount") as caught:
        waive(charge)
    assert caught.value.reasons[0].params == {"open_cents": 0, "amount_cents": None}
    assert ledger.balance(session, patron.id) == 0


def test_only_a_charge_is_waived_or_refunded(make, patron, pay, waive, refund):
    make.charge(patron, 300)
    payment = pay(100).entry
    with refused_for("charge_not_found", "exceeds_open_amount"):
        waive(payment, 10)
    with refused_for("charge_not_found") as caught:
        refund(payment, 10)
    assert caught.value.reasons[0].pointer == "/charge_id"


# --- Refunds ------------------------------------------------------------------------------------


def test_a_refund_takes_back_as_much_of_the_charge_as_it_pays_out(session, make, patron, pay, refund, open_cents):
    charge = make.charge(patron, 500)
    pay(400)
    settlement = refund(charge, 150)
    assert (settlement.entry.kind, settlement.entry.amount_cents) == (EntryKind.REFUND, 150)
    assert (settlement.entry.method, settlement.charge_ids) == (CASH, (charge.id,))
    assert (settlement.along.kind, settlement.along.amount_cents) == (EntryKind.REVERSAL, -150)
    assert settlement.along.reverses_id == charge.id
    assert (ledger.balance(session, patron.id), open_cents(charge)) == (100, [100])


def test_no_more_is_refunded_than_was_received(make, patron, pay, waive, refund):
    charge = make.charge(patron, 500)
    waive(charge, 100)
    pay(300)
    with refused_for("exceeds_refundable") as caught:
        refund(charge, 301)
    assert caught.value.reasons[0].params == {"refundable_cents": 300, "amount_cents": 301}
    refund(charge, 200)
    with refused_for("exceeds_refundable"):
        refund(charge, 101)
    refund(charge, 100)
    with refused_for("exceeds_refundable"):
        refund(charge, 1)


def test_what_was_waived_is_never_paid_out(make, patron, waive, refund, reverse):
    charge = make.charge(patron, 500)
    waive(charge, 500)
    with refused_for("exceeds_refundable"):
        refund(charge, 1)


def test_a_credit_is_paid_out_before_anything_is_reversed(session, make, patron, pay, waive, refund, reverse):
    charge = make.charge(patron, 500)
    pay(500)
    reverse(charge)
    assert ledger.balance(session, patron.id) == -500
    assert refund(charge, 300).along is None
    assert ledger.balance(session, patron.id) == -200
    refund(charge, 200)
    assert ledger.balance(session, patron.id) == 0


def test_a_refund_beyond_the_credit_reverses_the_rest_only(session, make, desk, patron, pay, refund, waive, now):
    charge = make.charge(patron, 500)
    pay(300)
    payment = pay(200).entry
    accounts.reverse(session, desk, payment, "Bounced", now)
    waive(charge, 50)
    accounts.lift(session, desk, charge, now)
    figures = ledger.figures_of(session, [charge.id])[charge.id]
    assert (figures.credit, figures.refundable, figures.reversible) == (300, 300, 0)
    assert refund(charge, 300).along is None
    assert ledger.balance(session, patron.id) == 0


# --- Reversals ----------------------------------------------------------------------------------


def test_a_mistaken_charge_is_taken_back(session, make, patron, reverse):
    charge = make.charge(patron, 500)
    settlement = reverse(charge)
    entry = settlement.entry
    assert (entry.kind, entry.amount_cents, entry.reverses_id) == (EntryKind.REVERSAL, -500, charge.id)
    assert (entry.note, settlement.charge_ids) == ("A mistake", (charge.id,))
    assert shares(session, entry) == {charge.id: 500}
    assert ledger.balance(session, patron.id) == 0
    with refused_for("already_reversed"):
        reverse(charge)


def test_of_a_paid_charge_a_credit_is_left(session, make, patron, pay, reverse):
    charge = make.charge(patron, 500)
    pay(500)
    reverse(charge)
    account = ledger.account_of(session, patron.id)
    assert (account.balance_cents, account.credit_cents, account.open_charges) == (-500, 500, [])


def test_a_waived_part_of_a_charge_is_not_taken_back_again(session, make, patron, waive, reverse):
    charge = make.charge(patron, 500)
    waiver = waive(charge, 200).entry
    assert reverse(charge).entry.amount_cents == -300
    assert ledger.balance(session, patron.id) == 0
    reverse(waiver)
    assert ledger.balance(session, patron.id) == 200
    assert reverse(charge).entry.amount_cents == -200
    whole = make.charge(patron, 70)
    waive(whole)
    with refused_for("already_reversed"):
        reverse(whole)


def test_a_mistaken_payment_opens_its_charges_again(session, make, patron, pay, reverse, open_cents):
    first, second = make.charge(patron, 300), make.charge(patron, 200)
    payment = pay(400).entry
    settlement = reverse(payment)
    assert settlement.entry.amount_cents == 400
    assert shares(session, settlement.entry) == {first.id: -300, second.id: -100}
    assert (settlement.charge_ids, open_cents(first, second)) == ((first.id, second.id), [300, 200])
    with refused_for("already_reversed"):
        reverse(payment)


def test_a_mistaken_waiver_is_owed_again(session, make, patron, waive, reverse, open_cents):
    charge = make.charge(patron, 300)
    waiver = waive(charge, 100).entry
    assert reverse(waiver).entry.amount_cents == 100
    assert open_cents(charge) == [300]
    with refused_for("already_reversed"):
        reverse(waiver)


def test_a_payment_stands_where_its_money_was_paid_out(session, make, patron, pay, refund, reverse):
    charge = make.charge(patron, 500)
    first, second = pay(300).entry, pay(200).entry
    refund(charge, 250)
    with refused_for("exceeds_refundable") as caught:
        reverse(first)
    assert caught.value.reasons[0].params == {"refundable_cents": 250, "amount_cents": 300}
    assert caught.value.reasons[0].pointer == "/entry_id"
    reverse(second)
    with refused_for("exceeds_refundable"):
        reverse(first)
    assert ledger.balance(session, patron.id) == 200


def test_refunds_reversals_and_uses_of_a_credit_are_not_reversed(session, make, patron, pay, refund, reverse):
    mistaken, owed, other = (make.charge(patron, 300) for _ in range(3))
    pay(600, mistaken, other)
    taken_back = reverse(mistaken).entry
    credited = pay(300, owed, method=CREDIT)
    refunded = refund(other, 100)
    for entry in (taken_back, credited.entry, credited.along, refunded.entry, refunded.along):
        with refused_for("not_reversible") as caught:
            reverse(entry)
        assert caught.value.reasons[0].params == {"kind": entry.kind.value}
        assert caught.value.reasons[0].pointer == "/entry_id"


def test_nobody_waives_refunds_or_reverses_on_their_own_account(session, make, desk, now, waive, refund, reverse):
    charge = make.charge(desk.actor, 300)
    accounts.pay(session, desk, desk.actor, 100, CASH, now)
    with refused_for("own_account") as caught:
        waive(charge, 10)
    assert caught.value.reasons[0].pointer == "/charge_id"
    with refused_for("own_account"):
        refund(charge, 10)
    with refused_for("own_account") as caught:
        reverse(charge)
    assert caught.value.reasons[0].pointer == "/entry_id"
    with refused_for("own_account", "exceeds_open_amount"):
        waive(charge, 201)
    with refused_for("own_account", "exceeds_refundable"):
        refund(charge, 101)
    assert ledger.balance(session, desk.actor_id) == 200


def test_a_refused_change_writes_nothing(session, make, patron, pay, waive, refund, reverse):
    charge = make.charge(patron, 300)
    pay(300)
    reverse(charge)
    for attempt in (lambda: pay(1), lambda: waive(charge, 1), lambda: refund(charge, 301), lambda: reverse(charge)):
        with pytest.raises(Refused):
            attempt()
    assert not session.new
    assert session.query(AccountEntry).count() == 3


# --- What other rules take back -----------------------------------------------------------------


def test_a_rule_takes_a_charge_back_whole_or_its_open_part(session, make, desk, patron, pay, waive, now):
    whole, part = make.charge(patron, 500), make.charge(patron, 500)
    pay(400, whole, part)
    pay(150, part)
    waive(part, 50)
    entry = accounts.lift(session, desk, whole, now, "Found again")
    assert (entry.amount_cents, entry.reverses_id, entry.note) == (-500, whole.id, "Found again")
    assert accounts.lift(session, desk, part, now, unpaid_only=True).amount_cents == -300
    account = ledger.account_of(session, patron.id)
    assert (account.balance_cents, account.credit_cents, account.open_charges) == (-400, 400, [])
    assert accounts.lift(session, desk, whole, now) is None
    assert accounts.lift(session, desk, part, now, unpaid_only=True) is None


def test_the_house_takes_back_what_staff_may_not_on_their_own_account(session, make, desk, now):
    charge = make.charge(desk.actor, 500)
    by_itself = Desk(None)
    entry = accounts.lift(session, by_itself, charge, now)
    assert (entry.actor_id, entry.branch_id) == (None, None)
    assert ledger.balance(session, desk.actor_id) == 0


# --- Whatever the order -------------------------------------------------------------------------

AMOUNTS = st.one_of(st.integers(1, 12), st.just(10**6))
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("charge"), st.just(0), st.integers(1, 12)),
        st.tuples(
            st.sampled_from(["pay", "pay_one", "credit", "waive", "refund", "reverse", "lift", "lift_unpaid"]),
            st.integers(0, 30),
            AMOUNTS,
        ),
    ),
    max_size=40,
)


class Till:
    """A desk that does whatever it is told, and counts the money in its drawer."""

    def __init__(self, session, desk, patron, now):
        self.session, self.desk, self.patron, self.now = session, desk, patron, now
        self.entries: list[AccountEntry] = []
        self.cash = 0

    def act(self, verb: str, number: int, cents: int) -> None:
        """Try one thing; a refusal must leave everything as it was."""
        before = self.total()
        self.now += timedelta(seconds=1)
        try:
            getattr(self, verb)(number, cents)
        except Refused:
            assert self.total() == before
        self.entries = list(self.session.scalars(select(AccountEntry).order_by(AccountEntry.id)))

    def total(self) -> tuple[int, int]:
        counted = select(func.count(), func.coalesce(func.sum(AccountEntry.amount_cents), 0))
        return tuple(self.session.execute(counted.where(AccountEntry.patron_id == self.patron.id)).one())

    def one(self, number: int, *kinds: EntryKind) -> AccountEntry:
        found = [entry for entry in self.entries if not kinds or entry.kind in kinds]
        if not found:
            raise Refused([])
        return found[number % len(found)]

    def charge(self, _number, cents):
        ledger.charge(self.session, self.patron.id, cents, ChargeReason.MANUAL, self.now)

    def pay(self, _number, cents):
        accounts.pay(self.session, self.desk, self.patron, cents, CASH, self.now)
        self.cash += cents

    def pay_one(self, number, cents):
        accounts.pay(self.session, self.desk, self.patron, cents, CASH, self.now, [self.one(number)])
        self.cash += cents

    def credit(self, _number, cents):
        before = ledger.balance(self.session, self.patron.id)
        accounts.pay(self.session, self.desk, self.patron, cents, CREDIT, self.now)
        assert ledger.balance(self.session, self.patron.id) == before

    def waive(self, number, cents):
        wanted = None if cents > 10 else cents
        accounts.waive(self.session, self.desk, self.one(number, EntryKind.CHARGE), "", self.now, wanted)

    def refund(self, number, cents):
        charge = self.one(number, EntryKind.CHARGE)
        credit = ledger.figures_of(self.session, [charge.id])[charge.id].credit
        before = ledger.balance(self.session, self.patron.id)
        accounts.refund(self.session, self.desk, charge, cents, PayoutMethod.CARD, self.now)
        self.cash -= cents
        assert ledger.balance(self.session, self.patron.id) == before + min(credit, cents)

    def reverse(self, number, _cents):
        entry = self.one(number)
        accounts.reverse(self.session, self.desk, entry, "", self.now)
        if entry.kind is EntryKind.PAYMENT:
            self.cash += entry.amount_cents

    def lift(self, number, _cents):
        accounts.lift(self.session, self.desk, self.one(number, EntryKind.CHARGE), self.now)

    def lift_unpaid(self, number, _cents):
        accounts.lift(self.session, self.desk, self.one(number, EntryKind.CHARGE), self.now, unpaid_only=True)

    def check(self) -> None:
        """Money adds up, charge by charge and together."""
        charges = [entry.id for entry in self.entries if entry.kind is EntryKind.CHARGE]
        figures = ledger.figures_of(self.session, charges)
        for one in figures.values():
            assert min(one.received, one.waived, one.reversed, one.refunded, one.refundable, one.reversible) >= 0, one
            assert one.waived + one.reversed <= one.amount
            assert one.waived + one.received <= one.amount
            assert one.refunded <= one.reversed
            assert one.open + one.waived + one.reversed <= one.amount
            assert one.credit <= one.refundable
            assert not (one.open and one.credit)
        assert self.cash == sum(one.refundable for one in figures.values()) >= 0
        account = ledger.account_of(self.session, self.patron.id)
        owed, credit = (sum(getattr(one, name) for one in figures.values()) for name in ("open", "credit"))
        assert account.balance_cents == sum(entry.amount_cents for entry in self.entries) == owed - credit
        assert account.credit_cents == credit
        assert {charge.id for charge in account.open_charges} == {key for key, one in figures.items() if one.open}
        for line in ledger.lines_of(self.session, self.entries):
            settled = sum(part.amount_cents for part in line.allocations)
            if line.entry.kind is EntryKind.CHARGE:
                assert (line.open_cents, settled) == (figures[line.entry.id].open, figures[line.entry.id].settled)
            else:
                assert settled == -line.entry.amount_cents


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(steps=STEPS)
def test_money_adds_up_whatever_is_done_in_whatever_order(session, desk, patron, now, steps):
    till = Till(session, desk, patron, now)
    for step in steps:
        till.act(*step)
        till.check()
    session.rollback()


# --- Many desks ---------------------------------------------------------------------------------


@pytest.fixture
def at_desks(another, desk, patron):
    """Call it with rules that take a session, a desk and the patron: each runs at a desk of its own, all at once."""
    actor_id, branch_id, patron_id = desk.actor.id, desk.here.id, patron.id

    def at_one(rule):
        mine = another()
        with transaction(mine, write=True):
            here = Desk(mine.get_one(User, actor_id), mine.get_one(Branch, branch_id))
            return rule(mine, here, mine.get_one(User, patron_id)).entry.id

    return lambda *rules: at_once([lambda rule=rule: at_one(rule) for rule in rules])


def codes(answers) -> list[str]:
    return sorted(reason.code for answer in answers if isinstance(answer, Refused) for reason in answer.reasons)


def test_of_parallel_payments_of_one_charge_one_wins(session, make, patron, at_desks, now):
    charge_id = make.charge(patron, 500).id

    def pay(mine, here, payer):
        return accounts.pay(mine, here, payer, 500, CASH, now, [mine.get_one(AccountEntry, charge_id)])

    answers = at_desks(*[pay] * 6)
    assert codes(answers) == ["exceeds_open_amount"] * 5, answers
    assert ledger.balance(session, patron.id) == 0
    assert session.query(AccountEntry).filter_by(kind=EntryKind.PAYMENT).count() == 1


def test_parallel_payments_settle_everything_once(session, make, patron, at_desks, now):
    for _ in range(3):
        make.charge(patron, 100)
    answers = at_desks(*[lambda mine, here, payer: accounts.pay(mine, here, payer, 50, CASH, now)] * 8)
    assert codes(answers) == ["exceeds_open_amount"] * 2, answers
    assert ledger.account_of(session, patron.id) == ledger.Account(patron.id, 0, 0, 0, [])


def test_what_one_desk_waives_another_does_not_cash(session, make, patron, at_desks, now):
    charge_id = make.charge(patron, 500).id

    def of_charge(rule, *more):
        return lambda mine, here, _: rule(mine, here, mine.get_one(AccountEntry, charge_id), *more)

    pay = [lambda mine, here, payer: accounts.pay(mine, here, payer, 500, CASH, now)] * 3
    answers = at_desks(*pay, *[of_charge(accounts.waive, "Kindness", now, 500)] * 3)
    assert codes(answers) == ["exceeds_open_amount"] * 5, answers
    assert ledger.balance(session, patron.id) == 0


def test_money_is_paid_out_once(session, make, patron, pay, at_desks, now):
    charge_id = make.charge(patron, 500).id
    payment_id = pay(500).entry.id
    session.commit()

    def refund(mine, here, _):
        return accounts.refund(mine, here, mine.get_one(AccountEntry, charge_id), 500, PayoutMethod.CASH, now)

    def reverse(mine, here, _):
        return accounts.reverse(mine, here, mine.get_one(AccountEntry, payment_id), "Bounced", now)

    answers = at_desks(*[refund] * 3, *[reverse] * 3)
    won = [answer for answer in answers if isinstance(answer, int)]
    assert len(won) == 1, answers
    assert set(codes(answers)) <= {"exceeds_refundable", "already_reversed"}
    figures = ledger.figures_of(session, [charge_id])[charge_id]
    assert figures.refundable == 0
