# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ports of PCI Express: a device that shall come or go while its guest runs sits in one of its own.

Devices right on the root complex of q35 and virt cannot be plugged (QEMU: docs/pcie.txt, "PCI Express hierarchy"). The
i440FX board needs no ports, its bus takes devices as it is.
"""

from __future__ import annotations

import re
import typing as t

from ansible_collections.maqet.qemu.plugins.module_utils.definition.spelling import option_string

#: Prefix of the ports' ids, numbered from 0.
PORT = "maqet-port"
#: The first ports are for network cards, each for the one of its number, whether it is there or not. So a card's place,
#: and with it the name that many guests give it, depends on no other device.
CARDS = 8
#: Ports that stay free at the start, for what comes later.
SPARE = 8
# A port is one of eight functions of a slot; slots from 16 to 27 are far from what QEMU hands out itself, and from the
# chipset's own.
_FIRST_SLOT, _LAST_SLOT, _FUNCTIONS = 16, 27, 8
# Counted down, for ports in extra_args are counted up from 1.
_LAST_CHASSIS = 255
MOST = (_LAST_SLOT - _FIRST_SLOT + 1) * _FUNCTIONS

_WITH_PORTS = re.compile(r"q35|pc-q35-.*|virt|virt-[0-9].*")
_PLAIN_BUS = re.compile(r"pc|pc-i440fx-.*")


def takes_plugs(machine: str) -> bool:
    """Whether PCI devices can be plugged into this machine while it runs."""
    return bool(_WITH_PORTS.fullmatch(machine) or _PLAIN_BUS.fullmatch(machine))


def has_ports(machine: str) -> bool:
    """Whether they need a port for that."""
    return bool(_WITH_PORTS.fullmatch(machine))


def sits_in_port(device: t.Mapping[str, t.Any]) -> bool:
    """Whether one of the user's own devices is put into a port: a PCI device by its name, with no place of its own."""
    given = device.get("properties", {})
    return device["driver"].endswith("-pci") and "bus" not in given and "addr" not in given


class Ports:
    """Hands out the ports of one machine: those of cards by their number, the others in their order."""

    def __init__(self, machine: str) -> None:
        self._has = has_ports(machine)
        self._used = CARDS

    def next(self) -> dict[str, str]:
        """The property that puts a device into the next free port; none where the bus takes it, or all are taken."""
        if not self._has or self._used == MOST:
            return {}
        self._used += 1
        return {"bus": f"{PORT}{self._used - 1}"}

    def card(self, index: int) -> dict[str, str]:
        """The same for a network card."""
        if index >= CARDS:
            return self.next()
        return {"bus": f"{PORT}{index}"} if self._has else {}

    def arguments(self) -> list[str]:
        """All of them, and some to spare. No window for I/O ports: there are not enough for all."""
        arguments = []
        for number in range(min(self._used + SPARE, MOST) if self._has else 0):
            slot, function = divmod(number, _FUNCTIONS)
            place = f"{_FIRST_SLOT + slot:x}.{function}"
            properties: list[tuple[str, t.Any]] = [("id", f"{PORT}{number}"), ("bus", "pcie.0"), ("addr", place)]
            properties += [("chassis", _LAST_CHASSIS - number), ("io-reserve", 0), ("multifunction", True)]
            arguments += ["-device", option_string("pcie-root-port", properties)]
        return arguments
