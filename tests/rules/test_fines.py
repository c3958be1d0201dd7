"""Fines: days and hours late, grace, closed days, claims, steps and caps; each late day is charged once."""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from library.models import PolicyKind
from library.rules.calendar import BranchCalendar, Out, end_of_day, local_day
from library.rules.fines import MOST_CENTS, Fine, fine
from library.rules.policies import PolicyTable, Row

ZONE = "Europe/Berlin"
FRIDAY = date(2026, 5, 1)
WORKDAYS = [{"weekday": day, "opens": "09:00", "closes": "18:00"} for day in range(1, 6)]
EVERY_DAY = BranchCalendar(ZONE)
CLOSED_AT_WEEKENDS = BranchCalendar(ZONE, WORKDAYS)
DAILY = {"per": "day", "cents": 20}
HOURLY = {"per": "hour", "cents": 5}
TIERS = {"per": "day", "steps": [{"from": 1, "cents": 10}, {"from": 4, "cents": 50}]}


def rules(**values):
    """Policies with these values, the shipped defaults for the rest."""
    kinds = {PolicyKind(name): value for name, value in values.items()}
    return PolicyTable({kind: [Row(1, (None, None, None), value)] for kind, value in kinds.items()}).at(
        None, None, None
    )


def length(number: int, unit: str = "days") -> dict:
    return {"number": number, "unit": unit}


def at(day: date, hour: int = 12, minute: int = 0, zone: str = ZONE) -> datetime:
    return datetime(day.year, day.month, day.day, hour, minute, tzinfo=ZoneInfo(zone))


def cents(
    values,
    until,
    days=EVERY_DAY,
    due_at=None,
    price=None,
    already=0,
    fined_until=None,
    pauses=(),
) -> int:
    """The fine of a loan that was due by the end of Friday, 1 May 2026, unless said otherwise."""
    return computed(values, until, days, due_at, price, already, fined_until, pauses).cents


def computed(values, until, days=EVERY_DAY, due_at=None, price=None, already=0, fined_until=None, pauses=()) -> Fine:
    due_at = due_at or end_of_day(FRIDAY, days.time_zone)
    due_on = local_day(due_at, days.time_zone)
    kept = [{"from": first.isoformat(), "to": last.isoformat()} for first, last in pauses]
    return fine(rules(**values), days, due_at, due_on, until, price, already, fined_until, kept)


def later(days: int, hour: int = 12, minute: int = 0) -> datetime:
    return at(FRIDAY + timedelta(days=days), hour, minute)


# --- Days ---------------------------------------------------------------------------------------


def test_without_a_rate_nothing_is_fined():
    assert computed({}, later(400)) == Fine(0)
    assert computed({"fine_rate": None}, later(400)) == Fine(0)
    assert computed({"fine_rate": {"per": "day", "cents": 0}}, later(400)) == Fine(0)


@pytest.mark.parametrize(
    ("until", "expected"),
    [
        (later(0, 23, 59), 0),
        (later(1, 0, 0), 20),
        (later(1, 23, 59), 20),
        (later(2, 0, 0), 40),
        (later(2, 1, 0), 40),
        (later(30), 600),
        (later(-3), 0),
    ],
)
def test_days_late_are_local_calendar_days_after_the_due_day(until, expected):
    assert cents({"fine_rate": DAILY}, until) == expected
    assert cents({"fine_rate": DAILY}, until.astimezone(UTC)) == expected


def test_a_loan_due_at_noon_is_not_a_day_late_that_evening():
    assert cents({"fine_rate": DAILY}, later(0, 20), due_at=later(0, 12)) == 0
    assert cents({"fine_rate": DAILY}, later(1, 0, 1), due_at=later(0, 12)) == 20


@pytest.mark.parametrize(
    ("zone", "due_on"),
    [("Europe/Berlin", date(2026, 3, 27)), ("Europe/Berlin", date(2026, 10, 23)), ("Africa/Cairo", date(2026, 4, 22))],
)
def test_a_change_of_clocks_makes_no_day_longer(zone, due_on):
    days, due_at = BranchCalendar(zone), end_of_day(due_on, zone)
    for late in range(1, 6):
        day = due_on + timedelta(days=late)
        for moment in (at(day, 1, 30, zone), end_of_day(day, zone)):
            assert cents({"fine_rate": DAILY}, moment, days, due_at) == 20 * late


