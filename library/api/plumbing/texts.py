"""The field classes of texts: normalised, without characters that text cannot have, with their lengths."""

import re
import unicodedata
from typing import Any
from zoneinfo import available_timezones

import marshmallow as ma

from library.api.plumbing.fields import Coded, Messages
from library.rules import users

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_CONTROL_OF_LINE = re.compile(r"[\x00-\x1f\x7f-\x9f]")
SURROGATE = re.compile(r"[\ud800-\udfff]")
_EMAIL = re.compile(users.EMAIL + r"\Z")


class Text(Coded, ma.fields.String):
    """Text in NFC without control characters, blanks around it taken off; lengths count characters."""

    default_error_messages: Messages = {
        "too_short": "This must have at least {low} characters.",
        "too_long": "This must have at most {high} characters.",
        "bad_characters": "This holds characters that text cannot have.",
        "bad_form": "This is not {expected}.",
    }
    lines = False

    def __init__(self, max_length: int = 200, min_length: int = 1, pattern: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.max_length, self.min_length, self.pattern = max_length, min_length, pattern

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> str:
        if not isinstance(value, str):
            raise self.make_error("type", expected="text")
        if (_CONTROL if self.lines else _CONTROL_OF_LINE).search(value) or SURROGATE.search(value):
            raise self.make_error("bad_characters")
        value = unicodedata.normalize("NFC", value).strip()
        if len(value) < self.min_length:
            raise self.make_error("too_short", low=self.min_length)
        if len(value) > self.max_length:
            raise self.make_error("too_long", high=self.max_length)
        if self.pattern and not re.fullmatch(self.pattern, value):
            raise self.make_error("bad_form", expected=f"of the form {self.pattern}")
        return value

    def document(self) -> dict[str, Any]:
        pattern = f"^{self.pattern}$" if self.pattern else self._letters()
        return {"minLength": self.min_length, "maxLength": self.max_length, "pattern": pattern}

    def _letters(self) -> str:
        """The pattern of any text: no control characters, and not blank where something must be said."""
        control = r"\x00-\x08\x0B-\x1F\x7F-\x9F" if self.lines else r"\x00-\x1F\x7F-\x9F"
        said = rf"[^\s{control}][^{control}]*" if self.min_length else ""
        return f"^[^{control}]*{said}$"


class Lines(Text):
    """Text that may have several lines."""

    lines = True


class SearchText(Text):
    """What somebody types into a search box: never an error, however odd or long."""

    LONGEST = 500

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> str:
        return SURROGATE.sub(" ", _CONTROL_OF_LINE.sub(" ", str(value)))[: self.LONGEST].strip()

    def document(self) -> dict[str, Any]:
        return {}


class Password(Text):
    """A password, taken as it was typed."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> str:
        if not isinstance(value, str):
            raise self.make_error("type", expected="text")
        if SURROGATE.search(value) or "\0" in value:
            raise self.make_error("bad_characters")
        if not self.min_length <= len(value) <= self.max_length:
            raise self.make_error(
                "too_short" if len(value) < self.min_length else "too_long", low=self.min_length, high=self.max_length
            )
        return value

    def document(self) -> dict[str, Any]:
        return super().document() | {"pattern": r"^[^\x00]*$", "format": "password", "writeOnly": True}


class Email(Text):
    """An e-mail address; whether somebody reads it only a mail can tell."""

    def __init__(self, max_length: int = 254, **kwargs: Any) -> None:
        super().__init__(max_length=max_length, min_length=3, **kwargs)

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> str:
        value = super()._deserialize(value, attr, data, **kwargs)
        if not _EMAIL.match(value):
            raise self.make_error("bad_form", expected="an e-mail address")
        return value

    def document(self) -> dict[str, Any]:
        return super().document() | {"format": "email"}


class TimeZone(Text):
    """A time zone of the IANA database: `Europe/Berlin`."""

    def __init__(self, **kwargs: Any) -> None:
        kwargs.setdefault("max_length", 64)
        super().__init__(**kwargs)

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> str:
        value = super()._deserialize(value, attr, data, **kwargs)
        if value not in available_timezones():
            raise self.make_error("bad_form", expected="a time zone such as Europe/Berlin")
        return value
