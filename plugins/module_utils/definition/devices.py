# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Devices that no other option has: a driver of QEMU's, and its properties (QEMU manual: -device).

Whether this QEMU has the driver and its properties is asked on the host. Here it is seen that none of them
breaks a promise: they cannot take the place of the collection's own, nor reach its monitors.
"""

from __future__ import annotations

import re
import typing as t

from ansible_collections.maqet.qemu.plugins.module_utils.definition import values
from ansible_collections.maqet.qemu.plugins.module_utils.definition.extra_args import OWN_PREFIX
from ansible_collections.maqet.qemu.plugins.module_utils.definition.render_devices import device_id
from ansible_collections.maqet.qemu.plugins.module_utils.errors import invalid_option

FIELDS = ("driver", "id", "properties")

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.,-]{0,63}")
_ID = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,63}")
_PROPERTY = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.\[\]-]{0,63}")
# Drivers that another option serves better, as it opens for QEMU what QEMU's own user may not.
_BETTER = {"usb-host": "host_devices", "vfio-pci": "host_devices"}
# Properties that join a device to something which is not a device: ours have their one user already.
_JOINS = ("chardev", "drive", "netdev", "rng", "memdev", "cryptodev", "audiodev")
# Properties that are no properties here.
_ELSEWHERE = ("driver", "id")


def devices(option: str, value: t.Any) -> list[dict[str, t.Any]]:
    """Normal form of the list: ``driver``, ``id`` if given, ``properties`` if there are any, sorted."""
    items = values.list_of(option, value, "devices")
    result = [one_device(f"{option}[{index}]", item) for index, item in enumerate(items)]
    seen: list[str] = []
    for index, device in enumerate(result):
        name = device_id(device, index)
        if name in seen:
            raise invalid_option(
                f"{option}[{index}].id", name, "is the id of another device", "Give each device its own."
            )
        seen.append(name)
    return result


def one_device(option: str, value: t.Any) -> dict[str, t.Any]:
    """Normal form of one of them."""
    given = values.fields(option, value, FIELDS)
    if "driver" not in given:
        raise invalid_option(option, value, "has no driver", "Give one that QEMU's '-device help' lists.")
    remedy = "Give one that QEMU's '-device help' lists, alone; what belongs to it goes to properties."
    driver = values.matching(f"{option}.driver", given["driver"], _NAME, "is no name of a driver", remedy)
    if driver in _BETTER:
        raise invalid_option(f"{option}.driver", driver, "has an option of its own", f"Use {_BETTER[driver]}.")
    result: dict[str, t.Any] = {"driver": driver}
    if "id" in given:
        result["id"] = _id(f"{option}.id", given["id"])
    if given.get("properties"):
        result["properties"] = _properties(f"{option}.properties", given["properties"])
    return result


def _id(option: str, value: t.Any) -> str:
    remedy = "Use 1 to 64 ASCII letters, digits, '_', '.' and '-', beginning with a letter."
    name = values.matching(option, value, _ID, "is no id for a device", remedy)
    if name.startswith(OWN_PREFIX) or re.fullmatch(r"(?:nic|net)[0-9]+", name):
        raise invalid_option(option, name, "is reserved for devices that the collection adds itself", remedy)
    return name


def _properties(option: str, value: t.Any) -> dict[str, t.Any]:
    if not isinstance(value, t.Mapping):
        raise invalid_option(option, value, "is not a dictionary", "Give a dictionary of properties.")
    result: dict[str, t.Any] = {}
    for key, content in value.items():
        remedy = "Give a property that QEMU's '-device DRIVER,help' lists."
        name = values.matching(option, key, _PROPERTY, "is no name of a property", remedy)
        path = f"{option}.{name}"
        if name in _ELSEWHERE:
            raise invalid_option(path, content, "is not one of the properties", f"Give {name} beside properties.")
        result[name] = _content(path, content)
        if name in _JOINS and str(content).startswith((OWN_PREFIX, "disk-")):
            raise invalid_option(path, content, "belongs to a device of the collection", "Give one of your own.")
    return dict(sorted(result.items()))


def _content(option: str, value: t.Any) -> t.Any:
    if isinstance(value, (bool, int)):
        return value
    if isinstance(value, float):
        raise invalid_option(option, value, "is a fraction", "Put it in quotes if it is meant as a text.")
    return values.text(option, value, "Give true, false, a whole number, or a text of one line.", 4096)


def check(intent: t.Mapping[str, t.Any]) -> None:
    """No device has the id of a disk."""
    names = {disk["name"] for disk in intent.get("disks", ())}
    for index, device in enumerate(intent.get("devices", ())):
        name = device_id(device, index)
        if name in names:
            raise invalid_option(
                f"devices[{index}].id", name, "is the name of a disk, which is its id too", "Choose another id."
            )
