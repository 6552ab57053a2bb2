# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Pieces of reStructuredText."""

from __future__ import annotations

import re
import textwrap
import typing as t

_WIDTH = 110


def table(head: t.Sequence[str], rows: t.Iterable[t.Sequence[str]], widths: t.Sequence[int]) -> list[str]:
    """Lines of a list-table. ``widths``: shares of the columns."""
    lines = [".. list-table::", "   :header-rows: 1", f"   :widths: {' '.join(map(str, widths))}", ""]
    for row in (head, *rows):
        for index, cell in enumerate(row):
            first, *rest = wrapped(cell) or [""]
            lines.append(f"   {'*' if index == 0 else ' '} - {first}".rstrip())
            lines += [f"       {line}" for line in rest]
    return lines


def wrapped(text: str) -> list[str]:
    """A text in lines that fit."""
    return textwrap.wrap(text, _WIDTH, break_long_words=False, break_on_hyphens=False)


def words(text: str) -> str:
    """A text of the code, where ``x`` stands in single backquotes, for a page."""
    return re.sub(r"(?<!`)`([^`]+)`(?!`)", r"``\1``", text)
