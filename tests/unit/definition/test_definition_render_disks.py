# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every option of a disk, as nodes and a device; tests/integration/local/test_disks.py has QEMU take each of them."""

from __future__ import annotations

import json
import typing as t

import pytest
from ansible_collections.maqet.qemu.plugins.module_utils.definition.defaults import effective
from ansible_collections.maqet.qemu.plugins.module_utils.definition.disk_tuning import THROTTLES
from ansible_collections.maqet.qemu.plugins.module_utils.definition.intent import normalise
from ansible_collections.maqet.qemu.plugins.module_utils.definition.render_disks import (
    Source,
    boot_order,
    disk_arguments,
    disk_controllers,
    disk_device,
    disk_nodes,
    disk_objects,
    node_name,
    throttle_limits,
    throttle_name,
    top_node,
)
from ansible_collections.maqet.qemu.plugins.module_utils.definition.render_ports import Ports
from ansible_collections.maqet.qemu.plugins.module_utils.definition.stored import DiskFile

Disk = dict[str, t.Any]
FILE: Disk = {"driver": "file", "node-name": "disk-a-file", "filename": "/v/a", "read-only": False}
FORMAT: Disk = {"driver": "qcow2", "node-name": "disk-a", "file": "disk-a-file", "read-only": False}
DEVICE: Disk = {"driver": "virtio-blk-pci", "id": "a", "drive": "disk-a", "serial": "a", "bootindex": 1}


def disks_of(*given: Disk) -> list[Disk]:
    return list(effective(normalise({"disks": list(given)}), "x86_64")["disks"])


def one(**given: t.Any) -> Disk:
    return disks_of({"name": "a", **({} if given.get("type") == "cdrom" else {"size": "1G"}), **given})[0]


def cached(direct: bool, no_flush: bool) -> Disk:
    return {"cache": {"direct": direct, "no-flush": no_flush}}


@pytest.mark.parametrize(
    ("given", "file", "above", "device"),
    [
        ({}, {}, {}, {}),
        ({"cache": "writeback"}, cached(False, False), cached(False, False), {"write-cache": "on"}),
        ({"cache": "none"}, cached(True, False), cached(True, False), {"write-cache": "on"}),
        ({"cache": "writethrough"}, cached(False, False), cached(False, False), {"write-cache": "off"}),
        ({"cache": "directsync"}, cached(True, False), cached(True, False), {"write-cache": "off"}),
        ({"cache": "unsafe"}, cached(False, True), cached(False, True), {"write-cache": "on"}),
        ({"aio": "threads"}, {"aio": "threads"}, {}, {}),
        ({"aio": "io_uring"}, {"aio": "io_uring"}, {}, {}),
        (
            {"aio": "native", "cache": "none"},
            {"aio": "native", **cached(True, False)},
            cached(True, False),
            {"write-cache": "on"},
        ),
        ({"discard": "unmap"}, {"discard": "unmap"}, {"discard": "unmap"}, {}),
        ({"discard": "ignore"}, {"discard": "ignore"}, {"discard": "ignore"}, {}),
        ({"detect_zeroes": "off"}, {}, {"detect-zeroes": "off"}, {}),
        ({"detect_zeroes": "on"}, {}, {"detect-zeroes": "on"}, {}),
        (
            {"detect_zeroes": "unmap", "discard": "unmap"},
            {"discard": "unmap"},
            {"detect-zeroes": "unmap", "discard": "unmap"},
            {},
        ),
        ({"readonly": True}, {"read-only": True}, {"read-only": True}, {}),
        ({"serial": "S-1"}, {}, {}, {"serial": "S-1"}),
        ({"bootindex": 7}, {}, {}, {"bootindex": 7}),
        ({"interface": "nvme"}, {}, {}, {"driver": "nvme"}),
        ({"interface": "usb"}, {}, {}, {"driver": "usb-storage", "bus": "maqet-usb-disks.0"}),
        ({"interface": "scsi"}, {}, {}, {"driver": "scsi-hd", "bus": "maqet-scsi.0", "scsi-id": 2}),
        ({"interface": "sata"}, {}, {}, {"driver": "ide-hd", "bus": "maqet-sata.2"}),
        ({"interface": "ide"}, {}, {}, {"driver": "ide-hd", "bus": "ide.1", "unit": 0}),
        ({"preallocation": "full"}, {}, {}, {}),
    ],
    ids=str,
)
def test_every_option(given: Disk, file: Disk, above: Disk, device: Disk) -> None:
    disk = one(**given)
    assert disk_nodes(disk, Source("/v/a", "qcow2")) == [{**FILE, **file}, {**FORMAT, **above}]
    assert disk_device(disk, 2, boot_order([disk])["a"]) == {**DEVICE, **device}
    assert disk_objects(disk) == []


def test_how_a_clone_was_made_is_no_part_of_it() -> None:
    made = {"clone": "/i/x", "clone_format": "vmdk", "checksum": f"sha256:{'0' * 64}", "preallocation": "full"}
    assert disks_of({"name": "a", "size": "1G", **made}) == [one()]


THROTTLED: Disk = {"iops": 100, "bps_read": "1M", "bps_read_max": "2M", "bps_read_max_length": 4}


