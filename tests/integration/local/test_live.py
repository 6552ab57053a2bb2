# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What changes while the guest runs: the guest itself says what it sees."""

from __future__ import annotations

import os
import typing as t
import uuid
from pathlib import Path

import pytest
from ansible_collections.maqet.qemu.plugins.module_utils.host import netlink
from ansible_collections.maqet.qemu.tests.hosts import modules
from ansible_collections.maqet.qemu.tests.integration.local.conftest import ARCH, Local, Result, remove
from ansible_collections.maqet.qemu.tests.integration.local.test_networks import Net, net

__all__ = ["net"]

MIB = 1 << 20


def thrice(local: Local, vm: str, **wanted: t.Any) -> list[Result]:
    """A task in check mode, for real, and again."""
    task: Result = {"maqet_vm": {"name": vm, **wanted}}
    return local.run({**task, "check_mode": True}, task, task)


@pytest.fixture
def vm(agent_guest: Result) -> t.Iterator[str]:
    """A VM whose guest has booted."""
    chosen = f"test-{uuid.uuid4().hex[:8]}"
    modules.must("maqet_vm", name=chosen, state="running", **agent_guest)
    modules.must("maqet_guest", vm=chosen, command="guest-ping", wait_for_agent=True, timeout=120)
    yield chosen
    remove(chosen)


def inside(vm: str, script: str) -> str:
    """What a shell in the guest says."""
    told = modules.must("maqet_guest", vm=vm, exec={"argv": ["/bin/sh", "-c", script]}, allow_dangerous=True)
    return str(told["stdout"])


def sectors(vm: str, serial: str) -> t.Optional[int]:
    """The size of a disk in the guest's own sectors of 512 bytes, or None."""
    script = f'for d in /sys/block/vd*; do [ "$(cat $d/serial)" = {serial} ] && cat $d/size; done; true'
    found = inside(vm, script).split()
    return int(found[0]) if found else None


