# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Disks for QEMU, on its command line and by QMP alike: nodes with explicit drivers, a controller, a device.

From below: the file, the format, and, if the disk is throttled, a filter above it whose limits are a QOM
object of their own, so that ``qom-set`` changes them while the guest runs. :func:`disk_nodes` are the arguments
of ``blockdev-add`` in their order, :func:`disk_objects` those of ``object-add``, :func:`disk_device` and
:func:`disk_controllers` those of ``device_add``.

QEMU never gets to probe an image: a guest that writes a header into a raw disk could otherwise make
its next start read any file of the host. Backing files are left to the image's own header, which names
their format, because jobs such as block-stream change the chain while the VM runs.
"""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

from ansible_collections.maqet.qemu.plugins.module_utils.definition.render_ports import Ports
from ansible_collections.maqet.qemu.plugins.module_utils.definition.spelling import json_object, option_string
from ansible_collections.maqet.qemu.plugins.module_utils.definition.stored import DiskFile

SCSI_CONTROLLER = "maqet-scsi"
SATA_CONTROLLER = "maqet-sata"
USB_CONTROLLER = "maqet-usb-disks"
#: Interfaces whose disks are PCI devices themselves.
ON_PCI = ("virtio", "nvme")
# cache.direct, cache.no-flush and the device's write-cache of each word (QEMU manual, "-drive cache=").
_CACHES = {
    "writeback": (False, False, True),
    "none": (True, False, True),
    "writethrough": (False, False, False),
    "directsync": (True, False, False),
    "unsafe": (False, True, True),
}


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
    """The block node of a disk, for QMP commands; its file is the same with ``-file``, its filter with ``-rate``."""
    return f"disk-{disk}"


def rate_name(disk: str) -> str:
    """The filter above it, of a disk that is throttled."""
    return f"{node_name(disk)}-rate"


def throttle_name(disk: str) -> str:
    """The object with the limits of a disk that has some; its QOM path is ``/objects/`` and this."""
    return f"throttle-{disk}"


def disk_arguments(
    disks: t.Sequence[t.Mapping[str, t.Any]],
    files: t.Mapping[str, DiskFile],
    sources: t.Mapping[str, Source],
    ports: Ports,
) -> list[str]:
    """Arguments for all disks (with defaults filled in); the guest's firmware tries them in the order of the list.

    A disk that is not among ``sources`` is opened by the path of its file; one that has no file is an empty drive.
    ``ports``: what those on PCI sit in.
    """
    arguments = []
    for controller in disk_controllers(disks):
        arguments += ["-device", device_string(controller)]
    places: dict[str, int] = {}
    order = boot_order(disks)
    for disk in disks:
        name, interface = disk["name"], disk["interface"]
        place = places.get(interface, 0)
        places[interface] = place + 1
        source = sources.get(name) or (Source(files[name].path, files[name].driver) if name in files else None)
        for item in disk_objects(disk):
            arguments += ["-object", json_object(item)]
        for node in disk_nodes(disk, source) if source else ():
            arguments += ["-blockdev", json_object(node)]
        port = ports.next() if interface in ON_PCI else {}
        device = disk_device(disk, place, order[name], empty=source is None)
        arguments += ["-device", device_string({**device, **port})]
    return arguments


def boot_order(disks: t.Sequence[t.Mapping[str, t.Any]]) -> dict[str, int]:
    """QEMU's ``bootindex`` by name: what the user gave, then the others in their order.

    They start at 1, since a kernel from the host has 0.
    """
    given = {disk["name"]: disk["bootindex"] for disk in disks if "bootindex" in disk}
    start = max([0, *given.values()]) + 1
    others = (disk["name"] for disk in disks if "bootindex" not in disk)
    return {**given, **{name: start + index for index, name in enumerate(others)}}


def disk_controllers(disks: t.Iterable[t.Mapping[str, t.Any]]) -> list[dict[str, t.Any]]:
    """virtio and NVMe disks are their own controller, and the machines that have IDE bring it along.

    SATA gets its own controller on every machine, q35 too, so that a disk's place depends on nothing else.
    """
    interfaces = {disk["interface"] for disk in disks}
    controllers = [
        ("scsi", "virtio-scsi-pci", SCSI_CONTROLLER),
        ("sata", "ich9-ahci", SATA_CONTROLLER),
        ("usb", "qemu-xhci", USB_CONTROLLER),
    ]
    return [{"driver": driver, "id": name} for interface, driver, name in controllers if interface in interfaces]


def disk_objects(disk: t.Mapping[str, t.Any]) -> list[dict[str, t.Any]]:
    """What the nodes of a disk need: its throttle group (QEMU QMP reference, ThrottleGroupProperties)."""
    if "throttle" not in disk:
        return []
    name = throttle_name(disk["name"])
    return [{"qom-type": "throttle-group", "id": name, "limits": throttle_limits(disk["throttle"])}]


def throttle_limits(throttle: t.Mapping[str, int]) -> dict[str, int]:
    """QEMU's ThrottleLimits. ``qom-set`` keeps those that are not in it: see ``disk_tuning.all_limits``."""
    return {_limit(key): value for key, value in throttle.items()}


