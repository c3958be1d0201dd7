"""Losses without HTTP: declared, claimed, settled, found again."""

from datetime import UTC, date, datetime, timedelta

import pytest

from library.database import transaction
from library.models import ChargeReason, CopyCondition, CopyPlace, Loan, LoanClosing, PaymentMethod, PolicyKind, User
from library.rules import accounts, ledger, lending, losses, marking, policies, returns, running
from library.rules.desk import Desk
from library.rules.losses import ClaimOutcome
from library.rules.marking import Mark
from library.rules.routing import RouteAction

from .helping import at_once, refused_for

NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)
DAY = timedelta(days=1)
THURSDAY = datetime(2026, 4, 30, 21, 59, 59, tzinfo=UTC)


@pytest.fixture
def now():
    return NOON


@pytest.fixture
def copy(make, branch):
    return make.copy(home_branch=branch, price_cents=2500)


@pytest.fixture
def loan(make, copy, patron) -> Loan:
    """A loan that was due on Thursday; today is Monday."""
    return make.loan(copy, patron, checked_out_at=THURSDAY - 20 * DAY, due_at=THURSDAY)


@pytest.fixture
def declare(session, desk, loan):
    """Call it to declare the copy lost, today."""

    def declare_lost(now=NOON, **more):
        return losses.declare_lost(session, desk, loan, now, **more)

    return declare_lost


@pytest.fixture
def pay(session, desk, patron):
    """Call it to pay for charges, and what follows from that."""

    def settle(cents: int, *charges, now=NOON) -> list[Loan]:
        paid = accounts.pay(session, desk, patron, cents, PaymentMethod.CASH, now, list(charges) or None)
        return losses.close_settled(session, paid.charge_ids, now)

    return settle


# --- Lost ---------------------------------------------------------------------------------------


def test_price_and_fee_are_charged_and_the_loan_stays_open(
    session, make, desk, branch, copy, patron, loan, declare, charged
):
    make.policy("processing_fee_cents", 500)
    charges = declare()
    session.commit()
    session.expire_all()
    assert charged(patron) == [("replacement", 2500), ("processing", 500)]
    assert [charge.id for charge in charges] == [charge.id for charge in ledger.charges_of_loan(session, loan.id)]
    assert {(charge.branch_id, charge.actor_id, charge.made_at) for charge in charges} == {
        (branch.id, desk.actor.id, NOON)
    }
    assert (loan.closed_at, loan.lost_at) == (None, NOON)
    assert (copy.place, copy.condition) == (CopyPlace.ON_LOAN, CopyCondition.LOST)


@pytest.mark.parametrize(
    ("own", "of_type", "named", "charges"),
    [
        (2500, 900, None, [("replacement", 2500)]),
        (None, 900, None, [("replacement", 900)]),
        (0, 900, None, [("replacement", 900)]),
        (None, None, 1200, [("replacement", 1200)]),
        (2500, 900, 1200, [("replacement", 1200)]),
        (None, None, None, []),
        (2500, None, 0, []),
    ],
)
def test_the_price_is_the_copys_else_its_types_else_one_that_is_named(
    session, make, copy, patron, declare, charged, own, of_type, named, charges
):
    copy.price_cents, copy.item_type_id = own, make.item_type(default_price_cents=of_type).id
    session.commit()
    declare(replacement_cents=named)
    assert charged(patron) == charges


def test_the_fine_is_charged_and_stops(session, make, patron, loan, declare, charged):
    make.policy("fine_rate", {"cents": 20, "per": "day"})
    declare()
    session.commit()
    assert charged(patron) == [("overdue", 80), ("replacement", 2500)]
    later = NOON + 30 * DAY
    assert running.fines_of(session, [loan], policies.load(session), later)[loan].cents == 0


def test_a_copy_is_declared_lost_once(declare, patron, charged):
    declare()
    with refused_for("already_lost"):
        declare()
    assert charged(patron) == [("replacement", 2500)]


