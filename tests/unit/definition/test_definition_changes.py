# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Defaults, and what a change costs."""

from __future__ import annotations

import copy
import typing as t

import pytest
from ansible_collections.maqet.qemu.plugins.module_utils.definition.changes import Difference, diff, impact
from ansible_collections.maqet.qemu.plugins.module_utils.definition.defaults import DEFAULTS, effective
from ansible_collections.maqet.qemu.plugins.module_utils.definition.intent import OPTIONS, normalise

UNSAID = {"cache": "writeback", "aio": "threads", "discard": "ignore", "detect_zeroes": "off", "serial": "a"}


def test_the_documented_defaults() -> None:
    assert effective({}, "x86_64") == {
        "memory": 512,
        "hugepages": None,
        "balloon": False,
        "balloon_target": None,
        "cpus": 1,
        "cpus_max": None,
        "cpu_topology": {},
        "cpu_model": None,
        "cpu_features": {},
        "machine": "q35",
        "arch": "x86_64",
        "accel": "auto",
        "uuid": None,
        "smbios": {},
        "clock": {},
        "boot": {},
        "firmware": {"type": "bios", "secure_boot": False, "code": None, "vars": None},
        "tpm": None,
        "kernel": None,
        "initrd": None,
        "cmdline": None,
        "disks": [],
        "networks": [],
        "cloud_init": {},
        "shares": [],
        "serial": "file",
        "display": "none",
        "vnc": {},
        "video": None,
        "rng": False,
        "watchdog": {},
        "host_devices": [],
        "devices": [],
        "agent": False,
        "extra_args": [],
        "labels": {},
        "policy": {},
        "restart_policy": "no",
        "panic_action": None,
        "reboot_action": "reset",
        "shutdown_timeout": 60,
        "autostart": False,
        "cpu_quota": None,
        "cpu_weight": 100,
        "io_weight": 100,
        "memory_max": None,
    }
    assert tuple(DEFAULTS) == OPTIONS


def test_defaults_inside_lists() -> None:
    intent = normalise(
        {
            "disks": [{"size": "1G"}, {"path": "/a"}, {"base": "/b", "interface": "scsi"}],
            "networks": [{"type": "user", "hostfwd": [{"host_port": 1, "guest_port": 2}]}],
        }
    )
    result = effective(intent, "x86_64")
    assert [(d["interface"], d["readonly"], d.get("format")) for d in result["disks"]] == [
        ("virtio", False, "qcow2"),
        ("virtio", False, None),
        ("scsi", False, "qcow2"),
    ]
    rule = {"protocol": "tcp", "host_address": "127.0.0.1", "host_port": 1, "guest_port": 2}
    user = {"type": "user", "model": "virtio-net-pci", "restrict": False, "ipv6": True}
    assert result["networks"] == [{**user, "hostfwd": [rule]}]


@pytest.mark.parametrize(
    ("intent", "host", "arch", "machine"),
    [
        ({}, "x86_64", "x86_64", "q35"),
        ({}, "aarch64", "aarch64", "virt"),
        ({}, "AMD64", "x86_64", "q35"),
        ({}, "arm64", "aarch64", "virt"),
        ({"arch": "aarch64"}, "x86_64", "aarch64", "virt"),
        ({"arch": "x86_64"}, "s390x", "x86_64", "q35"),
        ({"machine": "pc"}, "x86_64", "x86_64", "pc"),
    ],
)
def test_architecture_and_machine(intent: t.Any, host: str, arch: str, machine: str) -> None:
    result = effective(intent, host)
    assert (result["arch"], result["machine"]) == (arch, machine)


def test_a_host_without_defaults(refused: t.Any) -> None:
    refused("arch", effective, {}, "s390x")


def test_nobody_can_change_the_defaults_by_their_result() -> None:
    before = copy.deepcopy(DEFAULTS)
    intent: dict[str, t.Any] = {"networks": [{"type": "user"}, {"type": "user"}]}
    result = effective(intent, "x86_64")
    for key in ("disks", "extra_args"):
        result[key].append("x")
    result["labels"]["x"] = "y"
    result["networks"][0]["hostfwd"].append("x")
    assert before == DEFAULTS
    assert effective(intent, "x86_64")["networks"][1]["hostfwd"] == []


