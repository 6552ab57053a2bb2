# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Memory: huge pages and the balloon."""

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.maqet.qemu.plugins.module_utils.definition.intent import merge, normalise
from ansible_collections.maqet.qemu.plugins.module_utils.definition.memory import spelled
from ansible_collections.maqet.qemu.tests.unit.definition.conftest import Refused


@pytest.mark.parametrize(
    ("value", "kib"), [("2M", 2048), ("1GiB", 1 << 20), (2048, 2048), ("64K", 64), ("16G", 16 << 20)]
)
def test_sizes_of_pages(value: t.Any, kib: int) -> None:
    made = normalise({"hugepages": value})
    assert made == {"hugepages": kib} and normalise(made) == made
    assert normalise({"hugepages": spelled(kib)}) == made


@pytest.mark.parametrize("value", ["3M", "4K", "32G", True, "big", 0, "1.5M"])
def test_what_is_no_size_of_a_page(refused: Refused, value: t.Any) -> None:
    refused("hugepages", normalise, {"hugepages": value})


@pytest.mark.parametrize(
    ("option", "params", "words"),
    [
        ("hugepages", {"memory": "513M", "hugepages": "2M"}, "'2M' does not divide the guest's memory, 513M"),
        ("hugepages", {"hugepages": "1G"}, "512M"),
        ("balloon_target", {"balloon_target": "100M"}, "Give balloon: true too"),
        ("balloon_target", {"balloon": False, "balloon_target": "100M"}, "Give balloon: true too"),
        ("balloon_target", {"balloon": True, "balloon_target": "513M"}, "is more than memory, which is 512M"),
    ],
)
def test_what_does_not_go_together(refused: Refused, option: str, params: dict[str, t.Any], words: str) -> None:
    assert words in str(refused(option, merge, {}, normalise(params)))


def test_what_goes_together() -> None:
    params = {"memory": "2G", "hugepages": "1G", "balloon": True, "balloon_target": "2G"}
    stored = merge({}, normalise(params))
    assert stored == {"memory": 2048, "hugepages": 1 << 20, "balloon": True, "balloon_target": 2048}
    taken_back = normalise({"balloon_target": "", "hugepages": ""})
    assert merge(stored, taken_back) == {"memory": 2048, "balloon": True}
