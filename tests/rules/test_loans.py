"""The desk without HTTP: lending a copy and taking it back."""

from datetime import UTC, date, datetime, timedelta

import pytest
from sqlalchemy.exc import IntegrityError

from library.database import transaction
from library.models import Branch, Copy, CopyCondition, CopyPlace, Loan, LoanClosing, User
from library.rules import loans
from library.rules.errors import Refused
from library.rules.loans import Desk, LoanStatus, Route, RouteAction

from .helping import at_once, refused_for

LONG_AGO = date(2020, 1, 1)
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)


@pytest.fixture
def branch(make):
    return make.branch()


@pytest.fixture
def desk(make, branch):
    return Desk(make.librarian(), branch)


@pytest.fixture
def patron(make):
    return make.user()


@pytest.fixture
def copy(make, branch):
    return make.copy(home_branch=branch)


@pytest.fixture
def lend(session, desk, copy, patron, now):
    """Call it to lend the copy to the patron, at the desk, now."""

    def check_out(**changes) -> Loan:
        asked = {"desk": desk, "copy": copy, "patron": patron, "now": now, "due_at": None} | changes
        barcodes = asked["copy"].barcode, asked["patron"].card_barcode
        return loans.check_out(session, asked["desk"], *barcodes, asked["now"], asked["due_at"])

    return check_out


# --- Lending ------------------------------------------------------------------------------------


def test_a_copy_is_lent(session, desk, branch, copy, patron, lend, now):
    loan = lend()
    session.commit()
    session.expire_all()
    assert (loan.copy_id, loan.patron_id, loan.branch_id) == (copy.id, patron.id, branch.id)
    assert (loan.checked_out_at, loan.checked_out_by_id, loan.time_zone) == (now, desk.actor.id, "Europe/Berlin")
    assert (loan.closed_at, loan.closed_as, loan.book_id) == (None, None, copy.book_id)
    assert copy.place is CopyPlace.ON_LOAN
    assert (copy.last_seen_at, copy.last_seen_branch_id, copy.current_branch_id) == (now, branch.id, branch.id)


@pytest.mark.parametrize(
    ("time_zone", "lent", "due_at", "due_on"),
    [
        ("Europe/Berlin", "2026-02-20T12:00:00Z", "2026-03-20T22:59:59Z", date(2026, 3, 20)),
        ("Europe/Berlin", "2026-03-10T12:00:00Z", "2026-04-07T21:59:59Z", date(2026, 4, 7)),
        ("Europe/Berlin", "2026-03-09T23:30:00Z", "2026-04-07T21:59:59Z", date(2026, 4, 7)),
        ("Europe/Berlin", "2026-10-01T22:30:00Z", "2026-10-30T22:59:59Z", date(2026, 10, 30)),
        ("Pacific/Auckland", "2026-06-01T13:00:00Z", "2026-06-30T11:59:59Z", date(2026, 6, 30)),
        ("America/Los_Angeles", "2026-06-02T03:00:00Z", "2026-06-30T06:59:59Z", date(2026, 6, 29)),
        ("Africa/Cairo", "2026-10-01T12:00:00Z", "2026-10-29T21:59:59Z", date(2026, 10, 29)),
    ],
)
def test_a_loan_ends_with_a_local_day_of_the_lending_branch(make, desk, lend, time_zone, lent, due_at, due_on):
    here = Desk(desk.actor, make.branch(time_zone=time_zone))
    loan = lend(desk=here, now=datetime.fromisoformat(lent))
    assert (loan.due_at, loan.due_on) == (datetime.fromisoformat(due_at), due_on)
    assert (loan.time_zone, loan.branch_id) == (time_zone, here.branch.id)


def test_staff_may_name_the_due_date_and_its_day_is_local(lend):
    loan = lend(now=datetime(2026, 5, 1, tzinfo=UTC), due_at=datetime(2026, 5, 2, 22, 30, tzinfo=UTC))
    assert (loan.due_at, loan.due_on) == (datetime(2026, 5, 2, 22, 30, tzinfo=UTC), date(2026, 5, 3))


