# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""One guest from its image to its end, as an operator would have it: a real Debian, and one task after another.

By the modules themselves: a controller would add nothing but its time to so long a play.
"""

from __future__ import annotations

import dataclasses
import socket
import subprocess
import typing as t
import uuid
from pathlib import Path

from ansible_collections.maqet.qemu.plugins.module_utils.host.paths import layout
from ansible_collections.maqet.qemu.tests.hosts import cloud_guest, modules
from ansible_collections.maqet.qemu.tests.integration.local.conftest import Result, remove, traces
from ansible_collections.maqet.qemu.tests.integration.local.test_cloud_init import ENDED

# A boot takes half a minute under emulation on an idle machine, and twenty times as long on a busy one.
SECONDS = 1800
GIB = 1 << 30
# Of the network that is plugged in; QEMU's DHCP server there gives its first guest this address.
SUBNET, ADDRESS = "10.9.8.0/24", "10.9.8.15"
MAC = "52:54:00:0e:2e:01"
_NETWORK = f"[Match]\nMACAddress={MAC}\n[Network]\nDHCP=ipv4\n[DHCPv4]\nUseGateway=no\n"


class Login:
    """A way into a guest by ssh, with a key of this test."""

    def __init__(self, folder: Path) -> None:
        self._key = folder / "key"
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(self._key)], check=True)
        self.public = self._key.with_suffix(".pub").read_text().strip()
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])

    def ask(self, *words: str) -> str:
        """What a program in the guest prints."""
        options = ("StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "LogLevel=ERROR", "BatchMode=yes")
        argv = ["ssh", "-F", "none", *(f"-o{option}" for option in options), "-i", str(self._key)]
        argv += ["-p", str(self.port), "ada@127.0.0.1", *words]
        done = subprocess.run(
            argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=SECONDS, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout


@dataclasses.dataclass(frozen=True)
class Debian:
    """The VM."""

    name: str
    image: cloud_guest.Image
    login: Login

    def seed(self, run: str, **more: t.Any) -> Result:
        """cloud_init that makes a user, and leaves a line in the guest each time it is acted on."""
        user_data = {
            "users": [
                {
                    "name": "ada",
                    "ssh_authorized_keys": [self.login.public],
                    "sudo": "ALL=(ALL) NOPASSWD:ALL",
                    "shell": "/bin/bash",
                }
            ],
            "runcmd": [["sh", "-c", f"echo {run} >>/var/lib/runs"]],
            "ssh_deletekeys": False,
        }
        return {"user_data": user_data, **more}

    def wanted(self) -> Result:
        """An overlay, a seed, an agent, a way in, a screen."""
        return {
            "name": self.name,
            "state": "running",
            **self.image.options(),
            "agent": True,
            "display": "headless",
            "networks": [{"type": "user", "hostfwd": [{"host_port": self.login.port, "guest_port": 22}]}],
            "cloud_init": self.seed("first"),
            "wait_for": ["cloud_init", "agent", {"ssh": {"port": 22}}],
            "timeout": SECONDS,
        }

    def runs(self) -> str:
        return self.login.ask("cat", "/var/lib/runs")


def test_a_guest_from_its_image_to_its_end(debian: cloud_guest.Image, tmp_path: Path) -> None:
    guest = Debian(f"test-{uuid.uuid4().hex[:8]}", debian, Login(tmp_path))
    name, login = guest.name, guest.login
    try:
        created = it_comes_up(guest)
        the_disk_grows(name, debian, login)
        a_card_is_plugged(name, login)
        what_was_broken_comes_back(guest)
        only_with_rerun_a_change_is_acted_on(guest)
        the_screen_is_seen(name)
        assert created["vm"]["uuid"] == modules.must("maqet_vm", name=name)["vm"]["uuid"]
        absent: Result = {"name": name, "state": "absent", "purge": True, **ENDED}
        assert modules.must("maqet_vm", **absent)["changed"] is True
        assert modules.must("maqet_vm", **absent)["changed"] is False
        assert not traces(name) and not Path(layout().vm(name).home).exists() and debian.disk.exists()
    finally:
        remove(name)


def it_comes_up(guest: Debian) -> Result:
    """With the name, the user and the key of its seed; what check mode said has come, and there is no more to do."""
    wanted = guest.wanted()
    checked = modules.run_module("maqet_vm", {**wanted, "wait_for": []}, check=True).result
    created = modules.must("maqet_vm", **wanted)
    assert checked["actions"] == created["actions"] and checked["changed"] is created["changed"] is True
    assert sorted(found["wait"] for found in created["waited"]) == ["agent", "cloud_init", "ssh"]
    assert modules.must("maqet_vm", **wanted)["changed"] is False
    assert guest.login.ask("hostname") == f"{guest.name}\n" and "ada" in guest.login.ask("id")
    assert guest.login.ask("sudo", "cloud-init", "query", "instance_id").strip() == created["vm"]["uuid"]
    assert guest.runs() == "first\n"
    return created


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


def what_was_broken_comes_back(guest: Debian) -> None:
    """A snapshot of frozen file systems, a guest that can no longer do its work, and the way back.

    It comes back with another seed, which it is not to act on.
    """
    name, login = guest.name, guest.login
    taken = modules.must("maqet_snapshot", vm=name, name="good", fsfreeze=True, timeout=SECONDS)
    assert taken["changed"]
    login.ask("sudo", "sh", "-c", "'rm /usr/bin/id && echo broken >/root/broken && sync'")
    other: Result = {"name": name, "cloud_init": guest.seed("second"), "timeout": SECONDS, "stop_timeout": SECONDS}
    refused = modules.run_module("maqet_vm", {**other, "state": "running"}).result
    assert refused["error_code"] == "restart_required"
    stopped = modules.must("maqet_vm", **other, state="stopped")
    assert stopped["stop_steps"] == ["system_powerdown"]
    back: Result = {"vm": name, "name": "good", "state": "reverted", "timeout": SECONDS}
    assert modules.must("maqet_snapshot", **back)["changed"]
    waits = ["agent", {"ssh": {"port": 22}}, "cloud_init"]
    modules.must("maqet_vm", name=name, state="running", wait_for=waits, timeout=SECONDS)
    assert "ada" in login.ask("id") and login.ask("sudo", "ls", "/root") == ""
    assert guest.runs() == "first\n", "the second was there, and was not acted on"
    info = modules.must("maqet_vm_info", name=name, gather=["snapshots", "guest"], timeout=SECONDS)
    (vm,) = info["vms"]
    assert [snapshot["name"] for snapshot in vm["details"]["snapshots"]] == ["good"]
    assert ADDRESS in [one["address"] for one in vm["details"]["guest"]["addresses"]]


def only_with_rerun_a_change_is_acted_on(guest: Debian) -> None:
    """The guest takes itself for a new one then, and does all that a new one does."""
    third: Result = {"name": guest.name, "cloud_init": guest.seed("third", rerun=True), "allow_restart": True}
    waits = ["cloud_init", {"ssh": {"port": 22}}]
    done = modules.must("maqet_vm", **third, wait_for=waits, timeout=SECONDS, stop_timeout=SECONDS)
    assert done["stop_steps"] == ["system_powerdown"]
    assert guest.runs() == "first\nthird\n"
    assert "third" in guest.login.ask("sudo", "cloud-init", "query", "userdata")


def the_screen_is_seen(name: str) -> None:
    """A console with a login prompt is not all of one colour."""
    shot = modules.must("maqet_screenshot", vm=name)
    picture = Path(shot["path"]).read_bytes()
    assert picture.startswith(b"\x89PNG") and shot["width"] >= 640 and len(picture) > 500
