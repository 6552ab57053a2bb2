# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Devices on the command line that are there only if asked for: of the collection, of the host, of the user."""

from __future__ import annotations

import typing as t

from ansible_collections.maqet.qemu.plugins.module_utils.definition.render_ports import Ports, sits_in_port
from ansible_collections.maqet.qemu.plugins.module_utils.definition.spelling import option_string

RNG = "maqet-rng"
BALLOON = "maqet-balloon"
WATCHDOG = "maqet-watchdog"
USB = "maqet-usb"
WATCHDOG_DEFAULTS = {"model": "i6300esb", "action": "reset"}


def added_arguments(
    wanted: t.Mapping[str, t.Any], nodes: t.Mapping[int, str], has_controller: bool, ports: Ports
) -> list[str]:
    """All of them. ``nodes``: by place in ``host_devices``, what QEMU calls the node of a USB device, which is open."""
    return [
        *rng_arguments(wanted),
        *balloon_arguments(wanted),
        *watchdog_arguments(wanted),
        *host_arguments(wanted, nodes, has_controller),
        *device_arguments(wanted, ports),
    ]


def rng_arguments(wanted: t.Mapping[str, t.Any]) -> list[str]:
    """Random numbers from QEMU's own generator, which asks the host's kernel (getrandom): no file to open."""
    if not wanted["rng"]:
        return []
    source = f"{RNG}-source"
    device = option_string("virtio-rng-pci", [("id", RNG), ("rng", source)])
    return ["-object", option_string("rng-builtin", [("id", source)]), "-device", device]


def balloon_arguments(wanted: t.Mapping[str, t.Any]) -> list[str]:
    """The device through which the guest gives memory back, on demand and as it frees it.

    Not the second with huge pages: what a guest reports free is mostly smaller than one of them.
    """
    if not wanted["balloon"]:
        return []
    properties = [("id", BALLOON), ("deflate-on-oom", True), ("free-page-reporting", not wanted["hugepages"])]
    return ["-device", option_string("virtio-balloon-pci", properties)]


def watchdog_arguments(wanted: t.Mapping[str, t.Any]) -> list[str]:
    """The device, and what QEMU does when the guest no longer feeds it."""
    given = {**WATCHDOG_DEFAULTS, **wanted["watchdog"]}
    if not wanted["watchdog"]:
        return []
    device = ["-device", option_string(given["model"], [("id", WATCHDOG)])]
    return [*device, "-action", option_string("", [("watchdog", given["action"])])]


def _has_usb(wanted: t.Mapping[str, t.Any]) -> bool:
    """Whether the guest needs a USB controller for them."""
    return any("usb" in device for device in wanted["host_devices"])


def host_arguments(wanted: t.Mapping[str, t.Any], nodes: t.Mapping[int, str], has_controller: bool) -> list[str]:
    """``nodes``: by place in the list, the name of a USB device's node for QEMU, which the runner opened."""
    result = []
    if _has_usb(wanted) and not has_controller:
        result += ["-device", option_string("qemu-xhci", [("id", USB)])]
    for index, device in enumerate(wanted["host_devices"]):
        ours = ("id", f"maqet-host{index}")
        if "usb" in device:
            properties = [ours, ("bus", f"{USB}.0"), ("hostdevice", nodes[index])]
            result += ["-device", option_string("usb-host", properties)]
        else:
            result += ["-device", option_string("vfio-pci", [ours, ("host", device["pci"])])]
    return result


def device_id(device: t.Mapping[str, t.Any], index: int) -> str:
    """The id of a device, which is ``deviceN`` by its place in the list if it was given none."""
    return str(device.get("id", f"device{index}"))


def device_properties(device: t.Mapping[str, t.Any], index: int) -> dict[str, t.Any]:
    """Its ``driver`` and properties: for ``-device`` and ``device_add`` alike."""
    return {"driver": device["driver"], "id": device_id(device, index), **device.get("properties", {})}


def device_arguments(wanted: t.Mapping[str, t.Any], ports: Ports) -> list[str]:
    """In the order of the list: a device can stand on one before it."""
    result = []
    for index, device in enumerate(wanted["devices"]):
        properties = {**device_properties(device, index), **(ports.next() if sits_in_port(device) else {})}
        result += ["-device", option_string(properties.pop("driver"), properties.items())]
    return result
