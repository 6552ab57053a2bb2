# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a guest says of its addresses, which may be anything."""

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.maqet.qemu.plugins.module_utils.qmp import addresses

MAC = "52:54:00:12:34:56"


def interface(*told: tuple[str, t.Any], name: str = "eth0", mac: t.Any = MAC) -> dict[str, t.Any]:
    listed = [{"ip-address": address, "ip-address-type": "x", "prefix": prefix} for address, prefix in told]
    return {"name": name, "hardware-address": mac, "ip-addresses": listed}


LO = interface(("127.0.0.1", 8), ("::1", 128), name="lo", mac="00:00:00:00:00:00")
ETH0 = interface(("192.0.2.10", 24), ("fe80::1", 64), ("2001:db8::1", 64))


def test_one_form() -> None:
    told = addresses.of_agent([LO, ETH0, {"name": "down"}])
    assert [one["address"] for one in told] == ["127.0.0.1", "::1", "192.0.2.10", "fe80::1", "2001:db8::1"]
    expected = {"interface": "eth0", "mac": MAC, "family": "ipv4", "address": "192.0.2.10", "prefix": 24}
    assert told[2] == expected


@pytest.mark.parametrize(
    "said",
    [
        None,
        {},
        "eth0",
        [None, 5],
        [{"name": 5}],
        [{"ip-addresses": {}}],
        [{"ip-addresses": [None, {}, {"ip-address": 5}, {"ip-address": "1.2.3"}, {"ip-address": "{{ x }}"}]}],
    ],
)
def test_what_is_no_answer_has_no_address(said: t.Any) -> None:
    assert addresses.of_agent(said) == []


def test_odd_details_are_left_out() -> None:
    (one,) = addresses.of_agent([interface(("fe80::1%eth0", 999), name="x" * 999, mac="no mac")])
    assert (one["address"], one["prefix"], one["mac"], len(one["interface"])) == ("fe80::1", None, None, 255)
    assert len(addresses.of_agent([interface(*[("192.0.2.1", 24)] * 5000)])) == 1000


@pytest.mark.parametrize(
    ("family", "macs", "found"),
    [
        ("any", [MAC], ["192.0.2.10", "2001:db8::1"]),
        ("ipv4", [MAC], ["192.0.2.10"]),
        ("ipv6", [], ["2001:db8::1", "2001:db8::2"]),
        ("any", ["52:54:00:00:00:00"], []),
    ],
)
def test_usable(family: str, macs: list[str], found: list[str]) -> None:
    """No loopback and none of the link, on the VM's own cards: a container's bridge in the guest is not one."""
    told = addresses.of_agent([LO, ETH0, interface(("2001:db8::2", 64), name="docker0", mac="02:00:00:00:00:01")])
    assert [one["address"] for one in addresses.usable(told, family, macs)] == found


def test_in_words() -> None:
    assert addresses.in_words([]) == "none"
    assert addresses.in_words(addresses.of_agent([ETH0])).startswith("eth0 192.0.2.10, eth0 fe80::1")
