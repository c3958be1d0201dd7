"""Holdings: copies as the office writes them and the catalogue lists them."""

import pytest
from sqlalchemy.exc import InvalidRequestError

from library.models import Copy, CopyCondition, CopyPlace
from library.rules import holdings

from .helping import refused_for


@pytest.fixture
def branch(make):
    return make.branch()


def test_a_new_copy_stands_on_the_shelf_of_its_home_branch(session, make, branch, now):
    values = {"book": make.book(), "home_branch": branch, "barcode": "C1", "shelf_mark": "PS 2384"}
    copy = holdings.create_copy(session, values, now)
    session.commit()
    session.refresh(copy)
    assert (copy.current_branch_id, copy.home_branch_id) == (branch.id, branch.id)
    assert (copy.place, copy.condition) == (CopyPlace.AVAILABLE, CopyCondition.USABLE)
    assert (copy.barcode, copy.shelf_mark, copy.created_at) == ("C1", "PS 2384", now)
    assert (copy.last_seen_at, copy.transit_to_branch_id) == (None, None)


@pytest.mark.parametrize("given", [{}, {"barcode": None}, {"barcode": ""}])
def test_a_copy_without_a_barcode_gets_one(session, make, branch, now, given):
    copy = holdings.create_copy(session, {"book": make.book(), "home_branch": branch} | given, now)
    assert len(copy.barcode) == 10
    assert copy.barcode[0] == "C"
    assert copy.barcode[1:].isdigit()


def test_a_new_barcode_is_one_that_no_copy_has(session, make, monkeypatch):
    make.copy(barcode="C000000007")
    numbers = iter([7, 7, 8])
    monkeypatch.setattr("secrets.randbelow", lambda limit: next(numbers))
    assert holdings.new_barcode(session) == "C000000008"


def test_the_values_given_are_left_as_they_were(session, make, branch, now):
    values = {"book": make.book(), "home_branch": branch}
    holdings.create_copy(session, values, now)
    assert set(values) == {"book", "home_branch"}


def test_a_barcode_is_given_once(session, make, branch, now):
    copy = make.copy(barcode="C1")
    other = make.copy(barcode="C2")
    with refused_for("already_exists") as caught:
        holdings.create_copy(session, {"book": copy.book, "home_branch": branch, "barcode": "C1"}, now)
    assert caught.value.reasons[0].pointer == "/barcode"
    session.rollback()
    with refused_for("already_exists"):
        holdings.change_copy(session, other, {"barcode": "C1"})


def test_the_office_changes_what_it_says_of_a_copy(session, make, branch):
    copy = make.copy(barcode="C1", shelf_mark="A")
    before = copy.current_branch_id
    holdings.change_copy(session, copy, {"barcode": None, "shelf_mark": "B", "home_branch": branch, "price_cents": 0})
    session.commit()
    session.refresh(copy)
    assert (copy.barcode, copy.shelf_mark, copy.price_cents, copy.version) == ("C1", "B", 0, 2)
    assert (copy.home_branch_id, copy.current_branch_id) == (branch.id, before)
    holdings.change_copy(session, copy, {"barcode": "C2"})
    assert copy.barcode == "C2"


def test_a_copy_that_never_went_out_is_deleted(session, make):
    holdings.delete_copy(session, make.copy())
    session.commit()
    assert session.query(Copy).count() == 0


def test_a_copy_that_is_out_is_not_deleted(session, make):
    with refused_for("copy_is_out"):
        holdings.delete_copy(session, make.loan().copy)


def test_a_copy_of_which_loans_speak_is_not_deleted(session, make, now):
    copy = make.loan(closed_at=now, closed_as="returned").copy
    with refused_for("still_in_use") as caught:
        holdings.delete_copy(session, copy)
    assert caught.value.reasons[0].params == {"by": {"loans": 1}}


def test_copies_are_narrowed_by_each_filter(session, make, branch):
    other = make.copy(home_branch=branch, condition=CopyCondition.DAMAGED)
    wanted = make.copy(current_branch_id=branch.id, place=CopyPlace.IN_PROCESS, barcode="C1")

    def find(**filters) -> list[Copy]:
        return session.scalars(holdings.find_copies(**filters).order_by(Copy.id)).all()

    assert find() == [other, wanted]
    assert find(branch_id=branch.id) == [other, wanted]
    assert find(home_branch_id=branch.id) == [other]
    assert find(condition=CopyCondition.DAMAGED) == [other]
    for filters in ({"barcode": "C1"}, {"book_id": wanted.book_id}, {"place": CopyPlace.IN_PROCESS}):
        assert find(**filters) == [wanted], filters
    assert find(barcode="C1", condition=CopyCondition.DAMAGED) == []


def test_a_list_of_copies_loads_nothing_unasked(session, make):
    make.copy()
    session.expunge_all()
    copy = session.scalars(holdings.find_copies()).one()
    with pytest.raises(InvalidRequestError, match="home_branch"):
        assert copy.home_branch
