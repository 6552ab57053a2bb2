# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bytes that nobody should send: random ones, JSON of all shapes, and messages that were right until they were mutated.

All of it comes from the generator that is passed, so that a seed repeats it.
"""

from __future__ import annotations

import json
import random
import typing as t

Json = t.Any
Mutation = t.Callable[[random.Random, bytearray], None]

_WORDS: t.Final = (
    "",
    "id",
    "op",
    "qmp",
    "return",
    "error",
    "event",
    "execute",
    "null",
    "é",
    "\ud800",
    "\0",
    "🐏",
    "a" * 300,
)
_NUMBERS: t.Final = (0, 1, -1, 2**31, 2**63, 2**64, -(2**63) - 1, 10**400, 0.5, 1e308, float("inf"), float("nan"))
_PIECES: t.Final = (
    *(b"{", b"}", b"[", b"]", b'"', b",", b":", b"\\", b"\0", b"\xff", b"\xc3", b"\xed\xa0\x80", b"\xf0\x9f"),
    *(b"null", b"true", b"-", b"1e999", b"NaN", b"\\u0000", b"\\ud800", b"\xef\xbb\xbf", b"\r", b" " * 40, b"9" * 60),
)


def value(rng: random.Random, depth: int = 0) -> Json:
    """A JSON value of any type; what Python spells as NaN and Infinity is among them."""
    kind = rng.randrange(9 if depth < 4 else 6)
    if kind == 0:
        return rng.choice((None, True, False))
    if kind in (1, 2):
        return rng.choice(_NUMBERS)
    if kind in (3, 4, 5):
        return rng.choice(_WORDS)
    if kind == 6:
        return [value(rng, depth + 1) for _number in range(rng.randrange(4))]
    return {rng.choice(_WORDS): value(rng, depth + 1) for _number in range(rng.randrange(4))}


def line(message: Json) -> bytes:
    """The message as a line."""
    return json.dumps(message, separators=(",", ":")).encode() + b"\n"


def noise(rng: random.Random, most: int = 200) -> bytes:
    """Random bytes, as one line."""
    return rng.randbytes(rng.randint(0, most)).replace(b"\n", b"\r") + b"\n"


def nested(rng: random.Random) -> bytes:
    """A value that is nested deep, around the depth at which Python's parsers give up, as a line without its end."""
    depth = rng.choice((50, 101, 900, 985, 990, 995, 1000, 1100, 20_000))
    return rng.choice((b"[" * depth + b"]" * depth, b'{"a":' * depth + b"1" + b"}" * depth, b"[" * depth))


def with_member(rng: random.Random, data: bytes, name: bytes) -> bytes:
    """The object of a line with one more member, nested deep."""
    return data.rstrip()[:-1] + b',"' + name + b'":' + nested(rng) + b"}\n"


def mutate(rng: random.Random, data: bytes) -> bytes:
    """A line with one to four things wrong with it; still one line."""
    changed = bytearray(data.rstrip(b"\n"))
    for _number in range(rng.randint(1, 4)):
        rng.choice(_MUTATIONS)(rng, changed)
    return bytes(changed).replace(b"\n", b" ") + b"\n"


def _flip(rng: random.Random, data: bytearray) -> None:
    if data:
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)


def _cut(rng: random.Random, data: bytearray) -> None:
    del data[rng.randint(0, len(data)) :]


def _leave_out(rng: random.Random, data: bytearray) -> None:
    begin = rng.randint(0, len(data))
    del data[begin : begin + rng.randint(1, 8)]


def _put_in(rng: random.Random, data: bytearray) -> None:
    begin = rng.randint(0, len(data))
    data[begin:begin] = rng.choice(_PIECES)


def _repeat(rng: random.Random, data: bytearray) -> None:
    begin = rng.randint(0, len(data))
    data[begin:begin] = data[begin : begin + rng.randint(1, 40)] * rng.randint(1, 3)


_MUTATIONS: t.Final[tuple[Mutation, ...]] = (_flip, _cut, _leave_out, _put_in, _repeat)
