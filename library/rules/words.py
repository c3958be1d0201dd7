"""The one tokeniser: what a text says to the search, the same on every database."""

import re
import unicodedata
from collections.abc import Iterable
from typing import Any

from sqlalchemy import ColumnElement, and_, true

LONGEST_WORD = 60
MOST_QUERY_WORDS = 32

# What NFKD leaves whole and a searcher types otherwise.
_LETTERS = str.maketrans(
    {"ß": "ss", "æ": "ae", "œ": "oe", "ø": "o", "đ": "d", "ð": "d", "þ": "th", "ł": "l", "ı": "i", "ħ": "h"}
)
# Apostrophes, and what romanisation (ALA-LC) writes for hamza, ayn and the Cyrillic signs: searchers leave them out.
_SILENT = frozenset("'’‘ʼʻʹʺʾʿ")
_ISBN = re.compile(r"(?<![\w-])(?:\d-?){9}[\dXx](?![\w-])|(?<![\w-])(?:\d-?){12}\d(?![\w-])")
_LANGUAGES = re.compile(r"(?<=\b[a-zA-Z])(\+\+|#)(?!\w)")
_PLAIN_WORD = re.compile(r"[a-z0-9]+")
_NAMED_SIGNS = {"++": "plusplus", "#": "sharp"}


def words(text: str) -> list[str]:
    """The words of `text`, folded: no case, no accents, no punctuation; hyphens of an ISBN closed up.

    Words hold only letters and digits (any script), at most 60 characters each.
    """
    if not text.isascii():
        # An accent may be typed as one sign or as two.
        text = unicodedata.normalize("NFKC", text)
    text = _ISBN.sub(lambda match: match[0].replace("-", ""), text)
    text = _LANGUAGES.sub(lambda match: _NAMED_SIGNS[match[1]], text)
    if text.isascii():
        return [word[:LONGEST_WORD] for word in _PLAIN_WORD.findall(text.lower().replace("'", ""))]
    text = unicodedata.normalize("NFKD", text).casefold().translate(_LETTERS)
    text = unicodedata.normalize("NFKD", text)
    letters = "".join(_sign(character) for character in text)
    return [word[:LONGEST_WORD] for word in letters.split()]


def _sign(character: str) -> str:
    """A letter or digit stays, a mark, an apostrophe or a sign of romanisation falls out, anything else parts words."""
    if character in _SILENT:
        return ""
    category = unicodedata.category(character)
    if category[0] in "LN":
        return character
    return "" if category[0] == "M" else " "


def index_words(texts: Iterable[str | None]) -> str:
    """All words of the texts, each once, in their order, joined by single spaces."""
    return " ".join(dict.fromkeys(word for text in texts if text for word in words(text)))


def query_words(query: str) -> list[str]:
    """The words to look for, each once; the last is a prefix where the searcher is still typing it."""
    return list(dict.fromkeys(words(query)))[-MOST_QUERY_WORDS:]


def sort_key(text: str, length: int = 200) -> str:
    """What a text sorts under: its folded words, at most `length` characters."""
    return " ".join(words(text))[:length]


def holds_words(column: Any, query: str) -> ColumnElement[bool]:
    """Whether a column of folded words, parted by blanks, holds the beginnings of all words of a query."""
    return and_(true(), *((" " + column).contains(f" {word}", autoescape=True) for word in query_words(query)))
