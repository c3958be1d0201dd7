"""The whole desk once more in plain Python, written from the design: what the state machine expects of every action.

An action either raises `No` with the codes of all reasons against it, or changes the model. Rules, tables and queues
are lists and dictionaries here, and every question is answered by looking through all of them.
"""

from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any

from machine_days import DAY, Place, due, fine
from machine_money import Debt, Money, No

OVERRIDABLE = {
    "patron_unconfirmed",
    "patron_expired",
    "patron_blocked",
    "debt_limit",
    "overdue_limit",
    "loan_limit",
    "not_for_loan",
    "bad_condition",
    "age_restricted",
    "renewal_limit",
    "too_soon",
    "held",
    "overdue",
    "hold_limit",
    "holds_per_day",
    "on_shelf",
    "not_transferable",
}
CONFIRMABLE = {"same_title_on_loan", "wanted_by_others", "check_note"}
ENDED = ("fulfilled", "cancelled", "expired")


@dataclass
class Person:
    """A patron, or one of the staff."""

    id: int
    role: str = "patron"
    category: int | None = None
    home: int | None = None
    birth_date: date | None = None
    expires_on: date | None = None
    active: bool = True
    confirmed: bool = True
    history: str = "kept"
    blocks: list[tuple[str, date | None]] = field(default_factory=list)


@dataclass
class Kind:
    """An item type."""

    id: int
    price: int | None = None
    not_for_loan: bool = False
    holdable: bool = True


@dataclass
class Item:
    """A copy."""

    id: int
    book: int
    home: int
    kind: Kind
    price: int | None = None
    not_for_loan: bool = False
    check_note: bool = False
    place: str = "available"
    condition: str = "usable"
    here: int = 0
    to: int | None = None

    def __post_init__(self) -> None:
        self.here = self.home

    @property
    def cost(self) -> int | None:
        return self.price or self.kind.price or None

    @property
    def can_be_held(self) -> bool:
        stays = self.not_for_loan or self.kind.not_for_loan
        return self.condition == "usable" and not stays and self.kind.holdable


@dataclass(eq=False)
class Lent:
    """A loan."""

    item: Item
    patron: Person | None
    place: Place
    out_at: datetime
    due_at: datetime
    id: int = 0
    renewals: int = 0
    charged_until: datetime | None = None
    lost_at: datetime | None = None
    claimed_at: datetime | None = None
    pauses: list[tuple[datetime, datetime]] = field(default_factory=list)
    closed_at: datetime | None = None
    closed_as: str | None = None
    noted_at: datetime | None = None
    lent_as: str | None = None
    renewed_itself_on: date | None = None

    @property
    def due_on(self) -> date:
        return self.place.today(self.due_at)


@dataclass(eq=False)
class Wish:
    """A hold."""

    patron: Person | None
    book: int
    item: Item | None
    pickup: Place
    placed_on: date
    needed_until: date | None
    id: int = 0
    state: str = "queued"
    suspended: bool = False
    suspended_until: date | None = None
    taken: Item | None = None
    shelf_until: datetime | None = None
    ended_at: datetime | None = None

    @property
    def is_open(self) -> bool:
        return self.state not in ENDED

    def waits_on(self, today: date) -> bool:
        rests = self.suspended and (self.suspended_until is None or today <= self.suspended_until)
        return not rests and (self.needed_until is None or today <= self.needed_until)


@dataclass
class Counter:
    """Who stands at which desk, and what they let pass."""

    actor: Person | None
    place: Place | None = None
    overrides: frozenset[str] = frozenset()
    confirms: bool = False

    def may(self, code: str) -> bool:
        allowed = ("admin",) if code == "held" else ("admin", "librarian")
        return self.actor is not None and self.actor.role in allowed

    def judge(self, codes: set[str]) -> None:
        """Raise No unless all is overridden or confirmed."""
        left = set()
        for code in codes:
            if code not in self.overrides:
                left.add(code)
            elif code not in OVERRIDABLE:
                left |= {code, "override_not_possible"}
            elif not self.may(code):
                left |= {code, "override_not_permitted"}
        if left and not (self.confirms and left <= CONFIRMABLE):
            raise No(left)


