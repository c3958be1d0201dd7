"""Texts as catalogues print them: made clean, and freed of the punctuation that ISBD puts between the parts."""

import re
import unicodedata
from functools import lru_cache

# Widths of the database's columns; the source record keeps what is cut off.
LIMITS = {
    "title": 2000,
    "subtitle": 2000,
    "publisher": 500,
    "edition": 500,
    "series": 500,
    "year_text": 200,
    "name": 500,
    "dates": 100,
    "subject": 500,
    "description": 10_000,
    "identifier": 100,
    "control_number": 100,
}

# A final period behind one of these belongs to the word; behind any other word it is ISBD punctuation.
ABBREVIATIONS = frozenset(
    """
    abr abt al approx aufl ausg bd bibl bros bull ca cent ch chas chr cie co col comp corp cos cf dept dr ed edn eds
    enl esq etc ex facsim fasc ff fig fl geo gmbh govt hon ill illus inc incl intro jos jr jun lt ltd maj mass messrs
    mr mrs ms mt no nos nouv nr op orig pp prof pseud pt pts pub publ repr rev rt sc ser sp sr st ste suppl tr trans
    uitg univ unpag ver verl vol vols wm
    """.split()  # noqa: SIM905  a list of eighty strings would hide the words
)

_SEPARATORS = " /:;=,"
_ENDS = _SEPARATORS + "."
_WORD_ENDS = re.compile(r"[-(\[]")
_CLOSERS = tuple(")]>\"'’”")
_UNWANTED = {code: None for code in (*range(0x20), *range(0x7F, 0xA0), 0xFEFF) if not chr(code).isspace()}


def clean(text: str) -> str:
    """Return the text in NFC, without control characters, its whitespace collapsed to single spaces."""
    plain = text.isprintable()
    if not plain:
        text = text.translate(_UNWANTED)
    if not text.isascii():
        text = unicodedata.normalize("NFC", text)
    # Of all whitespace the blank alone is printable.
    return text.strip() if plain and "  " not in text else " ".join(text.split())


def strip_period(text: str) -> str:
    """Drop a final period, unless it ends an ellipsis, an initial or an abbreviation ("J.", "U.S.", "2nd ed.")."""
    if not text.endswith(".") or text.endswith(".."):
        return text
    if text[-2:-1] in _CLOSERS:
        return text[:-1]
    word = text[:-1].rpartition(" ")[2]
    if not word.isalpha():
        word = _WORD_ENDS.split(word)[-1]
    is_initial = len(word) == 1 and word.isalpha()
    if is_initial or "." in word or word.casefold() in ABBREVIATIONS:
        return text
    return text[:-1].rstrip()


def strip_separators(text: str) -> str:
    """Drop the trailing marks that announce the next part of an ISBD description (" /", " :", " ;", "=", ",")."""
    return text.rstrip(_SEPARATORS)


def strip_isbd(text: str) -> str:
    """Clean a text and drop the ISBD punctuation at its end."""
    return _stripped(text) if len(text) <= 100 else _stripped.__wrapped__(text)


# Half of all headings stood in one of the last thousand records too.
@lru_cache(maxsize=4096)
def _stripped(text: str) -> str:
    text = clean(text)
    if text[-1:] not in _ENDS:
        return text
    return strip_separators(strip_period(strip_separators(text)))


def balanced(text: str) -> str:
    """Drop square brackets that were opened or closed in another part ("[Paris :", "1899?]")."""
    return text if text.count("[") == text.count("]") else text.replace("[", "").replace("]", "")


def cut(text: str, limit: int) -> str:
    """Return the text in at most `limit` characters; what was cut ends in an ellipsis."""
    return text if len(text) <= limit else text[: limit - 1].rstrip() + "…"