def _limit(key: str) -> str:
    unit, _line, rest = key.partition("_")
    if rest.partition("_")[0] not in ("read", "write", "size"):
        rest = f"total_{rest}".rstrip("_")
    return f"{unit}-{rest}".replace("_", "-")


def disk_nodes(disk: t.Mapping[str, t.Any], source: Source) -> list[dict[str, t.Any]]:
    """The nodes of a disk, lowest first; the last one is what its device reads and writes, see :func:`top_node`."""
    node = node_name(disk["name"])
    readonly = disk["readonly"]
    shared: dict[str, t.Any] = {}
    if "cache" in disk:
        direct, no_flush, _write_cache = _CACHES[disk["cache"]]
        shared["cache"] = {"direct": direct, "no-flush": no_flush}
    if "discard" in disk:
        shared["discard"] = disk["discard"]
    file_node = {**source.file_node(readonly, f"{node}-file"), **shared}
    if "aio" in disk:
        file_node["aio"] = disk["aio"]
    format_node = {"driver": source.driver, "node-name": node, "file": f"{node}-file", "read-only": readonly, **shared}
    if "detect_zeroes" in disk:
        format_node["detect-zeroes"] = disk["detect_zeroes"]
    if source.backing:
        format_node["backing"] = _below(source.backing)
    nodes = [file_node, format_node]
    if "throttle" in disk:
        group = throttle_name(disk["name"])
        nodes.append({"driver": "throttle", "node-name": top_node(disk), "throttle-group": group, "file": node})
        nodes[-1].update({**shared, "read-only": readonly})
    return nodes


def top_node(disk: t.Mapping[str, t.Any]) -> str:
    """The node that the device of a disk is given."""
    return rate_name(disk["name"]) if "throttle" in disk else node_name(disk["name"])


def _below(chain: t.Sequence[Source]) -> dict[str, t.Any]:
    """The images below a disk's, one in the other, without names that anybody would use."""
    first, rest = chain[0], chain[1:]
    node: dict[str, t.Any] = {"driver": first.driver, "read-only": True, "file": first.file_node(True)}
    if first.driver != "raw":
        node["backing"] = _below(rest) if rest else None
    return node


def disk_device(
    disk: t.Mapping[str, t.Any], place: t.Optional[int], boot_index: t.Optional[int], empty: bool = False
) -> dict[str, t.Any]:
    """The device of a disk, as ``device_add`` takes it.

    ``place`` counts the disks of an interface; None of one that is plugged in, where the bus takes any.
    ``empty`` is a drive without a medium; a ``boot_index`` of None is a disk that the firmware does not try.
    """
    cdrom = disk["type"] == "cdrom"
    places: dict[str, dict[str, t.Any]] = {}
    if place is not None:
        places = {
            "scsi": {"scsi-id": place},
            "sata": {"bus": f"{SATA_CONTROLLER}.{place}"},
            "ide": {"bus": f"ide.{place // 2}", "unit": place % 2},
        }
    buses: dict[str, tuple[str, dict[str, t.Any]]] = {
        "virtio": ("virtio-blk-pci", {}),
        "nvme": ("nvme", {}),
        "usb": ("usb-storage", {"bus": f"{USB_CONTROLLER}.0"}),
        "scsi": ("scsi-cd" if cdrom else "scsi-hd", {"bus": f"{SCSI_CONTROLLER}.0"}),
        "sata": ("ide-cd" if cdrom else "ide-hd", {}),
        "ide": ("ide-cd" if cdrom else "ide-hd", {}),
    }
    driver, bus = buses[disk["interface"]]
    device = {"driver": driver, "id": disk["name"], **bus, **places.get(disk["interface"], {})}
    if not empty:
        device["drive"] = top_node(disk)
    device["serial"] = disk.get("serial", disk["name"])
    if boot_index is not None:
        device["bootindex"] = boot_index
    if "cache" in disk and not cdrom:
        device["write-cache"] = "on" if _CACHES[disk["cache"]][2] else "off"
    return device


def device_string(device: t.Mapping[str, t.Any]) -> str:
    """A device of ``device_add`` for the command line."""
    return option_string(device["driver"], ((key, value) for key, value in device.items() if key != "driver"))