def test_the_day_is_the_lending_branchs():
    honolulu = BranchCalendar("Pacific/Honolulu")
    due_at = end_of_day(FRIDAY, "Pacific/Honolulu")
    assert cents({"fine_rate": DAILY}, datetime(2026, 5, 2, 9, 59, tzinfo=UTC), honolulu, due_at) == 0
    assert cents({"fine_rate": DAILY}, datetime(2026, 5, 2, 10, 0, tzinfo=UTC), honolulu, due_at) == 20


def test_closed_days_cost_nothing_unless_the_policy_says_so():
    fined = {"fine_rate": DAILY}
    assert [cents(fined, later(late), CLOSED_AT_WEEKENDS) for late in range(6)] == [0, 0, 0, 20, 40, 60]
    fined["fine_on_closed_days"] = True
    assert [cents(fined, later(late), CLOSED_AT_WEEKENDS) for late in range(6)] == [0, 20, 40, 60, 80, 100]


def test_closures_and_exceptional_openings_count():
    out = [
        Out(FRIDAY + timedelta(3), FRIDAY + timedelta(5), is_open=False),
        Out(FRIDAY + timedelta(2), FRIDAY + timedelta(2), is_open=True),
    ]
    days = BranchCalendar(ZONE, WORKDAYS, out)
    assert [cents({"fine_rate": DAILY}, later(late), days) for late in range(8)] == [0, 0, 20, 20, 20, 20, 40, 60]


def test_a_branch_that_never_opens_fines_nobody():
    never = BranchCalendar(ZONE, WORKDAYS, [Out(date(1900, 1, 1), date(2200, 12, 31), is_open=False)])
    assert cents({"fine_rate": DAILY}, later(36_500), never) == 0
    assert cents({"fine_rate": HOURLY}, later(36_500), never) == 0


# --- Grace --------------------------------------------------------------------------------------


def test_within_the_grace_nothing_and_past_it_all_of_them_or_only_those_after():
    fined = {"fine_rate": DAILY, "grace": length(3)}
    assert [cents(fined, later(late)) for late in range(6)] == [0, 0, 0, 0, 80, 100]
    fined["grace_counts"] = False
    assert [cents(fined, later(late)) for late in range(6)] == [0, 0, 0, 0, 20, 40]


def test_days_of_grace_are_late_days_so_closed_days_are_none():
    fined = {"fine_rate": DAILY, "grace": length(2)}
    found = [cents(fined, later(late), CLOSED_AT_WEEKENDS) for late in range(2, 10)]
    assert found == [0, 0, 0, 60, 80, 100, 100, 100]


def test_hours_of_grace_before_fines_by_the_day():
    fined = {"fine_rate": DAILY, "grace": length(34, "hours")}
    # 34 hours after the end of Friday: Sunday, 10 o'clock.
    assert [cents(fined, moment) for moment in (later(1), later(2, 9, 59), later(2, 10, 0), later(3))] == [0, 0, 40, 60]
    fined["grace_counts"] = False
    # Saturday lies in the grace, Sunday only in part.
    assert [cents(fined, moment) for moment in (later(1), later(2, 9, 59), later(2, 10, 0), later(3))] == [0, 0, 20, 40]


def test_hours_of_grace_on_a_closed_day_charge_nothing_before_a_late_day():
    fined = {"fine_rate": DAILY, "grace": length(10, "hours")}
    assert [cents(fined, later(late), CLOSED_AT_WEEKENDS) for late in range(1, 5)] == [0, 0, 20, 40]


def test_days_of_grace_before_fines_by_the_hour_are_24_late_hours():
    fined = {"fine_rate": HOURLY, "grace": length(1)}
    due_at = later(0, 12)
    assert cents(fined, later(1, 12), due_at=due_at) == 0
    assert cents(fined, later(1, 12, 1), due_at=due_at) == 25 * 5
    assert cents(fined | {"grace_counts": False}, later(1, 12, 1), due_at=due_at) == 5


# --- Hours and steps ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("minutes", "hours"), [(0, 0), (1, 1), (59, 1), (60, 1), (61, 2), (120, 2), (121, 3), (24 * 60, 24)]
)
def test_each_started_hour_costs(minutes, hours):
    due_at = later(0, 12)
    assert cents({"fine_rate": HOURLY}, due_at + timedelta(minutes=minutes), due_at=due_at) == 5 * hours


