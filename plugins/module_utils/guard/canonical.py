# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""One spelling for one JSON value (RFC 8785), so that a hash of a record means its content.

Two deliberate choices beyond the RFC: integers are written exactly, whatever their size (QMP
addresses are 64 bits wide, and rounding them to a double would falsify the record), and what has
no spelling (NaN, infinities, lone surrogates, keys that are no strings) is refused, not invented.
"""

from __future__ import annotations

import math
import typing as t
from json.encoder import encode_basestring

#: Levels of nesting. A QMP message needs about ten; QEMU's own parser stops at 1024.
MAX_DEPTH = 100
# Characters that are written in one go, which takes a few milliseconds.
_PIECE = 1 << 18


def canonical(value: t.Any) -> bytes:
    """``value`` in canonical form, as UTF-8. Raises ValueError, which says where, if it has none."""
    out: list[str] = []
    _write(value, out, 0)
    return encoded("".join(out))


def encoded(text: str) -> bytes:
    """A canonical form as bytes. Raises ValueError for what UTF-8 cannot carry."""
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError:
        raise ValueError("a string holds half of a surrogate pair, which UTF-8 cannot carry") from None


def members(value: dict[str, t.Any]) -> list[tuple[str, str]]:
    """The members of an object in canonical order, each with its key: for who needs to add one.

    Raises ValueError as :func:`canonical` does, but for surrogates, which only encoding finds.
    """
    made = []
    for key in _ordered(value):
        text = [encode_basestring(key), ":"]
        _write(value[key], text, 1)
        made.append((key, "".join(text)))
    return made


def number(value: float) -> str:
    """A float as ECMAScript's Number::toString writes it (RFC 8785, section 3.2.2.3)."""
    if not math.isfinite(value):
        raise ValueError(f"the number {value} does not exist in JSON")
    if value == 0:
        return "0"  # also for -0.0
    # repr gives the shortest digits that read back as the same double, as ECMAScript demands; only
    # the placing of point and exponent differs.
    sign = "-" if value < 0 else ""
    mantissa, _e, exponent = repr(abs(value)).partition("e")
    whole, _dot, fraction = mantissa.partition(".")
    digits = (whole + fraction).lstrip("0")
    # The point stands before the first of `digits` when this is 0.
    point = len(digits) - len(fraction) + int(exponent or 0)
    digits = digits.rstrip("0")
    count = len(digits)
    if count <= point <= 21:
        return sign + digits + "0" * (point - count)
    if 0 < point <= 21:
        return sign + digits[:point] + "." + digits[point:]
    if -6 < point <= 0:
        return sign + "0." + "0" * -point + digits
    tail = digits[:1] + ("." + digits[1:] if count > 1 else "")
    return f"{sign}{tail}e{point - 1:+d}"


def _ordered(value: dict[t.Any, t.Any]) -> list[str]:
    """The keys of an object: RFC 8785 orders them by UTF-16 code units, not by code points."""
    plain = True
    for key in value:
        if not isinstance(key, str):
            raise ValueError(f"a key of type {type(key).__name__} is not a string")
        plain = plain and key.isascii()
    return sorted(value) if plain else sorted(value, key=lambda key: str(key).encode("utf-16-be", "surrogatepass"))


def _quoted(text: str) -> str:
    """A string as JSON has it. A long one piece by piece: nobody else is served while one call works on all of it."""
    if len(text) <= _PIECE:
        return encode_basestring(text)
    pieces = (text[start : start + _PIECE] for start in range(0, len(text), _PIECE))
    return f'"{"".join(encode_basestring(piece)[1:-1] for piece in pieces)}"'


def _write(value: t.Any, out: list[str], depth: int) -> None:
    if depth > MAX_DEPTH:
        raise ValueError(f"the value is nested deeper than {MAX_DEPTH} levels")
    if isinstance(value, str):
        out.append(_quoted(value))
    elif value is None or value is True or value is False:
        out.append("null" if value is None else "true" if value else "false")
    elif isinstance(value, int):
        out.append(int.__repr__(value))
    elif isinstance(value, float):
        out.append(number(float(value)))
    elif isinstance(value, dict):
        _write_object(value, out, depth)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            out.append("," if index else "[")
            _write(item, out, depth + 1)
        out.append("]" if value else "[]")
    else:
        raise ValueError(f"a value of type {type(value).__name__} has no form in JSON")


def _write_object(value: dict[t.Any, t.Any], out: list[str], depth: int) -> None:
    for index, key in enumerate(_ordered(value)):
        out.append("," if index else "{")
        out.append(encode_basestring(key) + ":")
        _write(value[key], out, depth + 1)
    out.append("}" if value else "{}")
