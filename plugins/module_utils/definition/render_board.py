# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The board on the command line: processors, memory, identity, clock, and what the firmware boots."""

from __future__ import annotations

import math
import re
import typing as t

from ansible_collections.maqet.qemu.plugins.module_utils.definition import defaults
from ansible_collections.maqet.qemu.plugins.module_utils.definition.spelling import on_off, option_string

MEMORY = "maqet-memory"
# From the outside in, as -smp has them.
LEVELS = ("sockets", "dies", "cores", "threads")
# Of the system itself, SMBIOS structure type 1. Its uuid is the VM's.
SMBIOS_FIELDS = ("manufacturer", "product", "version", "serial", "sku", "family")
OEM_STRINGS = "oem_strings"
# All cards, in their order.
NETWORKS = "networks"

_CARD = re.compile(r"nic([0-9]{1,3})")


def processors(wanted: t.Mapping[str, t.Any], accel: str) -> tuple[str, str]:
    """The values of -cpu and -smp. Neither has any quoting: QEMU splits the first by itself, numbers need none."""
    words = [wanted["cpu_model"] or defaults.CPU_MODELS[accel]]
    words += _cheaper(wanted, accel)
    words += [f"{name}={on_off(value)}" for name, value in wanted["cpu_features"].items()]
    smp = [f"cpus={wanted['cpus']}"]
    highest = wanted["cpus_max"] or wanted["cpus"]
    if wanted["cpus_max"]:
        smp.append(f"maxcpus={highest}")
    arranged = wanted["cpu_topology"]
    if arranged:  # every level said, so that no version of QEMU has to guess
        sockets = highest // math.prod(arranged.get(level, 1) for level in LEVELS[1:])
        whole = {"sockets": sockets, **dict.fromkeys(("cores", "threads"), 1), **arranged}
        smp += [f"{level}={whole[level]}" for level in LEVELS if level in whole]
    return ",".join(words), ",".join(smp)


def _cheaper(wanted: t.Mapping[str, t.Any], accel: str) -> list[str]:
    """Pointers signed by QEMU's own algorithm: with the architecture's, a guest boots three times as long.

    What QEMU's manual recommends ("Arm CPU Features", TCG VCPU Features), and since 10.0 its default. Not where the
    user has named a model, or has a word for it.
    """
    if accel != "tcg" or wanted["arch"] != "aarch64" or wanted["cpu_model"]:
        return []
    return [] if any(name.startswith("pauth") for name in wanted["cpu_features"]) else ["pauth-impdef=on"]


def backend(wanted: t.Mapping[str, t.Any], shared: bool = False) -> list[str]:
    """The object that is the guest's memory; nothing where QEMU's own way will do.

    ``shared``: with other processes, which is what vhost-user needs.
    From a memfd, so that no file system has to be mounted. QEMU reserves its pages when it starts: one that there are
    too few of ends it then, and never in the middle of the guest's work.
    """
    if not wanted["hugepages"] and not shared:
        return []
    properties: list[tuple[str, t.Any]] = [("id", MEMORY), ("size", f"{wanted['memory']}M"), ("share", shared)]
    if wanted["hugepages"]:
        properties += [("hugetlb", True), ("hugetlbsize", f"{wanted['hugepages']}K")]
    return ["-object", option_string("memory-backend-memfd", properties)]


def clock_arguments(wanted: t.Mapping[str, t.Any]) -> list[str]:
    """The clock that the guest's firmware and kernel read when they start."""
    given = wanted["clock"]
    names = (("base", "base"), ("source", "clock"), ("driftfix", "driftfix"))
    properties = [(theirs, given[ours]) for ours, theirs in names if ours in given]
    return ["-rtc", option_string("", properties)] if properties else []


def smbios_arguments(wanted: t.Mapping[str, t.Any]) -> list[str]:
    """Type 1 is the system, type 11 are strings that mean something to whoever looks for them."""
    given = wanted["smbios"]
    system = [(key, given[key]) for key in SMBIOS_FIELDS if key in given]
    arguments = ["-smbios", option_string("", [("type", 1), *system])] if system else []
    strings = [("value", text) for text in given.get(OEM_STRINGS, ())]
    return arguments + (["-smbios", option_string("", [("type", 11), *strings])] if strings else [])


def apply_order(wanted: dict[str, t.Any]) -> None:
    """Give the disks and cards of an intent with defaults the ``bootindex`` that the order means, from 1 on.

    A kernel from the host has 0. Disks that are not named follow, as they are listed.
    """
    order = wanted["boot"].get("order")
    if not order:
        return
    disks, cards = wanted["disks"], wanted["networks"]
    named = [device for name in order for device in booted(name, disks, cards)]
    named += [disk["name"] for disk in disks if disk["name"] not in named]
    places = {device: index for index, device in enumerate(named, 1)}
    for device, item in [(disk["name"], disk) for disk in disks] + [(f"nic{n}", card) for n, card in enumerate(cards)]:
        if device in places:
            item["bootindex"] = places[device]


def boot_arguments(wanted: t.Mapping[str, t.Any]) -> list[str]:
    """The firmware's menu."""
    return ["-boot", option_string("", [("menu", wanted["boot"]["menu"])])] if "menu" in wanted["boot"] else []


def booted(name: str, disks: t.Sequence[t.Mapping[str, t.Any]], cards: t.Sequence[t.Mapping[str, t.Any]]) -> list[str]:
    """The ids of the devices that a name in the order stands for."""
    if any(disk["name"] == name for disk in disks):
        return [name]
    if name == NETWORKS:
        return [f"nic{number}" for number in range(len(cards))]
    card = _CARD.fullmatch(name)
    return [f"nic{int(card.group(1))}"] if card and int(card.group(1)) < len(cards) else []