def test_what_has_ended_is_not_lost(session, desk, make):
    closed = make.loan(closed_at=NOON, closed_as=LoanClosing.RETURNED)
    with refused_for("loan_closed"):
        losses.declare_lost(session, desk, closed, NOON)
    closed.patron_id = None
    session.commit()
    with refused_for("loan_closed"):
        losses.claim_returned(session, closed, NOON)


def test_of_two_who_declare_it_lost_at_once_one_does(session, another, desk, patron, loan, charged):
    actor_id, loan_id = desk.actor.id, loan.id

    def declare_there() -> int:
        mine = another()
        with transaction(mine, write=True):
            here = Desk(mine.get_one(User, actor_id))
            return len(losses.declare_lost(mine, here, mine.get_one(Loan, loan_id), NOON))

    answers = at_once([declare_there] * 4)
    assert sum(answer == 1 for answer in answers) == 1, answers
    session.expire_all()
    assert charged(patron) == [("replacement", 2500)]


# --- Settled ------------------------------------------------------------------------------------


def test_once_price_and_fee_are_settled_the_loan_closes_and_the_copy_stays_lost(
    session, make, copy, loan, declare, pay
):
    make.policy("processing_fee_cents", 500)
    make.policy("fine_rate", {"cents": 20, "per": "day"})
    _, replacement, processing = declare()
    assert pay(2500, replacement) == []
    assert pay(499, processing) == []
    assert (loan.closed_at, copy.place) == (None, CopyPlace.ON_LOAN)
    # The fine is still owed.
    assert pay(1, processing, now=NOON + DAY) == [loan]
    session.commit()
    assert (loan.closed_at, loan.closed_as) == (NOON + DAY, LoanClosing.LOST_PAID)
    assert (copy.place, copy.condition) == (CopyPlace.AVAILABLE, CopyCondition.LOST)


def test_waiving_settles_too(session, desk, loan, declare, pay):
    (replacement,) = declare()
    pay(1500, replacement)
    waived = accounts.waive(session, desk, replacement, "Half the price.", NOON)
    assert losses.close_settled(session, waived.charge_ids, NOON) == [loan]


def test_what_is_paid_for_something_else_closes_nothing(make, patron, loan, declare, pay):
    make.policy("fine_rate", {"cents": 20, "per": "day"})
    fine, _ = declare()
    other = make.charge(patron)
    assert pay(580, fine, other) == []
    assert loan.closed_at is None


def test_a_loan_that_is_not_lost_is_not_closed_by_paying_its_fine(make, loan, pay):
    fine = make.charge(loan=loan, cents=80, reason=ChargeReason.OVERDUE)
    assert pay(80, fine) == []
    assert loan.closed_at is None


def test_of_two_payments_at_once_one_closes_the_loan(session, another, desk, patron, loan, declare):
    declare()
    session.commit()
    actor_id, patron_id = desk.actor.id, patron.id

    def pay_there() -> int:
        mine = another()
        with transaction(mine, write=True):
            here = Desk(mine.get_one(User, actor_id))
            payer = mine.get_one(User, patron_id)
            paid = accounts.pay(mine, here, payer, 2500, PaymentMethod.CARD, NOON)
            return len(losses.close_settled(mine, paid.charge_ids, NOON))

    answers = at_once([pay_there] * 4)
    assert sum(answer == 1 for answer in answers) == 1, answers
    session.expire_all()
    assert (loan.closed_as, ledger.balance(session, patron.id)) == (LoanClosing.LOST_PAID, 0)


