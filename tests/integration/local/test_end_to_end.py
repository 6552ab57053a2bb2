# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""One guest from its image to its end, as an operator would have it: a real Debian, and one play after another."""

from __future__ import annotations

import uuid
from pathlib import Path

from ansible_collections.maqet.qemu.plugins.module_utils.host.paths import layout
from ansible_collections.maqet.qemu.tests.hosts import cloud_guest, modules
from ansible_collections.maqet.qemu.tests.integration.local.conftest import Result, remove, traces
from ansible_collections.maqet.qemu.tests.integration.local.test_cloud_init import ENDED, SECONDS, Login

GIB = 1 << 30
# Of the network that is plugged in; QEMU's DHCP server there gives its first guest this address.
SUBNET, ADDRESS = "10.9.8.0/24", "10.9.8.15"
MAC = "52:54:00:0e:2e:01"
_NETWORK = f"[Match]\nMACAddress={MAC}\n[Network]\nDHCP=ipv4\n[DHCPv4]\nUseGateway=no\n"


def test_a_guest_from_its_image_to_its_end(debian: cloud_guest.Image, tmp_path: Path) -> None:
    login, name = Login(tmp_path), f"test-{uuid.uuid4().hex[:8]}"
    try:
        created = modules.must("maqet_vm", **wanted(name, debian, login))
        assert sorted(found["wait"] for found in created["waited"]) == ["agent", "cloud_init", "ssh"]
        assert login.ask("hostname") == f"{name}\n"
        the_disk_grows(name, debian, login)
        a_card_is_plugged(name, login)
        what_was_broken_comes_back(name, login)
        the_screen_is_seen(name)
        assert created["vm"]["uuid"] == modules.must("maqet_vm", name=name)["vm"]["uuid"]
        absent: Result = {"name": name, "state": "absent", "purge": True, **ENDED}
        assert modules.must("maqet_vm", **absent)["changed"] is True
        assert modules.must("maqet_vm", **absent)["changed"] is False
        assert not traces(name) and not Path(layout().vm(name).home).exists() and debian.disk.exists()
    finally:
        remove(name)


def wanted(name: str, debian: cloud_guest.Image, login: Login, **more: object) -> Result:
    """An overlay, a seed, an agent, a way in, a screen."""
    user = {"name": "ada", "ssh_authorized_keys": [login.public], "sudo": "ALL=(ALL) NOPASSWD:ALL", "shell": "/bin/sh"}
    return {
        "name": name,
        "state": "running",
        **debian.options(),
        "agent": True,
        "display": "headless",
        "networks": [{"type": "user", "hostfwd": [{"host_port": login.port, "guest_port": 22}]}],
        "cloud_init": {"user_data": {"users": [user]}},
        "wait_for": ["cloud_init", "agent", {"ssh": {"port": 22}}],
        "timeout": SECONDS,
        **more,
    }


def the_disk_grows(name: str, debian: cloud_guest.Image, login: Login) -> None:
    """While the guest runs, which sees it at once and can use it."""
    (disk,) = debian.options()["disks"]
    grown = modules.must("maqet_vm", name=name, disks=[{**disk, "size": "4G"}], timeout=SECONDS)
    assert [action["action"] for action in grown["actions"]] == ["grow_disk", "redefine"]
    assert {action["impact"] for action in grown["actions"]} == {"live"}
    assert int(login.ask("cat", "/sys/block/vda/size")) * 512 == 4 * GIB
    login.ask("sudo", "growpart", "/dev/vda", "2")
    login.ask("sudo", "resize2fs", "/dev/vda2")
    assert int(login.ask("df", "--output=size", "-B1", "/").split()[-1]) > 3 * GIB


def a_card_is_plugged(name: str, login: Login) -> None:
    """And configured by the guest's own means; the agent tells its address."""
    card = {"type": "user", "network": SUBNET, "mac": MAC}
    plugged = modules.must("maqet_device", vm=name, network=card, timeout=SECONDS)
    assert {action["impact"] for action in plugged["actions"]} == {"live"}
    unit = "/etc/systemd/network/20-plugged.network"
    login.ask("sudo", "sh", "-c", f'\'printf "%s" "{_NETWORK}" >{unit} && networkctl reload\'')
    interface = login.ask("sh", "-c", f"'grep -l {MAC} /sys/class/net/*/address'").split("/")[4]
    login.ask("sudo", "/usr/lib/systemd/systemd-networkd-wait-online", "-i", interface)
    told = modules.must("maqet_guest", vm=name, addresses=True, timeout=SECONDS)["addresses"]
    assert (MAC, ADDRESS) in [(one["mac"], one["address"]) for one in told]


def what_was_broken_comes_back(name: str, login: Login) -> None:
    """A snapshot of frozen file systems, a guest that can no longer do its work, and the way back."""
    taken = modules.must("maqet_snapshot", vm=name, name="good", fsfreeze=True, timeout=SECONDS)
    assert taken["changed"]
    login.ask("sudo", "sh", "-c", "'rm /usr/bin/id && echo broken >/root/broken && sync'")
    back = {"vm": name, "name": "good", "state": "reverted", "allow_restart": True, "force": True}
    assert modules.must("maqet_snapshot", **back, stop_timeout=SECONDS, timeout=SECONDS)["changed"]
    modules.must("maqet_vm", name=name, wait_for=["agent", {"ssh": {"port": 22}}], timeout=SECONDS)
    assert "ada" in login.ask("id") and login.ask("sudo", "ls", "/root") == ""
    info = modules.must("maqet_vm_info", name=name, gather=["snapshots", "guest"], timeout=SECONDS)
    (vm,) = info["vms"]
    assert [snapshot["name"] for snapshot in vm["details"]["snapshots"]] == ["good"]
    assert ADDRESS in [one["address"] for one in vm["details"]["guest"]["addresses"]]


def the_screen_is_seen(name: str) -> None:
    """A console with a login prompt is not all of one colour."""
    shot = modules.must("maqet_screenshot", vm=name)
    picture = Path(shot["path"]).read_bytes()
    assert picture.startswith(b"\x89PNG") and shot["width"] >= 640 and len(picture) > 500