@pytest.mark.parametrize("more", [{}, {"discard": "unmap", "cache": "none"}, {"readonly": True}], ids=str)
def test_a_throttled_disk_has_a_filter_above_its_format(more: Disk) -> None:
    disk, plain = one(throttle=THROTTLED, **more), one(**more)
    limits = {"iops-total": 100, "bps-read": 1 << 20, "bps-read-max": 2 << 20, "bps-read-max-length": 4}
    assert disk_objects(disk) == [{"qom-type": "throttle-group", "id": "throttle-a", "limits": limits}]
    nodes = disk_nodes(disk, Source("/v/a", "qcow2"))
    assert nodes[:2] == disk_nodes(plain, Source("/v/a", "qcow2"))
    passed = {key: nodes[0][key] for key in ("cache", "discard", "read-only") if key in nodes[0]}
    assert nodes[2] == {
        "driver": "throttle",
        "node-name": "disk-a-rate",
        "throttle-group": "throttle-a",
        "file": "disk-a",
        **passed,
    }
    assert disk_device(disk, 0, 1)["drive"] == nodes[-1]["node-name"] == top_node(disk)


def test_every_limit_has_qemus_name() -> None:
    names = throttle_limits(dict.fromkeys(THROTTLES, 1))
    base = [f"{unit}-{which}" for unit in ("iops", "bps") for which in ("total", "read", "write")]
    assert set(names) == {*(f"{name}{more}" for name in base for more in ("", "-max", "-max-length")), "iops-size"}
    assert len(names) == len(THROTTLES)


@pytest.mark.parametrize(
    ("interface", "device"),
    [
        (None, {"driver": "ide-cd", "id": "a", "bus": "maqet-sata.1"}),
        ("sata", {"driver": "ide-cd", "id": "a", "bus": "maqet-sata.1"}),
        ("scsi", {"driver": "scsi-cd", "id": "a", "bus": "maqet-scsi.0", "scsi-id": 1}),
        ("ide", {"driver": "ide-cd", "id": "a", "bus": "ide.0", "unit": 1}),
    ],
)
def test_a_cdrom(interface: t.Optional[str], device: Disk) -> None:
    given = {"type": "cdrom", **({"interface": interface} if interface else {})}
    full, empty = one(**given, path="/i/a.iso", cache="none"), one(**given)
    assert disk_device(full, 1, 3) == {**device, "drive": "disk-a", "serial": "a", "bootindex": 3}
    assert disk_device(empty, 1, 3, empty=True) == {**device, "serial": "a", "bootindex": 3}
    nodes = disk_nodes(full, Source("/i/a.iso", "raw"))
    assert [node["read-only"] for node in nodes] == [True, True] and nodes[1]["driver"] == "raw"


def test_an_empty_drive_has_no_nodes() -> None:
    line = disk_arguments(
        disks_of({"name": "a", "type": "cdrom"}, {"name": "b", "size": "1M"}), FILES, {}, Ports("microvm")
    )
    assert line.count("-blockdev") == 2
    assert line[:4] == [
        *("-device", "ich9-ahci,id=maqet-sata"),
        *("-device", "ide-cd,id=a,bus=maqet-sata.0,serial=a,bootindex=1"),
    ]


FILES = {"b": DiskFile("/v/b", "qcow2")}


def test_the_command_line_says_what_qmp_would_be_told() -> None:
    disk = {**one(throttle=THROTTLED, cache="none", interface="usb"), "name": "b"}
    line = disk_arguments([disk], FILES, {}, Ports("microvm"))
    assert [json.loads(line[at + 1]) for at, word in enumerate(line) if word in ("-object", "-blockdev")] == [
        *disk_objects(disk),
        *disk_nodes(disk, Source("/v/b", "qcow2")),
    ]
    assert line[:2] == ["-device", "qemu-xhci,id=maqet-usb-disks"]
    expected = "usb-storage,id=b,bus=maqet-usb-disks.0,drive=disk-b-rate,serial=b,bootindex=1,write-cache=on"
    assert line[-1] == expected


@pytest.mark.parametrize(
    ("given", "order"),
    [
        ([None, None, None], [1, 2, 3]),
        ([None, 1, None], [2, 1, 3]),
        ([5, None, 0], [5, 6, 0]),
        ([0], [0]),
    ],
)
def test_the_order_of_booting(given: list[t.Optional[int]], order: list[int]) -> None:
    disks = disks_of(*({"size": "1M", **({"bootindex": one} if one is not None else {})} for one in given))
    assert [boot_order(disks)[disk["name"]] for disk in disks] == order


def test_controllers_are_there_once_and_only_if_used() -> None:
    kinds = [{"size": "1M", "interface": kind} for kind in ("usb", "scsi", "usb", "virtio", "nvme")]
    assert disk_controllers(disks_of(*kinds)) == [
        {"driver": "virtio-scsi-pci", "id": "maqet-scsi"},
        {"driver": "qemu-xhci", "id": "maqet-usb-disks"},
    ]


def test_names_fit_into_what_qemu_stores() -> None:
    disk = {**one(throttle=THROTTLED), "name": "a" * 20}
    names = [node["node-name"] for node in disk_nodes(disk, Source("/v/a", "raw"))]
    assert names == [f"{node_name('a' * 20)}-file", node_name("a" * 20), top_node(disk)]
    assert max(map(len, [*names, throttle_name("a" * 20)])) <= 31
