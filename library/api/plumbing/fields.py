"""The field classes of every schema, strict about types and ranges and documented as strictly; texts stand apart."""

import re
from collections.abc import Iterable
from datetime import UTC, date, datetime
from enum import StrEnum
from typing import Any

import marshmallow as ma
from webargs.fields import DelimitedList

from library.models import HIGHEST_ID

FIRST_YEAR, LAST_YEAR = 1900, 2200
_YEARS = r"^(19\d\d|2[01]\d\d|2200)-"
_EXACT_FLOAT = 2**53
WHOLE = re.compile(r"-?(0|[1-9]\d{0,18})\Z", re.ASCII)
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}\Z", re.ASCII)
_MOMENT = re.compile(r"\d{4}-\d{2}-\d{2}[Tt ]\d{2}:\d{2}(:\d{2}(\.\d{1,6})?)?([Zz]|[+-]\d{2}:\d{2})\Z", re.ASCII)

# The type of error messages, as marshmallow has it.
Messages = dict[str, str | list[Any] | dict[Any, Any]]


class Fault(str):
    """A message that knows its stable code."""

    code: str

    def __new__(cls, text: str, code: str) -> "Fault":
        fault = super().__new__(cls, text)
        fault.code = code
        return fault


class Coded:
    """A field whose errors carry codes, and which describes itself to the document."""

    default_error_messages: Messages = {
        "required": "This member is required.",
        "null": "This member may not be null.",
        "type": "This must be {expected}.",
        "out_of_range": "This must lie between {low} and {high}.",
    }

    def make_error(self, key: str, **kwargs: Any) -> ma.ValidationError:
        text = self.error_messages[key].format(**kwargs)  # type: ignore[attr-defined]
        return ma.ValidationError(Fault(text, {"null": "null_not_allowed", "type": "invalid_type"}.get(key, key)))

    def document(self) -> dict[str, Any]:
        """What the document says of the value beyond its type."""
        return {}


class Whole(Coded, ma.fields.Integer):
    """A whole number in the column's range; 1.0 is 1, but 1.9 is not, and true is not 1 either."""

    def __init__(self, low: int = -(2**31), high: int = HIGHEST_ID, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.low, self.high = low, high

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> int:
        # 250.0 is a whole number to JSON Schema; one that a float cannot hold exactly has lost digits on its way.
        if isinstance(value, float) and value.is_integer() and abs(value) <= _EXACT_FLOAT:
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int):
            raise self.make_error("type", expected="a whole number")
        if not self.low <= value <= self.high:
            raise self.make_error("out_of_range", low=self.low, high=self.high)
        return value

    def document(self) -> dict[str, Any]:
        return {"minimum": self.low, "maximum": self.high}


class QueryWhole(Whole):
    """A whole number as a query string writes it: digits."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> int:
        if not isinstance(value, str) or not WHOLE.match(value):
            raise self.make_error("type", expected="a whole number")
        return super()._deserialize(int(value), attr, data, **kwargs)


class Cents(Whole):
    """An amount of money in cents of the library's currency."""

    def __init__(self, low: int = 0, **kwargs: Any) -> None:
        super().__init__(low=low, **kwargs)


class Id(Whole):
    """A record's number."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(low=1, **kwargs)


class Flag(Coded, ma.fields.Boolean):
    """true or false, nothing else."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> bool:
        if not isinstance(value, bool):
            raise self.make_error("type", expected="true or false")
        return value


class QueryFlag(Flag):
    """`true` or `false` in a query string."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> bool:
        if value not in ("true", "false"):
            raise self.make_error("type", expected="true or false")
        return value == "true"


class MomentField(Coded, ma.fields.DateTime):
    """An aware moment, ISO 8601; written in UTC with six fractional digits and `Z`."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> datetime:
        if not isinstance(value, str) or not _MOMENT.match(value):
            raise self.make_error("type", expected="a moment with its offset, such as 2026-05-01T09:30:00Z")
        try:
            moment = datetime.fromisoformat(value.upper()).astimezone(UTC)
        except (ValueError, OverflowError):
            raise self.make_error("type", expected="a moment of the calendar") from None
        if not FIRST_YEAR <= moment.year <= LAST_YEAR:
            raise self.make_error("out_of_range", low=FIRST_YEAR, high=LAST_YEAR)
        return moment

    def _serialize(self, value: datetime | None, attr: str | None, obj: Any, **kwargs: Any) -> str | None:
        return None if value is None else value.isoformat(timespec="microseconds")[:26] + "Z"

    def document(self) -> dict[str, Any]:
        return {"pattern": _YEARS}