def test_a_due_date_lies_after_the_moment_of_lending(lend, now):
    for due_at in (now, now - MINUTE):
        with refused_for("due_in_the_past") as caught:
            lend(due_at=due_at)
    assert caught.value.reasons[0].pointer == "/due_at"
    assert lend(due_at=now + timedelta(seconds=1)).due_at == now + timedelta(seconds=1)


def test_unknown_barcodes_are_reasons_and_what_can_be_judged_is_judged(session, desk, make, now):
    fixed = make.copy(not_for_loan=True)
    with refused_for("item_not_found", "patron_not_found", "due_in_the_past"):
        loans.check_out(session, desk, "nope", "nobody", now, now)
    with refused_for("patron_not_found", "not_for_loan"):
        loans.check_out(session, desk, fixed.barcode, "nobody", now)
    with refused_for("item_not_found", "patron_inactive"):
        loans.check_out(session, desk, "nope", make.user(active=False).card_barcode, now)


def test_all_reasons_come_at_once_and_nothing_changes(session, make, lend, now):
    bad = make.loan(copy=make.copy(not_for_loan=True, condition=CopyCondition.LOST)).copy
    nobody = make.user(active=False, confirmed=False, expires_on=LONG_AGO)
    expected = (
        "patron_inactive",
        "item_on_loan",
        "due_in_the_past",
        "patron_unconfirmed",
        "patron_expired",
        "not_for_loan",
        "bad_condition",
    )
    with refused_for(*expected) as caught:
        lend(copy=bad, patron=nobody, due_at=now)
    params = {reason.code: reason.params for reason in caught.value.reasons if reason.params}
    assert params == {"patron_expired": {"expires_on": "2020-01-01"}, "bad_condition": {"condition": "lost"}}
    assert not session.new
    assert not session.dirty
    assert session.query(Loan).count() == 1


@pytest.mark.parametrize("condition", [found for found in CopyCondition if found is not CopyCondition.USABLE])
def test_only_a_usable_copy_is_lent(make, lend, condition):
    with refused_for("bad_condition") as caught:
        lend(copy=make.copy(condition=condition))
    assert caught.value.reasons[0].params == {"condition": condition.value}


@pytest.mark.parametrize("place", list(CopyPlace))
def test_wherever_a_copy_was_once_lent_it_is_on_loan_here(session, make, branch, lend, place):
    copy = make.copy(place=place, transit_to_branch_id=branch.id if place is CopyPlace.IN_TRANSIT else None)
    if place is CopyPlace.ON_LOAN:
        with refused_for("item_on_loan"):
            lend(copy=copy)
        return
    lend(copy=copy)
    session.commit()
    session.refresh(copy)
    assert (copy.place, copy.transit_to_branch_id) == (CopyPlace.ON_LOAN, None)
    assert (copy.current_branch_id, copy.last_seen_branch_id) == (branch.id, branch.id)


def test_a_copy_stays_in_the_house_by_itself_or_by_its_type(make, lend):
    reference, normal = make.item_type(not_for_loan=True), make.item_type()
    for values in ({"not_for_loan": True}, {"item_type_id": reference.id}):
        with refused_for("not_for_loan"):
            lend(copy=make.copy(**values))
    assert lend(copy=make.copy(item_type_id=normal.id))


def test_a_card_is_valid_through_its_last_local_day(make, desk, lend):
    card = make.user(expires_on=date(2026, 5, 1))
    berlin = Desk(desk.actor, make.branch(time_zone="Europe/Berlin"))
    with refused_for("patron_expired"):
        lend(desk=berlin, patron=card, now=datetime(2026, 5, 1, 22, 0, tzinfo=UTC))
    assert lend(desk=berlin, patron=card, now=datetime(2026, 5, 1, 21, 59, tzinfo=UTC))


def test_the_last_day_of_a_card_is_the_lending_branchs(make, desk, lend):
    card = make.user(expires_on=date(2026, 5, 1))
    honolulu = Desk(desk.actor, make.branch(time_zone="Pacific/Honolulu"))
    assert lend(desk=honolulu, patron=card, now=datetime(2026, 5, 2, 9, 0, tzinfo=UTC))


