# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What of a change a running QEMU takes without a restart: pure decisions about two intents.

Only what a user asks for by name happens to a guest that runs: a disk that is added is plugged, one that is removed is
unplugged. One that stays and is to be different would vanish under its file systems for a moment, so that is a restart.
"""

from __future__ import annotations

import typing as t
from dataclasses import dataclass, field

from ansible_collections.maqet.qemu.plugins.module_utils.definition import unsaid
from ansible_collections.maqet.qemu.plugins.module_utils.definition.render_devices import device_id
from ansible_collections.maqet.qemu.plugins.module_utils.definition.render_disks import ON_PCI
from ansible_collections.maqet.qemu.plugins.module_utils.definition.render_ports import sits_in_port, takes_plugs

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
        kinds = {f"plug_{thing}": f"unplug_{thing}" for thing in ("disk", "network", "device", "cpus")}
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
    whole_old, whole_new = unsaid.of_disk(old), unsaid.of_disk(new)
    differs = {key for key in {*old, *new} if whole_old.get(key) != whole_new.get(key)}
    detail = {"disk": new["name"]}
    if new["type"] == "cdrom":
        return [Change("change_medium", detail, old, new)] if differs <= {"path", "format"} else None
    if "size" in differs and "size" in new and new["size"] < old.get("size", 0):
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
    if any(network.get("queues", 1) > 1 for network in new[kept:]):  # a descriptor for each, in one command
        return None
    found = [
        Change("unplug_network", {"network": index}, before=old[index], asks_guest=True)
        for index in reversed(range(kept, len(old)))
    ]
    return found + [Change("plug_network", {"network": index}, after=new[index]) for index in range(kept, len(new))]


def _cpus(before: Intent, after: Intent) -> t.Optional[list[Change]]:
    """More of them, as far as the machine was made for. Linux does not give up one that it has begun with."""
    old, new = before["cpus"], after["cpus"]
    if before["arch"] != "x86_64" or not old < new <= (before["cpus_max"] or old):
        return None
    return [Change("plug_cpus", {"cpus": new}, {"cpus": old}, {"cpus": new})]


def _balloon_target(before: Intent, after: Intent) -> t.Optional[list[Change]]:
    if not before["balloon"]:
        return None
    old, new = ({"memory": intent["balloon_target"] or intent["memory"]} for intent in (before, after))
    return [Change("set_balloon", new, old, new)]


def _vnc(before: Intent, after: Intent) -> t.Optional[list[Change]]:
    """Another password, where there is one: that there is none is part of how QEMU listens."""
    old, new = before["vnc"], after["vnc"]
    if "password" not in old or "password" not in new or {**old, "password": ""} != {**new, "password": ""}:
        return None
    return [Change("set_vnc_password", {}, old, new)]


def _devices(before: Intent, after: Intent) -> t.Optional[list[Change]]:
    old, new = _by_id(before["devices"]), _by_id(after["devices"])
    found: list[Change] = []
    for one, other, kind in ((old, new, "unplug_device"), (new, old, "plug_device")):
        for name, device in one.items():
            if name not in other:
                if not _comes_and_goes(device, before["machine"]):
                    return None
                gone = kind == "unplug_device"
                sides = (device, None) if gone else (None, device)
                found.append(Change(kind, {"device": name}, sides[0], sides[1], gone))
            elif device != other[name]:
                return None
    return found


def _by_id(devices: t.Sequence[t.Mapping[str, t.Any]]) -> dict[str, t.Mapping[str, t.Any]]:
    return {
        device_id(device, index): {**device, "id": device_id(device, index)} for index, device in enumerate(devices)
    }


def _comes_and_goes(device: t.Mapping[str, t.Any], machine: str) -> bool:
    return device["driver"].startswith("usb-") or (takes_plugs(machine) and sits_in_port(device))


#: Networks whose back end is nothing but what one command makes and one drops.
_PLUGGED_NETWORKS = ("user", "bridge", "tap")
_DECIDE: dict[str, t.Callable[[Intent, Intent], t.Optional[list[Change]]]] = {
    "cpus": _cpus,
    "balloon_target": _balloon_target,
    "disks": _disks,
    "networks": _networks,
    "vnc": _vnc,
    "devices": _devices,
}
#: Options of which some changes are live, and which, in words for people.
WHEN: dict[str, str] = {
    "cpus": "more of them, up to ``cpus_max``, on x86_64",
    "balloon_target": "where ``balloon`` is true",
    "disks": "a disk on ``virtio`` or ``nvme`` that is added or removed, one on ``scsi`` or ``usb`` beside others; "
    "more ``size``; other limits in ``throttle``; another medium in a ``cdrom``; another order in the list, which "
    "counts from the next start on",
    "networks": "a card of the type ``user``, ``bridge`` or ``tap``, with one queue, that is added or removed at the "
    "end of the list",
    "vnc": "another ``password`` instead of one",
    "devices": "one that is added or removed whose driver's name begins with ``usb-``, or ends with ``-pci`` where no "
    "``bus`` or ``addr`` is given",
}
