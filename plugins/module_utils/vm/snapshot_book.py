# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What one task knows of the snapshots of a VM: those that are there, what is noted of them, what is begun."""

from __future__ import annotations

import os
import typing as t

from ansible_collections.maqet.qemu.plugins.module_utils.definition.stored import Definition
from ansible_collections.maqet.qemu.plugins.module_utils.host.paths import VmPaths
from ansible_collections.maqet.qemu.plugins.module_utils.vm import snapshot_notes, snapshots
from ansible_collections.maqet.qemu.plugins.module_utils.vm.observe import Actual
from ansible_collections.maqet.qemu.plugins.module_utils.vm.plan import executes
from ansible_collections.maqet.qemu.plugins.module_utils.vm.snapshot_notes import Note
from ansible_collections.maqet.qemu.plugins.module_utils.vm.snapshot_plan import Situation
from ansible_collections.maqet.qemu.plugins.module_utils.vm.snapshot_work import Hand, Infos
from ansible_collections.maqet.qemu.plugins.module_utils.vm.snapshots import Disk, Snapshot


class Book:
    """``now`` is what was there at the last :meth:`look`, by which ``hand`` reaches the VM."""

    def __init__(self, paths: VmPaths, actual: Actual, hand: Hand) -> None:
        self._paths = paths
        self._found: Infos = {}
        self.notes = snapshot_notes.load(paths)
        self.hand = hand
        self.actual = actual
        self.definition = t.cast(Definition, actual.definition)
        self.now = Situation(paths.name, (), (), {}, os.uname().machine)
        self.look()

    @property
    def pending(self) -> t.Optional[Note]:
        """What was begun and not ended."""
        return self.notes.pending

    def look(self) -> None:
        """See what is there now."""
        disks = snapshots.of_definition(self.definition)
        self._found = self.hand.look(disks)
        self._weigh(disks)

    def seen(self, actual: Actual) -> None:
        """The VM runs or pauses in another way now."""
        self.actual = actual
        self._weigh(self.now.disks)

    def without(self, name: str) -> None:
        """As if this snapshot were not there, for check mode."""
        self._found = {disk: [one for one in infos if one["name"] != name] for disk, infos in self._found.items()}
        self._weigh(self.now.disks)

    def find(self, name: str) -> t.Optional[Snapshot]:
        """The snapshot of this name."""
        return self.now.find(name)

    def disks(self, names: t.Iterable[str]) -> list[Disk]:
        """The disks of these names, in the order of the definition."""
        wanted = set(names)
        return [disk for disk in self.now.disks if disk.name in wanted]

    def begin(self, op: str, name: str, **more: t.Any) -> None:
        """Write down what is about to be done, and all that it takes to finish it."""
        self.notes.pending = {"op": op, "name": name, **more}
        snapshot_notes.store(self._paths, self.notes)

    def end(self) -> None:
        """Write down that it is done, without the notes of snapshots that are not there."""
        self.notes.pending = None
        there = {one.name for one in self.now.snapshots if one.note}
        self.notes.notes = {name: note for name, note in self.notes.notes.items() if name in there}
        snapshot_notes.store(self._paths, self.notes)

    def remember(self, snapshot: Snapshot, note: Note) -> None:
        """Have a note of a snapshot that is there; it is written with the next :meth:`end`."""
        kept = {key: value for key, value in note.items() if key not in ("op", "name")}
        kept["dates"] = {disk: piece.date for disk, piece in snapshot.pieces.items()}
        self.notes.notes[snapshot.name] = kept
        self._weigh(self.now.disks)

    def _weigh(self, disks: t.Sequence[Disk]) -> None:
        """What was found, with the notes as they are."""
        found = snapshots.collect(self._found, self.notes.notes)
        runs = self.actual.qemu is not None
        guest_runs = runs and executes(self.actual.run_state)
        now = self.now
        self.now = Situation(now.vm, disks, found, self.definition.intent, now.host_arch, runs, guest_runs)