def test_hours_of_grace():
    fined, due_at = {"fine_rate": HOURLY, "grace": length(2, "hours")}, later(0, 12)
    untils = [due_at + timedelta(minutes=minutes) for minutes in (1, 120, 121, 181)]
    assert [cents(fined, until, due_at=due_at) for until in untils] == [0, 0, 15, 20]
    assert [cents(fined | {"grace_counts": False}, until, due_at=due_at) for until in untils] == [0, 0, 5, 10]


def test_hours_that_begin_on_closed_days_cost_nothing():
    due_at = later(0, 22, 30)
    fined = {"fine_rate": HOURLY}
    # Two hours begin on Friday (22:30 and 23:30), none at the week-end, the first of Monday at 0:30.
    assert cents(fined, later(2, 12), CLOSED_AT_WEEKENDS, due_at) == 10
    assert cents(fined, later(3, 0, 30), CLOSED_AT_WEEKENDS, due_at) == 10
    assert cents(fined, later(3, 0, 31), CLOSED_AT_WEEKENDS, due_at) == 15
    assert cents(fined, later(3, 23, 59), CLOSED_AT_WEEKENDS, due_at) == 10 + 24 * 5
    fined["fine_on_closed_days"] = True
    assert cents(fined, later(3, 0, 31), CLOSED_AT_WEEKENDS, due_at) == 51 * 5


def test_hours_count_in_real_time_when_clocks_change():
    due_at = at(date(2026, 3, 28), 23)
    assert cents({"fine_rate": HOURLY}, at(date(2026, 3, 29), 4), due_at=due_at) == 4 * 5
    due_at = at(date(2026, 10, 24), 23)
    assert cents({"fine_rate": HOURLY}, at(date(2026, 10, 25), 4), due_at=due_at) == 6 * 5


def test_later_days_cost_more_by_steps():
    assert [cents({"fine_rate": TIERS}, later(late)) for late in range(7)] == [0, 10, 20, 30, 80, 130, 180]
    free_days = {"per": "day", "steps": [{"from": 3, "cents": 10}]}
    assert [cents({"fine_rate": free_days}, later(late)) for late in range(6)] == [0, 0, 0, 10, 20, 30]


def test_days_after_the_grace_keep_their_number_in_the_steps():
    fined = {"fine_rate": TIERS, "grace": length(2), "grace_counts": False}
    assert [cents(fined, later(late)) for late in range(6)] == [0, 0, 0, 10, 60, 110]


# --- Claims, and what was charged before ----------------------------------------------------------


def test_days_charged_or_forgiven_before_are_not_charged_again():
    fined = {"fine_rate": DAILY}
    assert cents(fined, later(5), fined_until=later(2, 9)) == 60
    assert cents(fined, later(2, 18), fined_until=later(2, 9)) == 0
    assert cents(fined, later(1), fined_until=later(2)) == 0
    assert cents(fined, later(5), fined_until=later(-9)) == 100
    assert cents({"fine_rate": TIERS}, later(5), fined_until=later(2)) == 10 + 50 + 50


def test_hours_charged_before_are_not_charged_again():
    due_at = later(0, 12)
    fined_until = due_at + timedelta(minutes=90)
    untils = [due_at + timedelta(minutes=minutes) for minutes in (120, 121, 300)]
    charged = [cents({"fine_rate": HOURLY}, until, due_at=due_at, fined_until=fined_until) for until in untils]
    assert charged == [0, 5, 15]


def test_after_a_charge_the_grace_is_over():
    fined = {"fine_rate": DAILY, "grace": length(3)}
    assert cents(fined, later(6), fined_until=later(4)) == 40
    assert cents(fined | {"grace_counts": False}, later(6), fined_until=later(4)) == 40
    # Forgiven in the grace: what is done is done.
    assert cents(fined, later(6), fined_until=later(2)) == 80


def test_days_of_a_claim_are_not_fined_but_those_begun_before_and_after_are():
    claim = [(later(2, 10), later(5, 15))]
    fined = {"fine_rate": DAILY}
    assert [cents(fined, later(late, 12), pauses=claim) for late in range(8)] == [0, 20, 40, 40, 40, 40, 80, 100]
    assert cents(fined, later(5, 15), pauses=claim) == 60
    assert cents(fined, later(2, 9), pauses=claim) == 40


