# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The files on a host: the table that stands at the head of ``host/paths.py``, as a table of the guides."""

from __future__ import annotations

import re
import typing as t

from ansible_collections.maqet.qemu.docs.tools import rst
from ansible_collections.maqet.qemu.plugins.module_utils.host import paths

#: What stands for a tree in the table -> that tree for root and for any other user, and what else is in it.
TREES: t.Final[dict[str, tuple[str, str]]] = {
    "STATE": ("/var/lib/maqet", "~/.local/share/maqet"),
    "LOG": ("/var/log/maqet", "~/.local/state/maqet/log"),
    "CONFIG": ("/etc/maqet", "~/.config/maqet"),
    "RUN": ("/run/maqet", "~/.local/state/maqet/run"),
}
_ROW: t.Final = re.compile(r"^``(?P<path>[^`]+)`` +(?P<what>\S.*(?:\n {20,}\S.*)*)", re.MULTILINE)


def rows() -> list[tuple[str, str]]:
    """Path and meaning of each line. ValueError for a line that is not understood."""
    found = [(match["path"], " ".join(match["what"].split())) for match in _ROW.finditer(paths.__doc__ or "")]
    lines = [line for line in (paths.__doc__ or "").splitlines() if line.startswith("``")]
    if len(found) != len(lines) or not {path.partition("/")[0] for path, _what in found} <= TREES.keys():
        raise ValueError("the table in host/paths.py is not understood")
    return found


def table() -> list[str]:
    """Lines of the table, tree by tree as there."""
    made = []
    for path, what in rows():
        tree, _slash, rest = path.partition("/")
        system, user = TREES[tree]
        sentence = what[0].upper() + what[1:] + ("" if what.endswith("?") else ".")
        made.append((f"``{system}/{rest}``", f"``{user}/{rest}``", sentence))
    return rst.table(("Root", "Any other user", "What"), made, (30, 32, 38))