# --- Found again --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("policy", "paid", "given_back", "balance"),
    [
        ("refund", 0, [("reversal", -2500)], 0),
        ("refund", 1000, [("reversal", -2500)], -1000),
        ("refund", 2500, [("reversal", -2500)], -2500),
        ("unpaid_part", 0, [("reversal", -2500)], 0),
        ("unpaid_part", 1000, [("reversal", -1500)], 0),
        ("unpaid_part", 2500, [], 0),
        ("keep", 0, [], 2500),
        ("keep", 1000, [], 1500),
        ("keep", 2500, [], 0),
    ],
)
def test_what_is_given_back_is_laid_down(
    session, make, patron, copy, loan, declare, pay, take_back, policy, paid, given_back, balance
):
    make.policy("lost_refund", policy)
    declare()
    if paid:
        pay(paid)
    closed_before = loan.closed_as
    answer = take_back(now=NOON + 10 * DAY)
    session.commit()
    found = [(entry.kind.value, entry.amount_cents) for entry in answer.charges]
    assert (found, ledger.balance(session, patron.id)) == (given_back, balance)
    assert (copy.place, copy.condition) == (CopyPlace.AVAILABLE, CopyCondition.USABLE)
    assert [said.code for said in answer.warnings] == ["was_missing"]
    assert closed_before is (LoanClosing.LOST_PAID if paid == 2500 else None)
    assert loan.closed_as is (closed_before or LoanClosing.RETURNED)
    assert (answer.loan is None) is (paid == 2500)
    # Once more it is just a copy.
    assert take_back(now=NOON + 11 * DAY).charges == []


@pytest.mark.parametrize(
    ("days", "moment", "back"),
    [
        (10, "2026-05-14T21:59:59Z", True),
        (10, "2026-05-14T22:00:00Z", False),
        (0, "2026-05-04T21:59:59Z", True),
        (0, "2026-05-04T22:00:00Z", False),
        (None, "2036-05-04T12:00:00Z", True),
    ],
)
def test_it_is_given_back_within_so_many_local_days(make, declare, take_back, days, moment, back):
    make.policy("lost_refund_days", days)
    declare()
    assert bool(take_back(now=datetime.fromisoformat(moment)).charges) is back


def test_the_day_is_that_of_the_return_not_of_the_scan(make, declare, take_back):
    make.policy("lost_refund_days", 10)
    declare()
    (lifted,) = take_back(now=NOON + 12 * DAY, returned_at=NOON + 10 * DAY).charges
    assert lifted.made_at == NOON + 12 * DAY


@pytest.mark.parametrize(("refundable", "balance"), [(True, 0), (False, 500)])
def test_the_fee_is_given_back_where_that_is_laid_down(session, make, patron, declare, take_back, refundable, balance):
    make.policy("processing_fee_cents", 500)
    make.policy("processing_fee_refundable", refundable)
    declare()
    take_back(now=NOON + DAY)
    assert ledger.balance(session, patron.id) == balance


def test_what_was_waived_is_never_given_back(session, desk, patron, declare, take_back):
    (replacement,) = declare()
    accounts.waive(session, desk, replacement, "Half the price.", NOON, 1500)
    (lifted,) = take_back(now=NOON + DAY).charges
    assert (lifted.amount_cents, ledger.balance(session, patron.id)) == (-1000, 0)


@pytest.mark.parametrize(("laid_down", "fines"), [(False, [80]), (True, [80, 140])])
def test_the_fine_goes_on_until_it_was_found_where_that_is_laid_down(
    make, patron, declare, charged, take_back, laid_down, fines
):
    make.policy("fine_rate", {"cents": 20, "per": "day"})
    make.policy("fine_on_lost_return", laid_down)
    declare()
    take_back(now=NOON + 7 * DAY)
    assert [cents for reason, cents in charged(patron) if reason == "overdue"] == fines


def test_days_of_grace_before_the_loss_count_once_the_grace_is_over(make, patron, declare, charged, take_back):
    make.policy("fine_rate", {"cents": 20, "per": "day"})
    make.policy("grace", {"number": 5, "unit": "days"})
    make.policy("fine_on_lost_return", True)
    declare()
    take_back(now=NOON + 7 * DAY)
    assert [cents for reason, cents in charged(patron) if reason == "overdue"] == [220]


