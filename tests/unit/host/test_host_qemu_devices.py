# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What QEMU's own help says of its devices. The texts are those of QEMU 7.2 and 10.0."""

from __future__ import annotations

import shutil

import pytest
from ansible_collections.maqet.qemu.plugins.module_utils.host import qemu_devices

DRIVERS = """Controller/Bridge/Hub devices:
name "i82801b11-bridge", bus PCI
name "pci-bridge", bus PCI, desc "Standard PCI Bridge"

Network devices:
name "e1000", bus PCI, alias "e1000-82540em", desc "Intel Gigabit Ethernet"
name "virtio-net-pci", bus PCI, alias "virtio-net"
"""
PROPERTIES = """virtio-rng-pci options:
  addr=<int32>           - Slot and optional function number, example: 06.0 or 06 (default: -1)
  any_layout=<bool>      - on/off (default: true)
  disable-legacy=<OnOffAuto> - on/off/auto (default: "auto")
  max-bytes=<uint64>     -  (default: 9223372036854775807)
  romfile=<str>
  rng=<link<rng-backend>>
  virtio-backend=<child<virtio-rng-device>>
"""


def test_drivers() -> None:
    names = ["i82801b11-bridge", "pci-bridge", "e1000", "e1000-82540em", "virtio-net-pci", "virtio-net"]
    assert qemu_devices.parse_drivers(DRIVERS) == names
    assert qemu_devices.parse_drivers("") == []


def test_properties() -> None:
    found = qemu_devices.parse_properties(PROPERTIES)
    assert list(found) == ["addr", "any_layout", "disable-legacy", "max-bytes", "romfile", "rng", "virtio-backend"]
    assert (found["addr"], found["any_layout"], found["rng"]) == ("int32", "bool", "link<rng-backend")


def test_this_hosts_own() -> None:
    binary = shutil.which("qemu-system-x86_64")
    if binary is None:
        pytest.skip("qemu-system-x86_64 is not installed")
    assert {"virtio-rng-pci", "qemu-xhci", "usb-tablet", "virtio-balloon-pci"} <= set(qemu_devices.drivers(binary))
    found = qemu_devices.properties(binary, "virtio-rng-pci")
    assert found["max-bytes"] == "uint64" and found["multifunction"] == "bool"
