# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the host that sends a VM tells the other one, and why a VM cannot be sent."""

from __future__ import annotations

import base64
import dataclasses
import os
import typing as t
import zlib

from ansible_collections.maqet.qemu.plugins.module_utils.definition.defaults import effective
from ansible_collections.maqet.qemu.plugins.module_utils.definition.stored import Definition, DiskFile
from ansible_collections.maqet.qemu.plugins.module_utils.errors import MaqetError
from ansible_collections.maqet.qemu.plugins.module_utils.host import copying, files, status
from ansible_collections.maqet.qemu.plugins.module_utils.host.paths import VmPaths

Offer = t.Dict[str, t.Any]
Disk = t.Dict[str, t.Any]

#: How a disk comes to the other host: by copying it, by being there already, or as a file of the same content.
COPY, SHARED, SAME = "copy", "shared", "same"
STORAGE = ("auto", "shared", "copy")
# Variables of UEFI take 64 MiB on Arm, and nearly all of it is empty.
_MOST_VARIABLES = 256 * 1024 * 1024


def refused(why: str, remedy: str) -> MaqetError:
    """This VM cannot be sent as it is."""
    return MaqetError(f"The VM cannot move: {why}. {remedy}.", "migration_refused")


def way_of(disk: t.Mapping[str, t.Any], file: DiskFile, storage: str) -> str:
    """How a disk (with defaults filled in) is to come to the other host."""
    if not file.owned and disk["readonly"]:
        return SAME
    if storage == SHARED:
        if file.owned:
            raise refused(
                f"disk {disk['name']} is its own image, in a folder of this host, which is not shared",
                "Leave 'storage' out to have it copied, or define the disk with 'path'",
            )
        return SHARED
    return COPY if file.owned or storage == COPY else SHARED


def check_sendable(wanted: t.Mapping[str, t.Any], seen: t.Mapping[str, t.Any]) -> None:
    """``migration_refused`` for what no other host could go on with. ``seen``: what the runner says of its QEMU."""
    if wanted["host_devices"]:
        raise refused("it has host_devices, which are this host's", "Unplug them first: host_devices: []")
    if wanted["shares"]:
        raise refused("it has shares, which are folders of this host", "Take them out (shares: []), and restart it")
    peers = [str(network["peer"]) for network in wanted["networks"] if "peer" in network]
    if peers:
        raise refused(f"it has a cable to VM {peers[0]} of this host", "Use a network that the other host has too")
    if seen.get("blocked"):
        raise refused(f"QEMU says: {'; '.join(seen['blocked'])}", "Remove what QEMU names, and restart the VM")


def check_copied(name: str, found: t.Optional[t.Mapping[str, t.Any]], block_device: bool) -> Disk:
    """What QEMU says of a disk that is to be copied; ``migration_refused`` if a copy would not be the same."""
    if block_device:
        raise refused(f"disk {name} is a block device, which is not copied", "Share it, and set storage: shared")
    if found is None or not found["plain"]:
        raise refused(
            f"the guest's disk {name} is not the image that the definition names: a job has put another in its place",
            "Restart the VM first, which puts that right",
        )
    if found["snapshots"]:
        raise refused(
            f"disk {name} has snapshots ({', '.join(found['snapshots'][:3])}), which a copy would lose",
            "Remove them with maqet_snapshot, or use shared storage",
        )
    return dict(found)


def offer(paths: VmPaths, definition: Definition, seen: t.Mapping[str, t.Any], accel: str, storage: str) -> Offer:
    """All that the other host must know, as JSON can hold it. ``seen``: what the runner says of its QEMU."""
    wanted = effective(definition.intent, os.uname().machine)
    check_sendable(wanted, seen)
    disks: t.Dict[str, Disk] = {}
    for disk in wanted["disks"]:
        file = definition.files.get(disk["name"])
        if file is not None:  # a drive without a medium has none
            disks[disk["name"]] = _disk(disk, file, seen["disks"].get(disk["name"]), storage)
    return {
        "definition": definition.to_json(),
        "home_disks": paths.disks,
        "machine": seen["machine"],
        "accel": accel,
        "cpu": processor() if accel == "kvm" else None,
        "disks": disks,
        "same": {key: content(wanted[key]) for key in ("kernel", "initrd") if wanted[key]},
        "variables": _variables(paths) if wanted["firmware"]["type"] == "uefi" else None,
    }


def _disk(disk: t.Mapping[str, t.Any], file: DiskFile, found: t.Optional[t.Mapping[str, t.Any]], storage: str) -> Disk:
    way = way_of(disk, file, storage)
    told: Disk = {"way": way, "path": file.path, "option": f"disks: {disk['name']}"}
    if way == COPY:
        told["size"] = check_copied(disk["name"], found, files.is_block_device(file.path))["size"]
    elif way == SAME:
        told.update(content(file.path))
    else:
        told["device"] = files.is_block_device(file.path)
        told["length"] = length(file.path)
    if file.backing is not None and way == COPY:
        told["base"] = content(file.backing)
    return told


def content(path: str) -> Disk:
    """What tells a file from one with another content: its path, its length in bytes, and its SHA-256."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        size = os.lseek(fd, 0, os.SEEK_END)
        return {"path": path, "length": size, "sha256": copying.sha256(fd, lambda _done: None)}
    finally:
        os.close(fd)


def length(path: str) -> int:
    """Of a file or block device, in bytes."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.lseek(fd, 0, os.SEEK_END)
    finally:
        os.close(fd)


def _variables(paths: VmPaths) -> t.Optional[t.Dict[str, t.Any]]:
    """The variables of UEFI and what they belong to. What the guest changes meanwhile comes with its memory."""
    origin = status.read_object(paths.nvram_origin)
    if not origin:
        return None
    name = f"vars.{origin.get('format')}"
    path = os.path.join(paths.nvram, name)
    if os.path.getsize(path) > _MOST_VARIABLES:
        raise refused(f"{path} is too large to be UEFI variables", "See what it is")
    with open(path, "rb") as file:
        packed = base64.b64encode(zlib.compress(file.read(), 6)).decode("ascii")
    lengths = {key: os.path.getsize(str(origin[key])) for key in ("code", "template") if origin.get(key)}
    return {"origin": origin, "name": name, "content": packed, "lengths": lengths}


def processor() -> t.Dict[str, str]:
    """What a guest under KVM sees of the host's processor unless its model is named."""
    wanted = ("vendor_id", "model name", "flags", "Features", "CPU implementer", "CPU part")
    found: t.Dict[str, str] = {}
    with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
        for line in file:
            key, _colon, value = line.partition(":")
            if key.strip() in wanted:
                found.setdefault(key.strip(), " ".join(sorted(value.split())))
    return found


def adapted(told: Offer, disks: str) -> Definition:
    """The definition for a host whose VM has its own images in the folder ``disks``."""
    definition = Definition.from_json(told["definition"])
    moved = {}
    for name, file in definition.files.items():
        if file.owned and os.path.dirname(file.path) == told["home_disks"]:
            file = dataclasses.replace(file, path=os.path.join(disks, os.path.basename(file.path)))
        moved[name] = file
    return dataclasses.replace(definition, files=moved)
