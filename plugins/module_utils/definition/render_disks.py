# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Disks on the command line: a file node and a format node with explicit drivers, a controller, a device.

QEMU never gets to probe an image: a guest that writes a header into a raw disk could otherwise make
its next start read any file of the host. Backing files are left to the image's own header, which names
their format, because jobs such as block-stream change the chain while the VM runs.
"""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

from ansible_collections.maqet.qemu.plugins.module_utils.definition.spelling import json_object, option_string
from ansible_collections.maqet.qemu.plugins.module_utils.definition.stored import DiskFile

SCSI_CONTROLLER = "maqet-scsi"
SATA_CONTROLLER = "maqet-sata"


@dataclass(frozen=True)
class Source:
    """How QEMU is to open an image: by which name, in which format; ``device`` if it is a block device.

    ``backing``: the images below it, nearest first, where the one's own header does not do.
    """

    filename: str
    driver: str
    device: bool = False
    backing: tuple[Source, ...] = ()

    def file_node(self, readonly: bool, name: t.Optional[str] = None) -> dict[str, t.Any]:
        """The node below the format: what it reads and writes."""
        named = {} if name is None else {"node-name": name}
        kind = "host_device" if self.device else "file"
        return {"driver": kind, **named, "filename": self.filename, "read-only": readonly}


def node_name(disk: str) -> str:
    """The block node of a disk, for QMP commands; its file is the same with ``-file``."""
    return f"disk-{disk}"


def disk_arguments(
    disks: t.Sequence[t.Mapping[str, t.Any]],
    files: t.Mapping[str, DiskFile],
    sources: t.Mapping[str, Source],
) -> list[str]:
    """Arguments for all disks (with defaults filled in); the guest's firmware tries them in the order of the list.

    A disk that is not among ``sources`` is opened by the path of its file.
    """
    arguments = _controllers({disk["interface"] for disk in disks})
    places: dict[str, int] = {}
    for index, disk in enumerate(disks):
        interface = disk["interface"]
        place = places.get(interface, 0)
        places[interface] = place + 1
        file = files[disk["name"]]
        arguments += _nodes(disk, sources.get(disk["name"]) or Source(file.path, file.driver))
        arguments += ["-device", _device(disk, interface, place, disk.get("bootindex", index + 1))]
    return arguments


def _controllers(interfaces: t.Collection[str]) -> list[str]:
    """virtio disks are their own controller, and the machines that have IDE bring it along.

    SATA gets its own controller on every machine, q35 too, so that a disk's place depends on nothing else.
    """
    arguments = []
    if "scsi" in interfaces:
        arguments += ["-device", option_string("virtio-scsi-pci", [("id", SCSI_CONTROLLER)])]
    if "sata" in interfaces:
        arguments += ["-device", option_string("ich9-ahci", [("id", SATA_CONTROLLER)])]
    return arguments


def _nodes(disk: t.Mapping[str, t.Any], source: Source) -> list[str]:
    node = node_name(disk["name"])
    readonly = disk["readonly"]
    file_node = source.file_node(readonly, f"{node}-file")
    format_node = {"driver": source.driver, "node-name": node, "file": f"{node}-file", "read-only": readonly}
    if source.backing:
        format_node["backing"] = _below(source.backing)
    return ["-blockdev", json_object(file_node), "-blockdev", json_object(format_node)]


def _below(chain: t.Sequence[Source]) -> dict[str, t.Any]:
    """The images below a disk's, one in the other, without names that anybody would use."""
    first, rest = chain[0], chain[1:]
    node: dict[str, t.Any] = {"driver": first.driver, "read-only": True, "file": first.file_node(True)}
    if first.driver != "raw":
        node["backing"] = _below(rest) if rest else None
    return node


def _device(disk: t.Mapping[str, t.Any], interface: str, place: int, boot_index: int) -> str:
    """``place`` counts the disks of an interface. Boot indices start at 1: a kernel from the host has 0."""
    buses: dict[str, tuple[str, list[tuple[str, t.Any]]]] = {
        "virtio": ("virtio-blk-pci", []),
        "scsi": ("scsi-hd", [("bus", f"{SCSI_CONTROLLER}.0"), ("scsi-id", place)]),
        "sata": ("ide-hd", [("bus", f"{SATA_CONTROLLER}.{place}")]),
        "ide": ("ide-hd", [("bus", f"ide.{place // 2}"), ("unit", place % 2)]),
    }
    driver, bus = buses[interface]
    name = disk["name"]
    properties = [("id", name), *bus, ("drive", node_name(name)), ("serial", name), ("bootindex", boot_index)]
    return option_string(driver, properties)
