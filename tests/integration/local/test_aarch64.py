# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A guest of aarch64, whatever this machine is, from its start to its end.

The short form of what ``./dev integration --arch aarch64`` does with all the tests of this folder.
"""

from __future__ import annotations

import shutil

import pytest
from ansible_collections.maqet.qemu.tests.hosts import modules
from ansible_collections.maqet.qemu.tests.hosts.plugin import REQUIRED
from ansible_collections.maqet.qemu.tests.integration.local.conftest import Local, Result, built, traces

MAC = "52:54:00:aa:aa:64"
SECONDS = 300


@pytest.fixture
def wanted() -> Result:
    """Options of a VM whose guest has an agent."""
    if shutil.which("qemu-system-aarch64") is None and not REQUIRED:
        pytest.skip("qemu-system-aarch64 is not installed")
    return {**built("agent", "--agent", arch="aarch64"), "arch": "aarch64", "agent": True, "timeout": SECONDS}


def thrice(local: Local, name: str, **wanted: object) -> Result:
    """A task in check mode, for real, and again; the real one's result."""
    task: Result = {"maqet_vm": {"name": name, **wanted}}
    announced, done, again = local.run({**task, "check_mode": True}, task, task)
    for result in (announced, done, again):
        assert not result["failed"], result
    assert announced["actions"] == done["actions"] and announced["changed"] is done["changed"] is True
    assert again["actions"] == [] and again["changed"] is False
    return done


def inside(name: str, script: str) -> str:
    """What a shell in the guest says."""
    argv = ["/bin/sh", "-c", script]
    told = modules.must("maqet_guest", vm=name, exec={"argv": argv}, allow_dangerous=True, timeout=SECONDS)
    return str(told["stdout"])


def test_from_its_start_to_its_end(local: Local, name: str, wanted: Result) -> None:
    """It boots, its agent answers, a disk and a card come and go while it runs, and it obeys its power button."""
    booted = [{"serial": "maqet guest ready: Linux .*\n"}, "agent"]
    started = thrice(local, name, state="running", **wanted, wait_for=booted)
    pid = started["vm"]["qemu_pid"]
    assert started["vm"]["qemu_binary"].endswith("qemu-system-aarch64")
    assert inside(name, "uname -m; ls /sys/block; ls /sys/class/net").split() == ["aarch64", "lo"]

    devices = {"disks": [{"name": "data", "size": "8M"}], "networks": [{"type": "user", "mac": MAC}]}
    plugged = thrice(local, name, **devices)
    assert {action["impact"] for action in plugged["actions"]} == {"live"}
    assert inside(name, "cat /sys/block/vda/size /sys/class/net/eth0/address").split() == [str((8 << 20) // 512), MAC]
    unplugged = thrice(local, name, disks=[], networks=[])
    assert {action["impact"] for action in unplugged["actions"]} == {"live"} and unplugged["vm"]["qemu_pid"] == pid
    assert inside(name, "ls /sys/block; ls /sys/class/net").split() == ["lo"]

    stopped = thrice(local, name, state="stopped", timeout=SECONDS)
    assert stopped["stop_steps"] == ["system_powerdown"]
    assert stopped["vm"]["last_exit"]["reason"] == "host-powerdown" and traces(name) == []