def test_what_is_found_goes_to_who_waits_for_it(make, branch, copy, declare, pay, take_back):
    declare()
    pay(2500)
    hold = make.hold(copy.book, pickup_branch=branch)
    answer = take_back(now=NOON + DAY)
    assert (answer.route.action, answer.hold) == (RouteAction.HOLD_SHELF, hold)


def test_nothing_is_given_back_to_somebody_who_is_forgotten(session, loan, declare, pay, take_back, charged, patron):
    declare()
    pay(2500)
    loan.patron_id = None
    session.commit()
    assert take_back(now=NOON + DAY).charges == []
    assert charged(patron) == [("replacement", 2500), ("payment", -2500)]


def test_only_the_last_who_paid_for_it_is_given_something_back(
    session, make, desk, loan, patron, declare, pay, lend, take_back, charged
):
    declare()
    pay(2500)
    take_back(now=NOON + DAY)
    other = make.user()
    again = lend(patron=other, now=NOON + 2 * DAY)
    losses.declare_lost(session, desk, again, NOON + 3 * DAY)
    paid = accounts.pay(session, desk, other, 2500, PaymentMethod.CASH, NOON + 4 * DAY)
    assert losses.close_settled(session, paid.charge_ids, NOON + 4 * DAY) == [again]
    (lifted,) = take_back(now=NOON + 5 * DAY).charges
    assert (lifted.patron_id, charged(patron)[-1]) == (other.id, ("reversal", -2500))


# --- Claimed to be back -------------------------------------------------------------------------


def test_a_claim_is_noted_and_stops_the_fine(session, make, copy, loan):
    make.policy("fine_rate", {"cents": 20, "per": "day"})
    losses.claim_returned(session, loan, NOON, "Book drop.")
    session.commit()
    session.expire_all()
    assert (loan.claimed_at, loan.claim_note, loan.closed_at) == (NOON, "Book drop.", None)
    assert (copy.place, copy.condition) == (CopyPlace.ON_LOAN, CopyCondition.CLAIMED_RETURNED)
    later = NOON + 30 * DAY
    assert running.fines_of(session, [loan], policies.load(session), later)[loan].cents == 80


def test_a_copy_is_claimed_once_and_not_once_it_is_lost(session, desk, loan):
    losses.claim_returned(session, loan, NOON)
    with refused_for("already_claimed"):
        losses.claim_returned(session, loan, NOON + DAY)
    losses.declare_lost(session, desk, loan, NOON + DAY)
    with refused_for("already_lost"):
        losses.claim_returned(session, loan, NOON + DAY)


def test_a_claim_that_ends_in_a_loss_is_fined_until_the_claim(
    session, make, desk, copy, patron, loan, charged, take_back
):
    make.policy("fine_rate", {"cents": 20, "per": "day"})
    make.policy("fine_on_lost_return", True)
    losses.claim_returned(session, loan, NOON)
    losses.declare_lost(session, desk, loan, NOON + 9 * DAY)
    assert charged(patron) == [("overdue", 80), ("replacement", 2500)]
    assert (copy.place, copy.condition) == (CopyPlace.ON_LOAN, CopyCondition.LOST)
    with refused_for("not_claimed"):
        returns.resolve_claim(session, desk, loan, ClaimOutcome.MISSING, NOON + 9 * DAY)
    take_back(now=NOON + 10 * DAY)
    assert charged(patron) == [("overdue", 80), ("replacement", 2500), ("reversal", -2500)]


def test_a_second_claim_pauses_the_fine_a_second_time(session, make, desk, patron, loan, charged, take_back):
    make.policy("fine_rate", {"cents": 20, "per": "day"})
    for start in (0, 4):
        losses.claim_returned(session, loan, NOON + start * DAY)
        returns.resolve_claim(session, desk, loan, ClaimOutcome.MISSING, NOON + (start + 2) * DAY)
    session.commit()
    assert (loan.due_on, len(loan.fine_pauses)) == (date(2026, 4, 30), 2)
    take_back(now=NOON + 8 * DAY)
    # Twelve days late; the 5th and the 9th of May lay wholly within a claim.
    assert charged(patron) == [("overdue", 200)]


