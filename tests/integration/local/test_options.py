# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""No option of a definition is forgotten: each is in a VM that QEMU has started, and that a second task leaves alone.

Several share a VM, for a start takes longer than all that is asked of it. What each does is tested where it belongs.
"""

from __future__ import annotations

import typing as t
from pathlib import Path

import pytest
from ansible_collections.maqet.qemu.plugins.module_utils.definition.changes import impact
from ansible_collections.maqet.qemu.plugins.module_utils.definition.intent import OPTIONS
from ansible_collections.maqet.qemu.tests.integration.local.conftest import CONSOLE, Local, Result

ENDED: t.Final = {"force": True, "stop_timeout": 0}
_UUID: t.Final = "0f4c2a9e-5d1b-4c38-9a77-2f1f6f0c1d2e"
# What a change never costs a restart, and what can never be changed. All others may cost one.
LIVE: t.Final = (
    *("labels", "policy", "restart_policy", "shutdown_timeout", "autostart"),
    *("cpu_quota", "cpu_weight", "io_weight", "memory_max"),
)
RECREATE: t.Final = ("uuid",)

# What keeps these from being here: a host with systemd (tests/integration/hosts/test_systemd_vms.py), huge pages and
# hardware to give away (test_accepted.py, test_machine.py).
ELSEWHERE: t.Final = {"autostart", "cpu_quota", "cpu_weight", "io_weight", "memory_max", "hugepages", "host_devices"}
#: Of the guest's fixture, with the third of the VMs.
GUEST: t.Final = ("kernel", "initrd", "cmdline")
#: Options that go together, with words that QEMU must then have on its command line.
VMS: dict[str, tuple[Result, list[str]]] = {
    "processor": (
        {
            "accel": "tcg",
            "memory": "72",
            "arch": "x86_64",
            "machine": "q35",
            "uuid": _UUID,
            "cpus": 2,
            "cpus_max": 4,
            "cpu_topology": {"cores": 2},
            "cpu_model": "qemu64",
            "cpu_features": {"vmx": False},
            "balloon": True,
            "balloon_target": "48M",
            "rng": True,
            "smbios": {"product": "A, B"},
            "clock": {"base": "localtime"},
            "boot": {"menu": True},
            "serial": "socket",
        },
        [
            "72M",
            _UUID,
            "q35",
            "cores=2",
            "qemu64,vmx=off",
            "virtio-balloon-pci",
            "virtio-rng-pci",
            "product=A,, B",
            "menu=on",
        ],
    ),
    "devices": (
        {
            "accel": "tcg",
            "memory": "64",
            "disks": [{"name": "d", "size": "1M"}],
            "networks": [{"type": "user"}],
            "cloud_init": {"user_data": {}},
            "display": "vnc",
            "vnc": {"password": "hush"},
            "video": "virtio",
            "agent": True,
            "watchdog": {"model": "i6300esb"},
            "devices": [{"driver": "virtio-rng-pci", "id": "mine"}],
            "panic_action": "pause",
            "reboot_action": "shutdown",
            "extra_args": ["-device", "virtio-rng-pci,id=theirs"],
        },
        [
            "disk-d",
            "netdev=net0",
            "maqet-seed",
            "vnc",
            "virtio-vga",
            "maqet-agent",
            "i6300esb",
            "id=mine",
            "id=theirs",
        ],
    ),
    "guest": (
        {
            "accel": "tcg",
            "memory": "256",
            "labels": {"tier": "web"},
            "policy": {"consent": False},
            "restart_policy": "no",
            "shutdown_timeout": 30,
            "firmware": "uefi",
            "tpm": {},
            "shares": [{"path": "/usr/share", "tag": "share"}],
        },
        ["pflash", "tpm-", "mount_tag=share", "-kernel", "-initrd", f"console={CONSOLE}"],
    ),
}


def test_every_option_is_here_or_known_to_be_elsewhere() -> None:
    tested = {option for options, _words in VMS.values() for option in options}
    assert tested | ELSEWHERE | set(GUEST) == set(OPTIONS) and not tested & ELSEWHERE
    assert {option for option in OPTIONS if impact(option) == "live"} == set(LIVE)
    assert {option for option in OPTIONS if impact(option) == "recreate"} == set(RECREATE)


@pytest.mark.parametrize("vm", VMS)
def test_qemu_starts_with_it_and_a_second_task_finds_nothing_to_do(
    local: Local, name: str, guest: Result, vm: str
) -> None:
    options, words = VMS[vm]
    if vm == "guest":
        options = {**guest, **options}
    wanted: Result = {"maqet_vm": {"name": name, "state": "running", **options}}
    checked, started, again, told = local.run(
        {**wanted, "check_mode": True}, wanted, wanted, {"maqet_vm_info": {"name": name, "gather": ["command_line"]}}
    )
    assert not started["failed"], started
    assert checked["actions"] == started["actions"] and checked["diff"] == started["diff"]
    assert again["changed"] is False and again["actions"] == []
    assert started["vm"]["status"] == "running" and set(started["vm"]["definition"]) | {"uuid"} == {*options, "uuid"}
    line = " ".join(told["vms"][0]["details"]["command_line"])
    assert [word for word in words if word not in line] == []
    nothing: Result = {"maqet_vm": {"name": name, "state": "absent", "purge": True, **ENDED}}
    looked, gone, repeated = local.run({**nothing, "check_mode": True}, nothing, nothing)
    assert looked["actions"] == gone["actions"] and gone["changed"] is True and repeated["changed"] is False
    assert not Path(started["vm"]["home"]).exists()