def test_what_qemu_never_sees_is_live() -> None:
    live = ["labels", "policy", "restart_policy", "shutdown_timeout"]
    live += ["autostart", "cpu_quota", "cpu_weight", "io_weight", "memory_max"]
    assert [option for option in OPTIONS if impact(option) == "live"] == live


def test_no_difference() -> None:
    same = {"memory": 512, "labels": {"a": "b"}}
    assert diff(same, dict(same)) == Difference()
    assert not diff(same, dict(same))


def test_difference_names_only_what_differs() -> None:
    found = diff(
        {"memory": 512, "cpus": 1, "labels": {}}, {"memory": 1024, "cpus": 1, "labels": {"a": "b"}, "machine": "pc"}
    )
    assert found
    assert found.before == {"memory": 512, "machine": None, "labels": {}}
    assert found.after == {"memory": 1024, "machine": "pc", "labels": {"a": "b"}}
    assert found.options == ["memory", "machine", "labels"]
    assert found.impacts == {"memory": "restart", "machine": "restart", "labels": "live"}
    assert found.restart == ["memory", "machine"]


@pytest.mark.parametrize(
    ("before", "after", "restart"),
    [
        ({}, {"memory": 512}, []),
        ({"memory": 512}, {}, []),
        ({}, {"memory": 513}, ["memory"]),
        ({}, {"machine": "q35", "arch": "x86_64"}, []),
        ({}, {"arch": "aarch64"}, ["arch"]),
        ({"disks": [{"name": "a", "size": 1}]}, {"disks": [{"name": "a", "size": 1, "interface": "virtio"}]}, []),
        ({"disks": [{"name": "a", "size": 1}]}, {"disks": [{"name": "a", "size": 1, "interface": "scsi"}]}, ["disks"]),
        ({}, {"disks": []}, []),
        ({}, {"cpus_max": 1}, []),
        ({}, {"cpus_max": 2}, ["cpus_max"]),
        ({"cpu_topology": {"cores": 1}}, {"cpu_topology": {"sockets": 1, "cores": 1, "threads": 1}}, []),
        ({}, {"cpu_topology": {"cores": 1}}, ["cpu_topology"]),
        ({}, {"boot": {"menu": False, "order": []}}, []),
        ({}, {"boot": {"menu": True}}, ["boot"]),
        ({}, {"clock": {"base": "utc", "source": "host"}}, []),
        ({}, {"clock": {"base": "localtime"}}, ["clock"]),
        ({"display": "vnc"}, {"display": "vnc", "video": "vga"}, []),
        ({"display": "vnc"}, {"display": "vnc", "video": "qxl"}, ["video"]),
        ({"arch": "aarch64", "display": "vnc"}, {"arch": "aarch64", "display": "vnc", "video": "virtio"}, []),
        ({"vnc": {"port": 5901}}, {"vnc": {"port": 5901, "address": "127.0.0.1"}}, []),
        ({"vnc": {"port": 5901}}, {"vnc": {"port": 5901, "address": "127.0.0.2"}}, ["vnc"]),
        ({"watchdog": {"action": "reset"}}, {"watchdog": {"model": "i6300esb"}}, []),
        ({}, {"watchdog": {"model": "i6300esb"}}, ["watchdog"]),
        ({"networks": [{"type": "user"}]}, {"networks": [{"type": "user", "network": "10.0.2.0/24"}]}, []),
        ({"networks": [{"type": "user"}]}, {"networks": [{"type": "user", "network": "10.0.3.0/24"}]}, ["networks"]),
        ({"disks": [{"name": "a", "size": 1}]}, {"disks": [{"name": "a", "size": 1, **UNSAID}]}, []),
        ({"disks": [{"name": "a", "size": 1}]}, {"disks": [{"name": "a", "size": 2, **UNSAID}]}, []),
        ({"disks": [{"name": "a", "size": 1}]}, {"disks": [{"name": "a", "size": 1, "aio": "native"}]}, ["disks"]),
        ({"disks": [{"name": "a", "base": "/b", "size": 1}]}, {"disks": [{"name": "a", "base": "/b"}]}, []),
    ],
)
def test_writing_down_a_default_costs_no_restart(before: t.Any, after: t.Any, restart: list[str]) -> None:
    found = diff(before, after, "x86_64")
    assert found.options == [option for option in {**before, **after} if before.get(option) != after.get(option)]
    assert found.restart == restart
