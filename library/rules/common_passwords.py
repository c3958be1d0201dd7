"""Passwords that are guessed first: the common ones and their variants, and the names of whoever chooses one."""

import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path

FILE = Path(__file__).with_name("common_passwords.txt")
# As many as the digits of a date: more around a word make it hard to guess again.
DECORATION = 8
# Repeated, anything as short as this is guessed.
SHORTEST_UNIT = 4
_LETTERS = "abcdefghijklmnopqrstuvwxyz"
_ROWS = ("qwertyuiop", "asdfghjkl", "zxcvbnm")
_RUNS = ("0123456789" * 13, _LETTERS * 5, "".join(_ROWS) * 5, "qwertzuiopasdfghjklyxcvbnm" * 5, *_ROWS)
_EDGES = re.compile(r"^[\W\d_]+|[\W\d_]+$")
_LOOKALIKES = [str.maketrans(dict(zip("0134578@$!", letters, strict=True))) for letters in ("oieastbasi", "oleastbasl")]


def is_common(password: str, names: Iterable[str | None] = ()) -> bool:
    """Whether a password is one of those that are tried first, or one of the names of who chooses it.

    Case does not count, nor a date's worth of digits and signs around a word, nor digits in the place of letters.
    """
    unit = _unit(password.casefold())
    if len(unit) <= SHORTEST_UNIT or any(unit in run or unit[::-1] in run for run in _RUNS):
        return True
    known = {part for name in names if name for part in (name.casefold(), name.casefold().partition("@")[0])}
    return any(word in known or word in words() for word in _words_of(unit))


@lru_cache(maxsize=1)
def words() -> frozenset[str]:
    """The list, folded as passwords are compared."""
    lines = FILE.read_text(encoding="utf-8").splitlines()
    return frozenset(word.casefold() for line in lines if not line.startswith("#") for word in line.split())


def _unit(text: str) -> str:
    """What a text repeats: `abc` of `abcabca`; the text itself where it repeats nothing."""
    return next((text[:size] for size in range(1, len(text) // 2 + 1) if text.startswith(text[size:])), text)


def _words_of(text: str) -> Iterator[str]:
    """The text, and the word in it, as they are and with the letters that its digits and signs stand for."""
    stripped = _EDGES.sub("", text)
    for word in (text, stripped) if len(text) - len(stripped) <= DECORATION else (text,):
        yield word
        for letters in _LOOKALIKES:
            yield word.translate(letters)
