"""Standard numbers in their normalised forms: ISBN, ISSN, LCCN and OCLC; what is not valid becomes an empty string."""

import re

_DASHES = dict.fromkeys(map(ord, "\u2010\u2011\u2012\u2013\u2014\u2212"), "-")
_ISBN = re.compile(r"(?<![0-9])[0-9][0-9-]{8,15}[0-9Xx](?![0-9])")
_ISSN = re.compile(r"(?<![0-9])([0-9]{4})-?([0-9]{3}[0-9Xx])(?![0-9])")
_OCLC = re.compile(r"\(OCoLC\)\s*(?:ocm|ocn|on)?0*([1-9][0-9]*)\s*$", re.IGNORECASE)


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

    Blanks go, a slash and what follows it go, and behind a hyphen the serial is filled up to six digits.
    """
    number = "".join(text.split()).partition("/")[0].lower()
    prefix, hyphen, serial = number.partition("-")
    return prefix + serial.rjust(6, "0") if hyphen else number


def oclc(text: str) -> str:
    """Return the number of WorldCat out of "(OCoLC)ocm05853149", without prefix and leading zeros."""
    match = _OCLC.match(text)
    return match.group(1) if match else ""


def _weighted_sum(digits: str) -> int:
    """The sum that ISBN-10 and ISSN both divide by eleven: the last digit counts once, the one before it twice, …"""
    values = [10 if digit == "X" else int(digit) for digit in digits]
    return sum(value * weight for weight, value in enumerate(reversed(values), 1))
