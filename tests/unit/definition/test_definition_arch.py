# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What only guests of one architecture have."""

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.maqet.qemu.plugins.module_utils.definition import arch
from ansible_collections.maqet.qemu.plugins.module_utils.definition.defaults import effective
from ansible_collections.maqet.qemu.plugins.module_utils.definition.intent import merge, normalise
from ansible_collections.maqet.qemu.tests.unit.definition.conftest import Refused

CASES: list[tuple[str, dict[str, t.Any]]] = [
    ("cpu_topology.dies", {"cpus": 2, "cpu_topology": {"dies": 2}}),
    ("cpus_max", {"cpus": 2, "cpus_max": 3}),
    ("clock.driftfix", {"clock": {"driftfix": "slew"}}),
    ("watchdog.model", {"watchdog": {"model": "ib700"}}),
    ("video", {"display": "headless", "video": "vga"}),
]


@pytest.mark.parametrize(("option", "params"), CASES)
def test_what_a_pc_has_and_arm_has_not(refused: Refused, option: str, params: dict[str, t.Any]) -> None:
    intent = merge({}, normalise(params))
    arch.check(effective(intent, "x86_64"))
    refused(option, arch.check, effective(intent, "aarch64"))
    refused(option, arch.check, effective({**intent, "arch": "aarch64"}, "x86_64"))


def test_what_arm_has() -> None:
    params = {
        "cpus": 2,
        "cpus_max": 2,
        "cpu_topology": {"cores": 2},
        "clock": {"driftfix": "none"},
        "watchdog": {},
        "display": "headless",
        "video": "ramfb",
    }
    arch.check(effective(merge({}, normalise(params)), "aarch64"))


def test_what_arm_has_and_a_pc_has_not(refused: Refused) -> None:
    refused("video", arch.check, effective({"video": "ramfb", "display": "headless"}, "x86_64"))
