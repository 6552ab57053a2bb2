# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Drivers and properties of device_add."""

from __future__ import annotations

import pytest
from ansible_collections.maqet.qemu.plugins.module_utils.guard.devices import denied_driver, kind_of_property


@pytest.mark.parametrize(
    "driver",
    """
    usb-mtp guest-loader loader hv-syndbg x-pci-proxy-dev vfio-pci vfio-pci-nohotplug vfio-ccw vfio-user-pci usb-host
    virtio-input-host virtio-input-host-pci virtio-input-host-device vhost-scsi vhost-scsi-pci vhost-user-fs-pci
    vhost-vsock-pci-non-transitional vhost-vdpa-device-pci ivshmem ivshmem-plain ivshmem-doorbell ccid-card-emulated
    u2f-passthru u2f-emulated pvrdma
    """.split(),
)
def test_drivers_that_reach_the_host(driver: str) -> None:
    assert denied_driver(driver)


@pytest.mark.parametrize("driver", ["", " usb-kbd", "usb-kbd\0", "usb-kbd\n", "\u0443sb-kbd", 3, None, []])
def test_what_is_no_driver(driver: object) -> None:
    assert denied_driver(driver)


@pytest.mark.parametrize(
    "driver",
    """
    virtio-blk-pci virtio-blk virtio-net-pci virtio-scsi-pci scsi-hd scsi-cd usb-kbd usb-storage usb-tablet nvme e1000e
    pc-dimm nvdimm virtio-rng-pci virtserialport virtio-input-hid-device qemu64-x86_64-cpu qemu-xhci pcie-root-port
    virtio-gpu-pci virtio-mem-pci usb-net AC97 xlnx,zynqmp
    """.split(),
)
def test_drivers_that_do_not(driver: str) -> None:
    assert not denied_driver(driver)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("romfile", "path-read"),
        ("pcap", "path-write"),
        ("rootdir", "path-rw"),
        ("socket", "path-connect"),
        ("sysfsdev", "host-device"),
        ("guest-cid", "host-device"),
        ("vhostfd", "fd"),
        ("host_ip", "net-connect"),
        ("osk", "secret"),
        ("chardev", "ref"),
        ("chardev0", "ref"),
        ("chardev12", "ref"),
        ("drive", "ref"),
        ("netdev", "ref"),
        ("share-rw", "flag"),
        ("readonly", "flag"),
        ("x-anything", "flag"),
        ("mac", "ident"),
        ("serial", "ident"),
        ("bootindex", "ident"),
        ("addr", "ident"),
        ("multifunction", "ident"),
        ("queue-size", "ident"),
        ("socket-id", "ident"),
        ("zoned.max_open", "ident"),
    ],
)
def test_kinds(name: str, kind: str) -> None:
    assert kind_of_property(name) == kind


@pytest.mark.parametrize(
    "name",
    [
        *("realized", "hotplugged", "parent_bus", "type", "virtio-backend", "legacy-addr"),  # not of the device's own
        *("Romfile", "ROMFILE", "rom-file", "romfile ", "romfile\0", "share_rw", "boot-index", "usb-kbd.pcap"),
        *("", "chardev123", "chardev-1", "no-such-property", 3, None, ("romfile",)),
    ],
)
def test_what_nobody_has_classified(name: object) -> None:
    assert kind_of_property(name) is None
