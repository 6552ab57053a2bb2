# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Network cards: given, and in normal form."""

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.maqet.qemu.plugins.module_utils.definition.network_types import interface_name
from ansible_collections.maqet.qemu.plugins.module_utils.definition.networks import networks

USER = {"type": "user"}
BRIDGE = {"type": "bridge", "bridge": "br0"}
CABLE = {"type": "socket", "peer": "db1"}
UDP = {"type": "socket", "local": "127.0.0.1:5001", "remote": "10.1.2.3:5002"}


def forward(**changes: t.Any) -> dict[str, t.Any]:
    return {"host_port": 2222, "guest_port": 22, **changes}


def user(*rules: dict[str, t.Any], **more: t.Any) -> dict[str, t.Any]:
    return {**USER, "hostfwd": list(rules), **more}


@pytest.mark.parametrize(
    ("given", "normal"),
    [
        ([], []),
        ([{"type": "none"}], []),
        ([{"type": "none", "model": None}], []),
        ([USER], [USER]),
        ([USER, USER], [USER, USER]),
        ([{**USER, "model": "e1000e"}], [{"type": "user", "model": "e1000e"}]),
        ([{**USER, "mac": "52:54:00:AB:cd:EF"}], [{"type": "user", "mac": "52:54:00:ab:cd:ef"}]),
        ([{**USER, "mac": "52-54-00-ab-cd-ef"}], [{"type": "user", "mac": "52:54:00:ab:cd:ef"}]),
        ([user(forward())], [user(forward())]),
        ([user(forward(host_port="2222"))], [user(forward())]),
        (
            [user(forward(protocol="udp", host_address="0.0.0.0", guest_address="10.0.2.15"))],
            [user(forward(protocol="udp", host_address="0.0.0.0", guest_address="10.0.2.15"))],
        ),
        # The same port of another protocol or another address is another port.
        ([user(forward(), forward(protocol="udp"))], [user(forward(), forward(protocol="udp"))]),
        (
            [user(forward(), forward(host_address="127.0.0.2"))],
            [user(forward(), forward(host_address="127.0.0.2"))],
        ),
        ([BRIDGE], [BRIDGE]),
        ([{**BRIDGE, "queues": "4", "mtu": "9000"}], [{**BRIDGE, "mtu": 9000, "queues": 4}]),
        (
            [{**BRIDGE, "model": "e1000", "mtu": 1400, "queues": 1}],
            [{**BRIDGE, "model": "e1000", "mtu": 1400, "queues": 1}],
        ),
        ([BRIDGE, BRIDGE], [BRIDGE, BRIDGE]),
        ([{"type": "tap", "tap": "tap0"}], [{"type": "tap", "tap": "tap0"}]),
        ([{"type": "macvtap", "link": "eth0.7"}], [{"type": "macvtap", "link": "eth0.7"}]),
        (
            [{"type": "macvtap", "link": "a" * 15, "mode": "vepa"}],
            [{"type": "macvtap", "link": "a" * 15, "mode": "vepa"}],
        ),
        ([CABLE], [CABLE]),
        ([UDP], [UDP]),
        ([{**UDP, "local": "127.0.0.1:05001"}], [UDP]),
        ([CABLE, {**CABLE, "peer": "db2"}, UDP], [CABLE, {**CABLE, "peer": "db2"}, UDP]),
        (
            [
                {
                    **USER,
                    "restrict": True,
                    "ipv6": False,
                    "network": "10.5.0.0/24",
                    "dns": "10.5.0.9",
                    "domain": "a.example",
                }
            ],
            [
                {
                    **USER,
                    "restrict": True,
                    "network": "10.5.0.0/24",
                    "dns": "10.5.0.9",
                    "domain": "a.example",
                    "ipv6": False,
                }
            ],
        ),
        (
            [{**USER, "dns": "10.0.2.7", "hostname": "web1", "mtu": 1500}],
            [{**USER, "dns": "10.0.2.7", "hostname": "web1", "mtu": 1500}],
        ),
    ],
)
def test_normal_form(given: t.Any, normal: t.Any) -> None:
    assert networks("networks", given) == normal