def test_who_registered_themselves_borrows_once_seen_or_where_the_library_allows_it(make, desk, branch, lend):
    unseen = make.user(confirmed=False)
    with refused_for("patron_unconfirmed"):
        lend(patron=unseen)
    assert lend(patron=unseen, desk=Desk(desk.actor, branch, self_registered_may_borrow=True))


def test_staff_borrow_too(desk, lend):
    assert lend(patron=desk.actor).patron_id == desk.actor.id


def test_a_copy_is_lent_once(make, lend):
    lend()
    with refused_for("item_on_loan") as caught:
        lend(patron=make.user())
    assert caught.value.reasons[0].pointer == "/copy_barcode"
    with refused_for("item_on_loan"):
        lend()


def test_the_index_has_the_last_word_where_the_copy_claims_to_be_in(session, make, copy, lend):
    make.loan(copy=copy)
    copy.place = CopyPlace.AVAILABLE
    session.commit()
    with refused_for("item_on_loan"):
        lend()
    session.rollback()
    assert session.query(Loan).count() == 1


def test_a_branch_that_went_meanwhile_is_no_copy_on_loan(session, another, make, desk, lend):
    gone, other = make.branch(), another()
    with transaction(other, write=True):
        other.delete(other.get_one(Branch, gone.id))
    with pytest.raises(IntegrityError):
        lend(desk=Desk(desk.actor, gone))
    session.rollback()
    assert session.query(Loan).count() == 0


def test_a_desk_that_looked_before_another_lent_the_copy_is_told(session, another, desk, copy, patron, make, now):
    other, rival = another(), make.user()
    with transaction(other, write=True):
        there = Desk(other.get_one(User, desk.actor.id), other.get_one(Branch, desk.branch.id))
        loans.check_out(other, there, copy.barcode, rival.card_barcode, now)
    assert copy.place is CopyPlace.AVAILABLE
    with refused_for("item_on_loan"), transaction(session, write=True):
        loans.check_out(session, desk, copy.barcode, patron.card_barcode, now)
    assert session.query(Loan).one().patron_id == rival.id


def test_of_desks_that_lend_one_copy_at_the_same_moment_one_succeeds(session, another, make, desk, copy, now):
    actor_id, branch_id, barcode = desk.actor.id, desk.branch.id, copy.barcode
    cards = [make.user().card_barcode for _ in range(8)]

    def lend(card: str) -> int:
        mine = another()
        with transaction(mine, write=True):
            here = Desk(mine.get_one(User, actor_id), mine.get_one(Branch, branch_id))
            return loans.check_out(mine, here, barcode, card, now).id

    answers = at_once([lambda card=card: lend(card) for card in cards])
    won = [answer for answer in answers if isinstance(answer, int)]
    lost = [answer for answer in answers if isinstance(answer, Refused)]
    assert (len(won), len(lost)) == (1, 7), answers
    assert {reason.code for refused in lost for reason in refused.reasons} == {"item_on_loan"}
    assert session.query(Loan).one().id == won[0]


def test_one_patron_borrows_at_many_desks_at_the_same_moment(session, another, make, desk, patron, now):
    actor_id, branch_id, card = desk.actor.id, desk.branch.id, patron.card_barcode
    barcodes = [make.copy().barcode for _ in range(8)]

    def lend(barcode: str) -> int:
        mine = another()
        with transaction(mine, write=True):
            here = Desk(mine.get_one(User, actor_id), mine.get_one(Branch, branch_id))
            return loans.check_out(mine, here, barcode, card, now).id

    answers = at_once([lambda barcode=barcode: lend(barcode) for barcode in barcodes])
    assert len({answer for answer in answers if isinstance(answer, int)}) == 8, answers
    assert session.query(Loan).filter_by(patron_id=patron.id).count() == 8


# --- Taking back --------------------------------------------------------------------------------


