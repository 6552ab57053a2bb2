# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""How a disk is driven: given, and in normal form; what contradicts itself is refused."""

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.maqet.qemu.plugins.module_utils.definition.disk_tuning import THROTTLES, all_limits
from ansible_collections.maqet.qemu.plugins.module_utils.definition.disks import disks
from ansible_collections.maqet.qemu.plugins.module_utils.definition.intent import merge, normalise

S = {"size": "1G"}
MIB = 2**20


@pytest.mark.parametrize(
    ("given", "normal"),
    [
        ({"cache": "none", "aio": "native"}, {"cache": "none", "aio": "native"}),
        ({"cache": "directsync", "aio": "native"}, {"cache": "directsync", "aio": "native"}),
        ({"aio": "io_uring"}, {"aio": "io_uring"}),
        ({"discard": "unmap", "detect_zeroes": "unmap"}, {"discard": "unmap", "detect_zeroes": "unmap"}),
        ({"detect_zeroes": "on"}, {"detect_zeroes": "on"}),
        ({"serial": "WD-1.2_3"}, {"serial": "WD-1.2_3"}),
        ({"serial": 1234}, {"serial": "1234"}),
        ({"bootindex": "0"}, {"bootindex": 0}),
        ({"throttle": {}}, {}),
        ({"throttle": {"iops": None}}, {}),
        ({"throttle": {"iops": 100, "bps": "10M"}}, {"throttle": {"iops": 100, "bps": 10 * MIB}}),
        (
            {"throttle": {"bps_read": 5, "bps_read_max": "1K", "bps_read_max_length": 3, "iops_write": 7}},
            {"throttle": {"iops_write": 7, "bps_read": 5, "bps_read_max": 1024, "bps_read_max_length": 3}},
        ),
        ({"throttle": {"iops": 1, "iops_size": 4096}}, {"throttle": {"iops": 1, "iops_size": 4096}}),
    ],
)
def test_normal_form(given: dict[str, t.Any], normal: dict[str, t.Any]) -> None:
    assert disks("disks", [{**S, **given}]) == [{"name": "disk0", "size": 2**30, **normal}]


@pytest.mark.parametrize(
    ("given", "option"),
    [
        ({"aio": "native"}, "aio"),
        ({"aio": "native", "cache": "writeback"}, "aio"),
        ({"aio": "posix"}, "aio"),
        ({"detect_zeroes": "unmap"}, "detect_zeroes"),
        ({"detect_zeroes": "unmap", "discard": "ignore"}, "detect_zeroes"),
        ({"discard": "on"}, "discard"),
        ({"detect_zeroes": True}, "detect_zeroes"),
        ({"serial": ""}, "serial"),
        ({"serial": "a" * 21}, "serial"),
        ({"serial": "a,b"}, "serial"),
        ({"serial": "a\n"}, "serial"),
        ({"serial": True}, "serial"),
        ({"bootindex": -1}, "bootindex"),
        ({"bootindex": 10000}, "bootindex"),
        ({"throttle": 5}, "throttle"),
        ({"throttle": {"iops_total": 5}}, "throttle.iops_total"),
        ({"throttle": {"iops": 0}}, "throttle.iops"),
        ({"throttle": {"bps": "fast"}}, "throttle.bps"),
        ({"throttle": {"bps": 10**16}}, "throttle.bps"),
        ({"throttle": {"iops": 5, "iops_read": 5}}, "throttle.iops_read"),
        ({"throttle": {"bps": 5, "bps_write": 5}}, "throttle.bps_write"),
        ({"throttle": {"iops_max": 5}}, "throttle.iops_max"),
        ({"throttle": {"iops": 5, "iops_max": 4}}, "throttle.iops_max"),
        ({"throttle": {"iops": 5, "iops_max_length": 4}}, "throttle.iops_max_length"),
        ({"throttle": {"iops": 5, "iops_max": 9, "iops_max_length": 0}}, "throttle.iops_max_length"),
        ({"throttle": {"bps": 5, "bps_max": 10**15, "bps_max_length": 2}}, "throttle.bps_max_length"),
        ({"throttle": {"bps": 5, "iops_size": 4096}}, "throttle.iops_size"),
    ],
)
def test_refused(given: dict[str, t.Any], option: str, refused: t.Any) -> None:
    refused(f"disks[0].{option}", disks, "disks", [{**S, **given}])


def test_two_disks_cannot_be_the_next_to_boot(refused: t.Any) -> None:
    refused("disks[1].bootindex", disks, "disks", [{**S, "bootindex": 3}, {**S, "bootindex": 3}])
    assert len(disks("disks", [{**S, "bootindex": 3}, {**S, "bootindex": 2}, S])) == 3


def test_a_kernel_has_the_first_place(refused: t.Any) -> None:
    first, kernel = normalise({"disks": [{**S, "bootindex": 0}]}), normalise({"kernel": "/k"})
    assert merge({}, first)["disks"][0]["bootindex"] == 0
    refused("disks[0].bootindex", merge, first, kernel)


def test_what_is_not_limited_is_said_too() -> None:
    whole = all_limits({"iops": 5})
    assert list(whole) == list(THROTTLES) and whole["iops"] == 5
    assert {key: value for key, value in whole.items() if value} == {
        "iops": 5,
        **{key: 1 for key in THROTTLES if key.endswith("_length")},
    }
