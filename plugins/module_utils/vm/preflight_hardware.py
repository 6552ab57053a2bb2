# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The part of preflight that is about devices: those that this QEMU knows, and those that this host has."""

from __future__ import annotations

import difflib
import typing as t

from ansible_collections.maqet.qemu.plugins.module_utils.definition.memory import spelled
from ansible_collections.maqet.qemu.plugins.module_utils.definition.render_console import video_device
from ansible_collections.maqet.qemu.plugins.module_utils.errors import invalid_option
from ansible_collections.maqet.qemu.plugins.module_utils.host import hardware, qemu_devices

# What -device takes for every driver and QEMU lists for none: the bus on which a device sits (system/qdev-monitor.c).
_OF_ALL = {"bus": "str"}


def known(option: str, value: str, choices: t.Collection[str], command: str) -> None:
    """Refuse a word that QEMU does not list, with those that look like it."""
    if value in choices:
        return
    close = difflib.get_close_matches(value, sorted(choices), 3)
    remedy = f"Did you mean {' or '.join(close)}? " if close else ""
    raise invalid_option(option, value, "is not known to the QEMU of this host", f"{remedy}See '{command}'")


def check_devices(wanted: t.Mapping[str, t.Any], binary: str) -> None:
    """Drivers and properties of ``devices``, and the graphics card, against this QEMU's own lists."""
    devices = wanted["devices"]
    if not devices and not wanted["video"]:
        return
    drivers = qemu_devices.drivers(binary)
    if wanted["video"] and video_device(wanted) not in drivers:
        card = video_device(wanted)
        raise invalid_option("video", wanted["video"], f"needs QEMU's {card}, which this host lacks", "Choose another")
    listed: dict[str, dict[str, str]] = {}
    for index, device in enumerate(devices):
        driver, option = device["driver"], f"devices[{index}]"
        known(f"{option}.driver", driver, drivers, f"{binary} -device help")
        given = device.get("properties", {})
        if given and driver not in listed:
            listed[driver] = {**_OF_ALL, **qemu_devices.properties(binary, driver)}
        for name, value in given.items():
            path = f"{option}.properties.{name}"
            if name not in listed[driver]:
                _no_property(path, name, value, listed[driver], f"{binary} -device {driver},help")
            _check_type(path, value, listed[driver][name])


def _no_property(path: str, name: str, value: t.Any, names: t.Collection[str], command: str) -> t.NoReturn:
    close = difflib.get_close_matches(name, sorted(names), 3)
    remedy = f"Did you mean {' or '.join(close)}? " if close else ""
    raise invalid_option(
        path, value, "is given to a property that the driver does not have", f"{remedy}See '{command}'"
    )


def _check_type(path: str, value: t.Any, kind: str) -> None:
    """The two mistakes that YAML makes easy: a word that became a boolean, and one that should have been one."""
    if isinstance(value, bool) and kind not in ("bool", "OnOffAuto", "OnOffSplit"):
        raise invalid_option(
            path, value, f"is a boolean, and QEMU wants {kind}", "Give that, in quotes if it is a word"
        )
    if kind == "bool" and not isinstance(value, bool) and value not in ("on", "off"):
        raise invalid_option(path, value, "is not a boolean, which QEMU wants", "Write true or false")


def check_start(wanted: t.Mapping[str, t.Any], replaced: t.Sequence[t.Mapping[str, t.Any]], root: str = "/") -> None:
    """What a start takes of the host. ``replaced``: the QEMUs that end first, whose pages come back."""
    for index, device in enumerate(wanted["host_devices"]):
        if "usb" in device:
            hardware.usb_node(f"host_devices[{index}].usb", device["usb"], root)
        else:
            hardware.vfio_node(f"host_devices[{index}].pci", device["pci"], root)
    if wanted["hugepages"]:
        _check_pages(wanted, replaced, root)


def _check_pages(wanted: t.Mapping[str, t.Any], replaced: t.Sequence[t.Mapping[str, t.Any]], root: str) -> None:
    kib, memory = wanted["hugepages"], wanted["memory"]
    sizes = hardware.huge_page_sizes(root)
    if kib not in sizes:
        has = f"Choose one of: {', '.join(map(spelled, sizes))}" if sizes else "This host has none at all"
        raise invalid_option("hugepages", spelled(kib), "is no size of huge pages that this host has", has)
    needed = memory * 1024 // kib
    left = hardware.huge_pages_left(kib, root)
    left += sum(other["memory"] * 1024 // kib for other in replaced if other["hugepages"] == kib)
    if left < needed:
        file = f"/sys/kernel/mm/hugepages/hugepages-{kib}kB/nr_hugepages"
        raise invalid_option(
            "hugepages",
            spelled(kib),
            f"needs {needed} pages for {memory}M of memory, and {max(left, 0)} are free",
            f"Raise {file} by {needed - left}, or give the guest less memory",
        )
