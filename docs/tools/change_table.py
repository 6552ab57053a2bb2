# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a change of each option costs a VM that runs, as the plan decides it."""

from __future__ import annotations

import typing as t

from ansible_collections.maqet.qemu.docs.tools import rst
from ansible_collections.maqet.qemu.plugins.module_utils.definition import live
from ansible_collections.maqet.qemu.plugins.module_utils.definition.changes import impact
from ansible_collections.maqet.qemu.plugins.module_utils.definition.intent import OPTIONS

_MEANINGS: t.Final = {
    "live": "any change",
    "restart": "",
    "recreate": "a VM keeps it for its life: another value is refused",
}


def table() -> list[str]:
    """One row an option, in the order of the module's documentation."""
    rows = [[f"``{option}``", *_cost(option)] for option in OPTIONS]
    return rst.table(["Option", "Class", "Without a restart"], rows, [22, 16, 62])


def _cost(option: str) -> tuple[str, str]:
    if option in live.WHEN:
        return "live or restart", live.WHEN[option]
    word = impact(option)
    return word, _MEANINGS[word]
