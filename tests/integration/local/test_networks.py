# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Networks with real guests, on bridges and links that the tests make: what passes, what is seen, what is left.

No frame leaves this machine: the bridge and the pair of interfaces lead nowhere else.
"""

from __future__ import annotations

import dataclasses
import os
import select
import socket
import subprocess
import typing as t
import urllib.request
import uuid
from pathlib import Path

import pytest
from ansible_collections.maqet.qemu.plugins.module_utils.host import netlink
from ansible_collections.maqet.qemu.plugins.module_utils.host.paths import layout
from ansible_collections.maqet.qemu.tests.hosts import modules
from ansible_collections.maqet.qemu.tests.hosts.devices import needs_macvtap_nodes
from ansible_collections.maqet.qemu.tests.integration.local.conftest import NOTHING, Local, Result, given, kill, remove
from ansible_collections.maqet.qemu.tests.integration.local.test_devices import said

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can make interfaces")
SECONDS = 90


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)


@dataclasses.dataclass(frozen=True)
class Net:
    """A bridge that has ``address``, and a pair of interfaces, ``link`` and ``far``."""

    bridge: str
    link: str
    far: str
    subnet: str

    def address(self, number: int) -> str:
        return f"{self.subnet}.{number}"


@pytest.fixture(scope="module")
def net() -> t.Iterator[Net]:
    mark = uuid.uuid4()
    word = mark.hex[:6]
    found = Net(f"mqb{word}", f"mqv{word}", f"mqw{word}", f"198.18.{mark.int % 256}")  # of RFC 2544: for tests alone
    try:
        ip("link", "add", found.bridge, "type", "bridge")
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"no bridges here: {error}")
    try:
        ip("addr", "add", f"{found.address(1)}/24", "dev", found.bridge)
        ip("link", "set", found.bridge, "up")
        ip("link", "add", found.link, "type", "veth", "peer", "name", found.far)
        for end in (found.link, found.far):
            ip("link", "set", end, "up")
        yield found
    finally:
        ip("link", "del", found.bridge)
        if found.link in netlink.links():
            ip("link", "del", found.link)


@pytest.fixture
def other() -> t.Iterator[str]:
    """A second VM."""
    chosen = f"test-{uuid.uuid4().hex[:8]}"
    yield chosen
    remove(chosen)


def booted(guest: Result, *words: str) -> Result:
    return {**guest, "cmdline": " ".join([guest["cmdline"], *words]), "timeout": SECONDS}


def again(name: str, **wanted: t.Any) -> Result:
    """A later task for a VM, which is to run unless it says otherwise."""
    return modules.must("maqet_vm", **{"name": name, "state": "running", **wanted})


def interfaces(result: Result) -> list[str]:
    return [card["interface"] for card in result["vm"]["networks"] if card["interface"]]


def fetch(address: str) -> bytes:
    """What the guest's web server says to the host."""
    with urllib.request.urlopen(f"http://{address}/", timeout=20) as answer:
        return bytes(answer.read())


def capabilities(pid: int) -> set[int]:
    """Those that a process has in any of its sets, but for the bound of what programs could give it."""
    lines = Path(f"/proc/{pid}/status").read_text("ascii").splitlines()
    sets = dict(line.split(":\t") for line in lines if line.startswith("Cap"))
    return {int(sets[kind], 16) for kind in ("CapInh", "CapPrm", "CapEff", "CapAmb")}