class Model:
    """All that a library knows."""

    def __init__(self, now: datetime, places: list[Place], people: list[Person], items: list[Item]) -> None:
        self.now = now
        self.places = {place.id: place for place in places}
        self.people = {person.id: person for person in people}
        self.items = {item.id: item for item in items}
        self.loans: list[Lent] = []
        self.holds: list[Wish] = []
        self.queues: dict[int, list[Wish]] = {item.book: [] for item in items}
        self.money = Money()
        self.policies: dict[tuple[str, int | None, int | None, int | None], Any] = {}
        self.no_way: set[tuple[int, int, int | None]] = set()

    # --- What holds where --------------------------------------------------------------------------

    def rules(self, place: int | None, category: int | None, kind: int | None) -> dict[str, Any]:
        return Rules(self.policies, (place, category, kind))

    def rules_of(self, loan: Lent) -> dict[str, Any]:
        return self.rules(loan.place.id, loan.patron.category if loan.patron else None, loan.item.kind.id)

    def may_travel(self, start: int, end: int, kind: int) -> bool:
        return start == end or ((start, end, None) not in self.no_way and (start, end, kind) not in self.no_way)

    def open_loans(self, person: Person | None = None) -> list[Lent]:
        return [loan for loan in self.loans if not loan.closed_at and person in (None, loan.patron)]

    def loan_of(self, item: Item) -> Lent | None:
        return next((loan for loan in self.open_loans() if loan.item is item), None)

    def holder_of(self, item: Item) -> Wish | None:
        return next((hold for hold in self.holds if hold.is_open and hold.taken is item), None)

    def counted(self, person: Person) -> list[Lent]:
        """A claim leaves the count until it is resolved."""
        return [loan for loan in self.open_loans(person) if loan.item.condition != "claimed_returned"]

    # --- What speaks against a patron --------------------------------------------------------------

    def against_patron(
        self, person: Person, scope: str, place: Place, rules: dict[str, Any], debt_counts: bool = True
    ) -> set[str]:
        today, codes = place.today(self.now), set()
        if not person.active:
            codes.add("patron_inactive")
        if person.expires_on and person.expires_on < today:
            codes.add("patron_expired")
        if any(what in ("all", scope) and (until is None or today <= until) for what, until in person.blocks):
            codes.add("patron_blocked")
        limit = rules["max_debt_cents"]
        if debt_counts and limit is not None and self.debt(person, rules) > limit:
            codes.add("debt_limit")
        late = [loan for loan in self.counted(person) if loan.due_at < self.now]
        if rules["max_overdue"] is not None and len(late) > rules["max_overdue"]:
            codes.add("overdue_limit")
        age, born = rules["minimum_age"], person.birth_date
        if age is not None and (born is None or born.replace(year=born.year + age) > today):
            codes.add("age_restricted")
        return codes

    def debt(self, person: Person, rules: dict[str, Any]) -> int:
        owed = self.money.balance(person.id)
        if rules["running_fines_count_as_debt"]:
            owed += sum(self.fine_of(loan, self.now) for loan in self.open_loans(person))
        return owed

    def fine_of(self, loan: Lent, until: datetime, beyond_loss: bool = False) -> int:
        stops = [moment for moment in (loan.claimed_at, None if beyond_loss else loan.lost_at) if moment]
        charged = sum(debt.amount for debt in self.money.of_loan(loan, "overdue"))
        return fine(
            self.rules_of(loan),
            loan.place,
            loan.due_at,
            min([until, *stops]),
            loan.item.cost,
            charged,
            loan.charged_until,
            loan.pauses,
        )

    def charge_fine(self, loan: Lent, until: datetime, beyond_loss: bool = False) -> None:
        cents = self.fine_of(loan, until, beyond_loss)
        if cents and loan.patron:
            self.money.charge(loan.patron.id, cents, "overdue", self.now, loan)
            loan.charged_until = max(until, loan.charged_until or until)

    # --- Check out ---------------------------------------------------------------------------------

    def check_out(self, counter: Counter, item: Item | None, person: Person | None, due_at: datetime | None) -> Lent:
        place = counter.place
        codes = {"item_not_found"} if item is None else self._against_item(item, person)
        if person is None:
            codes.add("patron_not_found")
        else:
            rules = self.rules(place.id, person.category, item.kind.id if item else None)
            codes |= self.against_patron(person, "loans", place, rules)
            if not person.confirmed:
                codes.add("patron_unconfirmed")
            if item is not None:
                codes |= self._limits(item, person, place, rules) | self._to_confirm(item, person)
        if due_at is not None and due_at <= self.now:
            codes.add("due_in_the_past")
        if due_at is None and "not_for_loan" in codes & counter.overrides:
            codes.add("override_due_date_missing")
        counter.judge(codes)
        if due_at is None:
            due_at = due(self.now, self.now, rules["loan_period"], rules, place, person.expires_on)
        served = self._served(item, person)
        if item.condition == "lost":
            self._found_after_payment(item, self.now)
        came_as = item.condition if item.condition in ("damaged", "withdrawn") else None
        loan = Lent(item, person, place, self.now, due_at, lent_as=came_as)
        self.loans.append(loan)
        item.place, item.condition, item.here, item.to = "on_loan", "usable", place.id, None
        if served:
            other = served.taken if served.taken is not item else None
            self._end(served, "fulfilled")
            self._pass_on(other)
        return loan

    def _against_item(self, item: Item, person: Person | None) -> set[str]:
        codes = set()
        hold = self.holder_of(item)
        if item.place == "on_loan":
            codes.add("item_on_loan")
        if item.condition != "usable" or item.place in ("in_process", "on_order"):
            codes.add("bad_condition")
        if hold and hold.patron is not person:
            codes.add("held_for_another")
        if item.not_for_loan or item.kind.not_for_loan:
            codes.add("not_for_loan")
        return codes

    def _limits(self, item: Item, person: Person, place: Place, rules: dict[str, Any]) -> set[str]:
        loans = self.counted(person)
        counts = {
            "max_loans": len(loans),
            "max_loans_per_item_type": sum(loan.item.kind is item.kind for loan in loans),
            "max_loans_per_owner": sum(loan.item.home == item.home for loan in loans),
        }
        codes = {"loan_limit" for kind, count in counts.items() if rules[kind] is not None and count >= rules[kind]}
        return codes

    def _to_confirm(self, item: Item, person: Person) -> set[str]:
        codes = {"check_note"} if item.check_note else set()
        if any(loan.item.book == item.book and loan.item is not item for loan in self.open_loans(person)):
            codes.add("same_title_on_loan")
        queue, own = self.queues[item.book], self._served(item, person)
        if own is not None:
            # They wait too: only those whose turn comes sooner are passed over.
            queue = queue[: queue.index(own)] if own in queue else []
        waiting = [hold for hold in self._waiting(item, queue) if hold.patron is not person]
        # Who waits for this very copy is served by no other, however many are free.
        if waiting and (len(waiting) >= len(self._free(item.book)) or any(hold.item for hold in waiting)):
            codes.add("wanted_by_others")
        return codes

    def _waiting(self, item: Item, queue: list[Wish]) -> list[Wish]:
        """Who waits in earnest for a copy."""
        asked = [hold for hold in queue if hold.item in (None, item)]
        return [hold for hold in asked if hold.waits_on(hold.pickup.today(self.now))]

    def _free(self, book: int) -> list[Item]:
        """Copies set aside, travelling or kept in the house are not free."""
        of_book = [item for item in self.items.values() if item.book == book]
        return [item for item in of_book if item.place == "available" and item.can_be_held]

    def _served(self, item: Item, person: Person) -> Wish | None:
        own = [hold for hold in self.holds if hold.is_open and hold.patron is person and hold.book == item.book]
        own = [hold for hold in own if hold.item in (None, item) or hold.taken is item]
        return min(own, key=lambda hold: (hold.taken is not item, self.holds.index(hold)), default=None)

    # --- Check in ----------------------------------------------------------------------------------

    def check_in(self, counter: Counter, item: Item, returned_at: datetime | None) -> None:
        loan = self.loan_of(item)
        back_at = min(returned_at or self.now, self.now)
        if loan:
            if back_at < loan.out_at:
                raise No({"returned_before_loan"})
            self._close(loan, "returned", back_at)
        else:
            self._found_after_payment(item, back_at)
        if item.condition in ("missing", "lost", "claimed_returned"):
            item.condition = "usable"
        if loan and loan.lent_as:
            item.condition = loan.lent_as
        self._route(item, counter.place)

    def _close(self, loan: Lent, closed_as: str, back_at: datetime) -> None:
        if loan.lost_at is None:
            self.charge_fine(loan, back_at)
        else:
            if self.rules_of(loan)["fine_on_lost_return"]:
                self.charge_fine(loan, back_at, beyond_loss=True)
            self._give_back(loan, back_at)
            if back_at <= loan.due_at:
                # It was never late: the fine that its loss had led to is taken back.
                for debt in self.money.of_loan(loan, "overdue"):
                    if debt.made_at == loan.lost_at:
                        self.money.lift(debt, False, self.now)
        loan.closed_at, loan.closed_as, loan.noted_at = back_at, closed_as, self.now

    def _found_after_payment(self, item: Item, back_at: datetime) -> None:
        """A copy that was lost and paid for is here again, whatever has led it here."""
        loan = next((one for one in reversed(self.loans) if one.item is item), None)
        if item.condition != "lost" or loan is None or loan.closed_as != "lost_paid" or loan.patron is None:
            return
        if self.rules_of(loan)["fine_on_lost_return"]:
            self.charge_fine(loan, back_at, beyond_loss=True)
        self._give_back(loan, back_at)

    def _give_back(self, loan: Lent, back_at: datetime) -> None:
        """Found again within the time: by policy."""
        rules = self.rules_of(loan)
        if rules["lost_refund"] == "keep" or self._too_late_to_give_back(loan, rules, back_at):
            return
        reasons = ["replacement"] + ["processing"] * rules["processing_fee_refundable"]
        for debt in self.money.of_loan(loan, *reasons):
            self.money.lift(debt, rules["lost_refund"] == "unpaid_part", self.now)

    def _too_late_to_give_back(self, loan: Lent, rules: dict[str, Any], back_at: datetime) -> bool:
        """The last of the days is still within."""
        days = rules["lost_refund_days"]
        return days is not None and loan.place.today(back_at) > loan.place.today(loan.lost_at) + DAY * days

    # --- Where copies go ---------------------------------------------------------------------------

    def _route(self, item: Item, place: Place) -> None:
        item.here, item.to = place.id, None
        hold = None
        if item.condition == "usable":
            hold = self.holder_of(item) or self.first_eligible(item, place)
        if hold is None:
            item.place = "available" if item.home == place.id else "in_transit"
            item.to = None if item.home == place.id else item.home
            return
        if hold in self.queues[item.book]:
            self.queues[item.book].remove(hold)
        hold.taken = item
        if hold.pickup is not place:
            hold.state, hold.shelf_until = "in_transit", None
            item.place, item.to = "in_transit", hold.pickup.id
            return
        item.place = "on_hold_shelf"
        if hold.state != "ready":
            rules = self.rules(place.id, hold.patron.category if hold.patron else None, item.kind.id)
            shelf = {"due_on_closed_day": "next_open", "hours_loan_ends": "next_opening", "hard_due_on": None}
            hold.state = "ready"
            hold.shelf_until = due(self.now, self.now, rules["shelf_period"], shelf, place, None)

    def first_eligible(self, item: Item, place: Place) -> Wish | None:
        return next(
            (hold for hold in self._waiting(item, self.queues[item.book]) if self.fits(item, place, hold)), None
        )

    def fits(self, item: Item, place: Place, hold: Wish) -> bool:
        rules = self.rules(hold.pickup.id, hold.patron.category, item.kind.id)
        return (
            item.can_be_held
            and rules["holds_allowed"]
            and self.may_travel(place.id, hold.pickup.id, item.kind.id)
            and not self.against_patron(hold.patron, "holds", hold.pickup, rules)
        )

    def _pass_on(self, item: Item | None) -> None:
        """A copy whose hold is gone: the next in line, or home; one that travels is led anew at its next scan."""
        if item is not None and item.place == "on_hold_shelf":
            self._route(item, self.places[item.here])

    def _end(self, hold: Wish, state: str) -> None:
        if hold in self.queues[hold.book]:
            self.queues[hold.book].remove(hold)
        hold.state, hold.taken, hold.ended_at = state, None, self.now

    # --- Renew -------------------------------------------------------------------------------------

    def renew(self, counter: Counter, loan: Lent, automatic: bool = False) -> None:
        if loan.closed_at or loan.patron is None:
            codes = {"loan_closed"}
        else:
            codes = self._against_renewal(loan)
        if counter.actor and counter.actor.role == "patron" and counter.actor is not loan.patron:
            codes.add("loan_of_another")
        counter.judge(codes)
        due_at = self._renewed(loan)
        if loan.due_at < self.now:
            if self.rules_of(loan)["forgive_on_renewal"]:
                loan.charged_until = self.now
            else:
                self.charge_fine(loan, self.now)
        loan.due_at = due_at
        loan.renewals += 1
        if automatic:
            loan.renewed_itself_on = loan.place.today(self.now)

    def _against_renewal(self, loan: Lent) -> set[str]:
        rules, item = self.rules_of(loan), loan.item
        codes = self.against_patron(loan.patron, "renewals", loan.place, rules, not rules["renew_when_debt"])
        if item.not_for_loan or item.kind.not_for_loan:
            codes.add("not_for_loan")
        if item.condition != "usable":
            codes.add("not_renewable")
        if rules["max_renewals"] is not None and loan.renewals >= rules["max_renewals"]:
            codes.add("renewal_limit")
        early = rules["renew_too_soon_days"]
        if early is not None and loan.place.today(self.now) < loan.due_on - DAY * early:
            codes.add("too_soon")
        waiting = [hold for hold in self.queues[item.book] if hold.waits_on(hold.pickup.today(self.now))]
        others = [hold for hold in waiting if hold.patron is not loan.patron]
        named = [hold.item for hold in others if hold.item]
        for_title = [hold for hold in others if hold.item is None]
        free = [one for one in self._free(item.book) if one not in named]
        suffice = rules["renew_when_held"] == "copies_suffice" and len(for_title) <= len(free)
        if item in named or (for_title and not suffice):
            codes.add("held")
        late = [one for one in self.counted(loan.patron) if one.due_at < self.now]
        if (rules["renew_overdue"] == "refuse_loan" and loan.due_at < self.now) or (
            rules["renew_overdue"] == "refuse_all" and late
        ):
            codes.add("overdue")
        if self._renewed(loan) <= max(loan.due_at, self.now):
            codes.add("would_not_extend")
        return codes

    def _renewed(self, loan: Lent) -> datetime:
        rules = self.rules_of(loan)
        start = self.now if rules["renew_from"] == "today" else loan.due_at
        length = rules["renewal_period"] or rules["loan_period"]
        return due(start, self.now, length, rules, loan.place, loan.patron.expires_on)

    def change_due_date(self, loan: Lent, due_at: datetime) -> None:
        codes = {"loan_closed"} if loan.closed_at else set()
        if due_at <= loan.out_at:
            codes.add("due_in_the_past")
        if codes:
            raise No(codes)
        loan.due_at = due_at

    # --- Losses ------------------------------------------------------------------------------------

    def declare_lost(self, loan: Lent, price: int | None = None) -> None:
        if loan.closed_at:
            raise No({"loan_closed"})
        if loan.lost_at:
            raise No({"already_lost"})
        self.charge_fine(loan, self.now)
        price = loan.item.cost if price is None else price
        fee = self.rules_of(loan)["processing_fee_cents"]
        for reason, cents in (("replacement", price), ("processing", fee)):
            if cents:
                self.money.charge(loan.patron.id, cents, reason, self.now, loan)
        loan.lost_at, loan.item.condition = self.now, "lost"

    def claim_returned(self, loan: Lent) -> None:
        if loan.closed_at:
            raise No({"loan_closed"})
        if loan.lost_at or loan.claimed_at:
            raise No({"already_lost" if loan.lost_at else "already_claimed"})
        loan.claimed_at, loan.item.condition = self.now, "claimed_returned"

    def resolve_claim(self, counter: Counter, loan: Lent, found: bool) -> None:
        if loan.closed_at:
            raise No({"loan_closed"})
        if loan.item.condition != "claimed_returned":
            raise No({"not_claimed"})
        if found:
            self._close(loan, "claim_found", self.now)
            loan.item.condition = loan.lent_as or "usable"
            self._route(loan.item, counter.place)
            return
        since = loan.claimed_at
        if loan.pauses and loan.pauses[-1][1] == since:
            since = loan.pauses.pop()[0]
        loan.pauses.append((since, self.now))
        loan.claimed_at, loan.item.condition = None, "usable"

    def settle(self, debts: list[Debt]) -> None:
        """When both charges of a loss are settled, the loan closes and the copy stays lost."""
        for loan in {debt.loan for debt in debts if debt.loan and debt.reason in ("replacement", "processing")}:
            of_loss = self.money.of_loan(loan, "replacement", "processing")
            if loan.lost_at and not loan.closed_at and not any(debt.open for debt in of_loss):
                loan.closed_at, loan.closed_as, loan.noted_at = self.now, "lost_paid", self.now
                loan.item.place = "available"

    def mark(self, item: Item, mark: str) -> None:
        if item.place == "on_loan":
            raise No({"copy_is_out"})
        was, hold = item.condition, self.holder_of(item)
        if mark in ("usable", "damaged"):
            # Who looks at a copy has found it.
            self._found_after_payment(item, self.now)
        item.condition = mark
        if was == mark:
            return
        if mark == "usable":
            if item.place == "available":
                self._route(item, self.places[item.here])
            return
        if item.place in ("on_hold_shelf", "in_transit"):
            item.place, item.to = "available", None
        if hold:
            self.fall_back(hold)

    def fall_back(self, hold: Wish) -> None:
        hold.state, hold.taken, hold.shelf_until = "queued", None, None
        self.queues[hold.book].insert(0, hold)

    # --- Holds -------------------------------------------------------------------------------------

    def place_hold(
        self,
        counter: Counter,
        person: Person,
        book: int,
        item: Item | None,
        pickup_id: int | None,
        needed_until: date | None,
    ) -> Wish:
        pickup = self.places.get(person.home if pickup_id is None else pickup_id)
        if pickup is None:
            codes = {"pickup_missing" if pickup_id is None else "pickup_unknown"}
        else:
            codes = set() if pickup.pickup else {"pickup_not_allowed"}
        place = pickup or NOWHERE
        choice = [item] if item else [one for one in self.items.values() if one.book == book]
        codes |= set(self._mildest(choice, person, book, item, pickup))
        if any(loan.item.book == book for loan in self.open_loans(person)):
            codes.add("already_borrowed")
        if needed_until and needed_until < place.today(self.now):
            codes.add("not_needed_in_the_past")
        if item and item.book != book:
            codes.add("copy_of_another_book")
        else:
            codes |= self._against_holding(choice, person, pickup)
        counter.judge(codes)
        hold = Wish(person, book, item, pickup, pickup.today(self.now), needed_until)
        self.holds.append(hold)
        self.queues[book].append(hold)
        return hold

    def _hold_limits(self, person: Person, book: int, item: Item | None, place: Place, rules: Any) -> list[str]:
        own = [hold for hold in self.holds if hold.is_open and hold.patron is person]
        of_book = [hold for hold in own if hold.book == book]
        codes, most = [], rules["max_holds_per_book"]
        if (item and any(hold.item is item for hold in of_book)) or (
            of_book and most is not None and len(of_book) >= most
        ):
            codes.append("already_held")
        elif most == 0:
            codes.append("hold_limit")
        if rules["max_holds"] is not None and len(own) >= rules["max_holds"]:
            codes.append("hold_limit")
        today, most = place.today(self.now), rules["max_holds_per_day"]
        placed = [hold for hold in self.holds if hold.patron is person and hold.placed_on == today]
        if most is not None and len(placed) >= most:
            codes.append("holds_per_day")
        return codes

    def _good(self, choice: list[Item], person: Person, pickup: Place | None) -> list[Item]:
        return [item for item in choice if item.can_be_held and self._rules(item, person, pickup)["holds_allowed"]]

    def _rules(self, item: Item, person: Person, pickup: Place | None) -> dict[str, Any]:
        return self.rules(pickup.id if pickup else None, person.category, item.kind.id)

    def _mildest(
        self, choice: list[Item], person: Person, book: int, item: Item | None, pickup: Place | None
    ) -> list[str]:
        """Policies may differ by type: what speaks least against the patron counts, as one copy is enough."""
        every, place = [], pickup or NOWHERE
        for one in self._good(choice, person, pickup) or choice:
            rules = self._rules(one, person, pickup)
            standing = self.against_patron(person, "holds", place, rules)
            every.append([*standing, *self._hold_limits(person, book, item, place, rules)])
        return min(every, key=len)

    def _against_holding(self, choice: list[Item], person: Person, pickup: Place | None) -> set[str]:
        """A title can be held if one of its copies can."""
        codes, good = set(), self._good(choice, person, pickup)
        on_shelf = [item for item in good if item.place == "available"]
        if not good:
            codes.add("not_holdable")
        if on_shelf and not any(self._rules(item, person, pickup)["holds_on_shelf"] for item in on_shelf):
            codes.add("on_shelf")
        if pickup and choice and not self._reachable(good or choice, pickup):
            codes.add("not_transferable")
        return codes

    def _reachable(self, items: list[Item], pickup: Place) -> bool:
        return any(
            self.may_travel(start, pickup.id, item.kind.id) for item in items for start in (item.here, item.home)
        )

    def cancel(self, hold: Wish) -> None:
        if not hold.is_open:
            raise No({"hold_ended"})
        item = hold.taken
        self._end(hold, "cancelled")
        self._pass_on(item)

    def suspend(self, hold: Wish, until: date | None) -> None:
        if not hold.is_open:
            raise No({"hold_ended"})
        codes = self._against_suspending(hold, until)
        if codes:
            raise No(codes)
        hold.suspended, hold.suspended_until = True, until

    def _against_suspending(self, hold: Wish, until: date | None) -> set[str]:
        codes = set() if hold.state == "queued" else {"not_suspendable"}
        if until and until < hold.pickup.today(self.now):
            codes.add("suspended_in_the_past")
        return codes

    def resume(self, hold: Wish) -> None:
        if not hold.is_open:
            raise No({"hold_ended"})
        hold.suspended, hold.suspended_until = False, None

    def suspend_all(self, person: Person, until: date | None) -> None:
        for hold in self.holds:
            if hold.is_open and hold.patron is person and not self._against_suspending(hold, until):
                hold.suspended, hold.suspended_until = True, until

    def resume_all(self, person: Person) -> None:
        for hold in self.holds:
            if hold.is_open and hold.patron is person:
                hold.suspended, hold.suspended_until = False, None

    def _forget_past_suspension(self, hold: Wish) -> None:
        """Whoever touches a hold whose suspension is over finds it resumed."""
        if hold.suspended_until and hold.suspended_until < hold.pickup.today(self.now):
            hold.suspended, hold.suspended_until = False, None

    def change_pickup(self, hold: Wish, pickup: Place) -> None:
        if not hold.is_open:
            raise No({"hold_ended"})
        if hold.pickup is pickup:
            self._forget_past_suspension(hold)
            return
        if hold.state == "ready":
            raise No({"pickup_fixed"})
        codes = set() if pickup.pickup else {"pickup_not_allowed"}
        of_book = [one for one in self.items.values() if one.book == hold.book and hold.item in (None, one)]
        choice = [hold.taken] if hold.taken else of_book
        if not any(self._rules(item, hold.patron, pickup)["holds_allowed"] for item in choice):
            codes.add("not_holdable")
        if hold.taken:
            reachable = self.may_travel(hold.taken.here, pickup.id, hold.taken.kind.id)
        else:
            choice = [one for one in choice if one.can_be_held]
            reachable = not choice or self._reachable(choice, pickup)
        if not reachable:
            codes.add("not_transferable")
        if codes:
            raise No(codes)
        self._forget_past_suspension(hold)
        hold.pickup = pickup
        if hold.taken:
            hold.taken.to = pickup.id

    def need_until(self, hold: Wish, day: date | None) -> None:
        if not hold.is_open:
            raise No({"hold_ended"})
        if day != hold.needed_until and day and day < hold.pickup.today(self.now):
            raise No({"not_needed_in_the_past"})
        self._forget_past_suspension(hold)
        hold.needed_until = day

    def reorder(self, book: int, holds: list[Wish]) -> None:
        queue = self.queues[book]
        if len(holds) != len(queue) or any(hold not in queue for hold in holds):
            raise No({"queue_changed"})
        self.queues[book] = holds

    # --- The night ---------------------------------------------------------------------------------

    def expire_holds(self) -> None:
        for hold in self.holds:
            today = hold.pickup.today(self.now)
            unneeded = hold.needed_until is not None and hold.needed_until < today
            if not hold.is_open:
                continue
            item = hold.taken
            if item is not None:
                rules = self.rules(hold.pickup.id, hold.patron.category if hold.patron else None, item.kind.id)
                left = hold.shelf_until is not None and hold.pickup.today(hold.shelf_until) < today
                ends = left or (unneeded and rules["expire_ready_when_not_needed"])
                if not ends or not (rules["expire_on_closed_days"] or hold.pickup.is_open(today)):
                    continue
            elif not unneeded:
                continue
            self._end(hold, "expired")
            self._pass_on(item)

    def resume_holds(self) -> None:
        for hold in self.holds:
            if hold.is_open:
                self._forget_past_suspension(hold)

    def age_to_lost(self) -> None:
        for loan in self.open_loans():
            after = self.rules_of(loan)["lost_after"]
            if after is None or loan.lost_at or loan.claimed_at or loan.due_at >= self.now:
                continue
            if after["unit"] == "hours":
                lost = loan.due_at + timedelta(hours=after["number"]) <= self.now
            else:
                lost = loan.place.today(self.now) >= loan.due_on + DAY * after["number"]
            if lost:
                self.declare_lost(loan)

    def renew_by_itself(self) -> None:
        for loan in self.open_loans():
            today = loan.place.today(self.now)
            settled = loan.lost_at or loan.claimed_at or loan.renewed_itself_on == today
            if settled or loan.due_on > today or not self.rules_of(loan)["auto_renew"]:
                continue
            try:
                self.renew(Counter(None), loan, automatic=True)
            except No:
                continue

    def cut_history(self, days: int) -> None:
        for loan in self.loans:
            if loan.patron and loan.closed_at and self._past(loan.patron, loan.noted_at, loan.place, days, loan):
                moments = {entry.made_at for entry in self.money.entries if entry.patron == loan.patron.id}
                loan.patron = None
                # What is left of its moments is their day.
                loan.closed_at = max(day_of(loan.closed_at), loan.out_at)
                loan.lost_at, loan.claimed_at = day_of(loan.lost_at), day_of(loan.claimed_at)
                for debt in self.money.debts:
                    if debt.loan is loan:
                        debt.loan = None
                self._untie(loan.item, moments)
        for hold in self.holds:
            if hold.patron and hold.ended_at and self._past(hold.patron, hold.ended_at, hold.pickup, days, None):
                hold.patron = None

    def _untie(self, item: Item, moments: set[datetime]) -> None:
        """What was done with a book in a moment of the ledger keeps its day, whoever's it is."""
        for hold in self.holds:
            if hold.book == item.book and hold.ended_at in moments:
                hold.ended_at = day_of(hold.ended_at)
        for loan in self.loans:
            if loan.item is item and loan.out_at in moments:
                others = [other.closed_at for other in self.loans if other.item is item and other is not loan]
                before = [moment for moment in others if moment and moment <= loan.out_at]
                loan.out_at = max([day_of(loan.out_at), *before])

    def _past(self, person: Person, ended_at: datetime, place: Place, days: int, loan: Lent | None) -> bool:
        if person.history == "kept":
            return False
        if loan and loan.closed_as == "lost_paid":
            rules = self.rules_of(loan)
            if rules["lost_refund"] != "keep" and not self._too_late_to_give_back(loan, rules, self.now):
                return False
        earlier = days if person.history == "delayed" else 0
        since = place.starts(place.today(self.now) - DAY * earlier)
        if person.history == "delayed" and loan:
            of_loan = [debt for debt in self.money.debts if debt.loan is loan]
            if any(debt.open or (debt.touched_at and debt.touched_at >= since) for debt in of_loan):
                return False
        return ended_at < since


