# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Networks of a VM on a host: what is asked before a start, and what its facts say."""

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.maqet.qemu.plugins.module_utils.definition.render_networks import mac_address
from ansible_collections.maqet.qemu.plugins.module_utils.definition.stored import Definition
from ansible_collections.maqet.qemu.plugins.module_utils.errors import MaqetError
from ansible_collections.maqet.qemu.plugins.module_utils.host import netlink, qemu
from ansible_collections.maqet.qemu.plugins.module_utils.host.netlink import Link
from ansible_collections.maqet.qemu.plugins.module_utils.host.paths import Layout
from ansible_collections.maqet.qemu.plugins.module_utils.vm import networks

UUID = "11111111-2222-3333-4444-555555555555"
SYSTEM = Layout("/nowhere/s", "/nowhere/r", "/nowhere/l", "system")
USERS = Layout("/nowhere/s", "/nowhere/r", "/nowhere/l", "user")


def intent(*cards: dict[str, t.Any]) -> dict[str, t.Any]:
    return {"arch": "x86_64", "networks": list(cards)}


@pytest.fixture(autouse=True)
def host(monkeypatch: pytest.MonkeyPatch) -> None:
    """A host with a bridge and a card."""
    known = {name: Link(1, name, kind, 1500, True, 0, "", {}) for name, kind in (("br0", "bridge"), ("eth0", ""))}
    monkeypatch.setattr(netlink, "links", lambda: known)
    monkeypatch.setattr(qemu, "find_binary", lambda arch: f"/bin/qemu-system-{arch}")
    monkeypatch.setattr(qemu, "version", lambda _binary: "7.2.22")


@pytest.mark.parametrize("card", [{"type": "bridge", "bridge": "br0"}, {"type": "macvtap", "link": "eth0"}])
def test_only_root_makes_interfaces(card: dict[str, t.Any]) -> None:
    networks.check_definition(intent(card), SYSTEM, "web")
    with pytest.raises(MaqetError, match="needs an interface that only root can make") as caught:
        networks.check_definition(intent({"type": "user"}, card), USERS, "web")
    assert caught.value.details["option"] == "networks[1].type"


@pytest.mark.parametrize("card", [{"type": "user"}, {"type": "tap", "tap": "t"}, {"type": "socket", "peer": "db"}])
def test_everybody_has_the_others(card: dict[str, t.Any]) -> None:
    networks.check_definition(intent(card), USERS, "web")


@pytest.mark.parametrize(
    ("version", "name", "words"),
    [
        ("7.1.0", "web", "needs QEMU 7.2, and /bin/qemu-system-x86_64 is 7.1.0. Give local and remote"),
        ("6.2.0", "web", "needs QEMU 7.2"),
        ("10.0.2", "db", "is this VM itself"),
        ("10.0.2", "web", ""),
        ("unknown", "web", ""),
    ],
)
def test_a_cable(monkeypatch: pytest.MonkeyPatch, version: str, name: str, words: str) -> None:
    monkeypatch.setattr(qemu, "version", lambda _binary: version)
    cable = intent({"type": "socket", "peer": "db"})
    if not words:
        networks.check_definition(cable, SYSTEM, name)
        return
    with pytest.raises(MaqetError) as caught:
        networks.check_definition(cable, SYSTEM, name)
    assert caught.value.details["option"] == "networks[0].peer" and words in str(caught.value)


def test_a_peer_whose_socket_would_have_too_long_a_path() -> None:
    deep = Layout("/s", "/" + "r" * 60, "/l", "user")
    with pytest.raises(MaqetError, match="is a name too long for a socket") as caught:
        networks.check_definition(intent({"type": "socket", "peer": "d" * 63}), deep, "web")
    assert caught.value.details["option"] == "networks[0].peer"


@pytest.mark.parametrize(
    ("card", "option", "words"),
    [
        ({"type": "bridge", "bridge": "br1"}, "bridge", "does not exist. This host has: br0."),
        ({"type": "tap", "tap": "br0"}, "tap", "is not a tap that can be used here. This host has none"),
        ({"type": "macvtap", "link": "wlan0"}, "link", "does not exist. This host has: eth0."),
        ({"type": "macvtap", "link": "eth0", "mtu": 1501}, "mtu", "1501 is more than the 1500 of eth0."),
    ],
)
def test_what_is_not_there(card: dict[str, t.Any], option: str, words: str) -> None:
    with pytest.raises(MaqetError) as caught:
        networks.check_start(intent({"type": "user"}, card))
    assert caught.value.error_code == "invalid_option"
    assert caught.value.details["option"] == f"networks[1].{option}" and words in str(caught.value)


def test_the_kernel_is_not_asked_without_need(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(netlink, "links", lambda: pytest.fail("asked"))
    networks.check_start(intent({"type": "user"}, {"type": "socket", "peer": "db"}))
    networks.check_start({})


def test_facts() -> None:
    cards = [
        {"type": "user", "mac": "52:54:00:00:00:01"},
        {"type": "bridge", "bridge": "br0", "model": "e1000"},
        {"type": "tap", "tap": "tap7"},
    ]
    definition = Definition("web1", UUID, intent(*cards))
    running, stopped = networks.network_facts(definition, True), networks.network_facts(definition, False)
    assert [card["interface"] for card in running] == [None, "web1-s57uzs-1", "tap7"]
    assert [card["interface"] for card in stopped] == [None, None, "tap7"]
    assert running[1] == {
        "id": "nic1",
        "type": "bridge",
        "model": "e1000",
        "mac": mac_address(UUID, 1),
        "interface": "web1-s57uzs-1",
    }
    assert running[0]["mac"] == "52:54:00:00:00:01"
    assert networks.network_facts(None, False) == []
