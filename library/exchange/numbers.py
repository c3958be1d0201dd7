"""Standard numbers in their normalised forms: ISBN, ISSN, LCCN and OCLC; what is not valid becomes an empty string."""

import re
import unicodedata
from operator import mul

# What a digit counts in a sum.
_VALUES = {str(digit): digit for digit in range(10)} | {"X": 10}
_DASHES = dict.fromkeys(map(ord, "\u2010\u2011\u2012\u2013\u2014\u2212"), "-")
_ISBN = re.compile(r"(?<![0-9])[0-9][0-9-]{8,15}[0-9Xx](?![0-9])")
_ISSN = re.compile(r"(?<![0-9])([0-9]{4})-?([0-9]{3}[0-9Xx])(?![0-9])")
_OCLC = re.compile(r"(\(OCoLC\))?\s*(?:ocm|ocn|on)?0*([1-9][0-9]{0,99})\s*", re.IGNORECASE)
# Prefix and year, a hyphen, and the serial, whose zeros may be left out.
_HYPHENED_LCCN = re.compile(r"([a-z]{0,3}[0-9]{2}(?:[0-9]{2})?)-([0-9]{1,6})")
_LCCN = re.compile(r"([a-z]{0,3})([0-9]{2}|[0-9]{4})([0-9]{6})")


def normal(scheme: str, text: str) -> str:
    """Return a number in the one form in which it is kept and compared; "" where it is none of its scheme."""
    if scheme == "isbn":
        return isbn(text) or isbn("".join(text.split()))
    if scheme == "issn":
        return issn(text) or issn("".join(text.split()))
    if scheme == "lccn":
        return lccn(text)
    if scheme == "oclc":
        match = _OCLC.fullmatch("".join(text.split()))
        return match.group(2) if match else ""
    return " ".join(unicodedata.normalize("NFC", text).split())


def spellings(scheme: str, number: str) -> str:
    """A number in its normal form, and the words of the other forms in which people look for it."""
    match = _LCCN.fullmatch(number) if scheme == "lccn" else None
    if match:
        prefix, year, serial = match.groups()
        return f"{number} {prefix} {prefix}{year} {year} {year}{serial} {serial} {serial.lstrip('0')}"
    if scheme == "oclc" and number.isdecimal():
        prefix = "ocm" if len(number) < 9 else "ocn" if len(number) == 9 else "on"
        return f"{number} (OCoLC) {prefix}{number.zfill(8)}"
    return number


def isbn(text: str) -> str:
    """Return the ISBN of ten or thirteen digits in the text, without hyphens; "" when there is none or it is wrong."""
    match = _ISBN.search(text.translate(_DASHES))
    digits = match.group().replace("-", "").upper() if match else ""
    if len(digits) == 10:
        return digits if _weighted_sum(digits) % 11 == 0 else ""
    if len(digits) == 13 and digits.isdigit() and digits.startswith(("978", "979")):
        total = sum(int(digit) * (3 if index % 2 else 1) for index, digit in enumerate(digits))
        return digits if total % 10 == 0 else ""
    return ""


def issn(text: str) -> str:
    """Return the ISSN in the text as eight characters; "" when there is none or its check digit is wrong."""
    match = _ISSN.search(text.translate(_DASHES))
    digits = (match.group(1) + match.group(2)).upper() if match else ""
    return digits if digits and _weighted_sum(digits) % 11 == 0 else ""


def lccn(text: str) -> str:
    """Return the control number as the Library of Congress normalises it (https://www.loc.gov/marc/lccn-namespace.html).

    Blanks go, a slash and what follows it go, and behind a hyphen the serial is filled up to six digits. What then is
    not made of letters and digits alone is none.
    """
    number = "".join(text.split()).partition("/")[0].translate(_DASHES).lower()
    if "-" in number:
        match = _HYPHENED_LCCN.fullmatch(number)
        number = match.group(1) + match.group(2).rjust(6, "0") if match else number.replace("-", "")
    return number if number.isascii() and number.isalnum() and len(number) <= 100 else ""


def oclc(text: str) -> str:
    """Return the number of WorldCat out of "(OCoLC)ocm05853149", without prefix and leading zeros."""
    match = _OCLC.fullmatch(text)
    return match.group(2) if match and match.group(1) else ""


def _weighted_sum(digits: str) -> int:
    """The sum that ISBN-10 and ISSN both divide by eleven: the last digit counts once, the one before it twice, …"""
    return sum(map(mul, map(_VALUES.__getitem__, digits), range(len(digits), 0, -1)))
