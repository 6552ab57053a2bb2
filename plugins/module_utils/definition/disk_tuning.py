# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""How a disk is driven, whatever file is behind it: caching, discarding, its place in the boot order, its rates."""

from __future__ import annotations

import re
import typing as t

from ansible_collections.maqet.qemu.plugins.module_utils.definition import sizes, values
from ansible_collections.maqet.qemu.plugins.module_utils.errors import invalid_option

CACHES = ("none", "writeback", "writethrough", "directsync", "unsafe")
#: Caches that go past the host's page cache, which ``aio: native`` (Linux AIO) cannot do without.
DIRECT = ("none", "directsync")
AIOS = ("threads", "native", "io_uring")
DISCARDS = ("unmap", "ignore")
ZEROES = ("off", "on", "unmap")
FIELDS = ("cache", "aio", "discard", "detect_zeroes", "serial", "bootindex", "throttle")

RATES = tuple(f"{unit}{which}" for unit in ("iops", "bps") for which in ("", "_read", "_write"))
THROTTLES = (*(f"{rate}{more}" for rate in RATES for more in ("", "_max", "_max_length")), "iops_size")
# A minute of a burst is long; QEMU takes more as long as length times rate stays below MAX_RATE.
_MAX_BURST = 3600
# What virtio-blk, ATA and NVMe have room for.
_SERIAL = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,19}")
_MAX_BOOTINDEX = 9999


def tuning(option: str, given: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """The normal form of these fields, as far as they are given; ``option`` is the disk's."""
    checks: dict[str, t.Callable[[str, t.Any], t.Any]] = {
        "cache": lambda name, word: values.choice(name, word, CACHES),
        "aio": lambda name, word: values.choice(name, word, AIOS),
        "discard": lambda name, word: values.choice(name, word, DISCARDS),
        "detect_zeroes": lambda name, word: values.choice(name, word, ZEROES),
        "serial": _serial,
        "bootindex": lambda name, number: values.whole_number(name, number, 0, _MAX_BOOTINDEX),
        "throttle": _throttle,
    }
    result = {key: check(f"{option}.{key}", given[key]) for key, check in checks.items() if key in given}
    if not result.get("throttle", True):  # {} takes a throttle back; no throttle is what is left then
        del result["throttle"]
    if result.get("aio") == "native" and result.get("cache") not in DIRECT:
        raise invalid_option(
            f"{option}.aio", "native", "needs a cache that goes past the host's memory", "Add cache: none."
        )
    if result.get("detect_zeroes") == "unmap" and result.get("discard") != "unmap":
        raise invalid_option(
            f"{option}.detect_zeroes", "unmap", "needs a disk that may discard", "Add discard: unmap, or write on."
        )
    return result


def all_limits(throttle: t.Mapping[str, int]) -> dict[str, int]:
    """The same limits, and that there are no others: what a change at run time must say, which keeps the rest."""
    return {**{key: 1 if key.endswith("_length") else 0 for key in THROTTLES}, **throttle}


def check_bootindices(option: str, disks: t.Sequence[t.Mapping[str, t.Any]]) -> None:
    """No two disks can be the one that is tried next."""
    seen: dict[int, str] = {}
    for index, disk in enumerate(disks):
        if "bootindex" in disk:
            other = seen.setdefault(disk["bootindex"], disk["name"])
            if other != disk["name"]:
                raise invalid_option(
                    f"{option}[{index}].bootindex", disk["bootindex"], f"is that of {other} too", "Give each its own."
                )


def check_kernel_first(disks: t.Iterable[t.Mapping[str, t.Any]], kernel: bool) -> None:
    """QEMU gives a kernel from the host the index 0."""
    for index, disk in enumerate(disks):
        if kernel and disk.get("bootindex") == 0:
            raise invalid_option(
                f"disks[{index}].bootindex", 0, "is that of the kernel, which is booted first", "Use 1 or more."
            )


def _serial(option: str, value: t.Any) -> str:
    remedy = "Use 1 to 20 ASCII letters, digits, '_', '.' and '-', beginning with a letter or a digit."
    text = str(value) if isinstance(value, int) and not isinstance(value, bool) else value  # YAML's 0001 is a number
    return values.matching(option, text, _SERIAL, "is not a serial number", remedy)


def _throttle(option: str, value: t.Any) -> dict[str, int]:
    """Limits by QEMU's rules (its docs/throttle.txt): all I/O or reads and writes apart, bursts above the rate."""
    given = values.fields(option, value, THROTTLES)
    result: dict[str, int] = {}
    for key in (key for key in THROTTLES if key in given):
        name = f"{option}.{key}"
        if key.endswith("_length"):
            result[key] = values.whole_number(name, given[key], 1, _MAX_BURST)
        elif key.startswith("bps"):
            result[key] = sizes.rate_bytes(name, given[key])
        else:
            result[key] = values.whole_number(name, given[key], 1, sizes.MAX_RATE)
    for rate in RATES:
        _check_rate(option, result, rate)
    if "iops_size" in result and not any(key in result for key in RATES if key.startswith("iops")):
        raise invalid_option(
            f"{option}.iops_size", result["iops_size"], "needs a limit of operations", "Add iops, or remove it."
        )
    return result


def _check_rate(option: str, limits: t.Mapping[str, int], rate: str) -> None:
    unit, _line, which = rate.partition("_")
    if which and rate in limits and unit in limits:
        raise invalid_option(
            f"{option}.{rate}", limits[rate], f"does not go with {unit}, which limits both ways", f"Remove {unit}."
        )
    burst, length = f"{rate}_max", f"{rate}_max_length"
    for key, needed in ((burst, rate), (length, burst)):
        if key in limits and needed not in limits:
            raise invalid_option(f"{option}.{key}", limits[key], f"needs {needed}", f"Add {needed}.")
    if burst in limits and limits[burst] < limits[rate]:
        raise invalid_option(
            f"{option}.{burst}", limits[burst], f"is below {rate}, {limits[rate]}", "Give a higher rate for bursts."
        )
    if length in limits and limits[burst] * limits[length] > sizes.MAX_RATE:
        raise invalid_option(f"{option}.{length}", limits[length], "is too long for that rate", "Give less seconds.")
