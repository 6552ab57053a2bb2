# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a VM may take of its host: shares and limits for QEMU and its runner together, as systemd sets them."""

from __future__ import annotations

import re
import typing as t

from ansible_collections.maqet.qemu.plugins.module_utils.definition import defaults, values
from ansible_collections.maqet.qemu.plugins.module_utils.errors import invalid_option

#: Options that are systemd's to fulfil, at once and without QEMU.
OF_SYSTEMD = ("autostart", "cpu_quota", "cpu_weight", "io_weight", "memory_max")

# systemd.resource-control(5): weights are from 1 to 10000, and 100 is what a unit has that asks for none.
MAX_WEIGHT = 10000
# Percent of one CPU; of the 4096 that a guest can have.
MAX_QUOTA = 409600

_PERCENT = re.compile(r"([0-9]{1,9}) ?%?", re.ASCII)
# In MiB. A runner and an idle QEMU with firmware and graphics take some 90; the rest is for tables, rings and threads.
_FIXED_OVERHEAD = 128
_OVERHEAD_PER_CPU = 8
# Page tables take 8 bytes for each page of 4 KiB.
_MEMORY_PER_OVERHEAD = 512


def cpu_quota(option: str, value: t.Any) -> int:
    """Percent of one CPU, with or without its sign."""
    remedy = f"Give a percentage of one CPU from 1 to {MAX_QUOTA}, such as 150% for one and a half."
    found = _PERCENT.fullmatch(value.strip()) if isinstance(value, str) else None
    number = int(found.group(1)) if found else value
    if not isinstance(number, int) or isinstance(number, bool):
        raise invalid_option(option, value, "is not a percentage", remedy)
    if not 1 <= number <= MAX_QUOTA:
        raise invalid_option(option, value, "is out of range", remedy)
    return number


def weight(option: str, value: t.Any) -> int:
    """A share in relation to the shares of others, of which each has 100 unless it was given another."""
    return values.whole_number(option, value, 1, MAX_WEIGHT)


def overhead_mib(memory: int, cpus: int) -> int:
    """What a VM needs beside its guest's memory before it does anything at all, in MiB. Emulation (TCG) takes more."""
    return _FIXED_OVERHEAD + _OVERHEAD_PER_CPU * cpus + memory // _MEMORY_PER_OVERHEAD


def check_memory_max(intent: t.Mapping[str, t.Any]) -> None:
    """Refuse a limit under which the guest could not use its memory: the kernel would kill QEMU in the middle of it."""
    limit = intent.get("memory_max")
    if limit is None:
        return
    memory = intent.get("memory", defaults.DEFAULTS["memory"])
    overhead = overhead_mib(memory, intent.get("cpus", defaults.DEFAULTS["cpus"]))
    if limit < memory + overhead:
        raise invalid_option(
            "memory_max",
            f"{limit}M",
            f"is too little for a guest with {memory}M of memory, as QEMU and the runner take {overhead}M beside it",
            f"Give {memory + overhead}M or more, or take it back with an empty string.",
        )


def properties(intent: t.Mapping[str, t.Any]) -> dict[str, str]:
    """The properties of the VM's unit, all of them: an empty value resets to what a unit has by default."""
    quota, limit = intent.get("cpu_quota"), intent.get("memory_max")
    return {
        "CPUQuota": f"{quota}%" if quota else "",
        "CPUWeight": _share(intent.get("cpu_weight")),
        "IOWeight": _share(intent.get("io_weight")),
        "MemoryMax": f"{limit}M" if limit else "",
    }


def _share(number: t.Optional[int]) -> str:
    """The default needs no saying, and without it systemd need not count at all."""
    return "" if number in (None, defaults.DEFAULTS["cpu_weight"]) else str(number)
