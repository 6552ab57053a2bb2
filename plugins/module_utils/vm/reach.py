# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Asking the runner of a VM that should have one: the fast path is the question, the rest is imported when it fails."""

from __future__ import annotations

import typing as t

from ansible_collections.maqet.qemu.plugins.module_utils.host.paths import Layout
from ansible_collections.maqet.qemu.plugins.module_utils.qmp.runner_client import Unread

T = t.TypeVar("T")


def reach(where: Layout, name: str, seconds: float, ask: t.Callable[[], T], looking: bool) -> T:
    """What ``ask`` returns, which asks the runner of VM ``name``; if there is none, the VM gets one and is asked again.

    ``looking``: nothing may be changed for it, so no runner is started either. Where there is no such VM, or one that
    does not run, that is the error.
    """
    try:
        return ask()
    except Unread:
        if looking:
            from ansible_collections.maqet.qemu.plugins.module_utils.vm.observe import demand

            demand(where, name, seconds, look=False)
            raise
        from ansible_collections.maqet.qemu.plugins.module_utils.vm.revive import asking

        return asking(where, name, seconds, ask)