def test_a_copy_comes_back_to_its_shelf(session, desk, branch, copy, lend, now):
    loan = lend()
    back = now + timedelta(days=3)
    answer = loans.check_in(session, desk, copy.barcode, back)
    session.commit()
    session.expire_all()
    assert (answer.copy, answer.loan) == (copy, loan)
    assert answer.route == Route(RouteAction.SHELVE, branch.id, "home")
    assert (loan.closed_at, loan.closed_as) == (back, LoanClosing.RETURNED)
    assert (loan.closed_by_id, loan.returned_branch_id) == (desk.actor.id, branch.id)
    assert (copy.place, copy.last_seen_at, copy.last_seen_branch_id) == (CopyPlace.AVAILABLE, back, branch.id)


def test_a_copy_back_on_its_shelf_is_lent_again(session, desk, copy, lend, now):
    lend()
    loans.check_in(session, desk, copy.barcode, now + HOUR)
    lend(now=now + 2 * HOUR)
    session.commit()
    assert session.query(Loan).count() == 2


def test_a_copy_returned_elsewhere_travels_home(session, make, desk, branch, copy, lend, now):
    lend()
    elsewhere = Desk(desk.actor, make.branch())
    answer = loans.check_in(session, elsewhere, copy.barcode, now + HOUR)
    session.commit()
    session.expire_all()
    assert answer.route == Route(RouteAction.SEND, branch.id, "home")
    assert (copy.place, copy.transit_to_branch_id) == (CopyPlace.IN_TRANSIT, branch.id)
    assert (copy.current_branch_id, answer.loan.returned_branch_id) == (elsewhere.branch.id, elsewhere.branch.id)
    again = loans.check_in(session, elsewhere, copy.barcode, now + 2 * HOUR)
    assert (again.loan, again.route.action) == (None, RouteAction.SEND)
    home = loans.check_in(session, desk, copy.barcode, now + 3 * HOUR)
    session.commit()
    assert (home.loan, home.route.action) == (None, RouteAction.SHELVE)
    assert (copy.place, copy.transit_to_branch_id) == (CopyPlace.AVAILABLE, None)


@pytest.mark.parametrize("condition", list(CopyCondition))
def test_at_home_only_a_usable_copy_goes_to_the_shelf(session, desk, branch, make, now, condition):
    copy = make.copy(home_branch=branch, condition=condition)
    route = loans.check_in(session, desk, copy.barcode, now).route
    shelved = Route(RouteAction.SHELVE, branch.id, "home")
    expected = (
        shelved if condition is CopyCondition.USABLE else Route(RouteAction.SET_ASIDE, branch.id, condition.value)
    )
    assert route == expected
    assert copy.condition is condition


def test_a_second_scan_is_no_error(session, desk, copy, lend, now):
    loan = lend()
    loans.check_in(session, desk, copy.barcode, now + HOUR)
    answer = loans.check_in(session, desk, copy.barcode, now + 2 * HOUR)
    session.commit()
    assert (answer.loan, answer.copy, answer.route.action) == (None, copy, RouteAction.SHELVE)
    assert (loan.closed_at, copy.last_seen_at) == (now + HOUR, now + 2 * HOUR)


@pytest.mark.parametrize("place", [CopyPlace.IN_PROCESS, CopyPlace.ON_ORDER, CopyPlace.AVAILABLE])
def test_every_scan_says_where_a_copy_is(session, make, desk, branch, now, place):
    copy = make.copy(place=place, home_branch=branch, current_branch_id=make.branch().id)
    loans.check_in(session, desk, copy.barcode, now)
    session.commit()
    session.refresh(copy)
    assert (copy.place, copy.current_branch_id) == (CopyPlace.AVAILABLE, branch.id)
    assert (copy.last_seen_at, copy.last_seen_branch_id) == (now, branch.id)


def test_a_return_is_dated_back_but_the_scan_is_now(session, desk, copy, lend, now):
    loan = lend()
    monday = now + timedelta(days=2)
    loans.check_in(session, desk, copy.barcode, monday, returned_at=now + HOUR)
    session.commit()
    assert (loan.closed_at, copy.last_seen_at) == (now + HOUR, monday)


