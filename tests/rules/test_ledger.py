"""The ledger: what its sums say, what each charge stands at, and that no line of it ever changes."""

from datetime import timedelta

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from library.models import AccountEntry, Allocation, ChargeReason, EntryKind, PaymentMethod
from library.rules import accounts, ledger
from library.rules.desk import Desk
from library.rules.ledger import Figures


@pytest.fixture
def desk(make):
    librarian = make.librarian()
    return Desk(librarian, librarian.home_branch)


@pytest.fixture
def patron(make):
    return make.user()


@pytest.fixture
def pay(session, desk, now):
    """Call it with a charge and cents for a payment of it in cash."""

    def paid(charge, cents):
        patron = session.get_one(type(desk.actor), charge.patron_id)
        return accounts.pay(session, desk, patron, cents, PaymentMethod.CASH, now, [charge]).entry

    return paid


def test_a_charge_says_where_it_came_from(session, make, desk, patron, now):
    loan = make.loan(patron=patron)
    steps = [{"step": "late", "per": "days", "count": 3, "cents": None, "amount_cents": 0}]
    entry = ledger.charge(
        session,
        patron.id,
        60,
        ChargeReason.OVERDUE,
        now,
        branch_id=desk.here.id,
        actor_id=desk.actor_id,
        note="Returned late",
        steps=steps,
        loan_id=loan.id,
    )
    session.commit()
    session.expire_all()
    assert (entry.patron_id, entry.kind, entry.amount_cents) == (patron.id, EntryKind.CHARGE, 60)
    assert (entry.reason, entry.steps, entry.note, entry.made_at) == (
        ChargeReason.OVERDUE,
        steps,
        "Returned late",
        now,
    )
    assert (entry.branch_id, entry.actor_id, entry.loan_link.loan_id) == (desk.here.id, desk.actor_id, loan.id)


def test_a_charge_without_loan_or_steps_has_none(session, patron, now):
    entry = accounts.charge(session, patron.id, 60, ChargeReason.MANUAL, now)
    session.commit()
    session.expire_all()
    assert (entry.steps, entry.loan_link, entry.branch_id, entry.actor_id, entry.note) == (None,) * 5


@pytest.mark.parametrize("table", ["account_entries", "allocations"])
@pytest.mark.parametrize("change", ["UPDATE {} SET amount_cents = 1", "DELETE FROM {}"])
def test_no_line_of_the_ledger_is_changed_or_deleted(session, make, pay, table, change):
    pay(make.charge(cents=500), 200)
    session.commit()
    with pytest.raises(DBAPIError, match="append-only"):
        session.execute(text(change.format(table)))
    session.rollback()
    assert session.query(AccountEntry).count() == 2
    assert session.query(Allocation).one().amount_cents == 200


@pytest.mark.parametrize("table", ["account_entries", "allocations", "audit_events"])
def test_nor_is_it_emptied_at_once(session, table):
    if session.get_bind().dialect.name == "sqlite":
        pytest.skip("SQLite has no TRUNCATE")
    with pytest.raises(DBAPIError, match="append-only"):
        session.execute(text(f"TRUNCATE {table} CASCADE"))
    session.rollback()


def test_a_balance_is_the_sum_of_all_entries(session, make, patron, pay, statements):
    other, third = make.charge(cents=700), make.user()
    pay(make.charge(patron, 500), 200)
    make.charge(patron, 40)
    assert ledger.balance(session, patron.id) == 340
    statements.clear()
    assert ledger.balances(session, [patron.id, other.patron_id, third.id]) == {
        patron.id: 340,
        other.patron_id: 700,
        third.id: 0,
    }
    assert len(statements) == 1


def test_balances_grow_beyond_what_one_entry_can_hold(session, make, patron):
    largest = 2**31 - 1
    for _ in range(3):
        make.charge(patron, largest)
    account = ledger.account_of(session, patron.id)
    assert (account.balance_cents, ledger.balance(session, patron.id)) == (3 * largest, 3 * largest)


def test_what_is_open_of_charges_takes_one_statement(session, make, patron, pay, statements):
    part, whole, free = (make.charge(patron, 500) for _ in range(3))
    payment, _ = pay(part, 200), pay(whole, 500)
    statements.clear()
    keys = [part.id, whole.id, free.id, payment.id]
    assert ledger.open_cents_of(session, keys) == {part.id: 300, whole.id: 0, free.id: 500}
    assert len(statements) == 1


