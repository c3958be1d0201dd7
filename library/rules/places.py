"""Where copies can be, in what condition, and what each action makes of it: the one table of the desk.

A row is a cell of place and condition; a column is an action; what stands there is where the copy comes out, as
`place/condition`, or the code of the refusal. `=` leaves it as it is. It is told for a copy at its home branch for
which nobody waits: a waiting hold, another branch or a patron's own hold then leads it elsewhere (routing.py).
Cells that are not listed do not occur.
"""

from enum import StrEnum

from library.models import Copy, CopyCondition, CopyPlace

Cell = tuple[CopyPlace, CopyCondition]


class Action(StrEnum):
    """What can be done with a copy."""

    CHECK_OUT = "check_out"
    CHECK_IN = "check_in"
    RENEW = "renew"
    PLACE_HOLD = "place_hold"
    DECLARE_LOST = "declare_lost"
    CLAIM_RETURNED = "claim_returned"
    CLAIM_FOUND = "claim_found"
    CLAIM_MISSING = "claim_missing"
    SETTLE_LOSS = "settle_loss"
    MARK_USABLE = "mark_usable"
    MARK_DAMAGED = "mark_damaged"
    MARK_MISSING = "mark_missing"
    MARK_WITHDRAWN = "mark_withdrawn"


LENDING = """
place          condition         check_out         check_in             renew          place_hold
available      usable            on_loan/usable    =                    loan_closed    =
available      damaged           bad_condition     =                    loan_closed    not_holdable
available      missing           bad_condition     available/usable     loan_closed    not_holdable
available      lost              bad_condition     available/usable     loan_closed    not_holdable
available      withdrawn         bad_condition     =                    loan_closed    not_holdable
on_loan        usable            item_on_loan      available/usable     =              =
on_loan        lost              item_on_loan      available/usable     not_renewable  not_holdable
on_loan        claimed_returned  item_on_loan      available/usable     not_renewable  not_holdable
on_hold_shelf  usable            held_for_another  =                    loan_closed    =
in_transit     usable            on_loan/usable    available/usable     loan_closed    =
in_transit     damaged           bad_condition     available/damaged    loan_closed    not_holdable
in_transit     withdrawn         bad_condition     available/withdrawn  loan_closed    not_holdable
in_process     usable            bad_condition     available/usable     loan_closed    =
in_process     damaged           bad_condition     available/damaged    loan_closed    not_holdable
in_process     missing           bad_condition     available/usable     loan_closed    not_holdable
in_process     withdrawn         bad_condition     available/withdrawn  loan_closed    not_holdable
on_order       usable            bad_condition     available/usable     loan_closed    =
on_order       damaged           bad_condition     available/damaged    loan_closed    not_holdable
on_order       missing           bad_condition     available/usable     loan_closed    not_holdable
on_order       withdrawn         bad_condition     available/withdrawn  loan_closed    not_holdable
"""

LOSING = """
place         condition         declare_lost  claim_returned            claim_found       claim_missing   settle_loss
available     usable            loan_closed   loan_closed               loan_closed       loan_closed     =
available     damaged           loan_closed   loan_closed               loan_closed       loan_closed     =
available     missing           loan_closed   loan_closed               loan_closed       loan_closed     =
available     lost              loan_closed   loan_closed               loan_closed       loan_closed     =
available     withdrawn         loan_closed   loan_closed               loan_closed       loan_closed     =
on_loan       usable            on_loan/lost  on_loan/claimed_returned  not_claimed       not_claimed     =
on_loan       lost              already_lost  already_lost              not_claimed       not_claimed     available/lost
on_loan       claimed_returned  on_loan/lost  already_claimed           available/usable  on_loan/usable  =
on_hold_shelf usable            loan_closed   loan_closed               loan_closed       loan_closed     =
in_transit    usable            loan_closed   loan_closed               loan_closed       loan_closed     =
in_transit    damaged           loan_closed   loan_closed               loan_closed       loan_closed     =
in_transit    withdrawn         loan_closed   loan_closed               loan_closed       loan_closed     =
in_process    usable            loan_closed   loan_closed               loan_closed       loan_closed     =
in_process    damaged           loan_closed   loan_closed               loan_closed       loan_closed     =
in_process    missing           loan_closed   loan_closed               loan_closed       loan_closed     =
in_process    withdrawn         loan_closed   loan_closed               loan_closed       loan_closed     =
on_order      usable            loan_closed   loan_closed               loan_closed       loan_closed     =
on_order      damaged           loan_closed   loan_closed               loan_closed       loan_closed     =
on_order      missing           loan_closed   loan_closed               loan_closed       loan_closed     =
on_order      withdrawn         loan_closed   loan_closed               loan_closed       loan_closed     =
"""

