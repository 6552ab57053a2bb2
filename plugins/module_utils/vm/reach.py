# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Asking the runner of a VM that should have one: the fast path is the question, the rest is imported when it fails."""

from __future__ import annotations

import typing as t

from ansible_collections.maqet.qemu.plugins.module_utils.errors import MaqetError
from ansible_collections.maqet.qemu.plugins.module_utils.host.paths import Layout, VmPaths
from ansible_collections.maqet.qemu.plugins.module_utils.qmp.asked import Answer, Asked, through_runner
from ansible_collections.maqet.qemu.plugins.module_utils.qmp.runner_client import Unread
from ansible_collections.maqet.qemu.plugins.module_utils.vm.whose import of_system, out_of_reach

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


def send(where: Layout, name: str, asked: Asked) -> Answer:
    """The answer of VM ``name``'s runner to ``asked``."""
    looking = not asked.sends
    return talk(where, name, asked.seconds, lambda paths: through_runner(paths.runner_socket, name, asked), looking)


def talk(where: Layout, name: str, seconds: float, ask: t.Callable[[VmPaths], T], looking: bool) -> T:
    """As :func:`reach`, of the VM that this user means by ``name``: the system's for a plain user who has none.

    The system's runner decides by the user's role, and starting another is not for that user.
    """
    others = of_system(where, name)
    if others is None:
        return reach(where, name, seconds, lambda: ask(where.vm(name)), looking)
    try:
        return ask(others)
    except MaqetError as error:
        if error.error_code == "runner_unreachable":
            raise out_of_reach(name, error) from None
        raise
