"""Who and what the state machine plays with: made in the database once, and told to the model before each run."""

from datetime import UTC, date, datetime
from typing import Any

from machine_days import DAY, Place
from machine_model import Item, Kind, Model, Person
from sqlalchemy import Engine, select
from sqlalchemy.orm import Session

from library.models import Branch, Copy, CopyPlace, HistoryMode, Role, User

START = datetime(2026, 3, 2, 10, tzinfo=UTC)
HOURS = {1: ("09:00", "17:00"), 2: ("09:00", "17:00"), 4: ("09:00", "20:00"), 5: ("09:00", "17:00")}
HOLIDAY, OPEN_WEDNESDAY = date(2026, 3, 20), date(2026, 3, 4)
CLOSED_WEEK = (date(2026, 3, 9), date(2026, 3, 12))
LENGTHS = [{"number": number, "unit": unit} for number, unit in ((0, "days"), (2, "days"), (14, "days"), (5, "hours"))]
# What policies may say, the shipped defaults among it.
VALUES: dict[str, list[Any]] = {
    "max_loans": [None, 0, 1, 3],
    "max_loans_per_item_type": [None, 1, 2],
    "max_loans_per_owner": [None, 1, 2],
    "max_overdue": [None, 0, 1],
    "max_debt_cents": [None, 0, 300],
    "max_holds": [None, 1, 2],
    "max_holds_per_day": [None, 1, 2],
    "max_holds_per_book": [1, None, 2, 0],
    "loan_period": LENGTHS,
    "renewal_period": [None, *LENGTHS],
    "shelf_period": LENGTHS,
    "max_renewals": [None, 0, 1, 2],
    "renew_from": ["due_date", "today"],
    "renew_overdue": ["allow", "refuse_loan", "refuse_all"],
    "renew_when_debt": [False, True],
    "renew_when_held": ["never", "copies_suffice"],
    "renew_too_soon_days": [None, 0, 3],
    "auto_renew": [False, True],
    "forgive_on_renewal": [False, True],
    "due_on_closed_day": ["next_open", "same_weekday", "keep"],
    "hours_loan_ends": ["last_closing", "next_opening"],
    "hard_due_on": [None, "2026-03-02", "2026-03-05", "2026-04-05"],
    "holds_allowed": [True, True, True, False],
    "holds_on_shelf": [True, False],
    "expire_ready_when_not_needed": [False, True],
    "expire_on_closed_days": [True, False],
    "fine_rate": [
        {"per": "day", "cents": 10},
        {"per": "day", "steps": [{"from": 1, "cents": 5}, {"from": 4, "cents": 30}]},
        {"per": "hour", "cents": 3},
        None,
    ],
    "grace": [{"number": number, "unit": "days"} for number in (0, 1, 2)],
    "grace_counts": [True, False],
    "fine_cap_cents": [None, 0, 40],
    "cap_at_price": [False, True],
    "fine_on_closed_days": [False, True],
    "lost_after": [None, {"number": 3, "unit": "days"}, {"number": 30, "unit": "hours"}],
    "processing_fee_cents": [0, 250],
    "processing_fee_refundable": [False, True],
    "lost_refund": ["refund", "unpaid_part", "keep"],
    "lost_refund_days": [90, None, 0, 4],
    "fine_on_lost_return": [False, True],
    "running_fines_count_as_debt": [False, True],
    "minimum_age": [None, 12, 18],
}


class Cast:
    """What there is before anything happens, put back by a rollback after each run."""

    def __init__(self, make: Any, engine: Engine) -> None:
        self.engine = engine
        week = [{"weekday": day, "opens": opens, "closes": closes} for day, (opens, closes) in HOURS.items()]
        here = make.branch(name="Berlin", hours=week)
        there = make.branch(name="New York", time_zone="America/New_York", hours=[])
        far = make.branch(name="Auckland", time_zone="Pacific/Auckland", hours=week, pickup_point=False)
        make.exception(*CLOSED_WEEK, branch_id=here.id)
        make.exception(HOLIDAY)
        make.exception(OPEN_WEDNESDAY, is_open=True, branch_id=here.id)
        adults, children = make.category(), make.category()
        plain, dear = make.item_type(), make.item_type(default_price_cents=1500)
        stays, unheld = make.item_type(not_for_loan=True), make.item_type(holdable=False)
        one, two, three = (make.book() for _ in range(3))
        make.copy(book=one, home_branch=here, item_type_id=plain.id, price_cents=900)
        make.copy(book=one, home_branch=there, item_type_id=dear.id)
        make.copy(book=one, home_branch=here, item_type_id=plain.id, check_note="2 CDs")
        make.copy(book=two, home_branch=there, item_type_id=plain.id)
        make.copy(book=two, home_branch=far, item_type_id=dear.id, place=CopyPlace.IN_PROCESS)
        make.copy(book=three, home_branch=far, item_type_id=unheld.id)
        make.copy(book=three, home_branch=here, item_type_id=stays.id)
        make.copy(book=three, home_branch=there, item_type_id=plain.id, price_cents=30)
        make.user(patron_category=adults, home_branch=here, history=HistoryMode.CUT)
        make.user(patron_category=adults, home_branch=there, expires_on=CLOSED_WEEK[1], history=HistoryMode.KEPT)
        make.user(patron_category=children, home_branch=far, birth_date=date(2014, 3, 15), history=HistoryMode.DELAYED)
        make.user(birth_date=date(2000, 1, 1), history=HistoryMode.DELAYED)
        make.user(role=Role.LIBRARIAN, home_branch=here)
        make.user(role=Role.ADMIN, home_branch=there)

    def model(self, session: Session) -> Model:
        """The model of what was made."""
        places = [self._place(row) for row in session.scalars(select(Branch).order_by(Branch.id))]
        people = [
            Person(
                row.id,
                row.role.value,
                row.patron_category_id,
                row.home_branch_id,
                row.birth_date,
                row.expires_on,
                history=row.history.value,
            )
            for row in session.scalars(select(User).order_by(User.id))
        ]
        kinds: dict[int, Kind] = {}
        items = []
        for row in session.scalars(select(Copy).order_by(Copy.id)):
            kind = row.item_type
            known = kinds.setdefault(kind.id, Kind(kind.id, kind.default_price_cents, kind.not_for_loan, kind.holdable))
            item = Item(row.id, row.book_id, row.home_branch_id, known, row.price_cents, row.not_for_loan)
            item.check_note, item.place = row.check_note is not None, row.place.value
            items.append(item)
        return Model(START, places, people, items)

    @staticmethod
    def _place(row: Branch) -> Place:
        hours = {span["weekday"]: (span["opens"], span["closes"]) for span in row.hours}
        place = Place(row.id, row.time_zone, hours, row.pickup_point, {HOLIDAY})
        if row.name == "Berlin":
            first, last = CLOSED_WEEK
            place.closed |= {first + DAY * more for more in range((last - first).days + 1)}
            place.opened.add(OPEN_WEDNESDAY)
        return place
