# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The kernel's own protocol, spoken to the kernel itself in a namespace of the test's."""

from __future__ import annotations

import socket
import struct

import pytest
from ansible_collections.maqet.qemu.plugins.module_utils.host import netlink
from ansible_collections.maqet.qemu.tests.unit.host.namespace import inside


def test_what_is_there_is_seen_by_everybody() -> None:
    """Also without any privilege."""
    found = netlink.links()
    assert {link.name: link.index for link in found.values()} == {name: index for index, name in socket.if_nameindex()}
    assert (found["lo"].kind, found["lo"].master, found["lo"].alias) == ("", 0, "")


def test_changes_are_seen() -> None:
    told = inside("""
ip("link", "add", "br7", "type", "bridge")
ip("link", "add", "v0", "type", "veth", "peer", "name", "v1")
before = netlink.links()
netlink.change(before["v0"].index, mac="fe:54:00:01:02:03", mtu=1300, master=before["br7"].index, alias="some words")
link = netlink.links()["v0"]
told["before"] = [before["v0"].up, before["v0"].mtu, before["v0"].kind, before["br7"].kind]
told["after"] = [link.up, link.mtu, link.master == before["br7"].index, link.alias]
told["mac"] = open("/sys/class/net/v0/address").read().strip() if os.system("mount -t sysfs s /sys") == 0 else ""
netlink.change(link.index, mtu=1400)
told["again"] = [netlink.links()["v0"].mtu, netlink.links()["v0"].alias]
""")
    assert told["before"] == [False, 1500, "veth", "bridge"]
    assert told["after"] == [True, 1300, True, "some words"]
    assert told["mac"] == "fe:54:00:01:02:03"
    assert told["again"] == [1400, "some words"], "what is not given stays"


def test_a_macvtap_comes_and_goes() -> None:
    told = inside("""
ip("link", "add", "v0", "type", "veth", "peer", "name", "v1")
netlink.add_macvtap("mine", netlink.links()["v0"], "private", "52:54:00:01:02:03", 1400, "an alias")
link = netlink.links()["mine"]
told["made"] = [link.kind, link.up, link.mtu, link.alias]
told["mode"] = subprocess.run(["ip", "-d", "link", "show", "mine"], capture_output=True, text=True).stdout
netlink.remove(link.index)
told["left"] = "mine" in netlink.links()
told["errors"] = []
for number in (link.index, netlink.links()["lo"].index):
    try:
        netlink.remove(number)
    except OSError as error:
        told["errors"].append(error.errno)
""")
    assert told["made"] == ["macvtap", True, 1400, "an alias"]
    assert "macvtap mode private" in told["mode"] and "52:54:00:01:02:03" in told["mode"]
    assert told["left"] is False
    assert told["errors"] == [19, 95], "there is no such device; the loopback cannot be removed"


def test_many_interfaces_take_several_parts() -> None:
    told = inside("""
text = "".join(f"link add v{n} type veth peer name w{n}\\n" for n in range(60))
subprocess.run(["ip", "-batch", "-"], input=text, text=True, check=True)
told["count"] = len(netlink.links())
""")
    assert told["count"] >= 121


def test_an_answer_that_is_cut_off() -> None:
    message = struct.pack("=IHHII", 99, 16, 0, 1, 0)
    with pytest.raises(OSError, match="cut off"):
        list(netlink._messages(message))
