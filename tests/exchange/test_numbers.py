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


@given(st.text())
def test_no_text_breaks_them(text: str) -> None:
    for normalise in (numbers.isbn, numbers.issn, numbers.lccn, numbers.oclc):
        assert isinstance(normalise(text), str)
