"""Passwords that are guessed first: the common ones and their variants, and the names of whoever chooses one."""

import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path

FILE = Path(__file__).with_name("common_passwords.txt")
# As many as the digits of a date: more around a word make it hard to guess again, unless they are a run.
DECORATION = 8
# Repeated, anything as short as this is guessed.
SHORTEST_UNIT = 4
_LETTERS = "abcdefghijklmnopqrstuvwxyz"
_ROWS = ("qwertyuiop", "asdfghjkl", "zxcvbnm")
_WALKS = (
    "1q2w3e4r5t6y7u8i9o0p",
    "q1w2e3r4t5y6u7i8o9p0",
    "1q2w3e4r5t6z7u8i9o0p",
    "1qaz2wsx3edc4rfv5tgb6yhn7ujm8ik9ol0p",
    "qazwsxedcrfvtgbyhnujmikolp",
)
_RUNS = ("0123456789" * 13, _LETTERS * 5, "".join(_ROWS) * 5, "qwertzuiopasdfghjklyxcvbnm" * 5, *_ROWS, *_WALKS)
_EDGES = re.compile(r"([\W\d_]*)(.*?)([\W\d_]*)", re.DOTALL)
_GROUPS = re.compile(r"\d+|\D+")
_LOOKALIKES = [str.maketrans(dict(zip("0134578@$!", letters, strict=True))) for letters in ("oieastbasi", "oleastbasl")]


def is_common(password: str, names: Iterable[str | None] = ()) -> bool:
    """Whether a password is one of those that are tried first, or one of the names of who chooses it.

    Case does not count, nor runs or a date's worth of digits and signs around a word, nor digits in the place of
    letters, nor how often it all is said.
    """
    text = password.casefold()
    known = {part for name in names if name for part in (name.casefold(), name.casefold().partition("@")[0])}
    texts = list(_texts_of(_unit(text)))
    return (
        len(text) <= SHORTEST_UNIT
        or any(_is_pattern(each) for each in (text, *texts))
        or any(word in known or word in words() for each in texts for word in _readings(each))
    )


@lru_cache(maxsize=1)
def words() -> frozenset[str]:
    """The list, folded as passwords are compared."""
    lines = FILE.read_text(encoding="utf-8").splitlines()
    return frozenset(word.casefold() for line in lines if not line.startswith("#") for word in line.split())


def _unit(text: str) -> str:
    """What a text repeats: `abc` of `abcabca`; the text itself where it repeats nothing."""
    return next((text[:size] for size in range(1, len(text) // 2 + 1) if text.startswith(text[size:])), text)


def _is_run(text: str) -> bool:
    return any(text in run or text[::-1] in run for run in _RUNS)


def _is_pattern(text: str) -> bool:
    """Whether a text is a run, or something short again and again."""
    unit = _unit(text)
    return _is_run(unit) if len(unit) > SHORTEST_UNIT else unit != text


def _texts_of(text: str) -> Iterator[str]:
    """The text, what stands in it between digits and signs that are easily guessed, and what that repeats."""
    yield text
    before, inner, after = _EDGES.fullmatch(text).groups()  # type: ignore[union-attr]
    if inner and _weight(before) + _weight(after) <= DECORATION:
        yield inner
        yield _unit(inner)


def _weight(edge: str) -> int:
    """How many characters of an edge must be guessed: a run is guessed at once, and what is repeated once."""
    return sum(1 if _is_run(group) else len(_unit(group)) for group in _GROUPS.findall(edge))


def _readings(word: str) -> Iterator[str]:
    """A word as it is, and with the letters that its digits and signs stand for."""
    yield word
    for letters in _LOOKALIKES:
        yield word.translate(letters)
