# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sizes of memory and disks."""

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.maqet.qemu.plugins.module_utils.definition.sizes import (
    MAX_DISK,
    MAX_MEMORY_MIB,
    disk_bytes,
    memory_mib,
)
from hypothesis import given
from hypothesis import strategies as st

FACTORS = {"K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}


@pytest.mark.parametrize(
    ("value", "mib"),
    [
        (512, 512),
        ("512", 512),
        (" 512 ", 512),
        ("512M", 512),
        ("512m", 512),
        ("512 MiB", 512),
        ("512MB", 512),
        ("2048K", 2),
        ("4G", 4096),
        ("4gib", 4096),
        ("1T", 2**20),
        (1, 1),
        ("16T", 2**24),
    ],
)
def test_memory(value: t.Any, mib: int) -> None:
    assert memory_mib("memory", value) == mib


@pytest.mark.parametrize(
    "value",
    ["banana", "", " ", "-5", -5, 0, "0", "0G", "1.5G", 1.5, True, False, "17T", 2**25, "1000K", "512B", "4 GG", "4iB"]
    + ["4G\n4G", "٤G", "4K", "9" * 19, "0x10", "4P", [], {}, b"4G", "4_0M", "+4G"],
)
def test_memory_refused(value: t.Any, refused: t.Any) -> None:
    if isinstance(value, bytes):  # not a value that JSON brings, but no traceback either
        value = str(value)
    refused("memory", memory_mib, "memory", value)


@pytest.mark.parametrize(
    ("value", "size"),
    [("1M", 2**20), (2**20, 2**20), (str(2**20 + 512), 2**20 + 512), ("10G", 10 * 2**30), ("1024T", MAX_DISK)],
)
def test_disk(value: t.Any, size: int) -> None:
    assert disk_bytes("disks[0].size", value) == size


@pytest.mark.parametrize("value", [10, "10", "1023K", 2**20 + 1, "1025T", "big", True, -(2**30), "10 gigs"])
def test_disk_refused(value: t.Any, refused: t.Any) -> None:
    refused("disks[0].size", disk_bytes, "disks[0].size", value)


@given(st.integers(1, MAX_MEMORY_MIB))
def test_every_way_to_write_a_memory_is_the_same(mib: int) -> None:
    spelled = [mib, str(mib), f"{mib}M", f"{mib}mb", f"{mib} MiB", f"{mib * 1024}K"]
    assert {memory_mib("memory", value) for value in spelled} == {mib}


@given(st.integers(2, 1024), st.sampled_from("KMGT"))
def test_units_are_powers_of_1024(number: int, unit: str) -> None:
    size = number * FACTORS[unit]
    if size >= FACTORS["M"]:
        assert disk_bytes("size", f"{number}{unit}") == disk_bytes("size", size) == size
