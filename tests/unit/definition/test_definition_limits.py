# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Shares and limits: how they are written, what is refused, and what systemd is told."""

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.maqet.qemu.plugins.module_utils.definition import limits
from ansible_collections.maqet.qemu.plugins.module_utils.definition.intent import merge, normalise

BAD: dict[str, tuple[t.Any, ...]] = {
    "cpu_quota": (0, "0%", -5, "-5%", "1.5%", 1.5, True, "%", "150%%", "\u0665%", 409601, [], "1\n1"),
    "cpu_weight": (0, 10001, "", "idle", True, 1.5),
    "io_weight": (0, 10001, "", "idle", True, 1.5),
    "memory_max": (0, "512B", "80%", "infinity", True),
    "autostart": ("yes", 1, ""),
}
RESET = {"CPUQuota": "", "CPUWeight": "", "IOWeight": "", "MemoryMax": ""}


@pytest.mark.parametrize(
    ("given", "normal"),
    [
        ({"cpu_quota": "150%"}, {"cpu_quota": 150}),
        ({"cpu_quota": "150 %"}, {"cpu_quota": 150}),
        ({"cpu_quota": " 150 "}, {"cpu_quota": 150}),
        ({"cpu_quota": 1}, {"cpu_quota": 1}),
        ({"cpu_quota": "409600%"}, {"cpu_quota": 409600}),
        ({"cpu_quota": ""}, {"cpu_quota": ""}),
        ({"cpu_weight": 1, "io_weight": "10000"}, {"cpu_weight": 1, "io_weight": 10000}),
        ({"memory_max": "2G"}, {"memory_max": 2048}),
        ({"memory_max": 2048}, {"memory_max": 2048}),
        ({"memory_max": ""}, {"memory_max": ""}),
        ({"autostart": False}, {"autostart": False}),
    ],
)
def test_normal_forms(given: dict[str, t.Any], normal: dict[str, t.Any]) -> None:
    assert normalise(given) == normal
    assert normalise(normal) == normal


@pytest.mark.parametrize(("option", "value"), [(option, value) for option, bad in BAD.items() for value in bad])
def test_what_is_refused(option: str, value: t.Any, refused: t.Any) -> None:
    refused(option, normalise, {option: value})


@pytest.mark.parametrize(
    ("intent", "least"),
    [
        ({}, 512 + 128 + 8 + 1),
        ({"memory": 64}, 64 + 128 + 8),
        ({"memory": 2048, "cpus": 4}, 2048 + 128 + 32 + 4),
        ({"memory": 1 << 20}, (1 << 20) + 128 + 8 + 2048),
    ],
)
def test_less_than_the_guest_needs_is_refused(intent: dict[str, t.Any], least: int, refused: t.Any) -> None:
    """With the least that is enough, which then is enough; whichever of the options came first."""
    assert merge(intent, {"memory_max": least})["memory_max"] == least
    error = refused("memory_max", merge, intent, {"memory_max": least - 1})
    assert f"Give {least}M or more" in str(error)
    refused("memory_max", merge, {"memory_max": least - 1}, intent)
    assert "memory_max" not in merge({"memory_max": least}, {"memory": 1 << 20, "memory_max": ""})


@pytest.mark.parametrize(
    ("intent", "told"),
    [
        ({}, {}),
        ({"memory": 512, "cpus": 2, "autostart": True}, {}),
        ({"cpu_quota": 150}, {"CPUQuota": "150%"}),
        ({"cpu_weight": 20}, {"CPUWeight": "20"}),
        ({"io_weight": 10000}, {"IOWeight": "10000"}),
        ({"cpu_weight": 100, "io_weight": 100}, {}),
        ({"memory_max": 700}, {"MemoryMax": "700M"}),
        (
            {"cpu_quota": 1, "cpu_weight": 1, "io_weight": 1, "memory_max": 1},
            {"CPUQuota": "1%", "CPUWeight": "1", "IOWeight": "1", "MemoryMax": "1M"},
        ),
    ],
)
def test_what_systemd_is_told(intent: dict[str, t.Any], told: dict[str, str]) -> None:
    assert limits.properties(intent) == {**RESET, **told}
