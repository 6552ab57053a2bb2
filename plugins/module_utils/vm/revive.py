# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A runner for a VM that lives without one, so that whoever needs a runner finds one.

What is started is the archive that the VM's last runner was: nothing of it travels with the module.
"""

from __future__ import annotations

import typing as t

from ansible_collections.maqet.qemu.plugins.module_utils.errors import MaqetError
from ansible_collections.maqet.qemu.plugins.module_utils.host import starting
from ansible_collections.maqet.qemu.plugins.module_utils.host.paths import Layout
from ansible_collections.maqet.qemu.plugins.module_utils.qmp.lines import Deadline
from ansible_collections.maqet.qemu.plugins.module_utils.qmp.runner_client import Unread
from ansible_collections.maqet.qemu.plugins.module_utils.vm.observe import demand

T = t.TypeVar("T")

# A runner may be replaced, or die, again and again while we ask; so often it is worth asking the next one.
_ATTEMPTS = 8


def asking(where: Layout, name: str, seconds: float, ask: t.Callable[[], T]) -> T:
    """What ``ask`` returns, which asks the runner of VM ``name``; started again if it is gone, waited for if replaced.

    Only what no runner has read is asked again. ``vm_not_found`` or ``vm_not_running`` if that is why there is none.
    """
    deadline = Deadline(seconds)
    for attempt in range(_ATTEMPTS):
        try:
            return ask()
        except Unread:
            if attempt == _ATTEMPTS - 1:
                raise
            revive(where, name, deadline.left())
    raise AssertionError("not reached")


def revive(where: Layout, name: str, seconds: float) -> bool:
    """See that the VM, which must run, has a runner; whether one had to be started."""
    paths = where.vm(name)
    demand(where, name, seconds, look=False)  # before its run folder is made again by the lock
    with starting.alone(paths, seconds):
        actual = demand(where, name, seconds, look=False)
        if actual.runner is not None and actual.runner.alive():
            return False
        archive = starting.archive_of(where, paths)
        if archive is None:
            raise MaqetError(
                f"The runner of VM {name} is gone, and its archive in {where.runners} too. Run maqet_vm on it, which "
                "brings a runner along.",
                "runner_unreachable",
            )
        starting.begin(starting.Start(where, paths, archive, "adopt", max(seconds, 5.0)))
        return True
