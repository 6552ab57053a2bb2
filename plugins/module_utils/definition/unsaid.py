# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What QEMU does by itself where a definition says nothing.

None of it is rendered. Two definitions are compared by it, so that who writes such a value down has changed nothing.
"""

from __future__ import annotations

import math
import typing as t

from ansible_collections.maqet.qemu.plugins.module_utils.definition.network_types import USER_NETWORK
from ansible_collections.maqet.qemu.plugins.module_utils.definition.networks import LOOPBACK
from ansible_collections.maqet.qemu.plugins.module_utils.definition.render_board import LEVELS
from ansible_collections.maqet.qemu.plugins.module_utils.definition.render_console import VIDEOS
from ansible_collections.maqet.qemu.plugins.module_utils.definition.render_devices import WATCHDOG_DEFAULTS

Item = t.Mapping[str, t.Any]

_BOOT = {"order": [], "menu": False}
_CLOCK = {"base": "utc", "source": "host", "driftfix": "none"}
_DISK = {"cache": "writeback", "aio": "threads", "discard": "ignore", "detect_zeroes": "off"}


def spelled_out(wanted: Item) -> dict[str, t.Any]:
    """A definition with its defaults, and with QEMU's too."""
    processors = wanted["cpus_max"] or wanted["cpus"]
    return {
        **wanted,
        "cpus_max": processors,
        "cpu_topology": _topology(wanted["cpu_topology"], processors),
        "boot": {**_BOOT, **wanted["boot"]},
        "clock": {**_CLOCK, **wanted["clock"]},
        "video": None if wanted["display"] == "none" else wanted["video"] or next(iter(VIDEOS[wanted["arch"]])),
        "vnc": {"address": LOOPBACK, **wanted["vnc"]} if "port" in wanted["vnc"] else wanted["vnc"],
        "watchdog": {**WATCHDOG_DEFAULTS, **wanted["watchdog"]} if wanted["watchdog"] else {},
        "disks": [of_disk(disk) for disk in wanted["disks"]],
        "networks": [_network(network) for network in wanted["networks"]],
    }


def of_disk(disk: Item) -> dict[str, t.Any]:
    """A disk, likewise."""
    return {**_DISK, "serial": disk["name"], **disk}


def _network(network: Item) -> dict[str, t.Any]:
    return {"network": USER_NETWORK, **network} if network["type"] == "user" else dict(network)


def _topology(arranged: Item, processors: int) -> dict[str, t.Any]:
    """An empty one is QEMU's affair, which differs by its version and by the machine."""
    if not arranged:
        return {}
    inner = {level: arranged.get(level, 1) for level in LEVELS[1:]}
    return {"sockets": arranged.get("sockets", processors // math.prod(inner.values())), **inner}
