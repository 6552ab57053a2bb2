# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Stopping a VM: the power button, then the monitor, then the kernel; each step further only with consent."""

from __future__ import annotations

import dataclasses
import os
import signal

from ansible_collections.maqet.qemu.plugins.module_utils.errors import MaqetError
from ansible_collections.maqet.qemu.plugins.module_utils.host import files, helpers, links, locks
from ansible_collections.maqet.qemu.plugins.module_utils.host.paths import VmPaths
from ansible_collections.maqet.qemu.plugins.module_utils.host.processes import Process
from ansible_collections.maqet.qemu.plugins.module_utils.host.starting import forbid_restart
from ansible_collections.maqet.qemu.plugins.module_utils.qmp.ending import DEAD
from ansible_collections.maqet.qemu.plugins.module_utils.vm.control import Control
from ansible_collections.maqet.qemu.plugins.module_utils.vm.observe import Actual

# How long QEMU may take to obey 'quit' and to flush its disks, in seconds; SIGKILL comes after it.
_QUIT_SECONDS = 20.0
# How long the runner may take to tidy up once QEMU is gone.
_BURIAL_SECONDS = 10.0
# How long a process may take to obey SIGTERM.
_END_SECONDS = 5.0


@dataclasses.dataclass(frozen=True)
class Patience:
    """How long to wait for the guest, in seconds, and whether more than asking is allowed."""

    stop_timeout: float
    force: bool
    timeout: float


def stop(control: Control, paths: VmPaths, actual: Actual, patience: Patience) -> list[str]:
    """End QEMU and return the steps that it took; ``stop_timeout`` if the guest does not go and ``force`` is not given.

    When this returns, QEMU and the runner are gone, and so are their files.
    """
    steps: list[str] = []
    if not _ask_guest(control, actual, patience, steps):
        if not patience.force:
            raise _not_gone(actual, patience, steps)
        _insist(control, paths, actual, patience, steps)
    sweep(paths, actual)
    return steps


def sweep(paths: VmPaths, actual: Actual) -> None:
    """Remove what a QEMU that is gone, or that never got ready, may have left: processes, sockets, status.

    Whoever calls this holds the VM's lock, so nobody is starting it.
    """
    if actual.runner is not None and (actual.waiting or not actual.runner.wait_gone(_BURIAL_SECONDS)):
        _end(actual.runner, paths)
    for process in actual.unready:  # the runner stands first: it takes its unready QEMU with it
        _end(process, paths)
    for found in helpers.living(paths).values():  # of a QEMU that is gone; mostly they have noticed themselves
        for process in found:
            helpers.end(process)
    try:
        left = os.listdir(paths.run)
    except FileNotFoundError:
        left = []
    for entry in left:
        if entry != os.path.basename(paths.lock):
            files.remove(os.path.join(paths.run, entry))
    for lock in (paths.direct_lock, paths.launch_lock):
        locks.discard(lock)
    links.forget(paths.name)


def _end(process: Process, paths: VmPaths) -> None:
    process.kill(signal.SIGTERM)
    if not process.wait_gone(_END_SECONDS):
        forbid_restart(paths)
        process.kill()
        process.wait_gone(_BURIAL_SECONDS)


def _ask_guest(control: Control, actual: Actual, patience: Patience, steps: list[str]) -> bool:
    """The ACPI power button; True if QEMU has gone."""
    if actual.run_state == "prelaunch":  # it has never run: there is nobody to ask and nothing to lose
        _send(control, actual, "quit", patience.timeout, steps, True)
        return actual.process.wait_gone(_QUIT_SECONDS)
    if patience.stop_timeout <= 0 or actual.run_state in DEAD:
        return False
    if actual.run_state == "paused":
        _send(control, actual, "cont", _seconds(patience), steps, patience.force)
    if not _send(control, actual, "system_powerdown", _seconds(patience), steps, patience.force):
        return not actual.process.alive()  # nobody was told, so nobody is waited for
    return actual.process.wait_gone(patience.stop_timeout)


def _seconds(patience: Patience) -> float:
    """How long a command on the way down may take: with consent to go further, no reason to wait long."""
    return min(patience.timeout, _QUIT_SECONDS) if patience.force else patience.timeout


def _insist(control: Control, paths: VmPaths, actual: Actual, patience: Patience, steps: list[str]) -> None:
    told = _send(control, actual, "quit", _seconds(patience), steps, True)
    if not actual.process.wait_gone(_QUIT_SECONDS if told else 0):
        steps.append("SIGKILL")
        if actual.runner is not None:  # it would take that for a failure, and its restart_policy might start QEMU again
            _end(actual.runner, paths)
        actual.process.kill()
        actual.process.wait_gone(None)


def _send(control: Control, actual: Actual, command: str, seconds: float, steps: list[str], go_on: bool) -> bool:
    """A command on the way down; True if QEMU took it. With ``go_on``, no answer is no reason to stop stopping."""
    try:
        control.send(actual, command, seconds)
        steps.append(command)
        return True
    except MaqetError as error:
        gone = actual.qemu is not None and not actual.qemu.alive()
        if not (go_on or gone) or error.error_code in ("policy_denied", "audit_failed"):
            raise
        steps.append(f"{command} ({error.error_code})")
        return False


def _not_gone(actual: Actual, patience: Patience, steps: list[str]) -> MaqetError:
    if actual.run_state in DEAD:
        why = f"is '{actual.run_state}' and cannot notice a power button"
    elif patience.stop_timeout <= 0:
        why = "was given no time to shut down (stop_timeout: 0)"
    else:
        why = f"did not power off within {patience.stop_timeout:g} s of the ACPI power button"
    return MaqetError(
        f"VM {actual.facts.get('vm')} {why}. It still runs. Set force: true to have QEMU ended in that case, "
        "or raise stop_timeout.",
        "stop_timeout",
        stop_steps=steps,
    )
