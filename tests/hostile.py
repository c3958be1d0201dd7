"""Values that break programs: what is sent to every parameter, each with the kind of parameter it is meant for.

A value has three spellings: in a JSON body (its bytes as they stand there), as text (in a header or a part of an
upload), and in an address. Nothing here is drawn: `CORPUS` is the same in every run.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any
from urllib.parse import quote_from_bytes


class Kind(StrEnum):
    """What a value is meant to be taken for."""

    TEXT = "text"
    NUMBER = "number"
    MOMENT = "moment"
    DAY = "day"
    FLAG = "flag"
    WORD = "word"
    LIST = "list"
    OBJECT = "object"
    BYTES = "bytes"


@dataclass(frozen=True)
class Value:
    """One value in its three spellings; `name` tells it from all others."""

    name: str
    kind: Kind
    json: bytes
    text: bytes
    address: bytes


def said(kind: Kind, *texts: str) -> Iterator[Value]:
    """Texts: in JSON with quotes, in an address with everything escaped that has a meaning there."""
    for text in texts:
        raw = text.encode("utf-8", "surrogatepass")
        yield Value(_name(repr(text)), kind, json.dumps(text).encode(), raw, quote_from_bytes(raw, "").encode())


def token(kind: Kind, *tokens: str) -> Iterator[Value]:
    """What stands in JSON without quotes."""
    for text in tokens:
        raw = text.encode()
        yield Value(_name(text), kind, raw, raw, quote_from_bytes(raw, "").encode())


def in_bytes(*raws: bytes) -> Iterator[Value]:
    """Bytes that are no UTF-8: in JSON within quotes."""
    for raw in raws:
        yield Value(_name(repr(raw)), Kind.BYTES, b'"' + raw + b'"', raw, quote_from_bytes(raw, "").encode())


def as_it_stands(*addresses: bytes) -> Iterator[Value]:
    """Spellings that only an address has; elsewhere they are texts."""
    for raw in addresses:
        yield Value(f"address {raw!r}", Kind.BYTES, json.dumps(raw.decode("latin-1")).encode(), raw, raw)


def _name(text: str) -> str:
    return text if len(text) <= 60 else f"{text[:40]}… ({len(text)} characters)"


def of(value: Any) -> str:
    """A value as JSON has it."""
    return json.dumps(value)


def _texts() -> Iterator[Value]:
    blank = ("", " ", "\t", "\n", "\r\n", "\u00a0", "\u2003", "\u3000", "\u200b", "\u2060", "\ufeff", "\u00ad")
    yield from said(Kind.TEXT, *blank)
    control = [*range(0x00, 0x20), 0x7F, 0x80, 0x85, 0x9F]
    yield from said(Kind.TEXT, *(f"a{chr(number)}b" for number in control), "\0", "\x1b[31m", "ab\0")
    surrogates = ("\ud800", "\udfff", "a\udc00b", "\udc00\ud800", "\ud83d", "x\ud83d\u0041", "\udbff\udbff")
    yield from said(Kind.TEXT, *surrogates)
    odd = ("\u202e", "\u2066", "\u200f", "\u2028", "\u2029", "\ufffd", "\ufffe", "\uffff", "\ufdd0", "\U0001fffe")
    yield from said(Kind.TEXT, *(f"a{sign}b" for sign in odd), "\U0010ffff", "\ue000", "\U000e0041", "\U000f0000")
    alike = ("e\u0301", "\ufb01", "\u017f", "\u0130", "\u0131", "\u00df", "\u1e9e", "\u212a", "\u212b", "\u0344")
    yield from said(Kind.TEXT, *alike, "\U0001d160" * 70, "a" + "\u0301" * 300, "\u1112\u1161\u11ab", "\U0001d4b3")
    yield from said(Kind.TEXT, "\U0001f468\u200d\U0001f469\u200d\U0001f467", "\u0e33" * 60)
    yield from said(Kind.TEXT, "\u0627\u0644\u0644\u0647")
    lengths = (100, 101, 200, 201, 255, 256, 500, 501, 1000, 1001, 4001, 10_000, 10_001)
    yield from said(Kind.TEXT, *("x" * length for length in lengths))
    yield from said(Kind.TEXT, "\u00e9" * 255, "\U0001f600" * 64, "\u4e2d" * 10_000, "x " * 4_000, " " * 5_000 + "x")


def _injections() -> Iterator[Value]:
    statements = ("' OR 1=1 --", '"; DROP TABLE users; --', "1; SELECT pg_sleep(9)", "') UNION SELECT 1 --", "$$")
    statements += ("'", "''")
    patterns = ("%", "_", "%_%", "\\", "\\\\", "\\'", "\\0", "*", "[a-z]", "^$", "(a+)+$", "a" * 60 + "!", "(?:")
    places = (":id", "%s", "%(id)s", "?", "{0}", "{0.__class__}", "{x!r:>99999999}", "${7*7}", "{{7*7}}", "#{7}")
    places += ("<%=7%>",)
    searches = ('"', '""', '"open', "c++", "-x", "x*", "*x", "NEAR(", "a AND", "OR", "NOT", "title:x", "a:*", "<->")
    searches += ("! &",)
    yield from said(Kind.TEXT, *statements, *patterns, *places, *searches)
    yield from said(Kind.TEXT, "$(id)", "`id`", ";ls", "| cat", "&& x", "../../etc/passwd", "..\\x", "/", "//", ".")
    yield from said(Kind.TEXT, "..")
    yield from said(Kind.TEXT, "file:///etc/passwd", "http://127.0.0.1:1/", "//x.example", "javascript:alert(1)")
    yield from said(Kind.TEXT, "data:,x")
    markup = ("<script>alert(1)</script>", '"><img src=x>', "<!DOCTYPE x [<!ENTITY y 'z'>]>&y;", "]]>", "&#0;")
    markup += ("&lt;",)
    yield from said(Kind.TEXT, *markup, "=1+1", "+1", "@SUM(1)", "\tx", "a\r\nSet-Cookie: a=b", "a\nb: c")
    yield from said(Kind.TEXT, "%0d%0ax: y")
    yield from said(Kind.TEXT, "null", "None", "undefined", "NaN", "[object Object]", "__proto__", "constructor")
    yield from said(Kind.TEXT, "$ne")
    yield from said(Kind.TEXT, "a&b=c", "a=b", "#", "a;b", "a+b", "a%20b", "a,b", ",", "a,,b", "-", "--", "self")
    yield from said(Kind.TEXT, "id", "me")


def _words() -> Iterator[Value]:
    addresses = ("a@b", "@", "a@", "@b.c", "a@b@c.de", "a@-b.c", "a@b..c", '"a b"@c.de', "a@[127.0.0.1]", "a@b.c\n")
    addresses += ("<a@b.c>",)
    yield from said(Kind.WORD, *addresses, "é@é.example", "a@ｂ.example", "a@b.example,c@d.example")
    yield from said(Kind.WORD, "x" * 250 + "@b.example")
    yield from said(Kind.WORD, "a@b.example\r\nBcc: c@d.example", "A@B.EXAMPLE", "\u0130@b.example")
    yield from said(Kind.WORD, "a@b.example\u200b")
    yield from said(Kind.WORD, "OPEN", "Open", " open", "open ", "open\0", "ｏｐｅｎ", "admin", "librarian", "root")
    yield from said(Kind.WORD, "-id", "+id")
    yield from said(Kind.WORD, "Europe/Berlin", "europe/berlin", "../../etc/localtime", "localtime", "UTC+25")
    yield from said(Kind.WORD, "Etc/GMT+14")
    yield from said(Kind.WORD, "start", "start.start", "WyJhIl0.x", "e30", "eyJhbGciOiJub25lIn0.e30.", "Bearer")
    yield from said(Kind.WORD, "...", "a.b.c")


def _numbers() -> Iterator[Value]:
    edges = (0, 1, -1, 32767, 32768, 65536, 2**31 - 1, 2**31, -(2**31), -(2**31) - 1, 2**32, 2**53, 2**53 + 1)
    wide = (2**63 - 1, 2**63, -(2**63), -(2**63) - 1, 2**64 - 1, 2**64, 10**20, 10**40, 10**308, 10**400)
    yield from token(Kind.NUMBER, *map(str, (*edges, *wide)), "9" * 4300, "9" * 4301, "-" + "9" * 5000)
    floats = ("-0", "0.0", "-0.0", "1.0", "1.5", "0.1", "1.9999999999999999", "2147483647.5", "1e0", "1E2", "1e10")
    floats += ("1e18",)
    yield from token(Kind.NUMBER, *floats, "1e308", "1e309", "-1e309", "1e-400", "5e-324", "1e999999999")
    yield from token(Kind.NUMBER, "0." + "1" * 2000)
    broken = ("NaN", "Infinity", "-Infinity", "00", "01", "+1", ".5", "1.", "0x10", "1_000", "1e", "--1", "1 2")
    broken += ("0b1",)
    yield from token(Kind.NUMBER, *broken)
    digits = ("1", "0", "-1", " 1", "1 ", "01", "1.0", "1e0", "0x1", "1_0", "1,000", "٣", "１", "१", "²", "½", "Ⅷ")
    digits += ("−1",)
    yield from said(Kind.NUMBER, *digits, "2147483648", "9223372036854775808", "1\n", "1\0", "1;1", "1 OR 1=1")


def _moments() -> Iterator[Value]:
    days = ("2026-02-30", "2026-02-29", "2024-02-29", "1899-12-31", "1900-01-01", "2200-12-31", "2201-01-01")
    days += ("0000-01-01",)
    days += ("0001-01-01", "9999-12-31", "10000-01-01", "-001-01-01", "2026-13-01", "2026-00-10", "2026-1-1")
    days += ("20260501",)
    days += ("2026-W01-1", "2026-121", "01.05.2026", "05/01/2026", "٢٠٢٦-٠٥-٠١", "2026-05-01T00:00:00Z", "2026-05-0１")
    yield from said(Kind.DAY, *days, "today", "now", "infinity", "-infinity", "epoch", "tomorrow", "2026-05-01 BC")
    yield from said(Kind.DAY, "1/1/1")
    day = "2026-05-01"
    clocks = ("24:00:00Z", "23:59:60Z", "23:60:00Z", "00:00:00", "00:00:00+14:00", "00:00:00+24:00", "00:00:00-00:00")
    clocks += ("00:00Z", "00Z", "000000Z", "00:00:00.1234567Z", "00:00:00,5Z", "00:00:00.Z", "00:00:00 Z")
    clocks += ("00:00:00z",)
    clocks += ("00:00:00+99:99", "00:00:00+1", "00:00:00+01:00[Europe/Berlin]", "00:00:00Z\n", "00:00:00+00:00:01")
    yield from said(Kind.MOMENT, *(f"{day}T{clock}" for clock in clocks), f"{day} 00:00:00Z", f"{day}t00:00:00Z", day)
    edges = ("1900-01-01T00:00:00+14:00", "2200-12-31T23:59:59.999999Z", "2200-12-31T23:59:59-14:00")
    edges += ("0001-01-01T00:00:00+14:00",)
    yield from said(Kind.MOMENT, *edges, "9999-12-31T23:59:59-14:00", "1899-12-31T23:59:59Z", "2026-02-30T00:00:00Z")
    yield from said(Kind.MOMENT, "24:00", "23:60", "9:00", "09:00:61", "09:00Z", "-1:00", "25:00", "1777593600")
    yield from said(Kind.MOMENT, "P1D")


def _flags() -> Iterator[Value]:
    yield from token(Kind.FLAG, "true", "false", "null", "True", "tru", "undefined")
    yield from said(Kind.FLAG, "true", "false", "TRUE", "yes", "on", "off", "t", "true ", "false,false")


def _structures() -> Iterator[Value]:
    lists: list[Any] = [[], [[]], [None], [{}], [""], ["\0"], [1, 1], [1, "1"], [1.5], [-1], [2**31], [2**63], [True]]
    lists += [[[1]]]
    lists += [[1] * 201, [0] * 1001, list(range(2, 10_000)), ["x" * 10_000] * 3, [{"id": 1}], [{"a": 1}] * 300]
    yield from token(Kind.LIST, *map(of, lists), "[1,]", "[1", "[,]", "[1 2]", "[" * 20 + "]" * 20)
    yield from token(Kind.LIST, "[" * 40 + "]" * 40)
    objects: list[Any] = [{}, {"": 1}, {"a": 1}, {"id": 1}, {"__proto__": {"role": "admin"}}, {"$ref": "#"}]
    objects += [{"a\0": 1}]
    objects += [{"x" * 5000: 1}, {"role": "admin"}, {"number": -1, "unit": "days"}]
    objects += [{"number": 2**40, "unit": "hours"}]
    objects += [{"\ud800": 1}, {str(number): number for number in range(1000)}, {"a": {"b": {"c": [{}]}}}]
    yield from token(Kind.OBJECT, *map(of, objects), '{"a": 1, "a": 2}', '{"id": 1, "id": null}', "{", "{}}", '{"a"}')
    yield from token(Kind.OBJECT, "{a: 1}")
    yield from token(Kind.OBJECT, '{"a": 1,}', "{'a': 1}", '/* x */ {"a": 1}', '{"a": ' * 31 + "1" + "}" * 31)
    yield from token(Kind.OBJECT, '{"a":' * 50_000)


def _bytes() -> Iterator[Value]:
    yield from in_bytes(b"\xff", b"\xfe\xff", b"\x80", b"\xc0\x80", b"\xc1\xbf", b"\xe0\x80\x80", b"\xed\xa0\x80")
    yield from in_bytes(b"\xc3")
    yield from in_bytes(b"\xf0\x80\x80\x80", b"\xf4\x90\x80\x80", b"\xf5\x80\x80\x80", b"\xe2\x82", b"a\xe9b")
    yield from in_bytes(b"\x00\x00a")
    yield from in_bytes(b"\\", b"\\x41", b"\\u12", b"\\ud83d\\u0041", b'"', b"\xef\xbb\xbf", b"\xff\xfea\x00")
    yield from in_bytes(b"\\u0000")
    yield from as_it_stands(b"%", b"%zz", b"%u0041", b"%00", b"%c0%ae", b"%ed%a0%80", b"%25%30%30", b"%2e%2e%2f")
    yield from as_it_stands(b"%0a%0d")
    yield from as_it_stands(b"\xc3\xa9", b"\xe9", b"%2F", b"1%20", b"+1", b"1+", b"1%00", b"'", b"<>", b"{}", b"|")
    yield from as_it_stands(b"1;a=b")


PARTS = (_texts, _injections, _words, _numbers, _moments, _flags, _structures, _bytes)
CORPUS = tuple({value.name: value for part in PARTS for value in part()}.values())