MARKING = """
place          condition         mark_usable        mark_damaged        mark_missing        mark_withdrawn
available      usable            =                  available/damaged   available/missing   available/withdrawn
available      damaged           available/usable   =                   available/missing   available/withdrawn
available      missing           available/usable   available/damaged   =                   available/withdrawn
available      lost              available/usable   available/damaged   available/missing   available/withdrawn
available      withdrawn         available/usable   available/damaged   available/missing   =
on_loan        usable            copy_is_out        copy_is_out         copy_is_out         copy_is_out
on_loan        lost              copy_is_out        copy_is_out         copy_is_out         copy_is_out
on_loan        claimed_returned  copy_is_out        copy_is_out         copy_is_out         copy_is_out
on_hold_shelf  usable            =                  available/damaged   available/missing   available/withdrawn
in_transit     usable            =                  available/damaged   available/missing   available/withdrawn
in_transit     damaged           in_transit/usable  =                   available/missing   available/withdrawn
in_transit     withdrawn         in_transit/usable  available/damaged   available/missing   =
in_process     usable            =                  in_process/damaged  in_process/missing  in_process/withdrawn
in_process     damaged           in_process/usable  =                   in_process/missing  in_process/withdrawn
in_process     missing           in_process/usable  in_process/damaged  =                   in_process/withdrawn
in_process     withdrawn         in_process/usable  in_process/damaged  in_process/missing  =
on_order       usable            =                  on_order/damaged    on_order/missing    on_order/withdrawn
on_order       damaged           on_order/usable    =                   on_order/missing    on_order/withdrawn
on_order       missing           on_order/usable    on_order/damaged    =                   on_order/withdrawn
on_order       withdrawn         on_order/usable    on_order/damaged    on_order/missing    =
"""


def _read(*texts: str) -> dict[Cell, dict[Action, Cell | str]]:
    table: dict[Cell, dict[Action, Cell | str]] = {}
    for text in texts:
        head, *rows = (line.split() for line in text.strip().splitlines())
        for place, condition, *outcomes in rows:
            cell = CopyPlace(place), CopyCondition(condition)
            for action, outcome in zip(head[2:], outcomes, strict=True):
                table.setdefault(cell, {})[Action(action)] = _outcome(cell, outcome)
    return table


def _outcome(cell: Cell, text: str) -> Cell | str:
    if text == "=":
        return cell
    place, parted, condition = text.partition("/")
    return (CopyPlace(place), CopyCondition(condition)) if parted else text


TABLE = _read(LENDING, LOSING, MARKING)


def refused(action: Action, copy: Copy) -> str | None:
    """The code of the refusal that stands in the table for this copy, None where the action may be done."""
    outcome = TABLE[copy.place, copy.condition][action]
    return outcome if isinstance(outcome, str) else None


def move(action: Action, copy: Copy) -> None:
    """Put the copy where the table leads it; a refusal that was let pass makes it what a fit copy would become."""
    outcome = TABLE[copy.place, copy.condition][action]
    if isinstance(outcome, str):
        outcome = TABLE[CopyPlace.AVAILABLE, CopyCondition.USABLE][action]
    assert not isinstance(outcome, str)
    if outcome[1] is CopyCondition.USABLE and copy.condition is not CopyCondition.USABLE:
        copy.condition_note = None
    copy.place, copy.condition = outcome
    if copy.place is not CopyPlace.IN_TRANSIT:
        copy.transit_to_branch_id = None
