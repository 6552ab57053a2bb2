# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""HTML in which nothing that came from outside can be anything but text. Pure.

Every part of an element is escaped unless an element made it, so that nobody has to think of it.
"""

from __future__ import annotations

import html
import typing as t
import unicodedata

_VOID = frozenset({"meta", "input", "rect", "line"})


class Markup(str):
    """HTML that :func:`el` has made."""

    __slots__ = ()


Part = t.Union[str, int, float, None, Markup]


def el(tag: str, *parts: Part, **attributes: Part) -> Markup:
    """An element. An attribute that is None is left out; ``class_`` is ``class``, and ``_`` in others is ``-``."""
    words = [tag]
    for name, value in attributes.items():
        if value is not None:
            words.append(f'{name.rstrip("_").replace("_", "-")}="{html.escape(visible(str(value)))}"')
    inner = "".join(map(_safe, parts))
    return Markup(f"<{' '.join(words)}>" + ("" if tag in _VOID else f"{inner}</{tag}>"))


def raw(tag: str, text: str) -> Markup:
    """A ``style`` or ``script`` of our own."""
    return Markup(f"<{tag}>{text}</{tag}>")


def joined(parts: t.Iterable[Markup]) -> Markup:
    """Elements one after another."""
    return Markup("".join(parts))


def _safe(part: Part) -> str:
    if isinstance(part, Markup):
        return part
    return "" if part is None else html.escape(visible(str(part)), quote=False)


def visible(text: str) -> str:
    """Text without what changes the look of other text: controls, and marks that turn the direction of writing."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(_shown(character) for character in text)


def _shown(character: str) -> str:
    if character in "\n\t" or unicodedata.category(character) not in ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"):
        return character
    code = ord(character)
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
