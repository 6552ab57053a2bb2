# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a task that was killed has left half done, by what it said that it was about to do, and by what is there now."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

from ansible_collections.maqet.qemu.plugins.module_utils.errors import MaqetError
from ansible_collections.maqet.qemu.plugins.module_utils.vm.snapshot_notes import Note
from ansible_collections.maqet.qemu.plugins.module_utils.vm.snapshots import Snapshot

#: What ends it: keep a snapshot that turned out whole, remove one that did not, let the guest run on, or nothing.
KEEP, REMOVE, RESUME, NOTHING = "keep", "remove", "resume", "nothing"


@dataclass(frozen=True)
class Repair:
    """One of the words above, and what to tell the user."""

    kind: str
    words: str


def decide(
    pending: Note,
    snapshot: t.Optional[Snapshot],
    runs: bool,
    paused: bool,
    state: str,
    load_error: t.Optional[str] = None,
) -> Repair:
    """How to finish ``pending``, of whose snapshot this is left; ``state`` is what the task at hand is for.

    ``runs`` is of the VM; ``paused``: it is the same QEMU as then, and its guest does not run. ``load_error``: why a
    snapshot-load of it has failed, which leaves the guest in no state to run on.
    ``snapshot_unfinished`` if only a further revert makes the disks one again.
    """
    name, op = pending["name"], pending["op"]
    if op == "create":
        whole = snapshot is not None and all(disk in snapshot.pieces for disk in pending.get("disks", ()))
        if whole and bool(pending.get("memory")) == (t.cast(Snapshot, snapshot).state_disk is not None):
            return Repair(KEEP, f"Snapshot {name!r} of a task that was broken off is whole, and kept.")
        left = f"Snapshot {name!r} of a task that was broken off"
        if snapshot is None:
            return Repair(NOTHING, f"{left} was not made.")
        return Repair(REMOVE, f"{left} is not whole: removed.")
    if op == "delete":
        if snapshot is None:
            return Repair(NOTHING, f"Snapshot {name!r} was removed by a task that was broken off.")
        return Repair(REMOVE, f"Snapshot {name!r} was being removed by a task that was broken off: removed.")
    if runs:  # an offline one was made pointless by whoever started the VM
        if paused and pending.get("live") and pending.get("resume") and load_error is None:
            words = "Whether it had gone back is not known for certain; revert again if it should"
            return Repair(RESUME, f"A revert to {name!r} was broken off, and left the VM paused: resumed. {words}.")
    elif state != "reverted":
        raise MaqetError(
            f"A revert to snapshot {name!r} was broken off, so that some disks may have gone back and others not. "
            f"Revert again, to {name!r} or another snapshot; or start the VM, if its disks are right as they are.",
            "snapshot_unfinished",
            snapshot=name,
        )
    return Repair(NOTHING, f"A revert to {name!r} was broken off.")
