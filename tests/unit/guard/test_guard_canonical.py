# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The examples are those of RFC 8785 itself: section 3.2.2, 3.2.3 and appendix B."""

from __future__ import annotations

import json
import math
import struct
import typing as t

import pytest
from ansible_collections.maqet.qemu.plugins.module_utils.guard.canonical import MAX_DEPTH, canonical, number
from hypothesis import given
from hypothesis import strategies as st

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


def test_the_example_of_section_3_2_2() -> None:
    source = r"""{
        "numbers": [333333333.33333329, 1E30, 4.50, 2e-3, 0.000000000000000000000000001],
        "string": "\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/",
        "literals": [null, true, false]
    }"""
    expected = (
        r'{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],'
        r'"string":"€$\u000f\nA' + "'" + r'B\"\\\\\"/"}'
    )
    assert canonical(json.loads(source)) == expected.encode("utf-8")


def test_the_order_of_section_3_2_3() -> None:
    source = {"\u20ac": 1, "\r": 2, "\ufb33": 3, "1": 4, "\U0001f600": 5, "\u0080": 6, "\u00f6": 7}
    order = ["\r", "1", "\u0080", "\u00f6", "\u20ac", "\U0001f600", "\ufb33"]
    assert list(json.loads(canonical(source))) == order
    assert order != sorted(order), "code points would order otherwise"


@pytest.mark.parametrize(
    ("bits", "text"),
    [
        ("0000000000000000", "0"),
        ("8000000000000000", "0"),
        ("0000000000000001", "5e-324"),
        ("8000000000000001", "-5e-324"),
        ("7fefffffffffffff", "1.7976931348623157e+308"),
        ("ffefffffffffffff", "-1.7976931348623157e+308"),
        ("4340000000000000", "9007199254740992"),
        ("c340000000000000", "-9007199254740992"),
        ("4430000000000000", "295147905179352830000"),
        ("44b52d02c7e14af5", "9.999999999999997e+22"),
        ("44b52d02c7e14af6", "1e+23"),
        ("44b52d02c7e14af7", "1.0000000000000001e+23"),
        ("444b1ae4d6e2ef4e", "999999999999999700000"),
        ("444b1ae4d6e2ef4f", "999999999999999900000"),
        ("444b1ae4d6e2ef50", "1e+21"),
        ("3eb0c6f7a0b5ed8c", "9.999999999999997e-7"),
        ("3eb0c6f7a0b5ed8d", "0.000001"),
        ("41b3de4355555553", "333333333.3333332"),
        ("41b3de4355555554", "333333333.33333325"),
        ("41b3de4355555555", "333333333.3333333"),
        ("41b3de4355555556", "333333333.3333334"),
        ("41b3de4355555557", "333333333.33333343"),
        ("becbf647612f3696", "-0.0000033333333333333333"),
        ("43143ff3c1cb0959", "1424953923781206.2"),
    ],
)
def test_numbers_of_appendix_b(bits: str, text: str) -> None:
    (value,) = struct.unpack(">d", bytes.fromhex(bits))
    assert number(value) == text
    assert canonical([value]) == f"[{text}]".encode()


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (2**53 + 1, "9007199254740993"),
        (2**64 - 1, "18446744073709551615"),
        (-(2**63), "-9223372036854775808"),
        (True, "true"),
        (1, "1"),
        (1.0, "1"),
        (100.0, "100"),
        (123.456, "123.456"),
        (-0.5, "-0.5"),
        ({}, "{}"),
        ([], "[]"),
        ({"a": [], "b": {}}, '{"a":[],"b":{}}'),
        ("\x7f\u2028/", '"\x7f\u2028/"'),
        ("\x00\x1f\b\t\n\f\r", '"\\u0000\\u001f\\b\\t\\n\\f\\r"'),
    ],
)
def test_one_spelling(value: t.Any, text: str) -> None:
    assert canonical(value) == text.encode("utf-8")


class Text(str):
    """Ansible's texts and booleans are subclasses; they must be written as what they are."""


class Whole(int):
    def __repr__(self) -> str:
        return "not a number"


def test_a_long_text_is_written_like_a_short_one() -> None:
    """Piece by piece, with something to escape on both sides of where pieces meet."""
    text = 'x"\\\n\u00e9\U0001f600' * 100_000
    assert canonical([text]) == json.dumps([text], ensure_ascii=False).encode()


def test_subclasses_are_written_as_their_base() -> None:
    assert canonical({Text("b"): Text("x"), "a": Whole(7)}) == b'{"a":7,"b":"x"}'


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (math.nan, "nan"),
        (math.inf, "inf"),
        (-math.inf, "-inf"),
        (b"x", "type bytes"),
        ((1,), "type tuple"),
        ({1: 2}, "key of type int"),
        ({None: 2}, "key of type NoneType"),
        ("\udc80", "surrogate"),
        ({"\ud800": 1}, "surrogate"),
    ],
)
def test_what_has_no_spelling_is_refused(value: t.Any, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        canonical([value])


def test_depth() -> None:
    def nested(levels: int) -> t.Any:
        value: t.Any = 0
        for _level in range(levels):
            value = [value]
        return value

    assert canonical(nested(MAX_DEPTH)).count(b"[") == MAX_DEPTH
    with pytest.raises(ValueError, match="nested deeper"):
        canonical(nested(MAX_DEPTH + 1))


@given(JSON)
def test_reading_and_writing_again_changes_nothing(value: t.Any) -> None:
    once = canonical(value)
    assert canonical(json.loads(once)) == once


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_no_digit_of_a_float_is_lost(value: float) -> None:
    assert float(number(value)) == value


@given(st.dictionaries(st.text(), st.integers(), max_size=6), st.randoms())
def test_the_order_of_insertion_does_not_matter(value: dict[str, int], random: t.Any) -> None:
    items = list(value.items())
    random.shuffle(items)
    assert canonical(dict(items)) == canonical(value)
