# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which interface is fit for what; and taps as the kernel really makes them, in a namespace of the test's."""

from __future__ import annotations

import os
import typing as t

import pytest
from ansible_collections.maqet.qemu.plugins.module_utils.errors import MaqetError
from ansible_collections.maqet.qemu.plugins.module_utils.host import links
from ansible_collections.maqet.qemu.plugins.module_utils.host.netlink import Link
from ansible_collections.maqet.qemu.tests.hosts.devices import needs_macvtap_nodes
from ansible_collections.maqet.qemu.tests.unit.host.namespace import inside


def link(name: str, kind: str = "", master: int = 0, **data: int) -> Link:
    """``data``: owner and group of a tap."""
    attributes = {3: b"\2"} if kind == "tun" else {}
    for key, number in (("owner", 1), ("group", 2)):
        if key in data:
            attributes[number] = data[key].to_bytes(4, "little")
    return Link(1, name, kind, 1500, True, master, "", attributes)


HOST = {
    one.name: one
    for one in (
        link("lo"),
        link("eth0"),
        link("eth1", master=9),
        link("bond0", "bond"),
        link("br0", "bridge"),
        link("virbr0", "bridge"),
        link("mine", "tun", owner=1000),
        link("team", "tun", group=50),
        link("everybodys", "tun"),
        Link(1, "vpn", "tun", 1500, True, 0, "", {3: b"\1"}),
    )
}


@pytest.mark.parametrize(
    ("check", "name", "words"),
    [
        (links.bridge, "br1", "does not exist. This host has: br0, virbr0."),
        (links.bridge, "eth0", "is not a bridge that can be used here. This host has: br0, virbr0."),
        (links.below, "br0", "is not an interface that can be used here. This host has: bond0, eth0"),
        (links.below, "lo", "is not an interface that can be used here. This host has: bond0, eth0, eth1."),
        (links.below, "eth1", "is a port of a bridge already. Use type: bridge"),
        (links.tap, "vpn", "is not a tap that can be used here. This host has: everybodys, mine, team."),
        (links.tap, "tap9", "does not exist."),
    ],
)
def test_what_does_not_fit(check: t.Callable[..., Link], name: str, words: str) -> None:
    with pytest.raises(MaqetError) as caught:
        check("networks[0].x", name, HOST)
    assert caught.value.error_code == "invalid_option"
    assert str(caught.value).startswith(f"networks[0].x: {name!r} ") and words in str(caught.value)


def test_what_fits() -> None:
    assert links.bridge("o", "br0", HOST).name == "br0"
    assert links.below("o", "bond0", HOST).name == "bond0"


def test_a_host_without_bridges_says_so() -> None:
    with pytest.raises(MaqetError, match=r"does not exist\. This host has none: make a bridge first\."):
        links.bridge("o", "br0", {"lo": link("lo")})


@pytest.mark.parametrize(
    ("uid", "groups", "allowed"),
    [
        (0, [0], {"mine", "team", "everybodys"}),
        (1000, [7], {"mine", "everybodys"}),
        (1001, [50], {"team", "everybodys"}),
        (1002, [7], {"everybodys"}),
    ],
)
def test_whose_taps(monkeypatch: pytest.MonkeyPatch, uid: int, groups: list[int], allowed: set[str]) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: uid)
    monkeypatch.setattr(os, "getegid", lambda: groups[0])
    monkeypatch.setattr(os, "getgroups", lambda: groups)
    for name in ("mine", "team", "everybodys"):
        if name in allowed:
            assert links.tap("o", name, HOST).name == name
        else:
            with pytest.raises(
                MaqetError, match=rf"'{name}' belongs to .*: ip tuntap add dev {name} mode tap user {uid}"
            ):
                links.tap("o", name, HOST)


def test_a_tap_goes_with_its_last_descriptor() -> None:
    told = inside("""
fds = links.open_tap("o", "one", 1)
told["single"] = netlink.links()["one"].data[7].hex()
told["twice"] = refused(links.open_tap, "o", "one", 1)
for fd in fds:
    os.close(fd)
told["left"] = "one" in netlink.links()
fds = links.open_tap("o", "two", 3)
told["queues"] = int.from_bytes(netlink.links()["two"].data[8], "little")
told["inherited"] = [os.get_inheritable(fd) for fd in fds]
told["stranger"] = refused(links.open_tap, "o", "two", 3)
told["still"] = int.from_bytes(netlink.links()["two"].data[8], "little")
""")
    assert told["single"] == "00" and told["left"] is False
    assert "exists already" in told["twice"] and "exists already" in told["stranger"]
    assert told["queues"] == told["still"] == 3, "nobody else's queues were added to"
    assert told["inherited"] == [False] * 3


def test_a_tap_that_exists() -> None:
    told = inside("""
ip("tuntap", "add", "dev", "single", "mode", "tap")
ip("tuntap", "add", "dev", "several", "mode", "tap", "multi_queue")
known = netlink.links()
fds = links.open_tap("o", "single", 1, known["single"])
told["busy"] = refused(links.open_tap, "o", "single", 1, known["single"])
os.close(fds[0])
told["narrow"] = refused(links.open_tap, "o", "single", 2, known["single"])
told["wide"] = [len(links.open_tap("o", "several", queues, known["several"])) for queues in (1, 2)]
told["kept"] = "single" in netlink.links()
""")
    assert "in use by another process" in told["busy"]
    assert "one queue only. Make it with 'multi_queue'" in told["narrow"]
    assert told["wide"] == [1, 2] and told["kept"] is True


def test_macvtaps_are_known_by_their_alias() -> None:
    needs_macvtap_nodes()
    told = inside("""
os.system("mount -t sysfs s /sys")
ip("link", "add", "v0", "type", "veth", "peer", "name", "v1")
below = netlink.links()["v0"]
for number, vm in enumerate(("web1", "web1", "web11", "web")):
    netlink.add_macvtap(f"m{number}", below, "bridge", f"52:54:00:01:02:0{number}", None, links.alias(vm, number))
told["opened"] = len(links.open_macvtap("o", "m0", 2))
links.forget("web1")
told["left"] = sorted(name for name in netlink.links() if name.startswith("m"))
""")
    assert told == {"opened": 2, "left": ["m2", "m3"]}


def test_no_vhost_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(links, "VHOST", "/nowhere/vhost-net")
    assert links.open_vhost(2) == []
    monkeypatch.setattr(links, "VHOST", "/dev/null")
    fds = links.open_vhost(2)
    for fd in fds:
        os.close(fd)
    assert len(fds) == 2
