"""The tokeniser: what a text says to the search."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import literal, select

from library.rules import words

# Every character there is, lone surrogates and controls among them.
ANY_TEXT = st.text(st.characters())
# Texts as they stand in catalogues, which plain noise seldom hits.
SIGNS = st.sampled_from(["C++", "c#", "978-0-14-143951-8", "0-8044-2957-X", "ß", "Œuvre", "e\u0301", "don’t", "-", " "])
PRINTED = st.lists(SIGNS | st.text(max_size=5), max_size=8).map("".join)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ""),
        ("Moby-Dick; or, The Whale", "moby dick or the whale"),
        ("Œuvres complètes", "oeuvres completes"),
        ("Straße STRASSE ẞ", "strasse strasse ss"),
        ("Łódź, Đorđe, Ísafjörður, Ærø, Þing", "lodz dorde isafjordur aero thing"),
        ("Schro\u0308dinger Schrödinger", "schrodinger schrodinger"),
        ("Ğ ISTANBUL İstanbul ılık", "g istanbul istanbul ilik"),
        ("don't don’t O'Neill", "dont dont oneill"),
        ("3.14 x@example.org", "3 14 x example org"),
        ("Преступление и наказание", "преступление и наказание"),
        ("日本 ﬁne ½ ²", "日本 fine 1 2 2"),
        ("ὈΔΥΣΣΕΎΣ Ὀδυσσεύς", "οδυσσευσ οδυσσευσ"),
        ("a\x00b\ud800c\u200bd", "a b c d"),
        ("!?…—", ""),
    ],
)
def test_a_text_is_folded_into_words(text, expected):
    assert " ".join(words.words(text)) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("978-0-14-143951-8", "9780141439518"),
        ("ISBN 978-0-14-143951-8 (pbk.)", "isbn 9780141439518 pbk"),
        ("0-8044-2957-X", "080442957x"),
        ("0-8044-2957-x", "080442957x"),
        ("9780141439518", "9780141439518"),
        ("1914-1918", "1914 1918"),
        ("2001-09-11", "2001 09 11"),
        ("x978-0-14-143951-8", "x978 0 14 143951 8"),
        ("978-0-14-143951-89", "978 0 14 143951 89"),
    ],
)
def test_the_hyphens_of_an_isbn_close_up_and_no_others(text, expected):
    assert " ".join(words.words(text)) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("C++", "cplusplus"),
        ("The c++ language", "the cplusplus language"),
        ("C# in depth", "csharp in depth"),
        ("F#, C++.", "fsharp cplusplus"),
        ("Notepad++", "notepad"),
        ("C++17", "c 17"),
        ("#5", "5"),
        ("C", "c"),
    ],
)
def test_languages_named_by_a_letter_and_signs_are_words_of_their_own(text, expected):
    assert " ".join(words.words(text)) == expected


@given(ANY_TEXT | PRINTED)
def test_words_hold_letters_and_digits_only_and_end_at_sixty(text):
    for word in words.words(text):
        assert 1 <= len(word) <= words.LONGEST_WORD
        assert {unicodedata.category(character)[0] for character in word} <= {"L", "N"}


@given(ANY_TEXT | PRINTED)
def test_words_once_folded_stay_as_they_are(text):
    folded = words.words(text)
    assert words.words(" ".join(folded)) == folded


@given(st.text(st.characters(codec="ascii")) | PRINTED.filter(str.isascii))
def test_a_plain_text_is_cut_as_it_is_beside_an_accent(text):
    assert words.words(f"{text} \u00e9") == [*words.words(text), "e"]


@given(PRINTED)
def test_case_makes_no_difference(text):
    assert words.words(text.casefold()) == words.words(text)


@given(ANY_TEXT | PRINTED, st.sampled_from(["NFC", "NFD"]))
def test_the_way_an_accent_was_typed_makes_no_difference(text, form):
    assert words.words(unicodedata.normalize(form, text)) == words.words(text)


@given(PRINTED, st.data())
def test_a_beginning_of_a_word_asks_for_that_beginning(text, data):
    for word in words.words(text):
        beginning = word[: data.draw(st.integers(1, len(word)))]
        assert words.query_words(beginning) == [beginning]


@given(st.lists(PRINTED | st.none(), max_size=5))
def test_every_word_is_indexed_once_in_its_order(texts):
    indexed = words.index_words(texts)
    found = indexed.split(" ") if indexed else []
    assert len(found) == len(set(found))
    everything = [word for text in texts if text for word in words.words(text)]
    assert found == sorted(set(everything), key=everything.index)


@given(ANY_TEXT)
def test_a_query_is_of_at_most_32_words_each_once(text):
    asked = words.query_words(text * 20)
    assert len(asked) == len(set(asked)) <= words.MOST_QUERY_WORDS


def test_of_a_long_query_the_last_words_count():
    assert words.query_words(" ".join(f"w{number}" for number in range(40))) == [
        f"w{number}" for number in range(8, 40)
    ]


@given(ANY_TEXT | PRINTED, st.integers(1, 300))
def test_a_sort_key_fits_its_column_and_forgets_punctuation(text, length):
    key = words.sort_key(text, length)
    assert len(key) <= length
    assert key == " ".join(words.words(text))[:length]
    assert words.sort_key(f" «{text}» ", length) == key


def test_sort_keys_order_titles_as_readers_expect():
    titles = ["Zebra", "Éclair", "ecology", "Eden", "Über Land", "uber alles", "(Apple)"]
    assert sorted(titles, key=words.sort_key) == [
        "(Apple)",
        "Éclair",
        "ecology",
        "Eden",
        "uber alles",
        "Über Land",
        "Zebra",
    ]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("", True),
        ("...", True),
        ("austen", True),
        ("jan aus", True),
        ("Áusten", True),
        ("usten", False),
        ("austen emma", False),
        ("%", True),
        ("a_sten", False),
    ],
)
def test_a_column_of_words_holds_the_beginnings_of_all_words_of_a_query(session, query, found):
    assert session.scalar(select(1).where(words.holds_words(literal("austen jane"), query))) == (1 if found else None)


def test_signs_of_romanisation_fall_out():
    assert words.words("Anʹ Qurʼān ʻIlm") == ["an", "quran", "ilm"]


def test_long_texts_are_not_remembered():
    before = words._known_words.cache_info().currsize
    for number in range(3):
        assert words.words(f"{number} " + "wave " * 60)[:2] == [str(number), "wave"]
    assert words._known_words.cache_info().currsize == before
