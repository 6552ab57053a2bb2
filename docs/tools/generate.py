# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Writes the generated parts of the guides; `./dev docs` calls it, and a unit test finds out when that was forgotten.

A part stands between the comments ``.. begin generated: NAME`` and ``.. end generated: NAME``.
"""

from __future__ import annotations

import re
import typing as t
from pathlib import Path

from ansible_collections.maqet.qemu.docs.tools import (
    bench_chart,
    change_table,
    chaos_table,
    command_table,
    error_table,
    file_table,
    policy_table,
    rule_table,
)

PAGES: t.Final = Path(__file__).resolve().parents[1] / "docsite" / "rst"

#: Name of a part -> its lines.
PARTS: t.Final[dict[str, t.Callable[[], t.List[str]]]] = {
    "bench": bench_chart.table,
    "bench-charts": bench_chart.charts,
    "changes": change_table.table,
    "chaos": chaos_table.table,
    "commands": command_table.table,
    "error-codes": error_table.table,
    "files": file_table.table,
    "policy-keys": policy_table.table,
    "policy-kinds": policy_table.kinds,
    "rules": rule_table.table,
}
_PART: t.Final = re.compile(
    r"^\.\. begin generated: (?P<name>[\w-]+)\n.*?^\.\. end generated: (?P=name)\n", re.MULTILINE | re.DOTALL
)


def rendered(text: str) -> str:
    """A page whose generated parts are what the code says now. KeyError for a part that nobody makes."""

    def part(found: t.Match[str]) -> str:
        name = found["name"]
        body = "\n".join(PARTS[name]())
        return f".. begin generated: {name}\n\n{body}\n\n.. end generated: {name}\n"

    return _PART.sub(part, text)


def parts(text: str) -> list[str]:
    """Names of the generated parts of a page."""
    return [found["name"] for found in _PART.finditer(text)]


def main() -> None:
    """Rewrite the pages that differ."""
    for page in sorted(PAGES.glob("*.rst")):
        text = page.read_text(encoding="utf-8")
        made = rendered(text)
        if made != text:
            page.write_text(made, encoding="utf-8")
            print(f"wrote {page.name}")


if __name__ == "__main__":
    main()
