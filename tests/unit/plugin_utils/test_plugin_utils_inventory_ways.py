# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""By which address a guest is reached."""

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.maqet.qemu.plugins.plugin_utils.inventory_ways import Hypervisor, Preference, network, way

LAN, LAB, NAT = "52:54:00:00:00:01", "52:54:00:00:00:02", "52:54:00:00:00:03"
FAR, HERE = Hypervisor("198.51.100.1", False), Hypervisor("localhost", True)


def address(text: str, mac: t.Any = LAN, source: str = "agent") -> dict[str, t.Any]:
    family = "ipv6" if ":" in text else "ipv4"
    return {"interface": "eth0", "mac": mac, "family": family, "address": text, "source": source}


def record(*addresses: dict[str, t.Any], **changes: t.Any) -> dict[str, t.Any]:
    cards = [
        {"id": "nic0", "type": "bridge", "bridge": "br0", "mac": LAN},
        {"id": "nic1", "type": "macvtap", "mac": LAB},
        {"id": "nic2", "type": "user", "mac": NAT},
    ]
    return {"state": "running", "networks": cards, "forwards": [], "addresses": list(addresses), **changes}


EVERY = (
    address("2001:db8::9"),
    address("192.0.2.9", source="neighbours"),
    address("192.0.2.10"),
    address("203.0.113.9", LAB),
)


@pytest.mark.parametrize(
    ("preference", "host"),
    [
        ({}, "192.0.2.10"),
        ({"families": ["ipv6", "ipv4"]}, "2001:db8::9"),
        ({"families": ["ipv6"]}, "2001:db8::9"),
        ({"sources": ["neighbours", "agent"]}, "192.0.2.9"),
        ({"sources": ["neighbours"]}, "192.0.2.9"),
        ({"sources": ["lease"]}, None),
        ({"networks": ["203.0.113.0/24"]}, "203.0.113.9"),
        ({"networks": ["nic1", "br0"]}, "203.0.113.9"),
        ({"networks": ["br0"], "families": ["ipv6", "ipv4"]}, "2001:db8::9"),
        ({"networks": ["10.0.0.0/8"]}, "192.0.2.10"),
        ({"networks": ["2001:db8::/32"]}, "2001:db8::9"),
        ({"networks": ["2001:db8::/32"], "families": ["ipv4"]}, "192.0.2.10"),
    ],
)
def test_which_of_its_addresses(preference: dict[str, t.Any], host: t.Optional[str]) -> None:
    networks = [network(text) for text in preference.pop("networks", [])]
    found = way(record(*EVERY), Preference(networks=networks, **preference), FAR, True)
    assert found == ({"ansible_host": host} if host else {})


@pytest.mark.parametrize(
    "one",
    [
        address("10.0.2.15", NAT),  # of QEMU's own network, where nobody else is
        address("172.17.0.1", "02:42:00:00:00:01"),  # of a container's bridge in the guest
        address("172.17.0.1", None),
        address("127.0.0.1"),
        address("fe80::1"),
        address("not an address"),
        {},
        {"address": "192.0.2.1"},
        {**address("192.0.2.1"), "source": "rumour"},
        {**address("192.0.2.1"), "family": "ipv9"},
    ],
)
def test_what_leads_nowhere(one: dict[str, t.Any]) -> None:
    assert way(record(one), Preference(), FAR, True) == {}


def test_a_vm_without_a_card_that_is_reached() -> None:
    assert (
        way(record(address("10.0.2.15", NAT), networks=[{"type": "user", "mac": NAT}]), Preference(), FAR, True) == {}
    )


@pytest.mark.parametrize(
    ("rule", "hypervisor", "found"),
    [
        ({"host_address": "0.0.0.0"}, FAR, ("198.51.100.1", 2222)),
        ({"host_address": "198.51.100.7"}, FAR, ("198.51.100.7", 2222)),
        ({"host_address": "127.0.0.1"}, HERE, ("127.0.0.1", 2222)),
        ({"host_address": "0.0.0.0"}, HERE, ("localhost", 2222)),
        ({"host_address": "127.0.0.1"}, FAR, None),
        ({"host_address": "0.0.0.0", "protocol": "udp"}, FAR, None),
        ({"host_address": "0.0.0.0", "guest_port": 80}, FAR, None),
        ({"host_address": "here"}, FAR, None),
    ],
)
def test_a_port_of_the_hypervisor(
    rule: dict[str, t.Any], hypervisor: Hypervisor, found: t.Optional[tuple[str, int]]
) -> None:
    vm = record(forwards=[{"protocol": "tcp", "host_port": 2222, "guest_port": 22, **rule}])
    expected = {"ansible_host": found[0], "ansible_port": found[1]} if found else {}
    assert way(vm, Preference(), hypervisor, True) == expected
    assert way(vm, Preference(), hypervisor, False) == {}
    assert way({**vm, "state": "stopped"}, Preference(), hypervisor, True) == {}
    reached = {**vm, "addresses": [address("192.0.2.10")]}
    assert way(reached, Preference(), hypervisor, True) == {"ansible_host": "192.0.2.10"}


@pytest.mark.parametrize("text", ["192.0.2.0/33", "10.0.0/x", "2001:db8::/200"])
def test_what_only_looks_like_a_network(text: str) -> None:
    with pytest.raises(ValueError, match=r"^prefer_networks: "):
        network(text)