def test_a_return_dated_in_the_future_counts_as_now(session, desk, copy, lend, now):
    loan = lend()
    loans.check_in(session, desk, copy.barcode, now + HOUR, returned_at=now + timedelta(days=9))
    assert loan.closed_at == now + HOUR


def test_a_return_in_the_moment_of_lending_is_possible_but_not_before(session, desk, copy, lend, now):
    loan = lend()
    with refused_for("returned_before_loan") as caught:
        loans.check_in(session, desk, copy.barcode, now, returned_at=now - MINUTE)
    assert caught.value.reasons[0].pointer == "/returned_at"
    assert (loan.closed_at, copy.place) == (None, CopyPlace.ON_LOAN)
    loans.check_in(session, desk, copy.barcode, now, returned_at=now)
    session.commit()
    assert loan.closed_at == now


def test_a_back_dated_return_of_a_copy_that_was_not_out_is_no_error(session, desk, copy, now):
    assert loans.check_in(session, desk, copy.barcode, now, returned_at=now - timedelta(days=99)).loan is None


def test_an_unknown_barcode_cannot_come_back(session, desk, now):
    with refused_for("item_not_found") as caught:
        loans.check_in(session, desk, "nope", now)
    assert caught.value.reasons[0].pointer == "/copy_barcode"


def test_of_desks_that_take_one_copy_back_at_the_same_moment_one_closes_the_loan(
    session, another, make, desk, copy, lend, now
):
    lend()
    session.commit()
    actor_id, branch_id, barcode = desk.actor.id, desk.branch.id, copy.barcode

    def take_back() -> bool:
        mine = another()
        with transaction(mine, write=True):
            here = Desk(mine.get_one(User, actor_id), mine.get_one(Branch, branch_id))
            return loans.check_in(mine, here, barcode, now + HOUR).loan is not None

    answers = at_once([take_back] * 6)
    assert sorted(answers, key=str) == [False] * 5 + [True], answers
    session.expire_all()
    assert session.get_one(Copy, copy.id).place is CopyPlace.AVAILABLE


# --- Lists --------------------------------------------------------------------------------------


@pytest.fixture
def find(session, desk, now):
    """Call it as find_loans for what the librarian of the desk sees."""

    def listed(status=None, **filters) -> list[Loan]:
        return session.scalars(loans.find_loans(desk.actor, now, status, **filters).order_by(Loan.id)).all()

    return listed


def test_loans_are_open_overdue_or_closed(make, find, now):
    running = make.loan(due_at=now)
    late = make.loan(due_at=now - MINUTE)
    back = make.loan(closed_at=now, closed_as="returned", due_at=now - MINUTE)
    assert find() == [running, late, back]
    assert find(LoanStatus.OPEN) == [running, late]
    assert find(LoanStatus.OVERDUE) == [late]
    assert find(LoanStatus.CLOSED) == [back]


def test_loans_are_narrowed_by_each_filter(make, find):
    first = make.loan(due_at=datetime(2026, 5, 1, 12, tzinfo=UTC))
    second = make.loan(due_at=datetime(2026, 5, 2, 12, tzinfo=UTC))
    for filters in (
        {"patron_id": second.patron_id},
        {"copy_id": second.copy_id},
        {"book_id": second.copy.book_id},
        {"branch_id": second.branch_id},
        {"due_on_min": date(2026, 5, 2)},
    ):
        assert find(**filters) == [second], filters
    assert find(due_on_max=date(2026, 5, 1)) == [first]
    assert find(due_on_min=date(2026, 5, 1), due_on_max=date(2026, 5, 2)) == [first, second]
    assert find(LoanStatus.CLOSED, patron_id=first.patron_id) == []


def test_patrons_see_their_own_loans_with_the_book(session, make, now):
    mine = make.loan()
    make.loan()
    book_id, patron = mine.copy.book_id, mine.patron
    session.expunge_all()
    seen = session.scalars(loans.find_loans(patron, now)).all()
    assert [(loan.id, loan.book_id) for loan in seen] == [(mine.id, book_id)]
    assert session.scalars(loans.find_loans(patron, now, patron_id=patron.id + 1)).all() == []