@pytest.mark.parametrize(
    ("given", "option"),
    [
        ("user", "networks"),
        (USER, "networks"),
        (["user"], "networks[0]"),
        ([{}], "networks[0]"),
        ([{"model": "e1000"}], "networks[0]"),
        ([{"type": "vde"}], "networks[0].type"),
        ([{"type": "bridge"}], "networks[0]"),
        ([{"type": "tap"}], "networks[0]"),
        ([{"type": "macvtap", "mode": "vepa"}], "networks[0]"),
        ([{"type": "socket"}], "networks[0]"),
        ([{"type": "socket", "local": "127.0.0.1:1"}], "networks[0]"),
        ([{**CABLE, "local": "127.0.0.1:1"}], "networks[0].local"),
        ([{**CABLE, **UDP}], "networks[0].local"),
        ([{**CABLE, "peer": "-x"}], "networks[0].peer"),
        ([CABLE, CABLE], "networks[1].peer"),
        ([UDP, UDP], "networks[1].local"),
        ([{**UDP, "remote": "db1:5001"}], "networks[0].remote"),
        ([{**UDP, "remote": "127.0.0.1:70000"}], "networks[0].remote"),
        ([{**UDP, "local": "127.0.0.1"}], "networks[0].local"),
        ([{"type": "bridge", "bridge": "br0/../x"}], "networks[0].bridge"),
        ([{"type": "bridge", "bridge": "a" * 16}], "networks[0].bridge"),
        ([{"type": "bridge", "bridge": ".."}], "networks[0].bridge"),
        ([{"type": "bridge", "bridge": "br0\n"}], "networks[0].bridge"),
        ([{"type": "bridge", "bridge": "br:0"}], "networks[0].bridge"),
        ([{**BRIDGE, "tap": "tap0"}], "networks[0].tap"),
        ([{**BRIDGE, "hostfwd": []}], "networks[0].hostfwd"),
        ([{**USER, "queues": 2}], "networks[0].queues"),
        ([{**BRIDGE, "queues": 0}], "networks[0].queues"),
        ([{**BRIDGE, "queues": 65}], "networks[0].queues"),
        ([{**BRIDGE, "queues": 2, "model": "e1000"}], "networks[0].queues"),
        ([{**BRIDGE, "mtu": 67}], "networks[0].mtu"),
        ([{**BRIDGE, "mtu": 65522}], "networks[0].mtu"),
        ([{**USER, "mtu": 1501}], "networks[0].mtu"),
        ([{**USER, "mtu": 1400, "model": "e1000"}], "networks[0].mtu"),
        ([{"type": "tap", "tap": "tap0"}, {"type": "tap", "tap": "tap0"}], "networks[1].tap"),
        ([{"type": "macvtap", "link": "eth0", "mode": "passthru"}], "networks[0].mode"),
        ([{**USER, "restrict": "yes"}], "networks[0].restrict"),
        ([{**USER, "ipv6": 1}], "networks[0].ipv6"),
        ([{**USER, "network": "10.5.0.1/24"}], "networks[0].network"),
        ([{**USER, "network": "10.5.0.0/28"}], "networks[0].network"),
        ([{**USER, "network": "10.5.0.0"}], "networks[0].network"),
        ([{**USER, "network": "10.5.0.0/24", "dns": "10.0.2.3"}], "networks[0].dns"),
        ([{**USER, "dns": "10.0.3.3"}], "networks[0].dns"),
        ([{**USER, "domain": "a,b"}], "networks[0].domain"),
        ([{**USER, "hostname": "-a"}], "networks[0].hostname"),
        ([{"type": "none"}, USER], "networks[0].type"),
        ([USER, {"type": "none"}], "networks[1].type"),
        ([{"type": "none"}, {"type": "none"}], "networks[0].type"),
        ([{"type": "none", "model": "e1000"}], "networks[0].model"),
        ([{**USER, "model": "virtio,netdev=x"}], "networks[0].model"),
        ([{**USER, "bridge": "br0"}], "networks[0].bridge"),
        ([{**USER, "mac": "52:54:00:ab:cd"}], "networks[0].mac"),
        ([{**USER, "mac": "52:54-00:ab:cd:ef"}], "networks[0].mac"),
        ([{**USER, "mac": "52:54:00:ab:cd:ef\n"}], "networks[0].mac"),
        ([{**USER, "mac": "53:54:00:ab:cd:ef"}], "networks[0].mac"),
        ([{**USER, "mac": "ff:ff:ff:ff:ff:ff"}], "networks[0].mac"),
        ([{**USER, "mac": "00:00:00:00:00:00"}], "networks[0].mac"),
        ([{**USER, "mac": 525400}], "networks[0].mac"),
        ([{**USER, "mac": "52:54:00:00:00:01"}, {**USER, "mac": "52-54-00-00-00-01"}], "networks[1].mac"),
        ([{**USER, "hostfwd": "tcp::22-:22"}], "networks[0].hostfwd"),
        ([user({"host_port": 22})], "networks[0].hostfwd[0]"),
        ([user({"guest_port": 22})], "networks[0].hostfwd[0]"),
        ([user(forward(host_port=0))], "networks[0].hostfwd[0].host_port"),
        ([user(forward(host_port=65536))], "networks[0].hostfwd[0].host_port"),
        ([user(forward(host_port=True))], "networks[0].hostfwd[0].host_port"),
        ([user(forward(guest_port="ssh"))], "networks[0].hostfwd[0].guest_port"),
        ([user(forward(protocol="sctp"))], "networks[0].hostfwd[0].protocol"),
        ([user(forward(host_address="localhost"))], "networks[0].hostfwd[0].host_address"),
        ([user(forward(host_address="::1"))], "networks[0].hostfwd[0].host_address"),
        ([user(forward(host_address="127.0.0.256"))], "networks[0].hostfwd[0].host_address"),
        ([user(forward(host_address="127.0.0.01"))], "networks[0].hostfwd[0].host_address"),
        ([user(forward(guest_address="10.0.2"))], "networks[0].hostfwd[0].guest_address"),
        ([user(forward(port=1))], "networks[0].hostfwd[0].port"),
        ([user(forward(), forward(guest_port=80))], "networks[0].hostfwd[1].host_port"),
        ([user(forward()), user(forward())], "networks[1].hostfwd[0].host_port"),
        ([user(forward(), forward(host_address="0.0.0.0"))], "networks[0].hostfwd[1].host_port"),
        ([user(forward(host_address="0.0.0.0"), forward())], "networks[0].hostfwd[1].host_port"),
    ],
)
def test_refused(given: t.Any, option: str, refused: t.Any) -> None:
    refused(option, networks, "networks", given)


def test_a_type_says_what_it_knows(refused: t.Any) -> None:
    error = refused("networks[0].bridge", networks, "networks", [{**USER, "bridge": "br0"}])
    assert "type user" in str(error) and "hostfwd" in str(error) and "peer" not in str(error)


def test_interfaces_have_names_of_their_own() -> None:
    """The same each time, short enough for the kernel, and another for another VM however alike the names are."""
    vms = ["web1", "web2", "w", "a" * 63, "a" * 62 + "b", "web.1", "Web1"]
    made = [interface_name(vm, index) for vm in vms for index in (0, 1, 31)]
    assert len(set(made)) == len(made)
    assert all(len(name) <= 15 for name in made)
    assert interface_name("web1", 0) == "web1-s57uzs-0"