class Day(Coded, ma.fields.Date):
    """A local day, `2026-05-01`."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> date:
        if not isinstance(value, str) or not _DAY.match(value):
            raise self.make_error("type", expected="a day such as 2026-05-01")
        try:
            day = date.fromisoformat(value)
        except ValueError:
            raise self.make_error("type", expected="a day of the calendar") from None
        if not FIRST_YEAR <= day.year <= LAST_YEAR:
            raise self.make_error("out_of_range", low=FIRST_YEAR, high=LAST_YEAR)
        return day

    def document(self) -> dict[str, Any]:
        return {"pattern": _YEARS}


class Choice(Coded, ma.fields.String):
    """One of the words of an enumeration."""

    default_error_messages: Messages = {"unknown_value": "This must be one of: {values}."}

    def __init__(self, values: type[StrEnum], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.values = values

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> StrEnum:
        if not isinstance(value, str) or value not in list(self.values):
            raise self.make_error("unknown_value", values=", ".join(self.values))
        return self.values(value)

    def _serialize(self, value: Any, attr: str | None, obj: Any, **kwargs: Any) -> str | None:
        return None if value is None else self.values(value).value

    def document(self) -> dict[str, Any]:
        return {"enum": [*(member.value for member in self.values), *([None] if self.allow_none else [])]}


class ListOf(Coded, ma.fields.List):
    """A list of at most so many values."""

    default_error_messages: Messages = {
        "invalid": "This must be a list.",
        "too_many": "This must have at most {high} values.",
    }

    def __init__(self, inner: Any, max_length: int = 200, **kwargs: Any) -> None:
        super().__init__(inner, **kwargs)
        self.max_length = max_length

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> list[Any]:
        if isinstance(value, list) and len(value) > self.max_length:
            raise self.make_error("too_many", high=self.max_length)
        return super()._deserialize(value, attr, data, **kwargs)

    def document(self) -> dict[str, Any]:
        return {"maxItems": self.max_length}


class Nested(Coded, ma.fields.Nested):
    """Another schema inside this one."""

    default_error_messages: Messages = {"type": "This must be an object."}


class QueryList(ListOf):
    """Several values in a query string: the parameter repeated for each."""

    default_error_messages: Messages = {"in_one": "Repeat the parameter for each value: {name}=1&{name}=2."}

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> list[Any]:
        if any("," in text for text in value):
            raise self.make_error("in_one", name=self.name)
        return super()._deserialize(value, attr, data, **kwargs)


class Choices(Coded, DelimitedList):
    """Some of several names in a query string, each once: parted by commas, or the parameter repeated."""

    default_error_messages: Messages = {"unknown_value": "This must be some of: {values}; each at most once."}

    def __init__(self, names: Iterable[str], **kwargs: Any) -> None:
        super().__init__(ma.fields.String(), **kwargs)
        self.names = list(names)

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> list[Any]:
        chosen = super()._deserialize(value, attr, data, **kwargs)
        topics = {self.topic(name) for name in chosen}
        if not chosen or any(name not in self.names for name in chosen) or len(topics) != len(chosen):
            raise self.make_error("unknown_value", values=", ".join(self.names))
        return chosen

    @staticmethod
    def topic(name: str) -> str:
        """What may be named once only."""
        return name

    def document(self) -> dict[str, Any]:
        return {"items": {"type": "string", "enum": self.names}, "minItems": 1, "uniqueItems": True}


class SortBy(Choices):
    """What a list is ordered by: names, `-` before one for the other way round."""

    def __init__(self, keys: Iterable[str], **kwargs: Any) -> None:
        super().__init__([sign + key for key in keys for sign in ("", "-")], **kwargs)

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> list[Any]:
        names = super()._deserialize(value, attr, data, **kwargs)
        return [(self.topic(name), name.startswith("-")) for name in names]

    @staticmethod
    def topic(name: str) -> str:
        return name.removeprefix("-")