class Rules(dict[str, Any]):
    """The policies for one branch, category and type: each kind alone, the narrowest row wins."""

    def __init__(self, rows: dict[Any, Any], scope: tuple[int | None, int | None, int | None]) -> None:
        super().__init__()
        self.rows, self.scope = rows, scope

    def __missing__(self, kind: str) -> Any:
        place, category, item_type = self.scope
        for asked in (
            (place, category, item_type),
            (place, category, None),
            (place, None, item_type),
            (place, None, None),
            (None, category, item_type),
            (None, category, None),
            (None, None, item_type),
            (None, None, None),
        ):
            if (kind, *asked) in self.rows:
                self[kind] = self.rows[kind, *asked]
                return self[kind]
        self[kind] = DEFAULTS.get(kind)
        return self[kind]


def day_of(moment: datetime | None) -> datetime | None:
    """Where a day begins in UTC."""
    return moment and moment.replace(hour=0, minute=0, second=0, microsecond=0)


NOWHERE = Place(0, "UTC", {})
DEFAULTS: dict[str, Any] = {
    "loan_period": {"number": 28, "unit": "days"},
    "shelf_period": {"number": 7, "unit": "days"},
    "renew_from": "due_date",
    "renew_overdue": "allow",
    "renew_when_held": "never",
    "due_on_closed_day": "next_open",
    "hours_loan_ends": "last_closing",
    "max_holds_per_book": 1,
    "holds_allowed": True,
    "holds_on_shelf": True,
    "expire_on_closed_days": True,
    "grace": {"number": 0, "unit": "days"},
    "grace_counts": True,
    "processing_fee_cents": 0,
    "processing_fee_refundable": False,
    "lost_refund": "refund",
    "lost_refund_days": 90,
}
