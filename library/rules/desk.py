"""Who stands at which desk, and how a refused action may be let pass: overridden with a reason, or confirmed."""

import hmac
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from sqlalchemy.orm import Session

from library.models import Branch, Override, User
from library.rules import access
from library.rules.access import NotForOneself
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
OVERRIDING = (OverrideNotPermitted, OverrideReasonMissing, OverrideNotPossible, NotForOneself)


def _says_something(reason: str) -> bool:
    """Whether there is a letter or a figure in what was written."""
    return re.search(r"\w", reason) is not None


def _no_signatures(text: str) -> Sequence[str]:
    return ()


@dataclass(frozen=True)
class Desk:
    """Who acts, where, and what they let pass.

    `overrides` holds the reason written for each code; `confirm_token` answers an earlier refusal; `signatures` makes
    the token, and what it was under an older key. `branch` is None only for patrons who act for themselves from home.
    `patron_id` is who is served.
    """

    actor: User | None
    branch: Branch | None = None
    self_registered_may_borrow: bool = False
    overrides: Mapping[str, str] = field(default_factory=dict)
    confirm_token: str | None = None
    signatures: Callable[[str], Sequence[str]] = _no_signatures
    remarks: list[Refusal] = field(default_factory=list)
    passed: list[str] = field(default_factory=list)
    patron_id: int | None = None

    @property
    def actor_id(self) -> int | None:
        """Key of the actor; None where the house acts by itself or from the command line."""
        return self.actor.id if self.actor else None

    @property
    def here(self) -> Branch:
        """The branch of a desk that has one."""
        assert self.branch is not None
        return self.branch

    @property
    def serves_oneself(self) -> bool:
        """Whether the actor is the patron."""
        return self.actor_id is not None and self.actor_id == self.patron_id

    def serving(self, patron_id: int | None) -> "Desk":
        """The same desk with this patron in front of it."""
        return replace(self, patron_id=patron_id)

    def permit(self, action: str, about: Iterable[int | str | None], reasons: Iterable[Refusal]) -> list[Override]:
        """Raise Refused unless every reason is a remark, overridden or confirmed; else the overrides to record.

        `about` says what is acted on, by keys and figures: a confirmation holds for the same actor, things, codes and
        figures only. Nobody lets anything pass for themselves, and patrons confirm nothing. Remarks are kept in
        `remarks`.
        """
        reasons = list(reasons)
        passed = [reason for reason in reasons if self.overrides_fully(reason)]
        left = [reason for reason in reasons if reason not in passed]
        left += self._faults_of_overrides(reasons)
        grave = [reason for reason in left if reason.severity is not Severity.WARN]
        if grave and all(reason.severity is Severity.CONFIRM for reason in grave):
            tokens = self.signatures(self._binding(action, about, grave)) if access.is_staff(self.actor) else ()
            given = (self.confirm_token or "").encode()
            if not any(hmac.compare_digest(given, token.encode()) for token in tokens):
                raise Refused(left, confirm_token=next(iter(tokens), None))
        elif grave:
            raise Refused(left)
        self.remarks.extend(reason for reason in left if reason.severity is Severity.WARN)
        self.passed.extend(reason.code for reason in passed)
        return [Override(action=action, code=reason.code, reason=self.overrides[reason.code]) for reason in passed]

    def overrides_fully(self, reason: Refusal) -> bool:
        """Whether the actor lets this refusal pass, may do so for this patron, and says why."""
        return (
            reason.code in self.overrides
            and not self.serves_oneself
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
            elif self.serves_oneself:
                faults.append(NotForOneself("/overrides", override=reason.code))
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
