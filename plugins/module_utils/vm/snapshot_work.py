# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Making, removing and going back to snapshots: by QEMU's own jobs where it runs, by qemu-img where it does not.

While QEMU runs nobody else may write to its images; while it does not, the VM's lock keeps others from starting it.
"""

from __future__ import annotations

import contextlib
import os
import typing as t

from ansible_collections.maqet.qemu.plugins.module_utils.definition.render_disks import node_name, rate_name
from ansible_collections.maqet.qemu.plugins.module_utils.errors import MaqetError
from ansible_collections.maqet.qemu.plugins.module_utils.host import qemu
from ansible_collections.maqet.qemu.plugins.module_utils.qmp.lines import Deadline
from ansible_collections.maqet.qemu.plugins.module_utils.vm.jobs import Jobs
from ansible_collections.maqet.qemu.plugins.module_utils.vm.snapshots import Ask, Disk, checked, look

#: What the names of all our jobs begin with.
PREFIX = "maqet-snapshot"

# The least that qemu-img gets, in seconds, so that nothing is broken off for a second too little.
_LEAST = 10.0
Infos = t.Dict[str, t.List[t.Dict[str, t.Any]]]


class Live:
    """The snapshots of a VM whose QEMU runs."""

    def __init__(self, jobs: Jobs) -> None:
        self.jobs = jobs

    def look(self, disks: t.Sequence[Disk]) -> Infos:
        """What there is, by disk."""
        ask: Ask = self.jobs.ask
        return look(disks, ask)

    def create(self, name: str, disks: t.Sequence[Disk], memory: bool, fsfreeze: bool) -> None:
        """One snapshot of all these disks at the same moment, or none at all."""
        nodes = [node_name(disk.name) for disk in disks]
        if memory:
            self.jobs.run(PREFIX, "snapshot-save", {"tag": name, "vmstate": nodes[0], "devices": nodes})
            return
        one = "blockdev-snapshot-internal-sync"
        tops = [rate_name(disk.name) if disk.throttled else node_name(disk.name) for disk in disks]
        actions = [{"type": one, "data": {"device": node, "name": name}} for node in tops]
        try:
            self.jobs.change("frozen" if fsfreeze else "qmp", [("transaction", {"actions": actions})])
        except MaqetError as error:
            if error.error_code == "invalid_request" and fsfreeze:
                raise MaqetError(
                    "The runner of this VM is older than fsfreeze. Replace it, which the guest does not notice: "
                    "maqet_vm with runner: upgrade.",
                    "runner_unreachable",
                ) from None
            raise

    def delete(self, name: str, disks: t.Sequence[Disk]) -> None:
        """Remove it from these disks; no error where it is not."""
        self.jobs.run(PREFIX, "snapshot-delete", {"tag": name, "devices": [node_name(disk.name) for disk in disks]})

    def load(self, name: str, disks: t.Sequence[Disk], state_disk: str) -> None:
        """Go back with the guest's memory, while the guest is paused.

        A job that fails in the middle leaves a machine of which nobody knows what it is: it is reset, so that it boots
        from the disks that have gone back, and never runs on with the memory of another time.
        """
        devices = [node_name(disk.name) for disk in disks]
        try:
            self.jobs.run(PREFIX, "snapshot-load", {"tag": name, "vmstate": node_name(state_disk), "devices": devices})
        except MaqetError as error:
            if error.error_code != "job_failed":
                raise
            raise self.unloaded(name, str(error.details["reason"])) from None

    def unloaded(self, name: str, reason: str) -> MaqetError:
        """``job_failed`` for a machine that is reset now."""
        with contextlib.suppress(MaqetError):
            self.jobs.ask("system_reset")
        return MaqetError(
            f"QEMU's job snapshot-load of {name!r} failed: {reason}. The disks may have gone back, and the guest's "
            "memory is lost. The VM was reset and is paused: as soon as it is resumed (maqet_vm: state=running) it "
            "boots from its disks. A further revert with memory: false puts those right.",
            "job_failed",
            command="snapshot-load",
            reason=reason,
            changed=True,
        )


class Offline:
    """The snapshots of a VM that does not run."""

    def __init__(self, deadline: Deadline) -> None:
        self._deadline = deadline

    def look(self, disks: t.Sequence[Disk]) -> Infos:
        """What there is, by disk."""
        return look(disks, None)

    def create(self, name: str, disks: t.Sequence[Disk], _memory: bool, _fsfreeze: bool) -> None:
        """On all these disks or on none. There is no guest in whose way it could be."""
        done: list[Disk] = []
        for disk in disks:
            try:
                self._image("create", name, disk)
            except BaseException:
                for other in reversed(done):
                    with contextlib.suppress(MaqetError):
                        self._image("delete", name, other)
                raise
            done.append(disk)

    def delete(self, name: str, disks: t.Sequence[Disk]) -> None:
        """Remove it from these disks, all of which have it."""
        for disk in disks:
            self._image("delete", name, disk)

    def apply(self, name: str, disks: t.Sequence[Disk]) -> None:
        """Go back on all these disks; what fails says which of them have."""
        done: list[str] = []
        for disk in disks:
            try:
                self._image("apply", name, disk)
            except MaqetError as error:
                done += [disk.name] if error.details.get("broken_off") else []  # it may have
                error.details.update({"reverted_disks": done, "changed": True} if done else {})
                raise
            done.append(disk.name)

    def _image(self, action: str, name: str, disk: Disk) -> None:
        file = checked(disk)
        qemu.snapshot_image(action, name, file.path, file.driver, max(self._deadline.left(), _LEAST))


Hand = t.Union[Live, Offline]


def may_go_on(error: MaqetError) -> bool:
    """Whether QEMU may still be at it, or the guest be frozen: then the next task sees to it."""
    unknown = error.details.get("outcome_unknown") or error.details.get("thawed") is False
    return bool(unknown) or error.error_code in ("wait_timeout", "vm_exited")


def room(disk: Disk) -> str:
    """What QEMU does not say of a disk that is full: it calls that an input/output error."""
    status = os.statvfs(os.path.dirname(disk.file.path))
    free = status.f_bavail * status.f_frsize // 1024**2
    return (
        f" The file system of {disk.file.path}, which takes the memory, has {free} MiB free. With memory: false the "
        "snapshot is of the disks alone."
    )
