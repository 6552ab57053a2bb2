# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What of a change a running QEMU takes without a restart: pure decisions about two intents.

Only what a user asks for by name happens to a guest that runs: a disk that is added is plugged, one that is removed is
unplugged. One that stays and is to be different would vanish under its file systems for a moment, so that is a restart.
"""

from __future__ import annotations

import typing as t
from dataclasses import dataclass, field

from ansible_collections.maqet.qemu.plugins.module_utils.definition.render_disks import ON_PCI
from ansible_collections.maqet.qemu.plugins.module_utils.definition.render_ports import takes_plugs

Intent = t.Mapping[str, t.Any]
Disk = t.Mapping[str, t.Any]


@dataclass(frozen=True)
class Change:
    """One step. ``before`` and ``after`` are the item as it was and as it shall be, with defaults filled in."""

    kind: str
    #: Goes into the task's result, beside ``kind``.
    detail: t.Mapping[str, t.Any] = field(default_factory=dict)
    before: t.Optional[t.Mapping[str, t.Any]] = None
    after: t.Optional[t.Mapping[str, t.Any]] = None
    #: Whether a guest that does not run cannot take it: it must let go first.
    asks_guest: bool = False

    def reversed(self) -> Change:
        """What takes it back."""
        kinds = {"plug_disk": "unplug_disk", "plug_network": "unplug_network"}
        kinds.update({value: key for key, value in kinds.items()})
        kind = kinds.get(self.kind, self.kind)
        return Change(kind, self.detail, self.after, self.before, kind.startswith("unplug"))


def changes(option: str, before: Intent, after: Intent) -> t.Optional[list[Change]]:
    """The steps for one option, both intents with defaults filled in; None if it takes a restart."""
    decide = _DECIDE.get(option)
    return None if decide is None else decide(before, after)


def _disks(before: Intent, after: Intent) -> t.Optional[list[Change]]:
    old, new = _by_name(before["disks"]), _by_name(after["disks"])
    found: list[Change] = []
    for name, disk in old.items():
        if name not in new:
            if not _pluggable(disk, before):
                return None
            found.append(Change("unplug_disk", {"disk": name}, before=disk, asks_guest=True))
    for name, disk in new.items():
        if name not in old:
            if not _pluggable(disk, before):
                return None
            found.append(Change("plug_disk", {"disk": name}, after=disk))
        elif disk != old[name]:
            steps = _altered(old[name], disk)
            if steps is None:
                return None
            found += steps
    return found


def _by_name(disks: t.Sequence[Disk]) -> dict[str, Disk]:
    return {disk["name"]: disk for disk in disks}


def _pluggable(disk: Disk, running: Intent) -> bool:
    """Whether the machine that runs has a place where this disk can come or go."""
    if disk["interface"] in ON_PCI:
        return takes_plugs(running["machine"])
    if disk["interface"] in ("scsi", "usb"):  # its controller came with the first disk
        return any(other["interface"] == disk["interface"] for other in running["disks"])
    return False


def _altered(old: Disk, new: Disk) -> t.Optional[list[Change]]:
    """Steps for a disk that stays. A size takes none here: the job that is planned for its file does it."""
    differs = {key for key in {*old, *new} if old.get(key) != new.get(key)}
    detail = {"disk": new["name"]}
    if new["type"] == "cdrom":
        return [Change("change_medium", detail, old, new)] if differs <= {"path", "format"} else None
    if "size" in differs and not ("size" in new and new["size"] > old.get("size", 0)):
        return None
    if "throttle" in differs and not ("throttle" in old and "throttle" in new):
        return None  # the node that does it is there from the start, or not at all
    if differs - {"size", "throttle"}:
        return None
    return [Change("throttle_disk", detail, old, new)] if "throttle" in differs else []


def _networks(before: Intent, after: Intent) -> t.Optional[list[Change]]:
    """Cards have no names but their places, so they come and go at the end of the list."""
    old, new = before["networks"], after["networks"]
    kept = min(len(old), len(new))
    if list(old[:kept]) != list(new[:kept]) or not takes_plugs(before["machine"]):
        return None
    if not all(network["type"] in _PLUGGED_NETWORKS for network in (*old[kept:], *new[kept:])):
        return None
    found = [
        Change("unplug_network", {"network": index}, before=old[index], asks_guest=True)
        for index in reversed(range(kept, len(old)))
    ]
    return found + [Change("plug_network", {"network": index}, after=new[index]) for index in range(kept, len(new))]


#: Networks whose back end QEMU can make and drop by itself.
_PLUGGED_NETWORKS = ("user",)
_DECIDE: dict[str, t.Callable[[Intent, Intent], t.Optional[list[Change]]]] = {"disks": _disks, "networks": _networks}
#: Options of which some changes are live.
OPTIONS = tuple(_DECIDE)
