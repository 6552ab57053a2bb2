# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a VM that has ended is started again, and after how long."""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.maqet.qemu.plugins.module_utils.qmp.ending import Ending

#: In seconds: before the first start again, and at most.
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 60.0
#: So many starts again in a row, and no more. A VM that has run for STEADY seconds begins a new row.
LIMIT = 10
STEADY = 60.0


@dataclasses.dataclass(frozen=True)
class Decision:
    """``pause``: seconds until the VM is started again, None if it is not; ``count``: starts again in this row."""

    pause: t.Optional[float]
    count: int
    gave_up: bool = False


def decide(policy: str, ending: Ending, count: int, uptime: float) -> Decision:
    """What follows from ``ending`` under ``policy`` (no, on-failure, always), after ``count`` starts again in a row.

    A VM that somebody on the host has ended stays down under every policy.
    """
    if uptime >= STEADY:
        count = 0
    again = not ending.wanted and (policy == "always" or (policy == "on-failure" and ending.failed))
    if not again:
        return Decision(None, 0)
    if count >= LIMIT:
        return Decision(None, count, gave_up=True)
    return Decision(min(LONGEST_PAUSE, FIRST_PAUSE * 2**count), count + 1)
