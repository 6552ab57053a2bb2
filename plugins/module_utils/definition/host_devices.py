# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Devices of the host that a guest gets: USB and PCI (QEMU manual: usb-host; Linux: Documentation/driver-api/vfio)."""

from __future__ import annotations

import re
import typing as t

from ansible_collections.maqet.qemu.plugins.module_utils.definition import values
from ansible_collections.maqet.qemu.plugins.module_utils.errors import invalid_option

FIELDS = ("usb", "pci")
USB_FIELDS = ("vendor", "product", "bus", "addr")

_HEX4 = re.compile(r"(?:0x)?([0-9a-f]{4})", re.IGNORECASE | re.ASCII)
# Domain (left out: 0000), bus, device, function.
_PCI = re.compile(r"(?:([0-9a-f]{4}):)?([0-9a-f]{2}):([01][0-9a-f])\.([0-7])", re.IGNORECASE | re.ASCII)


def host_devices(option: str, value: t.Any) -> list[dict[str, t.Any]]:
    """Normal form of the list: each ``{usb: {vendor, product}}``, ``{usb: {bus, addr}}`` or ``{pci: ADDRESS}``."""
    result: list[dict[str, t.Any]] = []
    for index, item in enumerate(values.list_of(option, value, "devices")):
        path = f"{option}[{index}]"
        given = values.fields(path, item, FIELDS)
        if len(given) != 1:
            raise invalid_option(path, item, "is not one device", "Give either usb or pci.")
        device: dict[str, t.Any] = (
            {"usb": _usb(f"{path}.usb", given["usb"])} if "usb" in given else {"pci": _pci(f"{path}.pci", given["pci"])}
        )
        if device in result:
            raise invalid_option(path, item, "is in the list twice", "Remove one of them.")
        result.append(device)
    return result


def _usb(option: str, value: t.Any) -> dict[str, t.Any]:
    given = values.fields(option, value, USB_FIELDS)
    if set(given) == {"vendor", "product"}:
        return {key: _hex4(f"{option}.{key}", given[key]) for key in ("vendor", "product")}
    if set(given) == {"bus", "addr"}:
        return {
            "bus": values.whole_number(f"{option}.bus", given["bus"], 1, 999),
            "addr": values.whole_number(f"{option}.addr", given["addr"], 1, 127),
        }
    remedy = "Give vendor and product as lsusb shows them, such as {vendor: '0951', product: '1666'}, or bus and addr."
    raise invalid_option(option, value, "does not say which device", remedy)


def _hex4(option: str, value: t.Any) -> str:
    remedy = "Give four hexadecimal digits as lsusb shows them, in quotes, such as '0951'."
    found = _HEX4.fullmatch(values.matching(option, value, _HEX4, "is no such number", remedy))
    return t.cast("re.Match[str]", found).group(1).lower()


def _pci(option: str, value: t.Any) -> str:
    remedy = "Give it as 'lspci -D' shows it, in quotes, such as '0000:01:00.0'."
    found = _PCI.fullmatch(values.matching(option, value, _PCI, "is no address of a PCI device", remedy))
    domain, bus, device, function = t.cast("re.Match[str]", found).groups()
    return f"{domain or '0000'}:{bus}:{device}.{function}".lower()
