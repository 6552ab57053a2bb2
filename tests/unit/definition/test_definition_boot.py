# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The order in which a guest boots."""

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.maqet.qemu.plugins.module_utils.definition.intent import merge, normalise
from ansible_collections.maqet.qemu.tests.unit.definition.conftest import Refused

VM: dict[str, t.Any] = {
    "disks": [{"name": "root", "size": "1G"}, {"name": "data", "size": "1G"}],
    "networks": [{"type": "user"}, {"type": "user"}],
}


@pytest.mark.parametrize(
    "boot",
    [{}, {"menu": False}, {"order": []}, {"order": ["data", "nic1"]}, {"order": ["networks", "root"], "menu": True}],
)
def test_normal_form(boot: dict[str, t.Any]) -> None:
    assert normalise({"boot": {"menu": None, "order": None, **boot}}) == {"boot": boot}
    assert merge({}, normalise({**VM, "boot": boot}))["boot"] == boot


@pytest.mark.parametrize(
    ("option", "boot"),
    [
        ("boot", ["root"]),
        ("boot.once", {"once": "root"}),
        ("boot.order", {"order": "root"}),
        ("boot.order[1]", {"order": ["root", 5]}),
        ("boot.order[1]", {"order": ["root", "root"]}),
        ("boot.menu", {"menu": "yes"}),
    ],
)
def test_what_cannot_be(refused: Refused, option: str, boot: t.Any) -> None:
    refused(option, normalise, {"boot": boot})


@pytest.mark.parametrize(
    ("order", "index", "words"),
    [
        (["root", "cdrom"], 1, "which has root, data, nic0, nic1"),
        (["nic2"], 0, "is no disk or card"),
        (["networks", "nic1"], 1, "names nic1 again"),
        (["nic01", "nic1"], 1, "names nic1 again"),
    ],
)
def test_names_of_nothing(refused: Refused, order: list[str], index: int, words: str) -> None:
    assert words in str(refused(f"boot.order[{index}]", merge, {}, normalise({**VM, "boot": {"order": order}})))


def test_a_disk_that_goes_takes_its_place_in_the_order_along(refused: Refused) -> None:
    stored = merge({}, normalise({**VM, "boot": {"order": ["data"]}}))
    refused("boot.order[0]", merge, stored, normalise({"disks": []}))


def test_a_vm_without_anything(refused: Refused) -> None:
    assert "is no disk or card of this VM. Name" in str(
        refused("boot.order[0]", merge, {}, normalise({"boot": {"order": ["root"]}}))
    )


def test_one_order_is_enough(refused: Refused) -> None:
    intent = merge({}, normalise(VM))
    intent["disks"][1]["bootindex"] = 5
    refused("disks[1].bootindex", merge, intent, {"boot": {"order": ["root"]}})
