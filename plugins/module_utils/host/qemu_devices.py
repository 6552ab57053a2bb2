# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The devices that a QEMU of this host knows, and their properties, as its own help lists them.

Not kept: each question takes QEMU some 30 ms, and only a VM with such devices asks, when it is defined or started.
"""

from __future__ import annotations

import re

from ansible_collections.maqet.qemu.plugins.module_utils.host.commands import run

_DRIVER = re.compile(r'name "([^"]+)"(?:.*, alias "([^"]+)")?')
_PROPERTY = re.compile(r"  ([A-Za-z0-9_.\[\]-]+)=<([^>]*)>?")


def parse_drivers(text: str) -> list[str]:
    """Names and their aliases, from ``-device help``."""
    found = [_DRIVER.match(line) for line in text.splitlines()]
    return [name for match in found if match for name in match.groups() if name]


def parse_properties(text: str) -> dict[str, str]:
    """Names and their types, from ``-device DRIVER,help``."""
    found = [_PROPERTY.match(line) for line in text.splitlines()]
    return {match.group(1): match.group(2) for match in found if match}


def drivers(binary: str) -> list[str]:
    """All drivers that ``-device`` takes."""
    return parse_drivers(run([binary, "-device", "help"]))


def properties(binary: str, driver: str) -> dict[str, str]:
    """The properties of a driver that :func:`drivers` lists."""
    return parse_properties(run([binary, "-device", f"{driver},help"]))
