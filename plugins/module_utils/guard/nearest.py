# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The known name that a misspelt one was probably meant to be.

``difflib`` would do it too, but its import costs every task more than this costs the rare mistake.
"""

from __future__ import annotations

import typing as t

#: Characters; the longest name in QEMU's schema has 43. Anything longer is not compared: its length is the sender's.
MAX_LENGTH = 64


def nearest(word: object, known: t.Iterable[str]) -> str | None:
    """The one of ``known`` that differs least from ``word``, or None if all differ by more than a third."""
    if not isinstance(word, str) or not 2 <= len(word) <= MAX_LENGTH:
        return None
    plain = _plain(word)
    best, least = None, max(1, len(word) // 3) + 1
    for name in sorted(known):
        if abs(len(name) - len(word)) < least:
            distance = _distance(plain, _plain(name), least)
            if distance < least:
                best, least = name, distance
    return best


def suggestion(word: object, known: t.Iterable[str]) -> str:
    """`` Did you mean ...?`` to end a sentence with, or nothing."""
    name = nearest(word, known)
    return "" if name is None else f". Did you mean {name}?"


def _plain(name: str) -> str:
    return name.lower().replace("_", "-")


def _distance(one: str, other: str, limit: int) -> int:
    """Letters to insert, drop, replace or swap with the next, to make one of the other; ``limit`` if that many."""
    before: list[int] = []
    last = list(range(len(other) + 1))
    for row, letter in enumerate(one, 1):
        line = [row]
        for column, wanted in enumerate(other, 1):
            cost = min(last[column] + 1, line[-1] + 1, last[column - 1] + (letter != wanted))
            if row > 1 and column > 1 and letter == other[column - 2] and one[row - 2] == wanted:
                cost = min(cost, before[column - 2] + 1)
            line.append(cost)
        if min(line) >= limit:
            return limit
        before, last = last, line
    return last[-1]
