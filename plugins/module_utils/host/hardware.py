# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Hardware of this host that a guest is to have: USB and PCI devices, and huge pages, as sysfs shows them.

``root`` is where the host's file tree begins; tests have one of their own.
"""

from __future__ import annotations

import os
import typing as t

from ansible_collections.maqet.qemu.plugins.module_utils.errors import MaqetError, invalid_option

_USB = "sys/bus/usb/devices"
_PCI = "sys/bus/pci/devices"
_VFIO = "vfio-pci"
# PCI class codes begin so for bridges, which stay with the host and are no obstacle (Linux: vfio.rst, "Groups").
_BRIDGE = "0x0604"


def _read(*parts: str) -> t.Optional[str]:
    try:
        with open(os.path.join(*parts), encoding="ascii", errors="replace") as file:
            return file.read().strip()
    except OSError:
        return None


def _list(*parts: str) -> list[str]:
    try:
        return sorted(os.listdir(os.path.join(*parts)))
    except OSError:
        return []


def _link(*parts: str) -> t.Optional[str]:
    """The last part of what a link points to."""
    try:
        return os.path.basename(os.readlink(os.path.join(*parts)))
    except OSError:
        return None


# --- USB ---


def usb_node(option: str, wanted: t.Mapping[str, t.Any], root: str = "/") -> str:
    """The node of a USB device, given by vendor and product or by bus and address; ``invalid_option`` without one."""
    found = [place for place in _usb_places(root) if all(place[key] == value for key, value in wanted.items())]
    if not found:
        remedy = "See lsusb for what is there, and give it as it stands there"
        raise invalid_option(option, dict(wanted), "is no USB device of this host", remedy)
    if len(found) > 1:
        where = " and ".join(f"bus {place['bus']} addr {place['addr']}" for place in found)
        raise invalid_option(option, dict(wanted), f"is there more than once: {where}", "Give one of these")
    node = os.path.join(root, "dev/bus/usb", f"{found[0]['bus']:03d}", f"{found[0]['addr']:03d}")
    if not os.path.exists(node):
        raise invalid_option(option, dict(wanted), f"has no node {node}", "See that the host's udev runs")
    return node


def _usb_places(root: str) -> list[dict[str, t.Any]]:
    places = []
    for entry in _list(root, _USB):
        names = {"vendor": "idVendor", "product": "idProduct", "bus": "busnum", "addr": "devnum"}
        read = {key: _read(root, _USB, entry, name) for key, name in names.items()}
        if all(read.values()):  # interfaces of a device stand beside it, and have none of these
            places.append({**read, "bus": int(str(read["bus"])), "addr": int(str(read["addr"]))})
    return places


# --- PCI ---


def vfio_node(option: str, address: str, root: str = "/") -> str:
    """The node of the IOMMU group of a PCI device that can be passed on; else ``invalid_option`` says why not."""
    if not os.path.isdir(os.path.join(root, _PCI, address)):
        raise invalid_option(option, address, "is no PCI device of this host", "See 'lspci -D' for what is there")
    group = _link(root, _PCI, address, "iommu_group")
    if group is None:
        raise invalid_option(
            option,
            address,
            "is in no IOMMU group: the host's IOMMU is off",
            "Switch it on in the firmware (VT-d, AMD-Vi) and, for Intel, by the kernel option intel_iommu=on",
        )
    for other in [address, *_list(root, _PCI, address, "iommu_group", "devices")]:
        driver = _link(root, _PCI, other, "driver")
        bridge = (_read(root, _PCI, other, "class") or "").startswith(_BRIDGE)
        if driver == _VFIO or (other != address and (driver is None or bridge)):
            continue
        which = "is" if other == address else f"is in IOMMU group {group} with {other}, which is"
        remedy = f"Bind {other} to {_VFIO}, such as by 'driverctl set-override {other} {_VFIO}'"
        raise invalid_option(option, address, f"{which} bound to {driver or 'no driver'}", remedy)
    node = os.path.join(root, "dev/vfio", group)
    if not os.path.exists(node):
        raise invalid_option(option, address, f"has no node {node}", "See that the module vfio-pci is loaded")
    return node


# --- huge pages ---


def huge_page_sizes(root: str = "/") -> list[int]:
    """In KiB, the smallest first."""
    names = [name.partition("hugepages-")[2] for name in _list(root, "sys/kernel/mm/hugepages")]
    return sorted(int(name[:-2]) for name in names if name.endswith("kB") and name[:-2].isdigit())


def huge_pages_left(kib: int, root: str = "/") -> int:
    """How many a new QEMU can have: free ones that nobody has reserved, and those that the kernel would still make."""
    folder = os.path.join(root, "sys/kernel/mm/hugepages", f"hugepages-{kib}kB")
    names = ("free_hugepages", "resv_hugepages", "nr_overcommit_hugepages", "surplus_hugepages")
    numbers = [_read(folder, name) for name in names]
    if None in numbers:
        raise MaqetError(f"{folder} cannot be read.", "host_error")
    free, reserved, overcommit, surplus = (int(str(number)) for number in numbers)
    return free - reserved + max(0, overcommit - surplus)
