# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The words around a descriptor that is handed to QEMU: which command takes it, what it is called then, who lets it go.

A descriptor travels as SCM_RIGHTS beside bytes of the monitor's socket. QEMU keeps what came last
until ``add-fd`` or ``getfd`` takes it, and closes it when another one comes: so the next may only be
sent after the answer to that command.
"""

from __future__ import annotations

import typing as t

from ansible_collections.maqet.qemu.plugins.module_utils.errors import MaqetError
from ansible_collections.maqet.qemu.plugins.module_utils.guard.passing import Passed
from ansible_collections.maqet.qemu.plugins.module_utils.qmp.refusal import QmpError

#: The commands that take whatever descriptor came last, hence may take only their own.
TAKERS = frozenset({"add-fd", "getfd"})

Step = t.Tuple[str, t.Dict[str, t.Any]]


def offer(passed: Passed, name: str) -> Step:
    """The command with which QEMU takes ``passed``; ``name`` is unused on this monitor and begins with a letter."""
    if passed.how == "getfd":
        return "getfd", {"fdname": name}
    return "add-fd", {"opaque": name}


def settle(passed: Passed, name: str, answer: t.Any) -> Step:
    """QEMU has taken it: put its words into the arguments, and return the command that lets it go again."""
    if passed.how == "getfd":
        passed.put(name)
        return "closefd", {"fdname": name}
    try:
        number, group = int(answer["fd"]), int(answer["fdset-id"])
    except (TypeError, KeyError, ValueError):
        raise MaqetError("QEMU did not say under which number it took a descriptor.", "qmp_error") from None
    passed.put(f"/proc/self/fd/{number}" if passed.how == "procfd" else f"/dev/fdset/{group}")
    return "remove-fd", {"fdset-id": group}


def not_taken(command: str, error: QmpError) -> MaqetError:
    """QEMU refuses the descriptor itself; ``command`` was not sent."""
    return MaqetError(
        f"QEMU did not take the open file for {command}: {error.error_class}: {error.desc}; {command} was not sent.",
        "qmp_error",
        command=command,
        qmp_class=error.error_class,
        qmp_desc=error.desc,
    )
