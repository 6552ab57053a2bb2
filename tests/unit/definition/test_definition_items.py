# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""One item more or less, and the others as they were."""

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.maqet.qemu.plugins.module_utils.definition.items import with_item, without_item
from ansible_collections.maqet.qemu.plugins.module_utils.definition.render_networks import mac_address
from ansible_collections.maqet.qemu.plugins.module_utils.errors import MaqetError

A, B = {"name": "a", "size": 1 << 20}, {"name": "b", "size": 1 << 20}
USER = {"type": "user"}
MAC = {"type": "user", "mac": "52:54:00:00:00:01"}
RNG = {"driver": "virtio-rng-pci", "id": "r"}
UUID = "0f4c2a9e-5d1b-4c38-9a77-2f1f6f0c1d2e"
FORWARDED = {"type": "user", "hostfwd": [{"host_port": 2222, "guest_port": 22}]}
OWN = [mac_address(UUID, index) for index in range(3)]


@pytest.mark.parametrize(
    ("form", "item", "before", "after"),
    [
        ("disk", {"name": "b", "size": "1M"}, [A], [A, B]),
        ("disk", {"name": "a", "size": "2M"}, [A, B], [{"name": "a", "size": 2 << 20}, B]),
        ("network", USER, [], [USER]),
        ("network", USER, [USER], [USER]),
        ("network", {**MAC, "mac": "52-54-00-00-00-01"}, [USER], [USER, MAC]),
        ("network", {"type": "user", "model": "virtio-net-pci", "restrict": False}, [USER], [USER]),
        ("network", {**USER, "mac": OWN[1]}, [MAC, USER], [MAC, USER]),
        ("network", {**MAC, "mtu": "1400"}, [MAC, USER], [{**MAC, "mtu": 1400}, USER]),
        ("network", {**USER, "mac": OWN[0], "mtu": 1400}, [USER], [{**USER, "mac": OWN[0], "mtu": 1400}]),
        ("device", RNG, [], [RNG]),
        ("device", {**RNG, "id": "device1"}, [RNG, {"driver": "x"}], [RNG, {**RNG, "id": "device1"}]),
        ("device", {**RNG, "properties": {"max-bytes": 5}}, [RNG], [{**RNG, "properties": {"max-bytes": 5}}]),
    ],
)
def test_with(form: str, item: dict[str, t.Any], before: list[t.Any], after: list[t.Any]) -> None:
    assert with_item(form, item, before, UUID) == after
    assert with_item(form, item, after, UUID) == after


@pytest.mark.parametrize(
    ("form", "item", "before", "after"),
    [
        ("disk", {"name": "a"}, [A, B], [B]),
        ("disk", {"name": "c"}, [A, B], [A, B]),
        ("network", {"mac": "52-54-00-00-00-01"}, [MAC, USER], [USER]),
        ("network", {"mac": "52:54:00:00:00:02"}, [MAC, USER], [MAC, USER]),
        ("network", USER, [MAC, USER, MAC], [MAC, USER]),
        ("network", {"mac": OWN[1].upper()}, [USER, USER], [USER]),
        ("network", {"type": "user", "mtu": "1400"}, [{**MAC, "mtu": 1400}, USER], [USER]),
        ("network", {"model": "virtio-net-pci"}, [USER], []),
        ("network", FORWARDED, [FORWARDED, USER], [USER]),
        ("device", {"id": "r"}, [RNG], []),
        ("device", {"id": "device0"}, [{"driver": "x"}, RNG], [RNG]),
    ],
)
def test_without(form: str, item: dict[str, t.Any], before: list[t.Any], after: list[t.Any]) -> None:
    assert without_item(form, item, before, UUID) == after


@pytest.mark.parametrize(
    ("edit", "form", "item", "option"),
    [
        (with_item, "disk", {"size": "1M"}, "disk"),
        (without_item, "device", {"driver": "x"}, "device"),
        (with_item, "disk", {"name": "a", "sise": "1M"}, "disk.sise"),
        (with_item, "disk", {"name": "a", "size": "1M", "cache": "x"}, "disk.cache"),
        (without_item, "disk", {"name": "a", "sise": "1M"}, "disk.sise"),
        (without_item, "network", {"maac": "52:54:00:00:00:01"}, "network.maac"),
        (without_item, "network", {"mac": "52:54:00:00:00"}, "network.mac"),
        (without_item, "network", {"mac": OWN[0]}, "network.mac"),
        (with_item, "network", {"type": "none"}, "network"),
        (without_item, "network", {"mac": None}, "network"),
    ],
)
def test_what_is_refused(edit: t.Any, form: str, item: dict[str, t.Any], option: str) -> None:
    with pytest.raises(MaqetError) as caught:
        edit(form, item, [USER, USER] if form == "network" else [], UUID)
    assert caught.value.error_code == "invalid_option" and str(caught.value).startswith(f"{option}:")
