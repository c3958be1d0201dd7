"""The whole desk driven at random beside a plain model of it: after every step both agree and no invariant is broken.

`pytest tests/test_machine.py --long` lets it run for a minute.
"""

import sys
import time
from collections.abc import Iterable
from datetime import timedelta
from itertools import count
from typing import TypeVar

import pytest
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test
from machine_cast import VALUES, Cast
from machine_days import DAY
from machine_desk import TwoDesks
from machine_model import OVERRIDABLE, Counter, Lent, Person

from library.extensions import db
from library.models import BlockScope
from library.rules.losses import ClaimOutcome
from library.rules.marking import Mark
from library.rules.nightly import STEPS

RUNS_A_SEED, STEPS_A_RUN = 4, 100
# Whoever overrides tries it with everything, even with what nobody can let pass.
EVERYTHING = frozenset(OVERRIDABLE | {"item_on_loan", "patron_inactive", "already_held"})
Choice = TypeVar("Choice")


class Dice:
    """Choices made by one number drawn: a draw for each would take longer than what is done with them."""

    def __init__(self, number: int) -> None:
        # Hypothesis likes small numbers; their last choices would all be the first.
        self.left = number * 0x9E3779B97F4A7C15 % 2**64 >> 16

    def of(self, choices: Iterable[Choice]) -> Choice:
        """One of some choices; for 0 the first."""
        choices = list(choices)
        self.left, at = divmod(self.left, len(choices))
        return choices[at]

    def seldom(self, among: int = 5) -> bool:
        """True once among so many times."""
        return self.of([False] * (among - 1) + [True])


dice = st.integers(0, 2**24 - 1).map(Dice)


