# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Interfaces for cards, as the kernel makes them in a namespace of the test's."""

from __future__ import annotations

import typing as t

from ansible_collections.maqet.qemu.tests.hosts.devices import needs_macvtap_nodes
from ansible_collections.maqet.qemu.tests.unit.host.namespace import inside

_BEFORE = """
from ansible_collections.maqet.qemu.plugins.module_utils.definition.defaults import effective
from ansible_collections.maqet.qemu.plugins.module_utils.definition.intent import normalise
from ansible_collections.maqet.qemu.plugins.module_utils.definition.stored import Definition
from ansible_collections.maqet.qemu.plugins.module_utils.runner.networks import open_interface
definition = Definition("web1", "11111111-2222-3333-4444-555555555555")
def made(index=0, **card):
    network = effective(normalise({"networks": [card]}), "x86_64")["networks"][0]
    return open_interface(network, index, definition)
os.system("mount -t sysfs sysfs /sys")
ip("link", "add", "br7", "mtu", "1300", "type", "bridge")
ip("link", "add", "v0", "type", "veth", "peer", "name", "v1")
ip("tuntap", "add", "dev", "tap7", "mode", "tap")
def mac(name):
    return open(f"/sys/class/net/{name}/address").read().strip()
"""


def told(script: str) -> dict[str, t.Any]:
    return inside(_BEFORE + script)


def test_a_port_of_a_bridge() -> None:
    found = told("""
bridge = netlink.links()["br7"].index
for index, card in enumerate(({}, {"mtu": 1280, "queues": 3, "mac": "fe:54:00:00:00:07"})):
    fds = made(index, type="bridge", bridge="br7", **card)
    name = f"web1-s57uzs-{index}"
    link = netlink.links()[name]
    told[index] = [len(fds), link.mtu, link.master == bridge, link.up, link.alias, mac(name)]
    for fd in fds:
        os.close(fd)
told["left"] = [name for name in netlink.links() if name.startswith("web1")]
""")
    assert found["0"] == [1, 1300, True, True, "maqet:web1:net0", "fe:54:00:18:ee:ec"]
    assert found["1"] == [3, 1280, True, True, "maqet:web1:net1", "fa:54:00:00:00:07"]
    assert found["left"] == []


def test_a_macvtap_replaces_one_that_was_left() -> None:
    needs_macvtap_nodes()
    found = told("""
first = made(type="macvtap", link="v0", mtu=1200)
index = netlink.links()["web1-s57uzs-0"].index
second = made(type="macvtap", link="v0", queues=2)
link = netlink.links()["web1-s57uzs-0"]
told.update(count=len(second), new=link.index != index, alias=link.alias, mac=mac(link.name), mtu=link.mtu)
""")
    assert found == {"count": 2, "new": True, "alias": "maqet:web1:net0", "mac": "52:54:00:18:ee:ec", "mtu": 1500}


def test_a_tap_of_somebody_elses() -> None:
    found = told("""
before = mac("tap7")
fds = made(type="tap", tap="tap7", mtu=1400)
link = netlink.links()["tap7"]
told.update(up=link.up, mtu=link.mtu, alias=link.alias, same=mac("tap7") == before)
""")
    assert found == {"up": True, "mtu": 1400, "alias": "", "same": True}


def test_what_fails_leaves_nothing() -> None:
    found = told("""
ip("link", "set", "v1", "mtu", "1000")
ip("link", "set", "v0", "mtu", "1000")
told["macvtap"] = refused(lambda: made(type="macvtap", link="v0", mtu=9000))
ip("link", "add", "web1-s57uzs-3", "type", "bridge")
told["taken"] = refused(lambda: made(3, type="bridge", bridge="br7"))
import tempfile
empty = tempfile.mkdtemp()
subprocess.run(["mount", "--bind", empty, "/dev"], check=True)
told["node"] = refused(lambda: made(1, type="macvtap", link="v0"))
told["left"] = [link.name for link in netlink.links().values() if link.alias or link.kind == "macvtap"]
subprocess.run(["umount", "/dev"], check=True)
os.rmdir(empty)
""")
    assert found["macvtap"].startswith("networks[0].link: 'v0' cannot be used: ")
    assert found["taken"].startswith("networks[3].bridge: ") and "exists already" in found["taken"]
    assert "/dev/tap" in found["node"] and "No such file" in found["node"]
    assert found["left"] == []
