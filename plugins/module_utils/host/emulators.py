# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Finding the QEMU of a VM whose notes are lost, and QEMUs whose VM is: beyond doubt, or not at all.

What counts is that three things agree which nobody gives to another process by accident: the guest's
name with our monitor on the command line, and the VM's output folder as QEMU's own folder.
"""

from __future__ import annotations

import contextlib
import os
import typing as t

from ansible_collections.maqet.qemu.plugins.module_utils.errors import MaqetError
from ansible_collections.maqet.qemu.plugins.module_utils.host.paths import Layout, VmPaths
from ansible_collections.maqet.qemu.plugins.module_utils.host.processes import (
    Process,
    argument,
    command_line,
    command_lines,
    of_pid,
)

# The chardev of our main monitor, as definition/render.py names it.
_MONITOR = "id=maqet-monitor,"
# RHEL and its kin have one emulator, which is called so.
_OF_RHEL = "qemu-kvm"


class Found(t.NamedTuple):
    """A QEMU that is one of ours: its process, and what its command line says."""

    process: Process
    name: str
    uuid: str
    words: list[str]


def of_vm(paths: VmPaths, uuid: t.Optional[str] = None) -> t.Optional[Found]:
    """The living QEMU of this VM; with ``uuid``, only if it has that one."""
    for found in _all(os.path.dirname(paths.home)):
        if found.name == paths.name and uuid in (None, found.uuid):
            return found
    return None


def look_at(process: Process, paths: VmPaths) -> t.Optional[Found]:
    """What ``process`` is, if it is the QEMU of this VM."""
    found = _found(process.pid, command_line(process.pid), os.path.dirname(paths.home))
    return found if found is not None and found.process == process and found.name == paths.name else None


def unidentified(paths: VmPaths, why: str) -> MaqetError:
    """What may be the QEMU of this VM is left alone as long as nobody knows that it is."""
    return MaqetError(
        f"Something lives that may be the QEMU of VM {paths.name}: {why}. It is left alone. Look at "
        f"'fuser {paths.qemu_log}', and end it yourself if it is of no use.",
        "qemu_unidentified",
    )


def orphans(where: Layout) -> list[Found]:
    """QEMUs of ours whose VM is not defined, sorted by name."""
    found = [one for one in _all(where.vms) if not os.path.exists(where.vm(one.name).definition)]
    return sorted(found, key=lambda one: one.name)


def _all(vms: str) -> t.Iterator[Found]:
    for pid, words in command_lines():
        found = _found(pid, words, vms)
        if found is not None:
            yield found


def _found(pid: int, words: t.Sequence[str], vms: str) -> t.Optional[Found]:
    program = os.path.basename(words[0]) if words else ""
    if not program.startswith("qemu-system-") and program != _OF_RHEL:
        return None
    name = (argument(words, "-name") or "").partition(",")[0].partition("guest=")[2]
    uuid = argument(words, "-uuid")
    if not name or uuid is None or not any(_MONITOR in f"{word}," for word in words):
        return None
    folder = ""
    with contextlib.suppress(OSError):
        folder = os.readlink(f"/proc/{pid}/cwd")
    if folder.partition(" (deleted)")[0] != os.path.join(os.path.realpath(vms), name, "output"):
        return None
    process = of_pid(pid)
    return None if process is None else Found(process, name, uuid, list(words))
