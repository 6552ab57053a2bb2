# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sizes as people write them: ``512``, ``512M``, ``4GiB``. Units are powers of 1024, as in QEMU's own tools."""

from __future__ import annotations

import re
import typing as t

from ansible_collections.maqet.qemu.plugins.module_utils.errors import invalid_option

MIB = 1 << 20
SECTOR = 512
MAX_MEMORY_MIB = 16 << 20
MAX_DISK = 1 << 50
# QEMU's THROTTLE_VALUE_MAX.
MAX_RATE = 10**15
# A runner hands on lines of 64 MiB, in which a byte of the guest's can take two.
MAX_REPLY = 32 << 20

_SIZE = re.compile(r"([0-9]{1,18}) ?(?:([KMGT])(?:I?B)?)?", re.IGNORECASE | re.ASCII)
_FACTORS = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}


def memory_mib(option: str, value: t.Any) -> int:
    """Guest memory in MiB, from 1 MiB to 16 TiB. A bare number means MiB, as it does to QEMU."""
    remedy = "Give a number of MiB, or a size with a unit such as 512M or 4G, from 1M to 16T."
    size = _bytes(option, value, MIB, remedy)
    if size % MIB:
        raise invalid_option(option, value, "is not a whole number of MiB", remedy)
    mib = size // MIB
    if not 1 <= mib <= MAX_MEMORY_MIB:
        raise invalid_option(option, value, "is out of range", remedy)
    return mib


def disk_bytes(option: str, value: t.Any) -> int:
    """Virtual size of a disk in bytes, whole sectors of 512, from 1 MiB to 1024 TiB. A bare number means bytes."""
    remedy = "Give a size with a unit such as 512M or 10G, from 1M to 1024T (a bare number means bytes)."
    size = _bytes(option, value, 1, remedy)
    if not MIB <= size <= MAX_DISK:
        raise invalid_option(option, value, "is out of range", remedy)
    if size % SECTOR:
        raise invalid_option(option, value, f"is not a whole number of sectors of {SECTOR} bytes", remedy)
    return size


def rate_bytes(option: str, value: t.Any) -> int:
    """Bytes per second, from 1 to 10^15. A bare number means bytes."""
    remedy = "Give bytes per second, with a unit if you like, such as 50M (a bare number means bytes)."
    rate = _bytes(option, value, 1, remedy)
    if not 1 <= rate <= MAX_RATE:
        raise invalid_option(option, value, "is out of range", remedy)
    return rate


def reply_bytes(option: str, value: t.Any, most: int = MAX_REPLY) -> int:
    """The largest answer that is taken in, from 1 KiB to ``most``, whole MiB. A bare number means bytes."""
    remedy = f"Give a size with a unit such as 512K or 16M, from 1K to {most >> 20}M (a bare number means bytes)."
    size = _bytes(option, value, 1, remedy)
    if not 1 << 10 <= size <= most:
        raise invalid_option(option, value, "is out of range", remedy)
    return size


def kib(option: str, value: t.Any, remedy: str) -> int:
    """Whole KiB. A bare number means KiB."""
    size = _bytes(option, value, 1 << 10, remedy)
    if size % 1024:
        raise invalid_option(option, value, "is not a whole number of KiB", remedy)
    return size >> 10


def _bytes(option: str, value: t.Any, bare_unit: int, remedy: str) -> int:
    """The size in bytes; ``bare_unit`` is what a number without a unit counts."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value * bare_unit
    found = _SIZE.fullmatch(value.strip()) if isinstance(value, str) else None
    if not found:
        raise invalid_option(option, value, "is not a size", remedy)
    number, unit = found.groups()
    return int(number) * (_FACTORS[unit.upper()] if unit else bare_unit)
