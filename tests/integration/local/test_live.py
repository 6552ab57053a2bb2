# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What changes while the guest runs: the guest itself says what it sees."""

from __future__ import annotations

import subprocess
import sys
import typing as t
import uuid
from pathlib import Path

import pytest
from ansible_collections.maqet.qemu.tests.hosts import modules, play
from ansible_collections.maqet.qemu.tests.integration.local.conftest import Local, Result, remove

MIB = 1 << 20


@pytest.fixture(scope="module")
def wanted() -> Result:
    """Options of a VM whose guest has an agent."""
    folder = play.REPOSITORY / ".dev" / "guest-agent"
    build = [sys.executable, str(play.REPOSITORY / "tests/guest/build.py"), "--agent", "--output", str(folder)]
    subprocess.run(build, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    about = {"kernel": str(folder / "vmlinuz"), "initrd": str(folder / "initramfs"), "cmdline": "console=ttyS0 quiet"}
    return {**about, "memory": "256", "accel": "tcg", "agent": True}


@pytest.fixture
def vm(wanted: Result) -> t.Iterator[str]:
    """A VM whose guest has booted."""
    chosen = f"test-{uuid.uuid4().hex[:8]}"
    modules.must("maqet_vm", name=chosen, state="running", **wanted)
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
    sizes = [{"data1": 8 * MIB, "more": None}, {"data1": 16 * MIB, "more": MIB}, {"data1": None, "more": None}]
    for (disks, actions), seen in zip(expected, sizes):
        checked, real, again = (local.vm(vm, disks=disks, options=options) for options in (("--check",), (), ()))
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
        checked, real, again = (local.vm(vm, networks=networks, options=options) for options in (("--check",), (), ()))
        assert checked["changed"] and real["changed"] and not real["failed"], real
        assert {action["impact"] for action in real["actions"]} == {"live"}
        assert checked["actions"] == real["actions"] and not again["changed"]
        assert len(inside(vm, "ls /sys/class/net").split()) == count + 1
