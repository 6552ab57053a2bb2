# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""From module parameters to an intent, and from two intents to one."""

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.maqet.qemu.plugins.module_utils.definition.intent import OPTIONS, merge, normalise

KERNEL = {"kernel": "/k/vmlinuz", "initrd": "/k/initrd", "cmdline": "console=ttyS0"}


@pytest.mark.parametrize(
    ("params", "intent"),
    [
        ({}, {}),
        (dict.fromkeys(OPTIONS), {}),
        ({"name": "web", "state": "running", "timeout": 5, "purge": True, "memory": None}, {}),
        ({"memory": "1G", "cpus": 2}, {"memory": 1024, "cpus": 2}),
        ({"cpus": "2"}, {"cpus": 2}),
        ({"cpus": 1}, {"cpus": 1}),
        ({"cpus": 4096}, {"cpus": 4096}),
        ({"cmdline": "a" * 2047}, {"cmdline": "a" * 2047}),
        ({"arch": "aarch64", "accel": "tcg"}, {"arch": "aarch64", "accel": "tcg"}),
        ({"machine": "pc-q35-7.2", "cpu_model": "host,-vmx"}, {"machine": "pc-q35-7.2", "cpu_model": "host,-vmx"}),
        ({"cpu_model": "EPYC-v4,topoext=on,+aes"}, {"cpu_model": "EPYC-v4,topoext=on,+aes"}),
        (KERNEL, KERNEL),
        ({"cmdline": "console=ttyS0 root=/dev/vda\n"}, {"cmdline": "console=ttyS0 root=/dev/vda"}),
        ({"kernel": "", "machine": ""}, {"kernel": "", "machine": ""}),
        ({"serial": "none", "display": "headless"}, {"serial": "none", "display": "headless"}),
        ({"disks": [{"size": "1G"}]}, {"disks": [{"name": "disk0", "size": 2**30}]}),
        ({"disks": [], "networks": [{"type": "none"}]}, {"disks": [], "networks": []}),
        ({"restart_policy": "on-failure", "reboot_action": "shutdown"},) * 2,
        ({"panic_action": "none"}, {"panic_action": "none"}),
        ({"panic_action": ""}, {"panic_action": ""}),
        ({"shutdown_timeout": "90"}, {"shutdown_timeout": 90}),
        ({"shutdown_timeout": 0}, {"shutdown_timeout": 0}),
        ({"shutdown_timeout": 3600}, {"shutdown_timeout": 3600}),
        (
            {"extra_args": ["-usb"], "labels": {"b": 1, "a": "x"}},
            {"extra_args": ["-usb"], "labels": {"a": "x", "b": "1"}},
        ),
    ],
)
def test_normalise(params: dict[str, t.Any], intent: dict[str, t.Any]) -> None:
    assert normalise(params) == intent
    assert normalise(normalise(params)) == intent, "the normal form is its own normal form"


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("memory", "banana"),
        ("memory", ""),
        ("cpus", -5),
        ("cpus", 0),
        ("cpus", 4097),
        ("cpus", "two"),
        ("cpus", 1.5),
        ("cpus", True),
        ("cpus", ""),
        ("cpu_model", "host, -vmx"),
        ("cpu_model", ",+aes"),
        ("cpu_model", 486),
        ("machine", "q35,accel=kvm"),
        ("machine", "pc\n"),
        ("machine", ["pc"]),
        ("arch", "sparc"),
        ("arch", "X86_64"),
        ("accel", "hvf"),
        ("kernel", "vmlinuz"),
        ("kernel", ["/k"]),
        ("initrd", "../initrd"),
        ("cmdline", "a\nb"),
        ("cmdline", "a" * 2048),
        ("cmdline", 5),
        ("disks", "10G"),
        ("networks", {"type": "user"}),
        ("serial", "stdio"),
        ("display", "gtk"),
        ("display", ""),
        ("extra_args", "-usb"),
        ("labels", ["a"]),
        ("restart_policy", "unless-stopped"),
        ("restart_policy", False),
        ("restart_policy", ""),
        ("panic_action", "exit-failure"),
        ("panic_action", True),
        ("reboot_action", "none"),
        ("reboot_action", ""),
        ("shutdown_timeout", -1),
        ("shutdown_timeout", 3601),
        ("shutdown_timeout", 1.5),
        ("shutdown_timeout", "soon"),
        ("shutdown_timeout", True),
    ],
)
def test_normalise_refuses(option: str, value: t.Any, refused: t.Any) -> None:
    refused(option, normalise, {option: value})


@pytest.mark.parametrize(
    ("stored", "given", "merged"),
    [
        ({}, {}, {}),
        ({"memory": 512}, {}, {"memory": 512}),
        ({"memory": 512}, {"cpus": 2}, {"memory": 512, "cpus": 2}),
        ({"labels": {"a": "1"}}, {"labels": {"b": "2"}}, {"labels": {"b": "2"}}),
        ({"disks": [{"name": "a", "size": 1}]}, {"disks": []}, {"disks": []}),
        (KERNEL, {"kernel": "/new"}, {**KERNEL, "kernel": "/new"}),
        (KERNEL, {"kernel": "", "initrd": "", "cmdline": ""}, {}),
        (KERNEL, {"cmdline": "quiet"}, {**KERNEL, "cmdline": "quiet"}),
        ({}, {"kernel": ""}, {}),
        ({"panic_action": "pause"}, {"panic_action": ""}, {}),
        ({"restart_policy": "always"}, {"restart_policy": "no"}, {"restart_policy": "no"}),
        ({"machine": "pc"}, {"disks": [{"name": "a", "size": 1, "interface": "ide"}]}, None),
        ({}, {"machine": "pc-i440fx-7.2", "disks": [{"name": "a", "size": 1, "interface": "ide"}]}, None),
    ],
)
def test_merge(stored: dict[str, t.Any], given: dict[str, t.Any], merged: t.Optional[dict[str, t.Any]]) -> None:
    before = repr((stored, given))
    once = merge(stored, given)
    assert once == ({**stored, **given} if merged is None else merged)
    assert merge(once, given) == once, "a second run changes nothing"
    assert repr((stored, given)) == before


def test_merge_orders_options_and_drops_what_it_does_not_know() -> None:
    assert list(merge({"labels": {}, "cpus": 1, "wheels": 4}, {"memory": 512})) == ["memory", "cpus", "labels"]


@pytest.mark.parametrize(
    ("stored", "given", "option"),
    [
        ({}, {"initrd": "/i"}, "initrd"),
        ({}, {"cmdline": "quiet"}, "cmdline"),
        (KERNEL, {"kernel": ""}, "initrd"),
        ({}, {"disks": [{"name": "a", "interface": "ide"}]}, "disks[0].interface"),
        ({"machine": "pc"}, {"machine": "q35", "disks": [{"name": "a", "interface": "ide"}]}, "disks[0].interface"),
        ({"disks": [{"name": "a"}, {"name": "b", "interface": "ide"}]}, {"machine": "q35"}, "disks[1].interface"),
    ],
)
def test_merge_refuses_contradictions(stored: t.Any, given: t.Any, option: str, refused: t.Any) -> None:
    refused(option, merge, stored, given)