def test_charges_of_a_loan_and_what_is_open_of_them(session, make, patron, pay):
    loan, other = make.loan(patron=patron), make.loan(patron=patron)
    replacement = make.charge(cents=2000, reason=ChargeReason.REPLACEMENT, loan=loan)
    fee = make.charge(cents=500, reason=ChargeReason.PROCESSING, loan=loan)
    fine = make.charge(cents=70, reason=ChargeReason.OVERDUE, loan=loan)
    make.charge(cents=90, reason=ChargeReason.PROCESSING, loan=other)
    make.charge(patron, 33)
    for_the_loss = (ChargeReason.REPLACEMENT, ChargeReason.PROCESSING)
    assert ledger.charges_of_loan(session, loan.id) == [replacement, fee, fine]
    assert ledger.open_cents_of_loan(session, loan.id, for_the_loss) == 2500
    pay(replacement, 2000)
    assert ledger.open_cents_of_loan(session, loan.id, for_the_loss) == 500
    pay(fee, 500)
    assert ledger.open_cents_of_loan(session, loan.id, for_the_loss) == 0
    assert ledger.open_cents_of_loan(session, loan.id, list(ChargeReason)) == 70


def test_a_charge_stands_at_what_each_kind_did_to_it(session, make, desk, patron, pay, now):
    charge, untouched = make.charge(patron, 1000), make.charge(patron, 80)
    first, _ = pay(charge, 300), pay(charge, 150)
    waiver = accounts.waive(session, desk, charge, "Kindness", now, 200).entry
    accounts.refund(session, desk, charge, 100, accounts.PayoutMethod.CASH, now)
    figures = ledger.figures_of(session, [charge.id, untouched.id])
    assert figures == {
        charge.id: Figures(1000, received=450, waived=200, reversed=100, refunded=100),
        untouched.id: Figures(80),
    }
    stands = figures[charge.id]
    assert (stands.settled, stands.open, stands.credit) == (650, 350, 0)
    assert (stands.refundable, stands.reversible) == (350, 700)
    accounts.reverse(session, desk, first, "Wrong patron", now)
    accounts.reverse(session, desk, waiver, "Too kind", now)
    assert ledger.figures_of(session, [charge.id]) == {charge.id: Figures(1000, 150, 0, 100, 100)}


def test_an_account_tells_owed_open_and_credit_in_two_statements(session, make, desk, patron, pay, now, statements):
    older, newer, paid = make.charge(patron, 500), make.charge(patron, 70), make.charge(patron, 200)
    pay(older, 100)
    pay(paid, 200)
    accounts.reverse(session, desk, paid, "A mistake", now)
    session.commit()
    statements.clear()
    account = ledger.account_of(session, patron.id, running_fines_cents=15)
    assert len(statements) == 2
    assert (account.patron_id, account.balance_cents, account.credit_cents) == (patron.id, 270, 200)
    assert account.open_charges == [older, newer]
    assert account.running_fines_cents == 15


def test_an_account_without_entries_is_empty(session, patron):
    assert ledger.account_of(session, patron.id) == ledger.Account(patron.id, 0, 0, 0, [])


def test_older_charges_come_first_whatever_was_written_first(session, patron, now):
    late = ledger.charge(session, patron.id, 10, ChargeReason.MANUAL, now)
    early = ledger.charge(session, patron.id, 20, ChargeReason.MANUAL, now - timedelta(days=1))
    assert ledger.unsettled(session, patron.id) == [(early, 20), (late, 10)]


def test_entries_are_narrowed(session, make, desk, patron, pay):
    mine, settled, other = make.charge(patron, 500), make.charge(patron, 50), make.charge(cents=7)
    payment = pay(settled, 50)

    def find(actor=desk.actor, **filters):
        return session.scalars(ledger.find_entries(actor, **filters).order_by(AccountEntry.id)).all()

    assert find() == [mine, settled, other, payment]
    assert find(patron_id=patron.id) == [mine, settled, payment]
    assert find(kind=EntryKind.PAYMENT) == [payment]
    assert find(is_open=True) == [mine, other]
    assert find(is_open=False) == [settled]
    assert find(patron_id=patron.id, is_open=True, kind=EntryKind.CHARGE) == [mine]
    assert find(actor=patron) == [mine, settled, payment]
    assert find(actor=patron, patron_id=other.patron_id) == []


def test_entries_are_told_with_all_that_belongs_to_them_in_two_statements(
    session, make, desk, patron, pay, now, statements
):
    loan = make.loan(patron=patron)
    charge, other = make.charge(cents=500, loan=loan), make.charge(patron, 30)
    payment = accounts.pay(session, desk, patron, 510, PaymentMethod.CARD, now).entry
    session.commit()
    statements.clear()
    lines = ledger.lines_of(session, [charge, other, payment])
    assert len(statements) == 2
    told = [
        (line.entry, line.loan_id, line.open_cents, [(part.charge_id, part.amount_cents) for part in line.allocations])
        for line in lines
    ]
    assert told == [
        (charge, loan.id, 0, [(charge.id, 500)]),
        (other, None, 20, [(other.id, 10)]),
        (payment, None, None, [(charge.id, 500), (other.id, 10)]),
    ]
    assert {part.entry_id for line in lines for part in line.allocations} == {payment.id}
    statements.clear()
    assert ledger.lines_of(session, []) == []
    assert not statements
