# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The snapshots that a VM has: those in its images, brought together over all disks, with what is noted of them.

They are internal ones, kept by the qcow2 image itself: a revert is one step back within the file, a removal gives
its room back, and no chain of files grows that the definition would have to follow.
"""

from __future__ import annotations

import os
import typing as t
from dataclasses import dataclass, field

from ansible_collections.maqet.qemu.plugins.module_utils.definition.defaults import effective
from ansible_collections.maqet.qemu.plugins.module_utils.definition.render_disks import node_name
from ansible_collections.maqet.qemu.plugins.module_utils.definition.stored import Definition, DiskFile
from ansible_collections.maqet.qemu.plugins.module_utils.errors import MaqetError
from ansible_collections.maqet.qemu.plugins.module_utils.guard import images
from ansible_collections.maqet.qemu.plugins.module_utils.host import qemu
from ansible_collections.maqet.qemu.plugins.module_utils.host.paths import VmPaths
from ansible_collections.maqet.qemu.plugins.module_utils.vm import snapshot_notes
from ansible_collections.maqet.qemu.plugins.module_utils.vm.making import plain_file
from ansible_collections.maqet.qemu.plugins.module_utils.vm.snapshot_notes import Note

#: Asks the runner of a VM that runs one QMP command; its response.
Ask = t.Callable[[str, t.Mapping[str, t.Any]], t.Any]

_NS = 1_000_000_000


@dataclass(frozen=True)
class Disk:
    """One disk of the VM, as far as snapshots care."""

    name: str
    file: DiskFile
    readonly: bool = False
    #: Whether a filter stands above its format: QEMU makes a snapshot alone through the topmost node.
    throttled: bool = False

    @property
    def able(self) -> bool:
        """Whether snapshots can be made in it. One that is never written has nothing to go back to."""
        return self.file.driver == "qcow2" and not self.readonly


@dataclass(frozen=True)
class Piece:
    """A snapshot in one image: when it was made, the guest's clock then (both in ns), bytes of memory state in it."""

    date: int
    clock: int
    size: int


@dataclass(frozen=True)
class Snapshot:
    """All pieces of one name, by disk; ``note`` is empty if nothing is known beyond the images."""

    name: str
    pieces: t.Mapping[str, Piece]
    note: Note = field(default_factory=dict)

    @property
    def date(self) -> int:
        return min(piece.date for piece in self.pieces.values())

    @property
    def state_disk(self) -> t.Optional[str]:
        """The disk whose image holds the guest's memory, or None."""
        return next((disk for disk, piece in self.pieces.items() if piece.size), None)

    def lacks(self, disks: t.Iterable[str]) -> list[str]:
        """Those of these disks on which it is not; if it is noted of which disks it is, those count."""
        return [disk for disk in self.note.get("disks", disks) if disk not in self.pieces]

    def as_dict(self, disks: t.Iterable[str]) -> dict[str, t.Any]:
        """As it stands in results. ``disks``: the names of those that can have snapshots."""
        state = self.state_disk
        first = self.pieces[state] if state is not None else min(self.pieces.values(), key=lambda piece: piece.date)
        return {
            "name": self.name,
            "date": round(self.date / _NS, 3),
            "vm_clock": round(first.clock / _NS, 3),
            "memory": state is not None,
            "memory_size": sum(piece.size for piece in self.pieces.values()),
            "disks": list(self.pieces),
            "complete": not self.lacks(disks),
            "description": self.note.get("description"),
            "group": self.note.get("group"),
            "fsfreeze": self.note.get("fsfreeze"),
            "qemu_version": self.note.get("qemu_version"),
        }


def listed(paths: VmPaths, definition: t.Optional[Definition], ask: t.Optional[Ask]) -> list[dict[str, t.Any]]:
    """The snapshots of a VM for people, the oldest first. ``ask`` is for one that runs, and None for one that does not.

    For facts: a damaged file of notes is as good as none.
    """
    if definition is None:
        return []
    disks = of_definition(definition)
    found = collect(look(disks, ask), snapshot_notes.load(paths).notes)
    names = [disk.name for disk in disks if disk.able]
    return [snapshot.as_dict(names) for snapshot in found]


def of_definition(definition: Definition) -> list[Disk]:
    """The disks of a VM."""
    wanted = effective(definition.intent, os.uname().machine)["disks"]
    disks = [one for one in wanted if one["type"] == "disk"]
    return [
        Disk(one["name"], definition.files[one["name"]], bool(one.get("readonly")), "throttle" in one) for one in disks
    ]


def look(disks: t.Sequence[Disk], ask: t.Optional[Ask]) -> dict[str, list[dict[str, t.Any]]]:
    """QEMU's SnapshotInfo of all snapshots, by disk: asked of a QEMU that runs, else read from the images."""
    able = [disk for disk in disks if disk.able]
    if not able:
        return {}
    if ask is None:
        return {disk.name: qemu.image_snapshots(checked(disk).path, disk.file.driver) for disk in able}
    nodes = {node.get("node-name"): node for node in ask("query-named-block-nodes", {"flat": True})}
    found = {}
    for disk in able:
        node = nodes.get(node_name(disk.name))
        if node is None:
            raise MaqetError(
                f"The running QEMU has no disk {disk.name!r}, which the definition has. Restart the VM.",
                "restart_required",
            )
        found[disk.name] = list(node["image"].get("snapshots", ()))
    return found


def collect(found: t.Mapping[str, t.Sequence[t.Mapping[str, t.Any]]], notes: t.Mapping[str, Note]) -> list[Snapshot]:
    """The snapshots by name, the oldest first. A note of another snapshot, which had the same name, does not count."""
    pieces: dict[str, dict[str, Piece]] = {}
    for disk, infos in found.items():
        for info in infos:
            date = info["date-sec"] * _NS + info["date-nsec"]
            clock = info["vm-clock-sec"] * _NS + info["vm-clock-nsec"]
            pieces.setdefault(info["name"], {})[disk] = Piece(date, clock, info["vm-state-size"])
    snapshots = [Snapshot(name, on, _valid(notes.get(name), on)) for name, on in pieces.items()]
    return sorted(snapshots, key=lambda snapshot: (snapshot.date, snapshot.name))


def _valid(note: t.Optional[Note], pieces: t.Mapping[str, Piece]) -> Note:
    dates = (note or {}).get("dates")
    if note is None or not isinstance(dates, dict):
        return {}
    return note if all(dates.get(disk) == piece.date for disk, piece in pieces.items()) else {}


def checked(disk: Disk) -> DiskFile:
    """The image of a disk for qemu-img, which must open nothing else for it: ``invalid_option`` if it would.

    QEMU's user may have put a link in its place, or written a header that names another file for the data.
    """
    option, path = f"disks: {disk.name}", disk.file.path
    if disk.file.owned:
        plain_file(option, path)
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        data = images.inspect(fd, disk.file.driver).data_file
    except images.Unreadable as error:
        raise MaqetError(f"{option}: {path} cannot be used: {error}.", "state_unsafe", path=path) from None
    finally:
        os.close(fd)
    if data is not None:
        raise MaqetError(f"{option}: {path} keeps its data in {data}; such an image has no snapshots.", "state_unsafe")
    return disk.file
