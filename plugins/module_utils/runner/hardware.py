# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Devices of the host for a QEMU that may not open them itself, or not without help."""

from __future__ import annotations

import contextlib
import os
import resource
import typing as t

from ansible_collections.maqet.qemu.plugins.module_utils.host import hardware
from ansible_collections.maqet.qemu.plugins.module_utils.runner.opened import Opened

# What VFIO locks beside the guest's memory, in bytes: windows of devices. As much as libvirt allows for.
_BESIDE = 1 << 30


def usb_nodes(devices: t.Sequence[t.Mapping[str, t.Any]], opened: Opened) -> dict[int, str]:
    """QEMU's names for the nodes of USB devices, by their place in the list."""
    nodes = {}
    for index, device in enumerate(devices):
        if "usb" in device:
            option = f"host_devices[{index}].usb"
            nodes[index] = opened.node(option, hardware.usb_node(option, device["usb"]))
    return nodes


@contextlib.contextmanager
def given(wanted: t.Mapping[str, t.Any], uid: t.Optional[int]) -> t.Iterator[None]:
    """While QEMU is started: the groups of its PCI devices are its user's, and it may lock the guest's memory.

    VFIO has the whole memory locked, as devices write to it past the processor's page tables. QEMU opens the group by
    its number, so that there is no descriptor to pass. The node stays its user's, who has nothing else.
    """
    devices = [(index, device["pci"]) for index, device in enumerate(wanted["host_devices"]) if "pci" in device]
    if not devices:
        yield
        return
    for index, address in devices:
        node = hardware.vfio_node(f"host_devices[{index}].pci", address)
        if uid is not None:
            os.chown(node, uid, -1)
    before = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    needed = (wanted["memory"] << 20) + _BESIDE
    if uid is None or before[0] == resource.RLIM_INFINITY or before[0] >= needed:
        yield
        return
    most = before[1] if before[1] == resource.RLIM_INFINITY else max(before[1], needed)
    resource.setrlimit(resource.RLIMIT_MEMLOCK, (needed, most))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_MEMLOCK, before)