class Machine(RuleBasedStateMachine):
    """What may happen in a library, with no order to it."""

    def __init__(self, cast: Cast) -> None:
        super().__init__()
        self.desks = TwoDesks(cast)
        self.model = self.desks.model
        self.kinds: list[str] = []

    def teardown(self) -> None:
        self.desks.close()

    def person(self, dice: Dice) -> Person:
        return dice.of(self.desks.patrons)

    def counter(self, dice: Dice, overrides: bool = False) -> Counter:
        """A desk of some branch, and who stands there."""
        overriding = EVERYTHING if overrides else frozenset()
        return Counter(dice.of(self.desks.staff), dice.of(self.desks.places), overriding)

    def loan(self, dice: Dice) -> Lent | None:
        """A loan, most often an open one."""
        found = self.model.loans if dice.seldom(8) else self.model.open_loans()
        return dice.of(found) if found else None

    # --- The desk ----------------------------------------------------------------------------------

    @initialize(
        usual=dice, kinds=dice, policies=st.lists(dice, min_size=5, max_size=20), loans=st.lists(dice, max_size=5)
    )
    def open_the_library(self, usual: Dice, kinds: Dice, policies: list[Dice], loans: list[Dice]) -> None:
        """Some kinds of policies are laid down, mostly the same few, so that narrow rows contradict wide ones.

        Without fines and with loans of four weeks little would happen: these two are laid down for everybody.
        """
        for kind in ("fine_rate", "loan_period"):
            self.desks.lay_down(kind, usual.of(VALUES[kind]), None, None, None)
        self.kinds = [kinds.of(sorted(VALUES)) for _ in range(7)]
        for each in policies:
            self.lay_down(each)
        for each in loans:
            self.check_out(each)

    @rule(dice=dice)
    def check_out(self, dice: Dice) -> None:
        item, person = dice.of(self.desks.items), self.person(dice)
        confirms, overrides = not dice.seldom(3), dice.seldom()
        due_in = dice.of([None] * 4 + [3, -1])
        due_at = None if due_in is None else self.model.now + DAY * due_in
        self.desks.check_out(self.counter(dice, overrides), item, person, due_at, confirms)

    @rule(dice=dice)
    def collect(self, dice: Dice) -> None:
        """Somebody comes for what is set aside for them, or takes another copy instead."""
        ready = [hold for hold in self.model.holds if hold.taken]
        if not ready:
            self.wait(dice)
            return
        hold = dice.of(ready)
        others = [item for item in self.desks.items if item.book == hold.book]
        item = dice.of([hold.taken] * 6 + others)
        self.desks.check_out(self.counter(dice), item, hold.patron, None, confirms=True)

    @rule(dice=dice)
    def give_back(self, dice: Dice) -> None:
        out = [loan.item for loan in self.model.open_loans()]
        if not out:
            self.check_out(dice)
            return
        hours_ago = dice.of([None] * 4 + [20, 100, -5])
        back_at = None if hours_ago is None else self.model.now - timedelta(hours=hours_ago)
        item = dice.of(out)
        self.desks.check_in(self.counter(dice), item, back_at)

    @rule(dice=dice)
    def scan(self, dice: Dice) -> None:
        """A copy that may be anywhere, most often one that has just arrived."""
        travelling = [item for item in self.desks.items if item.to]
        item = dice.of(self.desks.items if dice.seldom(3) or not travelling else travelling)
        counter = self.counter(dice)
        if item.to and not dice.seldom(3):
            counter.place = self.model.places[item.to]
        self.desks.check_in(counter, item, None)

    @rule(dice=dice)
    def renew(self, dice: Dice) -> None:
        loan = self.loan(dice)
        if loan is None:
            self.check_out(dice)
            return
        counter = self.counter(dice, overrides=dice.seldom())
        counter.actor = dice.of([counter.actor, loan.patron or counter.actor, counter.actor, self.person(dice)])
        self.desks.renew(counter, loan)

    @rule(dice=dice)
    def lose(self, dice: Dice) -> None:
        """A copy is lost, claimed to be back, found, or given more time."""
        claimed = [one for one in self.model.open_loans() if one.claimed_at]
        what = dice.of(["resolve"] * 3 * bool(claimed) + ["lost", "claim", "claim", "due", "resolve"])
        loan = dice.of(claimed) if what == "resolve" and claimed else self.loan(dice)
        if loan is None:
            self.check_out(dice)
            return
        counter = self.counter(dice)
        if what == "lost":
            self.desks.declare_lost(counter, loan, dice.of([None, None, 0, 700]))
        elif what == "claim":
            self.desks.claim_returned(counter, loan)
        elif what == "resolve":
            self.desks.resolve_claim(counter, loan, dice.of(ClaimOutcome))
        else:
            self.desks.change_due_date(counter, loan, self.model.now + DAY * dice.of([5, 0, 1, -3, -30]))

    @rule(dice=dice)
    def mark(self, dice: Dice) -> None:
        """Most often a copy that is not fit, and then usable; or one that is set aside."""
        unfit = [item for item in self.desks.items if item.condition != "usable" and item.place != "on_loan"]
        taken = [hold.taken for hold in self.model.holds if hold.taken]
        item = dice.of(dice.of([unfit, unfit, taken, taken, self.desks.items]) or self.desks.items)
        mark = dice.of([Mark.USABLE, *Mark] if item in unfit else Mark)
        self.desks.mark(self.counter(dice), item, mark)

    # --- Holds -------------------------------------------------------------------------------------

    @rule(dice=dice)
    def wait(self, dice: Dice) -> None:
        """Somebody wants what is out: any copy of it, or just this one."""
        item = dice.of([loan.item for loan in self.model.open_loans()] or self.desks.items)
        copy, pickup = dice.of([None, None, item]), dice.of(self.desks.places[:2])
        self.desks.place_hold(self.counter(dice), self.person(dice), item.book, copy, pickup.id, None)

    @rule(dice=dice)
    def place_hold(self, dice: Dice) -> None:
        person, item = self.person(dice), dice.of(self.desks.items)
        level = dice.of(["book", "copy", "copy", "another"])
        book = dice.of(self.model.queues) if level == "another" else item.book
        pickup = dice.of([None, *self.model.places, self.desks.places[0].id, 10**6])
        days = dice.of([None, None, None, 0, 4, 12, -2])
        counter = self.counter(dice, overrides=dice.seldom())
        counter.actor = person if dice.seldom() else counter.actor
        day = None if days is None else self.model.now.date() + DAY * days
        self.desks.place_hold(counter, person, book, None if level == "book" else item, pickup, day)

    @rule(dice=dice)
    def change_hold(self, dice: Dice) -> None:
        found = [hold for hold in self.model.holds if hold.is_open] or self.model.holds
        if not found:
            self.wait(dice)
            return
        hold, counter = dice.of(self.model.holds if dice.seldom(8) else found), self.counter(dice)
        days = dice.of([None, 0, 3, 9, -1])
        day = None if days is None else self.model.now.date() + DAY * days
        what = dice.of(["change_pickup", "suspend", "resume", "need_until", "all", "cancel", "cancel"])
        if what == "cancel":
            self.desks.cancel_hold(counter, hold)
        elif what == "all":
            person = hold.patron or self.person(dice)
            if dice.seldom(2):
                self.desks.resume_all(counter, person)
            else:
                self.desks.suspend_all(counter, person, day)
        else:
            value = dice.of(self.desks.places) if what == "change_pickup" else day
            self.desks.change_hold(counter, hold, what, value)

    @rule(dice=dice)
    def reorder_queue(self, dice: Dice) -> None:
        book, queue = max(self.model.queues.items(), key=lambda pair: len(pair[1]))
        if len(queue) < 2:
            self.wait(dice)
            return
        turn = dice.of(range(1, len(queue)))
        order = [*queue[turn:], *queue[:turn]]
        self.desks.reorder_queue(self.counter(dice), book, order[1:] if dice.seldom() else order)

    # --- Money -------------------------------------------------------------------------------------

    @rule(dice=dice)
    def pay(self, dice: Dice) -> None:
        money = self.model.money
        owing = [person for person in self.desks.patrons if any(debt.open for debt in money.debts_of(person.id))]
        if not owing and not dice.seldom():
            self.desks.charge(self.counter(dice), self.person(dice), dice.of([100, 999]))
            return
        person = dice.of(owing or self.desks.patrons)
        opened = sum(debt.open for debt in money.debts_of(person.id))
        cents = dice.of([opened, opened, opened // 2, opened + 1, 40]) or 1
        method = dice.of(["cash", "credit", "card"])
        debts = money.debts if dice.seldom(8) else money.debts_of(person.id)
        named = [dice.of(debts)] if debts and dice.seldom(3) else None
        self.desks.pay(self.counter(dice), person, cents, method, named)

    @rule(dice=dice)
    def correct(self, dice: Dice) -> None:
        """A charge by hand, a waiver, money given back, an entry taken back."""
        what = dice.of(["charge", "waive", "refund", "reverse", "reverse"])
        counter, money = self.counter(dice), self.model.money
        if what == "charge" or not money.entries:
            self.desks.charge(counter, self.person(dice), dice.of([100, 999]))
            return
        opened = [debt for debt in money.debts if debt.open]
        paid = [debt for debt in money.debts if debt.received]
        entry = dice.of(money.entries)
        debt = dice.of({"waive": opened, "refund": paid}.get(what) or money.debts or [None])
        if dice.seldom(8):
            counter.actor = self.model.people[entry.patron]
        if what == "reverse":
            self.desks.reverse(counter, entry)
        elif what == "waive":
            self.desks.waive(counter, debt, dice.of([None, 1, 40, 10**6]))
        else:
            self.desks.refund(counter, debt, dice.of([debt.received or 5, 1, 40]))

    # --- Time and the house ------------------------------------------------------------------------

    @rule(dice=dice)
    def pass_time(self, dice: Dice) -> None:
        """Some hours, or until soon after something was due."""
        later = [timedelta(hours=hours) for hours in (1, 3, 9, 24, 26, 72, 24 * 8)]
        ends = [loan.due_at for loan in self.model.open_loans()]
        ends += [hold.shelf_until for hold in self.model.holds if hold.state == "ready"]
        until = dice.of([self.model.now, *ends]) + dice.of(later)
        # What ends with the last second of a day has ended in the next.
        self.model.now = max(until + timedelta(seconds=1), self.model.now + timedelta(hours=1)).replace(second=0)

    @rule(dice=dice)
    def night(self, dice: Dice) -> None:
        for step in dice.of([list(STEPS), *([step] for step in STEPS)]):
            self.desks.work_at_night(step)

    @rule(dice=dice)
    def lay_down(self, dice: Dice) -> None:
        kind = dice.of(sorted(VALUES) if dice.seldom(3) else self.kinds)
        value = dice.of(VALUES[kind])
        categories = sorted({person.category for person in self.desks.patrons if person.category})
        types = sorted({item.kind.id for item in self.desks.items})
        scopes = ([None] * 4 + places for places in (list(self.model.places), categories, types))
        self.desks.lay_down(kind, value, *(dice.of(scope) for scope in scopes))

    @rule(dice=dice)
    def change_the_house(self, dice: Dice) -> None:
        """A way that copies may not go, a patron who is blocked, shut out or whose card expires."""
        person, day = self.person(dice), self.model.now.date() + DAY * dice.of([0, 1, 6, 30, -8])
        what = dice.of(["transfer", "transfer", "block", "unblock", "active", "confirmed", "expires_on"])
        if what == "transfer":
            types = sorted({item.kind.id for item in self.desks.items})
            start = dice.of(self.desks.places)
            end = dice.of(place for place in self.desks.places if place is not start)
            self.desks.forbid_or_allow(start.id, end.id, dice.of([None, None, *types]))
        elif what == "block":
            self.desks.block(person, dice.of(BlockScope), dice.of([None, day]))
        elif what == "unblock":
            self.desks.unblock(person)
        else:
            yes_or_day = [None, day] if what == "expires_on" else [True, True, False]
            self.desks.change_patron(person, what, dice.of(yes_or_day))


def test_the_desk_does_what_the_model_says(app, make, pytestconfig: pytest.Config, capsys):
    is_long = pytestconfig.getoption("--long")
    most, seconds = (20_000, 60) if is_long else (3_000, 15)
    with app.app_context():
        cast = Cast(make, db.engine)
    desks: list[TwoDesks] = []

    def machine() -> Machine:
        made = Machine(cast)
        desks.append(made.desks)
        return made

    # Each number gives the same runs wherever they are made; only how many of them there are is a matter of time.
    ends = time.monotonic() + seconds
    for number in count():
        if time.monotonic() > ends or sum(each.steps for each in desks) >= most:
            break
        run_state_machine_as_test(
            seed(number)(machine),
            settings=settings(
                max_examples=RUNS_A_SEED,
                stateful_step_count=STEPS_A_RUN,
                deadline=None,
                database=None,
                suppress_health_check=list(HealthCheck),
                phases=[Phase.generate, Phase.shrink],
            ),
        )
    if is_long:
        with capsys.disabled():
            sys.stdout.write(f"\n{sum(each.steps for each in desks)} steps in {len(desks)} runs\n")
