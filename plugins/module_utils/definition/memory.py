# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The guest's memory: how much, of which pages of the host, and how it is lent back (QEMU manual: -m, -object)."""

from __future__ import annotations

import typing as t

from ansible_collections.maqet.qemu.plugins.module_utils.definition import defaults, sizes
from ansible_collections.maqet.qemu.plugins.module_utils.errors import invalid_option

# KiB to a unit; the largest pages of any architecture are of 16 GiB (Linux: Documentation/admin-guide/mm/hugetlbpage).
_MOST_KIB = 16 << 20


def hugepages(option: str, value: t.Any) -> int:
    """The size of the pages in KiB, a power of two. A bare number means KiB, as in the kernel's names for them."""
    remedy = "Give the size of a huge page that the host has, such as 2M or 1G."
    kib = sizes.kib(option, value, remedy)
    if not 16 <= kib <= _MOST_KIB or kib & (kib - 1):
        raise invalid_option(option, value, "is not the size of a huge page", remedy)
    return kib


def check(intent: t.Mapping[str, t.Any]) -> None:
    """What these options mean for each other."""
    memory, page = intent.get("memory", defaults.DEFAULTS["memory"]), intent.get("hugepages")
    if page and memory * 1024 % page:
        raise invalid_option(
            "hugepages",
            spelled(page),
            f"does not divide the guest's memory, {memory}M, into whole pages",
            "Give a memory that is a multiple of it, or smaller pages.",
        )
    target = intent.get("balloon_target")
    if target is None:
        return
    if not intent.get("balloon"):
        raise invalid_option(
            "balloon_target",
            f"{target}M",
            "needs the balloon's device",
            "Give balloon: true too, or take it back with an empty string.",
        )
    if target > memory:
        raise invalid_option(
            "balloon_target", f"{target}M", f"is more than memory, which is {memory}M", "Give that or less."
        )


def spelled(kib: int) -> str:
    """A size of pages as people write it."""
    for unit, factor in (("G", 1 << 20), ("M", 1 << 10)):
        if kib % factor == 0:
            return f"{kib // factor}{unit}"
    return f"{kib}K"