def test_claims_may_follow_each_other_or_overlap():
    fined = {"fine_rate": DAILY}
    one_day = [(later(2, 10), later(2, 11)), (later(2, 15), later(4, 9))]
    assert cents(fined, later(4, 12), pauses=one_day) == 20 * 3
    overlapping = [(later(3, 10), later(6, 9)), (later(2, 10), later(4, 9))]
    assert cents(fined, later(6, 12), pauses=overlapping) == 20 * 3
    inside = [(later(2, 10), later(6, 9)), (later(3, 10), later(4, 9))]
    assert cents(fined, later(6, 12), pauses=inside) == 20 * 3


def test_a_claim_before_the_due_date_or_after_the_end_changes_nothing():
    fined = {"fine_rate": DAILY}
    assert cents(fined, later(4), pauses=[(later(-9), later(-2))]) == 80
    assert cents(fined, later(4), pauses=[(later(5), later(9))]) == 80
    assert cents(fined, later(4), pauses=[(later(-9), later(2, 12))]) == 60


def test_hours_of_a_claim():
    due_at = later(0, 12)
    claim = [(due_at + timedelta(minutes=90), due_at + timedelta(minutes=250))]
    untils = [due_at + timedelta(minutes=minutes) for minutes in (60, 100, 249, 250, 301)]
    assert [cents({"fine_rate": HOURLY}, until, due_at=due_at, pauses=claim) for until in untils] == [5, 10, 10, 15, 20]


# --- Caps ---------------------------------------------------------------------------------------


def test_the_lower_of_fine_cap_and_price_holds_over_all_charges_of_a_loan():
    fined = {"fine_rate": DAILY, "fine_cap_cents": 150}
    assert cents(fined, later(7)) == 140
    assert cents(fined, later(8)) == 150
    assert cents(fined, later(900), already=100) == 50
    assert cents(fined, later(900), already=150) == 0
    assert cents(fined, later(900), already=900) == 0
    assert cents(fined, later(900), price=70) == 150
    fined["cap_at_price"] = True
    assert cents(fined, later(900), price=70) == 70
    assert cents(fined, later(900), price=70, already=60) == 10
    assert cents(fined, later(900), price=160) == 150
    assert cents(fined | {"fine_cap_cents": None}, later(900), price=160) == 160


@pytest.mark.parametrize("unknown", [None, 0])
def test_an_unknown_price_caps_nothing(unknown):
    assert cents({"fine_rate": DAILY, "cap_at_price": True}, later(10), price=unknown) == 200


def test_a_cap_of_nothing_fines_nothing():
    assert computed({"fine_rate": DAILY, "fine_cap_cents": 0}, later(10)) == Fine(0)


def test_no_fine_is_larger_than_a_line_of_the_ledger_holds():
    dear = {"fine_rate": {"per": "hour", "cents": 1_000_000}}
    assert cents(dear, later(400)) == MOST_CENTS


# --- Steps of the computation -------------------------------------------------------------------


def step(name, amount, per=None, count=None, cents=None):
    return {"step": name, "per": per, "count": count, "cents": cents, "amount_cents": amount}


def test_a_fine_tells_how_it_was_computed():
    fined = {"fine_rate": TIERS, "grace": length(1), "grace_counts": False, "fine_cap_cents": 500, "cap_at_price": True}
    told = computed(fined, later(6), price=90, already=20, fined_until=later(2))
    assert told.cents == 70
    assert told.steps == [
        step("late", 0, "days", 6),
        step("grace", 0, "days", 1),
        step("charged_before", 0, "days", 2),
        step("rate", 10, "days", 1, 10),
        step("rate", 160, "days", 3, 50),
        step("price_cap", 70, cents=90),
    ]


def test_only_what_mattered_is_told():
    fined = {"fine_rate": HOURLY, "grace": length(1, "hours"), "fine_cap_cents": 15}
    due_at = later(0, 12)
    hours = step("late", 0, "hours", 3), step("rate", 15, "hours", 3, 5)
    assert computed(fined, due_at + timedelta(hours=3), due_at=due_at).steps == [*hours]
    told = computed(fined, due_at + timedelta(hours=4), due_at=due_at).steps
    assert told == [step("late", 0, "hours", 4), step("rate", 20, "hours", 4, 5), step("fine_cap", 15, cents=15)]


# --- Properties ---------------------------------------------------------------------------------

