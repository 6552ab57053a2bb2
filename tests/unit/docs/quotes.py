# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the page on troubleshooting quotes, for the tests that make these mistakes."""

from __future__ import annotations

import re

from ansible_collections.maqet.qemu.docs.tools.generate import PAGES

_QUOTE = re.compile(r"^\.\. quote: (?P<name>[\w-]+)\n\n\.\. code-block:: text\n\n(?P<text>(?:    .*\n)+)", re.MULTILINE)


def all_quotes() -> dict[str, str]:
    """Name -> words, on one line."""
    text = (PAGES / "troubleshooting.rst").read_text("utf-8")
    found = {match["name"]: " ".join(match["text"].split()) for match in _QUOTE.finditer(text)}
    assert len(found) == text.count(".. quote:"), "a quote without a name of its own, or without a block"
    return found


def compare(name: str, said: str) -> None:
    """Fail unless what was ``said`` begins with, or has, the words that the page quotes."""
    quoted = all_quotes()[name]
    assert quoted in " ".join(said.split()), f"the page says {quoted!r} ({name})"
