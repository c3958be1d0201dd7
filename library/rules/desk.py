"""Who stands at which desk, and how a refused action may be let pass: overridden with a reason, or confirmed."""

import hmac
import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy.orm import Session

from library.models import Branch, Override, User
from library.rules import access
from library.rules.errors import Refusal, Refused, Severity


class OverrideNotPermitted(Refusal):
    """Your role may not let this pass."""

    pointer = "/overrides"
    parameters = ("override", "permission")


class OverrideReasonMissing(Refusal):
    """Write why this is let pass."""

    pointer = "/overrides"
    parameters = ("override",)


class OverrideNotPossible(Refusal):
    """Nobody can let this pass."""

    pointer = "/overrides"
    parameters = ("override",)


class OverrideDueDateMissing(Refusal):
    """What stays in the house is lent only until a date that staff name."""

    pointer = "/due_at"


# What `Desk.permit` may add to the refusals of any action.
OVERRIDING = (OverrideNotPermitted, OverrideReasonMissing, OverrideNotPossible)


def _says_something(reason: str) -> bool:
    """Whether there is a letter or a figure in what was written."""
    return re.search(r"\w", reason) is not None


def _no_signature(text: str) -> str:
    return ""


@dataclass(frozen=True)
class Desk:
    """Who acts, where, and what they let pass.

    `overrides` holds the reason written for each code; `confirm_token` answers an earlier refusal; `sign` makes the
    tokens. `branch` is None only for patrons who act for themselves from home.
    """

    actor: User | None
    branch: Branch | None = None
    self_registered_may_borrow: bool = False
    overrides: Mapping[str, str] = field(default_factory=dict)
    confirm_token: str | None = None
    sign: Callable[[str], str] = _no_signature
    remarks: list[Refusal] = field(default_factory=list)

    @property
    def actor_id(self) -> int | None:
        """Key of the actor; None where the house acts by itself or from the command line."""
        return self.actor.id if self.actor else None

    @property
    def here(self) -> Branch:
        """The branch of a desk that has one."""
        assert self.branch is not None
        return self.branch

    def permit(self, action: str, about: Iterable[int | str | None], reasons: Iterable[Refusal]) -> list[Override]:
        """Raise Refused unless every reason is a remark, overridden or confirmed; else the overrides to record.

        `about` says what is acted on, by keys and figures: a confirmation holds for the same actor, things, codes and
        figures only. Remarks are kept in `remarks`.
        """
        reasons = list(reasons)
        passed = [reason for reason in reasons if self.overrides_fully(reason)]
        left = [reason for reason in reasons if reason not in passed]
        left += self._faults_of_overrides(reasons)
        grave = [reason for reason in left if reason.severity is not Severity.WARN]
        if grave and all(reason.severity is Severity.CONFIRM for reason in grave):
            token = self.sign(self._binding(action, about, grave))
            if not self.confirm_token or not hmac.compare_digest(self.confirm_token.encode(), token.encode()):
                raise Refused(left, confirm_token=token or None)
        elif grave:
            raise Refused(left)
        self.remarks.extend(reason for reason in left if reason.severity is Severity.WARN)
        return [Override(action=action, code=reason.code, reason=self.overrides[reason.code]) for reason in passed]

    def overrides_fully(self, reason: Refusal) -> bool:
        """Whether the actor lets this refusal pass, may do so, and says why."""
        return (
            reason.code in self.overrides
            and reason.permission is not None
            and access.may(self.actor, reason.permission)
            and _says_something(self.overrides[reason.code])
        )

    def _faults_of_overrides(self, reasons: Iterable[Refusal]) -> list[Refusal]:
        faults: list[Refusal] = []
        for reason in reasons:
            if reason.code not in self.overrides:
                continue
            if reason.permission is None:
                faults.append(OverrideNotPossible(override=reason.code))
            elif not access.may(self.actor, reason.permission):
                faults.append(OverrideNotPermitted(override=reason.code, permission=reason.permission))
            elif not _says_something(self.overrides[reason.code]):
                faults.append(OverrideReasonMissing(override=reason.code))
        return faults

    def _binding(self, action: str, about: Iterable[int | str | None], reasons: Iterable[Refusal]) -> str:
        said = sorted((reason.code, sorted(reason.params.items())) for reason in reasons)
        return json.dumps([action, self.actor_id, list(about), said], default=str)


def record(session: Session, desk: Desk, overrides: Iterable[Override], now: datetime, **about: Any) -> None:
    """Write down what was let pass: by whom, when, for which loan or hold (`loan_id=`, `hold_id=`)."""
    for override in overrides:
        override.actor_id, override.made_at = desk.actor_id, now
        for name, value in about.items():
            setattr(override, name, value)
        session.add(override)
