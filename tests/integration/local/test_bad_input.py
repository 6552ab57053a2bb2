# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bad input: one clear error that names the option, the value and the remedy, and a host that is as it was."""

from __future__ import annotations

import os
import re
import shutil
import socket
import typing as t
from pathlib import Path

import pytest
from ansible_collections.maqet.qemu.plugins.module_utils.host.paths import layout
from ansible_collections.maqet.qemu.tests.integration.local.conftest import ARCH, NOTHING, Local, Result, traces

# A misspelt one.
BOARD = {"x86_64": "q36", "aarch64": "vitr"}[ARCH]
# option → (options of the task, what the message must hold beside the option's name)
BAD: dict[str, tuple[Result, tuple[str, ...]]] = {
    "memory": ({"memory": "banana"}, ("banana", "512M")),
    "cpus": ({"cpus": -5}, ("-5",)),
    "cpus none": ({"cpus": 0}, ("0",)),
    "machine": ({"machine": BOARD}, (f"'{BOARD}'", {"x86_64": "q35", "aarch64": "virt"}[ARCH], "-machine help")),
    "cpu_model": ({"cpu_model": "hast"}, ("hast", "-cpu help")),
    "arch": ({"arch": "vax"}, ("vax", "aarch64")),
    "kernel": ({"kernel": "/nonexistent/vmlinuz"}, ("/nonexistent/vmlinuz", "No such file")),
    "initrd": ({"kernel": "/bin/sh", "initrd": "/bin"}, ("/bin", "folder")),
    "cmdline": ({"kernel": "", "cmdline": "quiet"}, ("kernel",)),
    "disks[0].path": ({"disks": [{"path": "/"}]}, ("'/'", "folder")),
    "disks[0].path missing": ({"disks": [{"path": "/nonexistent.img"}]}, ("/nonexistent.img", "No such file")),
    "disks[0].base": ({"disks": [{"base": "/nonexistent.qcow2"}]}, ("/nonexistent.qcow2", "No such file")),
    "disks[0].size": ({"disks": [{"size": "huge"}]}, ("huge",)),
    "disks[0]": ({"disks": [{"name": "a"}]}, ("size", "base", "path")),
    "networks[0].hostfwd[0].host_port": (
        {"networks": [{"type": "user", "hostfwd": [{"host_port": 70000, "guest_port": 22}]}]},
        ("70000", "65535"),
    ),
    "wait_for[0].serial": ({"wait_for": [{"serial": "("}]}, ("regular expression",)),
    "wait_for[0]": ({"wait_for": ["sunrise"]}, ("sunrise", "running")),
    "extra_args": ({"extra_args": ["-daemonize"]}, ("-daemonize",)),
    "unknown": ({"memroy": "1G"}, ("memroy", "memory")),
    "accel": ({"accel": "warp"}, ("warp", "tcg")),
}


_OTHERS = re.compile(r"test-[0-9a-f]{8}|pytest|policy")


def tree(part: str = "") -> list[str]:
    """Files of our folders on this host with ``part`` in their path, but for those of other tests' VMs.

    These come and go meanwhile, since another process runs other tests.
    """
    where = layout()
    found: list[str] = []
    for top in (where.vms, where.run, where.log):
        found += [os.path.join(folder, file) for folder, dirs, files in os.walk(top) for file in dirs + files]
    return sorted(path for path in found if (part in path if part else not _OTHERS.search(path)))


def test_bad_options(local: Local, name: str) -> None:
    """Each alone, for a new VM that should run."""
    before = tree(name)
    results = local.run(
        *({"maqet_vm": {"name": name, "state": "running", **NOTHING, **bad}} for bad, _words in BAD.values())
    )
    for (option, (_bad, words)), result in zip(BAD.items(), results):
        assert result["failed"], (option, result)
        message = result["msg"]
        assert option.split(" ", maxsplit=1)[0].replace("unknown", "Unsupported") in message, (option, message)
        for word in words:
            assert word in message, (option, message)
        assert "Traceback" not in message
    assert tree(name) == before
    assert traces(name) == []


