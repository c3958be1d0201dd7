"""How a rule says no: codes, order, parameters, and only for reasons it declares."""

import pytest

from library.rules import borrowing, errors, lending, standing
from library.rules.changes import AlreadyExists, StillInUse
from library.rules.errors import Refusal, Refused, Severity, UndeclaredRefusal, refuse_if_any, refuses


@pytest.fixture(autouse=True)
def _own_catalogue():
    """Refusals made up by a test leave the catalogue with it."""
    before = dict(Refusal.catalogue)
    yield
    Refusal.catalogue.clear()
    Refusal.catalogue.update(before)


def remark() -> Refusal:
    class OnlyARemark(Refusal):
        """It is worth saying."""

        severity = Severity.WARN

    return OnlyARemark()


def question() -> Refusal:
    class AreYouSure(Refusal):
        """Are you sure?"""

        severity = Severity.CONFIRM

    return AreYouSure()


def codes(refused: Refused) -> list[str]:
    return [reason.code for reason in refused.reasons]


def test_a_refusal_is_coded_by_its_name_and_told_by_its_docstring():
    assert lending.DueInThePast.code == "due_in_the_past"
    assert lending.DueInThePast.sentence() == "The due date lies before the moment of lending."
    assert Refusal.catalogue["due_in_the_past"] is lending.DueInThePast


def test_a_refusal_without_a_docstring_says_nothing():
    class Mute(Refusal):
        pass

    Mute.__doc__ = None
    assert Mute.sentence() == ""


def test_reasons_stand_by_severity_then_in_the_order_of_the_catalogue():
    reasons = [
        remark(),
        borrowing.NotForLoan(),
        question(),
        borrowing.ItemOnLoan(),
        standing.PatronExpired(),
        lending.ItemNotFound(),
    ]
    expected = ["item_on_loan", "item_not_found", "patron_expired", "not_for_loan", "are_you_sure", "only_a_remark"]
    assert codes(Refused(reasons)) == expected
    assert codes(Refused(reversed(reasons))) == expected
    assert str(Refused(reasons)) == ", ".join(expected)


def test_of_the_same_reason_twice_the_order_stays():
    first, second = StillInUse(by={"a": 1}), StillInUse(by={"b": 1})
    assert Refused([first, second]).reasons == [first, second]


def test_parameters_are_those_declared():
    assert borrowing.BadCondition(condition="lost").params == {"condition": "lost"}
    assert borrowing.BadCondition().params == {}
    with pytest.raises(TypeError, match=r"BadCondition does not declare \{'place'\}"):
        borrowing.BadCondition(place="here")


def test_a_pointer_is_the_classes_own_unless_given():
    assert AlreadyExists().pointer is None
    assert AlreadyExists("/name").pointer == "/name"
    assert borrowing.ItemOnLoan().pointer == "/copy_barcode"
    assert borrowing.ItemOnLoan("/items/3").pointer == "/items/3"
    assert borrowing.ItemOnLoan.pointer == "/copy_barcode"


def test_a_rule_is_known_by_the_refusals_it_declares():
    @refuses(AlreadyExists, StillInUse)
    def rule(answer: int, *, more: int = 0) -> int:
        """Do."""
        return answer + more

    assert rule.refusals == (AlreadyExists, StillInUse)
    assert (rule.__name__, rule.__doc__) == ("rule", "Do.")
    assert rule(1, more=2) == 3


def test_a_declared_refusal_passes():
    @refuses(AlreadyExists)
    def rule() -> None:
        raise Refused([AlreadyExists()])

    with pytest.raises(Refused, match="already_exists"):
        rule()


def test_one_undeclared_reason_among_declared_ones_is_an_error_of_its_own():
    @refuses(AlreadyExists)
    def rule() -> None:
        raise Refused([AlreadyExists(), StillInUse()])

    with pytest.raises(UndeclaredRefusal, match=r"rule does not declare \['still_in_use'\]"):
        rule()


def test_outside_the_tests_an_undeclared_refusal_is_still_a_refusal(monkeypatch):
    @refuses()
    def rule() -> None:
        raise Refused([StillInUse()])

    monkeypatch.setattr(errors, "strict", False)
    with pytest.raises(Refused, match="still_in_use"):
        rule()


def test_other_errors_of_a_rule_pass_through():
    @refuses()
    def rule() -> None:
        raise KeyError("x")

    with pytest.raises(KeyError):
        rule()


def test_no_reason_and_mere_remarks_refuse_nothing():
    refuse_if_any([])
    refuse_if_any([remark(), remark()])


def test_beside_a_reason_remarks_are_told_too():
    with pytest.raises(Refused) as caught:
        refuse_if_any(iter([remark(), question()]))
    assert codes(caught.value) == ["are_you_sure", "only_a_remark"]
