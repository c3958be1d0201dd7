"""What every peer judges by when it lends a copy or takes one back: the facts in, codes or a due date out.

The facts are a dictionary in the forms of JSON, moments in UTC with six digits, so that they compare as text. The peers
differ in how they come by the facts and in how they answer. What the runs never meet (holds in the way, late or lost
copies, other policies) is looked for in the tables all the same, and fails.
"""

from collections.abc import Mapping
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

Facts = Mapping[str, Any]
STAFF = ("librarian", "admin")
# The policies that the data has, and that are judged by.
POLICIES = {"loan_period", "max_loans", "max_loans_per_item_type", "max_overdue", "max_debt_cents", "max_renewals"}
POLICIES |= {"fine_rate", "fine_cap_cents"}
RENEWABLE = {"ok": True, "errors": []}
CLOSED = {"code": "loan_closed", "detail": "The loan has ended.", "params": {}}
LOAN_CLOSED = {"ok": False, "errors": [CLOSED | {"severity": "block", "overridable": False}]}


class Refused(Exception):
    """The desk says no, for these codes."""

    def __init__(self, *codes: str) -> None:
        self.problem = {"status": 409, "code": "refused", "errors": [{"code": code} for code in codes]}


class NotOfTheBench(Exception):
    """The runs never do this."""


def shown(moment: datetime) -> str:
    """A moment as the API shows it."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def local_day(moment: str, time_zone: str) -> date:
    """The day of a moment at a branch."""
    return datetime.fromisoformat(moment).astimezone(ZoneInfo(time_zone)).date()


def refuse_if_any(facts: Facts, now: str) -> None:
    """Raise Refused with every reason against lending the copy to the patron."""
    copy, patron, rules = facts["copy"], facts["patron"], dict(facts["policies"])
    if facts["waiting"] or rules.keys() - POLICIES or rules.get("max_renewals") == 0:
        raise NotOfTheBench("holds in the way, and policies that the data has not")
    today = local_day(now, facts["branch"]["time_zone"]).isoformat()
    found = _against_copy(copy) | _against_patron(facts, patron, rules, today)
    if copy and patron:
        loans, alike = facts["loans"], [loan["item_type_id"] == copy["item_type_id"] for loan in facts["loans"]]
        found["loan_limit"] = _above(len(loans) + 1, rules.get("max_loans")) or _above(
            sum(alike) + 1, rules.get("max_loans_per_item_type")
        )
        found["same_title_on_loan"] = any(
            loan["book_id"] == copy["book_id"] and loan["copy_id"] != copy["id"] for loan in loans
        )
    codes = [code for code, holds in found.items() if holds]
    if codes:
        raise Refused(*codes)


def _against_copy(copy: Facts | None) -> dict[str, bool]:
    if copy is None:
        return {"item_not_found": True}
    if copy["condition"] != "usable" or copy["place"] not in ("available", "on_loan"):
        raise NotOfTheBench("a copy that is not fit, on its way or set aside")
    return {
        "item_on_loan": copy["place"] == "on_loan",
        "not_for_loan": copy["stays"],
        "check_note": copy["check_note"] is not None,
    }


def _against_patron(facts: Facts, patron: Facts | None, rules: Facts, today: str) -> dict[str, bool]:
    if patron is None:
        return {"patron_not_found": True}
    blocks = [block for block in facts["blocks"] if block["until_on"] is None or today <= block["until_on"]]
    return {
        "patron_unconfirmed": not patron["confirmed"],
        "patron_inactive": not patron["active"],
        "patron_expired": patron["expires_on"] is not None and patron["expires_on"] < today,
        "patron_blocked": any(block["scope"] in ("all", "loans") for block in blocks),
        "debt_limit": _above(facts["owed"], rules.get("max_debt_cents")),
        "overdue_limit": _above(sum(loan["late"] for loan in facts["loans"]), rules.get("max_overdue")),
    }


def _above(count: int, limit: int | None) -> bool:
    return limit is not None and count > limit


def due(facts: Facts, now: str) -> tuple[str, str, list[dict[str, Any]]]:
    """When the copy is due, the local day of that, and the steps that led there."""
    branch, length = facts["branch"], dict(facts["policies"]).get("loan_period", {"number": 28, "unit": "days"})
    day = local_day(now, branch["time_zone"]) + timedelta(days=length["number"])
    steps = [_step("period", day, branch, **length)]
    if not _is_open(day, facts):
        while not _is_open(day, facts):
            day += timedelta(days=1)
        steps.append(_step("closed_day", day, branch, policy="next_open"))
    if length["unit"] != "days" or (facts["patron"]["expires_on"] or "9999") <= day.isoformat():
        raise NotOfTheBench("loans of hours, and a card that ends before the loan")
    return steps[-1]["due_at"], steps[-1]["due_on"], steps


def _is_open(day: date, facts: Facts) -> bool:
    hours, text = facts["branch"]["hours"], day.isoformat()
    that_day = [one["is_open"] for one in facts["exceptions"] if one["from_on"] <= text <= one["to_on"]]
    weekdays = {span["weekday"] for span in hours}
    return any(that_day) if that_day else not hours or day.isoweekday() in weekdays


def _step(name: str, day: date, branch: Facts, **why: Any) -> dict[str, Any]:
    end = datetime.combine(day, time(23, 59, 59, fold=1), ZoneInfo(branch["time_zone"]))
    return {"step": name, "due_at": shown(end), "due_on": day.isoformat(), **why}


def shown_steps(steps: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The steps as they are shown: why they were taken is kept and not told."""
    return [{name: step[name] for name in ("step", "due_at", "due_on")} for step in steps]


def refuse_unusual_return(facts: Facts, branch_id: int, now: str) -> None:
    """Raise Refused for an unknown copy, and NotOfTheBench for a return that is more than a return."""
    copy, loan = facts["copy"], facts["loan"]
    if copy is None:
        raise Refused("item_not_found")
    plain = copy["condition"] == "usable" and copy["place"] == "on_loan" and not copy["check_note"]
    if not plain or facts["waiting"] or facts["lost"] or loan is None or loan["due_at"] < now or loan["lent_condition"]:
        raise NotOfTheBench("a copy that is late, lost, wanted, not fit, or was not out")
    if copy["home_branch_id"] != branch_id:
        raise NotOfTheBench("a copy that travels home")


def route_home(branch_id: int) -> dict[str, Any]:
    """Where a copy goes that nobody waits for and that is at home."""
    return {"action": "shelve", "branch_id": branch_id, "reason": "home"}
