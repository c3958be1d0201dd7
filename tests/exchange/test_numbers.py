"""Standard numbers, valid and otherwise."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from library.exchange import numbers


@pytest.mark.parametrize(
    ("printed", "expected"),
    [
        ("0141439513", "0141439513"),
        ("0-14-143951-3 (pbk.)", "0141439513"),
        ("978-0-14-143951-8 :", "9780141439518"),
        ("978\u20100\u201014\u2010143951\u20108", "9780141439518"),
        ("ISBN 080442957x", "080442957X"),
        ("0141439514", ""),
        ("9780141439519", ""),
        ("9770141439511", ""),
        ("97801414395181", ""),
        ("08044X957X", ""),
        ("(pbk.)", ""),
        ("", ""),
    ],
)
def test_isbn(printed: str, expected: str) -> None:
    assert numbers.isbn(printed) == expected


@pytest.mark.parametrize(
    ("printed", "expected"),
    [("0028-0836", "00280836"), ("2434561x", "2434561X"), ("0028-0837", ""), ("n/a", "")],
)
def test_issn(printed: str, expected: str) -> None:
    assert numbers.issn(printed) == expected


@pytest.mark.parametrize(
    ("printed", "expected"),
    [
        ("   00000002 ", "00000002"),
        ("n78-890351", "n78890351"),
        ("85-2 ", "85000002"),
        ("75-425165//r75", "75425165"),
        (" 79139101 /AC/r932", "79139101"),
        ("N78\u2011890351", "n78890351"),
        ("2001-1", "2001000001"),
        ("a-b", "ab"),
        ("---", ""),
        ("ß7", ""),
        ("7" * 101, ""),
    ],
)
def test_lccn(printed: str, expected: str) -> None:
    assert numbers.lccn(printed) == expected


@pytest.mark.parametrize(
    ("printed", "expected"),
    [("(OCoLC)5853149", "5853149"), ("(OCoLC)ocm05853149", "5853149"), ("(DLC)5853149", ""), ("(OCoLC)", "")],
)
def test_oclc(printed: str, expected: str) -> None:
    assert numbers.oclc(printed) == expected


@pytest.mark.parametrize(
    ("scheme", "printed", "expected"),
    [
        ("isbn", "0 8044 2957 x", "080442957X"),
        ("isbn", "978\u20110\u201114\u2011143951\u20118 (pbk.)", "9780141439518"),
        ("isbn", "12345", ""),
        ("issn", "2434 561x", "2434561X"),
        ("lccn", "n 78-890351", "n78890351"),
        ("oclc", "5853149", "5853149"),
        ("oclc", " 0005853149", "5853149"),
        ("oclc", "OCM 05853149", "5853149"),
        ("oclc", "(OCoLC) on1234567890", "1234567890"),
        ("oclc", "(DLC)5853149", ""),
        ("oclc", "000", ""),
        ("oclc", "abc", ""),
        ("other", " PZ3 \u00a0 x ", "PZ3 x"),
    ],
)
def test_each_number_has_one_form(scheme: str, printed: str, expected: str) -> None:
    assert numbers.normal(scheme, printed) == expected


@given(st.sampled_from(["isbn", "issn", "lccn", "oclc", "other"]), st.text() | st.text("0123456789-xXno ", max_size=20))
def test_the_form_stays_as_it_is(scheme: str, text: str) -> None:
    once = numbers.normal(scheme, text)
    assert numbers.normal(scheme, once) == once


@pytest.mark.parametrize(
    ("scheme", "number", "expected"),
    [
        ("lccn", "n78890351", "n78890351 n n78 78 78890351 890351 890351"),
        ("lccn", "85000002", "85000002  85 85 85000002 000002 2"),
        ("lccn", "odd1", "odd1"),
        ("oclc", "5853149", "5853149 (OCoLC) ocm05853149"),
        ("oclc", "123456789", "123456789 (OCoLC) ocn123456789"),
        ("oclc", "1234567890", "1234567890 (OCoLC) on1234567890"),
        ("isbn", "9780141439518", "9780141439518"),
    ],
)
def test_the_words_by_which_a_number_is_looked_for(scheme: str, number: str, expected: str) -> None:
    assert numbers.spellings(scheme, number) == expected


@given(st.text())
def test_no_text_breaks_them(text: str) -> None:
    for normalise in (numbers.isbn, numbers.issn, numbers.lccn, numbers.oclc):
        assert isinstance(normalise(text), str)
