# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A runner for a VM that lives without one, so that whoever needs a runner finds one.

What is started is the archive that the VM's last runner was: nothing of it travels with the module.
"""

from __future__ import annotations

import os
import socket
import typing as t

from ansible_collections.maqet.qemu.plugins.module_utils.errors import MaqetError
from ansible_collections.maqet.qemu.plugins.module_utils.host import starting
from ansible_collections.maqet.qemu.plugins.module_utils.host.paths import ADOPT, Layout, VmPaths
from ansible_collections.maqet.qemu.plugins.module_utils.host.processes import Process, wait_readable
from ansible_collections.maqet.qemu.plugins.module_utils.host.watch import Folder
from ansible_collections.maqet.qemu.plugins.module_utils.qmp.lines import Deadline
from ansible_collections.maqet.qemu.plugins.module_utils.qmp.runner_client import Unread
from ansible_collections.maqet.qemu.plugins.module_utils.vm.observe import demand

T = t.TypeVar("T")

# A runner may be replaced, or die, again and again while we ask; so often it is worth asking the next one.
_ATTEMPTS = 8
# How long a runner that lives may take until it listens, in seconds: QEMU has to greet it first.
_LISTENING = 25.0


def asking(where: Layout, name: str, seconds: float, ask: t.Callable[[], T]) -> T:
    """What ``ask`` returns, which asks the runner of VM ``name``; started again if it is gone, waited for if replaced.

    Only what no runner has read is asked again. ``vm_not_found`` or ``vm_not_running`` if that is why there is none.
    """
    deadline = Deadline(seconds)
    for _attempt in range(_ATTEMPTS - 1):
        try:
            return ask()
        except Unread:
            revive(where, name, deadline.left())
    return ask()


def revive(where: Layout, name: str, seconds: float) -> bool:
    """See that the VM, which must run, has a runner that listens; whether one had to be started.

    ``runner_unreachable`` if the one that is there does not come to that.
    """
    paths = where.vm(name)
    demand(where, name, seconds, look=False)  # before its run folder is made again by the lock
    with starting.alone(paths, seconds):
        actual = demand(where, name, seconds, look=False)
        runner = actual.runner
        if runner is None or not runner.alive():
            _start(where, name, seconds)
            return True
    if not _comes_to_listen(paths, runner, min(seconds, _LISTENING)):
        raise Unread(f"The runner of VM {name}, pid {runner.pid}, lives and does not listen.", "runner_unreachable")
    return False


def _start(where: Layout, name: str, seconds: float) -> None:
    paths = where.vm(name)
    archive = starting.archive_of(where, paths)
    if archive is None:
        raise MaqetError(
            f"The runner of VM {name} is gone, and its archive in {where.runners} too. Run maqet_vm on it, which "
            "brings a runner along.",
            "runner_unreachable",
        )
    starting.begin(starting.Start(where, paths, archive, ADOPT, max(seconds, 5.0)))


def _comes_to_listen(paths: VmPaths, runner: Process, seconds: float) -> bool:
    """Wait until ``runner`` takes calls, or has ended; False if neither comes."""
    deadline = Deadline(seconds)
    pidfd = runner.open()
    if pidfd is None:
        return True
    try:
        while True:
            with Folder(paths.run) as folder:  # watched before the look, so that nothing comes between
                if _listens(paths.runner_socket):
                    return True
                woken = wait_readable([pidfd, folder.fd], deadline.left())
            if pidfd in woken or not woken:
                return bool(woken)
    except FileNotFoundError:  # it has tidied up
        return True
    finally:
        os.close(pidfd)


def _listens(path: str) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK) as probe:
        try:
            probe.connect(path)
        except BlockingIOError:  # others wait already
            return True
        except OSError:
            return False
        return True
