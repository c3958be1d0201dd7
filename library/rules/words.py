"""The one tokeniser: what a text says to the search, the same on every database."""

import re
import unicodedata
from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import chain
from typing import Any

from sqlalchemy import ColumnElement, and_, bindparam, true

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
# All that has hyphens of an ISBN has one behind a digit, and that is quickly seen.
_MAYBE_ISBN = re.compile(r"\d-")
_PLAIN_WORD = re.compile(r"[a-z0-9]+")
_WORD = re.compile(r"[^\W_]+")
_NOT_PLAIN = re.compile(r"[^\x00-\x7f]")
# Texts up to here are remembered with their words.
_LONGEST_KNOWN = 200
_NAMED_SIGNS = {"++": "plusplus", "#": "sharp"}


def words(text: str) -> list[str]:
    """The words of `text`, folded: no case, no accents, no punctuation; hyphens of an ISBN closed up.

    Words hold only letters and digits (any script), at most 60 characters each.
    """
    return [*_words(text)]


def _words(text: str) -> tuple[str, ...]:
    # Names, subjects and publishers come again and again in a file that is taken in.
    return _cut(text) if len(text) > _LONGEST_KNOWN else _known_words(text)


def _cut(text: str) -> tuple[str, ...]:
    if not text.isascii():
        # An accent may be typed as one sign or as two.
        text = unicodedata.normalize("NFKC", text)
    if "-" in text and _MAYBE_ISBN.search(text):
        text = _ISBN.sub(lambda match: match[0].replace("-", ""), text)
    if "+" in text or "#" in text:
        text = _LANGUAGES.sub(lambda match: _NAMED_SIGNS[match[1]], text)
    if text.isascii():
        found = _PLAIN_WORD.findall(text.lower().replace("'", ""))
    else:
        text = unicodedata.normalize("NFKD", text).casefold().translate(_LETTERS)
        text = unicodedata.normalize("NFKD", text).replace("'", "")
        found = _WORD.findall(_NOT_PLAIN.sub(lambda match: _sign(match[0]), text))
    if len(text) > LONGEST_WORD:
        found = [word[:LONGEST_WORD] for word in found]
    return tuple(found)


_known_words = lru_cache(maxsize=2048)(_cut)


@lru_cache(maxsize=4096)
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
    return " ".join(dict.fromkeys(chain.from_iterable(map(_words, filter(None, texts)))))


def query_words(query: str) -> list[str]:
    """The words to look for, each once; the last is a prefix where the searcher is still typing it."""
    return list(dict.fromkeys(words(query)))[-MOST_QUERY_WORDS:]


def sort_key(text: str, length: int = 200) -> str:
    """What a text sorts under: its folded words, at most `length` characters."""
    return " ".join(_words(text))[:length]


def holds_words(column: Any, query: str) -> ColumnElement[bool]:
    """Whether a column of folded words, parted by blanks, holds the beginnings of all words of a query."""
    return and_(true(), *((" " + column).contains(f" {word}", autoescape=True) for word in query_words(query)))


def holds_so_many(column: Any, count: int) -> ColumnElement[bool]:
    """The same for so many words, with the values that `beginnings` gives by name.

    What is looked for is glued together in SQL: SQLite plans a statement anew each time a LIKE is given a bare value.
    """
    return and_(true(), *((" " + column).contains(bindparam(f"word_{place}")) for place in range(count)))


def beginnings(wanted: Sequence[str]) -> dict[str, str]:
    """What `holds_so_many` asks for: words have no sign in them that says something to LIKE."""
    return {f"word_{place}": f" {word}" for place, word in enumerate(wanted)}