def test_bad_names(local: Local) -> None:
    """A name that cannot be a file's, a unit's and a socket's."""
    before = tree()
    tasks: list[Result] = []
    for bad in ("../etc", "a/b", "n" * 200, "", "-x", "a b", "ü", "a\n", "."):
        tasks.append({"maqet_vm": {"name": bad, "state": "running"}})
        tasks.append({"maqet_qmp": {"vm": bad, "command": "query-status"}})
    for task, result in zip(tasks, local.run(*tasks)):
        assert result["failed"] and result["error_code"] == "invalid_option", (task, result)
        assert "name" in result["msg"], (task, result)
    assert tree() == before


def test_a_port_that_is_taken(local: Local, name: str) -> None:
    """Found before QEMU starts; a VM that is stopped may be defined with it."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        networks = [{"type": "user", "hostfwd": [{"host_port": port, "guest_port": 22}]}]
        before = tree(name)
        refused = local.vm(name, state="running", networks=networks, **NOTHING)
        assert refused["error_code"] == "invalid_option"
        assert f"networks[0].hostfwd[0].host_port: {port}" in refused["msg"] and "in use" in refused["msg"]
        assert tree(name) == before


def test_what_only_qemu_can_know(local: Local, name: str) -> None:
    """Its own last words are in the message, and a VM that was there keeps its former definition."""
    before = tree(name)
    new = local.vm(name, state="running", extra_args=["-device", "nonesuch"], disks=[{"size": "1M"}], **NOTHING)
    assert new["error_code"] == "qemu_failed" and new["changed"] is False
    assert "'nonesuch' is not a valid device model name" in new["msg"]
    assert tree(name) == before
    defined, broken, info = local.run(
        {"maqet_vm": {"name": name, "state": "present", **NOTHING}},
        {"maqet_vm": {"name": name, "state": "running", "extra_args": ["-device", "nonesuch"]}},
        {"maqet_vm_info": {"name": name}},
    )
    assert broken["error_code"] == "qemu_failed"
    assert info["vms"][0]["definition"] == defined["vm"]["definition"] == {**NOTHING, "memory": 64}
    assert traces(name) == []


def test_qemu_is_not_installed(local: Local, name: str) -> None:
    """The error names the packages and the role."""
    other = "aarch64" if os.uname().machine == "x86_64" else "x86_64"
    if shutil.which(f"qemu-system-{other}"):
        pytest.skip(f"qemu-system-{other} is installed on this machine; the unit tests of host.qemu cover the error")
    before = tree(name)
    result = local.vm(name, state="running", arch=other)
    assert result["error_code"] == "qemu_not_found"
    assert f"'{other}'" in result["msg"] and "maqet.qemu.hypervisor" in result["msg"]
    assert tree(name) == before


def test_the_libraries_are_not_installed(local: Local, name: str, tmp_path: Path) -> None:
    """A Python without qemu.qmp: the error names libraries, interpreter and role, and nothing is left."""
    before = tree(name)
    (result,) = local.play(
        {
            "maqet_vm": {"name": name, "state": "running", **NOTHING},
            "vars": {"ansible_python_interpreter": "/usr/bin/python3"},
        }
    )
    assert result["error_code"] == "libraries_missing"
    assert "qemu.qmp" in result["msg"] and "hypervisor" in result["msg"] and "/usr/bin/python3" in result["msg"]
    assert tree(name) == before
    assert traces(name) == []


def timed(values: t.Sequence[str]) -> list[Result]:
    """Tasks with impossible times."""
    return [{"maqet_vm": {"name": "x", option: -1}} for option in values]


def test_impossible_times(local: Local) -> None:
    """Negative seconds are refused, not taken for none."""
    for option, result in zip(("timeout", "stop_timeout"), local.run(*timed(("timeout", "stop_timeout")))):
        assert result["error_code"] == "invalid_option" and option in result["msg"]