def gone(name: str) -> None:
    """Return when this host has no interface of that name: the kernel takes it away a moment after its process."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0) as told:  # NETLINK_ROUTE
        told.bind((0, 1))  # RTMGRP_LINK, rtnetlink(7)
        while name in netlink.links():
            assert select.select([told], [], [], 10)[0], f"{name} stays"
            told.recv(1 << 16)


def test_two_guests_and_their_host_on_a_bridge(name: str, other: str, guest: Result, net: Net) -> None:
    """Guest to guest, host to guest, several queues, the MTU; QEMU has no capability from it. Adopted, it goes on."""
    card = {"type": "bridge", "bridge": net.bridge, "mtu": 1400, "queues": 2}
    first = given(
        name,
        **booted(guest, f"maqet.address.eth0={net.address(2)}/24", "maqet.httpd"),
        cpus=2,
        networks=[card],
        wait_for=[{"serial": "maqet httpd ready"}],
    )
    (tap,) = interfaces(first)
    link = netlink.links()[tap]
    assert (link.mtu, link.master) == (1400, netlink.links()[net.bridge].index) and len(tap) <= 15
    assert link.alias == f"maqet:{name}:net0"
    assert capabilities(first["vm"]["qemu_pid"]) == {0}
    assert b"maqet guest ready" in fetch(net.address(2))
    second = given(
        other,
        **booted(guest, f"maqet.address.eth0={net.address(3)}/24", f"maqet.ping={net.address(2)}"),
        networks=[{**card, "queues": 1, "mtu": 1300}],
        wait_for=[{"serial": f"maqet ping: {net.address(2)} answers"}],
    )
    assert said(name, "card") == "eth0 mtu=1400 queues=2"
    assert said(other, "card") == "eth0 mtu=1300 queues=1"
    assert interfaces(second) != [tap]

    kill(first["vm"]["runner_pid"])
    assert b"maqet guest ready" in fetch(net.address(2)), "while there is no runner"
    adopted = again(name)
    assert adopted["vm"]["qemu_pid"] == first["vm"]["qemu_pid"] and adopted["actions"][0]["action"] == "adopt"
    assert interfaces(adopted) == [tap]
    assert b"maqet guest ready" in fetch(net.address(2))

    kill(second["vm"]["qemu_pid"])
    gone(interfaces(second)[0])  # with QEMU, however it went
    stopped = again(name, state="stopped", force=True, stop_timeout=0)
    assert interfaces(stopped) == [] and tap not in netlink.links()


def test_two_guests_and_a_cable(name: str, other: str, guest: Result) -> None:
    """Either end may come first, and come again; nobody else may send."""
    subnet = "198.18.255"
    one = {"networks": [{"type": "socket", "peer": other, "mtu": 9000}]}
    two = {"networks": [{"type": "socket", "peer": name, "mtu": 9000}]}
    answered = [{"serial": "maqet ping: .* answers"}]
    given(name, **booted(guest, f"maqet.address.eth0={subnet}.1/24", f"maqet.ping={subnet}.2"), **one)
    asking = booted(guest, f"maqet.address.eth0={subnet}.2/24", f"maqet.ping={subnet}.1")
    started = given(other, **asking, **two, wait_for=answered)
    again(name, wait_for=answered)
    assert said(name, "card") == "eth0 mtu=9000 queues=1"
    for one_end, far_end in ((name, other), (other, name)):
        socket = Path(layout().vm(one_end).cable(far_end))
        mine, theirs = (os.lstat(layout().vm(vm).output).st_uid for vm in (one_end, far_end))
        folder = socket.parent.lstat()
        assert (folder.st_uid, folder.st_gid, folder.st_mode & 0o777) == (mine, theirs, 0o710)
        assert (socket.lstat().st_uid, socket.lstat().st_gid, socket.lstat().st_mode & 0o777) == (mine, theirs, 0o660)
    later = again(other, state="restarted", force=True, stop_timeout=0, timeout=SECONDS, wait_for=answered)
    assert later["vm"]["qemu_pid"] != started["vm"]["qemu_pid"]
    again(other, state="stopped", force=True, stop_timeout=0)
    assert not Path(layout().vm(other).cables).exists()


def test_a_macvtap(name: str, guest: Result, net: Net) -> None:
    """A neighbour of whatever is at the far end of its link; it is removed whichever way its VM goes."""
    needs_macvtap_nodes()
    ip("addr", "replace", "198.18.254.1/24", "dev", net.far)
    wanted = {"networks": [{"type": "macvtap", "link": net.link, "mode": "private", "queues": 2, "mtu": 1200}]}
    words = ("maqet.address.eth0=198.18.254.2/24", "maqet.ping=198.18.254.1")
    ready = [{"serial": "maqet ping: .* answers"}]
    started = given(name, **booted(guest, *words), cpus=2, **wanted, wait_for=ready)
    (made,) = interfaces(started)
    assert netlink.links()[made].kind == "macvtap" and netlink.links()[made].mtu == 1200
    assert said(name, "card") == "eth0 mtu=1200 queues=2"
    assert capabilities(started["vm"]["qemu_pid"]) == {0}
    kill(started["vm"]["runner_pid"])
    kill(started["vm"]["qemu_pid"])
    assert made in netlink.links(), "nobody was left to remove it"
    again(name, timeout=SECONDS, wait_for=ready)
    again(name, state="stopped", force=True, stop_timeout=0)
    assert made not in netlink.links()
    started = again(name, timeout=SECONDS)
    assert made in netlink.links()
    kill(started["vm"]["qemu_pid"])
    again(name, state="absent")
    assert made not in netlink.links()


def test_a_tap_that_somebody_has_made(name: str, guest: Result, net: Net) -> None:
    """It is used, one VM at a time, and kept."""
    tap = f"mqt{uuid.uuid4().hex[:6]}"
    ip("tuntap", "add", "dev", tap, "mode", "tap")
    try:
        ip("link", "set", tap, "master", net.bridge)
        wanted = {"networks": [{"type": "tap", "tap": tap}]}
        words = (f"maqet.address.eth0={net.address(9)}/24", f"maqet.ping={net.address(1)}")
        ready = [{"serial": "maqet ping: .* answers"}]
        started = given(name, **booted(guest, *words), **wanted, wait_for=ready)
        assert interfaces(started) == [tap]
        second = f"{name}-2"
        try:
            refused = modules.run_module("maqet_vm", {"name": second, "state": "running", **NOTHING, **wanted}).result
            assert refused["error_code"] == "invalid_option" and "in use by another process" in refused["msg"]
            queued = {"networks": [{**wanted["networks"][0], "queues": 2}]}
            again(name, state="stopped", force=True, stop_timeout=0)
            refused = modules.run_module("maqet_vm", {"name": second, "state": "running", **NOTHING, **queued}).result
            assert "multi_queue" in refused["msg"], refused
        finally:
            remove(second)
        assert tap in netlink.links()
    finally:
        ip("link", "del", tap)


ACCEPTED: dict[str, Result] = {
    "user": {"type": "user"},
    "user options": {
        "type": "user",
        "restrict": True,
        "ipv6": False,
        "network": "10.5.0.0/24",
        "dns": "10.5.0.9",
        "domain": "example.com",
        "hostname": "web1",
        "mtu": 1400,
    },
    "smallest user": {"type": "user", "network": "10.5.0.224/27"},
    "largest user": {"type": "user", "network": "10.0.0.0/8"},
    "bridge": {"type": "bridge", "bridge": "BRIDGE"},
    "bridge queues": {"type": "bridge", "bridge": "BRIDGE", "queues": 4, "mtu": 9000},
    "bridge e1000": {"type": "bridge", "bridge": "BRIDGE", "model": "e1000e", "mtu": 1280},
    "macvtap": {"type": "macvtap", "link": "LINK"},
    "macvtap vepa": {"type": "macvtap", "link": "LINK", "mode": "vepa", "model": "rtl8139"},
    "peer": {"type": "socket", "peer": "nobody"},
    "udp": {"type": "socket", "local": "127.0.0.1:PORT", "remote": "127.0.0.1:9"},
}


@pytest.mark.parametrize("word", ACCEPTED)
def test_qemu_takes_it(name: str, word: str, net: Net) -> None:
    """And a second run has nothing to do."""
    if ACCEPTED[word]["type"] == "macvtap":
        needs_macvtap_nodes()
    port = str(20000 + uuid.uuid4().int % 10000)
    places = {"BRIDGE": net.bridge, "LINK": net.link, "127.0.0.1:PORT": f"127.0.0.1:{port}"}
    card = {key: places.get(value, value) if isinstance(value, str) else value for key, value in ACCEPTED[word].items()}
    started = given(name, networks=[card])
    assert started["vm"]["status"] == "running"
    assert given(name, networks=[card])["changed"] is False


def test_twelve_steps(local: Local, name: str, net: Net) -> None:
    """A card is added, changed and taken away; a running VM is restarted for several queues, if that was allowed."""

    def steps(state: str, networks: list[Result]) -> list[Result]:
        options: Result = {**NOTHING, "networks": networks, "allow_restart": True, "force": True, "stop_timeout": 0}
        task: Result = {"maqet_vm": {"name": name, "state": state, **options}}
        return local.run({**task, "check_mode": True}, task, {**task, "check_mode": True}, task)

    card: Result = {"type": "bridge", "bridge": net.bridge}
    for state, networks, kinds in (
        ("running", [card], ["define", "start", "resume"]),
        ("running", [{**card, "queues": 2}], ["stop", "redefine", "start", "resume"]),
        ("stopped", [], ["stop", "redefine"]),
    ):
        check, real, checked, repeated = steps(state, networks)
        for result in (check, real, checked, repeated):
            assert not result["failed"], result["msg"]
        changed = [result["changed"] for result in (check, real, checked, repeated)]
        assert changed == [True, True, False, False]
        assert check["actions"] == real["actions"] and check["diff"] == real["diff"]
        assert [action["action"] for action in real["actions"]] == kinds
        assert len(real["vm"]["networks"]) == len(networks)
        links = [link.name for link in netlink.links().values() if link.alias.startswith(f"maqet:{name}:")]
        assert links == interfaces(real)
        if state == "running":
            refused = local.vm(name, networks=[{**card, "queues": 4}])
            assert refused["error_code"] == "restart_required"


def test_what_is_not_there(name: str, net: Net) -> None:
    """Each is refused before anything is defined, and the message names those that there are."""
    for card, option, words in (
        ({"type": "bridge", "bridge": "nosuchbr"}, "networks[0].bridge", "does not exist. This host has: "),
        ({"type": "bridge", "bridge": net.link}, "networks[0].bridge", net.bridge),
        ({"type": "tap", "tap": net.bridge}, "networks[0].tap", "is not a tap"),
        ({"type": "macvtap", "link": "lo"}, "networks[0].link", net.link),
        ({"type": "macvtap", "link": net.link, "mtu": 9000}, "networks[0].mtu", "at most 1500"),
        ({"type": "socket", "peer": name}, "networks[0].peer", "this VM itself"),
    ):
        wanted = {"name": name, "state": "running", **NOTHING, "networks": [card]}
        refused = modules.run_module("maqet_vm", wanted).result
        assert refused["error_code"] == "invalid_option", refused
        assert refused["msg"].startswith(f"{option}: ") and words in refused["msg"], refused["msg"]
        assert not Path(layout().vms, name).exists()
