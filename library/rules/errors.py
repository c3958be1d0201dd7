"""How a rule says no: refusals with stable codes, collected and raised together."""

import re
from collections.abc import Callable, Iterable
from enum import StrEnum
from functools import wraps
from typing import Any, ClassVar, ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


class Severity(StrEnum):
    """How hard a refusal is: from nothing to be done, down to a remark."""

    BLOCK = "block"
    OVERRIDE = "override"
    CONFIRM = "confirm"
    WARN = "warn"


class Refusal:
    """One reason why an action is refused: the class name is its code, the docstring its sentence.

    `pointer` names the member of the body the reason is about; `parameters` documents what `params` holds;
    `permission` is what staff need to let it pass, None where nobody can.
    """

    severity: ClassVar[Severity] = Severity.BLOCK
    permission: ClassVar[str | None] = None
    parameters: ClassVar[tuple[str, ...]] = ()
    pointer: str | None = None
    catalogue: ClassVar[dict[str, type["Refusal"]]] = {}
    code: ClassVar[str]

    def __init_subclass__(cls) -> None:
        cls.code = re.sub(r"(?<!^)(?=[A-Z])", "_", cls.__name__).lower()
        Refusal.catalogue[cls.code] = cls

    def __init__(self, pointer: str | None = None, **params: Any) -> None:
        unknown = params.keys() - set(self.parameters)
        if unknown:
            raise TypeError(f"{type(self).__name__} does not declare {unknown}")
        self.pointer = pointer or self.pointer
        self.params = params

    @classmethod
    def sentence(cls) -> str:
        """What a person reads."""
        return (cls.__doc__ or "").strip()


class Refused(Exception):
    """An action was refused and changed nothing; `reasons` are all of them, the gravest first.

    Where all of them only want to be confirmed, `confirm_token` is what to send along the next time.
    """

    def __init__(self, reasons: Iterable[Refusal], confirm_token: str | None = None) -> None:
        self.confirm_token = confirm_token
        grades, codes = list(Severity), list(Refusal.catalogue)
        self.reasons = sorted(reasons, key=lambda reason: (grades.index(reason.severity), codes.index(reason.code)))
        super().__init__(", ".join(reason.code for reason in self.reasons))


class Forbidden(Exception):
    """A known actor asks for what their role may not do."""


class Crowded(Exception):
    """So many ask for the same slow work that the others would suffer: nothing was done, to try again helps."""


class UndeclaredRefusal(AssertionError):
    """A rule refused for a reason it does not declare: the document would lie. Raised in tests only."""


# Set by the tests: an undeclared refusal is then an error of its own instead of an honest but undocumented 409.
strict = False


def refuses(*reasons: type[Refusal]) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Declare for which reasons a rule may refuse; the document derives its 409 from it."""

    def decorator(rule: Callable[P, R]) -> Callable[P, R]:
        @wraps(rule)
        def checked(*args: P.args, **kwargs: P.kwargs) -> R:
            try:
                return rule(*args, **kwargs)
            except Refused as refused:
                undeclared = [reason.code for reason in refused.reasons if not isinstance(reason, reasons)]
                if strict and undeclared:
                    raise UndeclaredRefusal(f"{rule.__name__} does not declare {undeclared}") from refused
                raise

        checked.refusals = reasons  # type: ignore[attr-defined]
        return checked

    return decorator


def refuse_if_any(reasons: Iterable[Refusal]) -> None:
    """Raise `Refused` where there is a reason that is more than a remark."""
    reasons = list(reasons)
    if any(reason.severity is not Severity.WARN for reason in reasons):
        raise Refused(reasons)
