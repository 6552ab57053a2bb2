# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which devices sit in a port of their own, and where the ports are."""

from __future__ import annotations

import re
import typing as t

import pytest
from ansible_collections.maqet.qemu.plugins.module_utils.definition.intent import merge, normalise
from ansible_collections.maqet.qemu.plugins.module_utils.definition.render import command_line
from ansible_collections.maqet.qemu.plugins.module_utils.definition.render_ports import (
    CARDS,
    MOST,
    SPARE,
    Ports,
    takes_plugs,
)
from ansible_collections.maqet.qemu.tests.unit.definition.test_definition_render import place

DISKS = [{"size": "1G"}, {"size": "1G", "interface": "scsi"}, {"size": "1G"}]


def devices(params: dict[str, t.Any]) -> list[str]:
    line = command_line(merge({}, normalise(params)), place())
    return [line[index + 1] for index, word in enumerate(line) if word == "-device"]


def test_virtio_disks_and_cards_have_ports_and_some_are_free() -> None:
    found = devices({"disks": DISKS, "networks": [{"type": "user"}, {"type": "user"}], "agent": True})
    ports = [one for one in found if one.startswith("pcie-root-port")]
    assert len(ports) == CARDS + 2 + SPARE and found[: len(ports)] == ports
    assert ports[0] == "pcie-root-port,id=maqet-port0,bus=pcie.0,addr=10.0,chassis=255,io-reserve=0,multifunction=on"
    assert ports[8].startswith("pcie-root-port,id=maqet-port8,bus=pcie.0,addr=11.0,chassis=247,")
    taken = {one.split(",")[1]: one.rpartition("=")[2] for one in found if ",bus=maqet-port" in one}
    cards = {"id=nic0": "maqet-port0", "id=nic1": "maqet-port1"}
    assert taken == {"id=disk0": "maqet-port8", "id=disk2": "maqet-port9", **cards}


def test_a_card_sits_where_it_did_whatever_else_there_is() -> None:
    """Guests name their cards by it, and configure them by that name."""
    card = {"networks": [{"type": "user"}]}
    (alone,) = [one for one in devices(card) if "id=nic0" in one]
    (beside,) = [one for one in devices({**card, "disks": DISKS, "rng": True}) if "id=nic0" in one]
    assert alone == beside and len(devices({"networks": card["networks"] * 10})) == CARDS + 2 + SPARE + 10


@pytest.mark.parametrize(
    ("machine", "ports", "plugs"),
    [
        ("q35", True, True),
        ("pc-q35-7.2", True, True),
        ("virt", True, True),
        ("virt-7.2", True, True),
        ("pc", False, True),
        ("pc-i440fx-7.2", False, True),
        ("microvm", False, False),
        ("virtual", False, False),
    ],
)
def test_machines(machine: str, ports: bool, plugs: bool) -> None:
    assert bool(Ports(machine).arguments()) == ports == bool(Ports(machine).next()) == bool(Ports(machine).card(0))
    assert takes_plugs(machine) == plugs


def test_no_two_ports_have_one_place_and_the_last_ones_end_before_the_chipsets_own() -> None:
    ports = Ports("q35")
    assert all(ports.next() for _number in range(MOST - CARDS)) and not ports.next()
    places = re.findall(r"addr=([0-9a-f]+)\.([0-7]),", "\n".join(ports.arguments()))
    assert len(places) == len(set(places)) == MOST and max(int(slot, 16) for slot, _function in places) < 0x1D
