"""Passwords that are guessed first."""

import pytest

from library.rules import common_passwords
from library.rules.common_passwords import is_common


def test_the_list_is_long_and_folded():
    words = common_passwords.words()
    assert len(words) >= 1000
    assert {"password", "qwerty", "iloveyou", "dragon", "letmein", "şifre".casefold()} <= words
    assert all(word == word.casefold() and not word.startswith("#") for word in words)


@pytest.mark.parametrize(
    "password",
    [
        "password123",
        "PassWord",
        "PASSWORD2026!!!",
        "p@ssw0rd",
        "P4$$w0rd-2024",
        "!!sunshine!!",
        "19871224michael",
        "passwordpassword",
        "dragondragondragon",
        "abcabcabcabcabc",
        "aaaaaaaaaaaaaaaa",
        "....................",
        "123456789012345",
        "987654321098765",
        "abcdefghijklmnop",
        "ponmlkjihgfedcba",
        "qwertyuiopasdfghj",
        "mnbvcxzlkjhgfdsa",
        "correcthorsebatterystaple",
        "STRASSE",
        # As long as production asks for.
        "password123456789",
        "password1234567890",
        "password123456789!",
        "password111111111",
        "Qwerty123456789",
        "123456789password",
        "987654321-dragon-123456789",
        "monkey1234567890",
        "qwertyqwerty1234",
        "passwordpassword1",
        "dragon1dragon1dragon1",
        "strassestrassestrasse1",
        "abcabcabcabcabc1",
        "abcdefghijklmno1",
        "1q2w3e4r5t6y7u8",
        "1q2w3e4r5t6y7u8i",
        "1qaz2wsx3edc4rf",
        "1qaz2wsx3edc4rfv",
        "vfr4cde3xsw2zaq1",
    ],
)
def test_what_is_tried_first_is_common(password):
    assert is_common(password, ["Straße"])


@pytest.mark.parametrize(
    "password",
    [
        "correct horse battery",
        "wide river under ice",
        "bafoki-relune-mita-42",
        "83719462057183",
        "x7#kQ9!vTz2mWp4",
        "93847561-red-58372910",
        "my dragon eats sunshine",
        "пароль от библиотеки",
        "dragon583729104",
        "58372910-dragon-47",
        "k83719462",
        "bib-83719462",
        "abc7391846",
        "wide river 123456789",
        "12-34-56-wide-river",
        "river1river2river3",
    ],
)
def test_what_nobody_tries_first_is_not(password):
    assert not is_common(password, ["jdoe", "jdoe@example.com", None])


@pytest.mark.parametrize(
    "password",
    [
        "jdoe",
        "JDOE@example.com",
        "jdoe2026!",
        "John.Doe",
        "john.doe1234",
        "jdoejdoe",
        "jdoejdoejdoejdoe1",
        "john.doe123456789",
    ],
)
def test_ones_own_names_are_common(password):
    assert is_common(password, ["JDoe", "jdoe@example.com", "john.doe@example.org"])
    assert not is_common("jdoe has a long sentence", ["jdoe"])
