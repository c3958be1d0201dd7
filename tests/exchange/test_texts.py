"""Texts: clean, and free of ISBD punctuation but not of their own."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from library.exchange.texts import balanced, clean, cut, strip_isbd


@pytest.mark.parametrize(
    ("printed", "expected"),
    [
        ("  Moby\tDick \n or", "Moby Dick or"),
        ("Mu\u0308nchen", "München"),
        ("The\x98 \x9cwhale\x00\x1f", "The whale"),
        ("\ufeffWhale", "Whale"),
        ("one\xa0two\u2003three", "one two three"),
        ("می\u200cخواهم", "می\u200cخواهم"),
    ],
)
def test_clean(printed: str, expected: str) -> None:
    assert clean(printed) == expected


@pytest.mark.parametrize(
    ("printed", "expected"),
    [
        ("Moby-Dick /", "Moby-Dick"),
        ("Faust :", "Faust"),
        ("Works ;", "Works"),
        ("War and peace =", "War and peace"),
        ("Melville, Herman,", "Melville, Herman"),
        ("Whaling.", "Whaling"),
        ("Tolkien, J. R. R.", "Tolkien, J. R. R."),
        ("Sartre, J.-P.", "Sartre, J.-P."),
        ("2nd ed. /", "2nd ed."),
        ("Breitkopf & Co.", "Breitkopf & Co."),
        ("Made in the U.S.A.", "Made in the U.S.A."),
        ("Life in ...", "Life in ..."),
        ("Trykkeri (Minneapolis, Minn.).", "Trykkeri (Minneapolis, Minn.)"),
        ("Data structures with C++", "Data structures with C++"),
        ("/", ""),
        ("", ""),
    ],
)
def test_strip_isbd(printed: str, expected: str) -> None:
    assert strip_isbd(printed) == expected


def test_balanced_drops_the_bracket_whose_partner_stands_elsewhere() -> None:
    assert balanced("1899?]") == "1899?"
    assert balanced("[1899?]") == "[1899?]"


def test_cut_ends_in_an_ellipsis_within_the_limit() -> None:
    assert cut("abcdef", 6) == "abcdef"
    assert cut("abc defg", 5) == "abc…"


@given(st.text(), st.integers(1, 20))
def test_texts_never_hold_what_a_database_refuses(text: str, limit: int) -> None:
    for result in (clean(text), strip_isbd(text), cut(clean(text), limit)):
        assert clean(result) == result
        assert "\0" not in result
    assert len(cut(clean(text), limit)) <= limit