MOMENTS = st.integers(-60, 24 * 60 * 21).map(lambda minutes: later(0, 12) + timedelta(minutes=minutes))
CALENDARS = st.sampled_from(
    [
        EVERY_DAY,
        CLOSED_AT_WEEKENDS,
        BranchCalendar(ZONE, WORKDAYS, [Out(FRIDAY + timedelta(4), FRIDAY + timedelta(9), is_open=False)]),
        BranchCalendar("America/Los_Angeles", WORKDAYS[:2]),
    ]
)
TIERED = st.lists(
    st.tuples(st.integers(1, 30), st.integers(0, 40)), min_size=1, max_size=3, unique_by=lambda one: one[0]
)
POLICIES = st.fixed_dictionaries(
    {
        "fine_rate": st.builds(
            lambda per, tiers: {
                "per": per,
                "steps": [{"from": first, "cents": each} for first, each in sorted(tiers)],
            },
            st.sampled_from(["day", "hour"]),
            TIERED,
        ),
        "grace": st.builds(length, st.integers(0, 5), st.sampled_from(["days", "hours"])),
        "grace_counts": st.booleans(),
        "fine_on_closed_days": st.booleans(),
        "fine_cap_cents": st.one_of(st.none(), st.integers(0, 400)),
        "cap_at_price": st.booleans(),
    }
)
PAUSES = st.lists(st.tuples(MOMENTS, MOMENTS).map(sorted).map(tuple), max_size=3)
DUE = st.sampled_from([end_of_day(FRIDAY, ZONE), later(0, 14, 20), later(0, 9)])
PRICES = st.one_of(st.none(), st.integers(0, 300))


@given(POLICIES, CALENDARS, DUE, PRICES, PAUSES, st.tuples(MOMENTS, MOMENTS).map(sorted))
def test_a_fine_never_falls_with_time_and_never_passes_a_cap(values, days, due_at, price, pauses, moments):
    sooner, later_on = (cents(values, moment, days, due_at, price, pauses=pauses) for moment in moments)
    assert 0 <= sooner <= later_on
    if values["fine_cap_cents"] is not None:
        assert later_on <= values["fine_cap_cents"]
    if values["cap_at_price"] and price:
        assert later_on <= price


@given(POLICIES, CALENDARS, DUE, PRICES, PAUSES, st.lists(MOMENTS, min_size=1, max_size=5).map(sorted))
def test_charging_in_parts_costs_what_charging_at_once_costs(values, days, due_at, price, pauses, moments):
    charged, fined_until = 0, None
    for moment in moments:
        part = cents(values, moment, days, due_at, price, charged, fined_until, pauses)
        if part:
            charged, fined_until = charged + part, moment
    assert charged == cents(values, moments[-1], days, due_at, price, pauses=pauses)


@given(POLICIES, CALENDARS, DUE, PAUSES, MOMENTS, MOMENTS)
def test_what_is_forgiven_on_the_way_is_not_charged(values, days, due_at, pauses, until, forgiven):
    values = values | {"fine_cap_cents": None, "cap_at_price": False}
    whole = cents(values, until, days, due_at, pauses=pauses)
    left = cents(values, until, days, due_at, fined_until=forgiven, pauses=pauses)
    assert 0 <= left <= whole
    if forgiven >= until:
        assert left == 0


def counted_one_by_one(values, days, due_at, until, pauses) -> int:
    """Late units by the book: every day or hour in turn, every minute of it looked at."""
    zone, due_on = days.time_zone, local_day(due_at, days.time_zone)
    tick = timedelta(microseconds=1)
    hourly = values["fine_rate"]["per"] == "hour"
    begun = set()
    moment = due_at + tick
    watched = [moment, until, *(edge for span in pauses for edge in span), *(span[0] - tick for span in pauses)]
    while moment <= until:
        watched.append(moment)
        moment += timedelta(minutes=30)
    for moment in watched:
        if not due_at < moment <= until or any(first <= moment < last for first, last in pauses):
            continue
        if hourly:
            number = -((due_at - moment) // timedelta(hours=1))
            day = local_day(due_at + (number - 1) * timedelta(hours=1) + tick, zone)
        else:
            day = local_day(moment, zone)
            number = (day - due_on).days
        if number and (values["fine_on_closed_days"] or days.is_open_on(day)):
            begun.add(number)
    return len(begun)


@given(POLICIES, CALENDARS, DUE, PAUSES, MOMENTS)
def test_late_units_are_those_counted_one_by_one(values, days, due_at, pauses, until):
    values = values | {"grace": length(0), "fine_cap_cents": None, "cap_at_price": False}
    values["fine_rate"] = {"per": values["fine_rate"]["per"], "cents": 1}
    assert cents(values, until, days, due_at, pauses=pauses) == counted_one_by_one(values, days, due_at, until, pauses)
