# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""One item more or less, and the others as they were."""

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.maqet.qemu.plugins.module_utils.definition.items import with_item, without_item
from ansible_collections.maqet.qemu.plugins.module_utils.errors import MaqetError

A, B = {"name": "a", "size": 1 << 20}, {"name": "b", "size": 1 << 20}
USER = {"type": "user"}
MAC = {"type": "user", "mac": "52:54:00:00:00:01"}
RNG = {"driver": "virtio-rng-pci", "id": "r"}


@pytest.mark.parametrize(
    ("form", "item", "before", "after"),
    [
        ("disk", {"name": "b", "size": "1M"}, [A], [A, B]),
        ("disk", {"name": "a", "size": "2M"}, [A, B], [{"name": "a", "size": 2 << 20}, B]),
        ("network", USER, [], [USER]),
        ("network", USER, [USER], [USER]),
        ("network", {**MAC, "mac": "52-54-00-00-00-01"}, [USER], [USER, MAC]),
        ("device", RNG, [], [RNG]),
        ("device", {**RNG, "properties": {"max-bytes": 5}}, [RNG], [{**RNG, "properties": {"max-bytes": 5}}]),
    ],
)
def test_with(form: str, item: dict[str, t.Any], before: list[t.Any], after: list[t.Any]) -> None:
    assert with_item(form, item, before) == after
    assert with_item(form, item, after) == after


@pytest.mark.parametrize(
    ("form", "item", "before", "after"),
    [
        ("disk", {"name": "a"}, [A, B], [B]),
        ("disk", {"name": "c"}, [A, B], [A, B]),
        ("network", {"mac": "52-54-00-00-00-01"}, [MAC, USER], [USER]),
        ("network", {"mac": "52:54:00:00:00:02"}, [MAC, USER], [MAC, USER]),
        ("network", USER, [MAC, USER, MAC], [MAC, USER]),
        ("device", {"id": "r"}, [RNG], []),
    ],
)
def test_without(form: str, item: dict[str, t.Any], before: list[t.Any], after: list[t.Any]) -> None:
    assert without_item(form, item, before) == after


@pytest.mark.parametrize(
    ("edit", "form", "item", "option"),
    [
        (with_item, "disk", {"size": "1M"}, "disk.name"),
        (without_item, "device", {"driver": "x"}, "device.id"),
        (with_item, "disk", {"name": "a", "sise": "1M"}, "disk[0].sise"),
        (with_item, "network", {"type": "none"}, "network"),
        (without_item, "network", {"mac": None}, "network"),
    ],
)
def test_what_is_refused(edit: t.Any, form: str, item: dict[str, t.Any], option: str) -> None:
    with pytest.raises(MaqetError) as caught:
        edit(form, item, [])
    assert caught.value.error_code == "invalid_option" and str(caught.value).startswith(f"{option}:")