# --- Lost, paid for, and there again --------------------------------------------------------------


@pytest.fixture
def lent(make, copy, patron) -> Loan:
    return make.loan(copy, patron, checked_out_at=NOON - 30 * DAY, due_at=NOON - 2 * DAY)


@pytest.fixture
def paid(session, desk, patron, lent) -> Loan:
    """A copy that was lost and paid for."""
    losses.declare_lost(session, desk, lent, NOON)
    paid = accounts.pay(session, desk, patron, 2500, PaymentMethod.CASH, NOON)
    losses.close_settled(session, paid.charge_ids, NOON)
    session.commit()
    assert lent.closed_as is LoanClosing.LOST_PAID
    return lent


@pytest.mark.parametrize(
    "marks", [(Mark.USABLE,), (Mark.DAMAGED,), (Mark.MISSING, None), (None,), (Mark.USABLE, None), (None, None)]
)
def test_however_a_lost_copy_turns_up_its_price_is_given_back_once(session, desk, patron, copy, paid, marks):
    for mark_as in marks:
        if mark_as is None:
            returns.check_in(session, desk, copy.barcode, NOON + DAY)
        else:
            marking.mark(session, desk, copy, mark_as, "Seen", NOON + DAY)
        session.commit()
    assert ledger.balance(session, patron.id) == -2500


def test_a_lost_copy_that_is_lent_again_was_found(session, make, desk, patron, copy, paid):
    letting_pass = Desk(desk.actor, desk.branch, overrides={"bad_condition": "It is here"})
    lending.check_out(session, letting_pass, copy.barcode, make.user().card_barcode, NOON + DAY)
    session.commit()
    assert ledger.balance(session, patron.id) == -2500


def test_a_copy_that_was_back_before_it_was_late_owes_nothing(session, make, desk, patron, copy, lent):
    make.policy(PolicyKind.FINE_RATE, {"cents": 100, "per": "day"})
    losses.declare_lost(session, desk, lent, NOON)
    assert ledger.balance(session, patron.id) == 2700
    returns.check_in(session, desk, copy.barcode, NOON + DAY, returned_at=NOON - 3 * DAY)
    session.commit()
    assert ledger.balance(session, patron.id) == 0


def test_what_costs_nothing_known_is_settled_once_its_price_is(session, make, desk, patron):
    loan = make.loan(make.copy(), patron, checked_out_at=NOON - 30 * DAY, due_at=NOON - DAY)
    make.policy(PolicyKind.FINE_RATE, {"cents": 60, "per": "day"})
    assert len(losses.declare_lost(session, desk, loan, NOON)) == 1
    part = accounts.pay(session, desk, patron, 20, PaymentMethod.CASH, NOON)
    assert losses.close_settled(session, part.charge_ids, NOON) == []
    accounts.create_charge(session, desk, patron, 1500, NOON, loan=loan, reason=accounts.HandReason.REPLACEMENT)
    rest = accounts.pay(session, desk, patron, 1540, PaymentMethod.CASH, NOON)
    assert losses.close_settled(session, rest.charge_ids, NOON) == [loan]


def test_who_paid_for_a_lost_copy_owes_the_fine_of_its_return_like_anybody(session, make, desk, patron, copy, paid):
    make.policy(PolicyKind.FINE_RATE, {"cents": 10, "per": "day"})
    make.policy(PolicyKind.FINE_ON_LOST_RETURN, True)
    returns.check_in(session, desk, copy.barcode, NOON + 10 * DAY)
    session.commit()
    assert ledger.balance(session, patron.id) == -2500 + 12 * 10