def test_disks(local: Local, vm: str, tmp_path: Path) -> None:
    """Plugged, grown, unplugged: in check mode, for real, again; the guest sees each, and nothing is restarted."""
    foreign = tmp_path / "other.raw"
    foreign.write_bytes(b"not ours".ljust(MIB, b"\0"))
    one = [{"name": "data1", "size": "8M"}]
    two = [{"name": "data1", "size": "16M"}, {"name": "more", "path": str(foreign), "format": "raw"}]
    pid = modules.must("maqet_vm", name=vm)["vm"]["qemu_pid"]
    expected = [
        (one, [("create_disk", "live"), ("plug_disk", "live"), ("redefine", "live")]),
        (two, [("grow_disk", "live"), ("plug_disk", "live"), ("redefine", "live")]),
        (one[:0], [("unplug_disk", "live"), ("unplug_disk", "live"), ("redefine", "live")]),
    ]
    sizes: list[dict[str, t.Optional[int]]] = [
        {"data1": 8 * MIB, "more": None},
        {"data1": 16 * MIB, "more": MIB},
        {"data1": None, "more": None},
    ]
    for (disks, actions), seen in zip(expected, sizes):
        checked, real, again = thrice(local, vm, disks=disks)
        for result in (checked, real):
            assert result["changed"] and not result["failed"], result
            assert [(action["action"], action["impact"]) for action in result["actions"]] == actions
        assert checked["diff"] == real["diff"]
        assert not again["changed"] and again["vm"]["qemu_pid"] == pid
        assert {name: size and size // 512 for name, size in seen.items()} == {name: sectors(vm, name) for name in seen}
    assert foreign.read_bytes().startswith(b"not ours")


def test_networks(local: Local, vm: str) -> None:
    """A card comes and goes."""
    for networks, count in (([{"type": "user"}], 1), ([{"type": "user"}, {"type": "user"}], 2), ([], 0)):
        checked, real, again = thrice(local, vm, networks=networks)
        assert checked["changed"] and real["changed"] and not real["failed"], real
        assert {action["impact"] for action in real["actions"]} == {"live"}
        assert checked["actions"] == real["actions"] and not again["changed"]
        assert len(inside(vm, "ls /sys/class/net").split()) == count + 1


def test_what_else_changes_without_a_restart(local: Local, agent_guest: Result, tmp_path: Path) -> None:
    """Processors, balloon, media, limits, password: each once, and a second run has nothing to do.

    Arm's board has no plugs for processors.
    """
    name = f"test-{uuid.uuid4().hex[:8]}"
    first, second = tmp_path / "a.iso", tmp_path / "b.iso"
    first.write_bytes(b"a" * 65536)
    second.write_bytes(b"b" * 131072)
    disk, drive = {"name": "d", "size": "4M"}, {"name": "cd", "type": "cdrom", "interface": "scsi"}
    begun: Result = {
        **({} if ARCH == "aarch64" else {"cpus": 1, "cpus_max": 3}),
        "balloon": True,
        "balloon_target": "128",
        "display": "vnc",
        "vnc": {"password": "first-1"},
        "disks": [{**disk, "throttle": {"iops": 100}}, {**drive, "path": str(first)}],
    }
    try:
        pid = modules.must("maqet_vm", name=name, state="running", **agent_guest, **begun)["vm"]["qemu_pid"]
        modules.must("maqet_guest", vm=name, command="guest-ping", wait_for_agent=True, timeout=120)
        assert asked(name, "query-balloon") == {"actual": 128 * MIB}
        fast = {**disk, "throttle": {"iops": 500}}
        steps: list[tuple[Result, list[str]]] = [
            ({"cpus": 3}, ["plug_cpus"]),
            ({"balloon_target": "200"}, ["set_balloon"]),
            ({"vnc": {"password": "second-2"}}, ["set_vnc_password"]),
            ({"disks": [fast, {**drive, "path": str(second)}]}, ["throttle_disk", "change_medium"]),
            ({"disks": [fast, drive]}, ["change_medium"]),
            ({"disks": [fast, {**drive, "path": str(first)}]}, ["change_medium"]),
        ]
        for changed, kinds in steps[ARCH == "aarch64" :]:
            checked = modules.run_module("maqet_vm", {"name": name, **changed}, check=True).result
            real, again = (modules.must("maqet_vm", name=name, **changed) for _time in range(2))
            assert [action["action"] for action in real["actions"]] == [*kinds, "redefine"]
            assert (checked["actions"], checked["diff"]) == (real["actions"], real["diff"])
            assert not again["changed"] and again["vm"]["qemu_pid"] == pid
            assert "first-1" not in str(real) and "second-2" not in str(real)
        assert len(asked(name, "query-cpus-fast")) == (1 if ARCH == "aarch64" else 3)
        assert asked(name, "query-balloon") == {"actual": 200 * MIB}
        inserted = {entry["qdev"]: entry.get("inserted", {}) for entry in asked(name, "query-block")}
        assert inserted["cd"]["image"]["virtual-size"] == first.stat().st_size
        limits = {"path": "/objects/throttle-d", "property": "limits"}
        assert modules.must("maqet_qmp", vm=name, command="qom-get", arguments=limits)["response"]["iops-total"] == 500
    finally:
        remove(name)


def asked(vm: str, command: str) -> t.Any:
    """QEMU's own answer."""
    return modules.must("maqet_qmp", vm=vm, command=command)["response"]


def test_one_device_by_a_module_of_its_own(local: Local, vm: str) -> None:
    """maqet_device in twelve steps: three kinds, added and taken away, each in check mode, for real, and again."""
    for item in (
        {"disk": {"name": "extra", "size": "4M"}},
        {"network": {"type": "user", "mac": "52:54:00:aa:bb:cc"}},
        {"device": {"driver": "virtio-rng-pci", "id": "rng1"}},
    ):
        for state in ("present", "absent"):
            task = {"maqet_device": {"vm": vm, "state": state, **item}}
            checked, real, again = local.run({**task, "check_mode": True}, task, task)
            assert not any(result["failed"] for result in (checked, real, again)), (checked, real, again)
            assert [result["changed"] for result in (checked, real, again)] == [True, True, False]
            assert checked["actions"] == real["actions"]
            assert {action["impact"] for action in real["actions"]} == {"live"}
            there = [sectors(vm, "extra"), "bb:cc" in inside(vm, "cat /sys/class/net/*/address"), rng(vm)]
            expected = {"disk": 4 * MIB // 512, "network": True, "device": True}
            kind = next(iter(item))
            assert there == [
                value if state == "present" and kind == key else {"disk": None}.get(key, False)
                for key, value in expected.items()
            ]
    absent = modules.run_module("maqet_device", {"vm": "not-there", "disk": {"name": "a", "size": "1M"}}).result
    assert absent["error_code"] == "vm_not_found"


def rng(vm: str) -> bool:
    """Whether the guest has a PCI device of the kind 0x1044 or 0x1005, virtio's source of random numbers."""
    return any(word in ("0x1044", "0x1005") for word in inside(vm, "cat /sys/bus/pci/devices/*/device").split())


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make interfaces")
def test_a_card_on_a_bridge(local: Local, vm: str, net: Net) -> None:
    """The host's end comes with the card and goes with it, and frames pass between."""
    cards = [{"type": "bridge", "bridge": net.bridge, "mtu": 1400}]
    checked, real, again = thrice(local, vm, networks=cards)
    assert real["changed"] and not real["failed"] and not again["changed"], real
    assert checked["actions"] == real["actions"] and {action["impact"] for action in real["actions"]} == {"live"}
    (tap,) = [card["interface"] for card in real["vm"]["networks"]]
    (link,) = [link for link in netlink.links().values() if link.name == tap]
    assert (link.mtu, link.alias) == (1400, f"maqet:{vm}:net0")
    inside(vm, f"ip addr add {net.address(2)}/24 dev eth0 && ip link set eth0 up")
    assert "1 packets received" in inside(vm, f"ping -c 1 -w 20 {net.address(1)}")
    gone = modules.must("maqet_vm", name=vm, networks=[])
    assert {action["impact"] for action in gone["actions"]} == {"live"} and tap not in netlink.links()
